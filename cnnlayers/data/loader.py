"""Batches: how the Solver walks through its data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any

import numpy as np

from .. import kernels
from ..stored import Stored, is_stored

Batch = tuple[Any, Any]
GATHERED = (np.dtype(np.uint8), np.dtype(np.float32), np.dtype(np.float64))  # what the kernel takes
Change = Callable[[Any, Any, np.ndarray], Batch]  # (x, y, indices of the samples) -> (x, y): an augmentation


class ArrayBatches:
    """Batches of a data set in two arrays: every sample once, in a drawn order; the last batch may be smaller.

    Samples that are not in memory, as those of an HDF5 file, are read batch by batch; targets are read at once.
    """

    def __init__(self, x: Any, y: Any, batch_size: int, name: str):
        self.x: Any = Stored(x) if is_stored(x) else np.asanyarray(x)
        self.y = Stored(y)[:] if is_stored(y) else np.asanyarray(y)
        self.batch_size, self.name = batch_size, name
        if self.x.ndim == 0 or self.y.ndim == 0 or len(self.x) != len(self.y):
            raise ValueError(
                f"Solver: {name} needs as many targets as samples; got shapes {self.x.shape} and {self.y.shape}"
            )
        if len(self.x) == 0:
            raise ValueError(f"Solver: {name} has no samples")

    def __len__(self) -> int:
        return -(-len(self.x) // self.batch_size)

    def batches(
        self,
        rng: np.random.Generator | None = None,
        dtype: np.dtype | None = None,
        skip: int = 0,
        change: Change | None = None,
    ) -> Iterator[Batch]:
        """Yield (x, y), shuffled by `rng`, or in order without one; leave out the first `skip`, `change` the others.

        Shuffled batches of x come in `dtype`, if it is given and x is gathered by a kernel, which converts on the way.
        """
        order = None if rng is None else rng.permutation(len(self.x))
        for start in range(skip * self.batch_size, len(self.x), self.batch_size):
            stop = min(start + self.batch_size, len(self.x))
            if order is None:
                indices, x, y = np.arange(start, stop), self.x[start:stop], self.y[start:stop]
            else:
                indices = order[start:stop]
                x, y = _gather(self.x, indices, dtype), _gather(self.y, indices)
            yield (x, y) if change is None else change(x, y, indices)


class IterableBatches:
    """Batches that an object of the user's gives, afresh for each epoch."""

    def __init__(self, iterable: Iterable[Batch], name: str):
        if not isinstance(iterable, Iterable):
            raise TypeError(
                f"Solver: {name} must be a tuple of two arrays, or an iterable of batches (x, y); got {iterable!r}"
            )
        if iter(iterable) is iterable:
            raise TypeError(
                f"Solver: {name} is an iterator, which ends after one epoch; give a list, or an object whose "
                "__iter__ starts afresh"
            )
        self.iterable, self.name = iterable, name

    def __len__(self) -> int:
        if not isinstance(self.iterable, Sized):
            raise TypeError(
                "Solver: with a schedule, train must have a length (the batches of an epoch): define __len__"
            )
        return len(self.iterable)

    def batches(
        self,
        rng: np.random.Generator | None = None,
        dtype: np.dtype | None = None,
        skip: int = 0,
        change: Change | None = None,
    ) -> Iterator[Batch]:
        """Yield (x, y) as the user's object does, without the first `skip`; `change` is told samples by their place."""
        seen = 0
        for number, batch in enumerate(self.iterable):
            if not (isinstance(batch, tuple | list) and len(batch) == 2):
                raise TypeError(f"Solver: a batch must be a pair (x, y); got {type(batch).__name__}")
            x, y = batch
            seen += len(x)
            if number >= skip:
                yield (x, y) if change is None else change(x, y, np.arange(seen - len(x), seen))


def batches_of(data: Any, batch_size: int, name: str) -> ArrayBatches | IterableBatches:
    """Give the batches of `data`: a tuple of two arrays is a data set; anything else is iterated for each epoch."""
    if isinstance(data, ArrayBatches | IterableBatches):
        return data
    if isinstance(data, tuple) and len(data) == 2 and not all(map(_is_batch, data)):
        return ArrayBatches(*data, batch_size, name)
    return IterableBatches(data, name)


def _gather(array: np.ndarray, indices: np.ndarray, dtype: np.dtype | None = None) -> np.ndarray:
    """Copy rows: by a kernel, in `dtype`, where it knows the array's dtype and layout; else by NumPy, as they are."""
    plain = type(array) in (np.ndarray, np.memmap) and array.flags.c_contiguous and array.flags.aligned
    if plain and array.dtype in GATHERED:
        return kernels.gather_rows(array, indices, array.dtype if dtype is None else dtype)
    return array[indices]


def _is_batch(part: Any) -> bool:
    """Whether it is a pair (x, y) of arrays, not an array itself."""
    return isinstance(part, tuple) and len(part) == 2 and all(isinstance(a, np.ndarray) and a.ndim > 0 for a in part)

"""Batches: how the Solver walks through its data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any

import numpy as np

from .. import kernels
from ..stored import Rows, Stored, is_stored, release
from .targets import as_weights

Batch = tuple[Any, ...]  # (x, y), or (x, y, weights of the samples)
GATHERED = (np.dtype(np.uint8), np.dtype(np.float32), np.dtype(np.float64))  # what the kernel takes
Change = Callable[[Batch, np.ndarray, int], Batch]  # (batch, indices of the samples, number) -> batch: an augmentation
Wanted = Callable[[int], bool]  # whether batch `number` is wanted; in place of another one comes ()


class ArrayBatches:
    """Batches of a data set in arrays: every sample once, in a drawn order; the last batch may be smaller.

    Samples that are not in memory, as those of an HDF5 file or a memory map, are read batch by batch; targets and
    weights are read at once.
    """

    def __init__(self, x: Any, y: Any, batch_size: int, name: str, weights: Any = None):
        self.x: Any = x if isinstance(x, Rows) else Stored(x) if is_stored(x) else np.asanyarray(x)
        self.y = Stored(y)[:] if is_stored(y) else np.asanyarray(y)
        self.batch_size, self.name = batch_size, name
        if self.x.ndim == 0 or self.y.ndim == 0 or len(self.x) != len(self.y):
            raise ValueError(
                f"Solver: {name} needs as many targets as samples; got shapes {self.x.shape} and {self.y.shape}"
            )
        if len(self.x) == 0:
            raise ValueError(f"Solver: {name} has no samples")
        self.weights = None
        if weights is not None:
            self.weights = as_weights(
                f"Solver: {name}", Stored(weights)[:] if is_stored(weights) else weights, len(self.x)
            )

    def __len__(self) -> int:
        return -(-len(self.x) // self.batch_size)

    def batches(
        self,
        rng: np.random.Generator | None = None,
        dtype: np.dtype | None = None,
        skip: int = 0,
        change: Change | None = None,
        wanted: Wanted | None = None,
    ) -> Iterator[Batch]:
        """Yield batches, shuffled by `rng`, or in order without one; leave out the first `skip`, `change` the others.

        Of those that are not `wanted` no sample is touched: () comes in their place.

        Shuffled batches of x come in `dtype`, if it is given and x is gathered by a kernel, which converts on the way.
        """
        order = None if rng is None else rng.permutation(len(self.x))
        for number, start in enumerate(range(0, len(self.x), self.batch_size)):
            if number < skip:
                continue
            if wanted is not None and not wanted(number):
                yield ()
                continue
            stop = min(start + self.batch_size, len(self.x))
            if order is None:
                indices, x, y = np.arange(start, stop), self.x[start:stop], self.y[start:stop]
            else:
                indices = order[start:stop]
                x, y = _gather(self.x, indices, dtype), _gather(self.y, indices)
            batch = (x, y) if self.weights is None else (x, y, self.weights[indices])
            yield batch if change is None else change(batch, indices, number)
            release(self.x)


class IterableBatches:
    """Batches that an object of the user's gives, afresh for each epoch."""

    def __init__(self, iterable: Iterable[Batch], name: str):
        try:
            iterator = iter(iterable)
        except TypeError:
            raise TypeError(
                f"Solver: {name} must be a tuple of two arrays, or an iterable of batches (x, y), each with weights as "
                f"a third if there are any; got {iterable!r}"
            ) from None
        if iterator is iterable:
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
        wanted: Wanted | None = None,
    ) -> Iterator[Batch]:
        """Yield what the user's object does, without the first `skip`; `change` is told samples by their place."""
        seen, size = 0, 0
        for number, given in enumerate(self.iterable):
            batch = self._checked(given, number + 1)
            if len(batch) != (size := size or len(batch)):
                raise ValueError(
                    f"Solver: {self.name}: all batches must have weights, or none; batch {number + 1} differs"
                )
            seen += len(batch[0])
            if number < skip:
                continue
            if wanted is not None and not wanted(number):
                yield ()
            elif change is None:
                yield batch
            else:
                yield change(batch, np.arange(seen - len(batch[0]), seen), number)

    def _checked(self, batch: Any, number: int) -> Batch:
        """A batch as a tuple, without weights that are None."""
        is_batch = isinstance(batch, tuple | list) and len(batch) in (2, 3)
        if is_batch and len(batch) == 3:
            is_batch = batch[2] is None or np.ndim(batch[2]) > 0  # else it is three numbers, say
        if not is_batch:
            what = type(batch).__name__
            raise TypeError(f"Solver: a batch must be a pair (x, y); got {what} (a third part is weights (N,))")
        x, y, *rest = batch
        if not rest or rest[0] is None:
            return x, y
        return x, y, as_weights(f"Solver: {self.name}, batch {number}", rest[0], len(x), some=False)


def batches_of(data: Any, batch_size: int, name: str) -> ArrayBatches | IterableBatches:
    """Give the batches of `data`: a tuple (x, y) or (x, y, weights) is a data set; all else is iterated for each epoch.

    Weights that are None are none.
    """
    if isinstance(data, ArrayBatches | IterableBatches):
        return data
    if isinstance(data, tuple) and len(data) in (2, 3) and not all(_is_batch(part, len(data)) for part in data):
        x, y, *weights = data
        return ArrayBatches(x, y, batch_size, name, *weights)
    return IterableBatches(data, name)


def _gather(array: Any, indices: np.ndarray, dtype: np.dtype | None = None) -> np.ndarray:
    """Copy rows: by a kernel, in `dtype`, where it knows the array's dtype and layout; else by NumPy, as they are."""
    if isinstance(array, Rows):
        return _gather(array.source, array.rows[indices], dtype)
    plain = type(array) in (np.ndarray, np.memmap) and array.flags.c_contiguous and array.flags.aligned
    if plain and array.dtype in GATHERED:
        return kernels.gather_rows(array, indices, array.dtype if dtype is None else dtype)
    return array[indices]


def _is_batch(part: Any, parts: int) -> bool:
    """Whether it is a batch of arrays, not an array itself; a list, which may be either, is none of two parts."""
    if not isinstance(part, tuple if parts == 2 else (tuple, list)) or len(part) not in (2, 3):
        return False
    return all(isinstance(a, np.ndarray) and a.ndim > 0 for a in part)

"""Arrays in files, such as HDF5's, Zarr's and memory maps: their rows are read when they are asked for."""

from __future__ import annotations

import math
import mmap
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from .arrays import as_array

__all__ = ["Rows", "Stored", "is_stored", "release", "rows_of"]

IN_MEMORY = ("__array_interface__", "__dlpack__", "iloc")  # what arrays and tables have that need no reading


class Stored:
    """An array of which only some rows are in memory: those that an index has just given.

    Parameters
    ----------
    source : object with shape, dtype and slicing
        source[a:b] gives rows a to b-1. It is asked for nothing else, and for no row that is not wanted.

    Examples
    --------
    >>> rows = Stored(np.arange(8).reshape(4, 2))
    >>> rows[np.array([3, 0])].tolist(), rows[1:3].tolist()
    ([[6, 7], [0, 1]], [[2, 3], [4, 5]])
    """

    def __init__(self, source: Any):
        self.source, self.shape, self.dtype = source, tuple(source.shape), np.dtype(source.dtype)
        self.ndim, self.size = len(self.shape), math.prod(self.shape)
        self.nbytes = self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Read rows: of a slice, or of an array of indices, in its order. In a file they are read in the file's."""
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(len(self))
            return self._read(start, max(start, stop))
        ordered, places = np.unique(rows, return_inverse=True)
        if len(ordered) == 0:
            return self._read(0, 0)
        breaks = np.flatnonzero(np.diff(ordered) != 1) + 1
        runs = np.split(ordered, breaks)
        return np.concatenate([self._read(int(run[0]), int(run[-1]) + 1) for run in runs])[places]

    def _read(self, start: int, stop: int) -> np.ndarray:
        """Read rows that follow each other."""
        rows = np.asarray(self.source[start:stop])
        if rows.shape != (stop - start, *self.shape[1:]):
            raise ValueError(
                f"{type(self.source).__name__} of shape {self.shape}: [{start}:{stop}] must give shape "
                f"{(stop - start, *self.shape[1:])}; it gave {rows.shape}"
            )
        return rows


class Rows(NDArrayOperatorsMixin):
    """Some rows of a memory-mapped array, in their order, of which no copy is made.

    It has the shape, the dtype, the length and the indexing of an array; what an index gives is a new array. Anything
    else that arrays have, such as arithmetic and `mean()`, reads all rows first.

    Parameters
    ----------
    source : array (N, ...)
    rows : array of int
        Which of its rows.

    Examples
    --------
    >>> x = Rows(np.arange(8).reshape(4, 2), np.array([1, 3]))
    >>> x.shape, x[1].tolist(), x[:, 0].tolist(), (x + 1).tolist()
    ((2, 2), [6, 7], [2, 6], [[3, 4], [7, 8]])
    """

    def __init__(self, source: np.ndarray, rows: np.ndarray):
        self.source, self.rows = source, rows
        self.shape, self.dtype = (len(rows), *source.shape[1:]), source.dtype
        self.ndim, self.size = source.ndim, math.prod(self.shape)
        self.nbytes = self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> Any:
        first, *others = key if isinstance(key, tuple) and key else (key,)
        plain = all(isinstance(part, int | np.integer | slice) for part in others)
        if isinstance(first, tuple | None) or first is Ellipsis or not plain:
            return np.asarray(self)[key]
        chosen = self.rows[first]
        given = self.source[chosen] if chosen.ndim else np.array(self.source[chosen])
        release(self.source)
        return given[(slice(None),) * chosen.ndim + tuple(others)] if others else given

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("rows of a file cannot become an array without a copy")
        return np.asarray(self[:], dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if any(isinstance(out, Rows) for out in options.get("out", ())):
            return NotImplemented  # they are never written to
        return getattr(ufunc, method)(*(np.asarray(x) if isinstance(x, Rows) else x for x in inputs), **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or not hasattr(np.ndarray, name):  # protocols of arrays ask for memory to share
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(np.asarray(self), name)

    def __repr__(self) -> str:
        return f"Rows({self.dtype} of shape {self.shape}, {len(self):,} of {len(self.source):,} in a file)"


def release(x: Any) -> None:
    """Let go of the pages of a memory map that have been read, if x is in one that cannot be written to.

    Pages that are read count as memory of this process until the system needs them. So a program that goes through a
    large file seems to take as much memory as the file; it does not if it says now and then that it is done. The pages
    stay in the system's cache, and are there again at once when they are read again.
    """
    while isinstance(x, Rows | Stored):
        x = x.source
    read_only = False
    while isinstance(x, np.ndarray):
        read_only = read_only or (isinstance(x, np.memmap) and x.mode == "r")  # else, what was written would be lost
        x = x.base
    if read_only and isinstance(x, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        x.madvise(mmap.MADV_DONTNEED)


def is_stored(x: Any) -> bool:
    """Whether x is an array that is not in memory: it has a shape, a dtype of NumPy's and slicing, but no memory."""
    if isinstance(x, np.ndarray | np.generic | type) or any(hasattr(x, name) for name in IN_MEMORY):
        return False
    if not (isinstance(getattr(x, "shape", None), tuple | list) and hasattr(x, "dtype") and hasattr(x, "__getitem__")):
        return False
    try:
        np.dtype(x.dtype)
    except TypeError:
        return False
    return len(x.shape) > 0


def rows_of(x: Any, who: str) -> Any:
    """Give real numbers as an array, or, where they are not in memory, as what reads them; TypeError if none."""
    if not is_stored(x):
        return as_array(x, who)
    stored = x if isinstance(x, Stored) else Stored(x)
    as_array(np.empty(0, stored.dtype), who)
    return stored

"""Arrays in files, such as HDF5's and Zarr's: their rows are read when they are asked for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .arrays import as_array

__all__ = ["Stored", "is_stored", "rows_of"]

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
    stored = Stored(x)
    as_array(np.empty(0, stored.dtype), who)
    return stored

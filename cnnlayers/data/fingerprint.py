"""How a data set is recognised when a run goes on: by its shape, and by digests of some of its samples."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

__all__ = ["fingerprint", "size_of"]

SAMPLES, TARGETS = 64, 2**16  # at most this many are looked at, spread over all,
LEAST, BYTES = 4, 2**22  # or fewer, where they are large


def size_of(data: Any) -> list[int] | str | None:
    """Give what is known of a data set: the shape of x, or that it is an iterable of the user's own."""
    if data is None:
        return None
    return list(data.x.shape) if hasattr(data, "x") else "batches"


def fingerprint(data: Any) -> dict[str, str] | None:
    """Give the digests by which a data set in arrays is known again: cheap, also where it is a memory map."""
    if not hasattr(data, "x") or data.x.dtype.hasobject or data.y.dtype.hasobject:
        return None
    digests = {"samples": _digest(data.x, SAMPLES), "targets": _digest(data.y, TARGETS)}
    return digests if data.weights is None else digests | {"weights": _digest(data.weights, TARGETS)}


def _digest(array: np.ndarray, most: int) -> str:
    """SHA-256 of an array's dtype, shape and some of its rows, the first and the last among them."""
    fitting = max(BYTES * len(array) // max(array.nbytes, 1), LEAST)
    rows = np.linspace(0, len(array) - 1, min(len(array), most, fitting)).astype(np.intp)
    head = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array[rows]).tobytes()).hexdigest()

"""Arrays from outside: what may come in, and how the package wants it."""

from typing import Any

import numpy as np


def as_array(x, who: str) -> np.ndarray:
    """x as an array of real numbers.

    Raises
    ------
    TypeError
        If x holds anything but bool, integers or floats.
    ValueError
        If x is a ragged list.
    """
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise ValueError(f"{who} needs an array of numbers; got {type(x).__name__}: {error}") from None
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{who} needs real numbers (bool, integers or floats); got dtype {array.dtype}")
    return array


def float_dtype(dtype, who: str) -> np.dtype:
    """Give float32 or float64, in native byte order."""
    try:
        wanted = np.dtype(dtype).newbyteorder("=")
    except TypeError:
        wanted = np.dtype(object)
    for precision in map(np.dtype, (np.float32, np.float64)):
        if wanted == precision:  # so is long double where it is no longer than double, but it has another letter
            return precision
    raise TypeError(f"{who}: dtype must be float32 or float64; got {dtype!r}")


def clean(x: np.ndarray, dtype: np.dtype | None) -> np.ndarray:
    """x as the kernels take it, of this dtype, contiguous and aligned: x itself if it is so already."""
    if x.dtype == dtype and x.dtype.char == dtype.char and x.flags.c_contiguous and x.flags.aligned:
        return x
    return np.require(x, dtype, ["C", "A"])


def from_bfloat16(halves: np.ndarray) -> np.ndarray:
    """Give the float32 of the same values; bfloat16, which NumPy lacks, comes as uint16: their upper halves.

    >>> from_bfloat16(np.array([0x3F80], np.uint16))
    array([1.], dtype=float32)
    """
    return (halves.astype(np.uint32) << 16).view(np.float32)


def from_nchw(x: Any) -> np.ndarray:
    """Channels first to channels last: (N, C, H, W) to (N, H, W, C), (N, C, L) to (N, L, C). A new array.

    >>> from_nchw(np.zeros((2, 3, 32, 32))).shape
    (2, 32, 32, 3)
    """
    return np.ascontiguousarray(np.moveaxis(_images(x, "from_nchw", "(N, C, H, W) or (N, C, L)"), 1, -1))


def to_nchw(x: Any) -> np.ndarray:
    """Channels last to channels first: (N, H, W, C) to (N, C, H, W), (N, L, C) to (N, C, L). A new array.

    >>> to_nchw(np.zeros((2, 32, 32, 3))).shape
    (2, 3, 32, 32)
    """
    return np.ascontiguousarray(np.moveaxis(_images(x, "to_nchw", "(N, H, W, C) or (N, L, C)"), -1, 1))


def _images(x: Any, who: str, shapes: str) -> np.ndarray:
    """A copy of x, checked to be a batch of images or signals."""
    array = np.array(as_array(x, who))
    if array.ndim not in (3, 4):
        raise ValueError(f"{who} needs an array {shapes}; got shape {array.shape}")
    return array

"""Batches of images, their indices and targets as augmentations take them: checked, and in one form."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import NO_CHANNELS, as_integer
from .draws import Draws
from .targets import FLOATS, REAL

__all__ = ["as_draws", "as_images", "as_target_rows"]


def as_images(who: Any, batch: Any) -> np.ndarray:
    """Give the batch as contiguous images of uint8, float32 or float64."""
    x = np.asarray(batch)
    if x.ndim != 4 or 0 in x.shape[1:]:
        hint = f"; {NO_CHANNELS}" if x.ndim == 3 else ""
        raise ValueError(f"{who} needs images (N, H, W, C); got shape {x.shape}{hint}")
    if x.dtype.kind not in REAL:
        raise TypeError(f"{who} needs images of real numbers; got dtype {x.dtype}")
    kept = x.dtype.newbyteorder("=") if x.dtype == np.uint8 or x.dtype.newbyteorder("=") in FLOATS else FLOATS[0]
    return np.require(x, kept, ["C_CONTIGUOUS", "ALIGNED"])


def as_draws(who: Any, n: int, seed: Any, epoch: Any, indices: Any) -> Draws:
    """Give the streams of n samples."""
    seed = as_integer(type(who).__name__, "seed", seed, low=0)
    epoch = as_integer(type(who).__name__, "epoch", epoch, low=0)
    numbers = np.asarray(indices)
    if numbers.shape != (n,) or (n > 0 and numbers.dtype.kind not in "iu"):
        raise ValueError(
            f"{who!r}: a batch of {n} needs {n} indices of samples; got {numbers.dtype} of shape {numbers.shape}"
        )
    return Draws(seed, epoch, numbers.astype(np.int64))


def as_target_rows(who: Any, y: Any, n: int) -> np.ndarray:
    """Give target rows (N, classes) as floats."""
    rows = np.asarray(y)
    if rows.ndim != 2 or len(rows) != n or rows.dtype.kind not in REAL:
        raise ValueError(
            f"{who!r} needs a target row for each of the {n} samples, (N, classes), as one-hot labels are; "
            f"got {rows.dtype} of shape {rows.shape}"
        )
    return rows if rows.dtype in FLOATS else rows.astype(np.float64)

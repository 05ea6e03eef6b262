"""Samples as scikit-learn has them, flat rows, and as a net takes them, images (H, W, C) or signals (L, C)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..checks import as_shape, cure, with_batch

__all__ = ["flat", "input_shape", "shaped"]


def flat(X: Any) -> tuple[Any, tuple[int, ...] | None]:
    """Give X as rows, and the shape of a sample if it is no row: then X is an array or a list of more than two axes."""
    if isinstance(X, list | tuple):
        X = np.asarray(X)
    if getattr(X, "ndim", 2) <= 2:
        return X, None
    X = np.asarray(X)
    return X.reshape(len(X), -1), X.shape[1:]


def input_shape(who: str, image_shape: Any, given: tuple[int, ...] | None, features: int) -> tuple[int, ...]:
    """Give the shape in which the net takes a sample: `image_shape`, or else that of the samples as they came."""
    if image_shape is None:
        return given or (features,)
    shape = as_shape(f"{who}: image_shape", image_shape)
    if math.prod(shape) != features:
        raise ValueError(
            f"{who}: image_shape={shape} needs samples of {math.prod(shape)} numbers; X has {features} features"
        )
    return shape


def shaped(who: str, rows: np.ndarray, given: tuple[int, ...] | None, shape: tuple[int, ...]) -> np.ndarray:
    """Give rows the shape that the net takes, unless they came in another one than it, or than that of gray images."""
    if given is not None and shape not in (given, (*given, 1)):
        hint = cure(given, shape)
        raise ValueError(
            f"{who} needs samples {with_batch(shape)}, or flat rows; got {with_batch(given)}" + (hint and f": {hint}")
        )
    return rows.reshape(len(rows), *shape)

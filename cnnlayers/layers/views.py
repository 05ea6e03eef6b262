"""Predictions averaged over views of each image: test-time augmentation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..arrays import as_array, clean
from ..checks import as_number

__all__ = ["Views", "mean_over_views"]

Views = Callable[[np.ndarray], Iterable[tuple[float, np.ndarray]]]

ROUNDING = 1e-6  # by so much the sum of the weights may differ from 1


def mean_over_views(
    predict: Callable[[np.ndarray], np.ndarray], x: Any, views: Views, dtype: np.dtype | None
) -> np.ndarray:
    """Give sum_v weight_v predict(images_v) over the (weight, images) that views(x) gives, added up in their order.

    One view is predicted after the other, so that none but the one under way is in memory, if `views` is a generator.

    Parameters
    ----------
    predict : function of a batch
    x : (N, ...)
        One batch. `views` gets it in `dtype`, read-only.
    views : callable x -> iterable of (weight, images)
        The weights are at least 0 and sum to 1; the images have the shape of x.
    dtype : dtype
        That of the net.

    Raises
    ------
    TypeError, ValueError
        If `views` is not such a function.

    Examples
    --------
    >>> x = np.array([[1.0, 2.0]])
    >>> mean_over_views(np.square, x, lambda x: [(0.5, x), (0.5, x[:, ::-1])], x.dtype)
    array([[2.5, 2.5]])
    """
    if not callable(views):
        raise TypeError(f"views must be a function of a batch, as cl.augment.mirror; got {views!r}")
    x = clean(as_array(x, "views"), dtype).view()
    x.flags.writeable = False
    given = views(x)
    if not isinstance(given, Iterable):
        raise TypeError(f"views must give pairs (weight, images); it gave {type(given).__name__}")
    mean, total, number = np.zeros(0), 0.0, 0
    for view in given:
        number += 1
        weight, images = _weight_and_images(view, number, x.shape)
        scores = weight * predict(clean(images, dtype))
        mean, total = scores if number == 1 else mean + scores, total + weight
        if total > 1 + ROUNDING:  # there may be no end of them
            break
    if abs(total - 1) > ROUNDING:
        raise ValueError(f"views: the weights must sum to 1; those of the first {number} sum to {total:g}")
    return mean


def _weight_and_images(view: Any, number: int, shape: tuple[int, ...]) -> tuple[float, np.ndarray]:
    """Check one view."""
    if not (isinstance(view, tuple | list) and len(view) == 2):
        got = f"an array of shape {view.shape}" if isinstance(view, np.ndarray) else repr(view)
        raise TypeError(f"views must give pairs (weight, images), as (0.5, x); number {number} is {got}")
    weight = as_number("views", f"the weight of number {number}", view[0], low=0)
    images = as_array(view[1], f"views: number {number}")
    if images.shape != shape:
        raise ValueError(f"views: number {number} must have the shape of its batch, {shape}; got {images.shape}")
    return weight, images

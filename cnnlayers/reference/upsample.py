"""Larger images: each place of y reads pixels of x by weights, so each pixel gets δ back by the same weights.

Shapes: x, dx (N, H, W, C) or (N, L, C); y, dy `factor` times as long on each spatial axis. δ is dL/dy.
"""

import itertools
import math

import numpy as np

from .arrays import float64
from .windows import Index, per_axis


def upsample(x, factor, mode="nearest") -> np.ndarray:
    """y[n, place, c] = sum over the pixels that it reads of weight x[n, pixel, c].

    Shapes      x (N, H, W, C) or (N, L, C);  y (N, H factor, W factor, C) or (N, L factor, C)

    Parameters
    ----------
    x : array, (N, H, W, C) or (N, L, C)
    factor : int or one int per spatial axis
    mode : "nearest" or "bilinear"

    Examples
    --------
    >>> upsample([[[1], [5]]], 2).ravel(), upsample([[[1], [5]]], 2, "bilinear").ravel()
    (array([1., 1., 5., 5.]), array([1., 2., 4., 5.]))
    """
    (x,) = float64(x)
    factors = per_axis(factor, x.ndim - 2, "factor")
    sizes = [n * f for n, f in zip(x.shape[1:-1], factors, strict=True)]
    y = np.zeros((len(x), *sizes, x.shape[-1]))
    for place in np.ndindex(*sizes):
        for pixel, weight in _reads(place, x.shape[1:-1], factors, mode):
            for image, out in zip(x, y, strict=True):
                out[place] += weight * image[pixel]  # y[place] = sum of weight x[pixel]
    return y


def upsample_backward(x, dy, factor, mode="nearest") -> np.ndarray:
    """dL/dx[n, pixel, c] = sum over the places that read the pixel of weight δ[n, place, c].

    Shapes      x, dx (N, H, W, C) or (N, L, C), of x the shape alone matters;  dy as y

    Examples
    --------
    >>> upsample_backward(np.zeros((1, 2, 1)), np.array([1, 2, 3, 4]).reshape(1, 4, 1), 2).ravel()
    array([3., 7.])
    """
    x, delta = float64(x, dy)
    factors = per_axis(factor, x.ndim - 2, "factor")
    dx = np.zeros(x.shape)
    for place in np.ndindex(*delta.shape[1:-1]):
        for pixel, weight in _reads(place, x.shape[1:-1], factors, mode):
            for dimage, d in zip(dx, delta, strict=True):
                dimage[pixel] += weight * d[place]  # dL/dx[pixel] = sum of weight δ[place]
    return dx


def _reads(place, sizes, factors, mode) -> list[tuple[Index, float]]:
    """The pixels that a place of y reads, each with its weight: the product of those along the axes."""
    axes = [_along(i, n, f, mode) for i, n, f in zip(place, sizes, factors, strict=True)]
    return [(tuple(i for i, _ in pair), math.prod(w for _, w in pair)) for pair in itertools.product(*axes)]


def _along(i: int, size: int, factor: int, mode: str) -> list[tuple[int, float]]:
    """The pixels that output i reads on one axis, each with its weight."""
    if mode == "nearest":
        return [(i // factor, 1.0)]
    middle = (i + 1 / 2) / factor - 1 / 2  # of output i, where pixel j has its middle at j
    left = math.floor(middle)
    near = middle - left  # how far towards the pixel on the right
    return [(max(left, 0), 1 - near), (min(left + 1, size - 1), near)]  # the outermost value stays beyond its middle

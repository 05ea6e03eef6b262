"""Images of another size: each place of y reads pixels of x by weights, so each pixel gets δ back by the same weights.

Shapes: x, dx (N, H, W, C) or (N, L, C); y, dy (N, *size, C). δ is dL/dy.
"""

import itertools
import math

import numpy as np

from .arrays import float64


def resize(
    x, size, mode, scale, coordinates, rounding, cubic_coeff, exclude_outside, antialias, roi, value
) -> np.ndarray:
    """y[n, place, c] = sum over the pixels that it reads of weight x[n, pixel, c], or the value if it is outside of x.

    Shapes      x (N, H, W, C) or (N, L, C);  y (N, *size, C)
    Source      R. Keys, "Cubic Convolution Interpolation for Digital Image Processing", 1981

    Parameters
    ----------
    x : array, (N, H, W, C) or (N, L, C)
    size, mode, scale, coordinates, rounding, cubic_coeff, exclude_outside, antialias, roi, value
        As `layers.Resize` has them.

    Examples
    --------
    >>> resize([[[1], [5]]], 4, "bilinear", None, None, "floor", -0.75, False, False, None, 0.0).ravel()
    array([1., 2., 4., 5.])
    """
    (x,) = float64(x)
    options = mode, coordinates, rounding, cubic_coeff, exclude_outside, antialias
    axes = _axes(x.shape[1:-1], size, scale, roi, options)
    y = np.zeros((len(x), *(len(axis) for axis in axes), x.shape[-1]))
    for place in np.ndindex(*y.shape[1:-1]):
        reads = [axis[i] for axis, i in zip(axes, place, strict=True)]
        if None in reads:
            y[:, *place] = value
            continue
        for pixel, weight in _products(reads):
            y[:, *place] += weight * x[:, *pixel]  # y[place] = sum of weight x[pixel]
    return y


def resize_backward(
    x, dy, size, mode, scale, coordinates, rounding, cubic_coeff, exclude_outside, antialias, roi
) -> np.ndarray:
    """dL/dx[n, pixel, c] = sum over the places that read the pixel of weight δ[n, place, c].

    Shapes      x, dx (N, H, W, C) or (N, L, C), of x the shape alone matters;  dy as y
    Source      As for `resize`

    Examples
    --------
    >>> dy = np.reshape([1, 2, 3, 4], (1, 4, 1))
    >>> resize_backward(np.zeros((1, 2, 1)), dy, 4, "nearest", None, None, "floor", 0, False, False, None).ravel()
    array([3., 7.])
    """
    x, delta = float64(x, dy)
    options = mode, coordinates, rounding, cubic_coeff, exclude_outside, antialias
    axes = _axes(x.shape[1:-1], size, scale, roi, options)
    dx = np.zeros(x.shape)
    for place in np.ndindex(*delta.shape[1:-1]):
        reads = [axis[i] for axis, i in zip(axes, place, strict=True)]
        for pixel, weight in [] if None in reads else _products(reads):
            dx[:, *pixel] += weight * delta[:, *place]  # dL/dx[pixel] = sum of weight δ[place]
    return dx


def _products(reads) -> list:
    """The pixels that a place reads, each with its weight: the product of those along the axes."""
    combined = itertools.product(*reads)
    return [(tuple(j for j, _ in pixel), math.prod(weight for _, weight in pixel)) for pixel in combined]


def _axes(sizes, size, scale, roi, options) -> list:
    """For each axis, what each output reads: pairs (pixel, weight), or None outside of x."""
    rank = len(sizes)
    scales = list(scale) if isinstance(scale, tuple) else [scale] * rank
    made = list(size) if isinstance(size, tuple) else [size] * rank
    made = [math.floor(s * n) if m is None else m for n, m, s in zip(sizes, made, scales, strict=True)]
    rois = roi or [(0, 1)] * rank
    return [
        [_along(i, n, m, s, part, *options) for i in range(m)]
        for n, m, s, part in zip(sizes, made, scales, rois, strict=True)
    ]


def _along(i, n, m, scale, roi, mode, coordinates, rounding, a, exclude_outside, antialias):
    """What output i of m reads of n pixels."""
    p = _place(i, n, m, scale, roi, coordinates or ("asymmetric" if mode == "nearest" else "half_pixel"))
    if coordinates == "tf_crop_and_resize" and not 0 <= p <= n - 1:
        return None
    whole = {
        "floor": math.floor(p),
        "ceil": math.ceil(p),
        "round_prefer_floor": math.ceil(p - 0.5),
        "round_prefer_ceil": math.floor(p + 0.5),
    }
    s = min(1, scale or m / n) if antialias else 1
    k = _tent if mode == "bilinear" else _cubic
    around = range(math.floor(p - 2 / s), math.ceil(p + 2 / s) + 1)
    found = [(whole[rounding], 1)] if mode == "nearest" else [(j, k(s * (j - p), a)) for j in around]
    if antialias:
        found = _shared(found)
    if exclude_outside:
        found = _shared([(j, weight) for j, weight in found if 0 <= j < n])
    return [(min(max(j, 0), n - 1), weight) for j, weight in found]  # beyond the ends the outermost pixels go on


def _shared(found) -> list:
    """The same, but that the weights sum to 1, if there are any."""
    total = sum(weight for _, weight in found) or 1
    return [(j, weight / total) for j, weight in found]


def _place(i, n, m, scale, roi, coordinates) -> float:
    """Where output i is, when pixel j of x is at j."""
    s = scale or m / n
    length = scale * n if scale else m
    start, end = roi
    part = i / (length - 1) if length != 1 else 0
    return {
        "half_pixel": (i + 1 / 2) / s - 1 / 2,
        "pytorch_half_pixel": (i + 1 / 2) / s - 1 / 2 if length != 1 else 0,
        "half_pixel_symmetric": (n - 1) / 2 + (i - (m - 1) / 2) / s,
        "asymmetric": i / s,
        "align_corners": part * (n - 1),
        "tf_crop_and_resize": ((start + part * (end - start)) if length != 1 else (start + end) / 2) * (n - 1),
    }[coordinates]


def _tent(t, a) -> float:
    return max(1 - abs(t), 0)


def _cubic(t, a) -> float:
    """The cubic that is 1 at 0, 0 at the other whole numbers, and of slope a at 1."""
    t = abs(t)
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0

"""What moves numbers without changing them: rows, other shapes, borders. The gradient moves back.

δ is dL/dy.
"""

import numpy as np

from .arrays import float64
from .windows import Index, pad_pairs


def flatten(x) -> np.ndarray:
    """y[n] = x[n] as one row, in row-major order.

    Shapes      x (N, ...);  y (N, D), D the product of the rest
    """
    return reshape(x, (np.prod(np.shape(x)[1:], dtype=int),))


def flatten_backward(x, dy) -> np.ndarray:
    """dL/dx = δ in the shape of x.

    Shapes      x, dx (N, ...), of x the shape alone matters;  dy (N, D)
    """
    return reshape_backward(x, dy)


def reshape(x, shape) -> np.ndarray:
    """y[n] = x[n] reshaped, in row-major order.

    Shapes      x (N, ...);  y (N, *shape)
    """
    (x,) = float64(x)
    return x.reshape(len(x), *shape)


def reshape_backward(x, dy) -> np.ndarray:
    """dL/dx = δ in the shape of x.

    Shapes      x, dx (N, ...), of x the shape alone matters;  dy (N, *shape)
    """
    x, delta = float64(x, dy)
    return delta.reshape(x.shape)


def permute(x, axes) -> np.ndarray:
    """y[n, i_axes[0], i_axes[1], ...] = x[n, i_0, i_1, ...].

    Shapes      x (N, s_0, s_1, ...);  y (N, s_axes[0], s_axes[1], ...)

    Examples
    --------
    >>> permute([[[1, 2, 3], [4, 5, 6]]], (1, 0)).tolist()
    [[[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]]
    """
    (x,) = float64(x)
    y = np.zeros((len(x), *(x.shape[1 + axis] for axis in axes)))
    for i in np.ndindex(*x.shape[1:]):
        y[:, *(i[axis] for axis in axes)] = x[:, *i]
    return y


def permute_backward(x, dy, axes) -> np.ndarray:
    """dL/dx[n, i_0, i_1, ...] = δ[n, i_axes[0], i_axes[1], ...].

    Shapes      x, dx (N, s_0, s_1, ...), of x the shape alone matters;  dy as y
    """
    x, delta = float64(x, dy)
    dx = np.zeros(x.shape)
    for i in np.ndindex(*x.shape[1:]):
        dx[:, *i] = delta[:, *(i[axis] for axis in axes)]
    return dx


def pad(x, padding, value=0.0, mode="constant") -> np.ndarray:
    """y[n, place, c] = x[n, the pixel at the place, c], or the value where none does.

    Shapes      x (N, H, W, C) or (N, L, C);  y longer by before + after on each spatial axis

    Parameters
    ----------
    x : array, (N, H, W, C) or (N, L, C)
    padding : int, one int per axis, or a (before, after) pair per axis
    value : float
        What is outside with "constant".
    mode : "constant", "edge" or "reflect"
        Outside are the value, the nearest pixel, or the pixel as far inside.

    Examples
    --------
    >>> pad([[[1], [2], [3]]], [(2, 1)], mode="reflect").ravel()
    array([3., 2., 1., 2., 3., 2.])
    """
    (x,) = float64(x)
    sizes = x.shape[1:-1]
    pads = _pads(x, padding)
    padded = [before + size + after for size, (before, after) in zip(sizes, pads, strict=True)]
    y = np.full((len(x), *padded, x.shape[-1]), float(value))
    for place in np.ndindex(*padded):
        pixel = _shown(place, sizes, pads, mode)
        if pixel is not None:
            for image, out in zip(x, y, strict=True):
                out[place] = image[pixel]  # y[place] = x[pixel]
    return y


def pad_backward(x, dy, padding, mode="constant") -> np.ndarray:
    """dL/dx[n, pixel, c] = sum of δ[n, place, c] over all places that the pixel is at.

    Shapes      x, dx (N, H, W, C) or (N, L, C), of x the shape alone matters;  dy as y

    Examples
    --------
    >>> pad_backward(np.zeros((1, 3, 1)), np.array([1, 2, 3, 4, 5, 6]).reshape(1, 6, 1), [(2, 1)], "reflect").ravel()
    array([ 3., 12.,  6.])
    """
    x, delta = float64(x, dy)
    pads = _pads(x, padding)
    dx = np.zeros(x.shape)
    for place in np.ndindex(*delta.shape[1:-1]):
        pixel = _shown(place, x.shape[1:-1], pads, mode)
        if pixel is not None:
            for dimage, d in zip(dx, delta, strict=True):
                dimage[pixel] += d[place]  # dL/dx[pixel] = sum of δ[place]
    return dx


def _pads(x, padding) -> list[tuple[int, int]]:
    sizes = x.shape[1:-1]
    return pad_pairs(padding, sizes, sizes, sizes, sizes)


def _shown(place, sizes, pads, mode) -> Index | None:
    """The pixel at a place of y; None where it is the value."""
    pixel = []
    for at, size, (before, _) in zip(place, sizes, pads, strict=True):
        i = at - before  # the pixel, if there is one
        if not 0 <= i < size and mode == "constant":
            return None
        if mode == "edge":
            i = min(max(i, 0), size - 1)
        if mode == "reflect":
            i = -i if i < 0 else 2 * (size - 1) - i if i >= size else i
        pixel.append(i)
    return tuple(pixel)

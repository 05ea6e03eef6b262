"""Activations made of straight pieces: each gradient is the slope of the piece at x times δ.

Shapes: y, dy and dx are of the shape of x, which may be any. δ is dL/dy.
"""

import numpy as np

from .arrays import float64


def clip(x, low, high) -> np.ndarray:
    """y = low where x < low, high where x > high, else x; a bound that is None is not there."""
    (x,) = float64(x)
    y = x if low is None else np.where(x < low, low, x)
    return y if high is None else np.where(x > high, high, y)


def clip_backward(x, dy, low, high) -> np.ndarray:
    """dL/dx = δ where low < x < high, else 0.

    Examples
    --------
    >>> clip_backward([-1, 0, 2, 6, 7], [1, 2, 3, 4, 5], low=0, high=6)
    array([0., 0., 3., 0., 0.])
    """
    x, delta = float64(x, dy)
    above = True if low is None else x > low
    below = True if high is None else x < high
    slope = np.where(above & below, 1, 0)  # dy/dx
    return slope * delta  # dL/dx = dy/dx δ


def hard_sigmoid(x, alpha, beta) -> np.ndarray:
    """y = max(0, min(1, alpha x + beta)).

    Source      M. Courbariaux, Y. Bengio, J.-P. David, "BinaryConnect", 2015
    """
    (x,) = float64(x)
    return np.maximum(0, np.minimum(1, alpha * x + beta))


def hard_sigmoid_backward(x, dy, alpha, beta) -> np.ndarray:
    """dL/dx = alpha δ where 0 < alpha x + beta < 1, else 0.

    Source      As for `hard_sigmoid`

    Examples
    --------
    >>> hard_sigmoid_backward([-1, 0, 1], [1, 2, 3], alpha=0.5, beta=0.5)
    array([0., 1., 0.])
    """
    x, delta = float64(x, dy)
    line = alpha * x + beta
    slope = np.where((line > 0) & (line < 1), alpha, 0)  # dy/dx
    return slope * delta  # dL/dx = dy/dx δ


def hard_swish(x) -> np.ndarray:
    """y = x s, with s = max(0, min(1, x / 6 + 1 / 2)).

    Source      A. Howard et al., "Searching for MobileNetV3", 2019
    """
    (x,) = float64(x)
    return x * hard_sigmoid(x, 1 / 6, 1 / 2)


def hard_swish_backward(x, dy) -> np.ndarray:
    """dL/dx = (s + x s') δ.

    Source      As for `hard_swish`

    Examples
    --------
    >>> hard_swish_backward([-4, 0, 4], [1, 2, 3])
    array([0., 1., 3.])
    """
    x, delta = float64(x, dy)
    s = hard_sigmoid(x, 1 / 6, 1 / 2)
    ds = hard_sigmoid_backward(x, np.ones(x.shape), 1 / 6, 1 / 2)  # s'
    slope = s + x * ds  # dy/dx = s + x s'
    return slope * delta  # dL/dx = dy/dx δ

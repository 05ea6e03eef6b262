"""Functions of one number that are smooth: each gradient is the slope at x times δ.

Shapes: y, dy and dx are of the shape of x, which may be any. δ is dL/dy.
"""

import numpy as np

from .activations import sigmoid
from .arrays import float64


def softplus(x) -> np.ndarray:
    """y = log(1 + exp(x)).

    Source      C. Dugas et al., "Incorporating Second-Order Functional Knowledge for Better Option Pricing", 2000
    """
    (x,) = float64(x)
    return np.log(1 + np.exp(x))


def softplus_backward(x, dy) -> np.ndarray:
    """dL/dx = σ(x) δ, since exp(x) / (1 + exp(x)) = 1 / (1 + exp(-x)).

    Source      As for `softplus`

    Examples
    --------
    >>> softplus_backward([0], [8])
    array([4.])
    """
    slope, delta = float64(sigmoid(x), dy)  # dy/dx = σ(x)
    return slope * delta  # dL/dx = dy/dx δ


def reciprocal(x) -> np.ndarray:
    """y = 1 / x."""
    (x,) = float64(x)
    return 1 / x


def reciprocal_backward(x, dy) -> np.ndarray:
    """dL/dx = -δ / x².

    Examples
    --------
    >>> reciprocal_backward([2], [8])
    array([-2.])
    """
    x, delta = float64(x, dy)
    slope = -1 / x**2  # dy/dx
    return slope * delta  # dL/dx = dy/dx δ

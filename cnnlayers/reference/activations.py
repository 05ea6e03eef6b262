"""Activations: one number in, one number out, so each gradient is the slope at x times δ.

Shapes: y, dy and dx are of the shape of x, which may be any. δ is dL/dy.
"""

import numpy as np

from .arrays import float64


def relu(x) -> np.ndarray:
    """y = x where x > 0, else 0.

    Source      UC Berkeley CS W182 discussion sheet, Problem 3

    Examples
    --------
    >>> relu([-1, 0, 2])
    array([0., 0., 2.])
    """
    (x,) = float64(x)
    return np.where(x > 0, x, 0)  # σ(x)


def relu_backward(x, dy) -> np.ndarray:
    """dL/dx = R(x) δ, where R(x) is 1 where x > 0, else 0.

    Source      UC Berkeley CS W182 discussion sheet, Problem 3

    Examples
    --------
    >>> relu_backward([-1, 0, 2], [5, 6, 7])
    array([0., 0., 7.])
    """
    x, delta = float64(x, dy)
    R = np.where(x > 0, 1, 0)  # the diagonal of R(x)
    return R * delta  # dL/dx = R(x) δ


def leaky_relu(x, alpha) -> np.ndarray:
    """y = x where x > 0, else alpha x.

    Source      A. Maas, A. Hannun, A. Ng, "Rectifier Nonlinearities Improve Neural Network Acoustic Models", 2013
    """
    (x,) = float64(x)
    return np.where(x > 0, x, alpha * x)


def leaky_relu_backward(x, dy, alpha) -> np.ndarray:
    """dL/dx = δ where x > 0, else alpha δ.

    Source      As for `leaky_relu`

    Examples
    --------
    >>> leaky_relu_backward([-4, 2], [10, 30], alpha=0.5)
    array([ 5., 30.])
    """
    x, delta = float64(x, dy)
    slope = np.where(x > 0, 1, alpha)  # dy/dx
    return slope * delta  # dL/dx = dy/dx δ


def elu(x, alpha) -> np.ndarray:
    """y = x where x > 0, else alpha (exp(x) - 1).

    Source      D.-A. Clevert, T. Unterthiner, S. Hochreiter, "Fast and Accurate Deep Network Learning by Exponential
                Linear Units (ELUs)", 2016
    """
    (x,) = float64(x)
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))  # exp(x) - 1 is computed where it is taken


def elu_backward(x, dy, alpha) -> np.ndarray:
    """dL/dx = δ where x > 0, else alpha exp(x) δ.

    Source      As for `elu`

    Examples
    --------
    >>> elu_backward([-np.log(2), 3], [10, 30], alpha=0.5)
    array([ 2.5, 30. ])
    """
    x, delta = float64(x, dy)
    slope = np.where(x > 0, 1, alpha * np.exp(np.minimum(x, 0)))  # dy/dx
    return slope * delta  # dL/dx = dy/dx δ


def sigmoid(x) -> np.ndarray:
    """y = 1 / (1 + exp(-x))."""
    (x,) = float64(x)
    return 1 / (1 + np.exp(-x))


def sigmoid_backward(x, dy) -> np.ndarray:
    """dL/dx = y (1 - y) δ.

    Examples
    --------
    >>> sigmoid_backward([0], [8])
    array([2.])
    """
    y, delta = float64(sigmoid(x), dy)
    slope = y * (1 - y)  # dy/dx = exp(-x) / (1 + exp(-x))² = y (1 - y)
    return slope * delta  # dL/dx = dy/dx δ


def tanh(x) -> np.ndarray:
    """y = (exp(x) - exp(-x)) / (exp(x) + exp(-x))."""
    (x,) = float64(x)
    return np.tanh(x)


def tanh_backward(x, dy) -> np.ndarray:
    """dL/dx = (1 - y²) δ.

    Examples
    --------
    >>> tanh_backward([0, np.log(2)], [1, 25])
    array([ 1., 16.])
    """
    y, delta = float64(tanh(x), dy)
    slope = 1 - y**2  # dy/dx = 1 / cosh(x)² = 1 - y²
    return slope * delta  # dL/dx = dy/dx δ

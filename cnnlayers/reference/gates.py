"""Activations that are x times a gate in 0..1, so the product rule gives their slope: gate + x gate'.

Shapes: y, dy and dx are of the shape of x, which may be any. δ is dL/dy.
"""

import math

import numpy as np

from .activations import sigmoid
from .arrays import float64

BEND = 0.044715  # of the cubic inside the tanh that comes near to erf


def gelu(x) -> np.ndarray:
    """y = x Φ(x), with Φ the distribution function of the standard normal distribution.

    Source      D. Hendrycks, K. Gimpel, "Gaussian Error Linear Units (GELUs)", 2016
    """
    (x,) = float64(x)
    return x * _below(x)  # x Φ(x)


def gelu_backward(x, dy) -> np.ndarray:
    """dL/dx = (Φ(x) + x φ(x)) δ, with φ = Φ' the density.

    Source      As for `gelu`

    Examples
    --------
    >>> gelu_backward([-1000, 0, 1000], [2, 2, 2])
    array([0., 1., 2.])
    """
    x, delta = float64(x, dy)
    density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)  # φ(x) = exp(-x² / 2) / √(2π)
    slope = _below(x) + x * density  # dy/dx = Φ(x) + x φ(x)
    return slope * delta  # dL/dx = dy/dx δ


def _below(x) -> np.ndarray:
    """Φ(x) = (1 + erf(x / √2)) / 2."""
    return (1 + np.vectorize(math.erf, otypes=[float])(x / math.sqrt(2))) / 2


def gelu_tanh(x) -> np.ndarray:
    """y = x s, where s = (1 + tanh u) / 2 comes near to Φ(x), with u = √(2/π) (x + 0.044715 x³).

    Source      D. Hendrycks, K. Gimpel, "Gaussian Error Linear Units (GELUs)", 2016
    """
    (x,) = float64(x)
    u = math.sqrt(2 / math.pi) * (x + BEND * x**3)
    s = (1 + np.tanh(u)) / 2
    return x * s


def gelu_tanh_backward(x, dy) -> np.ndarray:
    """dL/dx = (s + x s') δ, with s' = (1 - tanh² u) u' / 2.

    Source      As for `gelu_tanh`

    Examples
    --------
    >>> gelu_tanh_backward([-10, 0, 10], [2, 2, 2])
    array([0., 1., 2.])
    """
    x, delta = float64(x, dy)
    u = math.sqrt(2 / math.pi) * (x + BEND * x**3)
    du = math.sqrt(2 / math.pi) * (1 + 3 * BEND * x**2)  # u'
    s = (1 + np.tanh(u)) / 2
    ds = (1 - np.tanh(u) ** 2) * du / 2  # s'
    slope = s + x * ds  # dy/dx = s + x s'
    return slope * delta  # dL/dx = dy/dx δ


def silu(x) -> np.ndarray:
    """y = x s, with s = 1 / (1 + exp(-x)).

    Source      S. Elfwing, E. Uchibe, K. Doya, "Sigmoid-Weighted Linear Units for Neural Network Function Approximation
                in Reinforcement Learning", 2018
    """
    x, s = float64(x, sigmoid(x))
    return x * s


def silu_backward(x, dy) -> np.ndarray:
    """dL/dx = (s + x s') δ, with s' = s (1 - s).

    Source      As for `silu`

    Examples
    --------
    >>> silu_backward([0], [8])
    array([4.])
    """
    x, s, delta = float64(x, sigmoid(x), dy)
    ds = s * (1 - s)  # s'
    slope = s + x * ds  # dy/dx = s + x s'
    return slope * delta  # dL/dx = dy/dx δ

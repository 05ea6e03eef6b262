"""Maps of each number by parameters of its own, or that it shares with others.

Shapes: x, y, dy and dx are (N, ...); a parameter's shape is one that broadcasts to that of a sample, and so does its
gradient's: it is the sum over all numbers that share the parameter. δ is dL/dy.
"""

import numpy as np

from .arrays import float64


def prelu(x, alpha) -> np.ndarray:
    """y = x where x > 0, else alpha x.

    Source      K. He, X. Zhang, S. Ren, J. Sun, "Delving Deep into Rectifiers", 2015
    """
    x, alpha = float64(x, alpha)
    return np.where(x > 0, x, alpha * x)


def prelu_backward(x, alpha, dy) -> tuple[np.ndarray, np.ndarray]:
    """dx, dalpha of `prelu`.

    Source      As for `prelu`

    Examples
    --------
    >>> prelu_backward([[-4, 2], [-1, -3]], alpha=[0.5, 0.25], dy=[[10, 30], [20, 40]])
    (array([[ 5., 30.],
           [10., 10.]]), array([ -60., -120.]))
    """
    x, alpha, delta = float64(x, alpha, dy)
    dx = np.where(x > 0, 1, alpha) * delta  # dL/dx = dy/dx δ
    terms = np.where(x > 0, 0, x) * delta  # dy/dalpha δ
    return dx, _sum_of_shared(terms, alpha.shape)


def scale(x, gamma, beta) -> np.ndarray:
    """y = gamma x + beta; one that is None is not there."""
    (x,) = float64(x)
    y = x if gamma is None else np.asarray(gamma) * x
    return y if beta is None else y + np.asarray(beta)


def scale_backward(x, gamma, beta, dy) -> tuple[np.ndarray, ...]:
    """dx and, of those that are there, dgamma and dbeta of `scale`.

    Examples
    --------
    >>> scale_backward([[1, 2], [3, 4]], gamma=[2, 3], beta=[0], dy=[[1, 1], [1, 1]])
    (array([[2., 3.],
           [2., 3.]]), array([4., 6.]), array([4.]))
    """
    x, delta = float64(x, dy)
    dx = delta if gamma is None else np.asarray(gamma) * delta  # dL/dx = gamma δ
    dgamma = [] if gamma is None else [_sum_of_shared(delta * x, np.shape(gamma))]  # dL/dgamma = sum of δ x
    dbeta = [] if beta is None else [_sum_of_shared(delta, np.shape(beta))]  # dL/dbeta = sum of δ
    return dx, *dgamma, *dbeta


def fixed_scale(x, factor) -> np.ndarray:
    """y = factor x, with a factor that is not learned."""
    (x,) = float64(x)
    return factor * x


def fixed_scale_backward(dy, factor) -> np.ndarray:
    """dL/dx = factor δ."""
    (delta,) = float64(dy)
    return factor * delta


def _sum_of_shared(terms: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """For each element of a parameter of this shape, the sum over all places to which it is broadcast."""
    shares = np.broadcast_to(np.arange(np.prod(shape, dtype=int)).reshape(shape), terms.shape)  # which one is where
    return np.bincount(shares.ravel(), terms.ravel(), np.prod(shape, dtype=int)).reshape(shape)

"""Pooling over all positions: one number for each channel.

Source: M. Lin, Q. Chen, S. Yan, "Network In Network", 2013.
"""

import numpy as np

from .arrays import float64


def global_avg_pool(x) -> np.ndarray:
    """y[n, c] = mean over all positions of x[n, position, c].

    Shapes      x (N, H, W, C) or (N, L, C);  y (N, C)

    Examples
    --------
    >>> global_avg_pool([[[1, 10], [3, 20]]])
    array([[ 2., 15.]])
    """
    (x,) = float64(x)
    return x.mean(axis=tuple(range(1, x.ndim - 1)))


def global_avg_pool_backward(x, dy) -> np.ndarray:
    """dL/dx[n, position, c] = δ[n, c] / the number of positions.

    Shapes      x, dx (N, H, W, C) or (N, L, C), of x the shape alone matters;  dy (N, C)

    Examples
    --------
    >>> global_avg_pool_backward(np.zeros((1, 2, 2)), [[4, 6]])
    array([[[2., 3.],
            [2., 3.]]])
    """
    x, delta = float64(x, dy)
    dx = np.zeros(x.shape)
    positions = x.shape[1:-1]
    for position in np.ndindex(*positions):
        dx[:, *position] = delta / np.prod(positions)  # dL/dx = δ / (H W)
    return dx


def global_max_pool(x) -> np.ndarray:
    """y[n, c] = the largest x[n, position, c]; NaN if there is one.

    Shapes      x (N, H, W, C) or (N, L, C);  y (N, C)

    Examples
    --------
    >>> global_max_pool([[[1, 20], [3, 10]]])
    array([[ 3., 20.]])
    """
    (x,) = float64(x)
    return x.max(axis=tuple(range(1, x.ndim - 1)))


def global_max_pool_backward(x, dy) -> np.ndarray:
    """dx: δ[n, c] goes to the position of the maximum, the first of equals in row-major order; the first NaN wins.

    Shapes      x, dx (N, H, W, C) or (N, L, C);  dy (N, C)

    Examples
    --------
    >>> global_max_pool_backward([[[1], [3], [3]]], [[7]]).ravel()
    array([0., 7., 0.])
    """
    x, delta = float64(x, dy)
    dx = np.zeros(x.shape)
    for n, c in np.ndindex(*delta.shape):
        winner = np.unravel_index(np.argmax(x[n, ..., c]), x.shape[1:-1])  # argmax takes the first
        dx[n, *winner, c] = delta[n, c]  # dL/dx = δ where x won
    return dx

"""A part of each sample, as a slice of Python picks it.

δ is dL/dy.
"""

import numpy as np

from .arrays import float64


def part(x, start=None, stop=None, step=1, axis=-1) -> np.ndarray:
    """y[n, ..., i, ...] = x[n, ..., p_i, ...], p the places of Python's slice along an axis of the samples.

    Shapes      x (N, ..., S, ...);  y (N, ..., K, ...)

    Examples
    --------
    >>> part([[1, 2, 3, 4, 5]], 1, None, 2).tolist()
    [[2.0, 4.0]]
    """
    (x,) = float64(x)
    at = range(1, x.ndim)[axis]
    places = range(x.shape[at])[start:stop:step]
    return np.stack([x.take(place, at) for place in places], at)


def part_backward(x, dy, start=None, stop=None, step=1, axis=-1) -> np.ndarray:
    """dL/dx[n, ..., p_i, ...] = δ[n, ..., i, ...], 0 elsewhere.

    Shapes      x, dx (N, ..., S, ...), of x the shape alone matters;  dy as y

    Examples
    --------
    >>> part_backward(np.zeros((1, 5)), [[1, 2]], 1, None, 2).tolist()
    [[0.0, 1.0, 0.0, 2.0, 0.0]]
    """
    x, delta = float64(x, dy)
    at = range(1, x.ndim)[axis]
    places = list(range(x.shape[at])[start:stop:step])
    nothing = np.zeros(np.delete(x.shape, at))
    columns = [delta.take(places.index(k), at) if k in places else nothing for k in range(x.shape[at])]
    return np.stack(columns, at)

"""Branches that are multiplied, number by number.

A branch f is handed over as it is, and for its backward pass as the function δ -> (∂f/∂x)ᵀ δ, as in `containers`.
"""

from collections.abc import Sequence

import numpy as np

from .arrays import float64
from .containers import Function


def multiply(x, branches: Sequence[Function]) -> np.ndarray:
    """y = f_1(x) f_2(x) ... f_k(x), where an axis of size 1 is stretched.

    Shapes      f_i(x) with as many axes, each of the size that y has, or of size 1

    Examples
    --------
    >>> multiply(np.array([[1.0, 2.0]]), [lambda x: x, lambda x: x.sum(axis=1, keepdims=True)])
    array([[3., 6.]])
    """
    (x,) = float64(x)
    y = np.ones(())
    for f in branches:
        y = y * f(x)
    return y


def multiply_backward(dy, backwards: Sequence[Function], factors: Sequence[np.ndarray]) -> np.ndarray:
    """dL/dx = sum over i of (∂f_i/∂x)ᵀ δ_i, where δ_i is the sum of δ times the other factors where f_i was stretched.

    Shapes      dy as y;  factors f_1(x), ..., f_k(x);  dx as x

    Examples
    --------
    >>> x = np.array([[1.0, 2.0]])  # y = (x_1 (x_1 + x_2), x_2 (x_1 + x_2))
    >>> multiply_backward([[1, 10]], [lambda delta: delta, lambda delta: np.repeat(delta, 2, axis=1)], [x, [[3.0]]])
    array([[24., 51.]])
    """
    (delta,) = float64(dy)
    factors = float64(*factors)
    dx = np.zeros(())
    for i, (f, factor) in enumerate(zip(backwards, factors, strict=True)):
        terms = delta
        for j, other in enumerate(factors):
            terms = terms * other if j != i else terms
        stretched = tuple(a for a in range(delta.ndim) if factor.shape[a] != delta.shape[a])
        dx = dx + f(terms.sum(axis=stretched, keepdims=True))  # (∂f_i/∂x)ᵀ δ_i
    return dx

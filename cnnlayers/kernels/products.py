"""Arrays multiplied number by number, of which some are stretched along axes of size 1."""

from collections.abc import Sequence

import numpy as np

from .._kernels import empty


@np.errstate(over="ignore", invalid="ignore")
def multiply(factors: Sequence[np.ndarray]) -> np.ndarray:
    """y = the product of the factors, from the first to the last; it shares no memory with them."""
    y = empty(np.broadcast_shapes(*(factor.shape for factor in factors)), factors[0].dtype)
    np.multiply(factors[0], factors[1] if len(factors) > 1 else 1, out=y)
    for factor in factors[2:]:
        np.multiply(y, factor, out=y)
    return y


@np.errstate(over="ignore", invalid="ignore")
def multiply_factor_grad(dy: np.ndarray, others: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """dL/df = the sum of dy times the other factors over the axes along which f, of this shape, was stretched.

    Sums are in float64: a map may have many positions.
    """
    terms = multiply([dy, *others])
    stretched = tuple(axis for axis, size in enumerate(shape) if size != terms.shape[axis])
    if not stretched:
        return terms
    return terms.sum(axis=stretched, keepdims=True, dtype=np.float64).astype(terms.dtype)

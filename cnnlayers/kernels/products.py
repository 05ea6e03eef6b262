"""Arrays multiplied number by number, of which some are stretched along axes of size 1."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _kernels
from .._kernels import empty


def by_kernel(kernels: Any, factors: Sequence[Any]) -> Any:
    """The product of two factors by the kernel that takes their shapes, or None if there is none.

    `kernels` has `multiply` and `scale_channels`: the kernels themselves, of arrays, or a program, of its values.
    """
    if len(factors) != 2:
        return None
    a, b = factors
    if a.shape == b.shape:
        return kernels.multiply(a, b)
    if _of_channels(a.shape, b.shape):
        return kernels.scale_channels(a, b)
    return kernels.scale_channels(b, a) if _of_channels(b.shape, a.shape) else None


def _of_channels(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether an array of the other shape has one number for each sample and channel of one of this shape."""
    return len(shape) > 2 and other == (shape[0], *(1,) * (len(shape) - 2), shape[-1])


@np.errstate(over="ignore", invalid="ignore")
def multiply(factors: Sequence[np.ndarray]) -> np.ndarray:
    """y = the product of the factors, from the first to the last; it shares no memory with them."""
    product = by_kernel(_kernels, factors) if all(factor.size for factor in factors) else None
    if product is not None:
        return product
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

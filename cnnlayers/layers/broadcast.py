"""What the layers ask whose parameters go along the axes that they name: one number per channel, or any other shape."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import kernels
from ..checks import as_integer, with_batch
from .channels import same_with_channels
from .layer import Layer

Shape = tuple[int, ...]


def as_parameter_shape(who: str, shape: Any) -> Shape | None:
    """Check the argument `shape`: None for one number per channel, or a shape with at least one axis."""
    if shape is None:
        return None
    if isinstance(shape, str | bytes) or not isinstance(shape, Iterable):
        raise TypeError(f"{who}: shape must be a tuple of ints, such as (1, 1, 3), or None; got {shape!r}")
    sizes = tuple(as_integer(who, "a size in shape", size, low=1) for size in shape)
    if not sizes:
        raise ValueError(f"{who}: shape must have at least one axis, as (1,) has; got {shape!r}")
    return sizes


def parameter_shape(shape: Shape | None, input_shape: Shape) -> Shape:
    """The shape of the parameters for samples of this shape."""
    return input_shape[-1:] if shape is None else shape


def same_if_it_fits(layer: Layer, shape: Shape | None, input_shape: Shape) -> Shape:
    """The output shape of a layer that keeps the shape: its parameters must broadcast to that of a sample."""
    input_shape = same_with_channels(layer, input_shape)
    ours, theirs = (shape or ())[::-1], input_shape[::-1]
    if len(ours) > len(theirs) or any(p not in (1, n) for p, n in zip(ours, theirs, strict=False)):
        raise ValueError(
            f"{layer!r} needs samples to whose shape {shape} broadcasts; got shape {with_batch(input_shape)}"
        )
    return input_shape


def sum_into(grad: np.ndarray, terms: np.ndarray) -> None:
    """grad := the sum of terms over the batch, and over the axes along which grad was broadcast to a sample."""
    own = grad.shape
    while own[:1] == (1,):  # along such axes it is as along the batch
        own = own[1:]
    sums = np.zeros(terms.shape[terms.ndim - len(own) :], terms.dtype)
    if terms.size:
        kernels.column_sums(terms.reshape(-1, sums.size), sums)
    axes = tuple(axis for axis, size in enumerate(own) if size == 1)
    grad[...] = sums.sum(axis=axes, keepdims=True).reshape(grad.shape)

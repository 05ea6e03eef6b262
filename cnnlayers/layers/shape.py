"""Layers that change the shape and nothing else."""

from collections.abc import Iterable
from math import prod

import numpy as np

from ..checks import as_integer, with_batch
from .layer import Layer


class Flatten(Layer):
    """y = x as rows: what Affine needs after images.

    Forward     y[n] = x[n] with its axes made one, in row-major order (h, w, c)
    Backward    dL/dx = δ in the shape of x

    Shapes      x (N, ...);  y (N, D), D the product of the rest
    Twin        reference.shapes.flatten_backward

    Examples
    --------
    >>> Flatten().output_shape((5, 5, 16))
    (400,)
    """

    def forward(self, x, train=True):
        self.keep(x.shape)
        return x.reshape(len(x), prod(x.shape[1:]))

    def backward(self, dy, input_grad=True):
        (shape,) = self.take()
        return dy.reshape(shape)

    def output_shape(self, input_shape):
        return (prod(input_shape),)


class Reshape(Layer):
    """y = x in another shape, in row-major order.

    Forward     y[n] = x[n] reshaped
    Backward    dL/dx = δ in the shape of x

    Shapes      x (N, ...);  y (N, *shape)
    Errors      ValueError if the sizes do not multiply to the same number
    Twin        reference.shapes.reshape_backward

    Parameters
    ----------
    shape : tuple of int
        Without the batch axis; one entry may be -1: whatever is left.

    Examples
    --------
    >>> Reshape((8, 8, -1)).output_shape((64,))
    (8, 8, 1)
    """

    def __init__(self, shape):
        if isinstance(shape, str) or not isinstance(shape, Iterable):
            raise TypeError(f"Reshape: shape must be a tuple of ints, such as (8, 8, -1); got {shape!r}")
        self.shape = tuple(as_integer("Reshape", "a size", s, low=-1) for s in shape)
        if self.shape.count(-1) > 1 or 0 in self.shape or not self.shape:
            raise ValueError(f"Reshape: shape needs positive sizes, at most one of them -1; got {self.shape}")

    def forward(self, x, train=True):
        self.keep(x.shape)
        return x.reshape(len(x), *self.output_shape(x.shape[1:]))

    def backward(self, dy, input_grad=True):
        (shape,) = self.take()
        return dy.reshape(shape)

    def output_shape(self, input_shape):
        size, known = prod(input_shape), prod(s for s in self.shape if s != -1)
        if size % known or (-1 not in self.shape and size != known):
            raise ValueError(f"{self!r} cannot take {size} numbers per sample; got shape {with_batch(input_shape)}")
        return tuple(size // known if s == -1 else s for s in self.shape)


class Permute(Layer):
    """y = x with the axes of each sample in another order.

    Forward     y[n] = x[n].transpose(axes): axis i of a sample of y is axis axes[i] of one of x
    Backward    dL/dx[n] = δ[n] with its axes put back, by the inverse permutation

    Shapes      x (N, s_0, s_1, ...);  y (N, s_axes[0], s_axes[1], ...)
    Errors      ValueError if axes is no permutation of 0, 1, ..., or x has another number of axes
    Twin        reference.shapes.permute_backward

    Parameters
    ----------
    axes : tuple of int
        The axes of a sample, counted from 0 without the batch axis, in the order that y has them.

    Examples
    --------
    >>> Permute((2, 0, 1)).output_shape((5, 6, 3))
    (3, 5, 6)
    """

    resizable = True

    def __init__(self, axes):
        if isinstance(axes, str) or not isinstance(axes, Iterable):
            raise TypeError(f"Permute: axes must be a tuple of ints, such as (2, 0, 1); got {axes!r}")
        self.axes = tuple(as_integer("Permute", "an axis", axis) for axis in axes)
        if sorted(self.axes) != [*range(len(self.axes))] or not self.axes:
            raise ValueError(
                "Permute: axes must be those of a sample, each once and counted from 0, such as (2, 0, 1); "
                f"got {self.axes}"
            )

    def forward(self, x, train=True):
        return _permuted(x, self.axes)

    def backward(self, dy, input_grad=True):
        return _permuted(dy, np.argsort(self.axes))

    def output_shape(self, input_shape):
        if len(input_shape) != len(self.axes):
            raise ValueError(
                f"{self!r} needs samples of as many axes, {len(self.axes)}; got shape {with_batch(input_shape)}"
            )
        return tuple(input_shape[axis] for axis in self.axes)


def _permuted(x: np.ndarray, axes: Iterable[int]) -> np.ndarray:
    """The batch with the axes of each sample in this order."""
    return np.ascontiguousarray(x.transpose(0, *(1 + axis for axis in axes)))

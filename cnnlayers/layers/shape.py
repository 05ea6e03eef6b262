"""Layers that change the shape and nothing else."""

from collections.abc import Iterable
from math import prod

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

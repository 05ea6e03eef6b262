"""Slice: a part of each sample."""

import numpy as np

from ..checks import as_integer, with_batch
from .layer import Layer


class Slice(Layer):
    """y = a part of x: along one axis, every `step`-th number from `start` on and before `stop`, as Python slices.

    Forward     y[n, ..., i, ...] = x[n, ..., start + i step, ...]
    Backward    dL/dx[n, ..., start + i step, ...] = δ[n, ..., i, ...], and 0 at all other places        (δ = dL/dy)

    In the branches of a Concat it sends some channels one way and the others another, as ShuffleNet does; along the
    other axes it crops.

    Shapes      x (N, ..., S, ...);  y (N, ..., K, ...), K as many as range(S)[start:stop:step] has
    Errors      ValueError if x has no such axis, or nothing is left
    Source      N. Ma et al., "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design", 2018
    Twin        reference.part.part_backward

    Parameters
    ----------
    start, stop : int, optional
        Where the part begins, and the first place behind it; below 0 they count from the end. All of the axis by
        default.
    step : int
        Below 0 it goes backwards.
    axis : int
        Of a sample, without the batch axis: the channels by default.

    Examples
    --------
    >>> import cnnlayers as cl
    >>> cl.Slice(stop=2).forward([[1.0, 2.0, 3.0]])
    array([[1., 2.]], dtype=float32)
    >>> cl.Slice(1, -1, axis=0).output_shape((8, 8, 3))
    (6, 8, 3)
    """

    resizable = True

    def __init__(self, start: int | None = None, stop: int | None = None, step: int = 1, axis: int = -1):
        self.start = None if start is None else as_integer("Slice", "start", start)
        self.stop = None if stop is None else as_integer("Slice", "stop", stop)
        self.step, self.axis = as_integer("Slice", "step", step), as_integer("Slice", "axis", axis)
        if not self.step:
            raise ValueError("Slice: step must not be 0")

    def place(self, input_shape: tuple[int, ...]) -> int:
        """The axis of a sample of this shape, counted from 0."""
        rank = len(input_shape)
        if not -rank <= self.axis < rank:
            raise ValueError(f"{self!r} needs samples with an axis {self.axis}; got shape {with_batch(input_shape)}")
        return self.axis % rank

    def forward(self, x, train=True):
        self.keep(x.shape)
        return x[self._index(x.shape)].copy()

    def backward(self, dy, input_grad=True):
        (shape,) = self.take()
        dx = np.zeros(shape, dy.dtype)
        dx[self._index(shape)] = dy
        return dx

    def _index(self, shape: tuple[int, ...]) -> tuple[slice, ...]:
        """What picks y out of a batch of this shape."""
        return (*[slice(None)] * (1 + self.place(shape[1:])), slice(self.start, self.stop, self.step))

    def output_shape(self, input_shape):
        at = self.place(input_shape)
        left = len(range(input_shape[at])[self.start : self.stop : self.step])
        if not left:
            raise ValueError(f"{self!r} leaves nothing of {input_shape[at]}; got shape {with_batch(input_shape)}")
        return (*input_shape[:at], left, *input_shape[at + 1 :])

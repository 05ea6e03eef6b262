"""Residual: the body learns what to add to x."""

from __future__ import annotations

from collections.abc import Iterable

from ..plan.join import alone, residual_step, steps_of
from .container import Container, fresh
from .layer import Layer
from .sequential import Sequential, as_layer, shown


class Residual(Container):
    """y = body(x) + shortcut(x): the body learns what to add to x.

    Forward     y = f(x) + s(x);  s(x) = x without a shortcut layer
    Backward    dL/dx = (∂f/∂x)ᵀ δ + (∂s/∂x)ᵀ δ: x reaches y on two ways, so its gradients add       (δ = dL/dy)

    Shapes      y as body(x); shortcut(x) must have the same shape
    Errors      ValueError if the two shapes differ
    Source      UC Berkeley CS W182 discussion sheet, Problem 3;
                K. He et al., "Deep Residual Learning for Image Recognition", 2015
    Twin        reference.containers.residual_backward

    Parameters
    ----------
    body : Layer or list of layers
        A list becomes a Sequential.
    shortcut : Layer or list of layers, optional
        The identity by default. Where the body changes the shape, a projection: Conv(filters, 1, stride).

    Examples
    --------
    >>> from cnnlayers.layers import Conv
    >>> import cnnlayers as cl
    >>> block = cl.Residual([cl.Conv(16, 3, stride=2, padding=1)], shortcut=cl.Conv(16, 1, stride=2))
    >>> block.build((8, 8, 4), rng=0)
    (4, 4, 16)
    """

    def __init__(self, body: Layer | Iterable[Layer], shortcut: Layer | Iterable[Layer] | None = None):
        self.body = as_layer(body)
        self._adopt([self.body])
        self.shortcut: Layer | None = None
        try:
            if shortcut is not None:
                self.shortcut = as_layer(shortcut)
                self._adopt([self.shortcut])
        except BaseException:
            self.body._owned = False
            if isinstance(self.body, Sequential) and self.body is not body:
                self.body._release()
            raise

    def _steps(self, notes):
        return [residual_step(self, self.body, self.shortcut, notes, alone if self._has_own_pass else steps_of)]

    def output_shape(self, input_shape):
        shape = tuple(input_shape)
        outs = [self._fitted(where, layer, shape) for where, layer, _ in self._shapes(shape)]
        around = outs[1] if self.shortcut is not None else shape
        if outs[0] != around:
            hint = "" if len(outs[0]) < 2 else f", e.g. shortcut=Conv({outs[0][-1]}, 1{_stride_hint(shape, outs[0])})"
            if self.shortcut is None:
                raise ValueError(
                    f"Residual: the body maps {shape} to {outs[0]}, so it needs a shortcut of the same shape{hint}"
                )
            raise ValueError(f"Residual: the body maps {shape} to {outs[0]}, but the shortcut maps it to {around}")
        return outs[0]

    def children(self):
        return {"body": self.body} | ({} if self.shortcut is None else {"shortcut": self.shortcut})

    def config(self):
        if type(self).__init__ is not Residual.__init__:
            return super().config()
        return {"body": fresh(self.body), "shortcut": None if self.shortcut is None else fresh(self.shortcut)}

    def __repr__(self):
        if type(self).__init__ is not Residual.__init__:
            return super().__repr__()
        return f"Residual({shown(self.body)}{'' if self.shortcut is None else f', shortcut={self.shortcut!r}'})"

    def _shapes(self, shape):
        return [(name, layer, shape) for name, layer in self.children().items()]

    def _place(self, where):
        return f"in the {where} of Residual"


def _stride_hint(shape, out) -> str:
    """The stride that a 1x1 shortcut needs, if the body halves or thirds the image."""
    strides = {-(-a // b) for a, b in zip(shape[:-1], out[:-1], strict=False) if b}
    return f", stride={strides.pop()}" if len(strides) == 1 and strides != {1} else ""

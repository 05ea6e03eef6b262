"""Sequential: layers one after the other."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from ..arrays import float_dtype
from ..checks import as_flag
from ..plan.join import alone, steps_of
from ..plan.step import Step
from ..randomness import random_generator
from .container import Container, fresh
from .layer import Layer


class Sequential(Container):
    """y = f_k(... f_2(f_1(x))): layers one after the other.

    Forward     x_i = f_i(x_{i-1}), from x_0 = x to y = x_k
    Backward    δ_{i-1} = (∂f_i/∂x_{i-1})ᵀ δ_i, from δ_k = dL/dy to dL/dx = δ_0: the chain rule

    Shapes      whatever its layers make of them
    Errors      ValueError at construction if a layer does not fit its input: says which, what it needs, what it got
    Twin        reference.containers.sequential_backward

    Parameters
    ----------
    layers : iterable of Layer
        They belong to this net from now on; `layer.copy()` gives one that does not.
    input_shape : tuple of int, optional
        Shape of x without the batch axis: builds all layers at once. Without it the first `forward` does.
    rng : int or numpy.random.Generator, optional
        Where the initial values come from, whenever it is built; those of a net within a net come from the outer one's.
    dtype : float32 or float64
        Of parameters, outputs and gradients; a net within a net has the outer one's.
    fuse : bool
        Let a layer end in the ReLU that follows it, and the last one in the sum of a Residual, in one pass over memory.
        The results are the same to the bit.

    Examples
    --------
    >>> from cnnlayers.layers import Affine, Flatten
    >>> import cnnlayers as cl
    >>> net = cl.Sequential([cl.Flatten(), cl.Affine(10)], input_shape=(8, 8, 1), rng=0)
    >>> net.forward(np.zeros((2, 8, 8, 1))).shape, net.params["1.W"].shape, net.flat_params.size
    ((2, 10), (64, 10), 650)
    """

    def __init__(self, layers: Iterable[Layer], input_shape=None, rng=None, dtype: Any = np.float32, fuse: bool = True):
        self.fuse = as_flag("Sequential", "fuse", fuse)
        if isinstance(layers, Layer) or not isinstance(layers, Iterable):
            raise TypeError(f"Sequential needs a list of layers; got {layers!r}")
        self.layers = tuple(layers)
        self._built_with = None if rng is None else random_generator(rng), float_dtype(dtype, self.who)
        self._adopt(self.layers)
        if input_shape is not None:
            try:
                self.build(input_shape)
            except BaseException:
                self._release()
                raise

    def _steps(self, notes):
        make = steps_of if self.fuse else alone
        made: list[Step] = []
        for i, layer in enumerate(self.layers):
            made += make(layer, functools.partial(self._notes, i, notes))
        return made

    def _notes(self, i: int, notes: Callable[[], list[str]]) -> list[str]:
        return [self._place(i), *notes()]

    def output_shape(self, input_shape):
        shape = tuple(input_shape)
        for i, layer in enumerate(self.layers):
            shape = self._fitted(i, layer, shape)
        return shape

    def _from_the_end(self):
        for layer in reversed(self.layers):
            yield from layer._from_the_end()

    def children(self):
        return {str(i): layer for i, layer in enumerate(self.layers)}

    def config(self):
        if type(self).__init__ is not Sequential.__init__:
            return super().config()
        return {"layers": [fresh(layer) for layer in self.layers]} | ({} if self.fuse else {"fuse": False})

    def __repr__(self):
        if type(self).__init__ is not Sequential.__init__:
            return super().__repr__()
        return f"{type(self).__name__}([{', '.join(map(repr, self.layers))}]{'' if self.fuse else ', fuse=False'})"

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, i):
        return self.layers[i]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def _shapes(self, shape):
        rows = []
        for i, layer in enumerate(self.layers):
            rows.append((i, layer, shape))
            shape = tuple(layer.output_shape(shape))
        return rows

    def _place(self, i):
        return f"in layer {i} of {self.who}" + (f", after {self.layers[i - 1].who}" if i else "")


def as_layer(given: Any) -> Any:
    """A list of layers becomes a Sequential; a layer is taken as it is."""
    return given if isinstance(given, Layer) else Sequential(given)


def shown(layer: Layer) -> str:
    """How a container writes a part: a Sequential that a list would give, as that list."""
    return repr(list(layer)) if type(layer) is Sequential and layer.fuse else repr(layer)

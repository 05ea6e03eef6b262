"""Concat: several branches read the same input; their channels are put side by side."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..plan.join import alone, concat_step, steps_of
from .container import Container, fresh
from .layer import Layer
from .sequential import as_layer, shown


class Concat(Container):
    """y = (f_1(x), ..., f_k(x)) along the channels.

    Forward     y[..., c_1 + ... + c_{i-1} + j] = f_i(x)[..., j], where f_i has c_i channels
    Backward    dL/dx = sum over i of (∂f_i/∂x)ᵀ δ_i, with δ_i the channels of δ that f_i gave: ways to y add

    Shapes      all branches give the same but for the last axis, which is the sum of theirs
    Errors      ValueError if the branches' shapes differ elsewhere
    Source      C. Szegedy et al., "Going Deeper with Convolutions", 2014
    Twin        reference.containers.concat_backward

    Parameters
    ----------
    branches : iterable of Layer or of lists of layers
        A list becomes a Sequential; the empty one is the identity.

    Examples
    --------
    >>> from cnnlayers.layers import Conv
    >>> Concat([[], Conv(8, 1), [Conv(4, 1), Conv(6, 3, padding=1)]]).build((5, 5, 3), rng=0)
    (5, 5, 17)
    """

    def __init__(self, branches: Iterable[Layer | Iterable[Layer]]):
        if isinstance(branches, Layer) or not isinstance(branches, Iterable):
            raise TypeError(f"Concat needs a list of branches; got {branches!r}")
        made: list[Layer] = []
        given: list[Any] = list(branches)
        try:
            for branch in given:
                made.append(as_layer(branch))
            if not made:
                raise ValueError("Concat needs at least one branch; got none")
            self.branches = tuple(made)
            self._adopt(self.branches)
        except BaseException:
            for branch, layer in zip(given, made, strict=False):
                if layer is not branch:
                    layer._release()  # type: ignore[attr-defined]
            raise

    def _steps(self, notes):
        return [concat_step(self, self.branches, notes, alone if self._has_own_pass else steps_of)]

    def output_shape(self, input_shape):
        shape = tuple(input_shape)
        outs = [self._fitted(i, branch, shape) for i, branch, _ in self._shapes(shape)]
        if len({out[:-1] for out in outs}) > 1 or not outs[0]:
            given = ", ".join(map(str, outs))
            raise ValueError(f"Concat: the branches may differ in the last axis alone; they map {shape} to {given}")
        return (*outs[0][:-1], sum(out[-1] for out in outs))

    def children(self):
        return {str(i): branch for i, branch in enumerate(self.branches)}

    def config(self):
        if type(self).__init__ is not Concat.__init__:
            return super().config()
        return {"branches": [fresh(branch) for branch in self.branches]}

    def __repr__(self):
        if type(self).__init__ is not Concat.__init__:
            return super().__repr__()
        return f"Concat([{', '.join(map(shown, self.branches))}])"

    def _shapes(self, shape):
        return [(i, branch, shape) for i, branch in enumerate(self.branches)]

    def _place(self, i):
        return f"in branch {i} of Concat"

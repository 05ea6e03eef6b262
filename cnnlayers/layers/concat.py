"""Concat: several branches read the same input; their channels are put side by side."""

from ..plan.join import alone, concat_step, steps_of
from .branches import Branches


class Concat(Branches):
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

    def _steps(self, notes):
        return [concat_step(self, self.branches, notes, alone if self._has_own_pass else steps_of)]

    def output_shape(self, input_shape):
        shape = tuple(input_shape)
        outs = self._outputs(shape)
        if len({out[:-1] for out in outs}) > 1 or not outs[0]:
            given = ", ".join(map(str, outs))
            raise ValueError(f"Concat: the branches may differ in the last axis alone; they map {shape} to {given}")
        return (*outs[0][:-1], sum(out[-1] for out in outs))

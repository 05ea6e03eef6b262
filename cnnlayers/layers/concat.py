"""Concat: several branches read the same input, and their channels stand side by side."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from .. import kernels
from .._kernels import empty
from .base import Layer
from .container import Container, Sequential, _fresh, _naming


class Concat(Container):
    """y = (f_1(x), ..., f_k(x)) along the channels.

    Forward     y[..., c_1 + ... + c_{i-1} + j] = f_i(x)[..., j], where f_i has c_i channels
    Backward    dL/dx = sum over i of (∂f_i/∂x)ᵀ δ_i, with δ_i the channels of δ that f_i gave: ways to y add

    Shapes      all branches give the same but for the last axis, which is the sum of theirs
    Errors      ValueError if the branches' shapes differ elsewhere
    Source      C. Szegedy et al., "Going Deeper with Convolutions", 2014

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
                made.append(branch if isinstance(branch, Layer) else Sequential(branch))
            if not made:
                raise ValueError("Concat needs at least one branch; got none")
            self.branches = tuple(made)
            self._adopt(self.branches)
        except BaseException:
            for branch, layer in zip(given, made, strict=False):
                if layer is not branch:
                    layer._release()  # type: ignore[attr-defined]
            raise

    def forward(self, x, train=True):
        parts = []
        for i, branch in enumerate(self.branches):
            with _naming(self, i):
                parts.append(branch.forward(x, train))  # f_i(x)
        self.keep([part.shape[-1] for part in parts])
        return _joined(parts)

    def backward(self, dy, input_grad=True):
        (channels,) = self.take()
        parts: list[Any] = []
        for i, delta in enumerate(_parts(dy, channels)):
            with _naming(self, i):
                parts.append(self.branches[i].backward(delta, input_grad))  # (∂f_i/∂x)ᵀ δ_i
        if not input_grad:
            return None
        return functools.reduce(kernels.add, parts) if len(parts) > 1 else parts[0].copy()

    def output_shape(self, input_shape):
        shape = tuple(input_shape)
        outs = []
        for i, branch, _ in self._shapes(shape):
            with _naming(self, i):
                if branch.built:
                    branch._check_fit(shape)
                outs.append(tuple(branch.output_shape(shape)))
        if len({out[:-1] for out in outs}) > 1 or not outs[0]:
            given = ", ".join(map(str, outs))
            raise ValueError(f"Concat: the branches may differ in the last axis alone; they map {shape} to {given}")
        return (*outs[0][:-1], sum(out[-1] for out in outs))

    def children(self):
        return {str(i): branch for i, branch in enumerate(self.branches)}

    def config(self):
        if type(self).__init__ is not Concat.__init__:
            return super().config()
        return {"branches": [_fresh(branch) for branch in self.branches]}

    def __repr__(self):
        if type(self).__init__ is not Concat.__init__:
            return super().__repr__()
        shown = [repr(list(b)) if type(b) is Sequential and b.fuse else repr(b) for b in self.branches]
        return f"Concat([{', '.join(shown)}])"

    def _infer(self, x):
        return _joined([branch.predict(x) for branch in self.branches])

    def _shapes(self, shape):
        return [(i, branch, shape) for i, branch in enumerate(self.branches)]

    def _place(self, i):
        return f"in branch {i} of Concat"


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    """Side by side, in an array of its own."""
    shape = (*parts[0].shape[:-1], sum(part.shape[-1] for part in parts))
    return np.concatenate(parts, axis=-1, out=empty(shape, parts[0].dtype))


def _parts(dy: np.ndarray, channels: list[int]) -> Iterator[np.ndarray]:
    """Undo `_joined`."""
    for count, end in zip(channels, np.cumsum(channels), strict=True):
        part = empty((*dy.shape[:-1], count), dy.dtype)
        part[...] = dy[..., end - count : end]
        yield part

"""The steps in which x goes several ways: they are added up, put side by side by their channels, or multiplied."""

from __future__ import annotations

from collections.abc import Iterable

from .. import kernels
from ..kernels import recording
from .step import Array, Chain, Step


class SumStep(Step):
    """y = x + plus, rectified: the end of a Residual whose body cannot end in the sum itself."""

    takes_relu = True

    def forward(self, x, train, plus=None):
        return kernels.add(x, plus, self.relu)

    def _backward(self, dy, input_grad):
        return dy  # the mask of the sum's ReLU is that of the ResidualStep

    def predict(self, x, plus=None):
        return kernels.add(x, plus, self.relu)

    def lower(self, program, x, plus=None):
        return program.add(x, plus, self.relu)


class ResidualStep(Step):
    """y = f(x) + s(x), rectified. The shortcut comes first, so that the last step of the body ends in the sum."""

    takes_relu = True

    def __init__(self, layer, notes, body: Chain, shortcut: Chain | None):
        super().__init__(layer, notes)
        self.body, self.shortcut = body, shortcut

    def join_relu(self, relu):
        super().join_relu(relu)
        self.body.steps[-1].relu = True

    def forward(self, x, train, plus=None):
        s = x if self.shortcut is None else self.shortcut.forward(x, train)  # s(x)
        y = self.body.forward(x, train, s)  # f(x) + s(x)
        self.mask = y if self.relu else None
        return y

    def backward(self, dy, input_grad=True, plus=None, mask=None):
        self.mask = None
        ds = dy if self.shortcut is None else self.shortcut.backward(dy, input_grad)  # (∂s/∂x)ᵀ δ
        dx = self.body.backward(dy, input_grad, ds, mask if plus is None else None)  # (∂f/∂x)ᵀ δ + (∂s/∂x)ᵀ δ
        return kernels.finish_grad(dx, plus, mask) if input_grad and plus is not None else dx

    def predict(self, x, plus=None):
        return self.body.predict(x, x if self.shortcut is None else self.shortcut.predict(x))

    def lower(self, program, x, plus=None):
        return self.body.lower(program, x, x if self.shortcut is None else self.shortcut.lower(program, x))

    def within(self):
        return [self.body] if self.shortcut is None else [self.body, self.shortcut]


class ConcatStep(Step):
    """y = (f_1(x), ..., f_k(x)), channel after channel."""

    def __init__(self, layer, notes, branches: list[Chain]):
        super().__init__(layer, notes)
        self.branches = branches

    def forward(self, x, train, plus=None):
        parts = [branch.forward(x, train) for branch in self.branches]  # f_i(x)
        self._keep([part.shape[-1] for part in parts])
        return kernels.concatenate(parts)

    def _backward(self, dy, input_grad):
        (channels,) = self._take()
        return _summed(self.branches, kernels.split_channels(dy, channels), input_grad)

    def predict(self, x, plus=None):
        return kernels.concatenate([branch.predict(x) for branch in self.branches])

    def lower(self, program, x, plus=None):
        return program.concatenate([branch.lower(program, x) for branch in self.branches])

    def within(self):
        return self.branches


class MultiplyStep(Step):
    """y = f_1(x) ... f_k(x), number by number."""

    def __init__(self, layer, notes, branches: list[Chain]):
        super().__init__(layer, notes)
        self.branches = branches

    def forward(self, x, train, plus=None):
        factors = [branch.forward(x, train) for branch in self.branches]  # f_i(x)
        self._keep(factors)
        return kernels.multiply(factors)

    def _backward(self, dy, input_grad):
        (factors,) = self._take()
        deltas = (
            kernels.multiply_factor_grad(dy, factors[:i] + factors[i + 1 :], factor.shape)
            for i, factor in enumerate(factors)
        )
        return _summed(self.branches, deltas, input_grad)

    def predict(self, x, plus=None):
        return kernels.multiply([branch.predict(x) for branch in self.branches])

    def lower(self, program, x, plus=None):
        factors = [branch.lower(program, x) for branch in self.branches]
        return recording.multiply(program, factors)

    def within(self):
        return self.branches


def _summed(branches: list[Chain], deltas: Iterable[Array], input_grad: bool) -> Array | None:
    """dL/dx = the sum over i of (∂f_i/∂x)ᵀ δ_i, in an array of its own."""
    parts = [branch.backward(delta, input_grad) for branch, delta in zip(branches, deltas, strict=True)]
    if not input_grad:
        return None
    dx = parts[0] if len(parts) > 1 else parts[0].copy()
    for part in parts[1:]:
        dx = kernels.add(dx, part)
    return dx

"""The steps of a plan: each is one layer, with the neighbours that it does in the same pass over memory.

What all steps promise each other:

    forward(x, train)                y = f(x), or ReLU(f(x)) where the step has joined the ReLU after its layer
    forward(x, train, plus)          y = f(x) + plus, then the ReLU, if it `sums`: it is the last step of a Residual
    backward(dy, input_grad)         dx = (∂f/∂x)ᵀ dy
    backward(dy, plus=a, mask=r)     (dx + a) where r > 0, else 0: the gradient of the ReLU *before* the step
    predict(x, plus)                 as forward at inference, with nothing written anywhere
    lower(program, x, plus)          the same, recorded in a program: which kernels compute it (`program`)
    mask                             after forward: y, if the step ends in a ReLU whose gradient it leaves to the
                                     step after it, which writes that gradient anyway

So one rule holds throughout: *a step that reports a mask gets a dy that the step after it has masked*. `Chain.backward`
hands the masks on. A step whose kernel cannot do a part of this itself does it in a pass of its own, to the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Any

import numpy as np

from .. import kernels
from ..layers.guards import unguarded
from ..layers.layer import Layer
from .lower import LOWER

Array = np.ndarray
Value = kernels.Value


class Step:
    """One layer by itself; the base of the others."""

    takes_relu = False  # whether it can end in the ReLU that comes after its layer
    takes_gelu = False  # or in the GELU
    takes_sum = False  # whether it can end in the sum of a Residual

    def __init__(self, layer: Layer, notes: Callable[[], list[str]]):
        self.layer = layer
        self.notes = notes  # in words, where in the net the layer is: for an error
        self.joined: list[Layer] = []  # the neighbours that this step does too
        self.relu = self.gelu = False
        self.sums = False  # whether it ends in the sum of a Residual
        self.mask: Array | None = None
        self._kept: tuple = ()

    def join_relu(self, relu: Layer) -> None:
        """End in the ReLU that follows the layer."""
        self.relu = True
        self.joined.append(relu)

    def join_gelu(self, gelu: Layer) -> None:
        """End in the GELU that follows the layer."""
        self.gelu = True
        self.joined.append(gelu)

    def forward(self, x: Array, train: bool, plus: Array | None = None) -> Array:
        """Compute y and keep what backward needs."""
        raise NotImplementedError

    def backward(self, dy: Array, input_grad: bool = True, plus: Array | None = None, mask: Array | None = None) -> Any:
        """Fill the layer's grads; give (dx + plus) where mask > 0, or None without `input_grad`."""
        self.mask = None
        dx = self._backward(dy, input_grad)
        return kernels.finish_grad(dx, plus, mask) if input_grad else None

    def predict(self, x: Array, plus: Array | None = None) -> Array:
        """Compute y at inference; writes on nothing."""
        raise NotImplementedError

    def lower(self, program: Recording, x: Value, plus: Value | None = None) -> Value:
        """Record what `predict` computes; as it stands here, `predict` itself is called."""
        return program.leave_for(self, x, plus)

    def lower_with(self, program: Recording, x: Value, following: Step, plus: Value | None = None) -> Value | None:
        """Record what this step and the one after it compute, as one call; None if there is none for both."""
        return None

    def _backward(self, dy: Array, input_grad: bool) -> Any:
        raise NotImplementedError

    def within(self) -> list[Chain]:
        """Give the chains of steps in this step."""
        return []

    def forget(self) -> None:
        """Let go of what forward kept: there will be no backward."""
        self.mask, self._kept = None, ()
        for chain in self.within():
            for step in chain.steps:
                step.forget()

    def _keep(self, *things) -> None:
        self._kept = things

    def _take(self) -> tuple:
        things, self._kept = self._kept, ()
        return things


class Alone(Step):
    """A layer that runs by its own methods, with the guards around them: a user's own, or one that is watched."""

    def forward(self, x, train, plus=None):
        return self.layer.forward(x, train)

    def _backward(self, dy, input_grad):
        return self.layer.backward(dy, input_grad)

    def predict(self, x, plus=None):
        return self.layer.predict(x)


class Plain(Step):
    """A layer of the package by the lines of its file, without the guards: what one step gives is clean already.

    What the layer keeps for its backward is kept here: a net and a net within it may both have a pass pending.
    """

    def __init__(self, layer, notes):
        super().__init__(layer, notes)
        self._forward_of, self._backward_of = unguarded(type(layer))

    def forward(self, x, train, plus=None):
        y = self._forward_of(self.layer, x, train)
        self._keep(*self.layer.take())
        return y

    def _backward(self, dy, input_grad):
        self.layer.keep(*self._take())
        return self._backward_of(self.layer, dy, input_grad)

    def predict(self, x, plus=None):
        return self._forward_of(self.layer.twin(), x, False)

    def lower(self, program, x, plus=None):
        lower = LOWER.get(type(self.layer))
        y = None if lower is None else lower(program, self.layer, x)
        return super().lower(program, x, plus) if y is None else y


class Chain:
    """Steps one after the other; the last one may end in a sum with `plus`."""

    def __init__(self, steps: list[Step], where: str | None = None):
        self.steps = steps
        self.where = where  # in words, which part of a container these steps are: for an error

    def forward(self, x: Array, train: bool, plus: Array | None = None) -> Array:
        """x_i = f_i(x_{i-1}), from x_0 = x to y."""
        step = None
        try:
            for step in self.steps:
                x = step.forward(x, train, plus if step.sums else None)
        except Exception as error:
            self._place(error, step)
            raise
        return x

    def backward(self, dy: Array, input_grad: bool = True, plus: Array | None = None, mask: Array | None = None) -> Any:
        """δ_{i-1} = (∂f_i/∂x_{i-1})ᵀ δ_i, each masked by the ReLU that step i - 1 ends in; the chain rule.

        Without `input_grad` it ends at the first step that needs a gradient: there is none for those before it.
        """
        if not self.steps:
            return kernels.finish_grad(dy, plus, mask) if input_grad else None
        if self.steps[-1].mask is not None:
            dy = kernels.relu_input_grad(self.steps[-1].mask, dy)
        step = None
        try:
            first = 0 if input_grad else self._first_that_learns()
            for i in range(len(self.steps) - 1, first, -1):
                step = self.steps[i]
                dy = step.backward(dy, mask=self.steps[i - 1].mask)
            step = self.steps[first]
            dx = step.backward(dy, input_grad, plus, mask)
        except Exception as error:
            self._place(error, step)
            raise
        for step in self.steps[:first]:
            step.forget()
        return dx

    def _first_that_learns(self) -> int:
        """Which step is the first that has parameters not frozen by name, or may do anything: a user's own layer."""
        for i, step in enumerate(self.steps):
            if type(step) is Alone:
                return i
            if any(name not in leaf._frozen for leaf in step.layer.leaves() for name in leaf.params):
                return i
        return len(self.steps) - 1

    def predict(self, x: Array, plus: Array | None = None) -> Array:
        """Compute y as forward does at inference; writes on nothing."""
        step = None
        try:
            for step in self.steps:
                x = step.predict(x, plus if step.sums else None)
        except Exception as error:
            self._place(error, step)
            raise
        return x

    def lower(self, program: Recording, x: Value, plus: Value | None = None) -> Value:
        """Record what `predict` computes."""
        both = None
        for step, following in zip_longest(self.steps, self.steps[1:]):
            if both is not None:  # this step's y
                x, both = both, None
                continue
            if following is not None and not step.sums:
                both = step.lower_with(program, x, following, plus if following.sums else None)
            if both is None:
                program.trail.append((self, step))
                x = step.lower(program, x, plus if step.sums else None)
                program.trail.pop()
        return x

    def walk(self) -> Iterator[Step]:
        """Yield each step; those within a step come after it."""
        for step in self.steps:
            yield step
            for chain in step.within():
                yield from chain.walk()

    def _place(self, error: Exception, step: Step | None) -> None:
        """Say on an error where in the net it arose."""
        for note in (step.notes() if step is not None else []) + ([self.where] if self.where else []):
            error.add_note(note)


class Recording(kernels.Program):
    """A program while steps are recorded in it.

    Attributes
    ----------
    trail : list
        The step that is being recorded, after those that it is within; each with its chain.
    """

    def __init__(self, dtype: Any, n_threads: int | None = None):
        self.trail: list[tuple[Chain, Step]] = []

    def leave_for(self, step: Step, x: Value, plus: Value | None) -> Value:
        """Record that a step's own `predict` is called; an error there says where in the net it arose."""
        trail = self.trail[::-1]

        def predict(*arrays):
            try:
                return step.predict(*arrays)
            except Exception as error:
                for chain, at in trail:
                    chain._place(error, at)
                raise

        shape = (x.shape[0], *step.layer.output_shape(x.shape[1:]))
        return self.leave(predict, [x] if plus is None else [x, plus], shape, step.layer.who)

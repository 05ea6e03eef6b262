"""Which neighbours are one pass over memory.

A layer joins by its exact type, in the table of `kinds`. A subclass may do anything in its methods, so it runs alone,
and so does a layer that somebody watches or has put methods on.

    a ReLU after Conv, ConvTranspose, Affine, a norm, MaxPool, Residual                   done as y is written
    a GELU after BatchNorm                                                                done as y is written
    a ReLU before MaxPool                                                                 done after it, on fewer values
    the sum of a Residual whose body ends in Conv or BatchNorm                            done as f(x) is written
    the other gradient of a Residual, and the mask of a ReLU, before Conv                 done as dx is written

A maximum of rectified values is the rectified maximum, so a ReLU may move after a MaxPool. Value and gradient are the
same: where the maximum is not above 0, no gradient passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..config import REGISTRY
from ..layers.activation import GELU, ReLU
from ..layers.guards import unguarded
from ..layers.layer import Layer, runs_alone
from .branches import ConcatStep, MultiplyStep, ResidualStep, SumStep
from .kinds import KINDS, MaxPoolStep
from .step import Alone, Chain, Plain, Step

Notes = Callable[[], list[str]]
Make = Callable[[Layer, Notes], list[Step]]


def steps_of(layer: Layer, notes: Notes) -> list[Step]:
    """Give the steps of a layer, before any has joined another; a container gives those of the layers within it."""
    cls = type(layer)
    if runs_alone(layer) or REGISTRY.get(cls.__name__) is not cls or None in unguarded(cls):
        return alone(layer, notes)
    if "_steps" in vars(cls):  # a container; one that inherits this, such as InferenceNet, may not let others run it
        return layer._steps(notes)  # type: ignore[attr-defined]
    return alone(layer, notes) if layer.children() else [KINDS.get(cls, Plain)(layer, notes)]


def alone(layer: Layer, notes: Notes) -> list[Step]:
    """Give the step of a layer that runs by its own methods and joins nothing."""
    return [Alone(layer, notes)]


def joined(steps: list[Step]) -> list[Step]:
    """Let each ReLU or GELU join the step before it, or a ReLU move after the MaxPool that follows it."""
    kept: list[Step] = []
    for i, step in enumerate(steps):
        following = steps[i + 1] if i + 1 < len(steps) else None
        before = kept[-1] if kept and not (kept[-1].relu or kept[-1].gelu) else None
        if type(step) is not Plain or type(step.layer) not in (ReLU, GELU):
            kept.append(step)
        elif type(step.layer) is GELU:
            if before is not None and before.takes_gelu and step.layer.approximate == "none":
                before.join_gelu(step.layer)
            else:
                kept.append(step)
        elif type(following) is MaxPoolStep:
            following.join_relu(step.layer)
        elif before is not None and before.takes_relu:
            before.join_relu(step.layer)
        else:
            kept.append(step)
    return kept


def residual_step(layer: Layer, body: Layer, shortcut: Layer | None, notes: Notes, make: Make) -> Step:
    """Give the step of a Residual: the last step of its body ends in the sum, or one more step does it.

    `make` gives the steps of its parts: `steps_of` or `alone`.
    """
    steps = joined(make(body, list))
    if not steps or not steps[-1].takes_sum or steps[-1].relu or steps[-1].gelu:
        steps.append(SumStep(layer, list))
    steps[-1].sums = True
    around = None if shortcut is None else _part(shortcut, "in the shortcut of Residual", make)
    return ResidualStep(layer, notes, Chain(steps, "in the body of Residual"), around)


def concat_step(layer: Layer, branches: Sequence[Layer], notes: Notes, make: Make) -> Step:
    """Give the step of a Concat; `make` gives the steps of its branches: `steps_of` or `alone`."""
    return ConcatStep(layer, notes, _branches(layer, branches, make))


def multiply_step(layer: Layer, branches: Sequence[Layer], notes: Notes, make: Make) -> Step:
    """Give the step of a Multiply; `make` gives the steps of its branches: `steps_of` or `alone`."""
    return MultiplyStep(layer, notes, _branches(layer, branches, make))


def _branches(layer: Layer, branches: Sequence[Layer], make: Make) -> list[Chain]:
    return [_part(branch, f"in branch {i} of {layer.who}", make) for i, branch in enumerate(branches)]


def _part(layer: Layer, where: str, make: Make) -> Chain:
    return Chain(joined(make(layer, list)), where)

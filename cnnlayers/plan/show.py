"""What the kernels will do with a net: the algorithm of each Conv and Affine, in each pass, and why; its program."""

from __future__ import annotations

from typing import Any

from .. import kernels
from ..checks import as_integer
from ..layers.affine import Affine
from ..layers.conv import Conv
from ..layers.conv_transpose import ConvTranspose
from ..layers.layer import Layer
from ..tables import RULE, columns
from .branches import SumStep

LABELS = {"forward": "forward", "input_grad": "dL/dx", "weight_grad": "dL/dW"}
SHOWN = 128  # samples of the batch whose plan and program are printed; `show_plan` shows that of any
PROGRAM = f"the program for a batch of {SHOWN}:"
TRANSPOSED = {"forward": "input_grad", "input_grad": "forward", "weight_grad": "weight_grad"}


def show_plan(net: Layer, batch_size: int = 128) -> None:
    """Print the algorithm that computes each pass of each Conv and Affine on a batch of this size, and why.

    A cost of 0.4 means two fifths of the plain kernel's (algorithm "direct"), by the model of `kernels/choice.py`.

    For a net that was made by `for_inference` the calls of its program follow (see `program_table`).

    Parameters
    ----------
    net : Layer
        Built.
    batch_size : int
        The choice depends on it: with few samples, transforming the weights costs more than it saves. So a sample's
        results can differ in rounding between a large and a small batch.

    Raises
    ------
    RuntimeError
        If the net is not built.

    Examples
    --------
    >>> import cnnlayers as cl
    >>> net = cl.Sequential([cl.Conv(6, 7), cl.ReLU(), cl.Conv(32, 3, stride=2)], input_shape=(32, 32, 3), rng=0)
    >>> show_plan(net, 64)
    layer           pass     algorithm  why
    -----------------------------------------------------------------------------
    0: Conv(6, 7)   forward  direct     a kernel of 7x7, not 1x3, 1x5, 3x3 or 5x5
    0: Conv(6, 7)   dL/dx    direct     a kernel of 7x7, not 1x3, 1x5, 3x3 or 5x5
    0: Conv(6, 7)   dL/dW    direct     a kernel of 7x7, not 1x3, 1x5, 3x3 or 5x5
    2: Conv(32, 3)  forward  direct     a stride
    2: Conv(32, 3)  dL/dx    direct     a stride
    2: Conv(32, 3)  dL/dW    direct     a stride
    """
    print(choices(net, batch_size))


def choices(net: Layer, batch_size: int) -> str:
    """Give the table that `show_plan` prints."""
    n = as_integer("show_plan", "batch_size", batch_size, low=1)
    net.require_built()
    plan = getattr(net, "plan", None)  # a single layer has none
    only_predicts = plan is not None and not plan.trains
    rows: list[tuple[str, ...]] = [("layer", "pass", "algorithm", "why"), RULE]
    for name, layer in net.walk():
        if isinstance(layer, (Affine, Conv, ConvTranspose)):
            title = layer.who if isinstance(layer, Affine) else layer.title
            label = f"{name}: {title}" if name else title
            for which in ("forward",) if only_predicts else kernels.PASSES:
                choice = _choice(layer, which, n, only_predicts)
                rows.append((label, LABELS[which], choice.name, choice.why))
    return columns(rows) + (f"\n\n{program_table(plan, n)}" if only_predicts else "")


def table(plan: Any) -> str:
    """Give the table that `print(net.plan)` prints: what runs, in order, what is joined, and by which algorithms.

    For a net that only predicts its program follows.
    """
    program = "" if plan.trains else f"\n\n{PROGRAM}\n{program_table(plan, SHOWN)}"
    return columns(_steps(plan)) + program


def html(plan: Any) -> str:
    """The same as HTML, for notebooks."""
    from .. import markup  # here, since few need it

    parts = [markup.table(_steps(plan))]
    if not plan.trains:
        calls, said = _calls(plan, SHOWN)
        parts += [markup.note(PROGRAM), markup.table(calls) if calls else "", markup.note(said)]
    return markup.block(*parts)


def _steps(plan: Any) -> list[tuple[str, ...]]:
    passes = kernels.PASSES if plan.trains else ("forward",)
    rows: list[tuple[str, ...]] = [("step", "joined", "output shape", *(LABELS[which] for which in passes)), RULE]
    names_of = {id(layer): name for name, layer in plan.net.walk()}
    for step in plan.walk():
        names = [joined.who for joined in step.joined] + (["the sum"] if step.sums else [])
        shape = step.layer.output_shape(step.layer.input_shape)
        named = [""] * len(passes)
        if isinstance(step.layer, (Affine, Conv, ConvTranspose)):
            named = [_choice(step.layer, which, SHOWN, not plan.trains).name for which in passes]
        name = names_of[id(step.layer)]
        label = f"{name}: the sum" if isinstance(step, SumStep) else f"{name}: {step.layer.who}"
        rows.append(("  " * name.count(".") + label, ", ".join(names), str(shape), *named))
    return rows


def program_table(plan: Any, n: int) -> str:
    """Give the table of the calls that compute n samples, one after the other, and the size of the arena.

    Where a value lies is its first byte in the arena, the block of memory of all that is between x and y; or "an
    array", if a layer that no kernel computes takes or gives it. The calls that compute a part of the batch stand after
    the one that does all parts: their places are in an arena that each thread has for itself, within the other one.
    """
    rows, said = _calls(plan, n)
    return f"{columns(rows)}\n\n{said}" if rows else said


def _calls(plan: Any, n: int) -> tuple[list[tuple[str, ...]], str]:
    """The rows of that table, and what is said below it."""
    program = plan.program((n, *plan.net.input_shape))
    if program is None:
        return [], "there is no program: no kernel computes any of it"
    rows: list[tuple[str, ...]] = [("call", "of what lies at", "gives shape", "at"), RULE]
    _add_rows(rows, program, "")
    return rows, f"arena: {program.arena:,} bytes"


def _add_rows(rows: list[tuple[str, ...]], program: Any, indent: str) -> None:
    for name, values, shape, place, body in program.rows():
        rows.append((indent + name, ", ".join(map(_place, values)), str(shape), _place(place)))
        if body is not None:
            _add_rows(rows, body, indent + "  ")


def _place(place: Any) -> str:
    return f"{place:,}" if isinstance(place, int) else place


def _choice(layer: Affine | Conv | ConvTranspose, which: str, n: int, ready: bool) -> kernels.Choice:
    if isinstance(layer, Affine):
        return kernels.choose_affine(which, n, layer.params["W"].shape, layer.dtype)
    window, shape = layer.window(layer.input_shape), layer.params["W"].shape
    if isinstance(layer, ConvTranspose):  # its forward pass is the input gradient of the Conv that it transposes
        return kernels.choose(TRANSPOSED[which], window, shape, n, layer.dtype)
    return kernels.choose(which, window, shape, n, layer.dtype, layer.algorithm, ready)

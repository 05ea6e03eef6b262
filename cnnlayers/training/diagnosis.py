"""Where a NaN or an infinity began: a training step replayed, every layer watched."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..layers.layer import Layer
from ..plan import watching
from .agreement import loss_of


class _FoundError(Exception):
    """Carries the first bad value out of the replay."""


def first_bad(model: Layer, loss: Any, x: Any, y: Any, weights: Any = None) -> str:
    """Replay one step, layer by layer and unfused, and say in words where the first value that is not finite appears.

    The weights stay; state and random numbers move on as in any step.
    """
    if not _finite(np.asarray(x)):
        return "the batch itself holds a NaN or an infinity"
    names = {id(layer): name for name, layer in model.walk()}

    def see(layer: Layer, what: str, values: np.ndarray) -> None:
        if what != "gradient of the output" and not _finite(values):
            name = names[id(layer)]
            raise _FoundError(f"first seen in the {what} of {f'layer {name}, ' if name else ''}{layer!r}")

    try:
        with watching(model.leaves(), see), np.errstate(all="ignore"):
            if not math.isfinite(loss_of(loss, model.forward(x), y, weights)):
                return "every layer's output is finite: it arises in the loss"
            model.backward(loss.backward(), input_grad=False)
    except _FoundError as found:
        return str(found)
    return "every layer's output and gradient is finite when the step is replayed"


def _finite(values: np.ndarray) -> bool:
    return values.dtype.kind != "f" or bool(np.isfinite(values).all())

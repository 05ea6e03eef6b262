"""Whole training steps: forward, loss, backward, SGD with momentum.

No side computes the gradient of the images. All begin with the same parameters, and after the first step they must
have the same loss and the same parameters again.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from ..cases import Case
from ..nets import NETS
from ..sides import numpy_net, own, torch_net
from .training import SHALLOW, problem, tolerance

SIDES: dict[str, Callable[[Any], Any]] = {
    "cnnlayers": own.Step,
    "torch:nchw": partial(torch_net.Step, channels_last=False),
    "torch:channels_last": partial(torch_net.Step, channels_last=True),
    "torch:compile": partial(torch_net.Step, channels_last=True, compiled=True),
}
NUMPY = {"numpy": numpy_net.Step}  # for the nets whose layers are written in it
BATCHES = (1, 32, 128)


def cases() -> list[Case]:
    """Give every net at every batch size."""
    return [
        Case("step", f"{name}-{batch}", "step", partial(problem, name, batch), sides(name), tolerance=tolerance(name))
        for name in NETS
        for batch in BATCHES
    ]


def sides(name: str) -> dict[str, Callable[[Any], Any]]:
    return {**NUMPY, **SIDES} if name in SHALLOW else SIDES

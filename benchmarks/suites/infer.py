"""Inference: the scores of a batch, from a net that has seen one batch in training."""

from collections.abc import Callable
from functools import partial
from typing import Any

from ..cases import Case
from ..nets import NETS
from ..sides import own, torch_net
from .training import Problem, problem

SIDES: dict[str, Callable[[Any], Any]] = {
    "cnnlayers": own.Infer,
    "cnnlayers:for_inference": partial(own.Infer, prepared=True),
    "torch:nchw": partial(torch_net.Infer, channels_last=False),
    "torch:channels_last": partial(torch_net.Infer, channels_last=True),
    "torch:compile": partial(torch_net.Infer, channels_last=True, compiled=True),
}
BATCHES = (1, 128)


def cases() -> list[Case]:
    """Give every net at every batch size."""
    return [
        Case("infer", f"{name}-{batch}", "predict", partial(trained, name, batch), SIDES, tolerance=1e-3)
        for name in NETS
        for batch in BATCHES
    ]


def trained(name: str, batch: int, quick: bool = False) -> Problem:
    """Give a problem whose net has running statistics other than 0 and 1."""
    made = problem(name, batch, quick)
    made.net.forward(made.x)
    return made

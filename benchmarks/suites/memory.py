"""Peak resident memory of a process that trains ResNet-8 at batch 128, each side in a process of its own."""

from collections.abc import Callable
from functools import partial
from typing import Any

from ..cases import Case
from ..sides import process

STEPS = 10
SIDES: dict[str, Callable[[Any], Any]] = {
    side: partial(process.PeakMemory, side=side) for side in ("cnnlayers", "torch:nchw", "torch:channels_last")
}


def cases() -> list[Case]:
    return [Case("memory", "resnet8-128", "peak", what, SIDES, timed=False, unit="MB")]


def what(quick: bool = False) -> tuple[str, int, int]:
    """Give net, batch and steps."""
    return ("resnet8", 3, 2) if quick else ("resnet8", 128, STEPS)

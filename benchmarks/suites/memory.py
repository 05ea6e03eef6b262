"""Peak resident memory of a process that trains ResNet-8 at batch 128, each side in a process of its own."""

from collections.abc import Callable
from functools import partial
from typing import Any

from ..cases import Case
from ..environment import has_torch
from ..sides import process

STEPS = 10
SIDES: dict[str, Callable[[Any], Any]] = {
    side: partial(process.PeakMemory, side=side) for side in ("cnnlayers", "torch:nchw", "torch:channels_last")
}


def cases() -> list[Case]:
    return [Case("memory", "resnet8-128", "peak", arguments, SIDES, timed=False, unit="MB")]


def arguments(quick: bool = False) -> list[str]:
    """Give net, batch and steps as `peak_memory.py` takes them."""
    return ["resnet8", *(("3", "2") if quick else ("128", str(STEPS)))]


__all__ = ["STEPS", "cases", "has_torch"]

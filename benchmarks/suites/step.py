"""Whole training steps: forward, loss, backward, SGD with momentum.

No side computes the gradient of the images. All begin with the same parameters, and after the first step they must
have the same loss and the same parameters again.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from ..cases import Case, Unavailable
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


class TrainingStep:
    """The same for asv."""

    param_names = ("net", "side")
    params = ([case.name for case in cases()], [*NUMPY, *(side for side in SIDES if side != "torch:compile")])

    def setup(self, net: str, side: str) -> None:
        case = next(case for case in cases() if case.name == net)
        if side not in case.sides:
            raise Unavailable(f"{net} has no side {side}")
        self.run = case.sides[side](case.problem(False)).step
        self.run()

    def time_step(self, net: str, side: str) -> None:
        self.run()

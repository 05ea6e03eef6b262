"""Whole training steps: forward, loss, backward, SGD with momentum.

No side computes the gradient of the images. All begin with the same parameters, and after the first step they must
have the same loss and the same parameters again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import cnnlayers as cl

from ..cases import Case
from ..sides import numpy_net, own, torch_net

SIDES: dict[str, Callable[[Any], Any]] = {
    "numpy": numpy_net.Step,
    "cnnlayers": own.Step,
    "torch:nchw": partial(torch_net.Step, channels_last=False),
    "torch:channels_last": partial(torch_net.Step, channels_last=True),
}


@dataclass(frozen=True)
class Net:
    """A net to train: how to build it, on what images, and which batches."""

    build: Callable[..., cl.Sequential]
    input_shape: tuple[int, int, int]
    batches: tuple[int, ...]


NETS = {"lenet": Net(cl.models.lenet, (28, 28, 1), (1, 32, 128))}


class Problem:
    """A batch of random images and labels, and a net that each side takes its parameters from."""

    lr = 1e-3  # small, so that the loss does not vanish, and the gradients with it, while the clock runs
    momentum = 0.9

    def __init__(self, net: Net, batch: int) -> None:
        rng = np.random.default_rng(0)
        self.x = rng.random((batch, *net.input_shape), np.float32)
        self.y = rng.integers(10, size=batch)
        self.net = net.build(net.input_shape, 10, rng=0)

    def work(self, operation: str) -> None:
        """Give no number: a step is more than its multiplications."""


def cases() -> list[Case]:
    """Give every net at every batch size."""
    return [
        Case("step", f"{name}-{batch}", "step", partial(problem, name, batch), SIDES)
        for name, net in NETS.items()
        for batch in net.batches
    ]


def problem(name: str, batch: int, quick: bool = False) -> Problem:
    return Problem(NETS[name], min(batch, 3) if quick else batch)


class TrainingStep:
    """The same for asv."""

    param_names = ("net", "side")
    params = ([case.name for case in cases()], list(SIDES))

    def setup(self, net: str, side: str) -> None:
        case = next(case for case in cases() if case.name == net)
        self.run = SIDES[side](case.problem(False)).step
        self.run()

    def time_step(self, net: str, side: str) -> None:
        self.run()

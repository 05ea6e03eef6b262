"""A training step on one thread and on two, each library for itself."""

from collections.abc import Callable
from functools import partial
from typing import Any

from .. import environment
from ..cases import Case
from ..sides import own, torch_net
from .training import problem, tolerance

NETS = ("resnet8", "resnet20", "vgg")
LIBRARIES: dict[str, dict[str, Callable[[Any], Any]]] = {
    "cnnlayers": {"": own.Step},
    "PyTorch": {
        ":nchw": partial(torch_net.Step, channels_last=False),
        ":channels_last": partial(torch_net.Step, channels_last=True),
    },
}


class OnThreads:
    """A side that sets its number of threads before each step."""

    def __init__(self, problem: Any, make: Callable[[Any], Any], threads: int) -> None:
        environment.set_threads(threads)
        self.threads = threads
        self.side = make(problem)

    def step(self) -> Any:
        environment.set_threads(self.threads)
        return self.side.step()

    def arrays(self, operation: str, result: Any) -> Any:
        return self.side.arrays(operation, result)


def cases() -> list[Case]:
    """Give every net in every library that is installed."""
    libraries = [name for name in LIBRARIES if name != "PyTorch" or environment.has_torch()]
    return [
        Case(
            "threads",
            f"{library}/{net}-128",
            "step",
            partial(problem, net, 128),
            sides(library),
            tolerance=tolerance(net),
            reference="2 threads",
        )
        for library in libraries
        for net in NETS
    ]


def sides(library: str) -> dict[str, Callable[[Any], Any]]:
    return {
        f"{threads} thread{'s' if threads > 1 else ''}{variant}": partial(OnThreads, make=make, threads=threads)
        for threads in (1, 2)
        for variant, make in LIBRARIES[library].items()
    }

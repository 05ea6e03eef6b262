"""Training on several processes: R ranks of one thread each, beside one process of R threads, and PyTorch's processes.

step        a whole step of S = 4 batches, R = 1, 2, 4, of nets that differ in the number of their parameters alone
target      the same of a ResNet and a VGG, two ranks
exchange    what the ranks tell each other in a step, and nothing else: the gradients, and what each batch met;
            once also of a step of 64 batches
gather      of that what each batch met;  message: eight bytes there and back

Each side is a group of processes that measure themselves, from a barrier on; they take turns as all sides do. Before
that the parameters after the first step are compared, and the sums.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from ..cases import OURS, Case
from ..sides import group
from . import training

BATCH, PLACES = 32, 4  # samples of a batch, batches of a step
MANY = 64  # batches of a step that tells much
SIZES = ("course-0.1M", "course-1M", "course-10M")
COUNTS = (1, 2, 4)  # of ranks
TARGETS = ("resnet20", "vgg")
APART: dict[str, Callable[[Any], Any]] = {
    OURS: group.Ranks,
    "torch:nchw": partial(group.Torch, side="torch:nchw"),
}
SIDES: dict[str, Callable[[Any], Any]] = {
    OURS: group.Ranks,
    "one process": group.OneProcess,
    "torch:nchw": partial(group.Torch, side="torch:nchw"),
    "torch:channels_last": partial(group.Torch, side="torch:channels_last"),
}


class Problem(NamedTuple):
    """A net of `nets.py`, how many ranks there are, the samples of a batch and the batches of a step."""

    net: str
    ranks: int
    batch: int = BATCH
    places: int = PLACES

    def made(self) -> training.Problem:
        """The net and the samples of a whole step, the same in every process."""
        return training.Problem(self.net, self.places * self.batch)

    def traffic(self, operation: str) -> int:
        """Bytes of the gradient."""
        return self.made().net.flat_params.nbytes


def cases() -> list[Case]:
    steps = [(net, ranks) for net in SIZES for ranks in COUNTS] + [("resnet20", 1)]
    return [
        *(case("step", net, ranks, SIDES) for net, ranks in steps),
        *(case("target", net, 2, SIDES, "step") for net in TARGETS),
        *(case("exchange", net, ranks, APART) for net in SIZES for ranks in COUNTS if ranks > 1),
        case("exchange", SIZES[0], 2, APART, places=MANY),
        *(case(operation, SIZES[0], 2, APART) for operation in ("gather", "message")),
    ]


def case(name: str, net: str, ranks: int, sides: Mapping[str, Any], operation: str = "", places: int = PLACES) -> Case:
    label = f"{name}/{net}{'' if places == PLACES else f'-s{places}'}-r{ranks}"
    what = partial(problem, net, ranks, places)
    return Case(
        "ranks",
        label,
        operation or name,
        what,
        sides,
        tolerance=training.tolerance(net.partition("-")[0]),
        processes=ranks,
    )


def problem(net: str, ranks: int, places: int, quick: bool = False) -> Problem:
    return Problem(net, ranks, 2 if quick else BATCH, places)

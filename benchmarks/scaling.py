"""How long a step would take on more ranks than there are here: a model, with parameters that the suite ranks measured.

    exchange(R, S) = 2 (R - 1) a + g log2 R + h S + 2 (R - 1) / R  B / b
    step(R, S)     = t + exchange(R, S)

a    seconds of a message, whatever is in it: half of eight bytes there and back
g    seconds in which two ranks tell each other what their batches met; R ranks do so in log2 R such rounds
h    seconds for each batch of the step, which every rank must learn of: from exchanges of 64 and of 4 batches
b    bytes per second of an exchange, adding up included: what two ranks need for the largest net beyond all that
B    bytes of the gradient
t    seconds of a step of one rank with as many batches as each has, and no others

R is a power of two, and so is the number of batches of each rank: so each has one subtree. Nothing here knows of
processors that share their memory, of a network that is not the same between all, or of a rank that is slower.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from .cases import OURS
from .report import Report
from .runner import Result
from .table import three_digits

NETS = ("course-0.1M", "course-1M", "course-10M", "resnet20")
COUNTS = (8, 16, 32, 64, 128, 256)
PLACES, MANY = 4, 64  # batches of the steps and exchanges that were measured
LATENCY, BANDWIDTH = 20e-6, 1.25e9  # assumed of a network: a message, and 10 Gbit/s


@dataclass(frozen=True)
class Model:
    """The parameters: seconds, and bytes per second."""

    message: float
    gather: float
    batch: float
    bandwidth: float

    @classmethod
    def of(cls, results: Sequence[Result]) -> Self:
        """Give those that a run measured."""
        message, gather = (minimum(results, f"{name}/{NETS[0]}-r2") for name in ("message", "gather"))
        few, many = (minimum(results, f"exchange/{NETS[0]}{places}-r2") for places in ("", f"-s{MANY}"))
        batch = max(many - few, 0.0) / (MANY - PLACES)
        largest = f"exchange/{NETS[2]}-r2"
        rest = minimum(results, largest) - message - gather - PLACES * batch  # there and back is two messages
        return cls(message / 2, gather, batch, gradient_bytes(results, largest) / rest)

    def over(self, latency: float, bandwidth: float) -> Self:
        """The same where each message and each byte takes longer; two collectives make a round of `gather`."""
        longer = 1 / (1 / self.bandwidth + 1 / bandwidth)
        return type(self)(self.message + latency, self.gather + 2 * latency, self.batch, longer)

    def exchange(self, ranks: int, batches: int, size: float) -> float:
        """Seconds of the exchange of a step of so many batches, whose gradient has so many bytes."""
        moved = 2 * (ranks - 1) / ranks * size / self.bandwidth
        return 2 * (ranks - 1) * self.message + self.gather * math.log2(ranks) + self.batch * batches + moved


def lines(run: Report) -> list[str] | None:
    """Give what was measured and what is computed from it, for a page; None if something of it did not run."""
    results = [result for result in run.results if result.suite == "ranks"]
    try:
        here = Model.of(results)
        return [*measured(results, here), *computed(results, here), *elsewhere(results, here)]
    except KeyError:
        return None


def measured(results: Sequence[Result], here: Model) -> list[str]:
    """Give the parameters, and what the model says of exchanges that were measured and have no part in them."""
    facts = [
        ("a, a message", f"{three_digits(here.message * 1e6)} µs"),
        ("g, what the batches met", f"{three_digits(here.gather * 1e6)} µs"),
        ("h, a batch", f"{three_digits(here.batch * 1e6)} µs"),
        ("b, bytes of an exchange", f"{three_digits(here.bandwidth / 1e9)} GB/s"),
        *((f"t, {net}", f"{three_digits(step(results, net) * 1e3)} ms") for net in NETS),
    ]
    checks = []
    for net in NETS[:2]:
        name = f"exchange/{net}-r2"
        model, clock = here.exchange(2, PLACES, gradient_bytes(results, name)), minimum(results, name)
        checks.append(f"- {name}: computed {three_digits(model * 1e3)} ms, measured {three_digits(clock * 1e3)} ms")
    return ["Measured here:", "", *rows(("parameter", "measured"), facts), "", *checks, ""]


def computed(results: Sequence[Result], here: Model) -> list[str]:
    return ["Computed, if all ranks were as near to each other as the two here:", "", *table(results, here), ""]


def elsewhere(results: Sequence[Result], here: Model) -> list[str]:
    what = f"{LATENCY * 1e6:g} µs a message and {BANDWIDTH / 1e9:g} GB/s each way"
    return [
        f"Computed, for a network of which we assume, and did not measure, {what} on top:",
        "",
        *table(results, here.over(LATENCY, BANDWIDTH)),
    ]


def table(results: Sequence[Result], model: Model) -> list[str]:
    """Give for each net the milliseconds of an exchange, and the part of a step that is none."""
    cells = []
    for ranks in COUNTS:
        row = [str(ranks)]
        for net in NETS:
            size, whole = gradient_bytes(results, f"step/{net}-r1"), step(results, net)
            for batches in (1, PLACES):
                time, own = model.exchange(ranks, batches * ranks, size), whole * batches / PLACES
                row.append(f"{three_digits(time * 1e3)} ({own / (own + time):.0%})")
        cells.append(row)
    titles = ["ranks", *(title for net in NETS for title in (f"{net}, S = R", f"S = {PLACES} R"))]
    return rows(titles, cells)


def rows(titles: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    rule = [":--", *("--:" for _ in titles[1:])]
    return [f"| {' | '.join(row)} |" for row in (titles, rule, *cells)]


def step(results: Sequence[Result], net: str) -> float:
    return minimum(results, f"step/{net}-r1")


def gradient_bytes(results: Sequence[Result], name: str) -> float:
    return found(results, name).traffic or 0.0


def minimum(results: Sequence[Result], name: str) -> float:
    return found(results, name).minimum(OURS)


def found(results: Sequence[Result], name: str) -> Result:
    """Give a result in which ranks took part; KeyError if there is none."""
    return {result.name: result for result in results if OURS in result.samples}[name]

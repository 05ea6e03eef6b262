"""Against an older run: new / old for each case and library, and whether ours became slower by more than noise.

    python -m benchmarks.compare new.json old.json

The same as `--compare old.json` in a new run. A case is slower if the ratio of the minima is above the noise of both
runs, and above a threshold. The noise of a run is how far the fastest quarter of its calls spreads, lower quartile /
minimum: of a case that jumps from call to call little can be said, of one that does not much. The slowest calls say
nothing, since anything else on the machine makes them.

The other libraries did not change between the runs: where their ratios are far from 1, the machine did.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from typing import Any

from . import environment, report
from .cases import OURS
from .report import Report
from .runner import Result
from .table import family

THRESHOLD = 1.05  # as __main__.py has it, which imports nothing
SAME = (
    *("processor", "CPUs", "threads", "BLAS threads", "compiler", "kernels", "Python", "NumPy"),
    *(library.title for library in environment.LIBRARIES.values()),
)


class Slower(RuntimeError):
    """Cases take longer than they did."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description="Compare two runs.")
    parser.add_argument("new", help="what `python -m benchmarks --json` wrote")
    parser.add_argument("old", help="the same, earlier")
    parser.add_argument("--threshold", type=float, default=THRESHOLD, metavar="X", help="as of python -m benchmarks")
    options = parser.parse_args(arguments)
    try:
        new, old = report.load(options.new), report.load(options.old)
        check_settings(new.settings, old)
        print("\n".join(compare(new, old, options.threshold)))
        check(new, old, options.threshold)
    except (ValueError, Slower) as error:
        print(f"benchmarks.compare: {error}", file=sys.stderr)
        return 1
    return 0


def check_settings(settings: dict[str, Any], old: Report) -> None:
    """Refuse a comparison that means nothing."""
    if settings["quick"] != old.settings["quick"]:
        raise ValueError("cannot compare a --quick run with a full one: their problems differ")


def check_names(names: Sequence[str], old: Report) -> None:
    """Refuse to compare cases none of which is in the older run."""
    if not {result.full_name for result in old.results}.intersection(names):
        raise ValueError("cannot compare: no case is in both runs")


def check(new: Report, old: Report, threshold: float) -> None:
    """Raise Slower, which names the cases, if any is slower; --quick runs say nothing about that."""
    check_names([result.full_name for result in new.results], old)
    slower = [result.full_name for result, earlier in pairs(new, old) if is_slower(result, earlier, threshold)]
    if slower and not new.settings["quick"]:
        raise Slower(f"slower than before by more than noise: {', '.join(slower)}")


def compare(new: Report, old: Report, threshold: float) -> list[str]:
    """Give the lines to print; those of cases in which ours is slower are marked."""
    both = pairs(new, old)
    width = max((len(result.full_name) for result, _ in both), default=0)
    slower = sum(is_slower(*pair, threshold) for pair in both)
    return [
        *differences(new, old),
        "new / old, by the minima of each library:",
        *(line(*pair, width, threshold) for pair in both),
        *drift(both),
        f"{slower} of {len(both)} cases are slower: {OURS} above {threshold:g} and above noise",
    ]


def pairs(new: Report, old: Report) -> list[tuple[Result, Result]]:
    """Give the cases that are in both runs: new, old."""
    before = {result.full_name: result for result in old.results}
    return [(result, before[result.full_name]) for result in new.results if result.full_name in before]


def differences(new: Report, old: Report) -> list[str]:
    """Say what is not the same in the two runs."""
    both = [(name, old.environment.get(name), new.environment.get(name)) for name in SAME]
    return [f"note: {name} was {before}, is {now}" for name, before, now in both if before != now]


def drift(both: Sequence[tuple[Result, Result]]) -> list[str]:
    """Say how the figures of the libraries beside ours have changed: as much as the machine, if they are the same."""
    others = [value for pair in both if ours(pair[0]) == OURS for name, value in ratios(*pair).items() if name != OURS]
    return [f"the others: geometric mean {statistics.geometric_mean(others):.2f}"] if others else []


def line(new: Result, old: Result, width: int, threshold: float) -> str:
    cells = [f"{name} {value:.2f}" for name, value in ratios(new, old).items()]
    if (change := slowdown(new, old)) is not None:
        cells.append(f"(noise {change[1]:.2f})")
    mark = "   <-- SLOWER" if is_slower(new, old, threshold) else ""
    return f"{new.full_name.ljust(width)}  {'  '.join(cells)}{mark}"


def ratios(new: Result, old: Result) -> dict[str, float]:
    """Give new / old for the libraries in both, ours first; the best side of a library counts."""
    shared = {family(side) for side in new.samples} & {family(side) for side in old.samples}
    names = sorted(shared, key=lambda name: (name != OURS, name))
    return {name: min(fastest(new, name)) / min(fastest(old, name)) for name in names}


def is_slower(new: Result, old: Result, threshold: float) -> bool:
    change = slowdown(new, old)
    return change is not None and change[0] > max(threshold, change[1])


def slowdown(new: Result, old: Result) -> tuple[float, float] | None:
    """Give new / old of ours, and the noise of both; None where ours takes no part, or figures are no times."""
    mine, before = ours(new), ours(old)
    if mine is None or before is None or new.unit != "s":
        return None
    now, then = fastest(new, mine), fastest(old, before)
    return min(now) / min(then), spread(now) * spread(then)


def ours(result: Result) -> str | None:
    """Give the name of our figures: in `choice` that of the algorithm that was chosen, in `threads` the reference."""
    if any(family(side) == OURS for side in result.samples):
        return OURS
    if result.name.startswith(f"{OURS}/"):
        return result.reference
    return result.algorithm if result.algorithm in result.samples else None


def fastest(result: Result, name: str) -> list[float]:
    """Give the figures of a library's best side."""
    return min((samples for side, samples in result.samples.items() if family(side) == name), key=min)


def spread(samples: Sequence[float]) -> float:
    """Give lower quartile / minimum, 1 where all are the same."""
    if len(samples) < 2:
        return 1.0
    return statistics.quantiles(samples, n=4, method="inclusive")[0] / min(samples)


if __name__ == "__main__":
    sys.exit(main())

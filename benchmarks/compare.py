"""Against an older run: new / old for each case and side.

The other sides did not change between the runs: where their ratios are far from 1, the machine did.
"""

from typing import Any

from .cases import OURS
from .report import Report
from .runner import Result

SAME = ("processor", "CPUs", "threads", "BLAS threads", "compiler", "kernels", "Python", "NumPy", "PyTorch")


def compare(new: Report, old: Report, threshold: float) -> list[str]:
    """Give the lines to print; those of cases where ours takes more than `threshold` times as long are marked."""
    before = {result.full_name: result for result in old.results}
    pairs = [(result, before[result.full_name]) for result in new.results if result.full_name in before]
    if not pairs:
        return [*differences(new, old), "no case is in both runs"]
    width = max(len(result.full_name) for result, _ in pairs)
    slower = [result for result, earlier in pairs if is_slower(result, earlier, threshold)]
    return [
        *differences(new, old),
        "new / old, by minima:",
        *(line(result, earlier, width, threshold) for result, earlier in pairs),
        f"{len(slower)} of {len(pairs)} cases are slower: {OURS} above {threshold:g}",
    ]


def check_settings(settings: dict[str, Any], old: Report) -> None:
    """Refuse a comparison that means nothing."""
    if settings["quick"] != old.settings["quick"]:
        raise ValueError("cannot compare a --quick run with a full one: their problems differ")


def differences(new: Report, old: Report) -> list[str]:
    """Say what is not the same in the two runs."""
    pairs = [(name, old.environment.get(name), new.environment.get(name)) for name in SAME]
    return [f"note: {name} was {before}, is {now}" for name, before, now in pairs if before != now]


def line(new: Result, old: Result, width: int, threshold: float) -> str:
    cells = [f"{side} {value:.2f}" for side, value in ratios(new, old).items()]
    mark = "   <-- SLOWER" if is_slower(new, old, threshold) else ""
    return f"{new.full_name.ljust(width)}  {'  '.join(cells)}{mark}"


def ratios(new: Result, old: Result) -> dict[str, float]:
    """Give new / old for the sides in both, ours first."""
    shared = sorted(new.samples.keys() & old.samples.keys(), key=lambda side: (side != OURS, side))
    return {side: new.minimum(side) / old.minimum(side) for side in shared}


def is_slower(new: Result, old: Result, threshold: float) -> bool:
    return ratios(new, old).get(OURS, 0.0) > threshold

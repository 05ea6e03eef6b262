"""Run a case: check that its sides agree, then let them take turns on the clock.

The turns are interleaved (A, B, C, A, B, C, ...), so that a change of the machine's speed meets all sides alike. Each
turn begins with untimed calls: the idle threads of one library spin for a while on the processors of the next.
"""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .cases import Case, Prepared

WARM_UPS = 2  # untimed calls at the start of a turn
CALLS = 3  # timed calls in a turn


@dataclass(frozen=True)
class Result:
    """The seconds of each timed call, by side."""

    suite: str
    name: str
    seconds: dict[str, list[float]]
    work: float | None = None  # floating-point operations of one call
    unit: str = field(default="s")

    @property
    def full_name(self) -> str:
        return f"{self.suite}/{self.name}"

    def minimum(self, side: str) -> float:
        return min(self.seconds[side])

    def median(self, side: str) -> float:
        return statistics.median(self.seconds[side])


class Disagreement(RuntimeError):
    """Two sides of a case computed different things, so their times must not be compared."""


def run_case(case: Case, rounds: int, quick: bool = False) -> Result:
    """Prepare, verify and measure."""
    problem = case.problem(quick)
    sides = case.prepare(problem)
    verify(case, sides)
    seconds = measure({name: side.run for name, side in sides.items()}, rounds)
    work = problem.work(case.operation) if hasattr(problem, "work") else None
    return Result(case.suite, case.name, seconds, work)


def verify(case: Case, sides: Mapping[str, Prepared]) -> None:
    """Call each side once and compare what it computes with the first."""
    truth: list[np.ndarray] | None = None
    for name, side in sides.items():
        arrays = [np.asarray(a, np.float64) for a in side.arrays(side.run())]
        if truth is None:
            first, truth = name, arrays
        elif len(arrays) != len(truth):
            raise Disagreement(f"{case.full_name}: {first} gives {len(truth)} arrays, {name} {len(arrays)}")
        for number, (expected, got) in enumerate(zip(truth, arrays, strict=True)):
            if expected.shape != got.shape:
                raise Disagreement(
                    f"{case.full_name}: array {number} of {first} has shape {expected.shape}, of {name} {got.shape}"
                )
            error = np.abs(got - expected).max(initial=0) / max(np.abs(expected).max(initial=0), 1e-30)
            if not error <= case.tolerance:  # NaN is not
                raise Disagreement(
                    f"{case.full_name}: {name} differs from {first} by {error:.1e} of the largest element in array "
                    f"{number}; at most {case.tolerance:.0e} is allowed"
                )


def measure(
    runs: Mapping[str, Callable[[], Any]],
    rounds: int,
    *,
    calls: int = CALLS,
    warm_ups: int = WARM_UPS,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Let the sides take turns, `rounds` times, and give the seconds of each timed call."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    gc.collect()
    collecting = gc.isenabled()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, run in runs.items():
                for _ in range(warm_ups):
                    run()
                for _ in range(calls):
                    start = clock()
                    run()
                    seconds[name].append(clock() - start)
    finally:
        if collecting:
            gc.enable()
    return seconds

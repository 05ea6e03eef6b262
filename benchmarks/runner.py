"""Run a case: check that its sides agree, then let them take turns on the clock.

The turns are interleaved (A, B, C, A, B, C, ...), so that a change of the machine's speed meets all sides alike. Each
turn begins with a pause, since the idle threads of one library spin for a while on the processors of the next, and with
untimed calls.
"""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .cases import OURS, Case, Prepared

PAUSE = 0.15  # seconds before each turn: idle threads of OpenBLAS spin for a tenth of a second, of OpenMP less
WARM_UPS = 2  # untimed calls at the start of a turn, at least; of short calls as many as are timed
CALLS = 3  # timed calls in a turn, at least; of short calls as many as fill SPAN seconds, up to MOST
SPAN = 0.02
MOST = 30
FEWEST_TURNS = 3  # however long they take
Turn = Callable[[Callable[[], Any], Callable[[], float]], list[float]]  # a call, a clock: the seconds of a turn
FACTS = ("work", "traffic", "real_work", "algorithm")  # what a problem may know of its operations


@dataclass(frozen=True)
class Result:
    """The seconds of each timed call (or other figures, in `unit`), by side."""

    suite: str
    name: str
    samples: dict[str, list[float]]
    work: float | None = None  # floating-point operations of one call
    traffic: float | None = None  # bytes that one call must read and write
    dtype: str = "float32"
    unit: str = "s"
    reference: str = OURS
    real_work: float | None = None  # multiplications and additions of the algorithm that cnnlayers chose
    algorithm: str | None = None  # its name

    @property
    def full_name(self) -> str:
        return f"{self.suite}/{self.name}"

    def minimum(self, side: str) -> float:
        return min(self.samples[side])

    def median(self, side: str) -> float:
        return statistics.median(self.samples[side])


class Disagreement(RuntimeError):
    """Two sides of a case computed different things, so their times must not be compared."""


def run_case(case: Case, turns: int, quick: bool = False, budget: float = float("inf")) -> Result:
    """Prepare, verify and measure: `turns` of each side, fewer where they take more than `budget` seconds."""
    problem = case.problem(quick)
    sides = case.prepare(problem)
    runs = {name: side.run for name, side in sides.items()}
    if case.timed:
        verify(case, sides)
        turn = own_turn if case.processes else timed_turn
        samples = measure(runs, turns, turn, budget=budget, pause=PAUSE if case.pause and not quick else 0)
    else:
        samples = collect(runs, min(turns, FEWEST_TURNS))
    facts = {name: getattr(problem, name, lambda operation: None)(case.operation) for name in FACTS}
    dtype = getattr(problem, "dtype", "float32")
    return Result(case.suite, case.name, samples, dtype=dtype, unit=case.unit, reference=case.reference, **facts)


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


def timed_turn(run: Callable[[], Any], clock: Callable[[], float]) -> list[float]:
    repeat(run, WARM_UPS, clock)
    return repeat(run, CALLS, clock)


def own_turn(run: Callable[[], list[float]], clock: Callable[[], float]) -> list[float]:
    """A turn of a side that takes the time itself, in its own processes."""
    return run()


def measure(
    runs: Mapping[str, Callable[[], Any]],
    turns: int,
    turn: Turn = timed_turn,
    *,
    budget: float = float("inf"),
    pause: float = PAUSE,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Let the sides take turns and give the seconds of each timed call."""
    samples: dict[str, list[float]] = {name: [] for name in runs}
    gc.collect()
    collecting = gc.isenabled()
    gc.disable()
    try:
        begin = clock()
        for number in range(turns):
            if number >= FEWEST_TURNS and clock() - begin > budget:
                break
            for name, run in runs.items():
                time.sleep(pause)
                samples[name] += turn(run, clock)
    finally:
        if collecting:
            gc.enable()
    return samples


def repeat(run: Callable[[], Any], calls: int, clock: Callable[[], float]) -> list[float]:
    """Call at least so many times, and on until SPAN is over or MOST calls are done; give the seconds of each."""
    seconds: list[float] = []
    while len(seconds) < calls or (sum(seconds) < SPAN and len(seconds) < MOST):
        start = clock()
        run()
        seconds.append(clock() - start)
    return seconds


def collect(runs: Mapping[str, Callable[[], float]], turns: int) -> dict[str, list[float]]:
    """Ask each side for its figure, in turns."""
    samples: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(turns):
        for name, run in runs.items():
            samples[name].append(run())
    return samples

"""What is measured: a case is an operation on a problem, and the sides that can do it."""

import fnmatch
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

OURS = "cnnlayers"


class Unavailable(NotImplementedError):
    """A side cannot do a case."""


class Side(Protocol):
    """A way to compute: made from a problem, it has a method without arguments for each operation of the suite."""

    def __init__(self, problem: Any) -> None: ...

    def arrays(self, operation: str, result: Any) -> Sequence[np.ndarray]:
        """Give what the operation returned as arrays that can be compared with those of the other sides."""
        ...


@dataclass(frozen=True)
class Prepared:
    """One side of a case, ready to run."""

    run: Callable[[], Any]
    arrays: Callable[[Any], Sequence[np.ndarray]]


@dataclass(frozen=True)
class Case:
    """One line of a table.

    `problem` makes the inputs that all sides get; its argument says whether to make them tiny (`--quick`). A problem
    may have methods that take the operation: `work` gives the floating-point operations of the plain algorithm, for
    GFLOP/s; `algorithm` the one that cnnlayers chooses; `real_work` the multiplications and additions of that;
    `traffic` the bytes that must go through memory at least.
    """

    suite: str
    name: str
    operation: str
    problem: Callable[[bool], Any]
    sides: Mapping[str, Callable[[Any], Any]]
    tolerance: float = 1e-4  # between sides, relative to the largest element; Winograd in float32 needs 6e-5
    timed: bool = True  # else a call gives a figure itself, from a process of its own
    unit: str = "s"  # of that figure
    reference: str = OURS  # the side that the others are divided by
    processes: int = 0  # that a side starts, of one thread each: these take the time of their calls themselves
    pause: bool = True  # before each turn: not needed where all sides are of one library

    @property
    def full_name(self) -> str:
        return f"{self.suite}/{self.name}"

    def without(self, side: str) -> "Case":
        """Give the same case without this side."""
        return replace(self, sides={name: make for name, make in self.sides.items() if name != side})

    def prepare(self, problem: Any) -> dict[str, Prepared]:
        """Give every side that can do this case."""
        prepared = {}
        for name, make in self.sides.items():
            try:
                side = make(problem)
                run = method(side, self.operation)
            except Unavailable:
                continue
            prepared[name] = Prepared(run, lambda result, side=side: side.arrays(self.operation, result))
        return prepared


def method(side: Any, operation: str) -> Callable[[], Any]:
    """Give the side's method for this operation."""
    try:
        return getattr(side, operation)
    except AttributeError:
        raise Unavailable(f"{type(side).__name__} has no {operation}()") from None


def select(cases: Iterable[Case], pattern: str) -> list[Case]:
    """Give the cases whose full name holds the pattern: plain text, or with the wildcards * and ?."""
    return [case for case in cases if fnmatch.fnmatchcase(case.full_name, f"*{pattern}*")]

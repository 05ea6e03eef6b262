"""What is printed: a table for each suite, a line for each case, and the sums below.

The sides of one library ("torch:nchw", "torch:channels_last") share a column, which shows the fastest.
"""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .cases import OURS
from .environment import LIBRARIES
from .runner import Result

TITLES = {"numpy": "NumPy", **{name: library.title for name, library in LIBRARIES.items()}}
VARIANTS = {"nchw": "cf", "channels_last": "cl", "compile": "tc", "frozen": "fz"}
BEST_RIVAL = "the best rival"  # of a result: whichever other library is fastest
WITH_SPEED = ("conv", "layer")  # suites whose work is counted
APART = ("ranks",)  # suites whose operations are parts of each other: no sum over all of them
EXACT = ("eps",)  # units of figures that are the same each time
LEGEND = (
    f"milliseconds (or the unit named): minimum (median); vs X: X's minimum / {OURS}' (above 1, {OURS} is better)\n"
    f"effective: GFLOP/s of {OURS}, counting the plain algorithm's multiplications and additions; real: those\n"
    "of the algorithm that it chose, without transforms and products with padding; peak: real's part of the limit\n"
    "PyTorch: the best of channels first (cf, NCHW), channels_last (cl) and, with --compile, torch.compile (tc)\n"
    f"infer: {OURS} is net.for_inference(); PyTorch is traced, frozen and, but for fz, optimized for inference\n"
    f"ranks: {OURS} is R ranks of one thread; one process: of R threads; PyTorch: DistributedDataParallel over gloo"
)


class Table:
    """The table of one suite, printed line by line as the results come."""

    def __init__(
        self,
        suite: str,
        names: Iterable[str],
        sides: Iterable[str],
        reference: str = OURS,
        peak: Mapping[str, float] | None = None,
    ) -> None:
        self.suite = suite
        self.reference = reference
        self.peak = (peak or {}) if suite in WITH_SPEED else {}
        sides = list(sides)
        self.families = list(dict.fromkeys(family(side) for side in sides))
        self.others = [name for name in self.families if name != reference]
        self.titles = [
            suite,
            *map(title, self.families),
            *self.ratio_titles(),
            *self.more_titles(),
        ]
        first = max([len(suite), *map(len, names)])
        variants = {family(side) for side in sides if ":" in side}
        times = [19 if name in variants else 15 for name in self.families]
        self.widths = [first, *times, *(max(4, len(text)) for text in self.titles[1 + len(times) :])]
        if "algorithm" in self.titles:
            self.widths[self.titles.index("algorithm")] = 24 if suite == "layer" else 9

    def header(self) -> str:
        return self._aligned(self.titles)

    def line(self, result: Result) -> str:
        return self._aligned(self.cells(result))

    def cells(self, result: Result) -> list[str]:
        """Give the texts of one line."""
        best = fastest(result)
        name = result.name if result.unit == "s" else f"{result.name}, {result.unit}"
        times = [cell(result, best.get(name)) for name in self.families]
        return [name, *times, *self.ratio_cells(result), *self.more_cells(result)]

    def ratio_titles(self) -> list[str]:
        return [f"vs {title(name)}" for name in self.others]

    def ratio_cells(self, result: Result) -> list[str]:
        return [ratio_cell(ratio(result, name)) for name in self.others]

    def more_titles(self) -> list[str]:
        """Give the titles of the columns after times and ratios."""
        return ["algorithm", "effective", "real", "peak"] if self.suite in WITH_SPEED else []

    def more_cells(self, result: Result) -> list[str]:
        if self.suite not in WITH_SPEED:
            return []
        speeds = [speed_cell(result, work) for work in (result.work, result.real_work)]
        return [result.algorithm or "-", *speeds, peak_cell(result, self.peak)]

    def footer(self, results: Sequence[Result]) -> list[str]:
        """Sum up each operation, and all together, against each of the other sides."""
        groups: dict[str, list[Result]] = {}
        for result in results:
            groups.setdefault(operation(result), []).append(result)
        if any(result.unit != "s" for result in results):
            return []
        if len(groups) > 1 and self.reference == OURS and self.suite not in APART:
            groups["all"] = list(results)
        groups = {name: group for name, group in groups.items() if len(group) > 1}
        lines = [summary(name, group, other) for name, group in groups.items() for other in self.others]
        return [line for line in lines if line]

    def _aligned(self, texts: Sequence[str]) -> str:
        first, *rest = texts
        pairs = zip(rest, self.widths[1:], strict=True)
        return "  ".join([first.ljust(self.widths[0]), *(text.rjust(width) for text, width in pairs)])


class ChoiceTable(Table):
    """Of the suite choice: what cnnlayers chose beside the fastest of its algorithms."""

    def more_titles(self) -> list[str]:
        return ["chosen", "best", "chosen/best"]

    def more_cells(self, result: Result) -> list[str]:
        return [result.algorithm or "-", fastest_of_all(result), ratio_cell(loss(result))]

    def footer(self, results: Sequence[Result]) -> list[str]:
        """Say how good the choices are for each operation, and for all together."""
        groups: dict[str, list[Result]] = {}
        for result in results:
            groups.setdefault(operation(result), []).append(result)
        groups["all"] = list(results)
        return [choices_summary(name, group) for name, group in groups.items()]


class RivalTable(Table):
    """Of the suite infer: one ratio, to the fastest of the other libraries, whichever that is in this line."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.widths[self.titles.index("best rival")] = max(map(len, TITLES.values()))

    def ratio_titles(self) -> list[str]:
        return ["best rival", "vs best"]

    def ratio_cells(self, result: Result) -> list[str]:
        others = sides_of(result, BEST_RIVAL)
        best = title(family(min(others, key=result.minimum))) if others else "-"
        return [best, ratio_cell(ratio(result, BEST_RIVAL))]

    def footer(self, results: Sequence[Result]) -> list[str]:
        """Sum up all lines, and those of each batch size, against the best rival; and all against each library."""
        groups: dict[str, list[Result]] = {self.suite: list(results)}
        for result in results:
            groups.setdefault(f"batch {result.name.rpartition('-')[2]}", []).append(result)
        lines = [summary(name, group, BEST_RIVAL) for name, group in groups.items()]
        lines += [summary(self.suite, results, other) for other in self.others]
        return [line for line in lines if line]


TABLES = {"choice": ChoiceTable, "infer": RivalTable}


def make(suite: str, *arguments: Any, **options: Any) -> Table:
    """Give the table of a suite, of the class that suits it."""
    return TABLES.get(suite, Table)(suite, *arguments, **options)


def in_order(rows: Iterable[Iterable[str]]) -> list[str]:
    """Give the sides of all rows, in the order of the row that has most."""
    return list(dict.fromkeys(side for row in sorted(map(list, rows), key=len, reverse=True) for side in row))


def family(side: str) -> str:
    """Give the library of a side: what is before the colon."""
    return side.split(":")[0]


def title(family_name: str) -> str:
    return TITLES.get(family_name, family_name)


def operation(result: Result) -> str:
    """Give what is before the slash in the name: the cases that are summed up together."""
    return result.name.split("/")[0] if "/" in result.name else result.suite


def fastest(result: Result) -> dict[str, str]:
    """Give the side with the smallest minimum for each library."""
    best: dict[str, str] = {}
    for side in sorted(result.samples, key=result.minimum):
        best.setdefault(family(side), side)
    return best


def ratio(result: Result, other: str, statistic: Callable[[Sequence[float]], float] = min) -> float | None:
    """Give how many times more than the reference the best side of the other library takes."""
    ours, theirs = sides_of(result, result.reference), sides_of(result, other)
    if not ours or not theirs:
        return None
    return best_of(result, theirs, statistic) / best_of(result, ours, statistic)


def sides_of(result: Result, name: str) -> list[str]:
    """Give a library's sides, or those of all but the reference."""
    if name == BEST_RIVAL:
        return [side for side in result.samples if family(side) != result.reference]
    return [side for side in result.samples if family(side) == name]


def best_of(result: Result, sides: Sequence[str], statistic: Callable[[Sequence[float]], float]) -> float:
    return min(statistic(result.samples[side]) for side in sides)


def summary(name: str, results: Sequence[Result], other: str) -> str | None:
    """Give the geometric mean and the worst of the ratios to another library."""
    minima = {r.name: value for r in results if (value := ratio(r, other)) is not None}
    medians = [value for r in results if (value := ratio(r, other, statistics.median)) is not None]
    if not minima:
        return None
    worst = min(minima, key=lambda case: minima[case])
    won = sum(value >= 1 for value in minima.values())
    return (
        f"{name} vs {title(other)}: geometric mean {statistics.geometric_mean(minima.values()):.2f} "
        f"(by medians {statistics.geometric_mean(medians):.2f}) over {len(minima)} cases, {won} of them at least 1; "
        f"worst {minima[worst]:.2f} ({worst})"
    )


def fastest_of_all(result: Result) -> str:
    return min(result.samples, key=result.minimum)


def loss(result: Result) -> float | None:
    """Give how many times longer than the fastest side the chosen one takes."""
    if result.algorithm not in result.samples:
        return None
    return result.minimum(result.algorithm) / result.minimum(fastest_of_all(result))


def choices_summary(name: str, results: Sequence[Result]) -> str:
    losses = {r.name: value for r in results if (value := loss(r)) is not None}
    if not losses:
        return f"{name}: nothing chosen"
    best, near = (sum(value <= most for value in losses.values()) for most in (1, 1.05))
    worst = max(losses, key=lambda case: losses[case])
    return (
        f"{name}: the best chosen in {best} of {len(losses)} cases, within 5% of it in {near}; "
        f"chosen/best: geometric mean {statistics.geometric_mean(losses.values()):.3f}, "
        f"worst {losses[worst]:.2f} ({worst})"
    )


def cell(result: Result, side: str | None) -> str:
    if side is None:
        return "-"
    variant = side.partition(":")[2]
    text = figure(result.minimum(side), result.unit)
    if result.unit not in EXACT:
        text += f" ({figure(result.median(side), result.unit)})"
    return f"{VARIANTS.get(variant, variant)} {text}" if variant else text


def speed_cell(result: Result, work: float | None) -> str:
    if not work or OURS not in result.samples:
        return "-"
    return three_digits(work / result.minimum(OURS) / 1e9)


def peak_cell(result: Result, peak: Mapping[str, float]) -> str:
    """Give the fraction of the machine's fused multiply-adds that the chosen algorithm does."""
    if not result.real_work or OURS not in result.samples or result.dtype not in peak:
        return "-"
    return f"{result.real_work / result.minimum(OURS) / 1e9 / peak[result.dtype]:.0%}"


def ratio_cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def figure(value: float, unit: str) -> str:
    """Seconds as milliseconds, anything else as it is."""
    return three_digits(value * 1000 if unit == "s" else value)


def three_digits(value: float) -> str:
    """Give three significant digits, and never an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.{max(0, 2 - _magnitude(value))}f}"


def _magnitude(value: float) -> int:
    """Give the power of ten of the first digit, after rounding to three; at least -3, so that columns stay narrow."""
    return max(-3, int(f"{value:.2e}".split("e")[1]))

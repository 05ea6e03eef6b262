"""What is printed: a table for each suite, a line for each case, and the sums below.

The sides of one library ("torch:nchw", "torch:channels_last") share a column, which shows the fastest.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence

from .runner import Result

OURS = "cnnlayers"
TITLES = {"numpy": "NumPy", "torch": "PyTorch"}
VARIANTS = {"nchw": "cf", "channels_last": "cl"}
LEGEND = (
    f"milliseconds: minimum (median) of the calls; vs X: X's time / {OURS}', by minima (above 1, {OURS} is faster)\n"
    f"GFLOP/s: of {OURS}, counting the plain algorithm's multiplications and additions\n"
    "PyTorch: the better of channels first (cf, NCHW) and channels_last (cl)"
)


class Table:
    """The table of one suite, printed line by line as the results come."""

    def __init__(self, suite: str, case_names: Iterable[str], sides: Iterable[str]) -> None:
        self.suite = suite
        self.families = list(dict.fromkeys(family(side) for side in sides))
        self.others = [name for name in self.families if name != OURS]
        self.titles = [f"vs {title(name)}" for name in self.others]
        self.first = max([len(suite), *map(len, case_names)])
        self.widths = [19 if name == "torch" else 15 for name in self.families]

    def header(self) -> str:
        times = [title(name).rjust(width) for name, width in zip(self.families, self.widths, strict=True)]
        return "  ".join([self.suite.ljust(self.first), *times, *self.titles, "GFLOP/s"])

    def line(self, result: Result) -> str:
        best = fastest(result)
        times = [cell(result, best.get(name)).rjust(w) for name, w in zip(self.families, self.widths, strict=True)]
        ratios = [
            ratio_cell(ratio(result, name)).rjust(len(t)) for name, t in zip(self.others, self.titles, strict=True)
        ]
        return "  ".join([result.name.ljust(self.first), *times, *ratios, speed_cell(result).rjust(7)])

    def footer(self, results: Sequence[Result]) -> list[str]:
        """Sum up each operation, against each of the other sides."""
        groups: dict[str, list[Result]] = {}
        for result in results:
            groups.setdefault(operation(result), []).append(result)
        lines = [summary(name, group, other) for name, group in groups.items() for other in self.others]
        return [line for line in lines if line]


def family(side: str) -> str:
    """Give the library of a side: what stands before the colon."""
    return side.split(":")[0]


def title(family_name: str) -> str:
    return TITLES.get(family_name, family_name)


def operation(result: Result) -> str:
    """Give what stands before the slash in the name: the cases that are summed up together."""
    return result.name.split("/")[0] if "/" in result.name else result.suite


def fastest(result: Result) -> dict[str, str]:
    """Give the side with the smallest minimum for each library."""
    best: dict[str, str] = {}
    for side in sorted(result.seconds, key=result.minimum):
        best.setdefault(family(side), side)
    return best


def ratio(result: Result, other: str, statistic: Callable[[Sequence[float]], float] = min) -> float | None:
    """Give how many times longer than ours the best side of the other library takes."""
    sides = [s for s in result.seconds if family(s) == other]
    if not sides or OURS not in result.seconds:
        return None
    return min(statistic(result.seconds[side]) for side in sides) / statistic(result.seconds[OURS])


def summary(name: str, results: Sequence[Result], other: str) -> str | None:
    """Give the geometric mean and the worst of the ratios to another library."""
    minima = {r.name: value for r in results if (value := ratio(r, other)) is not None}
    medians = [value for r in results if (value := ratio(r, other, statistics.median)) is not None]
    if not minima:
        return None
    worst = min(minima, key=lambda case: minima[case])
    return (
        f"{name} vs {title(other)}: geometric mean {statistics.geometric_mean(minima.values()):.2f} "
        f"(by medians {statistics.geometric_mean(medians):.2f}) over {len(minima)} cases; "
        f"worst {minima[worst]:.2f} ({worst})"
    )


def cell(result: Result, side: str | None) -> str:
    if side is None:
        return "-"
    variant = side.partition(":")[2]
    text = f"{milliseconds(result.minimum(side))} ({milliseconds(result.median(side))})"
    return f"{VARIANTS.get(variant, variant)} {text}" if variant else text


def speed_cell(result: Result) -> str:
    if not result.work or OURS not in result.seconds:
        return "-"
    return three_digits(result.work / result.minimum(OURS) / 1e9)


def ratio_cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def milliseconds(seconds: float) -> str:
    return three_digits(seconds * 1000)


def three_digits(value: float) -> str:
    """Give three significant digits, and never an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.{max(0, 2 - _magnitude(value))}f}"


def _magnitude(value: float) -> int:
    """Give the power of ten of the first digit, after rounding to three; at least -3, so that columns stay narrow."""
    return max(-3, int(f"{value:.2e}".split("e")[1]))

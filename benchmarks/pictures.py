"""python -m benchmarks.pictures run.json FOLDER: draw the pictures of performance.md, scaling.md and speedrun.md.

Needs matplotlib.

register-tile.svg   how one tile of a convolution is computed
roofline.svg        each pass of each row of the suite conv against the machine's limits, from a run
rank-tree.svg       who adds up which gradients of a step
speedrun.svg        accuracy over time; this one alone, if the run is a record of the suite speedrun
"""

import argparse
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnlayers.training.ranks import Ranks
from cnnlayers.training.tree import halves, parts_of

from . import report, speedrun, speedrun_page
from .cases import OURS
from .runner import Result
from .speedrun_page import Trainings
from .table import operation

MARKERS = {"forward": "o", "dW": "s", "dx": "^"}
BLUE, ORANGE, GREEN, GREY = "#3366aa", "#dd7722", "#338855", "#999999"
SIDES = {OURS: BLUE, speedrun.TORCH: ORANGE}
RANKS = ("#a9c4e8", "#f6d3ad", "#bfe0c8", "#e3c3dd")  # rank 0, 1, ...
COLOURS = {"forward": BLUE, "dW": ORANGE, "dx": GREEN}
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "cnnlayers", "font.family": "sans-serif", "font.size": 10}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pictures", description="Draw the pictures of the docs.")
    parser.add_argument("run", help="what `python -m benchmarks conv --json` wrote, or speedrun")
    parser.add_argument("folder", type=Path, help="where the pictures go")
    options = parser.parse_args(arguments)
    try:
        import matplotlib
        from matplotlib import pyplot

        with matplotlib.rc_context(STYLE | {"backend": "svg"}):
            for name, figure in drawn(pyplot, options.run).items():
                save(figure, options.folder / f"{name}.svg")
    except (ImportError, ValueError) as error:
        print(f"benchmarks.pictures: {error}", file=sys.stderr)
        return 1
    return 0


def drawn(pyplot: Any, path: str) -> dict[str, Any]:
    """Give the figures of a run, by name."""
    record = speedrun_page.find(path)
    if record:
        return {"speedrun": curves(pyplot, record)}
    run = report.load(path)
    found = points(run)
    return {
        "roofline": roofline(pyplot, found, run),
        "register-tile": register_tile(pyplot),
        "rank-tree": rank_tree(pyplot),
    }


def save(figure: Any, path: Path) -> None:
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})


def check(run: report.Report | Trainings) -> None:
    if run.settings["quick"]:
        raise ValueError("a --quick run's figures mean nothing: they are not for a picture")


@dataclass(frozen=True)
class Point:
    """A pass: operations per byte and GFLOP/s, counted for the plain algorithm, and for the one that was chosen."""

    name: str
    effective: tuple[float, float]
    real: tuple[float, float]
    winograd: bool


def points(run: report.Report) -> list[Point]:
    """Give each float32 pass."""
    if not run.environment.get("limits"):
        raise ValueError("the run knows no limits of its machine: it needs the suite conv, and a C compiler")
    check(run)
    return [
        as_point(result)
        for result in run.results
        if result.suite == "conv" and result.work and result.traffic and result.dtype == "float32"
    ]


def as_point(result: Result) -> Point:
    seconds, traffic = result.minimum(OURS), result.traffic or 1.0
    effective, real = (
        (work / traffic, work / seconds / 1e9) for work in (result.work or 0.0, result.real_work or result.work or 0.0)
    )
    return Point(operation(result), effective, real, (result.algorithm or "").startswith("F("))


def roofline(pyplot: Any, found: list[Point], run: report.Report) -> Any:
    """Draw the speed of each pass over its operations per byte, and min(peak, memory * intensity).

    What is counted is what the kernel multiplies. A pass by Winograd's method has an open mark too, for the plain
    algorithm's operations, which may lie above the limits. More operations in the same time and for the same bytes move
    both coordinates by the same factor.
    """
    from matplotlib.lines import Line2D
    from matplotlib.ticker import LogLocator, NullFormatter

    limits = run.environment["limits"]
    peak, memory = limits["float32"], limits["memory"]
    figure, axes = pyplot.subplots(figsize=(7.5, 4.5))
    corner = peak / memory
    low = min(corner / 2, *(point.real[0] for point in found)) / 1.5
    high = max(corner * 2, *(point.effective[0] for point in found)) * 1.5
    axes.plot([low, corner, high], [memory * low, peak, peak], color=GREY, linewidth=1.5)
    axes.annotate(f"{peak:.0f} GFLOP/s: multiply-adds in registers", (low, peak), (0, 4), "data",
                  "offset points", color="#555555")  # fmt: skip
    middle = (low * corner) ** 0.5
    axes.annotate(f"{memory:.0f} GB/s\nof memory", (middle, memory * middle), (8, -8), "data", "offset points",
                  va="top", color="#555555")  # fmt: skip
    for point in found:
        look = {"marker": MARKERS[point.name], "color": COLOURS[point.name], "linestyle": "none", "markersize": 5}
        if point.winograd:
            axes.plot(
                *zip(point.real, point.effective, strict=True), color=COLOURS[point.name], linewidth=0.5, alpha=0.4
            )
            axes.plot(*point.real, ".", color=COLOURS[point.name], markersize=3)
            axes.plot(*point.effective, **look, markerfacecolor="white")
        else:
            axes.plot(*point.real, **look, alpha=0.8)
    marks = [
        Line2D([], [], marker=marker, color=COLOURS[name], linestyle="none", label=name)
        for name, marker in MARKERS.items()
    ]
    marks += [
        Line2D([], [], marker="o", color=GREY, linestyle="none", label="plain kernel"),
        Line2D([], [], marker="o", color=GREY, markerfacecolor="white", linestyle="none",
               label="Winograd, counted as the plain kernel"),
        Line2D([], [], marker=".", color=GREY, linestyle="none", markersize=3, label="Winograd, what it multiplies"),
    ]  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="operations per byte that must be moved", ylabel="GFLOP/s")
    axes.legend(handles=marks, frameon=False, ncols=2, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.13))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
    axes.spines[["top", "right"]].set_visible(False)
    title(axes, run)
    return figure


def curves(pyplot: Any, record: Trainings) -> Any:
    """Draw the test accuracy at the end of each epoch over the seconds of training, a line for each seed.

    The open mark at the end of a line is the accuracy of the mean over views.
    """
    from matplotlib.lines import Line2D

    check(record)
    if not record.runs:
        raise ValueError("the record has no trainings yet: --seeds says how many")
    figure, axes = pyplot.subplots(figsize=(7.5, 4))
    for goal in speedrun.GOALS:
        axes.axhline(100 * goal, color="#dddddd", linewidth=0.8, zorder=0)
    marks = []
    for side, colour in SIDES.items():
        runs = record.of(side)
        for run in runs:
            ends = speedrun_page.ends(run)
            accuracies = [100 * accuracy for accuracy in run["accuracy"]]
            axes.plot(ends, accuracies, color=colour, linewidth=1, marker=".", markersize=4, alpha=0.6)
            views = 100 * run["accuracy_of_views"]
            axes.plot(ends[-1], views, "o", color=colour, markerfacecolor="white", markersize=5)
        if runs:
            label = f"{side}, {speedrun.seeds_in_words(len(runs))}"
            marks.append(Line2D([], [], color=colour, marker=".", label=label))
    marks.append(Line2D([], [], marker="o", color=GREY, markerfacecolor="white", linestyle="none",
                        label="at the end, mean over views"))  # fmt: skip
    axes.set(xlabel="seconds of training", ylabel="test accuracy, %")
    axes.set_xlim(left=0)
    axes.legend(handles=marks, frameon=False, fontsize=9, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    title(axes, record)
    return figure


def title(axes: Any, run: report.Report | Trainings) -> None:
    text = f"{run.environment['processor']}, {run.settings['threads']} threads, float32"
    axes.set_title(text, fontsize=10, loc="left")


def register_tile(pyplot: Any) -> Any:
    """Draw an image with patches, the packed weights and the sums, as on AVX-512: 12 positions, 2 vectors."""
    figure, axes = pyplot.subplots(figsize=(8, 4))
    axes.set_aspect("equal")
    axes.axis("off")
    grid(axes, 0, 1, 14, 10, "#eeeeee")
    for row in range(3):
        grid(axes, 2, 7 - row, 3, 1, "#a9c4e8")
    axes.text(0, 11.5, "image, channels last", va="bottom")
    note = "a patch: KH runs of KW C\nnumbers, read where they\nlie; 12 patches at a time"
    axes.text(0, 0.3, note, va="top")
    grid(axes, 18, 0, 1, 12, "#a9c4e8")
    axes.text(18.5, -0.7, "x[m][k]\nbroadcast", ha="center", va="top")
    grid(axes, 22, 13, 16, 1, "#bfe0c8")
    axes.text(22, 14.4, "w[k]: two vectors of filters", va="bottom")
    grid(axes, 22, 0, 16, 12, "#f6d3ad")
    axes.plot([30, 30], [0, 14], color="white", linewidth=3)
    axes.text(22, -0.7, "y[m] += x[m][k] w[k]: 12 x 2 vectors of sums,\nin registers until the last k", va="top")
    for begin, end in (((5.2, 6.5), (17.7, 6.5)), ((19.3, 6), (21.7, 6)), ((30, 12.9), (30, 12.1))):
        axes.annotate("", end, begin, arrowprops={"arrowstyle": "->", "color": GREY})
    axes.set(xlim=(-0.5, 40), ylim=(-4.5, 16.5))
    return figure


def rank_tree(pyplot: Any, places: int = 8) -> Any:
    """Draw the tree over the batches of a step, once shared by four ranks and once by three."""
    figure, both = pyplot.subplots(1, 2, figsize=(9, 3.2))
    for axes, size in zip(both, (4, 3), strict=True):
        axes.axis("off")
        ranks = Ranks(accumulate=places)
        ranks.size = size
        owner = {}
        for rank in range(size):
            share = ranks.places(places, rank)
            for part in parts_of(share.start, share.stop, places):
                subtree(axes, *part, RANKS[rank], owner)
            middle = (share.start + share.stop - 1) / 2
            axes.text(middle, -0.75, f"rank {rank}", ha="center", va="top")
        top(axes, 0, places, owner)
        axes.set(xlim=(-0.6, places - 0.4), ylim=(-1.3, 3.5))
        axes.set_title(f"{size} ranks", fontsize=10, loc="left")
    return figure


def subtree(axes: Any, first: int, stop: int, colour: str, owner: dict[tuple[int, int], str]) -> tuple[float, float]:
    """Draw a subtree that one rank adds up by itself; give the place of its sum."""
    owner[first, stop] = colour
    if stop - first == 1:
        return node(axes, first, 0, f"$g_{first}$", colour)
    middle = halves(first, stop)
    ends = [subtree(axes, *part, colour, owner) for part in ((first, middle), (middle, stop))]
    return addition(axes, ends, colour)


def top(axes: Any, first: int, stop: int, owner: dict[tuple[int, int], str]) -> tuple[float, float]:
    """Draw what is added up after the exchange, by each rank for its slice."""
    if (first, stop) in owner:
        return (first + stop - 1) / 2, float((stop - first - 1).bit_length())
    middle = halves(first, stop)
    return addition(axes, [top(axes, *part, owner) for part in ((first, middle), (middle, stop))], "white")


def addition(axes: Any, ends: Sequence[tuple[float, float]], colour: str) -> tuple[float, float]:
    """Draw a sum above what it is the sum of; dashed, if that comes from several ranks."""
    x, y = sum(end[0] for end in ends) / len(ends), max(end[1] for end in ends) + 1
    for end in ends:
        line = {"color": GREY, "zorder": 0, "linestyle": "--" if colour == "white" else "-"}
        axes.plot([end[0], x], [end[1], y], **line)
    return node(axes, x, y, "+", colour)


def node(axes: Any, x: float, y: float, text: str, colour: str) -> tuple[float, float]:
    box = {"boxstyle": "round,pad=0.35", "facecolor": colour, "edgecolor": GREY if colour == "white" else "none"}
    axes.text(x, y, text, ha="center", va="center", bbox=box)
    return x, y


def grid(axes: Any, x: float, y: float, columns: int, rows: int, colour: str) -> None:
    """Draw a rectangle of unit cells: one area, and all the white lines in it as one path."""
    right, top, gap = x + columns, y + rows, float("nan")
    axes.fill([x, right, right, x], [y, y, top, top], facecolor=colour, linewidth=0)
    upright = [((x + i, y), (x + i, top), (gap, gap)) for i in range(columns + 1)]
    level = [((x, y + i), (right, y + i), (gap, gap)) for i in range(rows + 1)]
    lines_x, lines_y = zip(*itertools.chain(*upright, *level), strict=True)
    axes.plot(lines_x, lines_y, color="white", linewidth=0.8)


if __name__ == "__main__":
    sys.exit(main())

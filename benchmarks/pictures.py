"""python -m benchmarks.pictures run.json FOLDER: draw the pictures of docs/performance.md. Needs matplotlib.

register-tile.svg   how one tile of a convolution is computed
roofline.svg        each pass of each row of the suite conv against the machine's limits, from a run
"""

import argparse
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import report
from .cases import OURS
from .runner import Result
from .table import operation

MARKERS = {"forward": "o", "dW": "s", "dx": "^"}
BLUE, ORANGE, GREEN, GREY = "#3366aa", "#dd7722", "#338855", "#999999"
COLOURS = {"forward": BLUE, "dW": ORANGE, "dx": GREEN}
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "cnnlayers", "font.family": "sans-serif", "font.size": 10}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pictures", description="Draw docs/performance.md's.")
    parser.add_argument("run", help="what `python -m benchmarks conv --json` wrote")
    parser.add_argument("folder", type=Path, help="where the pictures go")
    options = parser.parse_args(arguments)
    try:
        import matplotlib
        from matplotlib import pyplot

        run = report.load(options.run)
        pairs = points(run)
    except (ImportError, ValueError) as error:
        print(f"benchmarks.pictures: {error}", file=sys.stderr)
        return 1
    matplotlib.use("svg")
    with matplotlib.rc_context(STYLE):
        save(register_tile(pyplot), options.folder / "register-tile.svg")
        save(roofline(pyplot, pairs, run), options.folder / "roofline.svg")
    return 0


def save(figure: Any, path: Path) -> None:
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})


def points(run: report.Report) -> list[tuple[Result, float, float]]:
    """Give each float32 pass with its operations per byte and its GFLOP/s."""
    if not run.environment.get("limits"):
        raise ValueError("the run knows no limits of its machine: it needs the suite conv, and a C compiler")
    if run.settings["quick"]:
        raise ValueError("a --quick run's figures mean nothing: they are not for a picture")
    return [
        (result, result.work / result.traffic, result.work / result.minimum(OURS) / 1e9)
        for result in run.results
        if result.suite == "conv" and result.work and result.traffic and result.dtype == "float32"
    ]


def roofline(pyplot: Any, pairs: list[tuple[Result, float, float]], run: report.Report) -> Any:
    """Draw the speed of each pass over its operations per byte, below min(peak, memory * intensity)."""
    from matplotlib.ticker import LogLocator, NullFormatter

    limits = run.environment["limits"]
    peak, memory = limits["float32"], limits["memory"]
    figure, axes = pyplot.subplots(figsize=(7.5, 4.5))
    corner = peak / memory
    low = min(corner / 2, *(x for _, x, _ in pairs)) / 1.5
    high = max(corner * 2, *(x for _, x, _ in pairs)) * 1.5
    axes.plot([low, corner, high], [memory * low, peak, peak], color=GREY, linewidth=1.5)
    axes.annotate(f"{peak:.0f} GFLOP/s: multiply-adds in registers", (high, peak), (-4, 4), "data",
                  "offset points", ha="right", color="#555555")  # fmt: skip
    middle = (low * corner) ** 0.5
    axes.annotate(f"{memory:.0f} GB/s\nof memory", (middle, memory * middle), (-8, 4), "data", "offset points",
                  ha="right", color="#555555")  # fmt: skip
    for name, marker in MARKERS.items():
        chosen = [(x, y) for result, x, y in pairs if operation(result) == name]
        axes.plot(*zip(*chosen, strict=True), marker, color=COLOURS[name], label=name, markersize=5, alpha=0.8)
    axes.set(xscale="log", yscale="log", xlabel="operations per byte that must be moved", ylabel="GFLOP/s")
    axes.legend(frameon=False, ncols=3, loc="upper right", bbox_to_anchor=(1, 1.1))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(
        f"{run.environment['processor']}, {run.settings['threads']} threads, float32", fontsize=10, loc="left"
    )
    return figure


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

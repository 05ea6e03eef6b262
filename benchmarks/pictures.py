"""python -m benchmarks.pictures run.json FOLDER: draw the pictures of docs/performance.md. Needs matplotlib.

register-tile.svg   how one tile of a convolution is computed
roofline.svg        each pass of each row of the suite conv against the machine's limits, from a run
"""

import argparse
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
    limits = run.environment["limits"]
    peak, memory = limits["float32"], limits["memory"]
    figure, axes = pyplot.subplots(figsize=(7.5, 4.5))
    low, high = min(x for _, x, _ in pairs) / 1.5, max(x for _, x, _ in pairs) * 1.5
    corner = peak / memory
    axes.plot([low, corner, max(high, corner)], [memory * low, peak, peak], color=GREY, linewidth=1.5)
    axes.annotate(f"{peak:.0f} GFLOP/s: multiply-adds in registers", (high, peak), (-4, 4), "data",
                  "offset points", ha="right", color="#555555")  # fmt: skip
    axes.annotate(f"{memory:.0f} GB/s of memory", (low, memory * low), (8, -4), "data", "offset points",
                  color="#555555", va="top")  # fmt: skip
    for name, marker in MARKERS.items():
        chosen = [(x, y) for result, x, y in pairs if operation(result) == name]
        axes.plot(*zip(*chosen, strict=True), marker, color=COLOURS[name], label=name, markersize=5, alpha=0.8)
    axes.set(xscale="log", yscale="log", xlabel="operations per byte that must be moved", ylabel="GFLOP/s")
    axes.legend(frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(
        f"{run.environment['processor']}, {run.settings['threads']} threads, float32", fontsize=10, loc="left"
    )
    return figure


def register_tile(pyplot: Any) -> Any:
    """Draw an image with a patch, the packed weights and the accumulators, as on AVX-512: 12 positions, 2 vectors."""
    figure, axes = pyplot.subplots(figsize=(7.5, 4.2))
    axes.set_aspect("equal")
    axes.axis("off")
    grid(axes, 0, 0, 10, 10, "#f2f2f2")
    for row in range(3):
        grid(axes, 2, 6 - row, 3, 1, "#bcd2ec")
    axes.text(5, -0.9, "image, channels last: a patch is\nKH runs of KW C neighbours", ha="center", va="top")
    axes.annotate("12 positions of the output:\ntheir patches overlap, none is copied", (4.2, 6.5), (0, 10.6),
                  arrowprops={"arrowstyle": "-", "color": GREY})  # fmt: skip
    grid(axes, 17, 8.5, 8, 1, "#cfe6d4")
    grid(axes, 25, 8.5, 8, 1, "#cfe6d4")
    axes.text(25, 10.0, "weights w[k]: 2 vectors of filters", ha="center", va="bottom")
    grid(axes, 13.5, 0, 1, 8, "#bcd2ec")
    axes.text(14, -0.9, "x[m][k]: one\nnumber each,\nbroadcast", ha="center", va="top")
    for row in range(8):
        for vector in (17, 25):
            grid(axes, vector, row, 8, 1, "#f7d9b9")
    axes.text(25, -0.9, "y[m][0 .. 2 vectors): 12 x 2 accumulators,\nin registers for all of k", ha="center", va="top")
    axes.annotate("", (16.8, 4), (14.7, 4), arrowprops={"arrowstyle": "->", "color": GREY})
    axes.annotate("", (13.3, 4), (10.2, 5.5), arrowprops={"arrowstyle": "->", "color": GREY})
    axes.set(xlim=(-0.5, 33.5), ylim=(-4, 13))
    return figure


def grid(axes: Any, x: float, y: float, columns: int, rows: int, colour: str) -> None:
    """Draw a rectangle of unit cells."""
    for column in range(columns):
        for row in range(rows):
            axes.add_patch(_cell(axes, x + column, y + row, colour))


def _cell(axes: Any, x: float, y: float, colour: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x, y), 1, 1, facecolor=colour, edgecolor="white", linewidth=0.8)


if __name__ == "__main__":
    sys.exit(main())

"""The one style of all pictures: colours, sizes of type, and two kinds of empty figures."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

# Five roles and four hues of Okabe and Ito's palette, which colour-blind people tell apart.
INK, MUTED, FAINT, RULE, PAPER = "#1f2933", "#5f6b7a", "#9aa5b1", "#dde2e8", "#ffffff"
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#aa4499"
FAMILY = "DejaVu Sans"  # comes with matplotlib
BODY, SMALL = 9.0, 8.0  # points
LINE = 0.17  # inches from one line of small type to the next

STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": MUTED,
    "axes.labelsize": SMALL,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlepad": 10.0,
    "axes.titlesize": BODY + 1,
    "axes.titleweight": "bold",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "font.family": [FAMILY],
    "font.size": BODY,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "text.color": INK,
    "text.parse_math": False,  # a class may be called "$5" or "a_b"
    "xtick.color": FAINT,
    "xtick.labelcolor": MUTED,
    "xtick.labelsize": SMALL,
    "xtick.major.size": 3.0,
    "ytick.color": FAINT,
    "ytick.labelcolor": MUTED,
    "ytick.labelsize": SMALL,
    "ytick.major.size": 0.0,
}

P = ParamSpec("P")
R = TypeVar("R")


def matplotlib_for(who: str) -> Any:
    """Import matplotlib, or say how to get it."""
    try:
        import matplotlib
    except ImportError:
        raise ImportError(f'{who} needs matplotlib: pip install "cnnlayers[plot]"') from None
    return matplotlib


def drawn(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function that draws in the package's style: the user's rcParams are set aside and come back."""

    @functools.wraps(function)
    def styled(*args: P.args, **kwargs: P.kwargs) -> R:
        matplotlib = matplotlib_for(f"plot.{function.__name__}")
        with matplotlib.rc_context(_defaults(matplotlib) | STYLE):
            return function(*args, **kwargs)

    return styled


def figure(width: float, height: float) -> Any:
    """Give an empty figure of that size in inches, whose axes find their places by themselves."""
    return _figure(width, height, layout="constrained")


def sheet(width: float, height: float) -> tuple[Any, Any]:
    """Give a figure and axes without a frame over all of it, whose coordinates are inches from the top left corner."""
    fig = _figure(width, height)
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    ax.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    return fig, ax


def drawn_part(fig: Any) -> Any:
    """Give the box, in inches, of what is drawn: all but the margins of a sheet."""
    from matplotlib.transforms import Bbox

    fig.draw_without_rendering()
    artists = [a for ax in fig.axes if not ax.axison for a in (*ax.texts, *ax.images, *ax.patches, *ax.lines)]
    if not artists:
        return fig.get_tightbbox()
    box = Bbox.union([artist.get_window_extent() for artist in artists])
    return Bbox(box.get_points() / fig.dpi).padded(0.02)


def picture(ax: Any, image: Any, left: float, top: float, width: float, height: float, **options: Any) -> Any:
    """Show an image on a sheet, small ones with visible pixels."""
    smooth = max(image.shape[:2]) > 96
    options = {"interpolation": "antialiased" if smooth else "nearest"} | options
    return ax.imshow(image, extent=(left, left + width, top + height, top), aspect="auto", **options)


def heading(ax: Any, title: str, rest: str = "", left: float = 0.1) -> None:
    """Write the title of a sheet and, in smaller type below it, what there is to know about it."""
    ax.text(left, 0.13, title, va="center", weight="bold", size=BODY + 1)
    if rest:
        ax.text(left, 0.36, rest, va="center", color=MUTED, size=SMALL)


def apart(values: Sequence[float], distance: float) -> list[float]:
    """Move values, the places of labels, as little as they need to be `distance` apart, and keep their order."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    places = [values[i] for i in order]
    for _ in range(len(places)):
        for i in range(len(places) - 1):
            missing = distance - (places[i + 1] - places[i])
            if missing > 0:
                places[i] -= missing / 2
                places[i + 1] += missing / 2
    moved = [0.0] * len(values)
    for i, place in zip(order, places, strict=True):
        moved[i] = place
    return moved


def _figure(width: float, height: float, **options: Any) -> Any:
    from .figure import Figure  # here, since matplotlib is imported when the first picture is drawn

    return Figure(figsize=(width, height), dpi=120, **options)


def _defaults(matplotlib: Any) -> dict[str, Any]:
    """matplotlib's own settings of how things look: all but those of backends and windows."""
    kept = ("axes", "figure", "font", "grid", "image", "lines", "mathtext", "patch", "path", "text", "xtick", "ytick")
    return {name: value for name, value in matplotlib.rcParamsDefault.items() if name.partition(".")[0] in kept}

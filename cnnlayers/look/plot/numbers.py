"""Tables as pictures: the confusion matrix, and how weights and gradients are spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...layers.layer import Layer
from ...layers.scores import class_names
from .. import insight
from .style import BLUE, BODY, FAINT, GREEN, INK, MUTED, ORANGE, PAPER, RULE, SMALL, drawn, figure, heading, sheet

MOST_NUMBERS = 25  # classes whose cells are large enough to write in


@drawn
def confusion(
    net: Layer, x: Any, y: Any, classes: Sequence[str] | None = None, *, scores: Any = None, titled: bool = True
) -> Any:
    """Draw the confusion matrix: a row per true class, a column per predicted one.

    A cell shows how many samples it counts, and is darker the larger their share of the row. At the right is the share
    of each class that was recognised.

    Parameters
    ----------
    net : Layer
        It gives scores (N, C).
    x, y : arrays
        Samples (N, ...) and integer labels (N,).
    classes : sequence of str, optional
        Names; by default those that the net was saved with, or numbers.
    scores : array (N, C), optional
        What `net.predict(x)` gave, where it is known.
    titled : bool
        Whether to write a title above.

    Returns
    -------
    matplotlib.figure.Figure
    """
    counts = insight.confusion(net, x, y, scores=scores)
    names = names_of(net, classes, len(counts))
    return _matrix(counts, insight.row_shares(counts), names, 0.5 if titled else 0.0)


def names_of(net: Any, classes: Sequence[str] | None, count: int) -> list[str]:
    """The names of `count` classes: those given, or the net's, or numbers."""
    return class_names(classes if classes is not None else getattr(net, "classes", None), count)


def _matrix(counts: np.ndarray, shares: np.ndarray, names: list[str], head: float) -> Any:
    n = len(counts)
    written = n <= MOST_NUMBERS
    cell = min(0.5, max(0.36, 5.0 / n)) if written else 5.5 / n
    longest = max(map(len, names)) if written else 3
    left, right = 0.5 + 0.075 * min(longest, 16), 1.25
    top = head + 0.45 + (0.055 * min(longest, 16) if longest > 3 else 0)
    fig, ax = sheet(left + n * cell + right, top + n * cell + 0.1)
    if head:
        heading(ax, "confusion matrix", f"{int(np.trace(counts))} of {int(counts.sum())} right")
    for i, j in np.argwhere(counts):
        _cell(ax, left + j * cell, top + i * cell, cell, counts[i, j], shares[i, j], i == j, written)
    frame_x, frame_y = [left, left + n * cell], [top, top + n * cell]
    for k in range(n + 1) if written else (0, n):
        ax.plot(frame_x, [top + k * cell] * 2, color=RULE, linewidth=0.7, zorder=1)
        ax.plot([left + k * cell] * 2, frame_y, color=RULE, linewidth=0.7, zorder=1)
    for k in range(0, n, 1 if written else 10):
        place = (k + 0.5) * cell
        ax.text(left - 0.08, top + place, _cut(names[k]), ha="right", va="center", size=BODY)
        tilt = {"rotation": 40, "ha": "left", "va": "bottom", "rotation_mode": "anchor"} if longest > 3 else {}
        ax.text(left + place, top - 0.1, _cut(names[k]), **({"ha": "center", "va": "bottom"} | tilt), size=BODY)
    ax.text(left + n * cell / 2, head + 0.1, "taken for", ha="center", va="center", color=MUTED, size=SMALL)
    ax.text(0.12, top + n * cell / 2, "true class", rotation=90, ha="center", va="center", color=MUTED, size=SMALL)
    _recognised(ax, left + n * cell + 0.12, top, cell, shares, written)
    return fig


def _cell(ax: Any, x: float, y: float, cell: float, count: int, share: float, right: bool, written: bool) -> None:
    from matplotlib.patches import Rectangle

    colour = BLUE if right else ORANGE
    strength = 0.12 + 0.88 * share if right else 0.08 + 0.9 * share**0.5  # an error is rare, and must be seen
    ax.add_patch(Rectangle((x, y), cell, cell, facecolor=colour, alpha=strength, linewidth=0))
    if written:
        ink = PAPER if strength > 0.5 else INK
        ax.text(x + cell / 2, y + cell / 2, str(count), ha="center", va="center_baseline", color=ink, size=BODY)
        if not right and cell >= 0.44:
            ax.text(x + cell - 0.03, y + cell - 0.03, f"{share:.0%}", ha="right", va="bottom", color=ink, size=5.5)


def _recognised(ax: Any, x: float, top: float, cell: float, shares: np.ndarray, written: bool) -> None:
    """At the right, the share of each row that is right, as bars and numbers."""
    from matplotlib.patches import Rectangle

    length = 0.5
    ax.text(x, top - 0.1, "recognised", va="bottom", color=MUTED, size=SMALL)
    for i, share in enumerate(np.diag(shares)):
        middle = top + (i + 0.5) * cell
        height = min(0.1, cell * 0.8)
        ax.add_patch(Rectangle((x, middle - height / 2), length, height, facecolor=RULE, linewidth=0))
        ax.add_patch(Rectangle((x, middle - height / 2), length * share, height, facecolor=BLUE, linewidth=0))
        if written:
            ax.text(x + length + 0.5, middle, f"{share:.1%}", ha="right", va="center", size=SMALL)


def _cut(name: str) -> str:
    return name if len(name) <= 16 else f"{name[:15]}…"


@drawn
def weights(net: Layer, grads: Mapping[str, np.ndarray] | bool | None = None) -> Any:
    """Draw how the weights of each layer are spread and, where given, the sizes of their gradients.

    Biases and norm parameters are left out. The ridge of a layer is a histogram, its tick the middle half.

    Parameters
    ----------
    net : Layer
    grads : dict of arrays, optional
        Gradients by dotted names, as `net.grads` holds them after a step or `insight.gradients` gives them; `True` is
        `net.grads`.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the net has no weights, or `grads` lacks the gradient of one.
    """
    net.require_built()
    given = net.grads if grads is True else grads or None
    layers = dict(net.walk())
    names = [name for name, array in net.params.items() if array.ndim > 1]
    if not names:
        raise ValueError("plot.weights needs a net with weights; this one has none")
    if given is not None and set(names) - set(given):
        raise ValueError(f"plot.weights: grads must hold every weight; {sorted(set(names) - set(given))} are missing")
    labels = [_of_layer(name, layers) for name in names]
    columns = [("weights", {name: net.params[name].ravel() for name in names}, BLUE)]
    if given is not None:
        columns.append(("gradients, by size", {name: _sizes(given[name]) for name in names}, GREEN))
    fig = figure(4.2 * len(columns) + 1.9, 0.75 + 0.42 * len(names))
    axes = fig.subplots(1, len(columns), squeeze=False, sharey=True)[0]
    for ax, (title, values, colour) in zip(axes, columns, strict=True):
        _ridges(ax, values, colour)
        ax.set_title(title)
        ax.set_yticks(range(len(names)), labels, color=INK)
        ax.set_ylim(len(names) - 0.4, -0.95)
    if given is not None:
        from matplotlib.ticker import MaxNLocator

        axes[1].xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes[1].xaxis.set_major_formatter(lambda power, _: f"1e{power:+.0f}")
    return fig


def _of_layer(name: str, layers: Mapping[str, Layer]) -> str:
    where, _, array = name.rpartition(".")
    layer = layers[where]
    label = f"{where}: {type(layer).__name__}" if where else type(layer).__name__
    return label if array == "W" else f"{label} {array}"


def _sizes(grad: Any) -> np.ndarray:
    """Powers of ten; exact zeros are left out."""
    size = np.abs(np.asarray(grad, float)).ravel()
    return np.log10(size[size > 0])


def _ridges(ax: Any, rows: Mapping[str, np.ndarray], colour: str) -> None:
    """A histogram per row over one common scale, each as high as the others."""
    finite = [values[np.isfinite(values)] for values in rows.values()]
    everything = np.concatenate(finite)
    if everything.size == 0:
        ax.text(0.5, 0.5, "all zero", transform=ax.transAxes, ha="center", color=MUTED, size=SMALL)
        return
    low, high = np.percentile(everything, [0.02, 99.98])
    low, high = (low - 0.5, high + 0.5) if low == high else (low, high)
    edges = np.linspace(low, high, 91)
    middles = (edges[:-1] + edges[1:]) / 2
    for row, values in enumerate(finite):
        if values.size == 0:
            continue
        heights, _ = np.histogram(np.clip(values, low, high), edges)
        heights = np.convolve(heights, [0.25, 0.5, 0.25], mode="same")
        ax.fill_between(middles, row, row - 0.85 * heights / heights.max(), color=colour, alpha=0.55, linewidth=0)
        ax.plot(np.percentile(values, [25, 75]), [row, row], color=INK, linewidth=2.2, solid_capstyle="butt")
        ax.plot([low, high], [row, row], color=FAINT, linewidth=0.6, zorder=1)
    ax.grid(False)
    ax.grid(True, axis="x")
    ax.spines["left"].set_visible(False)
    ax.set_xlim(low, high)

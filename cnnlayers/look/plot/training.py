"""How training went: curves by epoch, and a sweep of learning rates."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...training.curves import smooth
from .style import BLUE, FAINT, GREEN, INK, MUTED, ORANGE, PAPER, SMALL, apart, drawn, figure

PARTS = {"train": BLUE, "val": ORANGE}
MOST_POINTS = 1500  # of the loss by step; more are not seen, and make large files


@drawn
def curves(history: Any) -> Any:
    """Draw loss and metrics of the training and the validation part by epoch, and the learning rate.

    The loss of each step is a thin line in the background. The epoch with the best validation loss is marked.

    Parameters
    ----------
    history : History
        What `solver.train()` returns, with at least one epoch.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the history has no epoch.
    """
    epochs = len(history)
    if epochs == 0:
        raise ValueError("plot.curves needs a history of at least one epoch; this one has none")
    metrics = ["loss", *dict.fromkeys(name.partition("_")[2] for name in history if name.startswith("train_"))]
    metrics = [name for name in dict.fromkeys(metrics) if f"train_{name}" in history or f"val_{name}" in history]
    ratios = [1.0] * len(metrics) + ([0.62] if "lr" in history else [])
    fig = figure(3.9 * sum(ratios), 3.2)
    axes = fig.subplots(1, len(ratios), squeeze=False, width_ratios=ratios)[0]
    best = best_epoch(history)
    for ax, name in zip(axes, metrics, strict=False):
        _metric(ax, history, name, best)
    if "lr" in history:
        _rate(axes[-1], history["lr"])
    for ax in axes:
        _epochs_axis(ax, epochs)
    return fig


def best_epoch(history: Any) -> int | None:
    """The epoch with the lowest validation loss, counted from 1; None without one."""
    if "val_loss" not in history or not np.isfinite(history["val_loss"]).any():
        return None
    return int(np.nanargmin(history["val_loss"])) + 1


def _metric(ax: Any, history: Any, name: str, best: int | None) -> None:
    """One panel: a loss or metric by epoch, for both parts."""
    epochs = len(history)
    lines = {part: np.array(history[f"{part}_{name}"]) for part in PARTS if f"{part}_{name}" in history}
    values = np.concatenate(list(lines.values()))
    values = values[np.isfinite(values)] if np.isfinite(values).any() else np.zeros(1)
    lowest, highest = float(values.min()), float(values.max())
    if name == "loss":
        highest = max(highest, _steps(ax, history.steps.get("loss", ()), epochs))
    for part, line in lines.items():
        ax.plot(range(1, epochs + 1), line, color=PARTS[part], marker="o" if epochs == 1 else None, markersize=4)
    ax.set_title(name.replace("_", " "))
    if name.endswith("accuracy"):
        from matplotlib.ticker import PercentFormatter

        if highest > 0.8:
            ax.set_ylim(top=1 + 0.03 * (1 - lowest) + 1e-3)
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=None if lowest > 0.95 else 0))
    elif name == "loss":
        ax.set_ylim(min(0.0, lowest * 1.05), highest * 1.05 if highest > 0 else 1)
    _labels(ax, lines)
    if best is not None and "val" in lines:
        _mark(ax, best, lines["val"][best - 1], name)


def _steps(ax: Any, losses: Any, epochs: int) -> float:
    """Draw the loss of each step in the background; give how high the axis must reach for it."""
    losses = np.asarray(losses, float)
    if len(losses) < 2 * epochs:
        return 0.0
    where = (np.arange(len(losses)) + 0.5) * epochs / len(losses)
    if len(losses) > MOST_POINTS:
        size = -(-len(losses) // MOST_POINTS)
        full = len(losses) // size * size
        where, losses = (a[:full].reshape(-1, size).mean(axis=1) for a in (where, losses))
    ax.plot(where, losses, color=BLUE, linewidth=0.6, alpha=0.35, zorder=1.5)
    finite = losses[np.isfinite(losses)]
    return float(np.percentile(finite, 99.5)) if len(finite) else 0.0


def _labels(ax: Any, lines: dict[str, np.ndarray]) -> None:
    """Name the lines at their right ends."""
    low, high = ax.get_ylim()
    ends = [float(values[-1]) for values in lines.values()]
    ends = [end if math.isfinite(end) else high for end in ends]
    for (part, values), y in zip(lines.items(), apart(ends, 0.075 * (high - low)), strict=True):
        ax.annotate(
            part, (1, y), (5, 0), ("axes fraction", "data"), "offset points",
            color=PARTS[part], va="center", size=SMALL, weight="bold", annotation_clip=False,
        )  # fmt: skip
        ax.plot(len(values), values[-1], "o", color=PARTS[part], markersize=4, clip_on=False)


def _mark(ax: Any, epoch: int, value: float, name: str) -> None:
    """Show the best epoch."""
    ax.axvline(epoch, color=FAINT, linewidth=0.9, linestyle=(0, (2, 2)), zorder=1)
    ax.plot(epoch, value, "o", color=PAPER, markeredgecolor=PARTS["val"], markersize=6.5, markeredgewidth=1.6, zorder=4)
    shown = f"{value:.1%}" if name.endswith("accuracy") else f"{value:.3g}"
    low, high = ax.get_ylim()
    on_the_left = epoch > sum(ax.get_xlim()) / 2
    level = 0.5 if low < value < high and abs((value - low) / (high - low) - 0.5) > 0.15 else 0.8
    ax.annotate(
        f"best: epoch {epoch}\n{shown}", (epoch, level), (-6 if on_the_left else 6, 0), ("data", "axes fraction"),
        "offset points", ha="right" if on_the_left else "left", va="center", color=INK, size=SMALL,
    )  # fmt: skip


def _rate(ax: Any, rates: Any) -> None:
    ax.plot(range(1, len(rates) + 1), rates, color=GREEN, marker="o" if len(rates) == 1 else None, markersize=4)
    ax.set_title("learning rate")
    ax.set_ylim(bottom=0)
    ax.yaxis.set_major_formatter("{x:.3g}")


def _epochs_axis(ax: Any, epochs: int) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.set_xlabel("epoch")
    ax.set_xlim(0, max(epochs, 1) + (0.5 if epochs == 1 else 0))
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(5))


@drawn
def lr_find(result: Any) -> Any:
    """Draw the losses that a sweep of learning rates met, with the rate to begin with.

    Parameters
    ----------
    result : what `solver.lr_find()` returns
        With `rates`, `losses` and `suggestion`.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there are fewer than two rates, or other than one loss for each.
    """
    rates, losses = np.asarray(result.rates, float), np.asarray(result.losses, float)
    if rates.ndim != 1 or rates.shape != losses.shape or len(rates) < 2:
        raise ValueError(
            f"plot.lr_find needs as many losses as rates, at least two; got {rates.shape} rates, {losses.shape} losses"
        )
    fig = figure(5.6, 3.4)
    draw_sweep(fig.subplots(), result)
    return fig


def draw_sweep(ax: Any, result: Any) -> None:
    """Draw into given axes what `lr_find` shows."""
    rates, losses = np.asarray(result.rates, float), np.asarray(result.losses, float)
    smoothed = smooth(losses)
    ax.plot(rates, losses, color=BLUE, linewidth=0.7, alpha=0.4)
    ax.plot(rates, smoothed, color=BLUE)
    before = smoothed[: int(np.nanargmin(smoothed)) + 1]  # the end, where the loss blows up, would hide the rest
    low, high = float(np.nanmin(before)), float(np.nanmax(before))
    room = (high - low) or abs(high) or 1.0
    ax.set(xscale="log", xlim=(rates[0], rates[-1]), ylim=(low - 0.15 * room, high + 0.35 * room))
    ax.set_title("loss by learning rate")
    ax.set_xlabel("learning rate")
    ax.grid(False, which="minor")
    if result.suggestion is not None:
        _begin_with(ax, result.suggestion, past=rates[0] * rates[-1] < result.suggestion**2)
    ax.annotate(
        "thin: each step; thick: smoothed", (0, 0), (0, -30), "axes fraction", "offset points", color=MUTED,
        size=SMALL, va="top", annotation_clip=False,
    )  # fmt: skip


def _begin_with(ax: Any, rate: float, past: bool) -> None:
    """Mark the suggestion, with its name to the left if it is `past` the middle."""
    ax.axvline(rate, color=ORANGE, linewidth=1.2, linestyle=(0, (3, 2)))
    ax.annotate(
        f"begin with {rate:.2g}", (rate, 0.93), (-6 if past else 6, 0), ("data", "axes fraction"), "offset points",
        ha="right" if past else "left", color=ORANGE, size=SMALL, weight="bold",
    )  # fmt: skip

"""Statistics of noisy curves: a running mean, and the place where one falls fastest."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["smooth", "steepest"]

MEMORY = 0.9  # of the running mean
HALF_WINDOW = 1 / 12  # of a curve: what a line is fitted to on either side of a place
SURE = 3.0  # standard errors
AS_STEEP = 0.75


def smooth(losses: Any) -> np.ndarray:
    """Exponential running means, corrected for their start at 0: mean_t / (1 - MEMORY^t)."""
    mean, means = 0.0, []
    for i, loss in enumerate(losses):
        mean = MEMORY * mean + (1 - MEMORY) * loss
        means.append(mean / (1 - MEMORY ** (i + 1)))
    return np.array(means)


def steepest(losses: np.ndarray) -> int | None:
    """Place where a noisy curve falls fastest on the way to its minimum; None if it does not fall beyond its noise.

    Of places where it falls nearly as fast, the last is taken: the larger rate. A line is fitted to the values around
    each place (least squares); the ends, which have no full window, are left out. Values above the level of the start
    count as that level: otherwise the end, where the loss blows up, would hide the way down. The noise is measured on
    second differences, to which a straight line adds nothing.
    """
    half = max(1, round(len(losses) * HALF_WINDOW))
    if len(losses) <= 2 * half + 1:
        return None
    start = np.median(losses[: 2 * half + 1])
    windows = np.lib.stride_tricks.sliding_window_view(np.minimum(losses, start), 2 * half + 1)
    steps = np.arange(-half, half + 1)
    slopes = windows @ steps / (steps @ steps)
    lowest = int(windows.mean(axis=1).argmin())
    steep = slopes[: lowest + 1].min()
    noise = 1.4826 * np.median(np.abs(np.diff(losses[: lowest + 2 * half + 1], 2))) / math.sqrt(6)
    if not -steep > SURE * noise / math.sqrt(steps @ steps):
        return None
    return half + int(np.flatnonzero(slopes[: lowest + 1] <= AS_STEEP * steep)[-1])

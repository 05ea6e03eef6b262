"""Pooling: all of a window at once where a byte can number its elements, else one axis after the other.

Along one axis, of n lines of pixels, windows may be of any length (kernels/c/line_pool.h). A large window of an image
goes along the rows first, then along the columns of what that gives: its maximum is the maximum of its rows' maxima,
its sum the sum of their sums. The first of equal maxima in row-major order stands in the first row that has one.
"""

from math import prod
from typing import Any

import numpy as np

from .. import _kernels
from ..geometry import Axis, Window

LARGEST = 255  # elements of a window that a byte can number, and still say "none"


def max_pool(x: np.ndarray, window: Window, relu: bool = False, named: bool = True) -> tuple[np.ndarray, Any]:
    """Maximum of each window, and which of its elements it was, in a form that `max_pool_input_grad` knows.

    The first in row-major order wins ties. Padding never wins; NaN does. With `relu`, the larger of the maximum and 0;
    where it is not above 0, none won. Who won need not be `named`.
    """
    if prod(window.kernel) <= LARGEST:
        return _kernels.max_pool(x, window, relu, named)
    y = x
    winners: list[np.ndarray] = []
    for axis, channels in _one_by_one(window):
        last = len(winners) == window.rank - 1
        y, winner = _kernels.line_max_pool(y.reshape(-1, axis.size, channels), axis, relu and last)
        winners.append(winner)
    return y.reshape(len(x), *window.out, window.channels), winners


def max_pool_input_grad(dy: np.ndarray, winner: Any, window: Window) -> np.ndarray:
    """Each dy goes to the pixel that won its window; gradients of overlapping windows add."""
    if prod(window.kernel) <= LARGEST:
        return _kernels.max_pool_input_grad(dy, winner, window)
    dx = dy
    for (axis, _), won in reversed(list(zip(_one_by_one(window), winner, strict=True))):
        dx = _kernels.line_max_pool_input_grad(dx.reshape(won.shape), won, axis)
    return dx.reshape(len(dy), *window.sizes, window.channels)


def avg_pool(x: np.ndarray, window: Window, shares: np.ndarray) -> np.ndarray:
    """Sum of each window times its share; `shares` has the shape of the output positions."""
    if prod(window.kernel) <= LARGEST:
        return _kernels.avg_pool(x, window, shares)
    y = x
    for axis, channels in _one_by_one(window):
        y = _kernels.line_sum_pool(y.reshape(-1, axis.size, channels), axis)
    y = y.reshape(len(x), *window.out, window.channels)
    y *= shares[..., np.newaxis]
    return y


def avg_pool_input_grad(dy: np.ndarray, window: Window, shares: np.ndarray) -> np.ndarray:
    """Each pixel gets dy times its share from every window that holds it."""
    if prod(window.kernel) <= LARGEST:
        return _kernels.avg_pool_input_grad(dy, window, shares)
    dx = dy * shares[..., np.newaxis]
    for axis, channels in reversed(_one_by_one(window)):
        dx = _kernels.line_sum_pool_input_grad(dx.reshape(-1, axis.out, channels), axis)
    return dx.reshape(len(dy), *window.sizes, window.channels)


def _one_by_one(window: Window) -> list[tuple[Axis, int]]:
    """The axes in the order in which they are pooled, each with the channels of a pixel of its lines."""
    *above, last = window.axes
    return [(last, window.channels), *((axis, last.out * window.channels) for axis in above)]

"""Pooling, one kernel element ("tap") after the other: the readable way, and the one for windows of any size.

For each tap, `Axis.reach` gives the output positions that read a pixel through it, and those pixels. So a pool is a sum
(or a maximum) of strided views of x, without a padded copy, and its backward pass adds to the same views.
"""

import itertools
from collections.abc import Iterator

import numpy as np

from ..geometry import Window


def max_pool(x: np.ndarray, window: Window, relu: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Maximum of each window, and the number of the tap that won.

    The first tap in row-major order wins ties. Padding never wins; NaN does. With `relu`, the larger of the maximum and
    0; where it is not above 0 no tap won.
    """
    y = np.full((len(x), *window.out, window.channels), -np.inf, x.dtype)
    winner = np.full(y.shape, -1, np.intp)
    for tap, (outputs, pixels) in enumerate(_taps(window)):
        best, value, at = y[outputs], x[pixels], winner[outputs]
        wins = (at < 0) | (value > best) | (np.isnan(value) & ~np.isnan(best))
        np.copyto(best, value, where=wins)
        np.copyto(at, tap, where=wins)
    if relu:
        winner[~(y > 0)] = -1
        np.maximum(y, 0, out=y)
    return y, winner


def max_pool_input_grad(dy: np.ndarray, winner: np.ndarray, window: Window) -> np.ndarray:
    """Each dy goes to the pixel that won its window; gradients of overlapping windows add."""
    dx = _zeros(dy, window)
    for tap, (outputs, pixels) in enumerate(_taps(window)):
        dx[pixels] += np.where(winner[outputs] == tap, dy[outputs], 0)
    return dx


def avg_pool(x: np.ndarray, window: Window, shares: np.ndarray) -> np.ndarray:
    """Sum of each window times its share, an array of the shape of the output positions."""
    y = np.zeros((len(x), *window.out, window.channels), x.dtype)
    for outputs, pixels in _taps(window):
        y[outputs] += x[pixels]
    y *= shares[..., np.newaxis]
    return y


def avg_pool_input_grad(dy: np.ndarray, window: Window, shares: np.ndarray) -> np.ndarray:
    """Each pixel gets dy times its share from every window that holds it."""
    dx = _zeros(dy, window)
    share = dy * shares[..., np.newaxis]
    for outputs, pixels in _taps(window):
        dx[pixels] += share[outputs]
    return dx


def _taps(window: Window) -> Iterator[tuple[tuple, tuple]]:
    """Indices of outputs and pixels for each tap that reaches a pixel, in row-major order of the kernel."""
    for taps in itertools.product(*(axis.taps for axis in window.axes)):
        pairs = [axis.reach(tap) for axis, tap in zip(window.axes, taps, strict=True)]
        yield tuple((slice(None), *(pair[side] for pair in pairs)) for side in (0, 1))  # type: ignore[misc]


def _zeros(dy: np.ndarray, window: Window) -> np.ndarray:
    """An array of the shape of x."""
    return np.zeros((len(dy), *(axis.size for axis in window.axes), window.channels), dy.dtype)

"""Pooling: in C where a byte can number the window's elements, in NumPy beyond."""

from math import prod
from typing import Any

import numpy as np

from .. import _kernels
from ..geometry import Window
from . import taps


def max_pool(x: np.ndarray, window: Window, relu: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Maximum of each window, and which of its elements it was.

    The first in row-major order wins ties. Padding never wins; NaN does. With `relu`, the larger of the maximum and 0;
    where it is not above 0, none won.
    """
    return _way(window).max_pool(x, window, relu)


def max_pool_input_grad(dy: np.ndarray, winner: np.ndarray, window: Window) -> np.ndarray:
    """Each dy goes to the pixel that won its window; gradients of overlapping windows add."""
    return _way(window).max_pool_input_grad(dy, winner, window)


def avg_pool(x: np.ndarray, window: Window, shares: np.ndarray) -> np.ndarray:
    """Sum of each window times its share; `shares` has the shape of the output positions."""
    return _way(window).avg_pool(x, window, shares)


def avg_pool_input_grad(dy: np.ndarray, window: Window, shares: np.ndarray) -> np.ndarray:
    """Each pixel gets dy times its share from every window that holds it."""
    return _way(window).avg_pool_input_grad(dy, window, shares)


def _way(window: Window) -> Any:
    return _kernels if prod(window.kernel) <= 255 else taps

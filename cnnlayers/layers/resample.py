"""The matrices that resample an axis: which pixels of x each pixel of y reads, and by which weights.

On an axis of n pixels, pixel j is at j. Output i lies at a place p_i among them and reads those nearby:

    y_i = sum over j of R_ij x_j,   R_ij = k(j - p_i),   k the tent 1 - |t|, or a cubic

Beyond the ends the outermost pixels go on. Against aliasing, where the axis shrinks by s, the kernel is k(s t), wide
enough to see all pixels, and each row is divided by its sum.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

REACH = {"bilinear": 1, "bicubic": 2}  # where the kernel ends
COORDINATES = (
    *("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel"),
    *("align_corners", "asymmetric", "tf_crop_and_resize"),
)
ROUNDINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda places: np.ceil(places - 0.5),
    "round_prefer_ceil": lambda places: np.floor(places + 0.5),
}


class Matrix:
    """A matrix R that is mostly 0: it keeps the other entries, each with its row and its column.

    Attributes
    ----------
    shape : tuple of int
        (m, n): it makes n numbers m.
    outside : array of int
        The rows whose places are outside of x, where that matters; they read nothing.
    """

    def __init__(self, rows, columns, weights, shape, outside=()):
        kept = np.flatnonzero(weights)
        kept = kept[np.argsort(rows[kept], kind="stable")]
        self.rows, self.columns, self.weights = rows[kept], columns[kept], weights[kept]
        self.shape, self.outside = shape, np.asarray(outside, int)

    @functools.cached_property
    def T(self) -> Matrix:
        """The transpose."""
        return Matrix(self.columns, self.rows, self.weights, self.shape[::-1])

    @np.errstate(over="ignore", invalid="ignore")
    def times(self, x: np.ndarray, axis: int) -> np.ndarray:
        """Give R x along an axis: y_i = sum over j of R_ij x_j."""
        m, n = self.shape
        before, after = x.shape[:axis], x.shape[axis + 1 :]
        x = x.reshape(*before, n, math.prod(after))
        y = np.zeros((*before, m, math.prod(after)), x.dtype)
        for rows, columns, weights in self._turns:
            terms = x.take(columns, axis)
            terms *= weights.astype(x.dtype)[:, np.newaxis]
            y[(..., rows, slice(None))] += terms
        return y.reshape(*before, m, *after)

    @functools.cached_property
    def _turns(self) -> list[tuple]:
        """The first entries of all rows, then the second ones, and so on: in none is a row twice."""
        number = np.arange(len(self.rows)) - np.searchsorted(self.rows, self.rows)  # of an entry in its row
        turns = []
        for i in range(number.max(initial=-1) + 1):
            chosen = number == i
            rows = slice(None) if chosen.sum() == self.shape[0] else self.rows[chosen]
            turns.append((rows, self.columns[chosen], self.weights[chosen]))
        return turns

    def dense(self) -> np.ndarray:
        """Give all its entries."""
        R = np.zeros(self.shape)
        np.add.at(R, (self.rows, self.columns), self.weights)
        return R


class Rule(NamedTuple):
    """How an axis is resampled: options of `Resize`."""

    mode: str
    coordinates: str
    rounding: str
    cubic_coeff: float
    exclude_outside: bool
    antialias: bool


class Axis(NamedTuple):
    """What n pixels become: m, by a scale if one is given, of the part `roi` of them if one is given."""

    n: int
    m: int
    scale: float | None
    roi: tuple[float, float] | None


@functools.lru_cache(maxsize=32)
@np.errstate(over="ignore", invalid="ignore")  # of a roi that is far outside
def resampling(axis: Axis, rule: Rule) -> Matrix:
    """Give the matrix R of an axis."""
    n, m = axis.n, axis.m
    p = places(axis, rule.coordinates)[:, np.newaxis]
    if rule.mode == "nearest":
        columns, weights = ROUNDINGS[rule.rounding](p), np.ones((m, 1))
    else:
        s = min(1.0, m / n if axis.scale is None else axis.scale) if rule.antialias else 1.0
        reach = math.ceil(REACH[rule.mode] / s)
        columns = np.floor(p) + np.arange(1 - reach, reach + 1)
        weights = kernel(s * (columns - p), rule)
    inside = (columns >= 0) & (columns < n)
    if rule.exclude_outside:
        weights = np.where(inside, weights, 0)
    if rule.exclude_outside or rule.antialias:
        sums = weights.sum(axis=1, keepdims=True)
        weights /= np.where(sums == 0, 1, sums)
    outside = (p[:, 0] < 0) | (p[:, 0] > n - 1) if rule.coordinates == "tf_crop_and_resize" else np.zeros(m, bool)
    weights[outside] = 0
    rows = np.broadcast_to(np.arange(m)[:, np.newaxis], columns.shape)
    columns = np.clip(columns, 0, n - 1).astype(int)  # beyond the ends the outermost pixels go on
    return Matrix(rows.ravel(), columns.ravel(), weights.ravel(), (m, n), np.flatnonzero(outside))


def places(axis: Axis, coordinates: str) -> np.ndarray:
    """Give p_i for each output i.

    Without a scale it is m / n, and the division comes last: so what should be a whole number is one.
    """
    n, m, scale, roi = axis
    i = np.arange(m)
    length = m if scale is None else scale * n
    if coordinates == "align_corners":  # the outermost pixels at the same places
        return i * (n - 1) / (length - 1) if length != 1 else np.zeros(m)
    if coordinates == "tf_crop_and_resize":  # so too, those of the part from start to end
        start, end = roi or (0, 1)
        t = i / (length - 1) if length != 1 else np.full(m, 0.5)
        return ((1 - t) * start + t * end) * (n - 1)
    if coordinates == "pytorch_half_pixel" and length == 1:
        return np.zeros(m)
    if coordinates == "half_pixel_symmetric" and scale is not None:  # from the middle of x
        return (n - 1) / 2 + (i - (m - 1) / 2) / scale
    middle = 0.0 if coordinates == "asymmetric" else 0.5  # of a pixel, from where it starts
    return ((i + middle) * n / m if scale is None else (i + middle) / scale) - middle


def kernel(t: np.ndarray, rule: Rule) -> np.ndarray:
    """Give k(t): the tent, or the cubic."""
    t, a = np.abs(t), rule.cubic_coeff
    if rule.mode == "bilinear":
        return np.maximum(1 - t, 0)
    near = ((a + 2) * t - (a + 3)) * t**2 + 1
    far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
    return np.where(t <= 1, near, np.where(t < 2, far, 0))

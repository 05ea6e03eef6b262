"""Which algorithm computes a pass of a convolution: the plain kernel, or Winograd's method, and in which tiles.

The choice is made by a model of the cost, never by a measurement at run time, so it is the same on every run and for
every number of threads, and with it every bit. The unit of cost is one multiply-add of a vector. With VL numbers in a
vector, K x K kernels, P = (side + K - 1)^2 points, T tiles and ceil(n) for n / VL rounded up:

    plain       products C ceil(F)                  of those with a pixel, not with padding
    Winograd    P T [C + START] ceil(F)             the products, and what a register tile costs before and after
              + P T TRANSFORM [ceil(C) + ceil(F)]   the transforms of the tiles
              + P C ceil(F) WEIGHTS                 the transform of the weights, or of the sums of dL/dW

The constants are fitted to measurements of this package's kernels with all instruction sets; `python -m benchmarks
choice` compares the choices with the clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, prod

import numpy as np

from .. import _kernels, precision
from ..geometry import Axis, Window

PASSES = ("forward", "input_grad", "weight_grad")
SIDES = {3: (4, 2), 5: (2,)}  # of the tiles, for each kernel size
START = {"forward": 13.0, "input_grad": 13.0, "weight_grad": 0.0}
TRANSFORM = {"forward": 5.0, "input_grad": 5.0, "weight_grad": 6.0}
WEIGHTS = {"forward": 25.0, "input_grad": 25.0, "weight_grad": 60.0}
MOST_BYTES = 1 << 25  # of the weights at the points: more would leave the cache


@dataclass(frozen=True)
class Choice:
    """An algorithm and why it was chosen. `side`: of Winograd's tiles; 0 for another algorithm."""

    name: str
    why: str
    side: int = 0


def choose(
    which: str,
    window: Window,
    W_shape: tuple[int, ...],
    n: int,
    dtype,
    algorithm: str = "auto",
    ready: bool = False,
) -> Choice:
    """The algorithm of pass `which` for n samples, and the reason in words. `ready`: the weights are packed before."""
    if algorithm == "im2col" or algorithm == "direct":
        return Choice(algorithm, "as the layer says")
    why_not = unsuited(window)
    if why_not is None and precision.get_precision() == "exact":
        why_not = 'set_precision("exact")'
    if why_not is None and algorithm == "auto" and dtype != np.float32:
        why_not = f"{np.dtype(dtype)} is for precision"
    if why_not is not None:
        return Choice("direct", why_not)
    return _cheapest(which, window, W_shape, n, _kernels.lanes(dtype), algorithm == "winograd", ready)


def unsuited(window: Window) -> str | None:
    """Why Winograd's method cannot compute a convolution, or None if it can."""
    if window.kernel not in ((3, 3), (5, 5)):
        return f"a kernel of {'x'.join(map(str, window.kernel))}, not 3x3 or 5x5"
    if any(axis.stride != 1 for axis in window.axes):
        return "a stride"
    if any(axis.dilation != 1 for axis in window.axes):
        return "a dilation"
    return None


@lru_cache(4096)
def _cheapest(
    which: str, window: Window, W_shape: tuple[int, ...], n: int, lanes: int, must: bool, ready: bool
) -> Choice:
    c, f = W_shape[-2], W_shape[-1] * W_shape[-2] // window.channels  # of a group
    if not must and min(c, f) < lanes:
        return Choice("direct", f"{c} to {f} channels do not fill a vector of {lanes}")
    sizes, kernel = window.sizes if which == "input_grad" else window.out, window.kernel[0]
    if which == "input_grad":
        c, f = f, c
    plain = n * prod(map(_reads, window.axes)) * c * ceil(f / lanes)
    costs = {}
    for side in SIDES[kernel]:
        points, tiles = (side + kernel - 1) ** 2, n * ceil(sizes[0] / side) * ceil(sizes[1] / side)
        products = points * tiles * (c + START[which]) * ceil(f / lanes)
        transforms = points * tiles * TRANSFORM[which] * (ceil(c / lanes) + ceil(f / lanes))
        weights = 0 if ready else points * c * ceil(f / lanes) * WEIGHTS[which]
        costs[side] = products + transforms + weights
        if not must and points * c * f * 4 > MOST_BYTES:
            costs[side] = float("inf")
    side = min(costs, key=costs.__getitem__)
    told = ", ".join(f"{_name(s, kernel)} {cost / max(plain, 1):.2f}" for s, cost in costs.items())
    if not must and costs[side] >= plain:
        return Choice("direct", f"cost 1; {told}")
    return Choice(_name(side, kernel), f"{'as the layer says; ' if must else ''}cost of direct 1; {told}", side)


def _reads(axis: Axis) -> int:
    """How many times the positions of a window read a pixel, on one axis."""
    return sum(pixels.stop - pixels.start for pixels, _ in map(axis.reach, axis.taps))


def _name(side: int, kernel: int) -> str:
    return f"F({side}x{side}, {kernel}x{kernel})"

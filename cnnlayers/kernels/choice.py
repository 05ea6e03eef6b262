"""Which kernel computes a pass of a convolution, or of the affine map, and why: nothing else decides that.

A convolution is computed by Winograd's method in tiles of some size, or by a plain kernel. Which of the two is chosen
by a model of the cost, never by a measurement at run time, so it is the same on every run and for every number of
threads, and with it every bit. The unit of cost is one multiply-add of a vector. With VL numbers in a vector, P points
of a tile ((side + K - 1)^2 for K x K kernels, side + K - 1 for a signal's), T tiles and ceil(n) for n / VL rounded up:

    plain       products C ceil(F)                  of those with a pixel, not with padding
    Winograd    P T [C + START] ceil(F)             the products, and what a register tile costs before and after
              + P T TRANSFORM [ceil(C) + ceil(F)]   the transforms of the tiles
              + P C ceil(F) WEIGHTS                 the transform of the weights, or of the sums of dL/dW

Where weights are packed before, their transform costs nothing, but a small batch waits for them to come to the cache,
and there are more of them at the points: READY for each vector, here and with the plain kernel.

The constants are fitted to measurements of this package's kernels with all instruction sets; `python -m benchmarks
choice` compares the choices with the clock.

The plain kernels read patches where they lie. "direct" computes anything; "depthwise" one filter per channel; the
others are products of matrices where packing W would be most of the work (kernels/c/matmul.h). Some of their rules ask
how many threads there are: there both kernels give the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, prod
from typing import NamedTuple

import numpy as np

from .. import _kernels, precision, threads
from ..geometry import Axis, Window

PASSES = ("forward", "input_grad", "weight_grad")
CONSTANTS = {  # START, TRANSFORM and WEIGHTS of a pass, for transforms in one dimension and in two
    1: {"forward": (11.0, 4.0, 12.0), "input_grad": (11.0, 4.0, 12.0), "weight_grad": (0.0, 11.0, 14.0)},
    2: {"forward": (13.0, 5.0, 25.0), "input_grad": (13.0, 5.0, 25.0), "weight_grad": (0.0, 6.0, 60.0)},
}
READY = 5
MOST_BYTES = 1 << 25  # of the weights at the points: more would leave the cache
MOST_DOTS = 4  # rows of dy, each multiplied with a row of W that is read once
BY_ROWS = {1: (3, 5, 7), 2: (3,)}  # widths of the depthwise kernels that are computed by whole rows, for a stride
MOST_LINES = 7  # and most rows of one
KEPT = 1 << 18  # bytes of weights that stay in the cache while the positions go by
STRETCHED = 204800  # elements of W, at least, for a product that is cut along its sum
FEW = 64  # rows of dy, for which it pays to pack dy in place of W, and to turn the product
TURNED = 4  # tiles of rows of W in a task of the product that gives dx^T


@dataclass(frozen=True)
class Choice:
    """An algorithm and why it was chosen.

    `side`: of Winograd's tiles; 0 for another algorithm. `upright`: a signal is taken for an image of one column.
    """

    name: str
    why: str
    side: int = 0
    upright: bool = False

    @property
    def kernel(self) -> str:
        """What the door calls it."""
        return "winograd" if self.side else self.name


class Machine(NamedTuple):
    """What a choice may know of the processor: positions of a register tile, elements of a vector, threads."""

    positions: int
    lanes: int
    threads: int


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
    exact = precision.get_precision() == "exact"
    tile, n_threads = _kernels.tile(dtype), threads.get_num_threads()
    return _choose(which, window, W_shape, n, dtype, algorithm, ready, exact, tile, n_threads)


def choose_plain(which: str, window: Window, W_shape: tuple[int, ...], n: int, dtype) -> Choice:
    """The same without Winograd's method, and with weights that are not packed."""
    machine = Machine(*_kernels.tile(dtype), threads.get_num_threads())
    return _plain(which, window, W_shape, n, machine, False, "not Winograd's method")


def choose_affine(which: str, n: int, W_shape: tuple[int, int], dtype) -> Choice:
    """The kernel of a pass of the affine map, for n rows."""
    return _choose_affine(which, n, W_shape, _kernels.tile(dtype), threads.get_num_threads())


@lru_cache(4096)
def _choose_affine(which: str, n: int, W_shape: tuple[int, int], tile: tuple[int, int], n_threads: int) -> Choice:
    product = _product(which, n, *W_shape, Machine(*tile, n_threads), False)
    why = "x and dy meet where they lie" if which == "weight_grad" else "W is packed, and meets all rows"
    return product or Choice("direct", why)


def separable(first: Window, first_shape: tuple[int, ...], window: Window, W_shape: tuple[int, ...], dtype) -> bool:
    """Whether one pass computes a depthwise and a 1x1 convolution, by plain kernels, in prediction.

    That is to the same bits, for any number of samples. The weights of the second must stay in a cache, since each
    block of rows meets them all.
    """
    lanes, (c, f) = _kernels.tile(dtype)[1], W_shape[-2:]
    if first_shape[-2:] != (1, first.channels) or c != window.channels or not all(map(_reads_itself, window.axes)):
        return False  # other kinds of convolution
    if c < lanes or 2 * f <= lanes or c * f * np.dtype(dtype).itemsize > KEPT:
        return False
    vertical, horizontal = first.as_image().axes
    near = vertical.dilation == horizontal.dilation == 1 and horizontal.kernel in BY_ROWS.get(horizontal.stride, ())
    return near and vertical.stride == horizontal.stride <= vertical.kernel <= MOST_LINES and horizontal.out >= 4


def unsuited(window: Window) -> str | None:
    """Why Winograd's method cannot compute a convolution, or None if it can."""
    if not _sides(window.kernel):
        found = {(high, wide)[-window.rank :] for high, wide, _ in _kernels.TILES if high == 1 or window.rank == 2}
        *others, last = map(_by, sorted(found))
        return f"a kernel of {_by(window.kernel)}, not {', '.join(others)} or {last}"
    if any(axis.stride != 1 for axis in window.axes):
        return "a stride"
    if any(axis.dilation != 1 for axis in window.axes):
        return "a dilation"
    return None


@lru_cache(4096)
def _choose(
    which: str,
    window: Window,
    W_shape: tuple[int, ...],
    n: int,
    dtype,
    algorithm: str,
    ready: bool,
    exact: bool,
    tile: tuple[int, int],
    n_threads: int,
) -> Choice:
    machine = Machine(*tile, n_threads)
    if _mostly_padding(window):
        return Choice("im2col", "almost nothing but padding")
    if algorithm == "im2col":
        return Choice("im2col", "as the layer says")
    if algorithm == "direct":
        return _plain(which, window, W_shape, n, machine, ready, "as the layer says")
    why_not = unsuited(window)
    if why_not is None and exact:
        why_not = 'set_precision("exact")'
    if why_not is None and algorithm == "auto" and dtype != np.float32:
        why_not = f"{np.dtype(dtype)} is for precision"
    if why_not is not None:
        return _plain(which, window, W_shape, n, machine, ready, why_not)
    return _cheapest(which, window, W_shape, n, machine, algorithm == "winograd", ready)


def _plain(
    which: str, window: Window, W_shape: tuple[int, ...], n: int, machine: Machine, ready: bool, why: str
) -> Choice:
    """The kernel among those that read patches where they lie; `why` they do."""
    groups, c, f = window.channels // W_shape[-2], window.channels, W_shape[-1]
    if groups > 1 and groups == c == f:
        return Choice("depthwise", "one filter per channel")
    if which == "weight_grad":
        return Choice("direct", why)
    if groups == 1 and all(_reads_itself(axis) for axis in window.axes):
        product = _product(which, n * prod(window.sizes), c, f, machine, ready)
        if product is not None:
            return product
    upright = not (ready and which == "forward") and _upright(window, n, c, f, f if which == "forward" else c, machine)
    return Choice("direct", why, upright=upright)


def _product(which: str, n: int, d: int, m: int, machine: Machine, ready: bool) -> Choice | None:
    """The kernel for a product of x (n, d) or dy (n, m) with W (d, m), if W need not be packed for it."""
    if which == "forward":
        many = 2 * machine.lanes <= m <= 256 and d >= 32 * m and d * m >= STRETCHED  # W's shape alone: it decides bits
        return Choice("stretched", f"W is {d}x{m}, cut along the sum") if many and not ready else None
    if which == "input_grad":
        if n <= MOST_DOTS:
            return Choice("dots", f"at most {MOST_DOTS} rows: W is read once, where it lies")
        few = n <= FEW or 2 * n * (d + m) <= d * m
        if few and d >= TURNED * machine.positions * machine.threads:
            return Choice("turned", "dy is packed, and meets all rows of W")
    return None


def _reads_itself(axis: Axis) -> bool:
    """Whether position i reads pixel i, and nothing else."""
    return axis.kernel == 1 and axis.stride == 1 and axis.out == axis.size and axis.before == 0


def _upright(window: Window, n: int, c: int, f: int, width: int, machine: Machine) -> bool:
    """Whether a signal is taken for an image of one column, since work is cut into tasks by rows: a long one, or a few.

    But narrow results, of `width` channels, need neighbours in a row; where little is multiplied rows cost too much.
    """
    vertical, horizontal = window.as_image().axes
    flat = vertical.size == vertical.out == vertical.kernel == 1 and vertical.before == 0
    worth = width > machine.lanes // 2 and horizontal.kernel * c * f > 1024
    return flat and worth and (n < 8 * machine.threads or horizontal.out > 4096)


def _cheapest(
    which: str, window: Window, W_shape: tuple[int, ...], n: int, machine: Machine, must: bool, ready: bool
) -> Choice:
    lanes = machine.lanes
    c, f = W_shape[-2], W_shape[-1] * W_shape[-2] // window.channels  # of a group
    if not must and min(c, f) < lanes:
        why = f"{c} to {f} channels do not fill a vector of {lanes}"
        return _plain(which, window, W_shape, n, machine, ready, why)
    sizes = window.sizes if which == "input_grad" else window.out
    if which == "input_grad":
        c, f = f, c
    plain = n * prod(map(_reads, window.axes)) * c * ceil(f / lanes)
    if ready:
        plain += prod(window.kernel) * c * ceil(f / lanes) * READY
    start, transform, weight = CONSTANTS[sum(kernel > 1 for kernel in window.kernel)][which]
    costs = {}
    for side in _sides(window.kernel):
        tile = _tile(side, window)
        points = prod(pixels + kernel - 1 for pixels, kernel in zip(tile, window.kernel, strict=True))
        tiles = n * prod(ceil(size / pixels) for size, pixels in zip(sizes, tile, strict=True))
        products = points * tiles * (c + start) * ceil(f / lanes)
        transforms = points * tiles * transform * (ceil(c / lanes) + ceil(f / lanes))
        weights = points * c * ceil(f / lanes) * (READY if ready else weight)
        costs[side] = products + transforms + weights
        if not must and points * c * f * 4 > MOST_BYTES:
            costs[side] = float("inf")
    side = min(costs, key=costs.__getitem__)
    told = ", ".join(f"{_name(s, window)} {cost / max(plain, 1):.2f}" for s, cost in costs.items())
    if not must and costs[side] >= plain:
        return _plain(which, window, W_shape, n, machine, ready, f"cost 1; {told}")
    return Choice(_name(side, window), f"{'as the layer says; ' if must else ''}cost of direct 1; {told}", side)


def _mostly_padding(window: Window) -> bool:
    """Whether the padded input is large, and far larger than input and output together."""
    padded = prod(axis.size + axis.before + axis.after for axis in window.axes)
    return padded * window.channels > 1 << 24 and padded > 16 * (prod(window.sizes) + prod(window.out))


def _sides(kernel: tuple[int, ...]) -> list[int]:
    """Of the tiles that there are for a kernel; the widest first."""
    high, wide = (1, *kernel)[-2:]
    return sorted((side for h, w, side in _kernels.TILES if (h, w) == (high, wide)), reverse=True)


def _reads(axis: Axis) -> int:
    """How many times the positions of a window read a pixel, on one axis."""
    return sum(pixels.stop - pixels.start for pixels, _ in map(axis.reach, axis.taps))


def _tile(side: int, window: Window) -> tuple[int, ...]:
    """Pixels of a tile on each axis."""
    return tuple(side if kernel > 1 else 1 for kernel in window.kernel)


def _name(side: int, window: Window) -> str:
    return f"F({_by(_tile(side, window))}, {_by(window.kernel)})"


def _by(sizes: tuple[int, ...]) -> str:
    """3x3 for an image, 3 for a signal."""
    return "x".join(map(str, sizes))

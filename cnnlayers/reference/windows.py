"""The walk of a window: where it is, and which pixels its taps read there.

A window is a kernel's or a pool's. Its taps (its elements) read the input at each position:

    output position o reads pixel o * stride - before + tap * dilation, and 0 where that is padding.

Positions, taps and pixels are tuples with one number for each spatial axis, so the same loops serve images (N, H, W, C)
and signals (N, L, C).
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

Index = tuple[int, ...]  # one number for each spatial axis


def windows(
    sizes: Sequence[int], kernel, stride: Any = 1, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Iterator[tuple[Index, list[tuple[Index, Index]], int]]:
    """Each position of a window, with what it reads: (position, [(tap, pixel), ...], area).

    Taps that meet padding are left out of the list. The area is the number of taps that meet a pixel or padding.
    """
    rank = len(sizes)
    if rank not in (1, 2):
        raise ValueError(f"a window slides over images (H, W) or signals (L,); got sizes {tuple(sizes)}")
    kernels = per_axis(kernel, rank, "kernel")
    strides = per_axis(stride, rank, "stride")
    dilations = per_axis(dilation, rank, "dilation")
    pads = pad_pairs(padding, sizes, kernels, strides, dilations)
    axes = []
    for size, k, s, d, (before, after) in zip(sizes, kernels, strides, dilations, pads, strict=True):
        starts = _starts(size, d * (k - 1), s, before, after, ceil_mode)
        if not starts:
            raise ValueError(f"a kernel of {k} with dilation {d} does not fit in {size} padded by {(before, after)}")
        axes.append([_reads(start, size, k, d, after) for start in starts])
    for position in itertools.product(*(range(len(axis)) for axis in axes)):
        chosen = [axis[o] for axis, o in zip(axes, position, strict=True)]
        pairs = itertools.product(*(reads for reads, _ in chosen))
        reads = [(tuple(tap for tap, _ in pair), tuple(pixel for _, pixel in pair)) for pair in pairs]
        yield position, reads, math.prod(area for _, area in chosen)


def pool_windows(sizes: Sequence[int], size, stride, padding, dilation, ceil_mode: bool) -> list:
    """The windows of a pool, side by side unless a stride is given: each must hold a pixel."""
    places = list(windows(sizes, size, size if stride is None else stride, padding, dilation, ceil_mode))
    if not all(reads for _, reads, _ in places):
        raise ValueError("every window of a pool must hold a pixel; some hold nothing but padding")
    return places


def _starts(size: int, reach: int, stride: int, before: int, after: int, ceil_mode: bool) -> list[int]:
    """Where a window whose last tap is `reach` after its first can start, on one axis; pixel 0 is the input's first."""
    end = size + after
    start = -before
    starts = []
    while start + reach < end:  # the window ends inside
        starts.append(start)
        start += stride
    if ceil_mode:
        if start - stride + reach < end - 1:  # some pixels are left over: a window that hangs over the end
            starts.append(start)
        starts = [start for start in starts if start < size]
    return starts


def _reads(start: int, size: int, kernel: int, dilation: int, after: int) -> tuple[list[tuple[int, int]], int]:
    """What a window at `start` reads on one axis: [(tap, pixel), ...], and its area, padding included."""
    pixels = [(tap, start + tap * dilation) for tap in range(kernel)]
    inside = [(tap, pixel) for tap, pixel in pixels if 0 <= pixel < size]
    return inside, sum(pixel < size + after for _, pixel in pixels)


def pad_pairs(padding, sizes, kernels, strides, dilations) -> list[tuple[int, int]]:
    """Padding in any of its forms as a (before, after) pair for each axis."""
    if isinstance(padding, str):
        if padding == "valid":
            return [(0, 0)] * len(sizes)
        if padding == "same":
            return [_same(*axis) for axis in zip(sizes, kernels, strides, dilations, strict=True)]
        raise ValueError(f'padding must be "valid", "same" or numbers; got {padding!r}')
    given = list(padding) if isinstance(padding, Iterable) else [padding] * len(sizes)
    pairs = [tuple(one) if isinstance(one, Iterable) else (one, one) for one in given]
    if len(pairs) != len(sizes) or any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"padding must be one int or (before, after) pair for each axis; got {padding!r}")
    return [(_integer(before, "padding", 0), _integer(after, "padding", 0)) for before, after in pairs]


def _same(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """The least padding that gives ceil(size / stride) positions, the odd pixel after."""
    total = 0
    while len(_starts(size, dilation * (kernel - 1), stride, 0, total, False)) < math.ceil(size / stride):
        total += 1
    return total // 2, total - total // 2


def per_axis(value, rank: int, name: str) -> Index:
    """One int for each axis, from one for all or one for each."""
    values = tuple(value) if isinstance(value, Iterable) else (value,) * rank
    if len(values) != rank:
        raise ValueError(f"{name} must be an int or {rank} ints; got {value!r}")
    return tuple(_integer(v, name, 1) for v in values)


def _integer(value, name: str, low: int) -> int:
    if isinstance(value, bool):
        raise TypeError(f"{name} must be an int; got {value!r}")
    number = operator.index(value)
    if number < low:
        raise ValueError(f"{name} must be {low} or more; got {value!r}")
    return number


def out_sizes(places) -> Index:
    """The output's size: one more than the last position."""
    return tuple(o + 1 for o in places[-1][0])


def batch(x) -> np.ndarray:
    """Give x as a float64 batch of images or signals."""
    x = np.asarray(x, float)
    if x.ndim not in (3, 4):
        raise ValueError(f"reference needs images (N, H, W, C) or signals (N, L, C); got shape {x.shape}")
    return x

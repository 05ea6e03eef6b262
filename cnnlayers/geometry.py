"""Sizes and padding: the one place that computes an output shape.

A window (a convolution's kernel, a pool's window) slides along each spatial axis of its input. On one axis, with input
size n, kernel k, stride s, dilation d and padding p before and q after, there are

    floor((n + p + q - d (k - 1) - 1) / s) + 1

positions; the first reads the (padded) input at 0, d, ..., d (k - 1), the next begins s further on. Everything here is
in Python integers, which do not overflow, and nothing is allocated: an absurd size is a clear error first.

Source: UC Berkeley CS W182 discussion sheet, section 2.1 and Problem 4 (valid: n - k + 1).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .checks import as_padding, as_sizes, check_bytes, sizes_and_channels


@dataclass(frozen=True)
class Axis:
    """A window on one spatial axis: sizes in pixels, `before` and `after` the padding."""

    size: int
    kernel: int
    stride: int = 1
    before: int = 0
    after: int = 0
    dilation: int = 1
    ceil: bool = False

    @property
    def span(self) -> int:
        """How many pixels the window covers, its holes included: d (k - 1) + 1."""
        return self.dilation * (self.kernel - 1) + 1

    @functools.cached_property
    def out(self) -> int:
        """How many positions the window takes."""
        room = self.size + self.before + self.after - self.span
        if not self.ceil:
            return room // self.stride + 1
        inside = -(-(self.size + self.before) // self.stride)  # positions that start before the padding after
        return min(-(-room // self.stride) + 1, inside)

    def misses(self) -> bool:
        """Whether some position reads nothing but padding."""
        tried: Sequence[int] = (0, self.out - 1)  # only these can lie before or after all pixels
        if self.kernel > 1 and self.dilation > self.size:
            # Holes wider than the input can miss it. If size + 1 positions all meet a pixel, two meet the same one,
            # and from there on it repeats: no more need be tried. More than a million are not worth a search: such a
            # window counts as one that misses.
            if min(self.out, self.size) > 1 << 20:
                return True
            tried = (*range(min(self.out, self.size + 1)), self.out - 1)
        starts = (o * self.stride - self.before for o in tried)
        return any(not range(*_clip(start, self.kernel, self.dilation, 0, self.size)) for start in starts)

    def counts(self, include_padding: bool) -> list[int]:
        """How many pixels each position's window holds, padding counted or not, and nothing beyond the end."""
        low, high = (-self.before, self.size + self.after) if include_padding else (0, self.size)
        starts = (o * self.stride - self.before for o in range(self.out))
        return [len(range(*_clip(start, self.kernel, self.dilation, low, high))) for start in starts]

    @property
    def taps(self) -> range:
        """The kernel elements that read a pixel at some position; the others read nothing but padding."""
        first = -(-(self.before - (self.out - 1) * self.stride) // self.dilation)
        last = (self.size - 1 + self.before) // self.dilation
        return range(max(0, first), min(self.kernel - 1, last) + 1)

    def reach(self, tap: int) -> tuple[slice, slice]:
        """Which output positions read a pixel through kernel element `tap`, and which pixels.

        Both slices have the same length; positions left out read padding. So `y[outputs] += w[tap] * x[inputs]`, summed
        over the taps, is the whole window sum, without a padded copy of x.
        """
        offset = tap * self.dilation - self.before  # position o reads pixel o * stride + offset
        first = max(0, -(offset // self.stride))  # ceil(-offset / stride)
        last = min(self.out - 1, (self.size - 1 - offset) // self.stride)
        count = max(0, last - first + 1)
        start = first * self.stride + offset
        pixels = slice(start, start + (count - 1) * self.stride + 1, self.stride) if count else slice(0, 0)
        return slice(first, first + count), pixels


@dataclass(frozen=True)
class Window:
    """A window on all spatial axes of an input with `channels` channels; see `window`."""

    axes: tuple[Axis, ...]
    channels: int

    def __hash__(self) -> int:
        return self._hash

    @functools.cached_property
    def _hash(self) -> int:  # a window is looked up in every pass, and its axes have many fields
        return hash((self.axes, self.channels))

    @property
    def rank(self) -> int:
        """1 for signals (N, L, C), 2 for images (N, H, W, C)."""
        return len(self.axes)

    @functools.cached_property
    def kernel(self) -> tuple[int, ...]:
        """Kernel size per axis."""
        return tuple(a.kernel for a in self.axes)

    @functools.cached_property
    def sizes(self) -> tuple[int, ...]:
        """Input size per axis."""
        return tuple(a.size for a in self.axes)

    @functools.cached_property
    def out(self) -> tuple[int, ...]:
        """Output size per axis."""
        return tuple(a.out for a in self.axes)

    def as_image(self) -> Window:
        """The same window with two spatial axes: a signal is an image one pixel high."""
        return self if len(self.axes) == 2 else self._as_image

    @functools.cached_property
    def _as_image(self) -> Window:
        return Window((Axis(1, 1), *self.axes), self.channels)


def window(
    input_shape: Sequence[int],
    kernel,
    stride=1,
    padding=0,
    dilation=1,
    *,
    ceil: bool = False,
    who: str = "window",
) -> Window:
    """Check a window against one input and compute where it goes.

    Parameters
    ----------
    input_shape : sequence of int
        (H, W, C) or (L, C), without the batch axis.
    kernel, stride, dilation : int or one int per spatial axis
        At least 1.
    padding : int, one int per axis, a (before, after) pair per axis, "valid" or "same"
        "same" gives ceil(size / stride) positions; the odd pixel of padding goes after.
    ceil : bool
        Round the number of positions up: the last window may hang over the end, but starts inside the input or the
        padding before it. So may the only one, by less than a stride.
    who : str
        Whose window it is, for the messages.

    Raises
    ------
    ValueError, TypeError
        If the input is neither image nor signal, a size is not a positive integer, or the kernel does not fit.

    >>> window((32, 32, 3), 5).out, window((32, 32, 3), 5, padding=2).out
    ((28, 28), (32, 32))
    """
    sizes, channels = sizes_and_channels(who, input_shape)
    rank = len(sizes)
    kernels = per_axis(who, "kernel", kernel, rank)
    strides = per_axis(who, "stride", stride, rank)
    dilations = per_axis(who, "dilation", dilation, rank)
    pads = padding_pairs(who, padding, sizes, kernels, strides, dilations)
    padded = [before + n + after for n, (before, after) in zip(sizes, pads, strict=True)]
    dilations = tuple(1 if k == 1 else d for k, d in zip(kernels, dilations, strict=True))  # one tap has no holes
    spans = [d * (k - 1) + 1 for k, d in zip(kernels, dilations, strict=True)]
    strides = tuple(map(min, strides, map(max, padded, spans)))  # past the end is past the end
    axes = tuple(
        Axis(n, k, s, before, after, d, ceil)
        for n, k, s, d, (before, after) in zip(sizes, kernels, strides, dilations, pads, strict=True)
    )
    if any(a.span > size if not ceil else a.out < 1 for a, size in zip(axes, padded, strict=True)):
        spans_text = sizes_text([a.span for a in axes])
        widened = "" if set(dilations) == {1} else f" (dilation {sizes_text(dilations)}: {spans_text})"
        raise ValueError(
            f"{who}: a {sizes_text(kernels)} kernel{widened} does not fit in a {sizes_text(sizes)} "
            f"{'image' if rank == 2 else 'signal'} padded by {padding_text(pads)}"
        )
    check_bytes(who, "a padded input", padded, 4)  # which is never made, but the output is as large
    return Window(axes, channels)


def transposed_window(
    input_shape: Sequence[int], filters: int, kernel, stride=1, padding=0, output_padding=0, dilation=1, *, who: str
) -> Window:
    """The window of the convolution that a transposed one transposes: it slides on the output and gives the input.

    On one axis, from n positions,

        out = (n - 1) s - p - q + d (k - 1) + 1 + output_padding

    or n s if the padding is "same". Several sizes give n positions with a stride s > 1: output_padding (below s) says
    how much larger than the smallest of them the output is.

    >>> transposed_window((7, 7, 16), 8, 3, stride=2, padding=1, output_padding=1, who="here").sizes
    (14, 14)
    """
    sizes, _ = sizes_and_channels(who, input_shape)
    rank = len(sizes)
    kernels = per_axis(who, "kernel", kernel, rank)
    strides = per_axis(who, "stride", stride, rank)
    dilations = per_axis(who, "dilation", dilation, rank)
    extras = per_axis(who, "output_padding", output_padding, rank, low=0)
    if any(extra >= s for extra, s in zip(extras, strides, strict=True)):
        got = f"{sizes_text(extras)} and stride {sizes_text(strides)}"
        raise ValueError(f"{who}: output_padding must be below the stride; got {got}")
    if padding == "same":
        if any(extras):
            raise ValueError(f'{who}: padding="same" leaves no choice of output_padding; got {sizes_text(extras)}')
        out = [n * s for n, s in zip(sizes, strides, strict=True)]
    else:
        pads = padding_pairs(who, padding, sizes, kernels, strides, dilations)
        axes = zip(sizes, kernels, strides, dilations, pads, extras, strict=True)
        out = [(n - 1) * s - p - q + d * (k - 1) + 1 + extra for n, k, s, d, (p, q), extra in axes]
        if min(out) < 1:
            raise ValueError(
                f"{who}: padding {padding_text(pads)} leaves nothing of the output of a {sizes_text(sizes)} "
                f"{'image' if rank == 2 else 'signal'}; its size would be {sizes_text(out)}"
            )
    check_bytes(who, "an output", (*out, filters), 4)
    return window((*out, filters), kernel, stride, padding, dilation, who=who)


def _clip(start: int, kernel: int, dilation: int, low: int, high: int) -> tuple[int, int]:
    """The taps (first, last + 1) of a window at `start` that fall on low, ..., high - 1."""
    first = max(0, -((start - low) // dilation))
    return first, min(kernel, (high - 1 - start) // dilation + 1)


def padding_pairs(
    who: str,
    padding: Any,
    sizes: Sequence[int],
    kernels: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> tuple[tuple[int, int], ...]:
    """Padding in any of its forms as one (before, after) pair per axis."""
    padding = as_padding(who, padding, len(sizes))
    if padding == "same":
        return tuple(map(same_pair, sizes, kernels, strides, dilations))
    if not isinstance(padding, tuple):
        padding = (0 if padding == "valid" else padding,) * len(sizes)
    return tuple(one if isinstance(one, tuple) else (one, one) for one in padding)


def same_pair(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Padding that gives ceil(size / stride) positions, the odd pixel after."""
    total = max(0, (-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size)
    return total // 2, total - total // 2


def per_axis(who: str, name: str, value: Any, rank: int, low: int = 1) -> tuple[int, ...]:
    """Give an int, or one int per spatial axis, as a tuple of `rank` ints."""
    sizes = as_sizes(who, name, value, rank=rank, low=low)
    return sizes if isinstance(sizes, tuple) else (sizes,) * rank


def sizes_text(sizes: Iterable[int]) -> str:
    """Sizes as people write them: `5x3`, or `5` on one axis."""
    return "x".join(map(str, sizes))


def padding_text(pads: Sequence[tuple[int, int]]) -> str:
    """Padding in as few words as it takes: one number if it is the same everywhere."""
    flat = {p for pair in pads for p in pair}
    return str(flat.pop()) if len(flat) == 1 else str(tuple(pads))


cached_window = functools.lru_cache(maxsize=1024)(window)  # for layers, which check and freeze their arguments first
cached_transposed_window = functools.lru_cache(maxsize=1024)(transposed_window)

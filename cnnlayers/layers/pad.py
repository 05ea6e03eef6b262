"""Padding as a layer of its own: with a value, the nearest pixel or a mirror image."""

from typing import Any

import numpy as np

from ..checks import as_number, as_padding, check_bytes, sizes_and_channels, with_batch
from ..geometry import padding_pairs
from .layer import Layer

MODES = ("constant", "edge", "reflect")


class Pad(Layer):
    """y = x with a border.

    Forward     y[n, i, j] = x[n, i - before, j - before], and outside of x
                a value ("constant"), the nearest pixel ("edge"), or the pixel as far inside ("reflect")
    Backward    dL/dx = sum of δ over all places of y that show the pixel

    Conv and pools pad by themselves with what does not count; this layer is for other borders, and before layers that
    do not pad.

    Shapes      x (N, H, W, C);  y (N, H + before + after, W + before + after, C);  signals (N, L, C) likewise
    Errors      ValueError if x is neither images nor signals, or too small to be mirrored
    Twin        reference.shapes.pad_backward

    Parameters
    ----------
    padding : int, one int per axis, or a (before, after) pair per axis
    value : float
        What "constant" puts there.
    mode : {"constant", "edge", "reflect"}
        "reflect" does not repeat the outermost pixel: 1 2 3 becomes 2 1 2 3 2.

    Examples
    --------
    >>> Pad([(2, 1)], mode="reflect").forward([[[1.0], [2.0], [3.0]]])[0, :, 0]
    array([3., 2., 1., 2., 3., 2.], dtype=float32)
    """

    resizable = True

    def __init__(self, padding, value=0.0, mode="constant"):
        self.padding = as_padding("Pad", padding)
        self.value = as_number("Pad", "value", value)
        self.mode = mode
        if isinstance(padding, str):
            raise TypeError(f"Pad: padding must be numbers; got {padding!r}")
        if mode not in MODES:
            raise ValueError(f"Pad: mode must be one of {', '.join(map(repr, MODES))}; got {mode!r}")

    def pairs(self, input_shape):
        """The padding (before, after) of each spatial axis, checked against the input."""
        sizes, _ = sizes_and_channels("Pad", input_shape)
        pairs = padding_pairs("Pad", self.padding, sizes, sizes, sizes, sizes)
        if self.mode == "reflect" and any(max(pair) >= n for n, pair in zip(sizes, pairs, strict=True)):
            raise ValueError(f"{self!r} needs more pixels than it mirrors; got shape {with_batch(input_shape)}")
        return pairs

    def forward(self, x, train=True):
        pairs = self.pairs(x.shape[1:])
        self.keep(pairs)
        return padded(x, pairs, self.mode, self.value)

    def backward(self, dy, input_grad=True):
        (pairs,) = self.take()
        return padded_input_grad(dy, pairs, self.mode)

    def output_shape(self, input_shape):
        pairs = self.pairs(input_shape)
        sizes = [before + n + after for n, (before, after) in zip(input_shape, pairs, strict=False)]
        check_bytes("Pad", "an output", (*sizes, input_shape[-1]), 4)
        return (*sizes, input_shape[-1])


def padded(x: np.ndarray, pairs, mode: Any, value: float = 0.0) -> np.ndarray:
    """x with a border on its spatial axes."""
    values = {"constant_values": value} if mode == "constant" else {}
    return np.pad(x, ((0, 0), *pairs, (0, 0)), mode, **values)


def padded_input_grad(dy: np.ndarray, pairs, mode: Any) -> np.ndarray:
    """dx = δ inside, + the δ of each border pixel that shows the same pixel of x."""
    for axis, (before, after) in enumerate(pairs, start=1):
        n = dy.shape[axis] - before - after
        inside = dy[_at(axis, slice(before, before + n))]
        if mode != "constant" and before + after:
            dx = inside.copy()
            shown = np.pad(np.arange(n), (before, after), mode)
            for place in (*range(before), *range(before + n, before + n + after)):
                dx[_at(axis, shown[place])] += dy[_at(axis, place)]
            inside = dx
        dy = inside
    return dy.copy()


def _at(axis: int, index) -> tuple:
    """The index on this axis, everything on those before it."""
    return (*[slice(None)] * axis, index)

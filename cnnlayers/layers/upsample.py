"""Larger images: pixels repeated, or values in between."""

import numpy as np

from .. import kernels
from ..checks import as_sizes, check_bytes, sizes_and_channels
from ..geometry import Window, per_axis, window
from .layer import Layer
from .pad import padded, padded_input_grad

MODES = ("nearest", "bilinear")


class Upsample(Layer):
    """y = x with each spatial axis `factor` times as long.

    Forward     nearest     y[n, i, j] = x[n, floor(i / factor), floor(j / factor)]
                bilinear    y at a place = the values of the nearest pixels of x, by nearness, along each axis
    Backward    dL/dx = sum of δ over all that read the pixel, each by its weight

    Bilinear takes a pixel for a small square: output i has its middle at (i + 1/2) / factor - 1/2 among the pixels of
    x, and beyond the outermost middles the outermost value stays (PyTorch's align_corners=False). So a pixel gives
    1 - (its distance) / factor to each y that is less than a factor away: a transposed convolution by a tent.

    Shapes      x (N, H, W, C);  y (N, H factor, W factor, C);  signals (N, L, C) likewise
    Errors      ValueError if x is neither images nor signals
    Twin        reference.upsample.upsample_backward

    Parameters
    ----------
    factor : int or one int per spatial axis
    mode : {"nearest", "bilinear"}
        For signals "bilinear" is linear.

    Examples
    --------
    >>> Upsample(2).forward([[[1.0], [5.0]]])[0, :, 0], Upsample(2, "bilinear").forward([[[1.0], [5.0]]])[0, :, 0]
    (array([1., 1., 5., 5.], dtype=float32), array([1., 2., 4., 5.], dtype=float32))
    """

    resizable = True

    def __init__(self, factor, mode="nearest"):
        self.factor = as_sizes("Upsample", "factor", factor)
        self.mode = mode
        if mode not in MODES:
            raise ValueError(f"Upsample: mode must be one of {', '.join(map(repr, MODES))}; got {mode!r}")

    def forward(self, x, train=True):
        self.keep(x.shape)
        large = self._window(x.shape)
        if self.mode == "nearest":
            return kernels.avg_pool_input_grad(x, large, _ones(large, x.dtype))  # each to all of its window
        x = padded(x, _border(large), "edge")
        return kernels.conv_input_grad(x, _tent(large, x.dtype), large)

    def backward(self, dy, input_grad=True):
        (shape,) = self.take()
        large = self._window(shape)
        if self.mode == "nearest":
            return kernels.avg_pool(dy, large, _ones(large, dy.dtype))  # sum of δ over the window
        dx = kernels.conv_forward(dy, _tent(large, dy.dtype), None, large)
        return padded_input_grad(dx, _border(large), "edge")

    def _window(self, shape) -> Window:
        """The window on y of which each position is a pixel of x (for bilinear with a border of one pixel)."""
        factors = per_axis("Upsample", "factor", self.factor, len(shape) - 2)
        large = self.output_shape(shape[1:])
        if self.mode == "nearest":
            return window(large, factors, factors, who="Upsample")
        reach = [(3 * f - f % 2) // 2 for f in factors]  # the tent of the pixel in the border begins so far outside
        return window(large, [2 * f - f % 2 for f in factors], factors, reach, who="Upsample")

    def output_shape(self, input_shape):
        sizes, channels = sizes_and_channels("Upsample", input_shape)
        factors = per_axis("Upsample", "factor", self.factor, len(sizes))
        shape = (*(n * f for n, f in zip(sizes, factors, strict=True)), channels)
        check_bytes("Upsample", "an output", shape, 4)
        return shape


def _ones(large: Window, dtype) -> np.ndarray:
    return np.ones(large.out, dtype)


def _border(large: Window) -> list[tuple[int, int]]:
    return [(1, 1)] * large.rank


def _tent(large: Window, dtype) -> np.ndarray:
    """The weights, the same for each channel: as W of a convolution by channel."""
    W = np.ones(1)
    for axis in large.axes:
        taps = np.arange(axis.kernel)
        W = W[..., np.newaxis] * (1 - np.abs(taps - (axis.kernel - 1) / 2) / axis.stride)
    return np.repeat(W[0, ..., np.newaxis, np.newaxis], large.channels, axis=-1).astype(dtype)

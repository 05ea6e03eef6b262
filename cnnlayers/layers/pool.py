"""Pooling: one number for each window and channel."""

import numpy as np

from .. import kernels
from ..checks import as_flag, as_padding, as_sizes, with_batch
from ..geometry import cached_window
from .layer import Layer


class Pool(Layer):
    """What the pools with windows share: their arguments and their output shape."""

    resizable = True

    def __init__(self, size, stride=None, padding=0, dilation=1, ceil_mode=False):
        who = type(self).__name__
        self.size = as_sizes(who, "size", size)
        self.stride = None if stride is None else as_sizes(who, "stride", stride)
        self.padding = as_padding(who, padding)
        self.dilation = as_sizes(who, "dilation", dilation)
        self.ceil_mode = as_flag(who, "ceil_mode", ceil_mode)
        self.title = f"{who}({size})"

    def window(self, input_shape):
        """Where the window goes on an input of this shape."""
        stride = self.size if self.stride is None else self.stride
        return cached_window(
            tuple(input_shape), self.size, stride, self.padding, self.dilation, ceil=self.ceil_mode, who=self.title
        )

    def output_shape(self, input_shape):
        window = self.window(input_shape)
        if any(axis.misses() for axis in window.axes):
            raise ValueError(
                f"{self!r}: every window must hold a pixel; on {with_batch(input_shape)} some hold only padding"
            )
        return (*window.out, window.channels)


class MaxPool(Pool):
    """y = the maximum of each window, channel by channel.

    Forward     y[n, oh, ow, c] = max over kh, kw of x[n, oh s + kh, ow s + kw, c]
    Backward    dL/dx: δ goes to the pixel that was the maximum; where windows overlap, gradients add

    The first position in row-major order wins a tie. Padding never wins; NaN does.

    Shapes      x (N, H, W, C) -> y (N, OH, OW, C);  x (N, L, C) -> y (N, OL, C)
    Errors      ValueError if the window does not fit or some window holds nothing but padding
    Twin        reference.pool.max_pool_backward

    Parameters
    ----------
    size : int or one int per spatial axis
    stride : int or one int per spatial axis, optional
        The size by default: windows side by side.
    padding, dilation
        As for Conv.
    ceil_mode : bool
        Round the output size up: the last window may hang over the end.

    Examples
    --------
    >>> MaxPool(2).output_shape((28, 28, 16))
    (14, 14, 16)
    """

    def forward(self, x, train=True):
        y, winner = kernels.max_pool(x, self.window(x.shape[1:]))
        self.keep(winner, x.shape[1:])
        return y

    def backward(self, dy, input_grad=True):
        winner, shape = self.take()
        return kernels.max_pool_input_grad(dy, winner, self.window(shape)) if input_grad else None


class AvgPool(Pool):
    """y = the mean of each window, channel by channel.

    Forward     y[n, oh, ow, c] = (1 / count) sum over kh, kw of x[n, oh s + kh, ow s + kw, c]
    Backward    dL/dx: each pixel gets δ / count from every window that holds it

    Shapes      x (N, H, W, C) -> y (N, OH, OW, C);  x (N, L, C) -> y (N, OL, C)
    Errors      ValueError if the window does not fit or some window holds nothing but padding
    Twin        reference.pool.avg_pool_backward

    Parameters
    ----------
    size, stride, padding, dilation, ceil_mode
        As for MaxPool.
    count_include_pad : bool
        Count padding as pixels of value 0. What hangs over the end (ceil_mode) is never counted.

    Examples
    --------
    >>> AvgPool(3, stride=2, padding=1).forward(np.ones((1, 4, 1)))[0, :, 0]
    array([1., 1.], dtype=float32)
    """

    def __init__(self, size, stride=None, padding=0, dilation=1, ceil_mode=False, count_include_pad=False):
        super().__init__(size, stride, padding, dilation, ceil_mode)
        self.count_include_pad = as_flag("AvgPool", "count_include_pad", count_include_pad)

    def shares(self, window):
        """1 / count for each output position."""
        counts = [np.array(axis.counts(self.count_include_pad), self.dtype) for axis in window.axes]
        return 1 / (counts[0] if window.rank == 1 else np.outer(counts[0], counts[1]))

    def forward(self, x, train=True):
        window = self.window(x.shape[1:])
        self.keep(window)
        return kernels.avg_pool(x, window, self.shares(window))

    def backward(self, dy, input_grad=True):
        (window,) = self.take()
        return kernels.avg_pool_input_grad(dy, window, self.shares(window)) if input_grad else None


class GlobalPool(Layer):
    """What the global pools share: one number for each channel."""

    resizable = True

    def output_shape(self, input_shape):
        if len(input_shape) not in (2, 3) or 0 in input_shape:
            raise ValueError(
                f"{self!r} needs images (N, H, W, C) or signals (N, L, C) of at least one pixel; "
                f"got shape {with_batch(input_shape)}"
            )
        return (input_shape[-1],)


class GlobalAvgPool(GlobalPool):
    """y = the mean over all positions, channel by channel.

    Forward     y[n, c] = mean over h, w of x[n, h, w, c]
    Backward    dL/dx[n, h, w, c] = δ[n, c] / (H W)

    Shapes      x (N, H, W, C) or (N, L, C);  y (N, C)
    Errors      ValueError if x is neither images nor signals, or has no pixel
    Source      M. Lin, Q. Chen, S. Yan, "Network In Network", 2013
    Twin        reference.global_pool.global_avg_pool_backward

    Examples
    --------
    >>> GlobalAvgPool().output_shape((8, 8, 64))
    (64,)
    """

    def forward(self, x, train=True):
        self.keep(x.shape)
        return kernels.global_avg_pool(x)

    def backward(self, dy, input_grad=True):
        (shape,) = self.take()
        return kernels.global_avg_pool_input_grad(dy, shape) if input_grad else None  # δ / (H W)


class GlobalMaxPool(GlobalPool):
    """y = the maximum over all positions, channel by channel; the first position wins a tie, NaN always wins.

    Forward     y[n, c] = max over h, w of x[n, h, w, c]
    Backward    dL/dx: δ[n, c] goes to the position of the maximum

    Shapes      x (N, H, W, C) or (N, L, C);  y (N, C)
    Errors      ValueError if x is neither images nor signals, or has no pixel
    Twin        reference.global_pool.global_max_pool_backward

    Examples
    --------
    >>> GlobalMaxPool().output_shape((100, 12))
    (12,)
    """

    def forward(self, x, train=True):
        y, winner = kernels.global_max_pool(x)
        self.keep(winner, x.shape)
        return y

    def backward(self, dy, input_grad=True):
        winner, shape = self.take()
        return kernels.global_max_pool_input_grad(dy, winner, shape) if input_grad else None

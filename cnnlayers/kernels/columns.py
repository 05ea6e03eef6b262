"""Convolution as a matrix product on patches: im2col, then Affine.

With cols = im2col(x), one row per output position, a convolution is `cols @ W` (W as a matrix of KH KW C rows and F
columns). Its gradients are those of Affine, and col2im, the transpose of im2col, takes dL/dcols back to dL/dx.

Groups split the channels: group g reads channels g C/G ... and writes filters g F/G ..., a convolution of its own.
The column matrix is made again in the backward pass: kept, it would hold KH KW times the memory of x.

Source: UC Berkeley CS W182 discussion sheet, section 2.2 and Problem 6.
"""

import numpy as np

from .._im2col import col2im, im2col
from .._kernels import empty
from ..geometry import Window


def conv_forward(x: np.ndarray, W: np.ndarray, b: np.ndarray | None, window: Window, relu: bool = False) -> np.ndarray:
    """y = x * W + b, then max(y, 0) if `relu`; the shapes are those of Conv."""
    y = empty((len(x), *window.out, W.shape[-1]), x.dtype)
    for inputs, filters in _groups(window, W):
        part = _product(_columns(x[..., inputs], window), _matrix(W[..., filters]))  # cols W
        y[..., filters] = part.reshape(*y.shape[:-1], -1) if part.size else 0
    if b is not None:
        y += b
    return np.maximum(y, 0, out=y) if relu else y


def conv_weight_grad(x: np.ndarray, dy: np.ndarray, window: Window, dW: np.ndarray) -> None:
    """dW := cols^T dy, the products summed over all positions of all images."""
    for inputs, filters in _groups(window, dW):
        cols = _columns(x[..., inputs], window)
        dW[..., filters] = (cols.T @ _rows(dy[..., filters])).reshape(dW[..., filters].shape)  # cols^T dy


def conv_input_grad(dy: np.ndarray, W: np.ndarray, window: Window) -> np.ndarray:
    """dx = col2im(dy W^T): each pixel sums over the windows that hold it."""
    sizes = [axis.size for axis in window.axes]
    dx = empty((len(dy), *sizes, window.channels), dy.dtype)
    for inputs, filters in _groups(window, W):
        dcols = _product(_rows(dy[..., filters]), _matrix(W[..., filters]).T)  # dy W^T
        shape = (len(dy), *sizes, W.shape[-2])
        dx[..., inputs] = col2im(dcols, shape, *_slide(window))
    return dx


def _groups(window: Window, W: np.ndarray):
    """The (channels, filters) slices of each group."""
    c, f = W.shape[-2], W.shape[-1]
    groups = window.channels // c
    for g in range(groups):
        yield slice(g * c, (g + 1) * c), slice(g * f // groups, (g + 1) * f // groups)


def _columns(x: np.ndarray, window: Window) -> np.ndarray:
    return im2col(x, *_slide(window))


def _slide(window: Window) -> tuple:
    """The window as im2col takes it: kernel, stride, padding, dilation."""
    axes = window.axes
    padding = tuple((a.before, a.after) for a in axes)
    return window.kernel, tuple(a.stride for a in axes), padding, tuple(a.dilation for a in axes)


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b, in memory used before."""
    return np.matmul(a, b, out=empty((len(a), b.shape[1]), a.dtype))


def _matrix(W: np.ndarray) -> np.ndarray:
    """W as a matrix (KH KW C, F)."""
    return W.reshape(-1, W.shape[-1])


def _rows(dy: np.ndarray) -> np.ndarray:
    """dy as a matrix, a row per output position."""
    return dy.reshape(int(np.prod(dy.shape[:-1])), dy.shape[-1])

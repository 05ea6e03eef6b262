"""The definitions as loops: slow, obviously right, what every fast path is tested against.

Each function walks a window over its input, position by position, and does what the definition says: nothing here is
clever, nothing is shared with the code that it checks, and everything is computed in float64. At each position the
window reads the input through its taps (its elements):

    output position o reads pixel o * stride - before + tap * dilation, and 0 where that is padding.

Images are (N, H, W, C), signals (N, L, C). The same loops serve both, because a position, a tap and a pixel are tuples
with one number for each spatial axis.

The last part is the view of linear algebra: a convolution is a matrix, sparse and with each weight in it many times.

Source: UC Berkeley CS W182 discussion sheet, sections 2.1 and 2.2, Problems 4 to 6.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

__all__ = [
    "avg_pool",
    "avg_pool_backward",
    "col2im",
    "conv_backward",
    "conv_forward",
    "conv_transpose",
    "convolution_matrix",
    "convolution_matrix_2d",
    "group_norm",
    "im2col",
    "layer_norm",
    "max_pool",
    "max_pool_backward",
    "softmax_loss",
]

Index = tuple[int, ...]  # one number for each spatial axis


# Patches


def im2col(x, kernel, stride=1, padding=0, dilation=1) -> np.ndarray:
    """cols[(n, position), (tap, c)] = x[n, position * stride - before + tap * dilation, c], and 0 in the padding.

    Parameters
    ----------
    x : array, (N, H, W, C) or (N, L, C)
    kernel, stride, dilation : int or one int per spatial axis
    padding : int, one int per axis, a (before, after) pair per axis, "valid" or "same"

    Returns
    -------
    cols : array, (N * OH * OW, KH * KW * C) or (N * OL, K * C)
        One row for each output position: the patch under the kernel.

    Notes
    -----
    UC Berkeley CS W182 discussion sheet, section 2.2.

    Examples
    --------
    >>> x = np.array([1, 2, 3, 4]).reshape(1, 4, 1)
    >>> im2col(x, kernel=3, padding=1)
    array([[0., 1., 2.],
           [1., 2., 3.],
           [2., 3., 4.],
           [3., 4., 0.]])
    """
    x = _batch(x)
    windows = list(_windows(x.shape[1:-1], kernel, stride, padding, dilation))
    taps = _per_axis(kernel, x.ndim - 2, "kernel")
    rows = []
    for image in x:
        for _, reads, _ in windows:
            patch = np.zeros((*taps, x.shape[-1]))
            for tap, pixel in reads:
                patch[tap] = image[pixel]
            rows.append(patch.ravel())
    return np.array(rows).reshape(len(rows), math.prod(taps) * x.shape[-1])


def col2im(cols, input_shape, kernel, stride=1, padding=0, dilation=1) -> np.ndarray:
    """dx[n, pixel, c] = sum of all cols[(n, position), (tap, c)] that im2col read from x[n, pixel, c].

    It scatters: every entry is added back where im2col found it. As a linear map it is the transpose of im2col.

    Parameters
    ----------
    cols : array, (N * OH * OW, KH * KW * C) or (N * OL, K * C)
    input_shape : tuple of int
        The shape of x, its batch axis included.
    kernel, stride, padding, dilation
        As for im2col.

    Returns
    -------
    dx : array of shape `input_shape`

    Examples
    --------
    The pixels of a signal of length 4 are in 1, 2, 2 and 1 windows of length 3:

    >>> col2im(np.ones((2, 3)), (1, 4, 1), kernel=3).ravel()
    array([1., 2., 2., 1.])
    """
    dx = np.zeros(input_shape)
    windows = list(_windows(dx.shape[1:-1], kernel, stride, padding, dilation))
    patches = np.asarray(cols, float).reshape(
        len(dx), len(windows), *_per_axis(kernel, dx.ndim - 2, "kernel"), dx.shape[-1]
    )
    for image, of_image in zip(dx, patches, strict=True):
        for (_, reads, _), patch in zip(windows, of_image, strict=True):
            for tap, pixel in reads:
                image[pixel] += patch[tap]
    return dx


# Convolution


def conv_forward(x, W, b=None, stride=1, padding=0, dilation=1, groups=1) -> np.ndarray:
    """y[n, position, f] = b[f] + sum over tap, c of x[n, position * stride - before + tap * dilation, c] W[tap, c, f].

    Parameters
    ----------
    x : array, (N, H, W, C) or (N, L, C)
    W : array, (KH, KW, C / groups, F) or (K, C / groups, F)
    b : array, (F,), optional
    stride, padding, dilation
        As for im2col.
    groups : int
        Filters f of group g read the channels of group g alone.

    Returns
    -------
    y : array, (N, OH, OW, F) or (N, OL, F)

    Notes
    -----
    Cross-correlation, as in UC Berkeley CS W182 discussion sheet, section 2.1.

    Examples
    --------
    >>> x = np.array([1, 2, 3, 4]).reshape(1, 4, 1)
    >>> w = np.array([1, 0, -1]).reshape(3, 1, 1)
    >>> conv_forward(x, w).ravel()          # 1 - 3 and 2 - 4
    array([-2., -2.])
    """
    x, W = _batch(x), np.asarray(W, float)
    windows = list(_windows(x.shape[1:-1], W.shape[:-2], stride, padding, dilation))
    y = np.zeros((len(x), *_out(windows), W.shape[-1]))
    for image, out in zip(x, y, strict=True):
        for position, reads, _ in windows:
            for tap, pixel in reads:
                for channels, filters in _groups(x, W, groups):
                    out[position][filters] += image[pixel][channels] @ W[tap][:, filters]
    return y if b is None else y + np.asarray(b, float)


def conv_backward(x, W, dy, stride=1, padding=0, dilation=1, groups=1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dx, dW, db: each product x W that forward added to y gives dy W to dx and x dy to dW.

    Parameters
    ----------
    x, W, stride, padding, dilation, groups
        As conv_forward had them.
    dy : array of the shape of y

    Returns
    -------
    dx, dW, db : arrays of the shapes of x, W and b
        dW and db are sums over the batch.

    Notes
    -----
    UC Berkeley CS W182 discussion sheet, Problem 6.

    Examples
    --------
    The sheet's partial derivatives, with w = (2, 3, 5) and delta = (1, 10): dL/dx_1 = w_1 delta_1 = 2,
    dL/dx_2 = w_2 delta_1 + w_1 delta_2 = 23, and so on; dL/dw_1 = delta_1 x_1 + delta_2 x_2 = 21.

    >>> x = np.array([1, 2, 3, 4]).reshape(1, 4, 1)
    >>> w = np.array([2, 3, 5]).reshape(3, 1, 1)
    >>> dx, dw, db = conv_backward(x, w, np.array([1, 10]).reshape(1, 2, 1))
    >>> dx.ravel(), dw.ravel(), db
    (array([ 2., 23., 35., 50.]), array([21., 32., 43.]), array([11.]))
    """
    x, W, dy = _batch(x), np.asarray(W, float), np.asarray(dy, float)
    windows = list(_windows(x.shape[1:-1], W.shape[:-2], stride, padding, dilation))
    dx, dW, db = np.zeros(x.shape), np.zeros(W.shape), np.zeros(W.shape[-1])
    for image, dimage, delta in zip(x, dx, dy, strict=True):
        for position, reads, _ in windows:
            db += delta[position]
            for tap, pixel in reads:
                for channels, filters in _groups(x, W, groups):
                    d = delta[position][filters]
                    dimage[pixel][channels] += W[tap][:, filters] @ d
                    dW[tap][:, filters] += np.outer(image[pixel][channels], d)
    return dx, dW, db


def conv_transpose(x, W, b=None, stride=1, padding=0, output_padding=0, dilation=1, groups=1) -> np.ndarray:
    """y[n, pixel * stride - before + tap * dilation, f] += x[n, pixel, c] W[tap, f, c], at every pixel and tap; + b.

    Parameters
    ----------
    x : array, (N, H, W, C) or (N, L, C)
    W : array, (KH, KW, F / groups, C) or (K, F / groups, C)
        That of the convolution from F to C channels that it transposes.
    b : array, (F,), optional
    stride, output_padding, dilation : int or one int per spatial axis
    padding : int, one int per axis, or a (before, after) pair per axis
        What is cut off y.
    groups : int
        Channels c of group g reach the filters of group g alone.

    Returns
    -------
    y : array, (N, OH, OW, F) or (N, OL, F)

    Examples
    --------
    Each number of x puts its multiple of w down, two places after the one before:

    >>> w = np.array([1, 10, 100]).reshape(3, 1, 1)
    >>> conv_transpose(np.array([1, 2]).reshape(1, 2, 1), w, stride=2).ravel()
    array([  1.,  10., 102.,  20., 200.])
    """
    x, W = _batch(x), np.asarray(W, float)
    rank = x.ndim - 2
    taps, strides, dilations = W.shape[:-2], _per_axis(stride, rank, "stride"), _per_axis(dilation, rank, "dilation")
    extra = (output_padding,) * rank if isinstance(output_padding, int) else tuple(output_padding)
    pads = _pads(padding, x.shape[1:-1], taps, strides, dilations)
    c, f = x.shape[-1] // groups, W.shape[-2]
    sizes = [
        (n - 1) * s + (k - 1) * d + 1 + e
        for n, k, s, d, e in zip(x.shape[1:-1], taps, strides, dilations, extra, strict=True)
    ]
    y = np.zeros((len(x), *sizes, f * groups))
    for pixel in np.ndindex(*x.shape[1:-1]):
        for tap in np.ndindex(*taps):
            place = tuple(i * s + t * d for i, t, s, d in zip(pixel, tap, strides, dilations, strict=True))
            for n, g in np.ndindex(len(x), groups):
                channels, filters = slice(g * c, (g + 1) * c), slice(g * f, (g + 1) * f)
                y[n][place][filters] += W[tap][:, channels] @ x[n][pixel][channels]
    kept = tuple(slice(before, size - after) for size, (before, after) in zip(sizes, pads, strict=True))
    y = y[:, *kept]
    return y if b is None else y + np.asarray(b, float)


# Normalisation within a sample


def group_norm(x, groups, gamma, beta, eps) -> np.ndarray:
    """y = gamma (x - mean) / sqrt(var + eps) + beta: mean and var over a group of channels of one sample.

    Parameters
    ----------
    x : array, (N, ..., C)
    groups : int
        Neighbouring channels, C / groups of them, make a group.
    gamma, beta : array, (C,)
    eps : float

    Returns
    -------
    y : array of the shape of x

    Examples
    --------
    >>> group_norm([[1, 3, 10, 30]], groups=2, gamma=[1, 1, 1, 10], beta=[0, 0, 0, 5], eps=0)
    array([[-1.,  1., -1., 15.]])
    """
    x, gamma, beta = np.asarray(x, float), np.asarray(gamma, float), np.asarray(beta, float)
    y, size = np.zeros(x.shape), x.shape[-1] // groups
    for sample, out in zip(x, y, strict=True):
        for first in range(0, x.shape[-1], size):
            values = [float(v) for c in range(first, first + size) for v in sample[..., c].ravel()]
            mean = sum(values) / len(values)
            var = sum((v - mean) ** 2 for v in values) / len(values)
            for c in range(first, first + size):
                out[..., c] = gamma[c] * (sample[..., c] - mean) / math.sqrt(var + eps) + beta[c]
    return y


def layer_norm(x, gamma, beta, eps) -> np.ndarray:
    """y = gamma (x - mean) / sqrt(var + eps) + beta: mean and var over the channels of one position.

    Parameters
    ----------
    x : array, (N, ..., C)
    gamma, beta : array, (C,)
    eps : float

    Returns
    -------
    y : array of the shape of x

    Examples
    --------
    >>> layer_norm([[1, 3], [10, 30]], gamma=[1, 10], beta=[0, 5], eps=0)
    array([[-1., 15.],
           [-1., 15.]])
    """
    x = np.asarray(x, float)
    return group_norm(x.reshape(-1, x.shape[-1]), 1, gamma, beta, eps).reshape(x.shape)


# Pooling


def max_pool(x, size, stride=None, padding=0, dilation=1, ceil_mode=False) -> np.ndarray:
    """y[n, position, c] = the largest x[n, pixel, c] of the pixels in the window; padding never wins, NaN does.

    Parameters
    ----------
    x : array, (N, H, W, C) or (N, L, C)
    size : int or one int per spatial axis
    stride : int or one int per spatial axis, optional
        The size by default.
    padding, dilation
        As for im2col.
    ceil_mode : bool
        A last window may hang over the end, if it starts inside the input or the padding before it.

    Returns
    -------
    y : array, (N, OH, OW, C) or (N, OL, C)

    Examples
    --------
    >>> max_pool(np.array([1, 3, 2, 5, 4]).reshape(1, 5, 1), 2).ravel()
    array([3., 5.])
    >>> max_pool(np.array([1, 3, 2, 5, 4]).reshape(1, 5, 1), 2, ceil_mode=True).ravel()
    array([3., 5., 4.])
    """
    x = _batch(x)
    windows = _pool_windows(x, size, stride, padding, dilation, ceil_mode)
    y = np.zeros((len(x), *_out(windows), x.shape[-1]))
    for image, out in zip(x, y, strict=True):
        for position, reads, _ in windows:
            for c in range(x.shape[-1]):
                out[position][c] = image[_winner(image, reads, c)][c]
    return y


def max_pool_backward(x, dy, size, stride=None, padding=0, dilation=1, ceil_mode=False) -> np.ndarray:
    """dx: each dy goes to the pixel that was its window's maximum, the first of equals in row-major order.

    Parameters
    ----------
    x, size, stride, padding, dilation, ceil_mode
        As max_pool had them.
    dy : array of the shape of y

    Returns
    -------
    dx : array of the shape of x

    Examples
    --------
    Overlapping windows (1, 3, 3) and (3, 3, 2): both give to the first 3 that they hold.

    >>> x, dy = np.array([1, 3, 3, 2]).reshape(1, 4, 1), np.array([1, 10]).reshape(1, 2, 1)
    >>> max_pool_backward(x, dy, 3, stride=1).ravel()
    array([ 0., 11.,  0.,  0.])
    """
    x, dy = _batch(x), np.asarray(dy, float)
    windows = _pool_windows(x, size, stride, padding, dilation, ceil_mode)
    dx = np.zeros(x.shape)
    for image, dimage, delta in zip(x, dx, dy, strict=True):
        for position, reads, _ in windows:
            for c in range(x.shape[-1]):
                dimage[_winner(image, reads, c)][c] += delta[position][c]
    return dx


def avg_pool(x, size, stride=None, padding=0, dilation=1, ceil_mode=False, count_include_pad=False) -> np.ndarray:
    """y[n, position, c] = sum of the window's pixels / how many they are.

    Parameters
    ----------
    x, size, stride, padding, dilation, ceil_mode
        As for max_pool.
    count_include_pad : bool
        Count padding too; what hangs over the end (ceil_mode) is never counted.

    Returns
    -------
    y : array, (N, OH, OW, C) or (N, OL, C)

    Examples
    --------
    >>> x = np.array([2, 4, 6]).reshape(1, 3, 1)
    >>> avg_pool(x, 2, padding=1).ravel()
    array([2., 5.])
    >>> avg_pool(x, 2, padding=1, count_include_pad=True).ravel()
    array([1., 5.])
    """
    x = _batch(x)
    windows = _pool_windows(x, size, stride, padding, dilation, ceil_mode)
    y = np.zeros((len(x), *_out(windows), x.shape[-1]))
    for image, out in zip(x, y, strict=True):
        for position, reads, area in windows:
            for _, pixel in reads:
                out[position] += image[pixel] / (area if count_include_pad else len(reads))
    return y


def avg_pool_backward(
    x, dy, size, stride=None, padding=0, dilation=1, ceil_mode=False, count_include_pad=False
) -> np.ndarray:
    """dx: every pixel of a window gets its equal share of the window's dy.

    Parameters
    ----------
    x, size, stride, padding, dilation, ceil_mode, count_include_pad
        As avg_pool had them; of x only the shape matters.
    dy : array of the shape of y

    Returns
    -------
    dx : array of the shape of x

    Examples
    --------
    >>> avg_pool_backward(np.zeros((1, 4, 1)), np.array([2, 6]).reshape(1, 2, 1), 2).ravel()
    array([1., 1., 3., 3.])
    """
    x, dy = _batch(x), np.asarray(dy, float)
    windows = _pool_windows(x, size, stride, padding, dilation, ceil_mode)
    dx = np.zeros(x.shape)
    for dimage, delta in zip(dx, dy, strict=True):
        for position, reads, area in windows:
            for _, pixel in reads:
                dimage[pixel] += delta[position] / (area if count_include_pad else len(reads))
    return dx


# Loss


def softmax_loss(scores, labels) -> tuple[float, np.ndarray]:
    """L = the mean over the batch of -log q_y, with q = softmax(z); and its gradient dL/dz = (q - e_y) / N.

    Parameters
    ----------
    scores : array, (N, C)
    labels : array of int, (N,)

    Returns
    -------
    loss : float
    dscores : array, (N, C)

    Examples
    --------
    >>> softmax_loss(np.log([[0.25, 0.75]]), [0])
    (1.3862943611198906, array([[-0.75,  0.75]]))
    """
    scores = np.asarray(scores, float)
    loss, dscores = 0.0, np.zeros(scores.shape)
    for z, y, dz in zip(scores, labels, dscores, strict=True):
        exponentials = [math.exp(v - max(z)) for v in z]
        for c, e in enumerate(exponentials):
            q = e / sum(exponentials)
            dz[c] = (q - (c == y)) / len(scores)  # (q - e_y) / N
            if c == y:
                loss -= math.log(q) / len(scores)  # -log q_y / N
    return loss, dscores


# Convolution as a matrix


def convolution_matrix(w, length, stride=1, padding=0) -> np.ndarray:
    """The matrix M with M x̄ = x̄ ⋆ w, where x̄ is the signal with its padding in place.

    Row o holds w, moved o * stride to the right: y_o = sum over tap of w_tap x̄_(o * stride + tap).

    Parameters
    ----------
    w : array, (K,)
    length : int
        Of the signal x, without its padding.
    stride : int
    padding : int, a (before, after) pair in a list, "valid" or "same"

    Returns
    -------
    M : array, (OL, before + length + after)
        Of w's dtype. `M[:, before : before + length]` acts on x itself: padding is 0, so its columns add nothing.

    Notes
    -----
    UC Berkeley CS W182 discussion sheet, Problem 5 (w in R^3, x in R^4 padded by 1: a 4 x 6 matrix).

    Examples
    --------
    >>> M = convolution_matrix([1, 2, 3], length=4, padding=1)
    >>> M
    array([[1, 2, 3, 0, 0, 0],
           [0, 1, 2, 3, 0, 0],
           [0, 0, 1, 2, 3, 0],
           [0, 0, 0, 1, 2, 3]])
    >>> x = np.array([10, 20, 30, 40])
    >>> M @ np.pad(x, 1), M[:, 1:5] @ x
    (array([ 80, 140, 200, 110]), array([ 80, 140, 200, 110]))

    Most of it is zeros, and the same three weights stand in every row. The gradient goes back through the transpose,
    dL/dx = Mᵀ δ: what pixel i gave to y_o through a weight comes back from δ_o through the same weight.

    >>> M[:, 1:5].T @ np.array([1, 0, 0, 0])
    array([2, 3, 0, 0])
    """
    return _matrix(w, (length,), stride, padding)


def convolution_matrix_2d(w, size, stride=1, padding=0) -> np.ndarray:
    """The matrix M with M x̄ = x̄ ⋆ w, where x̄ is the padded image as one long vector, row after row.

    Parameters
    ----------
    w : array, (KH, KW)
    size : tuple of int
        (H, W) of the image x, without its padding.
    stride : int or one int per axis
    padding : int, one int per axis, a (before, after) pair per axis, "valid" or "same"

    Returns
    -------
    M : array, (OH * OW, PH * PW)
        Of w's dtype; PH and PW are the image's height and width with padding.
        `M.reshape(-1, PH, PW)[:, top : top + H, left : left + W].reshape(-1, H * W)` acts on x itself.

    Notes
    -----
    The two-dimensional form of UC Berkeley CS W182 discussion sheet, Problem 5.

    Examples
    --------
    A 2 x 2 kernel on a 3 x 3 image: each of the four positions is a row, with 4 of its 9 entries in use.

    >>> w = np.array([[1, 2], [3, 4]])
    >>> M = convolution_matrix_2d(w, (3, 3))
    >>> M
    array([[1, 2, 0, 3, 4, 0, 0, 0, 0],
           [0, 1, 2, 0, 3, 4, 0, 0, 0],
           [0, 0, 0, 1, 2, 0, 3, 4, 0],
           [0, 0, 0, 0, 1, 2, 0, 3, 4]])
    >>> x = np.arange(9).reshape(3, 3)
    >>> (M @ x.ravel()).reshape(2, 2)
    array([[27, 37],
           [57, 67]])

    The transpose carries the gradient: the pixel in the middle is in all four windows, each time under another weight.

    >>> (M.T @ np.ones(4)).reshape(3, 3)
    array([[ 1.,  3.,  2.],
           [ 4., 10.,  6.],
           [ 3.,  7.,  4.]])
    """
    return _matrix(w, tuple(size), stride, padding)


def _matrix(w, sizes, stride, padding) -> np.ndarray:
    """The convolution matrix on as many axes as w has."""
    w = np.asarray(w)
    if w.ndim != len(sizes) or w.size == 0:
        raise ValueError(f"a convolution matrix needs a kernel with {len(sizes)} axes; got shape {w.shape}")
    ones = (1,) * w.ndim
    pads = _pads(padding, sizes, w.shape, _per_axis(stride, w.ndim, "stride"), ones)
    padded = [before + size + after for size, (before, after) in zip(sizes, pads, strict=True)]
    windows = list(_windows(padded, w.shape, stride))
    M = np.zeros((*_out(windows), *padded), w.dtype)
    for position, reads, _ in windows:
        for tap, pixel in reads:
            M[(*position, *pixel)] = w[tap]
    return M.reshape(len(windows), math.prod(padded))


# The walk of a window


def _windows(
    sizes: Sequence[int], kernel, stride: Any = 1, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Iterator[tuple[Index, list[tuple[Index, Index]], int]]:
    """Each position of a window, with what it reads: (position, [(tap, pixel), ...], area).

    Taps that meet padding are left out of the list. The area is the number of taps that meet a pixel or padding.
    """
    rank = len(sizes)
    if rank not in (1, 2):
        raise ValueError(f"a window slides over images (H, W) or signals (L,); got sizes {tuple(sizes)}")
    kernels = _per_axis(kernel, rank, "kernel")
    strides = _per_axis(stride, rank, "stride")
    dilations = _per_axis(dilation, rank, "dilation")
    pads = _pads(padding, sizes, kernels, strides, dilations)
    axes = []
    for size, k, s, d, (before, after) in zip(sizes, kernels, strides, dilations, pads, strict=True):
        starts = _starts(size, d * (k - 1), s, before, after, ceil_mode)
        if not starts:
            raise ValueError(f"a kernel of {k} with dilation {d} does not fit in {size} padded by {(before, after)}")
        axes.append([_reads(start, size, k, d, after) for start in starts])
    for position in itertools.product(*(range(len(axis)) for axis in axes)):
        per_axis = [axis[o] for axis, o in zip(axes, position, strict=True)]
        pairs = itertools.product(*(reads for reads, _ in per_axis))
        reads = [(tuple(tap for tap, _ in pair), tuple(pixel for _, pixel in pair)) for pair in pairs]
        yield position, reads, math.prod(area for _, area in per_axis)


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


def _pads(padding, sizes, kernels, strides, dilations) -> list[tuple[int, int]]:
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


def _per_axis(value, rank: int, name: str) -> Index:
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


def _out(windows) -> Index:
    """The output's size: one more than the last position."""
    return tuple(o + 1 for o in windows[-1][0])


def _pool_windows(x, size, stride, padding, dilation, ceil_mode) -> list:
    """The windows of a pool: each must hold a pixel."""
    windows = list(_windows(x.shape[1:-1], size, size if stride is None else stride, padding, dilation, ceil_mode))
    if not all(reads for _, reads, _ in windows):
        raise ValueError("every window of a pool must hold a pixel; some hold nothing but padding")
    return windows


def _winner(image: np.ndarray, reads: list[tuple[Index, Index]], c: int) -> Index:
    """The pixel with the largest value in channel c: the first of equals, the first NaN if there is one."""
    best = reads[0][1]
    for _, pixel in reads:
        value, record = image[pixel][c], image[best][c]
        if value > record or (np.isnan(value) and not np.isnan(record)):
            best = pixel
    return best


def _groups(x: np.ndarray, W: np.ndarray, groups: int) -> list[tuple[slice, slice]]:
    """The channels that each group of filters reads, and those filters."""
    c, f = x.shape[-1] // groups, W.shape[-1] // groups
    if (W.shape[-2], groups * c, groups * f) != (c, x.shape[-1], W.shape[-1]):
        raise ValueError(f"x with {x.shape[-1]} channels and W of shape {W.shape} do not fit {groups} groups")
    return [(slice(g * c, (g + 1) * c), slice(g * f, (g + 1) * f)) for g in range(groups)]


def _batch(x) -> np.ndarray:
    """Give x as a float64 batch of images or signals."""
    x = np.asarray(x, float)
    if x.ndim not in (3, 4):
        raise ValueError(f"reference needs images (N, H, W, C) or signals (N, L, C); got shape {x.shape}")
    return x

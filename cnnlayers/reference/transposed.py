"""Transposed convolution: each pixel of x puts its multiple of the kernel down on y.

Source: M. D. Zeiler et al., "Deconvolutional Networks", 2010; UC Berkeley CS W182 discussion sheet, Problem 6.
"""

import itertools

import numpy as np

from .windows import Index, batch, pad_pairs, per_axis


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
    x, W = batch(x), np.asarray(W, float)
    sizes, steps = _spread(x.shape[1:-1], W.shape[:-2], stride, padding, output_padding, dilation)
    y = np.zeros((len(x), *sizes, W.shape[-2] * groups))
    for image, out in zip(x, y, strict=True):
        for pixel, tap, place in steps:
            for channels, filters in _groups(W, groups):
                out[place][filters] += W[tap][:, channels] @ image[pixel][channels]  # y += x Wᵀ
    return y if b is None else y + np.asarray(b, float)


def conv_transpose_backward(
    x, W, dy, stride=1, padding=0, output_padding=0, dilation=1, groups=1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dx, dW, db: each product x W that forward added to y gives dy W to dx and x dy to dW.

    Parameters
    ----------
    x, W, stride, padding, output_padding, dilation, groups
        As conv_transpose had them.
    dy : array of the shape of y

    Returns
    -------
    dx, dW, db : arrays of the shapes of x, W and b
        dW and db are sums over the batch.

    Examples
    --------
    The kernel is put down twice, on places 0 to 2 and 2 to 4, so each place that it met gives back by the same weight:

    >>> w, x = np.array([1, 10, 100]).reshape(3, 1, 1), np.array([1, 2]).reshape(1, 2, 1)
    >>> dx, dw, db = conv_transpose_backward(x, w, np.array([1, 2, 3, 4, 5]).reshape(1, 5, 1), stride=2)
    >>> dx.ravel(), dw.ravel(), db  # 1 + 20 + 300 and 3 + 40 + 500; 1 · 1 + 2 · 3, and so on
    (array([321., 543.]), array([ 7., 10., 13.]), array([15.]))
    """
    x, W, dy = batch(x), np.asarray(W, float), np.asarray(dy, float)
    _, steps = _spread(x.shape[1:-1], W.shape[:-2], stride, padding, output_padding, dilation)
    dx, dW = np.zeros(x.shape), np.zeros(W.shape)
    db = dy.sum(axis=tuple(range(dy.ndim - 1)))  # dL/db = sum of δ over all positions
    for image, dimage, delta in zip(x, dx, dy, strict=True):
        for pixel, tap, place in steps:
            for channels, filters in _groups(W, groups):
                d = delta[place][filters]
                dW[tap][:, channels] += np.outer(d, image[pixel][channels])  # dL/dW[tap] = sum of δᵀ x
                dimage[pixel][channels] += W[tap][:, channels].T @ d  # dL/dx = sum of δ W
    return dx, dW, db


def _spread(
    sizes, kernel, stride, padding, output_padding, dilation
) -> tuple[list[int], list[tuple[Index, Index, Index]]]:
    """The output's sizes, and what is added where: each (pixel, tap, place) whose place is not cut off."""
    rank = len(sizes)
    strides, dilations = per_axis(stride, rank, "stride"), per_axis(dilation, rank, "dilation")
    extra = (output_padding,) * rank if isinstance(output_padding, int) else tuple(output_padding)
    pads = pad_pairs(padding, sizes, kernel, strides, dilations)
    axes = list(zip(sizes, kernel, strides, dilations, extra, pads, strict=True))
    out = [(n - 1) * s + (k - 1) * d + 1 + e - before - after for n, k, s, d, e, (before, after) in axes]
    steps = []
    for pixel, tap in itertools.product(np.ndindex(*sizes), np.ndindex(*kernel)):
        place = tuple(
            i * s - before + t * d for i, t, (_, _, s, d, _, (before, _)) in zip(pixel, tap, axes, strict=True)
        )
        if all(0 <= at < size for at, size in zip(place, out, strict=True)):
            steps.append((pixel, tap, place))
    return out, steps


def _groups(W: np.ndarray, groups: int) -> list[tuple[slice, slice]]:
    """The channels of each group, and the filters that they reach."""
    f, c = W.shape[-2], W.shape[-1] // groups
    return [(slice(g * c, (g + 1) * c), slice(g * f, (g + 1) * f)) for g in range(groups)]

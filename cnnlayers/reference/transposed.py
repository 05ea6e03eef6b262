"""Transposed convolution: each pixel puts its multiple of the kernel down.

Source: M. D. Zeiler et al., "Deconvolutional Networks", 2010; UC Berkeley CS W182 discussion sheet, Problem 6.
"""

import numpy as np

from .windows import batch, pad_pairs, per_axis


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
    rank = x.ndim - 2
    taps, strides, dilations = W.shape[:-2], per_axis(stride, rank, "stride"), per_axis(dilation, rank, "dilation")
    extra = (output_padding,) * rank if isinstance(output_padding, int) else tuple(output_padding)
    pads = pad_pairs(padding, x.shape[1:-1], taps, strides, dilations)
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

"""Convolution: at each position, the patch under the kernel times the weights.

Source: UC Berkeley CS W182 discussion sheet, section 2.1 and Problem 6.
"""

import numpy as np

from .windows import batch, out_sizes, windows


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
    x, W = batch(x), np.asarray(W, float)
    places = list(windows(x.shape[1:-1], W.shape[:-2], stride, padding, dilation))
    y = np.zeros((len(x), *out_sizes(places), W.shape[-1]))
    for image, out in zip(x, y, strict=True):
        for position, reads, _ in places:
            for tap, pixel in reads:
                for channels, filters in _groups(x, W, groups):
                    out[position][filters] += image[pixel][channels] @ W[tap][:, filters]  # sum over tap of x W
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
    x, W, dy = batch(x), np.asarray(W, float), np.asarray(dy, float)
    places = list(windows(x.shape[1:-1], W.shape[:-2], stride, padding, dilation))
    dx, dW, db = np.zeros(x.shape), np.zeros(W.shape), np.zeros(W.shape[-1])
    for image, dimage, delta in zip(x, dx, dy, strict=True):
        for position, reads, _ in places:
            db += delta[position]  # dL/db = sum of δ
            for tap, pixel in reads:
                for channels, filters in _groups(x, W, groups):
                    d = delta[position][filters]
                    dimage[pixel][channels] += W[tap][:, filters] @ d  # dL/dx = sum of δ Wᵀ over all that read x
                    dW[tap][:, filters] += np.outer(image[pixel][channels], d)  # dL/dW[tap] = sum of xᵀ δ
    return dx, dW, db


def _groups(x: np.ndarray, W: np.ndarray, groups: int) -> list[tuple[slice, slice]]:
    """The channels that each group of filters reads, and those filters."""
    c, f = x.shape[-1] // groups, W.shape[-1] // groups
    if (W.shape[-2], groups * c, groups * f) != (c, x.shape[-1], W.shape[-1]):
        raise ValueError(f"x with {x.shape[-1]} channels and W of shape {W.shape} do not fit {groups} groups")
    return [(slice(g * c, (g + 1) * c), slice(g * f, (g + 1) * f)) for g in range(groups)]

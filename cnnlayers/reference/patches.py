"""im2col and col2im: the patches under a window as rows of a matrix, and back.

Source: UC Berkeley CS W182 discussion sheet, section 2.2.
"""

import math

import numpy as np

from .windows import batch, per_axis, windows


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
    x = batch(x)
    places = list(windows(x.shape[1:-1], kernel, stride, padding, dilation))
    taps = per_axis(kernel, x.ndim - 2, "kernel")
    rows = []
    for image in x:
        for _, reads, _ in places:
            patch = np.zeros((*taps, x.shape[-1]))
            for tap, pixel in reads:
                patch[tap] = image[pixel]  # cols[position, tap] = x[pixel]
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
    places = list(windows(dx.shape[1:-1], kernel, stride, padding, dilation))
    patches = np.asarray(cols, float).reshape(
        len(dx), len(places), *per_axis(kernel, dx.ndim - 2, "kernel"), dx.shape[-1]
    )
    for image, of_image in zip(dx, patches, strict=True):
        for (_, reads, _), patch in zip(places, of_image, strict=True):
            for tap, pixel in reads:
                image[pixel] += patch[tap]  # dx[pixel] += cols[position, tap]
    return dx

"""Pooling: one number for each window and channel."""

import numpy as np

from .windows import Index, batch, out_sizes, pool_windows


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
    x = batch(x)
    places = pool_windows(x.shape[1:-1], size, stride, padding, dilation, ceil_mode)
    y = np.zeros((len(x), *out_sizes(places), x.shape[-1]))
    for image, out in zip(x, y, strict=True):
        for position, reads, _ in places:
            for c in range(x.shape[-1]):
                out[position][c] = image[_winner(image, reads, c)][c]  # the maximum of the window
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
    x, dy = batch(x), np.asarray(dy, float)
    places = pool_windows(x.shape[1:-1], size, stride, padding, dilation, ceil_mode)
    dx = np.zeros(x.shape)
    for image, dimage, delta in zip(x, dx, dy, strict=True):
        for position, reads, _ in places:
            for c in range(x.shape[-1]):
                dimage[_winner(image, reads, c)][c] += delta[position][c]  # dL/dx = sum of δ where x won
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
    x = batch(x)
    places = pool_windows(x.shape[1:-1], size, stride, padding, dilation, ceil_mode)
    y = np.zeros((len(x), *out_sizes(places), x.shape[-1]))
    for image, out in zip(x, y, strict=True):
        for position, reads, area in places:
            for _, pixel in reads:
                out[position] += image[pixel] / (area if count_include_pad else len(reads))  # sum of x / count
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
    x, dy = batch(x), np.asarray(dy, float)
    places = pool_windows(x.shape[1:-1], size, stride, padding, dilation, ceil_mode)
    dx = np.zeros(x.shape)
    for dimage, delta in zip(dx, dy, strict=True):
        for position, reads, area in places:
            for _, pixel in reads:
                dimage[pixel] += delta[position] / (area if count_include_pad else len(reads))  # sum of δ / count
    return dx


def _winner(image: np.ndarray, reads: list[tuple[Index, Index]], c: int) -> Index:
    """The pixel with the largest value in channel c: the first of equals, the first NaN if there is one."""
    best = reads[0][1]
    for _, pixel in reads:
        value, record = image[pixel][c], image[best][c]
        if value > record or (np.isnan(value) and not np.isnan(record)):
            best = pixel
    return best

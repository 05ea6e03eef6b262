"""A convolution is a matrix: sparse, and with each weight in it many times.

Source: UC Berkeley CS W182 discussion sheet, section 2.2 and Problem 5.
"""

import math

import numpy as np

from .windows import out_sizes, pad_pairs, per_axis, windows


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
    pads = pad_pairs(padding, sizes, w.shape, per_axis(stride, w.ndim, "stride"), ones)
    padded = [before + size + after for size, (before, after) in zip(sizes, pads, strict=True)]
    places = list(windows(padded, w.shape, stride))
    M = np.zeros((*out_sizes(places), *padded), w.dtype)
    for position, reads, _ in places:
        for tap, pixel in reads:
            M[(*position, *pixel)] = w[tap]  # y_position = sum of w_tap x̄_pixel
    return M.reshape(len(places), math.prod(padded))

"""im2col and col2im: convolution as a matrix product.

Design

A. im2col lays the patch under each output position out as one row, so that a convolution is `cols @ W`. The rows are
   the positions (n, oh, ow), the columns the kernel elements (kh, kw, c): the order of W's first three axes.
B. The matrix is filled through a six-axis view `cols[n, oh, ow, kh, kw, c]` of it. No row or column number is computed
   by hand, so none can be wrong for a kernel that is not square.
C. Padding is never stored: a tap outside the image writes zeros.
D. col2im is the transpose of im2col as a linear map: pixel (i, j) is the sum of all entries that im2col copied it to.
   It gathers: each pixel looks for the windows that hold it, and is written once.
E. A signal (N, L, C) is an image one pixel high. Both loops are written once, for images.

Where the loops read `i = oh * sh - top + kh * dh`: output row oh, through kernel row kh, reads image row i.
"""

import numpy as np

from . import _kernels, geometry
from .arrays import as_array
from .checks import as_shape, check_bytes


cdef extern from *:
    """
    #if defined(__clang__)
    #define CNNLAYERS_COMPILER "Clang " __clang_version__
    #elif defined(__GNUC__)
    #define CNNLAYERS_COMPILER "GCC " __VERSION__
    #else
    #define CNNLAYERS_COMPILER "unknown"
    #endif
    #ifndef CNNLAYERS_DEBUG
    #define CNNLAYERS_DEBUG 0
    #endif
    """
    const char *COMPILER "CNNLAYERS_COMPILER"
    int DEBUG "CNNLAYERS_DEBUG"


ctypedef fused real:
    float
    double


cdef struct Slide:
    Py_ssize_t sh, sw  # stride
    Py_ssize_t dh, dw  # dilation
    Py_ssize_t top, left  # padding before


def im2col(x, kernel, stride=1, padding=0, dilation=1):
    """cols[(n, oh, ow), (kh, kw, c)] = x[n, oh sh - top + kh dh, ow sw - left + kw dw, c], and 0 in the padding.

    Parameters
    ----------
    x : array, (N, H, W, C) or (N, L, C)
        float32 and float64 are kept; other real numbers are cast to the smaller of the two that holds them.
    kernel, stride, dilation : int or one int per spatial axis
    padding : int, one int per axis, a (before, after) pair per axis, "valid" or "same"

    Returns
    -------
    cols : array, (N * OH * OW, KH * KW * C) or (N * OL, K * C)
        A row per output position, its entries in the order of the first axes of a convolution's W.

    Raises
    ------
    ValueError, TypeError
        If x is neither images nor signals, the kernel does not fit, or the matrix could not exist in memory.

    Notes
    -----
    UC Berkeley CS W182 discussion sheet, section 2.2.

    >>> import numpy as np
    >>> im2col(np.arange(1.0, 5.0).reshape(1, 4, 1), kernel=3)
    array([[1., 2., 3.],
           [2., 3., 4.]])
    """
    x = _real(x, "im2col")
    window = geometry.window(x.shape[1:], kernel, stride, padding, dilation, who="im2col")
    cols = _columns(x.shape[0], window, x.dtype, "im2col")
    if cols.size:
        _im2col(_as_image(x), cols, _slide(window))
    n, oh, ow, kh, kw, c = cols.shape
    return cols.reshape(n * oh * ow, kh * kw * c)


def col2im(cols, input_shape, kernel, stride=1, padding=0, dilation=1):
    """dx[n, i, j, c] = sum of all cols[(n, oh, ow), (kh, kw, c)] that im2col copied x[n, i, j, c] to.

    The transpose of im2col: sum(im2col(x) * cols) == sum(x * col2im(cols)).

    Parameters
    ----------
    cols : array, (N * OH * OW, KH * KW * C) or (N * OL, K * C)
    input_shape : tuple of int
        The shape of x, its batch axis included.
    kernel, stride, padding, dilation
        As im2col had them.

    Returns
    -------
    dx : array of shape `input_shape`

    Raises
    ------
    ValueError, TypeError
        If cols does not have the shape that im2col gives.

    >>> import numpy as np
    >>> col2im(np.ones((2, 3)), (1, 4, 1), kernel=3).ravel()
    array([1., 2., 2., 1.])
    """
    cols = _real(cols, "col2im")
    n, *rest = as_shape("col2im", input_shape)
    window = geometry.window(rest, kernel, stride, padding, dilation, who="col2im")
    out = window.as_image().out
    image = window.as_image()
    taps = image.kernel
    expected = (n * out[0] * out[1], taps[0] * taps[1] * window.channels)
    if cols.shape != expected:
        raise ValueError(
            f"col2im: for input shape {(n, *rest)} cols must have shape {expected}; got shape {cols.shape}"
        )
    sizes = [axis.size for axis in image.axes]
    check_bytes("col2im", "an array", (n, *rest), cols.itemsize)
    dx = _kernels.empty((n, *sizes, window.channels), cols.dtype)
    view = cols.reshape(n, *out, *taps, window.channels)
    if dx.size:
        _col2im(view, dx, _slide(window))
    return dx.reshape(n, *rest)


def _im2col(const real[:, :, :, ::1] x, real[:, :, :, :, :, ::1] cols, Slide s):
    cdef Py_ssize_t height = x.shape[1], width = x.shape[2], channels = x.shape[3]
    cdef Py_ssize_t n, oh, ow, kh, kw, c, i, j
    with nogil:
        for n in range(cols.shape[0]):
            for oh in range(cols.shape[1]):
                for ow in range(cols.shape[2]):
                    for kh in range(cols.shape[3]):
                        i = oh * s.sh - s.top + kh * s.dh
                        for kw in range(cols.shape[4]):
                            j = ow * s.sw - s.left + kw * s.dw
                            if 0 <= i < height and 0 <= j < width:
                                for c in range(channels):
                                    cols[n, oh, ow, kh, kw, c] = x[n, i, j, c]
                            else:
                                for c in range(channels):
                                    cols[n, oh, ow, kh, kw, c] = 0


def _col2im(const real[:, :, :, :, :, ::1] cols, real[:, :, :, ::1] dx, Slide s):
    cdef Py_ssize_t channels = dx.shape[3], rows = cols.shape[1], columns = cols.shape[2]
    cdef Py_ssize_t n, i, j, kh, kw, oh, ow, c
    with nogil:
        for n in range(dx.shape[0]):
            for i in range(dx.shape[1]):
                for j in range(dx.shape[2]):
                    for c in range(channels):
                        dx[n, i, j, c] = 0
                    for kh in range(cols.shape[3]):
                        oh = i + s.top - kh * s.dh  # oh * sh, if an output row reads image row i by kernel row kh
                        if oh < 0 or oh % s.sh != 0 or oh // s.sh >= rows:
                            continue
                        oh = oh // s.sh
                        for kw in range(cols.shape[4]):
                            ow = j + s.left - kw * s.dw
                            if ow < 0 or ow % s.sw != 0 or ow // s.sw >= columns:
                                continue
                            ow = ow // s.sw
                            for c in range(channels):
                                dx[n, i, j, c] += cols[n, oh, ow, kh, kw, c]


cdef Slide _slide(window):
    """The numbers of the loops, from the window that geometry has checked."""
    vertical, horizontal = window.as_image().axes
    cdef Slide s
    s.sh, s.sw = vertical.stride, horizontal.stride
    s.dh, s.dw = vertical.dilation, horizontal.dilation
    s.top, s.left = vertical.before, horizontal.before
    return s


def _columns(n, window, dtype, who):
    """The column matrix, empty, as the six-axis view that the loop fills."""
    image = window.as_image()
    shape = (n, *image.out, *image.kernel, window.channels)
    check_bytes(who, "a column matrix", shape, dtype.itemsize)
    return _kernels.empty(shape, dtype)


def _as_image(x):
    """Images as they are; signals as images one pixel high."""
    return x if x.ndim == 4 else x[:, np.newaxis]


def _real(x, who):
    """x as a contiguous float32 or float64 array."""
    x = as_array(x, who)
    dtype = np.result_type(x.dtype, np.float32)
    return np.require(x, np.float64 if dtype.itemsize > 4 else np.float32, ["C", "A"])


def build_info():
    """How this module was built: compiler, bounds-checked or not."""
    return {"compiler": COMPILER.decode(), "debug": bool(DEBUG)}

# Pools of windows, long or not, and of whole images: kernels/c/pool.h, line_pool.h and global_pool.h.

__all__ += [
    "global_avg_pool", "global_avg_pool_input_grad", "global_max_pool", "global_max_pool_input_grad",
    "line_max_pool", "line_max_pool_input_grad", "line_sum_pool", "line_sum_pool_input_grad",
]

cdef extern from "kernels/c/table.h" nogil:
    ctypedef struct cnn_pool:
        Py_ssize_t n, h, w, c, oh, ow
        Py_ssize_t kh, kw, sh, sw, dh, dw
        Py_ssize_t top, left
        int relu
        int threads

    ctypedef struct PoolKernels "cnn_kernels":
        int (*max_pool)(const cnn_pool *, const void *x, void *y, unsigned char *winner) noexcept nogil
        int (*max_pool_input_grad)(
            const cnn_pool *, const void *dy, const unsigned char *winner, void *dx) noexcept nogil
        int (*avg_pool)(const cnn_pool *, const void *x, const void *shares, void *y) noexcept nogil
        int (*avg_pool_input_grad)(const cnn_pool *, const void *dy, const void *shares, void *dx) noexcept nogil
        int (*line_max_pool)(const cnn_pool *, const void *x, void *y, Py_ssize_t *winner) noexcept nogil
        int (*line_max_pool_input_grad)(
            const cnn_pool *, const void *dy, const Py_ssize_t *winner, void *dx) noexcept nogil
        int (*line_sum_pool)(const cnn_pool *, const void *x, void *y) noexcept nogil
        int (*line_sum_pool_input_grad)(const cnn_pool *, const void *dy, void *dx) noexcept nogil
        int (*global_avg_pool)(
            Py_ssize_t n, Py_ssize_t positions, Py_ssize_t c, const void *x, void *y, int threads) noexcept nogil
        int (*global_avg_pool_input_grad)(
            Py_ssize_t n, Py_ssize_t positions, Py_ssize_t c, const void *dy, void *dx, int threads) noexcept nogil
        int (*global_max_pool)(
            Py_ssize_t n, Py_ssize_t positions, Py_ssize_t c, const void *x, void *y, Py_ssize_t *winner,
            int threads) noexcept nogil
        int (*global_max_pool_input_grad)(
            Py_ssize_t n, Py_ssize_t positions, Py_ssize_t c, const void *dy, const Py_ssize_t *winner, void *dx,
            int threads) noexcept nogil


cdef inline const PoolKernels *_pool_kernels(bint wide) noexcept nogil:
    return <const PoolKernels *>_tables[wide]


cdef cnn_pool _pool_numbers(object window, Py_ssize_t n) except *:
    """The numbers of a pool."""
    vertical, horizontal = window.as_image().axes
    cdef cnn_pool s
    s.n, s.c = n, window.channels
    s.h, s.w, s.oh, s.ow = vertical.size, horizontal.size, vertical.out, horizontal.out
    s.kh, s.kw, s.sh, s.sw = vertical.kernel, horizontal.kernel, vertical.stride, horizontal.stride
    s.dh, s.dw, s.top, s.left = vertical.dilation, horizontal.dilation, vertical.before, horizontal.before
    s.relu, s.threads = 0, threads.get_num_threads()
    return s


cdef enum:
    MAX_BYTE = 255

_POSITION = np.dtype(np.intp)


cdef int _nameable(const cnn_pool *s) except -1:
    if s.kh * s.kw > MAX_BYTE:
        raise ValueError(f"a window of {s.kh}x{s.kw} has more than {MAX_BYTE} elements, the most that a byte can name")
    return 0


def max_pool(x, window, bint relu=False, bint named=True):
    """The maximum of each window, and which kernel element it came through, a byte each: kernels/c/pool.h.

    With `relu`, the larger of that and 0; it came through none (255) where it is not above 0. Unless it shall be
    `named`, there is None in the place of the elements.
    """
    cdef cnn_pool s = _pool_numbers(window, len(x))
    s.relu = relu
    cdef bint wide = _double(x)
    _nameable(&s)
    y = empty((s.n, *window.out, s.c), x.dtype)
    winner = empty(y.shape, _BYTE) if named else None
    cdef const void *px = _data(x, s.n * s.h * s.w * s.c, wide, False, "x")
    cdef void *py = _data(y, s.n * s.oh * s.ow * s.c, wide, True, "y")
    cdef unsigned char *pwinner = NULL
    if named:
        pwinner = <unsigned char *>_numbers(winner, s.n * s.oh * s.ow * s.c, c"B", True, "winner")
    cdef int failed
    with nogil:
        failed = _pool_kernels(wide).max_pool(&s, px, py, pwinner)
    _check(failed)
    return y, winner


def max_pool_input_grad(dy, winner, window):
    """Each dy goes to the pixel that won its window."""
    cdef cnn_pool s = _pool_numbers(window, len(dy))
    cdef bint wide = _double(dy)
    _nameable(&s)
    dx = empty((s.n, *window.sizes, s.c), dy.dtype)
    cdef const void *pdy = _data(dy, s.n * s.oh * s.ow * s.c, wide, False, "dy")
    cdef const void *pwinner = _numbers(winner, s.n * s.oh * s.ow * s.c, c"B", False, "winner")
    cdef void *pdx = _data(dx, s.n * s.h * s.w * s.c, wide, True, "dx")
    cdef int failed
    with nogil:
        failed = _pool_kernels(wide).max_pool_input_grad(&s, pdy, <const unsigned char *>pwinner, pdx)
    _check(failed)
    return dx


def avg_pool(x, window, shares):
    """The sum of each window times its share, one number per output position."""
    cdef cnn_pool s = _pool_numbers(window, len(x))
    cdef bint wide = _double(x)
    y = empty((s.n, *window.out, s.c), x.dtype)
    cdef const void *px = _data(x, s.n * s.h * s.w * s.c, wide, False, "x")
    cdef const void *pshares = _data(shares, s.oh * s.ow, wide, False, "shares")
    cdef void *py = _data(y, s.n * s.oh * s.ow * s.c, wide, True, "y")
    cdef int failed
    with nogil:
        failed = _pool_kernels(wide).avg_pool(&s, px, pshares, py)
    _check(failed)
    return y


def avg_pool_input_grad(dy, window, shares):
    """Each pixel gets dy times its share from every window that holds it."""
    cdef cnn_pool s = _pool_numbers(window, len(dy))
    cdef bint wide = _double(dy)
    dx = empty((s.n, *window.sizes, s.c), dy.dtype)
    cdef const void *pdy = _data(dy, s.n * s.oh * s.ow * s.c, wide, False, "dy")
    cdef const void *pshares = _data(shares, s.oh * s.ow, wide, False, "shares")
    cdef void *pdx = _data(dx, s.n * s.h * s.w * s.c, wide, True, "dx")
    cdef int failed
    with nogil:
        failed = _pool_kernels(wide).avg_pool_input_grad(&s, pdy, pshares, pdx)
    _check(failed)
    return dx


cdef cnn_pool _line_numbers(object axis, object lines) except *:
    """The numbers of a pool along one axis, for lines (n, pixels, c)."""
    cdef cnn_pool s
    n, _, c = lines.shape
    s.n, s.c = n, c
    s.h, s.oh, s.kh, s.sh, s.dh, s.top = 1, 1, 1, 1, 1, 0
    s.w, s.ow, s.kw, s.sw, s.dw, s.left = axis.size, axis.out, axis.kernel, axis.stride, axis.dilation, axis.before
    s.relu, s.threads = 0, threads.get_num_threads()
    return s


def line_max_pool(x, axis, bint relu=False):
    """The maximum of each window of lines x (n, size, c), and the pixel that it was: kernels/c/line_pool.h.

    With `relu`, the larger of that and 0; it was none (-1) where it is not above 0.
    """
    cdef cnn_pool s = _line_numbers(axis, x)
    s.relu = relu
    cdef bint wide = _double(x)
    y = empty((s.n, s.ow, s.c), x.dtype)
    winner = empty(y.shape, _POSITION)
    cdef const void *px = _data(x, s.n * s.w * s.c, wide, False, "x")
    cdef void *py = _data(y, s.n * s.ow * s.c, wide, True, "y")
    cdef Py_ssize_t *pwinner = <Py_ssize_t *>_numbers(winner, s.n * s.ow * s.c, c"n", True, "winner")
    cdef int failed
    with nogil:
        failed = _pool_kernels(wide).line_max_pool(&s, px, py, pwinner)
    _check(failed)
    return y, winner


def line_max_pool_input_grad(dy, winner, axis):
    """Each dy goes to the pixel that won its window."""
    cdef cnn_pool s = _line_numbers(axis, dy)
    cdef bint wide = _double(dy)
    dx = empty((s.n, s.w, s.c), dy.dtype)
    cdef const void *pdy = _data(dy, s.n * s.ow * s.c, wide, False, "dy")
    cdef const Py_ssize_t *pwinner = <Py_ssize_t *>_numbers(winner, s.n * s.ow * s.c, c"n", False, "winner")
    cdef void *pdx = _data(dx, s.n * s.w * s.c, wide, True, "dx")
    cdef int failed
    with nogil:
        failed = _pool_kernels(wide).line_max_pool_input_grad(&s, pdy, pwinner, pdx)
    _check(failed)
    return dx


def line_sum_pool(x, axis):
    """The sum of each window of lines x (n, size, c)."""
    cdef cnn_pool s = _line_numbers(axis, x)
    cdef bint wide = _double(x)
    y = empty((s.n, s.ow, s.c), x.dtype)
    cdef const void *px = _data(x, s.n * s.w * s.c, wide, False, "x")
    cdef void *py = _data(y, s.n * s.ow * s.c, wide, True, "y")
    cdef int failed
    with nogil:
        failed = _pool_kernels(wide).line_sum_pool(&s, px, py)
    _check(failed)
    return y


def line_sum_pool_input_grad(dy, axis):
    """Each pixel gets dy from every window that holds it."""
    cdef cnn_pool s = _line_numbers(axis, dy)
    cdef bint wide = _double(dy)
    dx = empty((s.n, s.w, s.c), dy.dtype)
    cdef const void *pdy = _data(dy, s.n * s.ow * s.c, wide, False, "dy")
    cdef void *pdx = _data(dx, s.n * s.w * s.c, wide, True, "dx")
    cdef int failed
    with nogil:
        failed = _pool_kernels(wide).line_sum_pool_input_grad(&s, pdy, pdx)
    _check(failed)
    return dx


cdef Py_ssize_t _positions(object shape) except -1:
    """How many positions an image (or signal) of this shape, with its batch axis, has."""
    cdef Py_ssize_t positions = 1
    if len(shape) < 2 or 0 in shape[1:]:
        raise ValueError(f"the global pools take images of at least one pixel and one channel; got shape {shape}")
    for axis in range(1, len(shape) - 1):
        positions *= shape[axis]
    return positions


def global_avg_pool(x):
    """y (n, c) = the mean over all positions: kernels/c/global_pool.h."""
    cdef bint wide = _double(x)
    cdef Py_ssize_t positions = _positions(x.shape)
    cdef Py_ssize_t n = len(x), c = _channels(x)
    cdef int num_threads = threads.get_num_threads()
    y = empty((n, c), x.dtype)
    cdef const void *px = _data(x, n * positions * c, wide, False, "x")
    cdef void *py = _data(y, n * c, wide, True, "y")
    cdef int failed
    with nogil:
        failed = _pool_kernels(wide).global_avg_pool(n, positions, c, px, py, num_threads)
    _check(failed)
    return y


def global_avg_pool_input_grad(dy, tuple shape):
    """dx of this shape: dy divided by the number of positions, at each of them."""
    cdef bint wide = _double(dy)
    cdef Py_ssize_t positions = _positions(shape)
    cdef Py_ssize_t n = shape[0], c = shape[len(shape) - 1]
    cdef int num_threads = threads.get_num_threads()
    cdef const void *pdy = _data(dy, n * c, wide, False, "dy")
    dx = empty(shape, dy.dtype)
    cdef void *pdx = _data(dx, n * positions * c, wide, True, "dx")
    cdef int failed
    with nogil:
        failed = _pool_kernels(wide).global_avg_pool_input_grad(n, positions, c, pdy, pdx, num_threads)
    _check(failed)
    return dx


def global_max_pool(x):
    """y (n, c) = the maximum over all positions, and the position where it came first; NaN wins."""
    cdef bint wide = _double(x)
    cdef Py_ssize_t positions = _positions(x.shape)
    cdef Py_ssize_t n = len(x), c = _channels(x)
    cdef int num_threads = threads.get_num_threads()
    y = empty((n, c), x.dtype)
    winner = empty((n, c), _POSITION)
    cdef const void *px = _data(x, n * positions * c, wide, False, "x")
    cdef void *py = _data(y, n * c, wide, True, "y")
    cdef Py_ssize_t *pwinner = <Py_ssize_t *>_numbers(winner, n * c, c"n", True, "winner")
    cdef int failed
    with nogil:
        failed = _pool_kernels(wide).global_max_pool(n, positions, c, px, py, pwinner, num_threads)
    _check(failed)
    return y, winner


def global_max_pool_input_grad(dy, winner, tuple shape):
    """dx of this shape: dy at the position of the maximum, 0 elsewhere."""
    cdef bint wide = _double(dy)
    cdef Py_ssize_t positions = _positions(shape)
    cdef Py_ssize_t n = shape[0], c = shape[len(shape) - 1]
    cdef int num_threads = threads.get_num_threads()
    cdef const void *pdy = _data(dy, n * c, wide, False, "dy")
    cdef const Py_ssize_t *pwinner = <Py_ssize_t *>_numbers(winner, n * c, c"n", False, "winner")
    dx = empty(shape, dy.dtype)
    cdef void *pdx = _data(dx, n * positions * c, wide, True, "dx")
    cdef int failed
    with nogil:
        failed = _pool_kernels(wide).global_max_pool_input_grad(n, positions, c, pdy, pwinner, pdx, num_threads)
    _check(failed)
    return dx

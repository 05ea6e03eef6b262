# What takes one number after the other, or one channel: kernels/c/elementwise.h, channels.h, by_channel.h, dropout.h.

__all__ += [
    "column_sums", "relu", "relu_input_grad", "finish_grad", "add", "dropout", "add_bias", "scale_channels",
]

cdef extern from "kernels/c/table.h" nogil:
    ctypedef struct ElementwiseKernels "cnn_kernels":
        int (*column_sums)(Py_ssize_t rows, Py_ssize_t c, const void *a, void *sums, int threads) noexcept nogil
        void (*relu)(Py_ssize_t count, const void *x, void *y, int threads) noexcept nogil
        void (*finish_grad)(
            Py_ssize_t count, const void *dx, const void *plus, const void *rectified, void *to,
            int threads) noexcept nogil
        void (*add)(Py_ssize_t count, const void *a, const void *b, void *y, int relu, int threads) noexcept nogil
        void (*multiply)(Py_ssize_t count, const void *a, const void *b, void *y, int threads) noexcept nogil
        void (*dropout)(
            Py_ssize_t count, const void *x, double p, uint64_t key, void *y, int threads) noexcept nogil
        int (*add_bias)(
            Py_ssize_t rows, Py_ssize_t c, const void *x, const void *b, void *y, int relu,
            int threads) noexcept nogil
        int (*scale_channels)(
            Py_ssize_t n, Py_ssize_t positions, Py_ssize_t c, const void *x, const void *m, void *y,
            int threads) noexcept nogil


cdef inline const ElementwiseKernels *_elementwise_kernels(bint wide) noexcept nogil:
    return <const ElementwiseKernels *>_tables[wide]


def column_sums(a, sums):
    """sums := the sum of a over all axes but the last."""
    cdef bint wide = _double(a)
    cdef Py_ssize_t c = _channels(a)
    cdef Py_ssize_t rows = a.size // c
    cdef int num_threads = threads.get_num_threads()
    cdef const void *pa = _data(a, rows * c, wide, False, "a")
    cdef void *psums = _data(sums, c, wide, True, "sums")
    cdef int failed
    with nogil:
        failed = _elementwise_kernels(wide).column_sums(rows, c, pa, psums, num_threads)
    _check(failed)


def relu(x):
    """y = max(x, 0)."""
    cdef bint wide = _double(x)
    cdef Py_ssize_t count = x.size
    cdef int num_threads = threads.get_num_threads()
    y = empty(x.shape, x.dtype)
    cdef const void *px = _data(x, count, wide, False, "x")
    cdef void *py = _data(y, count, wide, True, "y")
    with nogil:
        _elementwise_kernels(wide).relu(count, px, py, num_threads)
    return y


def relu_input_grad(y, dy):
    """dx = dy where y > 0, else 0."""
    cdef bint wide = _double(dy)
    cdef Py_ssize_t count = dy.size
    cdef int num_threads = threads.get_num_threads()
    dx = empty(dy.shape, dy.dtype)
    cdef const void *py = _data(y, count, wide, False, "y")
    cdef const void *pdy = _data(dy, count, wide, False, "dy")
    cdef void *pdx = _data(dx, count, wide, True, "dx")
    with nogil:
        _elementwise_kernels(wide).finish_grad(count, pdy, NULL, py, pdx, num_threads)
    return dx


def finish_grad(dx, plus=None, mask=None):
    """dx + plus where `mask` is above 0, else 0; without either, that part is left out."""
    cdef bint wide = _double(dx)
    cdef Py_ssize_t count = dx.size
    cdef int num_threads = threads.get_num_threads()
    if plus is None and mask is None:
        return dx
    finished = empty(dx.shape, dx.dtype)
    cdef const void *pdx = _data(dx, count, wide, False, "dx")
    cdef void *pfinished = _data(finished, count, wide, True, "finished")
    cdef const void *pplus = NULL if plus is None else _data(plus, count, wide, False, "plus")
    cdef const void *pmask = NULL if mask is None else _data(mask, count, wide, False, "mask")
    with nogil:
        _elementwise_kernels(wide).finish_grad(count, pdx, pplus, pmask, pfinished, num_threads)
    return finished


def add(a, b, bint relu=False):
    """y = a + b, then max(y, 0) if `relu`."""
    cdef bint wide = _double(a)
    cdef Py_ssize_t count = a.size
    cdef int num_threads = threads.get_num_threads()
    y = empty(a.shape, a.dtype)
    cdef const void *pa = _data(a, count, wide, False, "a")
    cdef const void *pb = _data(b, count, wide, False, "b")
    cdef void *py = _data(y, count, wide, True, "y")
    with nogil:
        _elementwise_kernels(wide).add(count, pa, pb, py, relu, num_threads)
    return y


def multiply(a, b):
    """y = a b, number by number."""
    cdef bint wide = _double(a)
    cdef Py_ssize_t count = a.size
    cdef int num_threads = threads.get_num_threads()
    y = empty(a.shape, a.dtype)
    cdef const void *pa = _data(a, count, wide, False, "a")
    cdef const void *pb = _data(b, count, wide, False, "b")
    cdef void *py = _data(y, count, wide, True, "y")
    with nogil:
        _elementwise_kernels(wide).multiply(count, pa, pb, py, num_threads)
    return y


def dropout(x, double p, uint64_t key):
    """y = x m / (1 - p), m = 0 with chance p, else 1, as the key decides: kernels/c/dropout.h."""
    cdef bint wide = _double(x)
    cdef Py_ssize_t count = x.size
    cdef int num_threads = threads.get_num_threads()
    if not 0 <= p <= 1:
        raise ValueError(f"p must be in 0..1; got {p}")
    y = empty(x.shape, x.dtype)
    cdef const void *px = _data(x, count, wide, False, "x")
    cdef void *py = _data(y, count, wide, True, "y")
    with nogil:
        _elementwise_kernels(wide).dropout(count, px, p, key, py, num_threads)
    return y


def add_bias(y, b, bint relu=False):
    """y := y + b in place, then max(y, 0) if `relu`: kernels/c/channels.h."""
    cdef bint wide = _double(y)
    cdef Py_ssize_t c = _channels(y)
    cdef Py_ssize_t rows = y.size // c
    cdef int num_threads = threads.get_num_threads()
    cdef void *py = _data(y, rows * c, wide, True, "y")
    cdef const void *pb = _data(b, c, wide, False, "b")
    with nogil:
        _elementwise_kernels(wide).add_bias(rows, c, py, pb, py, relu, num_threads)


def scale_channels(x, m):
    """y = x m, with a factor for each sample and channel, m (n, c)."""
    cdef bint wide = _double(x)
    cdef Py_ssize_t c = _channels(x), n = len(x)
    cdef Py_ssize_t positions = x.size // (n * c) if n else 0
    cdef int num_threads = threads.get_num_threads()
    y = empty(x.shape, x.dtype)
    cdef const void *px = _data(x, n * positions * c, wide, False, "x")
    cdef const void *pm = _data(m, n * c, wide, False, "m")
    cdef void *py = _data(y, n * positions * c, wide, True, "y")
    with nogil:
        _elementwise_kernels(wide).scale_channels(n, positions, c, px, pm, py, num_threads)
    return y

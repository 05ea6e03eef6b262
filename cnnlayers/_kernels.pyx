"""The checked, typed door to the C kernels.

Design

A. Each function takes NumPy arrays and the numbers that describe them, compares every array's dtype and size with what
   the kernel will touch, and only then hands pointers over. So no call from Python, right or wrong, reads or writes out
   of bounds.
B. Each instruction-set level is a table of functions (kernels/c/table.h), compiled with its own flags. The level is
   chosen once, at import: the highest that the processor has, or a lower one that CNNLAYERS_ISA names.
C. The GIL is released while a kernel runs.
D. Large results come from `empty`, which reuses memory: fresh pages cost as much as a small layer. A block goes back
   when the last array on it dies, so no array that anybody holds is ever overwritten.
"""

import os

import numpy as np

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS,
    PyBUF_FORMAT,
    PyBUF_WRITABLE,
    PyBuffer_FillInfo,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from libc.stdint cimport INT64_MIN, int64_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport strcmp

from . import threads


cdef extern from "kernels/c/table.h" nogil:
    ctypedef struct cnn_conv:
        Py_ssize_t n, h, w, c, oh, ow, f
        Py_ssize_t kh, kw, sh, sw, dh, dw
        Py_ssize_t top, left
        Py_ssize_t groups
        const void *plus
        const void *rectified
        int relu
        int side
        int threads

    ctypedef struct cnn_pool:
        Py_ssize_t n, h, w, c, oh, ow
        Py_ssize_t kh, kw, sh, sw, dh, dw
        Py_ssize_t top, left
        int relu
        int threads

    ctypedef enum cnn_source:
        CNN_SAME
        CNN_UINT8
        CNN_FLOAT32
        CNN_FLOAT64

    enum:
        CNN_LEAKY_RELU
        CNN_SIGMOID
        CNN_TANH
        CNN_ELU
        CNN_GELU
        CNN_GELU_TANH
        CNN_SILU

    ctypedef struct cnn_images:
        Py_ssize_t n, h, w, c
        int bytes_in, bytes_out
        int threads

ctypedef int (*input_grad_kernel)(const cnn_conv *, const void *, const void *, void *) noexcept nogil
ctypedef int (*weight_grad_kernel)(const cnn_conv *, const void *, const void *, void *, void *) noexcept nogil

cdef extern from "kernels/c/table.h" nogil:
    ctypedef struct cnn_kernels:
        int lanes
        int (*conv_forward)(
            const cnn_conv *, const void *x, const void *W, const void *b, const void *ready, void *y) noexcept nogil
        Py_ssize_t (*conv_packed)(const cnn_conv *) noexcept nogil
        int (*conv_pack)(const cnn_conv *, const void *W, const void *b, void *ready) noexcept nogil
        input_grad_kernel conv_input_grad
        weight_grad_kernel conv_weight_grad
        int (*winograd_forward)(
            const cnn_conv *, const void *x, const void *W, const void *b, const void *ready, void *y) noexcept nogil
        Py_ssize_t (*winograd_packed)(const cnn_conv *) noexcept nogil
        void (*winograd_pack)(const cnn_conv *, const void *W, void *ready) noexcept nogil
        input_grad_kernel winograd_input_grad
        weight_grad_kernel winograd_weight_grad
        int (*max_pool)(const cnn_pool *, const void *x, void *y, unsigned char *winner) noexcept nogil
        int (*max_pool_input_grad)(
            const cnn_pool *, const void *dy, const unsigned char *winner, void *dx) noexcept nogil
        int (*avg_pool)(const cnn_pool *, const void *x, const void *shares, void *y) noexcept nogil
        int (*avg_pool_input_grad)(const cnn_pool *, const void *dy, const void *shares, void *dx) noexcept nogil
        int (*column_sums)(Py_ssize_t rows, Py_ssize_t c, const void *a, void *sums, int threads) noexcept nogil
        void (*relu)(Py_ssize_t count, const void *x, void *y, int threads) noexcept nogil
        void (*finish_grad)(
            Py_ssize_t count, const void *dx, const void *plus, const void *rectified, void *to,
            int threads) noexcept nogil
        void (*add)(Py_ssize_t count, const void *a, const void *b, void *y, int relu, int threads) noexcept nogil
        void (*activation)(
            int kind, Py_ssize_t count, const void *x, void *y, double alpha, int threads) noexcept nogil
        void (*activation_grad)(
            int kind, Py_ssize_t count, const void *a, const void *dy, void *dx, double alpha,
            int threads) noexcept nogil
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
        int (*batch_norm)(
            Py_ssize_t rows, Py_ssize_t c, const void *x, const void *gamma, const void *beta, double eps,
            const void *plus, void *mean, void *var, void *scale, void *y, int relu, int threads) noexcept nogil
        int (*batch_norm_apply)(
            Py_ssize_t rows, Py_ssize_t c, const void *x, const void *gamma, const void *beta, const void *mean,
            const void *scale, const void *plus, void *y, int relu, int threads) noexcept nogil
        void (*move_average)(
            Py_ssize_t count, void *running, const void *value, double momentum, double factor) noexcept nogil
        int (*batch_norm_grad)(
            Py_ssize_t rows, Py_ssize_t c, const void *x, const void *dy, const void *gamma, const void *beta,
            const void *mean, const void *scale, void *dgamma, void *dbeta, void *dx, int on_batch, int relu,
            int threads) noexcept nogil
        void (*sgd)(
            Py_ssize_t count, void *w, const void *g, void *v, double lr, double momentum, int nesterov,
            double decay, int threads) noexcept nogil
        void (*rmsprop)(
            Py_ssize_t count, void *w, const void *g, void *s, double lr, double alpha, double eps, double decay,
            int threads) noexcept nogil
        void (*adagrad)(
            Py_ssize_t count, void *w, const void *g, void *s, double lr, double eps, double decay,
            int threads) noexcept nogil
        void (*adam)(
            Py_ssize_t count, void *w, const void *g, void *m, void *v, double lr, double beta1, double beta2,
            double eps, double correction1, double correction2, double decay, int decoupled,
            int threads) noexcept nogil
        int (*softmax_loss)(
            Py_ssize_t n, Py_ssize_t c, const void *z, const int64_t *labels, const double *rows,
            const double *weights, double smoothing, double divisor, double *loss, void *dz,
            int threads) noexcept nogil
        void (*dropout)(
            Py_ssize_t count, const void *x, double p, uint64_t key, void *y, int threads) noexcept nogil
        void (*gather_rows)(
            Py_ssize_t count, Py_ssize_t size, const void *source, cnn_source kind, const int64_t *indices,
            void *rows, int threads) noexcept nogil
        int (*add_bias)(
            Py_ssize_t rows, Py_ssize_t c, const void *x, const void *b, void *y, int relu,
            int threads) noexcept nogil
        int (*scale_channels)(
            Py_ssize_t n, Py_ssize_t positions, Py_ssize_t c, const void *x, const void *m, void *y,
            int threads) noexcept nogil
        int (*group_norm)(
            Py_ssize_t n, Py_ssize_t positions, Py_ssize_t c, Py_ssize_t groups, const void *x, const void *gamma,
            const void *beta, double eps, void *mean, void *scale, void *y, int relu, int threads) noexcept nogil
        int (*group_norm_grad)(
            Py_ssize_t n, Py_ssize_t positions, Py_ssize_t c, Py_ssize_t groups, const void *x, const void *dy,
            const void *gamma, const void *beta, const void *mean, const void *scale, void *dgamma, void *dbeta,
            void *dx, int relu, int threads) noexcept nogil
        int (*layer_norm)(
            Py_ssize_t rows, Py_ssize_t c, const void *x, const void *gamma, const void *beta, double eps,
            void *mean, void *scale, void *y, int threads) noexcept nogil
        int (*layer_norm_grad)(
            Py_ssize_t rows, Py_ssize_t c, const void *x, const void *dy, const void *gamma, const void *mean,
            const void *scale, void *dgamma, void *dbeta, void *dx, int threads) noexcept nogil
        void (*place_images)(
            const cnn_images *, const void *x, const int *places, double fill, double hole, void *y) noexcept nogil
        void (*warp_images)(const cnn_images *, const void *x, const double *maps, double fill, void *y) noexcept nogil
        void (*jitter_images)(const cnn_images *, const void *x, const double *factors, void *y) noexcept nogil
        void (*blend_images)(
            const cnn_images *, const void *x, const int64_t *partners, const double *shares,
            void *y) noexcept nogil

cdef extern from "kernels/c/dispatch.h" nogil:
    const cnn_kernels *const *cnn_level(const char *name)
    const char *cnn_level_name(int index)

cdef extern from "kernels/c/memory.h" nogil:
    void *cnn_allocate(size_t size)


cdef const cnn_kernels *const *_tables = NULL  # for float32, for float64
_level = ""


def levels():
    """Names of the instruction-set levels that this build has and this processor runs, the fastest first."""
    names = []
    cdef int i = 0
    while cnn_level_name(i) != NULL:
        if cnn_level(cnn_level_name(i)) != NULL:
            names.append(cnn_level_name(i).decode())
        i += 1
    return names


def level():
    """The level in use."""
    return _level


def lanes(dtype):
    """Numbers of float32 or float64 in a vector of the level in use."""
    return _tables[np.dtype(dtype) == np.float64].lanes


def set_level(name):
    """Use the kernels of this level from now on."""
    global _tables, _level
    cdef bytes text = name.encode()
    cdef const cnn_kernels *const *tables = cnn_level(text)
    if tables == NULL:
        raise ValueError(f"there are no kernels named {name!r} for this processor; there are {', '.join(levels())}")
    _tables = tables
    _level = name


cdef class Block:
    """Memory for one array; it goes back to the pool when the array is gone."""

    cdef void *memory
    cdef readonly Py_ssize_t size
    cdef object __weakref__

    def __cinit__(self, Py_ssize_t size):
        self.size = size
        self.memory = _pool.take(size)

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.memory, self.size, 0, flags)

    def __dealloc__(self):
        if self.memory != NULL:
            _pool.give_back(self.memory, self.size)


cdef class Pool:
    """Free blocks by size. What is kept is bounded by what is in use, so a run that needs less gives memory back."""

    cdef dict free_blocks
    cdef readonly Py_ssize_t in_use, kept

    def __cinit__(self):
        self.free_blocks = {}

    cdef void *take(self, Py_ssize_t size) except NULL:
        cdef list blocks = self.free_blocks.get(size)
        cdef void *memory
        if blocks:
            memory = <void *><size_t>blocks.pop()
            self.kept -= size
        else:
            if self.kept > self.in_use + SLACK:
                self.clear()
            memory = cnn_allocate(size)
            if memory == NULL:
                self.clear()
                memory = cnn_allocate(size)
            if memory == NULL:
                raise MemoryError(f"no memory for an array of {size:,} bytes")
        self.in_use += size
        return memory

    cdef void give_back(self, void *memory, Py_ssize_t size):
        self.in_use -= size
        self.kept += size
        self.free_blocks.setdefault(size, []).append(<size_t>memory)

    cdef void clear(self):
        for blocks in self.free_blocks.values():
            for address in blocks:
                free(<void *><size_t>address)
        self.free_blocks.clear()
        self.kept = 0


cdef enum:
    SMALL = 16384  # bytes; below it NumPy's own allocator is as good
    SLACK = 1 << 26
    MAX_BYTE = 255
    N_AXES = 4  # of images

_BYTE = np.dtype(np.uint8)
_POSITION = np.dtype(np.intp)
# Kernel sizes and sides of Winograd's tiles: the methods of kernels/c/winograd.h. A signal's kernel is 1 high.
TILES = {(3, 3, 4), (3, 3, 2), (5, 5, 2), (1, 3, 4), (1, 5, 2)}

cdef Pool _pool = Pool()


cpdef object empty(tuple shape, object dtype):
    """An array whose values are whatever its memory held: np.empty, from memory used before."""
    cdef Py_ssize_t size = dtype.itemsize
    for n in shape:
        size *= n
    if size < SMALL:
        return np.empty(shape, dtype)
    return np.ndarray(shape, dtype, Block(size))


def pool_bytes():
    """How many bytes the arrays that `empty` made hold, and how many are kept for the next ones."""
    return _pool.in_use, _pool.kept


cdef void *_data(object array, Py_ssize_t count, bint double_precision, bint writable, str name) except? NULL:
    """The address of an array that must hold `count` numbers of the precision, contiguously."""
    cdef Py_buffer view
    cdef int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (PyBUF_WRITABLE if writable else 0)
    PyObject_GetBuffer(array, &view, flags)
    cdef void *address = view.buf
    cdef bint right = strcmp(view.format, b"d" if double_precision else b"f") == 0 and view.len == count * view.itemsize
    PyBuffer_Release(&view)
    if not right:
        kind = "float64" if double_precision else "float32"
        raise ValueError(f"{name} must hold {count} numbers of {kind}; got {array.dtype} {array.shape}")
    return address


cdef bint _double(object array) except -1:
    """Whether an array is float64; anything but that and float32 is an error."""
    if array.dtype == np.float64:
        return True
    if array.dtype == np.float32:
        return False
    raise TypeError(f"the kernels take float32 and float64; got {array.dtype}")


cdef cnn_conv _conv(object window, Py_ssize_t n, object W, int side=0) except *:
    """The numbers of a convolution, checked against each other."""
    vertical, horizontal = window.as_image().axes
    *_, channels_per_group, filters = W.shape
    cdef cnn_conv s
    s.n, s.c, s.f = n, window.channels, filters
    s.h, s.w, s.oh, s.ow = vertical.size, horizontal.size, vertical.out, horizontal.out
    s.kh, s.kw, s.sh, s.sw = vertical.kernel, horizontal.kernel, vertical.stride, horizontal.stride
    s.dh, s.dw, s.top, s.left = vertical.dilation, horizontal.dilation, vertical.before, horizontal.before
    if s.f < 1 or channels_per_group < 1 or s.c % channels_per_group or s.f % (s.c // channels_per_group):
        raise ValueError(f"{s.c} channels and {s.f} filters do not go in groups of {channels_per_group} channels")
    s.groups = s.c // channels_per_group
    s.plus, s.rectified, s.relu, s.side, s.threads = NULL, NULL, 0, side, threads.get_num_threads()
    if side and ((s.kh, s.kw, side) not in TILES or s.sh != 1 or s.sw != 1 or s.dh != 1 or s.dw != 1):
        raise ValueError(
            "Winograd's method takes, with stride and dilation 1, a kernel of 3x3 in tiles of side 2 or 4, of 1x3 in "
            f"tiles of side 4, of 5x5 or 1x5 in tiles of side 2; got a {s.kh}x{s.kw} kernel, stride "
            f"{s.sh}x{s.sw}, dilation {s.dh}x{s.dw}, tiles of side {side}"
        )
    return s


cdef Py_ssize_t _channels(object array) except -1:
    """Length of the last axis."""
    if array.ndim == 0 or array.shape[array.ndim - 1] == 0:
        raise ValueError(f"the kernels take arrays with at least one channel; got shape {array.shape}")
    return array.shape[array.ndim - 1]


cdef int _check(int failed) except -1:
    if failed:
        raise MemoryError("no memory for the buffers of a kernel")
    return 0


cdef class PackedConv:
    """The weights and bias of a convolution in the order in which conv_forward reads them.

    The plain kernel's order (side 0) is for images of one size; Winograd's for images of any.
    """
    cdef object window, shape, numbers
    cdef const cnn_kernels *tables
    cdef int side

    def __init__(self, W, b, window, int side=0):
        cdef cnn_conv s = _conv(window, 0, W, side)
        cdef bint wide = _double(W)
        cdef const void *pW = _data(W, s.kh * s.kw * (s.c // s.groups) * s.f, wide, False, "W")
        cdef const void *pb = NULL if b is None else _data(b, s.f, wide, False, "b")
        cdef const cnn_kernels *k = _tables[wide]
        self.tables, self.window, self.shape, self.side = k, window, W.shape, side
        self.numbers = empty(((k.winograd_packed if side else k.conv_packed)(&s),), W.dtype)
        cdef void *to = _data(self.numbers, self.numbers.size, wide, True, "packed")
        cdef int failed = 0
        with nogil:
            if side:
                k.winograd_pack(&s, pW, to)
            else:
                failed = k.conv_pack(&s, pW, pb, to)
        _check(failed)

    cdef bint fits(self, const cnn_kernels *k, object W, object window, int side):
        """Whether it was packed for this call."""
        if self.tables != k or self.side != side or self.shape != W.shape:
            return False
        return self.window.channels == window.channels if side else self.window == window

    def __reduce__(self):
        return type(None), ()  # a copy has None in its place, since the weights of a copy may change


def conv_forward(x, W, b, window, bint relu=False, PackedConv packed=None, int side=0, plus=None):
    """y = x * W + b + plus, then max(y, 0) if `relu`. `packed`: W and b packed, for use if it fits.

    kernels/c/conv.h; with `side`, kernels/c/winograd_conv.h in tiles of that side.
    """
    cdef cnn_conv s = _conv(window, len(x), W, side)
    cdef bint wide = _double(x)
    y = empty((s.n, *window.out, s.f), x.dtype)
    s.relu = relu
    cdef const void *px = _data(x, s.n * s.h * s.w * s.c, wide, False, "x")
    cdef const void *pW = _data(W, s.kh * s.kw * (s.c // s.groups) * s.f, wide, False, "W")
    cdef const void *pb = NULL if b is None else _data(b, s.f, wide, False, "b")
    cdef void *py = _data(y, s.n * s.oh * s.ow * s.f, wide, True, "y")
    if plus is not None:
        s.plus = _data(plus, s.n * s.oh * s.ow * s.f, wide, False, "plus")
    cdef const cnn_kernels *k = _tables[wide]
    cdef const void *ready = NULL
    if packed is not None and packed.fits(k, W, window, side):
        ready = _data(packed.numbers, packed.numbers.size, wide, False, "packed")
    cdef int failed
    with nogil:
        if side:
            failed = k.winograd_forward(&s, px, pW, pb, ready, py)
        else:
            failed = k.conv_forward(&s, px, pW, pb, ready, py)
    _check(failed)
    return y


def conv_input_grad(dy, W, window, int side=0, plus=None, rectified=None):
    """dx[i] = sum over the outputs that read pixel i of dy W^T, + plus; 0 where `rectified` is not above 0.

    kernels/c/conv.h; with `side`, kernels/c/winograd_conv.h in tiles of that side.
    """
    cdef cnn_conv s = _conv(window, len(dy), W, side)
    cdef bint wide = _double(dy)
    dx = empty((s.n, *window.sizes, s.c), dy.dtype)
    cdef const void *pdy = _data(dy, s.n * s.oh * s.ow * s.f, wide, False, "dy")
    cdef const void *pW = _data(W, s.kh * s.kw * (s.c // s.groups) * s.f, wide, False, "W")
    cdef void *pdx = _data(dx, s.n * s.h * s.w * s.c, wide, True, "dx")
    if plus is not None:
        s.plus = _data(plus, s.n * s.h * s.w * s.c, wide, False, "plus")
    if rectified is not None:
        s.rectified = _data(rectified, s.n * s.h * s.w * s.c, wide, False, "rectified")
    cdef const cnn_kernels *k = _tables[wide]
    cdef input_grad_kernel kernel = k.winograd_input_grad if side else k.conv_input_grad
    cdef int failed
    with nogil:
        failed = kernel(&s, pdy, pW, pdx)
    _check(failed)
    return dx


def conv_weight_grad(x, dy, window, dW, db=None, int side=0):
    """dW := sum over positions of patch^T dy, db := sum of dy.

    kernels/c/wgrad.h; with `side`, kernels/c/winograd_grad.h in tiles of that side of dy.
    """
    cdef cnn_conv s = _conv(window, len(x), dW, side)
    cdef bint wide = _double(x)
    cdef const void *px = _data(x, s.n * s.h * s.w * s.c, wide, False, "x")
    cdef const void *pdy = _data(dy, s.n * s.oh * s.ow * s.f, wide, False, "dy")
    cdef void *pdW = _data(dW, s.kh * s.kw * (s.c // s.groups) * s.f, wide, True, "dW")
    cdef void *pdb = NULL if db is None else _data(db, s.f, wide, True, "db")
    cdef const cnn_kernels *k = _tables[wide]
    cdef weight_grad_kernel kernel = k.winograd_weight_grad if side else k.conv_weight_grad
    cdef int failed
    with nogil:
        failed = kernel(&s, px, pdy, pdW, pdb)
    _check(failed)


cdef cnn_conv _affine(Py_ssize_t n, object W) except *:
    """Affine is a 1x1 convolution over an image of n rows, one pixel wide, with d channels."""
    cdef cnn_conv s
    d, m = W.shape
    if d < 1 or m < 1:
        raise ValueError(f"a matrix of weights needs rows and columns; got {d}x{m}")
    s.n, s.c, s.f, s.h, s.w, s.oh, s.ow = 1, d, m, n, 1, n, 1
    s.kh, s.kw, s.sh, s.sw, s.dh, s.dw, s.top, s.left = 1, 1, 1, 1, 1, 1, 0, 0
    s.groups, s.plus, s.rectified, s.relu, s.side, s.threads = 1, NULL, NULL, 0, 0, threads.get_num_threads()
    return s


def affine(x, W, b, bint relu=False):
    """y = x W + b, then max(y, 0) if `relu`: the tile of kernels/c/tile.h."""
    cdef cnn_conv s = _affine(len(x), W)
    cdef bint wide = _double(x)
    y = empty((s.h, s.f), x.dtype)
    s.relu = relu
    cdef const void *px = _data(x, s.h * s.c, wide, False, "x")
    cdef const void *pW = _data(W, s.c * s.f, wide, False, "W")
    cdef const void *pb = NULL if b is None else _data(b, s.f, wide, False, "b")
    cdef void *py = _data(y, s.h * s.f, wide, True, "y")
    cdef int failed
    with nogil:
        failed = _tables[wide].conv_forward(&s, px, pW, pb, NULL, py)
    _check(failed)
    return y


def affine_input_grad(dy, W):
    """dx = dy W^T."""
    cdef cnn_conv s = _affine(len(dy), W)
    cdef bint wide = _double(dy)
    dx = empty((s.h, s.c), dy.dtype)
    cdef const void *pdy = _data(dy, s.h * s.f, wide, False, "dy")
    cdef const void *pW = _data(W, s.c * s.f, wide, False, "W")
    cdef void *pdx = _data(dx, s.h * s.c, wide, True, "dx")
    cdef int failed
    with nogil:
        failed = _tables[wide].conv_input_grad(&s, pdy, pW, pdx)
    _check(failed)
    return dx


def affine_weight_grad(x, dy, dW, db=None):
    """dW := x^T dy, db := sum of dy."""
    cdef cnn_conv s = _affine(len(x), dW)
    cdef bint wide = _double(x)
    cdef const void *px = _data(x, s.h * s.c, wide, False, "x")
    cdef const void *pdy = _data(dy, s.h * s.f, wide, False, "dy")
    cdef void *pdW = _data(dW, s.c * s.f, wide, True, "dW")
    cdef void *pdb = NULL if db is None else _data(db, s.f, wide, True, "db")
    cdef int failed
    with nogil:
        failed = _tables[wide].conv_weight_grad(&s, px, pdy, pdW, pdb)
    _check(failed)


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


cdef unsigned char *_bytes(object array, Py_ssize_t count, bint writable, str name) except? NULL:
    """The address of `count` bytes."""
    cdef Py_buffer view
    PyObject_GetBuffer(array, &view, PyBUF_C_CONTIGUOUS | (PyBUF_WRITABLE if writable else 0))
    cdef void *address = view.buf
    cdef bint right = view.len == count and view.itemsize == 1
    PyBuffer_Release(&view)
    if not right:
        raise ValueError(f"{name} must hold {count} bytes; got {array.dtype} {array.shape}")
    return <unsigned char *>address


cdef int _nameable(const cnn_pool *s) except -1:
    if s.kh * s.kw > MAX_BYTE:
        raise ValueError(f"a window of {s.kh}x{s.kw} has more than {MAX_BYTE} elements, the most that a byte can name")
    return 0


def max_pool(x, window, bint relu=False):
    """The maximum of each window, and which kernel element it came through, a byte each: kernels/c/pool.h.

    With `relu`, the larger of that and 0; it came through none (255) where it is not above 0.
    """
    cdef cnn_pool s = _pool_numbers(window, len(x))
    s.relu = relu
    cdef bint wide = _double(x)
    _nameable(&s)
    y = empty((s.n, *window.out, s.c), x.dtype)
    winner = empty(y.shape, _BYTE)
    cdef const void *px = _data(x, s.n * s.h * s.w * s.c, wide, False, "x")
    cdef void *py = _data(y, s.n * s.oh * s.ow * s.c, wide, True, "y")
    cdef unsigned char *pwinner = _bytes(winner, s.n * s.oh * s.ow * s.c, True, "winner")
    cdef int failed
    with nogil:
        failed = _tables[wide].max_pool(&s, px, py, pwinner)
    _check(failed)
    return y, winner


def max_pool_input_grad(dy, winner, window):
    """Each dy goes to the pixel that won its window."""
    cdef cnn_pool s = _pool_numbers(window, len(dy))
    cdef bint wide = _double(dy)
    _nameable(&s)
    dx = empty((s.n, *window.sizes, s.c), dy.dtype)
    cdef const void *pdy = _data(dy, s.n * s.oh * s.ow * s.c, wide, False, "dy")
    cdef const unsigned char *pwinner = _bytes(winner, s.n * s.oh * s.ow * s.c, False, "winner")
    cdef void *pdx = _data(dx, s.n * s.h * s.w * s.c, wide, True, "dx")
    cdef int failed
    with nogil:
        failed = _tables[wide].max_pool_input_grad(&s, pdy, pwinner, pdx)
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
        failed = _tables[wide].avg_pool(&s, px, pshares, py)
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
        failed = _tables[wide].avg_pool_input_grad(&s, pdy, pshares, pdx)
    _check(failed)
    return dx


def relu(x):
    """y = max(x, 0)."""
    cdef bint wide = _double(x)
    cdef Py_ssize_t count = x.size
    cdef int num_threads = threads.get_num_threads()
    y = empty(x.shape, x.dtype)
    cdef const void *px = _data(x, count, wide, False, "x")
    cdef void *py = _data(y, count, wide, True, "y")
    with nogil:
        _tables[wide].relu(count, px, py, num_threads)
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
        _tables[wide].finish_grad(count, pdy, NULL, py, pdx, num_threads)
    return dx


def finish_grad(dx, plus=None, rectified=None):
    """dx + plus where `rectified` is above 0, else 0; without either, that part is left out."""
    cdef bint wide = _double(dx)
    cdef Py_ssize_t count = dx.size
    cdef int num_threads = threads.get_num_threads()
    if plus is None and rectified is None:
        return dx
    finished = empty(dx.shape, dx.dtype)
    cdef const void *pdx = _data(dx, count, wide, False, "dx")
    cdef void *pfinished = _data(finished, count, wide, True, "finished")
    cdef const void *pplus = NULL if plus is None else _data(plus, count, wide, False, "plus")
    cdef const void *prectified = NULL if rectified is None else _data(rectified, count, wide, False, "rectified")
    with nogil:
        _tables[wide].finish_grad(count, pdx, pplus, prectified, pfinished, num_threads)
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
        _tables[wide].add(count, pa, pb, py, relu, num_threads)
    return y


cdef object _activation(int kind, object x, double alpha=0):
    """y = f(x), number by number: kernels/c/activation.h."""
    cdef bint wide = _double(x)
    cdef Py_ssize_t count = x.size
    cdef int num_threads = threads.get_num_threads()
    y = empty(x.shape, x.dtype)
    cdef const void *px = _data(x, count, wide, False, "x")
    cdef void *py = _data(y, count, wide, True, "y")
    with nogil:
        _tables[wide].activation(kind, count, px, py, alpha, num_threads)
    return y


cdef object _activation_grad(int kind, object a, object dy, double alpha=0):
    """dx = f'(x) dy; `a` is y for Sigmoid and Tanh, else x."""
    cdef bint wide = _double(dy)
    cdef Py_ssize_t count = dy.size
    cdef int num_threads = threads.get_num_threads()
    dx = empty(dy.shape, dy.dtype)
    cdef const void *pa = _data(a, count, wide, False, "x or y")
    cdef const void *pdy = _data(dy, count, wide, False, "dy")
    cdef void *pdx = _data(dx, count, wide, True, "dx")
    with nogil:
        _tables[wide].activation_grad(kind, count, pa, pdy, pdx, alpha, num_threads)
    return dx


def leaky_relu(x, double alpha):
    """y = x where x > 0, else alpha x."""
    return _activation(CNN_LEAKY_RELU, x, alpha)


def leaky_relu_input_grad(x, dy, double alpha):
    """dx = dy where x > 0, else alpha dy."""
    return _activation_grad(CNN_LEAKY_RELU, x, dy, alpha)


def sigmoid(x):
    """y = 1 / (1 + exp(-x))."""
    return _activation(CNN_SIGMOID, x)


def sigmoid_input_grad(y, dy):
    """dx = y (1 - y) dy."""
    return _activation_grad(CNN_SIGMOID, y, dy)


def tanh(x):
    """y = tanh(x)."""
    return _activation(CNN_TANH, x)


def tanh_input_grad(y, dy):
    """dx = (1 - y^2) dy."""
    return _activation_grad(CNN_TANH, y, dy)


def elu(x, double alpha):
    """y = x where x > 0, else alpha (exp(x) - 1)."""
    return _activation(CNN_ELU, x, alpha)


def elu_input_grad(x, dy, double alpha):
    """dx = dy where x > 0, else alpha exp(x) dy."""
    return _activation_grad(CNN_ELU, x, dy, alpha)


def gelu(x, bint approximate=False):
    """y = x P(X <= x), X standard normal; `approximate`: by tanh."""
    return _activation(CNN_GELU_TANH if approximate else CNN_GELU, x)


def gelu_input_grad(x, dy, bint approximate=False):
    """dx = (P(X <= x) + x density(x)) dy, or the gradient of the approximation."""
    return _activation_grad(CNN_GELU_TANH if approximate else CNN_GELU, x, dy)


def silu(x):
    """y = x / (1 + exp(-x))."""
    return _activation(CNN_SILU, x)


def silu_input_grad(x, dy):
    """dx = s (1 + x (1 - s)) dy, s = 1 / (1 + exp(-x))."""
    return _activation_grad(CNN_SILU, x, dy)


cdef Py_ssize_t _positions(object shape) except -1:
    """How many positions an image (or signal) of this shape, with its batch axis, has."""
    cdef Py_ssize_t positions = 1
    if len(shape) < 2 or 0 in shape[1:]:
        raise ValueError(f"the global pools take images of at least one pixel and one channel; got shape {shape}")
    for axis in range(1, len(shape) - 1):
        positions *= shape[axis]
    return positions


cdef Py_ssize_t *_winners(object array, Py_ssize_t count, bint writable) except? NULL:
    """The address of `count` positions."""
    cdef Py_buffer view
    if array.dtype != _POSITION:
        raise ValueError(f"winner must hold {count} positions of {_POSITION}; got {array.dtype} {array.shape}")
    PyObject_GetBuffer(array, &view, PyBUF_C_CONTIGUOUS | (PyBUF_WRITABLE if writable else 0))
    cdef void *address = view.buf
    cdef bint right = view.len == count * view.itemsize
    PyBuffer_Release(&view)
    if not right:
        raise ValueError(f"winner must hold {count} positions of {_POSITION}; got {array.dtype} {array.shape}")
    return <Py_ssize_t *>address


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
        failed = _tables[wide].global_avg_pool(n, positions, c, px, py, num_threads)
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
        failed = _tables[wide].global_avg_pool_input_grad(n, positions, c, pdy, pdx, num_threads)
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
    cdef Py_ssize_t *pwinner = _winners(winner, n * c, True)
    cdef int failed
    with nogil:
        failed = _tables[wide].global_max_pool(n, positions, c, px, py, pwinner, num_threads)
    _check(failed)
    return y, winner


def global_max_pool_input_grad(dy, winner, tuple shape):
    """dx of this shape: dy at the position of the maximum, 0 elsewhere."""
    cdef bint wide = _double(dy)
    cdef Py_ssize_t positions = _positions(shape)
    cdef Py_ssize_t n = shape[0], c = shape[len(shape) - 1]
    cdef int num_threads = threads.get_num_threads()
    cdef const void *pdy = _data(dy, n * c, wide, False, "dy")
    cdef const Py_ssize_t *pwinner = _winners(winner, n * c, False)
    dx = empty(shape, dy.dtype)
    cdef void *pdx = _data(dx, n * positions * c, wide, True, "dx")
    cdef int failed
    with nogil:
        failed = _tables[wide].global_max_pool_input_grad(n, positions, c, pdy, pwinner, pdx, num_threads)
    _check(failed)
    return dx


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
        failed = _tables[wide].column_sums(rows, c, pa, psums, num_threads)
    _check(failed)


def batch_norm(x, gamma, beta, double eps, bint relu=False, plus=None):
    """y = gamma (x - mean) scale + beta + plus by the batch's statistics; y, mean, var, scale = 1 / sqrt(var + eps)."""
    cdef bint wide = _double(x)
    cdef Py_ssize_t c = _channels(x)
    cdef Py_ssize_t rows = x.size // c
    cdef int num_threads = threads.get_num_threads()
    y = empty(x.shape, x.dtype)
    mean, var, scale = np.empty(c, x.dtype), np.empty(c, x.dtype), np.empty(c, x.dtype)
    cdef const void *px = _data(x, rows * c, wide, False, "x")
    cdef const void *pgamma = _data(gamma, c, wide, False, "gamma")
    cdef const void *pbeta = _data(beta, c, wide, False, "beta")
    cdef void *pmean = _data(mean, c, wide, True, "mean")
    cdef void *pvar = _data(var, c, wide, True, "var")
    cdef void *pscale = _data(scale, c, wide, True, "scale")
    cdef void *py = _data(y, rows * c, wide, True, "y")
    cdef const void *pplus = NULL if plus is None else _data(plus, rows * c, wide, False, "plus")
    cdef int failed
    with nogil:
        failed = _tables[wide].batch_norm(
            rows, c, px, pgamma, pbeta, eps, pplus, pmean, pvar, pscale, py, relu, num_threads)
    _check(failed)
    return y, mean, var, scale


def batch_norm_apply(x, gamma, beta, mean, scale, bint relu=False, plus=None):
    """y = gamma (x - mean) scale + beta + plus."""
    cdef bint wide = _double(x)
    cdef Py_ssize_t c = _channels(x)
    cdef Py_ssize_t rows = x.size // c
    cdef int num_threads = threads.get_num_threads()
    y = empty(x.shape, x.dtype)
    cdef const void *px = _data(x, rows * c, wide, False, "x")
    cdef const void *pgamma = _data(gamma, c, wide, False, "gamma")
    cdef const void *pbeta = _data(beta, c, wide, False, "beta")
    cdef const void *pmean = _data(mean, c, wide, False, "mean")
    cdef const void *pscale = _data(scale, c, wide, False, "scale")
    cdef void *py = _data(y, rows * c, wide, True, "y")
    cdef const void *pplus = NULL if plus is None else _data(plus, rows * c, wide, False, "plus")
    cdef int failed
    with nogil:
        failed = _tables[wide].batch_norm_apply(
            rows, c, px, pgamma, pbeta, pmean, pscale, pplus, py, relu, num_threads)
    _check(failed)
    return y


def move_average(running, value, double momentum, double factor=1):
    """running := momentum running + (1 - momentum) factor value."""
    cdef bint wide = _double(running)
    cdef Py_ssize_t count = running.size
    cdef void *prunning = _data(running, count, wide, True, "running")
    cdef const void *pvalue = _data(value, count, wide, False, "value")
    _tables[wide].move_average(count, prunning, pvalue, momentum, factor)


def batch_norm_grad(
    x, dy, gamma, beta, mean, scale, dgamma, dbeta, bint on_batch, bint input_grad=True, bint relu=False
):
    """dgamma := sum dy x_hat, dbeta := sum dy, and dx; with `relu`, dy is that of the ReLU behind: its mask counts."""
    cdef bint wide = _double(x)
    cdef Py_ssize_t c = _channels(x)
    cdef Py_ssize_t rows = x.size // c
    cdef int num_threads = threads.get_num_threads()
    dx = empty(x.shape, x.dtype) if input_grad else None
    cdef const void *px = _data(x, rows * c, wide, False, "x")
    cdef const void *pdy = _data(dy, rows * c, wide, False, "dy")
    cdef const void *pgamma = _data(gamma, c, wide, False, "gamma")
    cdef const void *pbeta = _data(beta, c, wide, False, "beta")
    cdef const void *pmean = _data(mean, c, wide, False, "mean")
    cdef const void *pscale = _data(scale, c, wide, False, "scale")
    cdef void *pdgamma = _data(dgamma, c, wide, True, "dgamma")
    cdef void *pdbeta = _data(dbeta, c, wide, True, "dbeta")
    cdef void *pdx = NULL if dx is None else _data(dx, rows * c, wide, True, "dx")
    cdef int failed
    with nogil:
        failed = _tables[wide].batch_norm_grad(
            rows, c, px, pdy, pgamma, pbeta, pmean, pscale, pdgamma, pdbeta, pdx, on_batch, relu, num_threads)
    _check(failed)
    return dx


def add_bias(y, b, bint relu=False):
    """y := y + b in place, then max(y, 0) if `relu`: kernels/c/channels.h."""
    cdef bint wide = _double(y)
    cdef Py_ssize_t c = _channels(y)
    cdef Py_ssize_t rows = y.size // c
    cdef int num_threads = threads.get_num_threads()
    cdef void *py = _data(y, rows * c, wide, True, "y")
    cdef const void *pb = _data(b, c, wide, False, "b")
    with nogil:
        _tables[wide].add_bias(rows, c, py, pb, py, relu, num_threads)


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
        _tables[wide].scale_channels(n, positions, c, px, pm, py, num_threads)
    return y


cdef Py_ssize_t _group_positions(object x, Py_ssize_t c, Py_ssize_t groups) except -1:
    """How many positions a sample has; the groups are checked."""
    if groups < 1 or c % groups:
        raise ValueError(f"{c} channels do not go in {groups} groups")
    return x.size // (len(x) * c) if x.size else 1


def group_norm(x, Py_ssize_t groups, gamma, beta, double eps, bint relu=False):
    """y = gamma (x - mean) scale + beta with each sample's statistics of each group: kernels/c/group_norm.h.

    Gives y, and mean and scale (n, c), the same for all channels of a group.
    """
    cdef bint wide = _double(x)
    cdef Py_ssize_t c = _channels(x)
    cdef Py_ssize_t positions = _group_positions(x, c, groups)
    cdef Py_ssize_t n = len(x) if x.size else 0
    cdef int num_threads = threads.get_num_threads()
    y = empty(x.shape, x.dtype)
    mean, scale = np.empty((n, c), x.dtype), np.empty((n, c), x.dtype)
    cdef const void *px = _data(x, n * positions * c, wide, False, "x")
    cdef const void *pgamma = _data(gamma, c, wide, False, "gamma")
    cdef const void *pbeta = _data(beta, c, wide, False, "beta")
    cdef void *pmean = _data(mean, n * c, wide, True, "mean")
    cdef void *pscale = _data(scale, n * c, wide, True, "scale")
    cdef void *py = _data(y, n * positions * c, wide, True, "y")
    cdef int failed
    with nogil:
        failed = _tables[wide].group_norm(
            n, positions, c, groups, px, pgamma, pbeta, eps, pmean, pscale, py, relu, num_threads)
    _check(failed)
    return y, mean, scale


def group_norm_grad(
    x, dy, Py_ssize_t groups, gamma, beta, mean, scale, dgamma, dbeta, bint input_grad=True, bint relu=False
):
    """dgamma := sum dy x_hat, dbeta := sum dy, and dx; with `relu`, dy is that of the ReLU behind: its mask counts."""
    cdef bint wide = _double(x)
    cdef Py_ssize_t c = _channels(x)
    cdef Py_ssize_t positions = _group_positions(x, c, groups)
    cdef Py_ssize_t n = len(x) if x.size else 0
    cdef int num_threads = threads.get_num_threads()
    dx = empty(x.shape, x.dtype) if input_grad else None
    cdef const void *px = _data(x, n * positions * c, wide, False, "x")
    cdef const void *pdy = _data(dy, n * positions * c, wide, False, "dy")
    cdef const void *pgamma = _data(gamma, c, wide, False, "gamma")
    cdef const void *pbeta = _data(beta, c, wide, False, "beta")
    cdef const void *pmean = _data(mean, n * c, wide, False, "mean")
    cdef const void *pscale = _data(scale, n * c, wide, False, "scale")
    cdef void *pdgamma = _data(dgamma, c, wide, True, "dgamma")
    cdef void *pdbeta = _data(dbeta, c, wide, True, "dbeta")
    cdef void *pdx = NULL if dx is None else _data(dx, n * positions * c, wide, True, "dx")
    cdef int failed
    with nogil:
        failed = _tables[wide].group_norm_grad(
            n, positions, c, groups, px, pdy, pgamma, pbeta, pmean, pscale, pdgamma, pdbeta, pdx, relu, num_threads)
    _check(failed)
    return dx


def layer_norm(x, gamma, beta, double eps):
    """y = gamma (x - mean) scale + beta with the statistics of each row: kernels/c/layer_norm.h. y, mean, scale."""
    cdef bint wide = _double(x)
    cdef Py_ssize_t c = _channels(x)
    cdef Py_ssize_t rows = x.size // c
    cdef int num_threads = threads.get_num_threads()
    y = empty(x.shape, x.dtype)
    mean, scale = empty((rows,), x.dtype), empty((rows,), x.dtype)
    cdef const void *px = _data(x, rows * c, wide, False, "x")
    cdef const void *pgamma = _data(gamma, c, wide, False, "gamma")
    cdef const void *pbeta = _data(beta, c, wide, False, "beta")
    cdef void *pmean = _data(mean, rows, wide, True, "mean")
    cdef void *pscale = _data(scale, rows, wide, True, "scale")
    cdef void *py = _data(y, rows * c, wide, True, "y")
    cdef int failed
    with nogil:
        failed = _tables[wide].layer_norm(rows, c, px, pgamma, pbeta, eps, pmean, pscale, py, num_threads)
    _check(failed)
    return y, mean, scale


def layer_norm_grad(x, dy, gamma, mean, scale, dgamma, dbeta, bint input_grad=True):
    """dgamma := sum dy x_hat, dbeta := sum dy, and dx."""
    cdef bint wide = _double(x)
    cdef Py_ssize_t c = _channels(x)
    cdef Py_ssize_t rows = x.size // c
    cdef int num_threads = threads.get_num_threads()
    dx = empty(x.shape, x.dtype) if input_grad else None
    cdef const void *px = _data(x, rows * c, wide, False, "x")
    cdef const void *pdy = _data(dy, rows * c, wide, False, "dy")
    cdef const void *pgamma = _data(gamma, c, wide, False, "gamma")
    cdef const void *pmean = _data(mean, rows, wide, False, "mean")
    cdef const void *pscale = _data(scale, rows, wide, False, "scale")
    cdef void *pdgamma = _data(dgamma, c, wide, True, "dgamma")
    cdef void *pdbeta = _data(dbeta, c, wide, True, "dbeta")
    cdef void *pdx = NULL if dx is None else _data(dx, rows * c, wide, True, "dx")
    cdef int failed
    with nogil:
        failed = _tables[wide].layer_norm_grad(
            rows, c, px, pdy, pgamma, pmean, pscale, pdgamma, pdbeta, pdx, num_threads)
    _check(failed)
    return dx


def sgd(w, g, velocity, double lr, double momentum, bint nesterov, double decay):
    """One pass of SGD over a stretch of the flat arrays; `velocity` is None without momentum: kernels/c/optimizer.h."""
    cdef bint wide = _double(w)
    cdef Py_ssize_t count = w.size
    cdef int num_threads = threads.get_num_threads()
    cdef void *pw = _data(w, count, wide, True, "w")
    cdef const void *pg = _data(g, count, wide, False, "g")
    cdef void *pv = NULL if velocity is None else _data(velocity, count, wide, True, "velocity")
    with nogil:
        _tables[wide].sgd(count, pw, pg, pv, lr, momentum, nesterov, decay, num_threads)


def rmsprop(w, g, square_mean, double lr, double alpha, double eps, double decay):
    """One pass of RMSProp over a stretch of the flat arrays."""
    cdef bint wide = _double(w)
    cdef Py_ssize_t count = w.size
    cdef int num_threads = threads.get_num_threads()
    cdef void *pw = _data(w, count, wide, True, "w")
    cdef const void *pg = _data(g, count, wide, False, "g")
    cdef void *ps = _data(square_mean, count, wide, True, "square_mean")
    with nogil:
        _tables[wide].rmsprop(count, pw, pg, ps, lr, alpha, eps, decay, num_threads)


def adagrad(w, g, square_sum, double lr, double eps, double decay):
    """One pass of Adagrad over a stretch of the flat arrays."""
    cdef bint wide = _double(w)
    cdef Py_ssize_t count = w.size
    cdef int num_threads = threads.get_num_threads()
    cdef void *pw = _data(w, count, wide, True, "w")
    cdef const void *pg = _data(g, count, wide, False, "g")
    cdef void *ps = _data(square_sum, count, wide, True, "square_sum")
    with nogil:
        _tables[wide].adagrad(count, pw, pg, ps, lr, eps, decay, num_threads)


def adam(w, g, mean, square_mean, double lr, betas, double eps, int step, double decay, bint decoupled):
    """One pass of Adam, or AdamW if `decoupled`, over a stretch of the flat arrays; `step` counts from 1."""
    cdef bint wide = _double(w)
    cdef Py_ssize_t count = w.size
    cdef int num_threads = threads.get_num_threads()
    cdef double beta1, beta2
    beta1, beta2 = betas
    cdef void *pw = _data(w, count, wide, True, "w")
    cdef const void *pg = _data(g, count, wide, False, "g")
    cdef void *pm = _data(mean, count, wide, True, "mean")
    cdef void *pv = _data(square_mean, count, wide, True, "square_mean")
    with nogil:
        _tables[wide].adam(
            count, pw, pg, pm, pv, lr, beta1, beta2, eps, 1 - beta1**step, 1 - beta2**step, decay, decoupled,
            num_threads)


cdef const int64_t *_indices(object array, Py_ssize_t count, str name) except? NULL:
    """The address of `count` numbers of int64, one after the other."""
    cdef Py_buffer view
    PyObject_GetBuffer(array, &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
    cdef const int64_t *address = <const int64_t *>view.buf
    cdef bint right = view.ndim == 1 and view.shape[0] == count and _is_int64(&view)
    PyBuffer_Release(&view)
    if not right:
        raise ValueError(f"{name} must hold {count} numbers of int64; got {array.dtype} {array.shape}")
    return address


cdef bint _is_int64(const Py_buffer *view) noexcept:
    return view.itemsize == 8 and (strcmp(view.format, b"l") == 0 or strcmp(view.format, b"q") == 0)


cdef Py_ssize_t _first_outside(const int64_t *indices, Py_ssize_t count, int64_t low, int64_t high) noexcept nogil:
    """Where the first index is that is not in low..high - 1; -1 if there is none."""
    cdef Py_ssize_t i
    for i in range(count):
        if indices[i] < low or indices[i] >= high:
            return i
    return -1


def indices_fit(indices, Py_ssize_t length):
    """Whether all indices (int64) are in 0..length - 1."""
    cdef Py_ssize_t count = len(indices)
    return _first_outside(_indices(indices, count, "indices"), count, 0, length) < 0


def softmax_loss(scores, target, double divisor, double smoothing=0, class_weights=None):
    """The softmax loss and its gradient: kernels/c/softmax.h.

    `target` is labels (n,) of int64, where a negative one leaves its row out, or rows (n, c) of float64;
    `class_weights` is (c,) of float64.
    """
    cdef bint wide = _double(scores)
    if scores.ndim != 2 or scores.shape[1] == 0:
        raise ValueError(f"scores must be rows of at least one number; got shape {scores.shape}")
    cdef Py_ssize_t n = scores.shape[0], c = scores.shape[1], outside
    cdef int num_threads = threads.get_num_threads()
    cdef const int64_t *plabels = NULL
    cdef const double *prows = NULL
    cdef const double *pweights = NULL
    cdef const void *pz = _data(scores, n * c, wide, False, "scores")
    if target.ndim == 1:
        plabels = _indices(target, n, "labels")
        outside = _first_outside(plabels, n, INT64_MIN, c)
        if outside >= 0:
            raise ValueError(f"labels must be below {c}; got {target[outside]} at position {outside}")
    else:
        prows = <const double *>_data(target, n * c, True, False, "target")
    if class_weights is not None:
        pweights = <const double *>_data(class_weights, c, True, False, "class_weights")
    dscores = empty((n, c), scores.dtype)
    cdef void *pdz = _data(dscores, n * c, wide, True, "dscores")
    cdef double loss = 0
    cdef int failed
    with nogil:
        failed = _tables[wide].softmax_loss(
            n, c, pz, plabels, prows, pweights, smoothing, divisor, &loss, pdz, num_threads)
    _check(failed)
    return loss, dscores


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
        _tables[wide].dropout(count, px, p, key, py, num_threads)
    return y


cdef dict _SOURCES = {
    np.dtype(np.uint8): CNN_UINT8, np.dtype(np.float32): CNN_FLOAT32, np.dtype(np.float64): CNN_FLOAT64}


cdef void *_row_data(object array, Py_ssize_t count, bint writable, str name) except? NULL:
    """The address of an array of one of _SOURCES."""
    if array.dtype == _BYTE:
        return _bytes(array, count, writable, name)
    return _data(array, count, array.dtype == np.float64, writable, name)


def gather_rows(source, indices, dtype):
    """source[indices].astype(dtype) in one pass: kernels/c/batch.h.

    `source` is uint8, float32 or float64; `dtype` is float32, float64 or that of the source. Subnormal numbers that are
    converted become 0, as in every kernel.
    """
    dtype = np.dtype(dtype)
    if source.dtype not in _SOURCES or (dtype != source.dtype and dtype not in (np.float32, np.float64)):
        raise TypeError(f"rows are gathered from uint8, float32 or float64; got {source.dtype} to {dtype}")
    if source.ndim == 0:
        raise ValueError("rows are gathered from an array of at least one axis; got a single number")
    cdef bint same = dtype == source.dtype
    cdef bint wide = dtype == np.float64
    cdef cnn_source kind = CNN_SAME if same else _SOURCES[source.dtype]
    cdef Py_ssize_t length = source.shape[0], count = len(indices)
    cdef Py_ssize_t size = source.size // length if length else 0
    cdef int num_threads = threads.get_num_threads()
    cdef const int64_t *pindices = _indices(indices, count, "indices")
    cdef Py_ssize_t outside = _first_outside(pindices, count, 0, length)
    if outside >= 0:
        raise IndexError(f"indices must be in 0..{length - 1}; got {indices[outside]} at position {outside}")
    rows = empty((count, *source.shape[1:]), dtype)
    cdef const void *psource = _row_data(source, length * size, False, "source")
    cdef void *prows = _row_data(rows, count * size, True, "rows")
    if same:
        size *= dtype.itemsize
    with nogil:
        _tables[wide].gather_rows(count, size, psource, kind, pindices, prows, num_threads)
    return rows


cdef const void *_format(object array, const char *code, Py_ssize_t count, str name) except? NULL:
    """The address of `count` numbers whose type has this one-letter code, contiguously."""
    cdef Py_buffer view
    PyObject_GetBuffer(array, &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
    cdef const void *address = view.buf
    cdef bint right = strcmp(view.format, code) == 0 and view.len == count * view.itemsize
    PyBuffer_Release(&view)
    if not right:
        raise ValueError(f"{name} must hold {count} numbers of type {code.decode()}; got {array.dtype} {array.shape}")
    return address


cdef cnn_images _images(object x, object y) except *:
    """The numbers of a batch of images, those of x and y checked against each other."""
    cdef cnn_images s
    if x.shape != y.shape or x.ndim != N_AXES or 0 in x.shape[1:]:
        raise ValueError(f"the kernels take images (N, H, W, C) of one shape; got {x.shape} and {y.shape}")
    s.n, s.h, s.w, s.c = x.shape
    s.bytes_in, s.bytes_out = x.dtype == _BYTE, y.dtype == _BYTE
    if s.bytes_out and not s.bytes_in:
        raise ValueError(f"the kernels make images of bytes from images of bytes; got {x.dtype}")
    s.threads = threads.get_num_threads()
    return s


cdef void *_image_data(object images, bint of_bytes, bint wide, bint writable, str name) except? NULL:
    """The address of a batch of images of bytes, or of the precision."""
    if of_bytes:
        return _bytes(images, images.size, writable, name)
    return _data(images, images.size, wide, writable, name)


cdef bint _wide_images(object y) except -1:
    """Whether to compute in double precision: for images of float64. For bytes, single precision will do."""
    return False if y.dtype == _BYTE else _double(y)


def place_images(x, places, double fill, double hole, dtype):
    """Crop, mirror and cut out, into images of `dtype`; `places` (N, 7) of int32: kernels/c/augment.h."""
    y = empty(x.shape, dtype)
    cdef cnn_images s = _images(x, y)
    cdef bint wide = _wide_images(y)
    cdef const void *px = _image_data(x, s.bytes_in, wide, False, "x")
    cdef const int *pplaces = <const int *>_format(places, b"i", s.n * 7, "places")
    cdef void *py = _image_data(y, s.bytes_out, wide, True, "y")
    with nogil:
        _tables[wide].place_images(&s, px, pplaces, fill, hole, py)
    return y


def warp_images(x, maps, double fill):
    """y at (i, j) is x at a point that is affine in i and j, bilinear between pixels; `maps` (N, 6) of float64."""
    y = empty(x.shape, x.dtype)
    cdef cnn_images s = _images(x, y)
    cdef bint wide = _wide_images(y)
    cdef const void *px = _image_data(x, s.bytes_in, wide, False, "x")
    cdef const double *pmaps = <const double *>_format(maps, b"d", s.n * 6, "maps")
    cdef void *py = _image_data(y, s.bytes_out, wide, True, "y")
    with nogil:
        _tables[wide].warp_images(&s, px, pmaps, fill, py)
    return y


def jitter_images(x, factors):
    """y = contrast (brightness x - m) + m, m the image's mean of brightness x; `factors` (N, 2) of float64."""
    y = empty(x.shape, x.dtype)
    cdef cnn_images s = _images(x, y)
    cdef bint wide = _wide_images(y)
    cdef const void *px = _image_data(x, s.bytes_in, wide, False, "x")
    cdef const double *pfactors = <const double *>_format(factors, b"d", s.n * 2, "factors")
    cdef void *py = _image_data(y, s.bytes_out, wide, True, "y")
    with nogil:
        _tables[wide].jitter_images(&s, px, pfactors, py)
    return y


def blend_images(x, partners, shares, dtype):
    """y[i] = shares[i] x[i] + (1 - shares[i]) x[partners[i]], in floats of `dtype`."""
    y = empty(x.shape, dtype)
    cdef cnn_images s = _images(x, y)
    cdef bint wide = _double(y)
    cdef const void *px = _image_data(x, s.bytes_in, wide, False, "x")
    cdef const int64_t *ppartners = _indices(partners, s.n, "partners")
    cdef const double *pshares = <const double *>_format(shares, b"d", s.n, "shares")
    cdef void *py = _image_data(y, s.bytes_out, wide, True, "y")
    cdef Py_ssize_t outside = _first_outside(ppartners, s.n, 0, s.n)
    if outside >= 0:
        raise ValueError(f"partners must be in 0..{s.n - 1}; got {partners[outside]} at position {outside}")
    with nogil:
        _tables[wide].blend_images(&s, px, ppartners, pshares, py)
    return y


def _choose_level():
    """The level that CNNLAYERS_ISA names, or the fastest."""
    wanted = os.environ.get("CNNLAYERS_ISA", "")
    if wanted and wanted not in levels():
        raise ImportError(f"CNNLAYERS_ISA={wanted!r}: this processor and build have {', '.join(levels())}")
    set_level(wanted or levels()[0])


_choose_level()

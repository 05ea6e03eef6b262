# Convolutions, and the affine map: kernels/c/direct.h, depthwise.h, matmul.h, weight_grad.h and winograd_*.h. Which of
# these kernels computes a pass is decided in kernels/choice.py; kernels/convolution.py and affine.py call them by name.

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

    enum:
        CNN_NOT_FINITE

    ctypedef struct ConvKernels "cnn_kernels":
        int (*direct_forward)(
            const cnn_conv *, const void *x, const void *W, const void *b, const void *ready, void *y) noexcept nogil
        Py_ssize_t (*direct_packed)(const cnn_conv *) noexcept nogil
        int (*direct_pack)(const cnn_conv *, const void *W, const void *b, void *ready) noexcept nogil
        int (*direct_input_grad)(const cnn_conv *, const void *dy, const void *W, void *dx) noexcept nogil
        int (*direct_weight_grad)(
            const cnn_conv *, const void *x, const void *dy, void *dW, void *db) noexcept nogil
        int (*depthwise_forward)(
            const cnn_conv *, const void *x, const void *W, const void *b, void *y) noexcept nogil
        int (*depthwise_input_grad)(const cnn_conv *, const void *dy, const void *W, void *dx) noexcept nogil
        int (*depthwise_weight_grad)(
            const cnn_conv *, const void *x, const void *dy, void *dW, void *db) noexcept nogil
        int (*separable_suits)(const cnn_conv *s, const cnn_conv *p) noexcept nogil
        int (*separable_forward)(
            const cnn_conv *s, const cnn_conv *p, const void *x, const void *W, const void *b, const void *ready,
            int biased, void *y) noexcept nogil
        int (*stretched_forward)(
            Py_ssize_t n, Py_ssize_t d, Py_ssize_t m, const void *x, const void *W, const void *b, void *y, int relu,
            int threads) noexcept nogil
        int (*turned_input_grad)(
            Py_ssize_t n, Py_ssize_t d, Py_ssize_t m, const void *dy, const void *W, void *dx,
            int threads) noexcept nogil
        int (*dots_input_grad)(
            Py_ssize_t n, Py_ssize_t d, Py_ssize_t m, const void *dy, const void *W, void *dx,
            int threads) noexcept nogil
        int (*winograd_forward)(
            const cnn_conv *, const void *x, const void *W, const void *b, const void *ready, void *y) noexcept nogil
        Py_ssize_t (*winograd_packed)(const cnn_conv *) noexcept nogil
        void (*winograd_pack)(const cnn_conv *, const void *W, void *ready) noexcept nogil
        int (*winograd_input_grad)(const cnn_conv *, const void *dy, const void *W, void *dx) noexcept nogil
        int (*winograd_weight_grad)(
            const cnn_conv *, const void *x, const void *dy, void *dW, void *db) noexcept nogil
        void (*finish_grad)(
            Py_ssize_t count, const void *dx, const void *plus, const void *rectified, void *to,
            int threads) noexcept nogil
        void (*add)(Py_ssize_t count, const void *a, const void *b, void *y, int relu, int threads) noexcept nogil


cdef inline const ConvKernels *_conv_kernels(bint wide) noexcept nogil:
    return <const ConvKernels *>_tables[wide]


# Kernel sizes and sides of Winograd's tiles: the methods of kernels/c/winograd.h. A signal's kernel is 1 high.
TILES = {(3, 3, 4), (3, 3, 2), (5, 5, 2), (1, 3, 4), (1, 5, 2)}


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


cdef enum Kernel:
    DIRECT
    DEPTHWISE
    STRETCHED
    TURNED
    DOTS
    WINOGRAD

_KERNELS = {
    "direct": DIRECT,
    "depthwise": DEPTHWISE,
    "stretched": STRETCHED,
    "turned": TURNED,
    "dots": DOTS,
    "winograd": WINOGRAD,
}
cdef enum:
    MOST_STRETCHED = 51200  # columns of W: the elements of W in a task of matmul.h


cdef Kernel _kernel(const cnn_conv *s, str name, bint wide) except *:
    """The kernel of this name, if it can compute the convolution."""
    cdef Kernel kernel = _KERNELS[name]
    cdef bint product = (
        s.kh * s.kw * s.sh * s.sw * s.groups == 1 and s.oh == s.h and s.ow == s.w and s.top == 0 and s.left == 0)
    if (
        (kernel == WINOGRAD) != (s.side != 0)
        or kernel == DEPTHWISE and not (s.groups == s.c == s.f)
        or kernel in (STRETCHED, TURNED, DOTS) and not product
        or kernel == STRETCHED and not 2 * _tables[wide].lanes <= s.f <= MOST_STRETCHED
    ):
        raise ValueError(f"the kernel {name!r} cannot compute this convolution")
    return kernel


cdef int _stand_upright(cnn_conv *s) except -1:
    """Take a signal, or an image of one row, for an image of one column: work is cut into tasks by rows."""
    if not (s.h == s.oh == s.kh == 1 and s.top == 0):
        raise ValueError("only a signal, or an image of one row, can stand upright")
    s.h, s.oh, s.kh, s.sh, s.dh, s.top = s.w, s.ow, s.kw, s.sw, s.dw, s.left
    s.w, s.ow, s.kw, s.sw, s.dw, s.left = 1, 1, 1, 1, 1, 0
    return 0


cdef class PackedConv:
    """The weights and bias of a convolution in the order in which conv_forward reads them.

    The order of the kernel "direct" (side 0) is for images of one size; Winograd's for images of any. Without a window,
    those of an affine map, for any number of rows.
    """
    cdef object window, shape, numbers
    cdef const ConvKernels *tables
    cdef int side

    def __init__(self, W, b, window, int side=0):
        cdef cnn_conv s = _affine(1, W) if window is None else _conv(window, 0, W, side)
        cdef bint wide = _double(W)
        cdef const void *pW = _data(W, s.kh * s.kw * (s.c // s.groups) * s.f, wide, False, "W")
        cdef const void *pb = NULL if b is None else _data(b, s.f, wide, False, "b")
        cdef const ConvKernels *k = _conv_kernels(wide)
        self.tables, self.window, self.shape, self.side = k, window, W.shape, side
        self.numbers = empty(((k.winograd_packed if side else k.direct_packed)(&s),), W.dtype)
        cdef void *to = _data(self.numbers, self.numbers.size, wide, True, "packed")
        cdef int failed = 0
        with nogil:
            if side:
                k.winograd_pack(&s, pW, to)
            else:
                failed = k.direct_pack(&s, pW, pb, to)
        _check(failed)

    def fits(self, W, window, int side=0):
        """Whether it was packed for these, on the level in use."""
        if self.tables != _conv_kernels(_double(W)) or self.side != side or self.shape != W.shape:
            return False
        return self.window.channels == window.channels if side else self.window == window

    def __reduce__(self):
        return type(None), ()  # a copy has None in its place, since the weights of a copy may change


def conv_forward(
    x, W, b, window, bint relu=False, PackedConv packed=None, int side=0, plus=None, *, kernel=None, bint upright=False
):
    """y = x * W + b + plus, then max(y, 0) if `relu`. `packed`: W and b packed, for use if it fits.

    By the kernel of this name ("winograd" with a `side`, else "direct"), in kernels/c; None if that met a number that
    is not finite, and spread it.
    """
    cdef cnn_conv s = _conv(window, len(x), W, side)
    cdef bint wide = _double(x)
    cdef Kernel chosen = _kernel(&s, kernel or ("winograd" if side else "direct"), wide)
    y = empty((s.n, *window.out, s.f), x.dtype)
    cdef Py_ssize_t rows = s.n * s.h * s.w, count = s.n * s.oh * s.ow * s.f
    cdef const void *px = _data(x, rows * s.c, wide, False, "x")
    cdef const void *pW = _data(W, s.kh * s.kw * (s.c // s.groups) * s.f, wide, False, "W")
    cdef const void *pb = NULL if b is None else _data(b, s.f, wide, False, "b")
    cdef void *py = _data(y, count, wide, True, "y")
    if plus is not None:
        s.plus = _data(plus, count, wide, False, "plus")
    s.relu = relu and (chosen == WINOGRAD or s.plus == NULL)
    if upright:
        _stand_upright(&s)
    cdef const ConvKernels *k = _conv_kernels(wide)
    cdef const void *ready = NULL
    if packed is not None and not upright and packed.fits(W, window, side):
        ready = _data(packed.numbers, packed.numbers.size, wide, False, "packed")
    cdef int failed
    with nogil:
        if chosen == WINOGRAD:
            failed = k.winograd_forward(&s, px, pW, pb, ready, py)
        elif chosen == DEPTHWISE:
            failed = k.depthwise_forward(&s, px, pW, pb, py)
        elif chosen == STRETCHED:
            failed = k.stretched_forward(rows, s.c, s.f, px, pW, pb, py, s.relu, s.threads)
        else:
            failed = k.direct_forward(&s, px, pW, pb, ready, py)
        if not failed and chosen != WINOGRAD and s.plus != NULL:
            k.add(count, py, s.plus, py, relu, s.threads)
    return y if _finite(failed) else None


def conv_input_grad(dy, W, window, int side=0, plus=None, mask=None, *, kernel=None, bint upright=False):
    """dx[i] = sum over the outputs that read pixel i of dy W^T, + plus; 0 where `mask` is not above 0.

    By the kernel of this name ("winograd" with a `side`, else "direct"), in kernels/c; None if that met a number that
    is not finite, and spread it.
    """
    cdef cnn_conv s = _conv(window, len(dy), W, side)
    cdef bint wide = _double(dy)
    cdef Kernel chosen = _kernel(&s, kernel or ("winograd" if side else "direct"), wide)
    dx = empty((s.n, *window.sizes, s.c), dy.dtype)
    cdef Py_ssize_t rows = s.n * s.h * s.w, count = rows * s.c
    cdef const void *pdy = _data(dy, s.n * s.oh * s.ow * s.f, wide, False, "dy")
    cdef const void *pW = _data(W, s.kh * s.kw * (s.c // s.groups) * s.f, wide, False, "W")
    cdef void *pdx = _data(dx, count, wide, True, "dx")
    if plus is not None:
        s.plus = _data(plus, count, wide, False, "plus")
    if mask is not None:
        s.rectified = _data(mask, count, wide, False, "mask")
    if upright:
        _stand_upright(&s)
    cdef const ConvKernels *k = _conv_kernels(wide)
    cdef int failed
    with nogil:
        if chosen == WINOGRAD:
            failed = k.winograd_input_grad(&s, pdy, pW, pdx)
        elif chosen == DEPTHWISE:
            failed = k.depthwise_input_grad(&s, pdy, pW, pdx)
        elif chosen == TURNED:
            failed = k.turned_input_grad(rows, s.c, s.f, pdy, pW, pdx, s.threads)
        elif chosen == DOTS:
            failed = k.dots_input_grad(rows, s.c, s.f, pdy, pW, pdx, s.threads)
        else:
            failed = k.direct_input_grad(&s, pdy, pW, pdx)
        if not failed and chosen != WINOGRAD:
            k.finish_grad(count, pdx, s.plus, s.rectified, pdx, s.threads)
    return dx if _finite(failed) else None


def conv_weight_grad(x, dy, window, dW, db=None, int side=0, *, kernel=None):
    """dW := sum over positions of patch^T dy, db := sum of dy.

    By the kernel of this name ("winograd" with a `side`, of tiles of dy, else "direct"), in kernels/c. Returns whether
    dW is right: not so if that met a number that is not finite, and spread it. db is right in any case.
    """
    cdef cnn_conv s = _conv(window, len(x), dW, side)
    cdef bint wide = _double(x)
    cdef Kernel chosen = _kernel(&s, kernel or ("winograd" if side else "direct"), wide)
    cdef const void *px = _data(x, s.n * s.h * s.w * s.c, wide, False, "x")
    cdef const void *pdy = _data(dy, s.n * s.oh * s.ow * s.f, wide, False, "dy")
    cdef void *pdW = _data(dW, s.kh * s.kw * (s.c // s.groups) * s.f, wide, True, "dW")
    cdef void *pdb = NULL if db is None else _data(db, s.f, wide, True, "db")
    cdef const ConvKernels *k = _conv_kernels(wide)
    cdef int failed
    with nogil:
        if chosen == WINOGRAD:
            failed = k.winograd_weight_grad(&s, px, pdy, pdW, pdb)
        elif chosen == DEPTHWISE:
            failed = k.depthwise_weight_grad(&s, px, pdy, pdW, pdb)
        else:
            failed = k.direct_weight_grad(&s, px, pdy, pdW, pdb)
    return _finite(failed)


cdef bint _finite(int failed) except -1:
    """Whether a kernel's result is to be used."""
    if failed != CNN_NOT_FINITE:
        _check(failed)
    return failed == 0


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


def affine(x, W, b, bint relu=False, PackedConv packed=None, *, kernel="direct"):
    """y = x W + b, then max(y, 0) if `relu`, by the kernel of this name, in kernels/c. `packed`: for use if it fits."""
    cdef cnn_conv s = _affine(len(x), W)
    cdef bint wide = _double(x)
    cdef Kernel chosen = _kernel(&s, kernel, wide)
    cdef const ConvKernels *k = _conv_kernels(wide)
    y = empty((s.h, s.f), x.dtype)
    s.relu = relu
    cdef const void *px = _data(x, s.h * s.c, wide, False, "x")
    cdef const void *pW = _data(W, s.c * s.f, wide, False, "W")
    cdef const void *pb = NULL if b is None else _data(b, s.f, wide, False, "b")
    cdef void *py = _data(y, s.h * s.f, wide, True, "y")
    cdef const void *ready = NULL
    if packed is not None and packed.fits(W, None):
        ready = _data(packed.numbers, packed.numbers.size, wide, False, "packed")
    cdef int failed
    with nogil:
        if chosen == STRETCHED:
            failed = k.stretched_forward(s.h, s.c, s.f, px, pW, pb, py, relu, s.threads)
        else:
            failed = k.direct_forward(&s, px, pW, pb, ready, py)
    _check(failed)
    return y


def affine_input_grad(dy, W, *, kernel="direct"):
    """dx = dy W^T, by the kernel of this name, in kernels/c."""
    cdef cnn_conv s = _affine(len(dy), W)
    cdef bint wide = _double(dy)
    cdef Kernel chosen = _kernel(&s, kernel, wide)
    cdef const ConvKernels *k = _conv_kernels(wide)
    dx = empty((s.h, s.c), dy.dtype)
    cdef const void *pdy = _data(dy, s.h * s.f, wide, False, "dy")
    cdef const void *pW = _data(W, s.c * s.f, wide, False, "W")
    cdef void *pdx = _data(dx, s.h * s.c, wide, True, "dx")
    cdef int failed
    with nogil:
        if chosen == TURNED:
            failed = k.turned_input_grad(s.h, s.c, s.f, pdy, pW, pdx, s.threads)
        elif chosen == DOTS:
            failed = k.dots_input_grad(s.h, s.c, s.f, pdy, pW, pdx, s.threads)
        else:
            failed = k.direct_input_grad(&s, pdy, pW, pdx)
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
        failed = _conv_kernels(wide).direct_weight_grad(&s, px, pdy, pdW, pdb)
    _check(failed)

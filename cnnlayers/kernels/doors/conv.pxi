# Convolutions, and the affine map, which is one of 1x1: kernels/c/conv.h and kernels/c/winograd_conv.h.

__all__ += ["affine", "affine_input_grad", "affine_weight_grad"]

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

ctypedef int (*input_grad_kernel)(const cnn_conv *, const void *, const void *, void *) noexcept nogil
ctypedef int (*weight_grad_kernel)(const cnn_conv *, const void *, const void *, void *, void *) noexcept nogil

cdef extern from "kernels/c/table.h" nogil:
    ctypedef struct ConvKernels "cnn_kernels":
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


cdef class PackedConv:
    """The weights and bias of a convolution in the order in which conv_forward reads them.

    The plain kernel's order (side 0) is for images of one size; Winograd's for images of any.
    """
    cdef object window, shape, numbers
    cdef const ConvKernels *tables
    cdef int side

    def __init__(self, W, b, window, int side=0):
        cdef cnn_conv s = _conv(window, 0, W, side)
        cdef bint wide = _double(W)
        cdef const void *pW = _data(W, s.kh * s.kw * (s.c // s.groups) * s.f, wide, False, "W")
        cdef const void *pb = NULL if b is None else _data(b, s.f, wide, False, "b")
        cdef const ConvKernels *k = _conv_kernels(wide)
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

    cdef bint fits(self, const ConvKernels *k, object W, object window, int side):
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
    cdef const ConvKernels *k = _conv_kernels(wide)
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


def conv_input_grad(dy, W, window, int side=0, plus=None, mask=None):
    """dx[i] = sum over the outputs that read pixel i of dy W^T, + plus; 0 where `mask` is not above 0.

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
    if mask is not None:
        s.rectified = _data(mask, s.n * s.h * s.w * s.c, wide, False, "mask")
    cdef const ConvKernels *k = _conv_kernels(wide)
    cdef input_grad_kernel kernel = k.winograd_input_grad if side else k.conv_input_grad
    cdef int failed
    with nogil:
        failed = kernel(&s, pdy, pW, pdx)
    _check(failed)
    return dx


def conv_weight_grad(x, dy, window, dW, db=None, int side=0):
    """dW := sum over positions of patch^T dy, db := sum of dy.

    kernels/c/weight_grad.h; with `side`, kernels/c/winograd_weight_grad.h in tiles of that side of dy.
    """
    cdef cnn_conv s = _conv(window, len(x), dW, side)
    cdef bint wide = _double(x)
    cdef const void *px = _data(x, s.n * s.h * s.w * s.c, wide, False, "x")
    cdef const void *pdy = _data(dy, s.n * s.oh * s.ow * s.f, wide, False, "dy")
    cdef void *pdW = _data(dW, s.kh * s.kw * (s.c // s.groups) * s.f, wide, True, "dW")
    cdef void *pdb = NULL if db is None else _data(db, s.f, wide, True, "db")
    cdef const ConvKernels *k = _conv_kernels(wide)
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
        failed = _conv_kernels(wide).conv_forward(&s, px, pW, pb, NULL, py)
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
        failed = _conv_kernels(wide).conv_input_grad(&s, pdy, pW, pdx)
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
        failed = _conv_kernels(wide).conv_weight_grad(&s, px, pdy, pdW, pdb)
    _check(failed)

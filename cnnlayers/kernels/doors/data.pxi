# A batch of a data set: its rows gathered, its images augmented. kernels/c/gather_rows.h, kernels/c/augment.h.

__all__ += ["gather_rows", "indices_fit", "place_images", "warp_images", "jitter_images", "blend_images"]

cdef extern from "kernels/c/table.h" nogil:
    ctypedef enum cnn_source:
        CNN_SAME
        CNN_UINT8
        CNN_FLOAT32
        CNN_FLOAT64

    ctypedef struct cnn_images:
        Py_ssize_t n, h, w, c
        int bytes_in, bytes_out
        int threads

    ctypedef struct DataKernels "cnn_kernels":
        void (*gather_rows)(
            Py_ssize_t count, Py_ssize_t size, const void *source, cnn_source kind, const int64_t *indices,
            void *rows, int threads) noexcept nogil
        void (*place_images)(
            const cnn_images *, const void *x, const int *places, double fill, int reflect, double hole,
            void *y) noexcept nogil
        void (*warp_images)(const cnn_images *, const void *x, const double *maps, double fill, void *y) noexcept nogil
        void (*jitter_images)(const cnn_images *, const void *x, const double *factors, void *y) noexcept nogil
        void (*blend_images)(
            const cnn_images *, const void *x, const int64_t *partners, const double *shares,
            void *y) noexcept nogil


cdef inline const DataKernels *_data_kernels(bint wide) noexcept nogil:
    return <const DataKernels *>_tables[wide]


cdef enum:
    N_AXES = 4  # of images

cdef dict _SOURCES = {
    np.dtype(np.uint8): CNN_UINT8, np.dtype(np.float32): CNN_FLOAT32, np.dtype(np.float64): CNN_FLOAT64}


def indices_fit(indices, Py_ssize_t length):
    """Whether all indices (int64) are in 0..length - 1."""
    cdef Py_ssize_t count = len(indices)
    return _first_outside(<const int64_t *>_numbers(indices, count, c"q", False, "indices"), count, 0, length) < 0


def gather_rows(source, indices, dtype):
    """source[indices].astype(dtype) in one pass: kernels/c/gather_rows.h.

    `source` is uint8, float32 or float64; `dtype` is float32, float64 or that of the source. Subnormal numbers that are
    converted become 0, as in every kernel.
    """
    dtype = np.dtype(dtype)
    if source.dtype not in _SOURCES or (dtype != source.dtype and dtype not in (np.float32, np.float64)):
        raise TypeError(f"rows are gathered from uint8, float32 or float64; got {source.dtype} to {dtype}")
    if source.ndim == 0:
        raise ValueError("rows are gathered from an array of at least one axis; got a single number")
    if indices.ndim != 1:
        raise ValueError(f"indices must have one axis; got shape {indices.shape}")
    cdef bint same = dtype == source.dtype
    cdef bint wide = dtype == np.float64
    cdef cnn_source kind = CNN_SAME if same else _SOURCES[source.dtype]
    cdef Py_ssize_t length = source.shape[0], count = len(indices)
    cdef Py_ssize_t size = source.size // length if length else 0
    cdef int num_threads = threads.get_num_threads()
    cdef const int64_t *pindices = <const int64_t *>_numbers(indices, count, c"q", False, "indices")
    cdef Py_ssize_t outside = _first_outside(pindices, count, 0, length)
    if outside >= 0:
        raise IndexError(f"indices must be in 0..{length - 1}; got {indices[outside]} at position {outside}")
    rows = empty((count, *source.shape[1:]), dtype)
    cdef const void *psource = _numbers(source, length * size, ord(source.dtype.char), False, "source")
    cdef void *prows = _numbers(rows, count * size, ord(dtype.char), True, "rows")
    if same:
        size *= dtype.itemsize
    with nogil:
        _data_kernels(wide).gather_rows(count, size, psource, kind, pindices, prows, num_threads)
    return rows


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


cdef bint _wide_images(object y) except -1:
    """Whether to compute in double precision: for images of float64. For bytes, single precision will do."""
    return False if y.dtype == _BYTE else _double(y)


cdef char _pixel(bint of_bytes, bint wide) noexcept:
    """The type of a pixel's numbers, for `_numbers`."""
    return c"B" if of_bytes else c"d" if wide else c"f"


def place_images(x, places, double fill, double hole, dtype, bint reflect=False):
    """Crop, mirror and cut out, into images of `dtype`; `places` (N, 7) of int32: kernels/c/augment.h.

    With `reflect` what is outside of an image is its reflection, not `fill`; an image moves by less than its size.
    """
    y = empty(x.shape, dtype)
    cdef cnn_images s = _images(x, y)
    cdef bint wide = _wide_images(y)
    cdef const void *px = _numbers(x, x.size, _pixel(s.bytes_in, wide), False, "x")
    cdef const int *pplaces = <const int *>_numbers(places, s.n * 7, c"i", False, "places")
    cdef void *py = _numbers(y, y.size, _pixel(s.bytes_out, wide), True, "y")
    with nogil:
        _data_kernels(wide).place_images(&s, px, pplaces, fill, reflect, hole, py)
    return y


def warp_images(x, maps, double fill):
    """y at (i, j) is x at a point that is affine in i and j, bilinear between pixels; `maps` (N, 6) of float64."""
    y = empty(x.shape, x.dtype)
    cdef cnn_images s = _images(x, y)
    cdef bint wide = _wide_images(y)
    cdef const void *px = _numbers(x, x.size, _pixel(s.bytes_in, wide), False, "x")
    cdef const double *pmaps = <const double *>_numbers(maps, s.n * 6, c"d", False, "maps")
    cdef void *py = _numbers(y, y.size, _pixel(s.bytes_out, wide), True, "y")
    with nogil:
        _data_kernels(wide).warp_images(&s, px, pmaps, fill, py)
    return y


def jitter_images(x, factors):
    """y = contrast (brightness x - m) + m, m the image's mean of brightness x; `factors` (N, 2) of float64."""
    y = empty(x.shape, x.dtype)
    cdef cnn_images s = _images(x, y)
    cdef bint wide = _wide_images(y)
    cdef const void *px = _numbers(x, x.size, _pixel(s.bytes_in, wide), False, "x")
    cdef const double *pfactors = <const double *>_numbers(factors, s.n * 2, c"d", False, "factors")
    cdef void *py = _numbers(y, y.size, _pixel(s.bytes_out, wide), True, "y")
    with nogil:
        _data_kernels(wide).jitter_images(&s, px, pfactors, py)
    return y


def blend_images(x, partners, shares, dtype):
    """y[i] = shares[i] x[i] + (1 - shares[i]) x[partners[i]], in floats of `dtype`."""
    y = empty(x.shape, dtype)
    cdef cnn_images s = _images(x, y)
    cdef bint wide = _double(y)
    cdef const void *px = _numbers(x, x.size, _pixel(s.bytes_in, wide), False, "x")
    cdef const int64_t *ppartners = <const int64_t *>_numbers(partners, s.n, c"q", False, "partners")
    cdef const double *pshares = <const double *>_numbers(shares, s.n, c"d", False, "shares")
    cdef void *py = _numbers(y, y.size, _pixel(s.bytes_out, wide), True, "y")
    cdef Py_ssize_t outside = _first_outside(ppartners, s.n, 0, s.n)
    if outside >= 0:
        raise ValueError(f"partners must be in 0..{s.n - 1}; got {partners[outside]} at position {outside}")
    with nogil:
        _data_kernels(wide).blend_images(&s, px, ppartners, pshares, py)
    return y

# The softmax loss: kernels/c/softmax.h.

__all__ += ["softmax_loss"]

cdef extern from "kernels/c/table.h" nogil:
    ctypedef struct LossKernels "cnn_kernels":
        int (*softmax_loss)(
            Py_ssize_t n, Py_ssize_t c, const void *z, const int64_t *labels, const double *rows,
            const double *weights, double smoothing, double divisor, double *loss, void *dz,
            int threads) noexcept nogil


cdef inline const LossKernels *_loss_kernels(bint wide) noexcept nogil:
    return <const LossKernels *>_tables[wide]


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
        plabels = <const int64_t *>_numbers(target, n, c"q", False, "labels")
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
        failed = _loss_kernels(wide).softmax_loss(
            n, c, pz, plabels, prows, pweights, smoothing, divisor, &loss, pdz, num_threads)
    _check(failed)
    return loss, dscores

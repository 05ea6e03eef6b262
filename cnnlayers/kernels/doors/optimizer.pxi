# One step of an optimizer over a stretch of the flat arrays: kernels/c/optimizer.h.

__all__ += ["sgd", "rmsprop", "adagrad", "adam"]

cdef extern from "kernels/c/table.h" nogil:
    ctypedef struct OptimizerKernels "cnn_kernels":
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


cdef inline const OptimizerKernels *_optimizer_kernels(bint wide) noexcept nogil:
    return <const OptimizerKernels *>_tables[wide]


def sgd(w, g, velocity, double lr, double momentum, bint nesterov, double decay):
    """One pass of SGD over a stretch of the flat arrays; `velocity` is None without momentum: kernels/c/optimizer.h."""
    cdef bint wide = _double(w)
    cdef Py_ssize_t count = w.size
    cdef int num_threads = threads.get_num_threads()
    cdef void *pw = _data(w, count, wide, True, "w")
    cdef const void *pg = _data(g, count, wide, False, "g")
    cdef void *pv = NULL if velocity is None else _data(velocity, count, wide, True, "velocity")
    with nogil:
        _optimizer_kernels(wide).sgd(count, pw, pg, pv, lr, momentum, nesterov, decay, num_threads)


def rmsprop(w, g, square_mean, double lr, double alpha, double eps, double decay):
    """One pass of RMSProp over a stretch of the flat arrays."""
    cdef bint wide = _double(w)
    cdef Py_ssize_t count = w.size
    cdef int num_threads = threads.get_num_threads()
    cdef void *pw = _data(w, count, wide, True, "w")
    cdef const void *pg = _data(g, count, wide, False, "g")
    cdef void *ps = _data(square_mean, count, wide, True, "square_mean")
    with nogil:
        _optimizer_kernels(wide).rmsprop(count, pw, pg, ps, lr, alpha, eps, decay, num_threads)


def adagrad(w, g, square_sum, double lr, double eps, double decay):
    """One pass of Adagrad over a stretch of the flat arrays."""
    cdef bint wide = _double(w)
    cdef Py_ssize_t count = w.size
    cdef int num_threads = threads.get_num_threads()
    cdef void *pw = _data(w, count, wide, True, "w")
    cdef const void *pg = _data(g, count, wide, False, "g")
    cdef void *ps = _data(square_sum, count, wide, True, "square_sum")
    with nogil:
        _optimizer_kernels(wide).adagrad(count, pw, pg, ps, lr, eps, decay, num_threads)


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
        _optimizer_kernels(wide).adam(
            count, pw, pg, pm, pv, lr, beta1, beta2, eps, 1 - beta1**step, 1 - beta2**step, decay, decoupled,
            num_threads)

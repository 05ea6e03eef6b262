# Norms: kernels/c/batch_norm.h, group_norm.h, layer_norm.h.

__all__ += [
    "batch_norm", "batch_norm_apply", "move_average", "batch_norm_grad", "group_norm", "group_norm_grad",
    "layer_norm", "layer_norm_grad",
]

cdef extern from "kernels/c/table.h" nogil:
    enum:
        CNN_THEN_NOTHING, CNN_THEN_RELU, CNN_THEN_GELU
    ctypedef struct NormKernels "cnn_kernels":
        int (*batch_norm)(
            Py_ssize_t rows, Py_ssize_t c, const void *x, const void *gamma, const void *beta, double eps,
            const void *plus, void *mean, void *var, void *scale, void *y, int after, int threads) noexcept nogil
        int (*batch_norm_apply)(
            Py_ssize_t rows, Py_ssize_t c, const void *x, const void *gamma, const void *beta, const void *mean,
            const void *scale, const void *plus, void *y, int after, int threads) noexcept nogil
        void (*move_average)(
            Py_ssize_t count, void *running, const void *value, double momentum, double factor) noexcept nogil
        int (*batch_norm_grad)(
            Py_ssize_t rows, Py_ssize_t c, const void *x, const void *dy, const void *gamma, const void *beta,
            const void *mean, const void *scale, void *dgamma, void *dbeta, void *dx, int on_batch, int after,
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


cdef inline const NormKernels *_norm_kernels(bint wide) noexcept nogil:
    return <const NormKernels *>_tables[wide]


cdef int _after(bint relu, bint gelu) except -1:
    """What comes after a norm."""
    if relu and gelu:
        raise ValueError("a norm ends in a ReLU or in a GELU, not in both")
    return CNN_THEN_RELU if relu else CNN_THEN_GELU if gelu else CNN_THEN_NOTHING


def batch_norm(x, gamma, beta, double eps, bint relu=False, plus=None, bint gelu=False):
    """y = gamma (x - mean) scale + beta + plus by the batch's statistics; y, mean, var, scale = 1 / sqrt(var + eps).

    With `relu` or `gelu`, y is what that makes of it.
    """
    cdef int after = _after(relu, gelu)
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
        failed = _norm_kernels(wide).batch_norm(
            rows, c, px, pgamma, pbeta, eps, pplus, pmean, pvar, pscale, py, after, num_threads)
    _check(failed)
    return y, mean, var, scale


def batch_norm_apply(x, gamma, beta, mean, scale, bint relu=False, plus=None, bint gelu=False):
    """y = gamma (x - mean) scale + beta + plus; with `relu` or `gelu`, what that makes of it."""
    cdef int after = _after(relu, gelu)
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
        failed = _norm_kernels(wide).batch_norm_apply(
            rows, c, px, pgamma, pbeta, pmean, pscale, pplus, py, after, num_threads)
    _check(failed)
    return y


def move_average(running, value, double momentum, double factor=1):
    """running := momentum running + (1 - momentum) factor value."""
    cdef bint wide = _double(running)
    cdef Py_ssize_t count = running.size
    cdef void *prunning = _data(running, count, wide, True, "running")
    cdef const void *pvalue = _data(value, count, wide, False, "value")
    _norm_kernels(wide).move_average(count, prunning, pvalue, momentum, factor)


def batch_norm_grad(
    x, dy, gamma, mean, scale, *, into, bint on_batch, bint input_grad=True, relu_beta=None, gelu_beta=None
):
    """dgamma := sum dy x_hat, dbeta := sum dy, `into` these two, and dx.

    With `relu_beta`, which is beta, dy is that of a ReLU after y: it counts where gamma x_hat + beta is above 0. With
    `gelu_beta` it is that of a GELU.
    """
    cdef int after = _after(relu_beta is not None, gelu_beta is not None)
    cdef bint wide = _double(x)
    cdef Py_ssize_t c = _channels(x)
    cdef Py_ssize_t rows = x.size // c
    cdef int num_threads = threads.get_num_threads()
    dgamma, dbeta = into
    dx = empty(x.shape, x.dtype) if input_grad else None
    cdef const void *px = _data(x, rows * c, wide, False, "x")
    cdef const void *pdy = _data(dy, rows * c, wide, False, "dy")
    cdef const void *pgamma = _data(gamma, c, wide, False, "gamma")
    beta = gelu_beta if relu_beta is None else relu_beta
    cdef const void *pbeta = NULL if beta is None else _data(beta, c, wide, False, "beta")
    cdef const void *pmean = _data(mean, c, wide, False, "mean")
    cdef const void *pscale = _data(scale, c, wide, False, "scale")
    cdef void *pdgamma = _data(dgamma, c, wide, True, "dgamma")
    cdef void *pdbeta = _data(dbeta, c, wide, True, "dbeta")
    cdef void *pdx = NULL if dx is None else _data(dx, rows * c, wide, True, "dx")
    cdef int failed
    with nogil:
        failed = _norm_kernels(wide).batch_norm_grad(
            rows, c, px, pdy, pgamma, pbeta, pmean, pscale, pdgamma, pdbeta, pdx, on_batch, after,
            num_threads)
    _check(failed)
    return dx


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
        failed = _norm_kernels(wide).group_norm(
            n, positions, c, groups, px, pgamma, pbeta, eps, pmean, pscale, py, relu, num_threads)
    _check(failed)
    return y, mean, scale


def group_norm_grad(x, dy, Py_ssize_t groups, gamma, mean, scale, *, into, bint input_grad=True, relu_beta=None):
    """dgamma := sum dy x_hat, dbeta := sum dy, `into` these two, and dx; `relu_beta` as for batch_norm_grad."""
    cdef bint wide = _double(x)
    cdef Py_ssize_t c = _channels(x)
    cdef Py_ssize_t positions = _group_positions(x, c, groups)
    cdef Py_ssize_t n = len(x) if x.size else 0
    cdef int num_threads = threads.get_num_threads()
    dgamma, dbeta = into
    dx = empty(x.shape, x.dtype) if input_grad else None
    cdef const void *px = _data(x, n * positions * c, wide, False, "x")
    cdef const void *pdy = _data(dy, n * positions * c, wide, False, "dy")
    cdef const void *pgamma = _data(gamma, c, wide, False, "gamma")
    cdef const void *pbeta = NULL if relu_beta is None else _data(relu_beta, c, wide, False, "relu_beta")
    cdef const void *pmean = _data(mean, n * c, wide, False, "mean")
    cdef const void *pscale = _data(scale, n * c, wide, False, "scale")
    cdef void *pdgamma = _data(dgamma, c, wide, True, "dgamma")
    cdef void *pdbeta = _data(dbeta, c, wide, True, "dbeta")
    cdef void *pdx = NULL if dx is None else _data(dx, n * positions * c, wide, True, "dx")
    cdef int failed
    with nogil:
        failed = _norm_kernels(wide).group_norm_grad(
            n, positions, c, groups, px, pdy, pgamma, pbeta, pmean, pscale, pdgamma, pdbeta, pdx, pbeta != NULL,
            num_threads)
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
        failed = _norm_kernels(wide).layer_norm(rows, c, px, pgamma, pbeta, eps, pmean, pscale, py, num_threads)
    _check(failed)
    return y, mean, scale


def layer_norm_grad(x, dy, gamma, mean, scale, *, into, bint input_grad=True):
    """dgamma := sum dy x_hat, dbeta := sum dy, `into` these two, and dx."""
    cdef bint wide = _double(x)
    cdef Py_ssize_t c = _channels(x)
    cdef Py_ssize_t rows = x.size // c
    cdef int num_threads = threads.get_num_threads()
    dgamma, dbeta = into
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
        failed = _norm_kernels(wide).layer_norm_grad(
            rows, c, px, pdy, pgamma, pmean, pscale, pdgamma, pdbeta, pdx, num_threads)
    _check(failed)
    return dx

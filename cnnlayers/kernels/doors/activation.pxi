# Activations but ReLU: kernels/c/activation.h.

__all__ += [
    "leaky_relu", "leaky_relu_input_grad", "sigmoid", "sigmoid_input_grad", "tanh", "tanh_input_grad", "elu",
    "elu_input_grad", "gelu", "gelu_input_grad", "silu", "silu_input_grad",
]

cdef extern from "kernels/c/table.h" nogil:
    enum:
        CNN_LEAKY_RELU
        CNN_SIGMOID
        CNN_TANH
        CNN_ELU
        CNN_GELU
        CNN_GELU_TANH
        CNN_SILU

    ctypedef struct ActivationKernels "cnn_kernels":
        void (*activation)(
            int kind, Py_ssize_t count, const void *x, void *y, double alpha, int threads) noexcept nogil
        void (*activation_grad)(
            int kind, Py_ssize_t count, const void *a, const void *dy, void *dx, double alpha,
            int threads) noexcept nogil


cdef inline const ActivationKernels *_activation_kernels(bint wide) noexcept nogil:
    return <const ActivationKernels *>_tables[wide]


cdef object _activation(int kind, object x, double alpha=0):
    """y = f(x), number by number: kernels/c/activation.h."""
    cdef bint wide = _double(x)
    cdef Py_ssize_t count = x.size
    cdef int num_threads = threads.get_num_threads()
    y = empty(x.shape, x.dtype)
    cdef const void *px = _data(x, count, wide, False, "x")
    cdef void *py = _data(y, count, wide, True, "y")
    with nogil:
        _activation_kernels(wide).activation(kind, count, px, py, alpha, num_threads)
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
        _activation_kernels(wide).activation_grad(kind, count, pa, pdy, pdx, alpha, num_threads)
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

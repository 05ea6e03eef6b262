"""Activations: one number in, one number out; and Softmax."""

import numpy as np

from .. import kernels
from ..checks import as_number
from ..functional import softmax
from .base import Layer


class ReLU(Layer):
    """y = max(x, 0); NaN passes.

    Forward     y = x where x > 0, else 0
    Backward    dL/dx = R δ,  R = 1 where x > 0, else 0       (δ = dL/dy)

    Shapes      y as x
    Source      UC Berkeley CS W182 discussion sheet, Problem 3

    Examples
    --------
    >>> ReLU().forward([[-1.0, 0.0, 2.0]])
    array([[0., 0., 2.]], dtype=float32)
    """

    resizable = True

    def forward(self, x, train=True):
        y = kernels.relu(x)
        self.keep(y)
        return y

    def backward(self, dy, input_grad=True):
        (y,) = self.take()
        return kernels.relu_input_grad(y, dy)  # R δ


class LeakyReLU(Layer):
    """y = x where x > 0, else alpha x.

    Forward     y = x where x > 0, else alpha x
    Backward    dL/dx = δ where x > 0, else alpha δ

    Shapes      y as x
    Source      A. Maas, A. Hannun, A. Ng, "Rectifier Nonlinearities Improve Neural Network Acoustic Models", 2013

    Parameters
    ----------
    alpha : float
        The slope below 0.

    Examples
    --------
    >>> LeakyReLU(0.1).forward([[-1.0, 2.0]])
    array([[-0.1,  2. ]], dtype=float32)
    """

    resizable = True

    def __init__(self, alpha: float = 0.01):
        self.alpha = as_number("LeakyReLU", "alpha", alpha)

    def forward(self, x, train=True):
        self.keep(x)
        return np.where(x > 0, x, self.alpha * x)

    def backward(self, dy, input_grad=True):
        (x,) = self.take()
        return np.where(x > 0, dy, self.alpha * dy)


class Sigmoid(Layer):
    """y = 1 / (1 + exp(-x)).

    Forward     y = 1 / (1 + exp(-x))
    Backward    dL/dx = y (1 - y) δ

    Shapes      y as x

    Examples
    --------
    >>> Sigmoid().forward([[0.0, 1000.0]])
    array([[0.5, 1. ]], dtype=float32)
    """

    resizable = True

    def forward(self, x, train=True):
        e = np.exp(-np.abs(x))  # never overflows
        y = np.where(x < 0, e, 1) / (1 + e)
        self.keep(y)
        return y

    def backward(self, dy, input_grad=True):
        (y,) = self.take()
        return y * (1 - y) * dy


class Tanh(Layer):
    """y = tanh(x).

    Forward     y = tanh(x)
    Backward    dL/dx = (1 - y²) δ

    Shapes      y as x

    Examples
    --------
    >>> Tanh().forward([[0.0, 1000.0]])
    array([[0., 1.]], dtype=float32)
    """

    resizable = True

    def forward(self, x, train=True):
        y = np.tanh(x)
        self.keep(y)
        return y

    def backward(self, dy, input_grad=True):
        (y,) = self.take()
        return (1 - y * y) * dy


class Softmax(Layer):
    """y_i = exp(x_i) / sum over j of exp(x_j), along the last axis.

    Forward     p_i = exp(z_i) / sum over j of exp(z_j)
    Backward    dp_i/dz_j = p_i (1[i = j] - p_j), so dL/dz_j = p_j (δ_j - sum over i of p_i δ_i)

    Shapes      y as x
    Source      UC Berkeley CS W182 discussion sheet, section 1

    Train with SoftmaxLoss on the scores, without this layer: it is the more accurate way.

    Examples
    --------
    >>> Softmax().forward([[1000.0, 1000.0]])
    array([[0.5, 0.5]], dtype=float32)
    """

    resizable = True

    def forward(self, x, train=True):
        p = softmax(x)
        self.keep(p)
        return p

    def backward(self, dy, input_grad=True):
        (p,) = self.take()
        return p * (dy - (p * dy).sum(axis=-1, keepdims=True))  # p_j (δ_j - sum of p_i δ_i)

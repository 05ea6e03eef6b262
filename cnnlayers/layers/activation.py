"""Activations: one number in, one number out; and Softmax."""

import numpy as np

from .. import kernels
from ..checks import as_number
from .channels import same_with_channels
from .layer import Layer


class ReLU(Layer):
    """y = max(x, 0); NaN passes.

    Forward     y = x where x > 0, else 0
    Backward    dL/dx = R δ,  R = 1 where x > 0, else 0       (δ = dL/dy)

    Shapes      y as x
    Source      UC Berkeley CS W182 discussion sheet, Problem 3
    Twin        reference.activations.relu_backward

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
    Errors      TypeError if alpha is not a number, ValueError if it is not finite
    Source      A. Maas, A. Hannun, A. Ng, "Rectifier Nonlinearities Improve Neural Network Acoustic Models", 2013
    Twin        reference.activations.leaky_relu_backward

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
        return kernels.leaky_relu(x, self.alpha)

    def backward(self, dy, input_grad=True):
        (x,) = self.take()
        return kernels.leaky_relu_input_grad(x, dy, self.alpha)


class Sigmoid(Layer):
    """y = 1 / (1 + exp(-x)).

    Forward     y = 1 / (1 + exp(-x))
    Backward    dL/dx = y (1 - y) δ

    Shapes      y as x
    Twin        reference.activations.sigmoid_backward

    Examples
    --------
    >>> Sigmoid().forward([[0.0, 1000.0]])
    array([[0.5, 1. ]], dtype=float32)
    """

    resizable = True

    def forward(self, x, train=True):
        y = kernels.sigmoid(x)
        self.keep(y)
        return y

    def backward(self, dy, input_grad=True):
        (y,) = self.take()
        return kernels.sigmoid_input_grad(y, dy)  # y (1 - y) δ


class Tanh(Layer):
    """y = tanh(x).

    Forward     y = tanh(x)
    Backward    dL/dx = (1 - y²) δ

    Shapes      y as x
    Twin        reference.activations.tanh_backward

    Examples
    --------
    >>> Tanh().forward([[0.0, 1000.0]])
    array([[0., 1.]], dtype=float32)
    """

    resizable = True

    def forward(self, x, train=True):
        y = kernels.tanh(x)
        self.keep(y)
        return y

    def backward(self, dy, input_grad=True):
        (y,) = self.take()
        return kernels.tanh_input_grad(y, dy)  # (1 - y²) δ


class ELU(Layer):
    """y = x where x > 0, else alpha (exp(x) - 1).

    Forward     y = x where x > 0, else alpha (exp(x) - 1)
    Backward    dL/dx = δ where x > 0, else alpha exp(x) δ

    Shapes      y as x
    Errors      TypeError if alpha is not a number, ValueError if it is not finite
    Source      D.-A. Clevert, T. Unterthiner, S. Hochreiter, "Fast and Accurate Deep Network Learning by Exponential
                Linear Units (ELUs)", 2016
    Twin        reference.activations.elu_backward

    Parameters
    ----------
    alpha : float
        Where y goes far below 0: to -alpha.

    Examples
    --------
    >>> ELU(0.5).forward([[-1000.0, 0.0, 2.0]])
    array([[-0.5,  0. ,  2. ]], dtype=float32)
    """

    resizable = True

    def __init__(self, alpha: float = 1.0):
        self.alpha = as_number("ELU", "alpha", alpha)

    def forward(self, x, train=True):
        self.keep(x)
        return kernels.elu(x, self.alpha)

    def backward(self, dy, input_grad=True):
        (x,) = self.take()
        return kernels.elu_input_grad(x, dy, self.alpha)


class GELU(Layer):
    """y = x Φ(x), where Φ is the distribution function of the standard normal distribution.

    Forward     y = x Φ(x),  Φ(x) = (1 + erf(x / √2)) / 2
    Backward    dL/dx = (Φ(x) + x φ(x)) δ,  φ(x) = exp(-x² / 2) / √(2π)

    With approximate="tanh", s = (1 + tanh u) / 2 stands for Φ(x), where u = √(2/π) (x + 0.044715 x³):

    Forward     y = x s
    Backward    dL/dx = (s + 2 x s (1 - s) u') δ,  u' = √(2/π) (1 + 3 · 0.044715 x²)

    Shapes      y as x
    Errors      ValueError if approximate is neither "none" nor "tanh"
    Source      D. Hendrycks, K. Gimpel, "Gaussian Error Linear Units (GELUs)", 2016
    Twin        reference.gates.gelu_backward; reference.gates.gelu_tanh_backward with approximate="tanh"

    Parameters
    ----------
    approximate : "none" or "tanh"
        The exact function, or its approximation by tanh, which some published nets were trained with.

    Examples
    --------
    >>> GELU().forward([[-1000.0, 0.0, 1000.0]])
    array([[  -0.,    0., 1000.]], dtype=float32)
    """

    resizable = True

    def __init__(self, approximate: str = "none"):
        if not isinstance(approximate, str) or approximate not in ("none", "tanh"):
            raise ValueError(f'GELU: approximate must be "none" or "tanh"; got {approximate!r}')
        self.approximate = approximate

    def forward(self, x, train=True):
        self.keep(x)
        return kernels.gelu(x, self.approximate == "tanh")

    def backward(self, dy, input_grad=True):
        (x,) = self.take()
        return kernels.gelu_input_grad(x, dy, self.approximate == "tanh")


class SiLU(Layer):
    """y = x σ(x), where σ is the Sigmoid; also known as Swish.

    Forward     y = x s,  s = 1 / (1 + exp(-x))
    Backward    dL/dx = s (1 + x (1 - s)) δ

    Shapes      y as x
    Source      S. Elfwing, E. Uchibe, K. Doya, "Sigmoid-Weighted Linear Units for Neural Network Function Approximation
                in Reinforcement Learning", 2018
    Twin        reference.gates.silu_backward

    Examples
    --------
    >>> SiLU().forward([[-1000.0, 0.0, 1000.0]])
    array([[  -0.,    0., 1000.]], dtype=float32)
    """

    resizable = True

    def forward(self, x, train=True):
        self.keep(x)
        return kernels.silu(x)

    def backward(self, dy, input_grad=True):
        (x,) = self.take()
        return kernels.silu_input_grad(x, dy)


class Softplus(Layer):
    """y = log(1 + exp(x)): a smooth ReLU, always above 0.

    Forward     y = log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)), in which nothing overflows
    Backward    dL/dx = δ / (1 + exp(-x))

    Shapes      y as x
    Source      C. Dugas et al., "Incorporating Second-Order Functional Knowledge for Better Option Pricing", 2000
    Twin        reference.smooth.softplus_backward

    Examples
    --------
    >>> Softplus().forward([[-20.0, 0.0, 20.0]]).round(2)
    array([[ 0.  ,  0.69, 20.  ]], dtype=float32)
    """

    resizable = True

    def forward(self, x, train=True):
        self.keep(x)
        return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))

    @np.errstate(invalid="ignore")  # of 0 · ∞
    def backward(self, dy, input_grad=True):
        (x,) = self.take()
        return kernels.sigmoid(x) * dy


class Reciprocal(Layer):
    """y = 1 / x; infinite at 0.

    Forward     y = 1 / x
    Backward    dL/dx = -y² δ

    Shapes      y as x
    Twin        reference.smooth.reciprocal_backward

    Examples
    --------
    >>> Reciprocal().forward([[-4.0, 0.5]])
    array([[-0.25,  2.  ]], dtype=float32)
    """

    resizable = True

    @np.errstate(divide="ignore", over="ignore")
    def forward(self, x, train=True):
        y = 1 / x
        self.keep(y)
        return y

    @np.errstate(over="ignore", invalid="ignore")
    def backward(self, dy, input_grad=True):
        (y,) = self.take()
        return -y * (y * dy)  # in this order, so that y² itself cannot overflow


class Softmax(Layer):
    """y_i = exp(x_i) / sum over j of exp(x_j), along the last axis.

    Forward     p_i = exp(z_i) / sum over j of exp(z_j)
    Backward    dp_i/dz_j = p_i (1[i = j] - p_j), so dL/dz_j = p_j (δ_j - sum over i of p_i δ_i)

    Shapes      x (N, ..., C);  y as x
    Errors      ValueError if x has no channels
    Source      UC Berkeley CS W182 discussion sheet, section 1
    Twin        reference.softmax.softmax_backward

    Train with SoftmaxLoss on the scores, without this layer: it is the more accurate way.

    Examples
    --------
    >>> Softmax().forward([[1000.0, 1000.0]])
    array([[0.5, 0.5]], dtype=float32)
    """

    resizable = True

    def forward(self, x, train=True):
        p = kernels.softmax(x)
        self.keep(p)
        return p

    def backward(self, dy, input_grad=True):
        (p,) = self.take()
        return p * (dy - (p * dy).sum(axis=-1, keepdims=True))  # p_j (δ_j - sum of p_i δ_i)

    def output_shape(self, input_shape):
        return same_with_channels(self, input_shape)

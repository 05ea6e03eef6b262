"""A ReLU that learns its slope below 0."""

import numpy as np

from ..checks import as_number
from .broadcast import as_parameter_shape, parameter_shape, same_if_it_fits, sum_into
from .layer import Layer


class PReLU(Layer):
    """y = x where x > 0, else alpha x, with a slope alpha that is learned.

    Forward     y = x where x > 0, else alpha x
    Backward    dL/dx = δ where x > 0, else alpha δ
                dL/dalpha = sum of min(x, 0) δ over samples and positions       (δ = dL/dy)

    Weight decay leaves alpha alone, of whatever shape it is: it would draw the slope towards 0, a ReLU's.

    Shapes      x (N, ..., C);  alpha (C,), or `shape`;  y as x
    Errors      TypeError if alpha is not a number or shape no tuple of ints; ValueError if alpha is not finite, a size
                is below 1, or the shape does not broadcast to that of a sample
    Source      K. He, X. Zhang, S. Ren, J. Sun, "Delving Deep into Rectifiers", 2015
    Twin        reference.scale.prelu_backward

    Parameters
    ----------
    alpha : float
        Where all slopes start.
    shape : tuple of int, optional
        Of the parameter alpha, which is broadcast to a sample: (1,) is one slope for all channels, (H, W, C) one for
        each number. By default each channel has one.

    Examples
    --------
    >>> PReLU(0.1).forward([[-1.0, 2.0]])
    array([[-0.1,  2. ]], dtype=float32)
    """

    resizable = True
    decays = False

    def __init__(self, alpha: float = 0.25, shape=None):
        self.alpha = as_number("PReLU", "alpha", alpha)
        self.shape = as_parameter_shape("PReLU", shape)

    def allocate(self, input_shape):
        self.add_param("alpha", parameter_shape(self.shape, input_shape), lambda shape, *_: np.full(shape, self.alpha))

    @np.errstate(over="ignore", invalid="ignore")
    def forward(self, x, train=True):
        alpha = self.params["alpha"]
        self.keep(x, alpha.copy())
        return np.where(x > 0, x, alpha * x)

    @np.errstate(over="ignore", invalid="ignore")
    def backward(self, dy, input_grad=True):
        x, alpha = self.take()
        sum_into(self.grads["alpha"], np.minimum(x, 0) * dy)
        return np.where(x > 0, dy, alpha * dy) if input_grad else None

    def output_shape(self, input_shape):
        return same_if_it_fits(self, self.shape, input_shape)

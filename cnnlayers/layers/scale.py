"""A factor, learned or fixed, and a learned shift, without a normalisation before them."""

from typing import Any

import numpy as np

from ..checks import as_flag, as_number, is_real_number
from .broadcast import as_parameter_shape, parameter_shape, same_if_it_fits, sum_into
from .layer import Layer


class Scale(Layer):
    """y = gamma x + beta, number by number: what a norm does after it has normalised; or y = factor x.

    Forward     y = gamma x + beta
    Backward    dL/dgamma = sum of δ x,  dL/dbeta = sum of δ, over samples and positions
                dL/dx = gamma δ       (δ = dL/dy)

    With a number, as in Scale(1 / 256), the factor is fixed and there are no parameters: y = factor x and
    dL/dx = factor δ. After the last layer it makes the scores small, so that training begins with even chances.

    Weight decay leaves both alone, of whatever shape they are, as it does in norms.

    Shapes      x (N, ..., C);  gamma, beta (C,), or `shape`;  y as x
    Errors      TypeError if shape is neither a tuple of ints nor a number; ValueError if a size is below 1, the shape
                does not broadcast to that of a sample, or there is neither gain nor bias; if a fixed factor is not
                finite, or comes with gain or bias
    Twin        reference.scale.scale_backward; reference.scale.fixed_scale_backward with a fixed factor

    Parameters
    ----------
    shape : tuple of int or float, optional
        Of gamma and beta, which are broadcast to a sample: (1,) is one number for all channels, (H, W, C) one for each
        number of the sample. By default each channel has one. A number is a fixed factor.
    gain, bias : bool
        Whether there is a gamma, which starts at 1, and a beta, which starts at 0; not for a fixed factor.

    Attributes
    ----------
    factor : float or None
        The fixed factor.

    Examples
    --------
    >>> layer = Scale()
    >>> layer.build((2,))
    (2,)
    >>> layer.params["gamma"] = [2, 3]
    >>> layer.params["beta"] = [0, 1]
    >>> layer.forward([[1.0, 1.0]])
    array([[2., 4.]], dtype=float32)
    >>> Scale(0.5).forward([[1.0, 3.0]])
    array([[0.5, 1.5]], dtype=float32)
    """

    resizable = True
    decays = False

    def __init__(self, shape=None, gain: bool = True, bias: bool = True):
        self.factor = as_number("Scale", "a fixed factor", shape) if is_real_number(shape) else None
        self.shape: Any = as_parameter_shape("Scale", shape) if self.factor is None else self.factor
        self.gain = as_flag("Scale", "gain", gain)
        self.bias = as_flag("Scale", "bias", bias)
        if self.factor is not None and not (gain and bias):
            raise ValueError(
                f"Scale({shape}) is a fixed factor, for which there is no gain and no bias: leave them out"
            )
        if not (gain or bias):
            raise ValueError("Scale needs a gain, a bias or both; got gain=False and bias=False")

    def allocate(self, input_shape):
        if self.factor is not None:
            return
        shape = parameter_shape(self.shape, input_shape)
        if self.gain:
            self.add_param("gamma", shape, "ones")
        if self.bias:
            self.add_param("beta", shape, "zeros")

    @np.errstate(over="ignore", invalid="ignore")
    def forward(self, x, train=True):
        if self.factor is not None:
            return self.factor * x
        y = x
        if self.gain:
            self.keep(x, self.params["gamma"].copy())
            y = self.params["gamma"] * y
        return y + self.params["beta"] if self.bias else y

    @np.errstate(over="ignore", invalid="ignore")
    def backward(self, dy, input_grad=True):
        if self.factor is not None:
            return self.factor * dy
        if self.bias:
            sum_into(self.grads["beta"], dy)
        if not self.gain:
            return dy.copy()
        x, gamma = self.take()
        sum_into(self.grads["gamma"], dy * x)
        return gamma * dy if input_grad else None

    def output_shape(self, input_shape):
        return same_if_it_fits(self, self.shape if self.factor is None else None, input_shape)

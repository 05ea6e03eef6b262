"""A learned factor and a learned shift, without a normalisation before them."""

import numpy as np

from ..checks import as_flag
from .broadcast import as_parameter_shape, parameter_shape, same_if_it_fits, sum_into
from .layer import Layer


class Scale(Layer):
    """y = gamma x + beta, number by number: what a norm does after it has normalised.

    Forward     y = gamma x + beta
    Backward    dL/dgamma = sum of δ x,  dL/dbeta = sum of δ, over samples and positions
                dL/dx = gamma δ       (δ = dL/dy)

    Weight decay leaves both alone, of whatever shape they are, as it does in norms.

    Shapes      x (N, ..., C);  gamma, beta (C,), or `shape`;  y as x
    Errors      TypeError if shape is no tuple of ints; ValueError if a size is below 1, the shape does not broadcast to
                that of a sample, or there is neither gain nor bias
    Twin        reference.scale.scale_backward

    Parameters
    ----------
    shape : tuple of int, optional
        Of gamma and beta, which are broadcast to a sample: (1,) is one number for all channels, (H, W, C) one for each
        number of the sample. By default each channel has one.
    gain, bias : bool
        Whether there is a gamma, which starts at 1, and a beta, which starts at 0.

    Examples
    --------
    >>> layer = Scale()
    >>> layer.build((2,))
    (2,)
    >>> layer.params["gamma"] = [2, 3]
    >>> layer.params["beta"] = [0, 1]
    >>> layer.forward([[1.0, 1.0]])
    array([[2., 4.]], dtype=float32)
    """

    resizable = True
    decays = False

    def __init__(self, shape=None, gain: bool = True, bias: bool = True):
        self.shape = as_parameter_shape("Scale", shape)
        self.gain = as_flag("Scale", "gain", gain)
        self.bias = as_flag("Scale", "bias", bias)
        if not (gain or bias):
            raise ValueError("Scale needs a gain, a bias or both; got gain=False and bias=False")

    def allocate(self, input_shape):
        shape = parameter_shape(self.shape, input_shape)
        if self.gain:
            self.add_param("gamma", shape, "ones")
        if self.bias:
            self.add_param("beta", shape, "zeros")

    @np.errstate(over="ignore", invalid="ignore")
    def forward(self, x, train=True):
        y = x
        if self.gain:
            self.keep(x, self.params["gamma"].copy())
            y = self.params["gamma"] * y
        return y + self.params["beta"] if self.bias else y

    @np.errstate(over="ignore", invalid="ignore")
    def backward(self, dy, input_grad=True):
        if self.bias:
            sum_into(self.grads["beta"], dy)
        if not self.gain:
            return dy.copy()
        x, gamma = self.take()
        sum_into(self.grads["gamma"], dy * x)
        return gamma * dy if input_grad else None

    def output_shape(self, input_shape):
        return same_if_it_fits(self, self.shape, input_shape)

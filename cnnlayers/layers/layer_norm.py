"""Normalisation of each position over its channels."""

from .. import kernels
from ..checks import as_number
from .channels import same_with_channels
from .layer import Layer


class LayerNorm(Layer):
    """y = gamma (x - mean) / sqrt(var + eps) + beta, with the mean and variance of each position over its channels.

    Forward     x̂ = (x - mean) / sqrt(var + eps),  y = gamma x̂ + beta
    Backward    dL/dgamma = sum of δ x̂,  dL/dbeta = sum of δ over all positions
                dL/dx = (g - mean of g - x̂ mean of g x̂) / sqrt(var + eps),  g = gamma δ       (δ = dL/dy)

    It works alike in training and at inference. The means are over the last axis alone, which for rows is all of a
    sample; for images it is each pixel (as in ConvNeXt).

    Shapes      x (N, ..., C);  gamma, beta (C,);  y as x
    Errors      ValueError if x has no channel axis, or one of size 0
    Source      J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer Normalization", 2016
    Twin        reference.sample_norm.layer_norm_backward

    Parameters
    ----------
    eps : float
        Added to the variance.

    Examples
    --------
    >>> LayerNorm().forward([[1.0, 3.0, 1.0, 3.0]]).round(3)
    array([[-1.,  1., -1.,  1.]], dtype=float32)
    """

    resizable = True

    def __init__(self, eps: float = 1e-5):
        self.eps = as_number("LayerNorm", "eps", eps, low=0, open_low=True)

    def allocate(self, input_shape):
        self.add_param("gamma", (input_shape[-1],), "ones")
        self.add_param("beta", (input_shape[-1],), "zeros")

    def forward(self, x, train=True):
        y, mean, scale = kernels.layer_norm(x, self.params["gamma"], self.params["beta"], self.eps)
        self.keep(x, mean, scale)
        return y

    def backward(self, dy, input_grad=True):
        x, mean, scale = self.take()
        gamma, into = self.params["gamma"], (self.grads["gamma"], self.grads["beta"])
        return kernels.layer_norm_grad(x, dy, gamma, mean, scale, into=into, input_grad=input_grad)

    def output_shape(self, input_shape):
        return same_with_channels(self, input_shape)

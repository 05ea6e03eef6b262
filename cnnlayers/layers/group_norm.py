"""Normalisation of groups of channels within a sample."""

from .. import kernels
from ..checks import as_integer, as_number, with_batch
from .layer import Layer


class GroupNorm(Layer):
    """y = gamma (x - mean) / sqrt(var + eps) + beta, with the mean and variance of a group of channels in one sample.

    Forward     x̂ = (x - mean) / sqrt(var + eps),  y = gamma x̂ + beta
    Backward    dL/dgamma = sum of δ x̂,  dL/dbeta = sum of δ over samples and positions
                dL/dx = (g - mean of g - x̂ mean of g x̂) / sqrt(var + eps),  g = gamma δ       (δ = dL/dy)

    The channels are cut into groups of neighbours; means are over a group's channels and all positions of one sample.
    No sample sees another, so it works alike for a batch of one, in training and at inference.

    Shapes      x (N, ..., C);  gamma, beta (C,);  y as x
    Errors      ValueError if groups do not divide C
    Source      Y. Wu, K. He, "Group Normalization", 2018
    Twin        reference.sample_norm.group_norm_backward

    Parameters
    ----------
    groups : int
        1 normalises all channels together; as many as channels, each on its own, as InstanceNorm does.
    eps : float
        Added to the variance.

    Examples
    --------
    >>> GroupNorm(2).forward([[[1.0, 30.0], [3.0, 10.0]]]).round(3)
    array([[[-1.,  1.],
            [ 1., -1.]]], dtype=float32)
    """

    resizable = True

    def __init__(self, groups: int, eps: float = 1e-5):
        self.groups = as_integer("GroupNorm", "groups", groups, low=1)
        self.eps = as_number("GroupNorm", "eps", eps, low=0, open_low=True)

    def allocate(self, input_shape):
        self.add_param("gamma", (input_shape[-1],), "ones")
        self.add_param("beta", (input_shape[-1],), "zeros")

    def forward(self, x, train=True):
        gamma, beta = self.params["gamma"], self.params["beta"]
        y, mean, scale = kernels.group_norm(x, self.groups, gamma, beta, self.eps)  # gamma x̂ + beta
        self.keep(x, gamma.copy(), mean, scale)
        return y

    def backward(self, dy, input_grad=True):
        x, gamma, mean, scale = self.take()
        into = self.grads["gamma"], self.grads["beta"]
        return kernels.group_norm_grad(x, dy, self.groups, gamma, mean, scale, into=into, input_grad=input_grad)

    def output_shape(self, input_shape):
        if input_shape[-1:] in ((), (0,)) or input_shape[-1] % self.groups:
            raise ValueError(
                f"{self!r} needs channels that go in {self.groups} equal groups; got shape {with_batch(input_shape)}"
            )
        return tuple(input_shape)

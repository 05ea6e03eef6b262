"""Normalisation of each channel over the batch."""

import numpy as np

from .. import kernels
from ..checks import as_flag, as_number
from .channels import same_with_channels
from .layer import Layer


class BatchNorm(Layer):
    """y = gamma (x - mean) / sqrt(var + eps) + beta, with the mean and variance of each channel over the batch.

    Forward     x̂ = (x - mean) / sqrt(var + eps),  y = gamma x̂ + beta
    Backward    dL/dgamma = sum of δ x̂,  dL/dbeta = sum of δ
                dL/dx = gamma / sqrt(var + eps) (δ - mean of δ - x̂ mean of δ x̂)       (δ = dL/dy)

    At inference (and where the layer is frozen) mean and var are the running ones, constants, and
    dL/dx = gamma / sqrt(var + eps) δ. In training, running = momentum running + (1 - momentum) batch; the variance that
    runs is the unbiased one and starts at 1. With one value per channel there is nothing to learn from: y = beta,
    dL/dx = 0 and running_var stays. An empty batch leaves both as they are. Of values whose squares overflow (|x| above
    some 1e19 in float32) y and the gradients are right all the same, up to a deviation of about 1e37 (float64: 1e307).
    But their variance is no number that running_var could hold: it becomes infinite, which Solver refuses.

    With scale=False there is no gamma: read 1 for it.

    Shapes      x (N, ..., C);  gamma, beta, running_mean, running_var (C,);  y as x
    Errors      ValueError if x has no channel axis, or one of size 0
    Source      S. Ioffe, C. Szegedy, "Batch Normalization", 2015
    Twin        reference.norm.batch_norm_backward; reference.fixed_norm.fixed_norm_backward at inference

    Parameters
    ----------
    momentum : float
        How much of the running statistics stays at each step (PyTorch's momentum is 1 minus this).
    eps : float
        Added to the variance.
    scale : bool
        Whether there is a gamma, which starts at 1. Where a ReLU and then weights follow, these can scale as well.

    Examples
    --------
    >>> BatchNorm().forward([[-100.0], [100.0]]).round(3)
    array([[-1.],
           [ 1.]], dtype=float32)
    """

    resizable = True
    lessons: list | None = None  # in place of learning at once, what `learn` is given is kept here: `training.places`

    def __init__(self, momentum: float = 0.9, eps: float = 1e-5, scale: bool = True):
        self.momentum = as_number("BatchNorm", "momentum", momentum, low=0, high=1)
        self.eps = as_number("BatchNorm", "eps", eps, low=0, open_low=True)
        self.scale = as_flag("BatchNorm", "scale", scale)

    def allocate(self, input_shape):
        channels = (input_shape[-1],)
        if self.scale:
            self.add_param("gamma", channels, "ones")
        self.add_param("beta", channels, "zeros")
        self.add_state("running_mean", channels, "zeros")
        self.add_state("running_var", channels, "ones")

    def forward(self, x, train=True):
        gamma, beta = self.factors(), self.params["beta"]
        on_batch = self.learns_from(x, train)
        if on_batch:
            y, mean, var, scale = kernels.batch_norm(x, gamma, beta, self.eps)  # gamma x̂ + beta
            self.learn(mean, var, x.size // x.shape[-1])
        else:
            mean, scale = self.running()
            y = kernels.batch_norm_apply(x, gamma, beta, mean, scale)  # gamma x̂ + beta
        self.keep(x, gamma.copy(), mean, scale, on_batch)
        return y

    def backward(self, dy, input_grad=True):
        x, gamma, mean, scale, on_batch = self.take()
        into = self.gradients_into()
        return kernels.batch_norm_grad(x, dy, gamma, mean, scale, into=into, on_batch=on_batch, input_grad=input_grad)

    def factors(self):
        """The factor gamma of each channel: ones in a layer that has none."""
        return self.params["gamma"] if self.scale else np.ones_like(self.params["beta"])

    def gradients_into(self):
        """Where the gradients of gamma and beta go; without a gamma, its sum is for nobody."""
        beta = self.grads["beta"]
        return self.grads["gamma"] if self.scale else np.empty_like(beta), beta

    def learns_from(self, x, train):
        """Whether the statistics are those of the batch x, of which the running ones take their part."""
        return train and self.trainable and x.size > 0

    def learn(self, mean, var, n):
        """Let the running statistics take their part of the batch's, which has n values per channel."""
        if self.lessons is not None:
            self.lessons.append((mean, var, n))
            return
        kernels.move_average(self.state["running_mean"], mean, self.momentum)
        if n > 1:
            kernels.move_average(self.state["running_var"], var, self.momentum, n / (n - 1))  # unbiased

    def running(self):
        """The running mean, and 1 / sqrt(var + eps) of the running variance."""
        return self.state["running_mean"].copy(), 1 / np.sqrt(self.state["running_var"] + self.dtype.type(self.eps))

    def output_shape(self, input_shape):
        return same_with_channels(self, input_shape)

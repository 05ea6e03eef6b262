"""Normalisation: of each channel over the batch, or by numbers known beforehand."""

import numpy as np

from .. import kernels
from ..checks import as_number
from ..geometry import with_batch
from .base import Layer


class BatchNorm(Layer):
    """y = gamma (x - mean) / sqrt(var + eps) + beta, with the mean and variance of each channel over the batch.

    Forward     x̂ = (x - mean) / sqrt(var + eps),  y = gamma x̂ + beta
    Backward    dL/dgamma = sum of δ x̂,  dL/dbeta = sum of δ
                dL/dx = gamma / sqrt(var + eps) (δ - mean of δ - x̂ mean of δ x̂)       (δ = dL/dy)

    At inference (and where the layer is frozen) mean and var are the running ones, constants, and
    dL/dx = gamma / sqrt(var + eps) δ. In training, running = momentum running + (1 - momentum) batch; the variance that
    runs is the unbiased one and starts at 1. With one value per channel there is nothing to learn from: y = beta,
    dL/dx = 0 and running_var stays. An empty batch leaves both as they are.

    Shapes      x (N, ..., C);  gamma, beta, running_mean, running_var (C,);  y as x
    Errors      ValueError if x has no channel axis, or one of size 0
    Source      S. Ioffe, C. Szegedy, "Batch Normalization", 2015

    Parameters
    ----------
    momentum : float
        How much of the running statistics stays at each step (PyTorch's momentum is 1 minus this).
    eps : float
        Added to the variance.

    Examples
    --------
    >>> BatchNorm().forward([[-100.0], [100.0]]).round(3)
    array([[-1.],
           [ 1.]], dtype=float32)
    """

    resizable = True
    fuses_relu = True
    fuses_sum = True
    undoes_relu = True

    def __init__(self, momentum: float = 0.9, eps: float = 1e-5):
        self.momentum = as_number("BatchNorm", "momentum", momentum, low=0, high=1)
        self.eps = as_number("BatchNorm", "eps", eps, low=0, open_low=True)

    def allocate(self, input_shape):
        channels = (input_shape[-1],)
        self.add_param("gamma", channels, "ones")
        self.add_param("beta", channels, "zeros")
        self.add_state("running_mean", channels, "zeros")
        self.add_state("running_var", channels, "ones")

    def forward(self, x, train=True, relu=False, plus=None):
        gamma, beta = self.params["gamma"], self.params["beta"]
        on_batch = train and self.trainable and x.size > 0
        if on_batch:
            y, mean, var, scale = kernels.batch_norm(x, gamma, beta, self.eps, relu, plus)
            self.learn_statistics(mean, var, x.size // x.shape[-1])
        else:
            mean = self.state["running_mean"].copy()
            scale = 1 / np.sqrt(self.state["running_var"] + self.dtype.type(self.eps))
            y = kernels.batch_norm_apply(x, gamma, beta, mean, scale, relu, plus)
        # Copies: the mask of the ReLU must be that of this y, whatever happens to the parameters until then.
        self.keep(x, gamma.copy(), beta.copy(), mean, scale, on_batch, relu and plus is None)
        return y

    def backward(self, dy, input_grad=True):
        x, gamma, beta, mean, scale, on_batch, relu = self.take()
        dgamma, dbeta = self.grads["gamma"], self.grads["beta"]
        return kernels.batch_norm_grad(x, dy, gamma, beta, mean, scale, dgamma, dbeta, on_batch, input_grad, relu)

    def learn_statistics(self, mean, var, n):
        """The running statistics take their part of the batch's, which has n values per channel."""
        kernels.move_average(self.state["running_mean"], mean, self.momentum)
        if n > 1:
            kernels.move_average(self.state["running_var"], var, self.momentum, n / (n - 1))  # unbiased

    def output_shape(self, input_shape):
        if input_shape[-1:] in ((), (0,)):
            raise ValueError(f"{self!r} needs at least one channel; got shape {with_batch(input_shape)}")
        return tuple(input_shape)


class Normalize(Layer):
    """y = (x - mean) / std, with numbers known beforehand: what scales raw images, saved with the net.

    Forward     y = (x - mean) / std
    Backward    dL/dx = δ / std

    Shapes      x (N, ..., C);  mean, std a number or one per channel;  y as x
    Errors      ValueError if std holds 0 or the number of channels differs

    Parameters
    ----------
    mean, std : float or one per channel
        In the units of x: for uint8 photographs about 128 and 64.

    Examples
    --------
    >>> Normalize(mean=8, std=4).forward(np.array([[0, 8, 16]], np.uint8))
    array([[-2.,  0.,  2.]], dtype=float32)
    """

    resizable = True

    def __init__(self, mean, std):
        self.mean = _numbers("mean", mean)
        self.std = _numbers("std", std)
        if np.any(np.equal(self.std, 0)):
            raise ValueError(f"Normalize: std must not be 0; got {self.std}")

    def forward(self, x, train=True):
        return (x - np.asarray(self.mean, x.dtype)) / np.asarray(self.std, x.dtype)

    def backward(self, dy, input_grad=True):
        return dy / np.asarray(self.std, dy.dtype)

    def output_shape(self, input_shape):
        for name, value in (("mean", self.mean), ("std", self.std)):
            if isinstance(value, tuple) and len(value) not in (1, input_shape[-1]):
                raise ValueError(
                    f"Normalize: {name} has {len(value)} numbers; it needs one, or one for each of the "
                    f"{input_shape[-1]} channels of {with_batch(input_shape)}"
                )
        return tuple(input_shape)


def _numbers(name, value):
    """A number, or a tuple of numbers, one per channel."""
    values = np.asarray(value)
    if values.ndim == 0:
        return as_number("Normalize", name, values.item())
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"Normalize: {name} must be a number or one per channel; got shape {values.shape}")
    return tuple(as_number("Normalize", name, v) for v in values.tolist())

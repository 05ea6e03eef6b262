"""Dropout: noise that keeps units, or whole channels, from leaning on each other."""

import numpy as np

from .. import kernels
from ..checks import as_number
from .channels import same_with_channels
from .layer import Layer


class Dropout(Layer):
    """y = x m / (1 - p): in training each number is dropped with chance p, and the rest grows to keep the mean.

    Forward     m = 0 with chance p, else 1;  y = x m / (1 - p);  at inference y = x
    Backward    dL/dx = δ m / (1 - p)

    Each sample has a mask of its own.

    Shapes      y as x
    Errors      ValueError if p is not in 0..1
    Source      N. Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", 2014
    Twin        reference.dropout.dropout_backward

    Parameters
    ----------
    p : float
        The chance to drop.

    Examples
    --------
    >>> Dropout(0.5).forward([[1.0, 2.0]], train=False)
    array([[1., 2.]], dtype=float32)
    """

    resizable = True
    random = True

    def __init__(self, p: float):
        self.p = as_number("Dropout", "p", p, low=0, high=1)

    def forward(self, x, train=True):
        key = int(self.rng.integers(2**64, dtype=np.uint64)) if train else None  # which mask: it is never stored
        self.keep(key)
        return x.copy() if key is None else kernels.dropout(x, self.p, key)

    def backward(self, dy, input_grad=True):
        (key,) = self.take()
        return dy.copy() if key is None else kernels.dropout(dy, self.p, key)  # δ m / (1 - p)


class SpatialDropout(Layer):
    """y = x m / (1 - p): in training whole channels of a sample are dropped with chance p, and the rest grow.

    Forward     m[n, c] = 0 with chance p, else 1;  y = x m / (1 - p);  at inference y = x
    Backward    dL/dx = δ m / (1 - p)

    Neighbouring pixels are much alike: dropping single ones takes little away, dropping a channel does.

    Shapes      x (N, ..., C);  y as x
    Errors      ValueError if p is not in 0..1, or x has no channels
    Source      J. Tompson et al., "Efficient Object Localization Using Convolutional Networks", 2015
    Twin        reference.dropout.spatial_dropout_backward

    Parameters
    ----------
    p : float
        The chance to drop a channel.

    Examples
    --------
    >>> y = SpatialDropout(0.5).forward(np.ones((1, 4, 4, 100)))
    >>> bool((y == y[:, :1, :1]).all()), sorted(set(y.ravel().tolist()))
    (True, [0.0, 2.0])
    """

    resizable = True
    random = True

    def __init__(self, p: float):
        self.p = as_number("SpatialDropout", "p", p, low=0, high=1)

    def forward(self, x, train=True):
        key = int(self.rng.integers(2**64, dtype=np.uint64)) if train else None  # which channels
        self.keep(key)
        return x.copy() if key is None else kernels.scale_channels(x, self._factors(x, key))

    def backward(self, dy, input_grad=True):
        (key,) = self.take()
        return dy.copy() if key is None else kernels.scale_channels(dy, self._factors(dy, key))  # δ m / (1 - p)

    def _factors(self, x, key):
        """m / (1 - p), one for each sample and channel."""
        return kernels.dropout(np.ones((len(x), x.shape[-1]), x.dtype), self.p, key)

    def output_shape(self, input_shape):
        return same_with_channels(self, input_shape)

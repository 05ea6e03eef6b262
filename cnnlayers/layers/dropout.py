"""Dropout: noise that keeps units from leaning on each other."""

import numpy as np

from ..checks import as_number
from .base import Layer


class Dropout(Layer):
    """y = x m / (1 - p): in training each number is dropped with chance p, and the rest grows to keep the mean.

    Forward     m = 0 with chance p, else 1;  y = x m / (1 - p);  at inference y = x
    Backward    dL/dx = δ m / (1 - p)

    Each sample has a mask of its own.

    Shapes      y as x
    Errors      ValueError if p is not in 0..1
    Source      N. Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", 2014

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
        mask = self.mask(x.shape) if train else None
        self.keep(mask)
        return x.copy() if mask is None else x * mask

    def backward(self, dy, input_grad=True):
        (mask,) = self.take()
        return dy.copy() if mask is None else dy * mask  # δ m / (1 - p)

    def mask(self, shape):
        """M / (1 - p): 0 or 1 / (1 - p) for each number."""
        kept = self.rng.random(shape, dtype=np.float32) >= self.p
        return kept * self.dtype.type(1 / (1 - self.p) if self.p < 1 else 0)

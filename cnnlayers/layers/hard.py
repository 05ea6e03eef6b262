"""Activations made of straight pieces: Clip, ReLU6, HardSigmoid and HardSwish.

At the ends of a piece they have kinks, where any slope between those of the two sides will do; the layers take the one
of the flat side.
"""

import numpy as np

from ..checks import as_number
from .layer import Layer


class Clip(Layer):
    """y = min(max(x, low), high); NaN passes.

    Forward     y = low where x < low, high where x > high, else x
    Backward    dL/dx = δ where low < x < high, else 0       (δ = dL/dy)

    Shapes      y as x
    Errors      TypeError if a bound is not a number, ValueError if it is not finite, or low is above high
    Twin        reference.hard.clip_backward

    Parameters
    ----------
    low, high : float, optional
        The bounds; None is none.

    Examples
    --------
    >>> Clip(-1, 1).forward([[-3.0, 0.5, 3.0]])
    array([[-1. ,  0.5,  1. ]], dtype=float32)
    """

    resizable = True

    def __init__(self, low: float | None = None, high: float | None = None):
        self.low = None if low is None else as_number("Clip", "low", low)
        self.high = None if high is None else as_number("Clip", "high", high)
        if low is not None and high is not None and low > high:
            raise ValueError(f"Clip: low must not be above high; got low={low!r} and high={high!r}")

    @np.errstate(over="ignore")  # of bounds that the dtype cannot hold
    def forward(self, x, train=True):
        low = -np.inf if self.low is None else self.low
        high = np.inf if self.high is None else self.high
        y = np.clip(x, low, high)
        self.keep(y)
        return y

    @np.errstate(over="ignore")
    def backward(self, dy, input_grad=True):
        (y,) = self.take()
        dx = dy.copy()
        if self.low is not None:
            dx = np.where(y > self.low, dx, 0)
        if self.high is not None:
            dx = np.where(y < self.high, dx, 0)
        return dx


class ReLU6(Clip):
    """y = min(max(x, 0), 6): a ReLU for nets whose numbers are to stay small.

    Forward     y = 0 where x < 0, 6 where x > 6, else x
    Backward    dL/dx = δ where 0 < x < 6, else 0

    Shapes      y as x
    Source      A. Krizhevsky, "Convolutional Deep Belief Networks on CIFAR-10", 2010
    Twin        reference.hard.clip_backward

    Examples
    --------
    >>> ReLU6().forward([[-1.0, 2.0, 7.0]])
    array([[0., 2., 6.]], dtype=float32)
    """

    def __init__(self):
        super().__init__(0, 6)


class HardSigmoid(Layer):
    """y = max(0, min(1, alpha x + beta)): a straight line in place of the Sigmoid's curve.

    Forward     y = max(0, min(1, alpha x + beta))
    Backward    dL/dx = alpha δ where 0 < y < 1, else 0

    Shapes      y as x
    Errors      TypeError if alpha or beta is not a number, ValueError if it is not finite
    Source      M. Courbariaux, Y. Bengio, J.-P. David, "BinaryConnect", 2015; with this alpha A. Howard et al.,
                "Searching for MobileNetV3", 2019
    Twin        reference.hard.hard_sigmoid_backward

    Parameters
    ----------
    alpha, beta : float
        The line's slope, and its value at 0.

    Examples
    --------
    >>> HardSigmoid().forward([[-3.0, 0.0, 1.5, 3.0]])
    array([[0.  , 0.5 , 0.75, 1.  ]], dtype=float32)
    """

    resizable = True

    def __init__(self, alpha: float = 1 / 6, beta: float = 0.5):
        self.alpha = as_number("HardSigmoid", "alpha", alpha)
        self.beta = as_number("HardSigmoid", "beta", beta)

    @np.errstate(over="ignore", invalid="ignore")  # what overflows ends as 0 or 1
    def forward(self, x, train=True):
        y = np.clip(self.alpha * x + self.beta, 0, 1)
        self.keep(y)
        return y

    @np.errstate(over="ignore")
    def backward(self, dy, input_grad=True):
        (y,) = self.take()
        return np.where((y > 0) & (y < 1), self.alpha * dy, 0)


class HardSwish(Layer):
    """y = x s, where s is the HardSigmoid; SiLU without exp.

    Forward     y = x s,  s = max(0, min(1, x / 6 + 1 / 2))
    Backward    dL/dx = 0 where x <= -3, δ where x >= 3, else (x / 3 + 1 / 2) δ

    Shapes      y as x
    Source      A. Howard et al., "Searching for MobileNetV3", 2019
    Twin        reference.hard.hard_swish_backward

    Examples
    --------
    >>> HardSwish().forward([[-4.0, -1.5, 0.0, 1.5, 4.0]])
    array([[-0.   , -0.375,  0.   ,  1.125,  4.   ]], dtype=float32)
    """

    resizable = True

    def forward(self, x, train=True):
        self.keep(x)
        return np.maximum(x, -3) * np.clip(x / 6 + 0.5, 0, 1)  # x s: below -3 s is 0, and -∞ · 0 would be NaN

    @np.errstate(over="ignore", invalid="ignore")  # where the slope is not taken
    def backward(self, dy, input_grad=True):
        (x,) = self.take()
        slope = np.clip(x, -3, 3) / 3 + 0.5
        return np.where(x >= 3, dy, np.where(x > -3, slope * dy, 0))

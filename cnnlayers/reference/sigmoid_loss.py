"""The cross-entropy of yes and no, with its gradient.

Source: C. Bishop, "Pattern Recognition and Machine Learning", 2006, section 4.3.2.
"""

import math

import numpy as np

from .arrays import float64


def sigmoid_loss(scores, target, pos_weight=None, label_smoothing=0.0, reduction="mean") -> tuple[float, np.ndarray]:
    """L = - the mean over samples and labels of a t log q + (1 - t) log(1 - q), with q = 1 / (1 + exp(-z)).

    Its gradient is dL/dz = (q - t) / n where a is 1, with n the number of elements.

    Parameters
    ----------
    scores, target : arrays of one shape, the labels last
    pos_weight : float or sequence of floats, one per label, optional
        a; 1 without.
    label_smoothing : float
        e, with which t becomes (1 - e) t + e / 2.
    reduction : {"mean", "sum"}
        "sum": nothing is divided by n.

    Returns
    -------
    loss : float
    dscores : array of that shape

    Examples
    --------
    >>> sigmoid_loss([[0, math.log(3)]], [[1, 0]])  # q = 1/2, 3/4: the mean of log 2 and log 4
    (1.03972077083991..., array([[-0.25 ,  0.375]]))
    """
    z, t = float64(scores, target)
    a = np.broadcast_to(1 if pos_weight is None else pos_weight, z.shape)
    t = (1 - label_smoothing) * t + label_smoothing / 2
    n = 1 if reduction == "sum" else z.size
    loss, dz = 0.0, np.zeros(z.shape)
    for i in np.ndindex(z.shape):
        q = 1 / (1 + math.exp(-z[i]))
        loss -= (a[i] * t[i] * math.log(q) + (1 - t[i]) * math.log(1 - q)) / n
        dz[i] = ((1 - t[i]) * q - a[i] * t[i] * (1 - q)) / n  # d log q/dz = 1 - q, d log(1 - q)/dz = -q
    return float(loss), dz

"""Losses."""

import math

import numpy as np


def softmax_loss(scores, labels) -> tuple[float, np.ndarray]:
    """L = the mean over the batch of -log q_y, with q = softmax(z); and its gradient dL/dz = (q - e_y) / N.

    Parameters
    ----------
    scores : array, (N, C)
    labels : array of int, (N,)

    Returns
    -------
    loss : float
    dscores : array, (N, C)

    Examples
    --------
    >>> softmax_loss(np.log([[0.25, 0.75]]), [0])
    (1.3862943611198906, array([[-0.75,  0.75]]))
    """
    scores = np.asarray(scores, float)
    loss, dscores = 0.0, np.zeros(scores.shape)
    for z, y, dz in zip(scores, labels, dscores, strict=True):
        exponentials = [math.exp(v - max(z)) for v in z]
        for c, e in enumerate(exponentials):
            q = e / sum(exponentials)
            dz[c] = (q - (c == y)) / len(scores)  # (q - e_y) / N
            if c == y:
                loss -= math.log(q) / len(scores)  # -log q_y / N
    return loss, dscores

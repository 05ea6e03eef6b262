"""Losses, each with its gradient; the 1/N of a batch is here alone.

Source: UC Berkeley CS W182 discussion sheet, section 1 and Problem 1.
"""

import math

import numpy as np

from .arrays import float64


def softmax_loss(
    scores, target, label_smoothing=0.0, class_weights=None, ignore_label=None, reduction="mean"
) -> tuple[float, np.ndarray]:
    """L = the mean over the batch of -log q_y, with q = softmax(z); and its gradient dL/dz = (q - e_y) / N.

    In full, with targets p (e_y for a label), `label_smoothing` e and class weights w:

        p' = (1 - e) p + e / C
        L  = sum over n, c of w_c p'_nc (-log q_nc) / Z
        Z  = sum over n, c of w_c p_nc

    Parameters
    ----------
    scores : array, (N, C)
    target : array of int, (N,), or of probabilities, (N, C)
    label_smoothing : float
    class_weights : sequence of C floats, optional
    ignore_label : int, optional
        Samples with this label are in neither sum.
    reduction : {"mean", "sum"}
        "sum": nothing is divided by Z.

    Returns
    -------
    loss : float
    dscores : array, (N, C)

    Notes
    -----
    UC Berkeley CS W182 discussion sheet, Problem 1.

    Examples
    --------
    >>> softmax_loss([[0, math.log(3)]], [1])  # q = 1/4, 3/4
    (0.28768207245178085, array([[ 0.25, -0.25]]))
    """
    (scores,) = float64(scores)
    classes = scores.shape[1]
    w = [1.0] * classes if class_weights is None else class_weights
    total, Z, dscores = 0.0, 0.0, np.zeros(scores.shape)
    for z, t, dz in zip(scores, target, dscores, strict=True):
        if np.ndim(t) == 0 and t == ignore_label:
            continue
        p = [float(c == t) for c in range(classes)] if np.ndim(t) == 0 else t  # e_y for a label
        smooth = [(1 - label_smoothing) * p[c] + label_smoothing / classes for c in range(classes)]  # p'
        exponentials = [math.exp(v - max(z)) for v in z]
        for c in range(classes):
            log_q = z[c] - max(z) - math.log(sum(exponentials))
            total -= w[c] * smooth[c] * log_q  # w_c p'_c (-log q_c)
            Z += w[c] * p[c]
        for c in range(classes):
            q = exponentials[c] / sum(exponentials)
            for k in range(classes):  # d(-log q_k)/dz_c = q_c - 1[c = k], so q - e_y for a label alone
                dz[c] += w[k] * smooth[k] * (q - (c == k))
    divisor = 1 if reduction == "sum" else Z
    return float(total / divisor), dscores / divisor


def hinge_loss(scores, labels, reduction="mean") -> tuple[float, np.ndarray]:
    """L = the mean over the batch of the sum over j ≠ y of max(0, z_j - z_y + 1); and its gradient.

    Parameters
    ----------
    scores : array, (N, C)
    labels : array of int, (N,)
    reduction : {"mean", "sum"}
        "sum": nothing is divided by N.

    Returns
    -------
    loss : float
    dscores : array, (N, C)
        Where z_j - z_y + 1 > 0: 1 / N for z_j and -1 / N for z_y, added up.

    Notes
    -----
    Weston and Watkins, "Support Vector Machines for Multi-Class Pattern Recognition", 1999.

    Examples
    --------
    >>> hinge_loss([[3, 2.5, -1]], [0])
    (0.5, array([[-1.,  1.,  0.]]))
    """
    (scores,) = float64(scores)
    loss, dscores, n = 0.0, np.zeros(scores.shape), 1 if reduction == "sum" else len(scores)
    for z, y, dz in zip(scores, labels, dscores, strict=True):
        for j in range(len(z)):
            margin = z[j] - z[y] + 1
            if j != y and margin > 0:
                loss += float(margin) / n  # max(0, z_j - z_y + 1) / N
                dz[j] += 1 / n  # dL/dz_j = 1 / N
                dz[y] -= 1 / n  # dL/dz_y = -1 / N
    return loss, dscores


def mse_loss(scores, target, reduction="mean") -> tuple[float, np.ndarray]:
    """L = the mean over all elements of (z - t)²; and its gradient dL/dz = 2 (z - t) / n.

    Parameters
    ----------
    scores, target : arrays of one shape, any
    reduction : {"mean", "sum"}
        "sum": nothing is divided by n.

    Returns
    -------
    loss : float
    dscores : array of that shape

    Examples
    --------
    >>> mse_loss([[1, 2]], [[1, 4]])
    (2.0, array([[ 0., -2.]]))
    """
    z, t = float64(scores, target)
    n = 1 if reduction == "sum" else z.size
    loss = ((z - t) ** 2).sum() / n  # L = (1/n) sum of (z - t)²
    dz = 2 * (z - t) / n  # dL/dz = 2 (z - t) / n
    return float(loss), dz

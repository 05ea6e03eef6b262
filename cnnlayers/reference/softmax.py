"""Softmax: scores in, probabilities out, along the last axis.

Source: UC Berkeley CS W182 discussion sheet, section 1.
"""

import numpy as np

from .arrays import float64


def softmax(z) -> np.ndarray:
    """p_i = exp(z_i) / sum over j of exp(z_j).

    Shapes      z (..., C);  p as z
    Source      UC Berkeley CS W182 discussion sheet, section 1

    Examples
    --------
    >>> softmax(np.log([1, 2, 5]))
    array([0.125, 0.25 , 0.625])
    """
    (z,) = float64(z)
    e = np.exp(z - z.max(axis=-1, keepdims=True))  # the largest z_j is taken off: the same p, and nothing overflows
    return e / e.sum(axis=-1, keepdims=True)  # p_i = exp(z_i) / sum over j of exp(z_j)


def softmax_backward(z, dy) -> np.ndarray:
    """dL/dz = Jᵀ δ for each row, with J_ij = ∂p_i/∂z_j = p_i (1[i = j] - p_j).

    Shapes      z, dy, dz (..., C)
    Source      UC Berkeley CS W182 discussion sheet, section 1

    Examples
    --------
    >>> softmax_backward(np.log([1, 2, 5]), [64, 0, 0])
    array([ 7., -2., -5.])
    """
    p, delta = float64(softmax(z), dy)
    dz = np.zeros(p.shape)
    for row in np.ndindex(*p.shape[:-1]):
        J = np.diag(p[row]) - np.outer(p[row], p[row])  # ∂p_i/∂z_j = p_i (1[i = j] - p_j)
        dz[row] = J.T @ delta[row]  # dL/dz_j = sum over i of δ_i ∂p_i/∂z_j
    return dz

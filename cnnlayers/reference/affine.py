"""Affine map: every output sees every input.

Source: UC Berkeley CS W182 discussion sheet, Problems 1 and 2 (one sample is a column there and a row here, so each
matrix is the transpose of the sheet's).
"""

import numpy as np

from .arrays import float64


def affine(x, W, b=None) -> np.ndarray:
    """y = x W + b.

    Shapes      x (N, D);  W (D, M);  b (M,) or None;  y (N, M)
    Source      UC Berkeley CS W182 discussion sheet, section 1

    Examples
    --------
    >>> affine([[1, 2]], W=[[1, 10], [100, 1000]], b=[5, 6])
    array([[ 206., 2016.]])
    """
    x, W = float64(x, W)
    z = x @ W  # x W
    return z if b is None else z + np.asarray(b)  # x W + b


def affine_backward(x, W, dy) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dx, dW, db.

    Shapes      x, dx (N, D);  W, dW (D, M);  dy (N, M);  db (M,)
    Source      UC Berkeley CS W182 discussion sheet, Problem 1 (b and W) and Problem 2 (x)

    Examples
    --------
    >>> affine_backward([[1, 2]], W=[[1, 10], [100, 1000]], dy=[[1, -1]])
    (array([[  -9., -900.]]), array([[ 1., -1.], [ 2., -2.]]), array([ 1., -1.]))
    """
    x, W, delta = float64(x, W, dy)  # δ = dL/dy
    db = delta.sum(axis=0)  # dL/db = sum of δ over the batch
    dW = x.T @ delta  # dL/dW = xᵀ δ
    dx = delta @ W.T  # dL/dx = δ Wᵀ
    return dx, dW, db

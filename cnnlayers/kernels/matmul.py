"""Matrix products of Affine."""

import numpy as np


def affine(x: np.ndarray, W: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    """Y = x W + b: x (N, D), W (D, M), b (M,) or None."""
    y = x @ W
    if b is not None:
        y += b
    return y


def affine_weight_grad(x: np.ndarray, dy: np.ndarray, dW: np.ndarray) -> None:
    """DW := x^T dy."""
    np.matmul(x.T, dy, out=dW)


def affine_input_grad(dy: np.ndarray, W: np.ndarray) -> np.ndarray:
    """Dx = dy W^T."""
    return dy @ W.T

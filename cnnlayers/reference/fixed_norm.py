"""Normalisation by numbers known beforehand: each channel for itself.

δ is dL/dy.
"""

import numpy as np

from .arrays import float64


def fixed_norm(x, gamma, beta, mean, var, eps) -> np.ndarray:
    """y = gamma (x - mean) / sqrt(var + eps) + beta, with mean and var constants: BatchNorm at inference.

    A gamma of None is not there: y = x̂ + beta.

    Shapes      x (N, ..., C);  gamma, beta, mean, var (C,);  y as x
    Source      S. Ioffe, C. Szegedy, "Batch Normalization", 2015
    """
    x, beta, mean, var = float64(x, beta, mean, var)
    factors = 1 if gamma is None else np.asarray(gamma)
    return factors * (x - mean) / np.sqrt(var + eps) + beta  # y = gamma x̂ + beta


def fixed_norm_backward(x, gamma, dy, mean, var, eps) -> tuple[np.ndarray, ...]:
    """dx, dgamma (if there is a gamma) and dbeta of `fixed_norm`.

    Shapes      x, dy, dx (N, ..., C);  gamma, mean, var, dgamma, dbeta (C,)
    Source      S. Ioffe, C. Szegedy, "Batch Normalization", 2015
    """
    x, delta, mean, var = float64(x, dy, mean, var)
    factors = 1 if gamma is None else np.asarray(gamma)
    axes = tuple(range(x.ndim - 1))  # all but the channels
    x_hat = (x - mean) / np.sqrt(var + eps)  # x̂ = (x - mean) / sqrt(var + eps)
    dbeta = delta.sum(axes)  # dL/dbeta = sum of δ
    dgamma = (delta * x_hat).sum(axes)  # dL/dgamma = sum of δ x̂
    dx = factors / np.sqrt(var + eps) * delta  # dL/dx = gamma / sqrt(var + eps) δ
    return (dx, dbeta) if gamma is None else (dx, dgamma, dbeta)


def normalize(x, mean, std) -> np.ndarray:
    """y = (x - mean) / std.

    Shapes      x (N, ..., C);  mean, std a number or (C,);  y as x
    """
    x, mean, std = float64(x, mean, std)
    return (x - mean) / std


def normalize_backward(dy, std) -> np.ndarray:
    """dL/dx = δ / std.

    Shapes      dy, dx (N, ..., C);  std a number or (C,)
    """
    delta, std = float64(dy, std)
    return delta / std  # dL/dx = δ / std

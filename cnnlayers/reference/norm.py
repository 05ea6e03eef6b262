"""BatchNorm, and what all norms share: `standardise`, for numbers that have their mean and variance in common.

`sample_norm` has the norms within a sample, `fixed_norm` those by numbers known beforehand.
"""

import numpy as np

from .arrays import float64


def standardise(x, eps) -> np.ndarray:
    """x̂ = (x - mean) / sqrt(var + eps), with the mean and variance of all of x.

    Shapes      x of any shape;  x̂ as x
    Source      S. Ioffe, C. Szegedy, "Batch Normalization", 2015
    """
    (x,) = float64(x)
    mean = x.mean()  # mean = sum of x / n
    var = ((x - mean) ** 2).mean()  # var = sum of (x - mean)² / n
    return (x - mean) / np.sqrt(var + eps)


def standardise_backward(x, g, eps) -> np.ndarray:
    """dL/dx from g = dL/dx̂: x reaches x̂ by itself, by the variance and by the mean, and ways add.

    Shapes      x, g, dx of one shape, any
    Source      S. Ioffe, C. Szegedy, "Batch Normalization", 2015

    Examples
    --------
    >>> standardise_backward([5, 7], g=[4, 8], eps=3)  # mean 6, var 1
    array([-0.75,  0.75])
    """
    x, g = float64(x, g)
    n, mean, var = x.size, x.mean(), x.var()
    alone = g / np.sqrt(var + eps)  # g ∂x̂/∂x, with mean and var held fast
    dvar = (g * (x - mean)).sum() * (-1 / 2) * (var + eps) ** (-3 / 2)  # dL/dvar = sum of g ∂x̂/∂var
    dmean = (-g / np.sqrt(var + eps)).sum()  # dL/dmean = sum of g ∂x̂/∂mean, for ∂var/∂mean = -2 mean of (x - mean) = 0
    return alone + dvar * 2 * (x - mean) / n + dmean / n  # ∂var/∂x = 2 (x - mean) / n,  ∂mean/∂x = 1 / n


def batch_norm(x, gamma, beta, eps) -> np.ndarray:
    """y = gamma x̂ + beta, with the mean and variance of each channel over the batch: what training does.

    A gamma of None is not there: y = x̂ + beta.

    Shapes      x (N, ..., C);  gamma, beta (C,);  y as x
    Source      S. Ioffe, C. Szegedy, "Batch Normalization", 2015

    Examples
    --------
    >>> batch_norm([[5, 0], [7, 0]], gamma=[4, 1], beta=[10, 20], eps=3)
    array([[ 8., 20.],
           [12., 20.]])
    """
    x, beta = float64(x, beta)
    factors = np.ones(beta.shape) if gamma is None else np.asarray(gamma)
    y = np.zeros(x.shape)
    for c in range(x.shape[-1]):
        y[..., c] = factors[c] * standardise(x[..., c], eps) + beta[c]  # y = gamma x̂ + beta
    return y


def batch_norm_backward(x, gamma, dy, eps) -> tuple[np.ndarray, ...]:
    """dx, dgamma (if there is a gamma) and dbeta of `batch_norm`.

    Shapes      x, dy, dx (N, ..., C);  gamma, dgamma, dbeta (C,)
    Source      S. Ioffe, C. Szegedy, "Batch Normalization", 2015

    Examples
    --------
    >>> batch_norm_backward([[5], [7]], gamma=[4], dy=[[1], [2]], eps=3)
    (array([[-0.75],
           [ 0.75]]), array([0.5]), array([3.]))
    """
    x, delta = float64(x, dy)
    factors = np.ones(x.shape[-1]) if gamma is None else np.asarray(gamma)
    dx, dgamma, dbeta = np.zeros(x.shape), np.zeros(factors.shape), np.zeros(factors.shape)
    for c in range(x.shape[-1]):
        x_hat = standardise(x[..., c], eps)
        dbeta[c] = delta[..., c].sum()  # dL/dbeta = sum of δ
        dgamma[c] = (delta[..., c] * x_hat).sum()  # dL/dgamma = sum of δ x̂
        g = factors[c] * delta[..., c]  # dL/dx̂ = gamma δ
        dx[..., c] = standardise_backward(x[..., c], g, eps)  # dL/dx by dL/dx̂
    return (dx, dbeta) if gamma is None else (dx, dgamma, dbeta)


def running_statistics(x, mean, var, momentum) -> tuple[np.ndarray, np.ndarray]:
    """The running mean and variance after a batch: running = momentum running + (1 - momentum) batch.

    The variance is the unbiased one, sum of (x - mean)² / (n - 1); with one value per channel there is none, and the
    running one stays.

    Shapes      x (N, ..., C);  mean, var (C,)
    Source      S. Ioffe, C. Szegedy, "Batch Normalization", 2015

    Examples
    --------
    >>> running_statistics([[1], [3]], mean=[0], var=[1], momentum=0.75)
    (array([0.5]), array([1.25]))
    """
    x, mean, var = float64(x, mean, var)
    rows = x.reshape(-1, x.shape[-1])
    new_mean = momentum * mean + (1 - momentum) * rows.mean(axis=0)  # momentum running + (1 - momentum) batch
    if len(rows) == 1:
        return new_mean, var
    return new_mean, momentum * var + (1 - momentum) * rows.var(axis=0, ddof=1)  # ddof=1: divided by n - 1

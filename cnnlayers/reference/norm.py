"""Normalisation."""

import math

import numpy as np


def group_norm(x, groups, gamma, beta, eps) -> np.ndarray:
    """y = gamma (x - mean) / sqrt(var + eps) + beta: mean and var over a group of channels of one sample.

    Parameters
    ----------
    x : array, (N, ..., C)
    groups : int
        Neighbouring channels, C / groups of them, make a group.
    gamma, beta : array, (C,)
    eps : float

    Returns
    -------
    y : array of the shape of x

    Examples
    --------
    >>> group_norm([[1, 3, 10, 30]], groups=2, gamma=[1, 1, 1, 10], beta=[0, 0, 0, 5], eps=0)
    array([[-1.,  1., -1., 15.]])
    """
    x, gamma, beta = np.asarray(x, float), np.asarray(gamma, float), np.asarray(beta, float)
    y, size = np.zeros(x.shape), x.shape[-1] // groups
    for sample, out in zip(x, y, strict=True):
        for first in range(0, x.shape[-1], size):
            values = [float(v) for c in range(first, first + size) for v in sample[..., c].ravel()]
            mean = sum(values) / len(values)
            var = sum((v - mean) ** 2 for v in values) / len(values)
            for c in range(first, first + size):
                out[..., c] = gamma[c] * (sample[..., c] - mean) / math.sqrt(var + eps) + beta[c]
    return y


def layer_norm(x, gamma, beta, eps) -> np.ndarray:
    """y = gamma (x - mean) / sqrt(var + eps) + beta: mean and var over the channels of one position.

    Parameters
    ----------
    x : array, (N, ..., C)
    gamma, beta : array, (C,)
    eps : float

    Returns
    -------
    y : array of the shape of x

    Examples
    --------
    >>> layer_norm([[1, 3], [10, 30]], gamma=[1, 10], beta=[0, 5], eps=0)
    array([[-1., 15.],
           [-1., 15.]])
    """
    x = np.asarray(x, float)
    return group_norm(x.reshape(-1, x.shape[-1]), 1, gamma, beta, eps).reshape(x.shape)

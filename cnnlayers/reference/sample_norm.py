"""Normalisation within a sample: of each position over its channels, or of groups of channels."""

import numpy as np

from .arrays import float64
from .norm import standardise, standardise_backward


def group_norm(x, groups, gamma, beta, eps) -> np.ndarray:
    """y = gamma x̂ + beta, with the mean and variance of a group of channels in one sample.

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

    Notes
    -----
    Y. Wu, K. He, "Group Normalization", 2018.

    Examples
    --------
    >>> group_norm([[1, 3, 10, 30]], groups=2, gamma=[1, 1, 1, 10], beta=[0, 0, 0, 5], eps=0)
    array([[-1.,  1., -1., 15.]])
    """
    x, gamma, beta = float64(x, gamma, beta)
    y = np.zeros(x.shape)
    for n, channels in _groups(x, groups):
        x_hat = standardise(x[n][..., channels], eps)
        y[n][..., channels] = gamma[channels] * x_hat + beta[channels]  # y = gamma x̂ + beta
    return y


def group_norm_backward(x, groups, gamma, dy, eps) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dx, dgamma, dbeta of `group_norm`.

    Parameters
    ----------
    x, groups, gamma, eps
        As group_norm had them.
    dy : array of the shape of y

    Returns
    -------
    dx, dgamma, dbeta : arrays of the shapes of x, gamma and beta

    Notes
    -----
    Y. Wu, K. He, "Group Normalization", 2018.

    Examples
    --------
    >>> group_norm_backward([[5, 7]], groups=1, gamma=[4, 8], dy=[[1, 1]], eps=3)  # x̂ = -1/2, 1/2
    (array([[-0.75,  0.75]]), array([-0.5,  0.5]), array([1., 1.]))
    """
    x, gamma, delta = float64(x, gamma, dy)
    dx, dgamma, dbeta = np.zeros(x.shape), np.zeros(gamma.shape), np.zeros(gamma.shape)
    for n, channels in _groups(x, groups):
        x_own, d = x[n][..., channels], delta[n][..., channels]
        positions = tuple(range(d.ndim - 1))
        dbeta[channels] += d.sum(positions)  # dL/dbeta = sum of δ over samples and positions
        dgamma[channels] += (d * standardise(x_own, eps)).sum(positions)  # dL/dgamma = sum of δ x̂
        g = gamma[channels] * d  # dL/dx̂ = gamma δ
        dx[n][..., channels] = standardise_backward(x_own, g, eps)  # dL/dx by dL/dx̂
    return dx, dgamma, dbeta


def _groups(x: np.ndarray, groups: int) -> list[tuple[int, slice]]:
    """Each sample with each group of its channels."""
    size = x.shape[-1] // groups
    return [(n, slice(g * size, (g + 1) * size)) for n in range(len(x)) for g in range(groups)]


def layer_norm(x, gamma, beta, eps) -> np.ndarray:
    """y = gamma x̂ + beta, with the mean and variance of each position over its channels.

    Parameters
    ----------
    x : array, (N, ..., C)
    gamma, beta : array, (C,)
    eps : float

    Returns
    -------
    y : array of the shape of x

    Notes
    -----
    J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer Normalization", 2016.

    Examples
    --------
    >>> layer_norm([[1, 3], [10, 30]], gamma=[1, 10], beta=[0, 5], eps=0)
    array([[-1., 15.],
           [-1., 15.]])
    """
    (x,) = float64(x)
    rows = x.reshape(-1, x.shape[-1])  # a position is a sample whose channels are one group
    return group_norm(rows, 1, gamma, beta, eps).reshape(x.shape)


def layer_norm_backward(x, gamma, dy, eps) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dx, dgamma, dbeta of `layer_norm`.

    Parameters
    ----------
    x, gamma, eps
        As layer_norm had them.
    dy : array of the shape of y

    Returns
    -------
    dx, dgamma, dbeta : arrays of the shapes of x, gamma and beta

    Notes
    -----
    J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer Normalization", 2016.
    """
    x, delta = float64(x, dy)
    rows, deltas = x.reshape(-1, x.shape[-1]), delta.reshape(-1, x.shape[-1])
    dx, dgamma, dbeta = group_norm_backward(rows, 1, gamma, deltas, eps)
    return dx.reshape(x.shape), dgamma, dbeta

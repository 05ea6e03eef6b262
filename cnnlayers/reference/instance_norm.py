"""Normalisation of each channel within a sample: groups of one channel each."""

import numpy as np

from .sample_norm import group_norm, group_norm_backward


def instance_norm(x, gamma, beta, eps) -> np.ndarray:
    """y = gamma x̂ + beta, with the mean and variance of each channel in one sample.

    Shapes      x, y (N, ..., C);  gamma, beta (C,)
    Source      D. Ulyanov, A. Vedaldi, V. Lempitsky, "Instance Normalization", 2016

    Examples
    --------
    >>> instance_norm([[[1, 30], [3, 10]]], gamma=[1, 10], beta=[0, 5], eps=0)
    array([[[-1., 15.],
            [ 1., -5.]]])
    """
    return group_norm(x, np.shape(x)[-1], gamma, beta, eps)


def instance_norm_backward(x, gamma, dy, eps) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dx, dgamma, dbeta of `instance_norm`.

    Shapes      x, dx, dy (N, ..., C);  gamma, dgamma, dbeta (C,)

    Examples
    --------
    >>> instance_norm_backward([[[5], [7]]], gamma=[4], dy=[[[1], [2]]], eps=3)  # x̂ = -1/2, 1/2
    (array([[[-0.75],
            [ 0.75]]]), array([0.5]), array([3.]))
    """
    return group_norm_backward(x, np.shape(x)[-1], gamma, dy, eps)

"""Optimisers: what one step makes of the parameters w, given their gradient g, as equations.

Each function takes what the step starts from and gives what it leaves: w, and what the optimiser remembers. Nothing is
changed in place. All arrays have one shape, any; t is the number of the step, from 1. What is remembered starts at 0.
"""

import numpy as np

from .arrays import float64


def sgd(w, g, v, lr, momentum=0.0, nesterov=False, weight_decay=0.0) -> tuple[np.ndarray, np.ndarray]:
    """w, v after a step of gradient descent with momentum; without momentum, v is the gradient.

    Source      Sutskever, Martens, Dahl and Hinton, "On the importance of initialization and momentum in deep
                learning", 2013, in PyTorch's form (lr outside v)

    Examples
    --------
    >>> sgd(w=[1], g=[2], v=[4], lr=0.5, momentum=0.5)  # v = 2 + 2
    (array([-1.]), array([4.]))
    >>> sgd(w=[1], g=[2], v=[4], lr=0.5, momentum=0.5, nesterov=True)  # along 2 + 4 / 2
    (array([-1.]), array([4.]))
    """
    w, g, v = float64(w, g, v)
    d = g + weight_decay * w  # the gradient of L + weight_decay |w|² / 2
    v = momentum * v + d
    along = d + momentum * v if nesterov else v
    return w - lr * along, v


def rmsprop(w, g, s, lr=0.01, alpha=0.99, eps=1e-8, weight_decay=0.0) -> tuple[np.ndarray, np.ndarray]:
    """w, s after a step of RMSProp: s is the mean of d², forgetting slowly.

    Source      Tieleman and Hinton, lecture 6.5 of "Neural Networks for Machine Learning", 2012

    Examples
    --------
    >>> rmsprop(w=[5], g=[4], s=[16], lr=2, alpha=0.75, eps=0)  # s stays 16
    (array([3.]), array([16.]))
    """
    w, g, s = float64(w, g, s)
    d = g + weight_decay * w
    s = alpha * s + (1 - alpha) * d**2
    return w - lr * d / (np.sqrt(s) + eps), s


def adagrad(w, g, s, lr=0.01, eps=1e-10, weight_decay=0.0) -> tuple[np.ndarray, np.ndarray]:
    """w, s after a step of Adagrad: s is the sum of all d².

    Source      Duchi, Hazan and Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic
                Optimization", 2011

    Examples
    --------
    >>> adagrad(w=[5], g=[4], s=[9], lr=5, eps=0)  # s = 9 + 16
    (array([1.]), array([25.]))
    """
    w, g, s = float64(w, g, s)
    d = g + weight_decay * w
    s = s + d**2
    return w - lr * d / (np.sqrt(s) + eps), s


def adam(
    w, g, m, v, t, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """w, m, v after step t of Adam: m and v are the means of d and d², both freed from their start at 0.

    Source      Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015

    Examples
    --------
    The first step is as long as lr, whatever the gradient's size:

    >>> w, m, v = adam(w=[1, 1], g=[4, -40], m=[0, 0], v=[0, 0], t=1, lr=0.5, betas=(0.75, 0.75), eps=0)
    >>> w, m, v
    (array([0.5, 1.5]), array([  1., -10.]), array([  4., 400.]))
    """
    w, g, m, v = float64(w, g, m, v)
    beta1, beta2 = betas
    d = g + weight_decay * w
    m = beta1 * m + (1 - beta1) * d
    v = beta2 * v + (1 - beta2) * d**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    return w - lr * m_hat / (np.sqrt(v_hat) + eps), m, v


def adamw(
    w, g, m, v, t, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """w, m, v after step t of AdamW: the decay is taken off w itself and stays out of m and v.

    Source      Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019, in PyTorch's form (lr times
                weight_decay)

    Examples
    --------
    >>> w, m, v = adamw(w=[8], g=[4], m=[0], v=[0], t=1, lr=0.5, betas=(0.75, 0.75), eps=0, weight_decay=0.25)
    >>> w, m, v  # 8 - 1, and then Adam's 0.5
    (array([6.5]), array([1.]), array([4.]))
    """
    (w,) = float64(w)
    w = w - lr * weight_decay * w
    return adam(w, g, m, v, t, lr, betas, eps, weight_decay=0.0)


def muon(
    w, g, v, lr=0.02, momentum=0.95, nesterov=True, steps=5, normalize=True, weight_decay=0.0
) -> tuple[np.ndarray, np.ndarray]:
    """w, v after a step of Muon: w (..., F) is one weight, of two axes or more.

    Source      K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024

    Examples
    --------
    >>> w, v = muon(w=[[1, 0], [0, 1]], g=[[9, 0], [0, 3]], v=[[0, 0], [0, 0]], lr=1, weight_decay=1)
    >>> w.round(1)  # minus the identity, nearly, whatever the size of g
    array([[-0.8,  0. ],
           [ 0. , -1.1]])
    """
    w, g, v = float64(w, g, v)
    v = momentum * v + g
    along = g + momentum * v if nesterov else v
    if normalize and w.ndim > 2:  # a filter bank
        w = w * np.sqrt(w.shape[-1]) / np.linalg.norm(w)
    update = newton_schulz(along.reshape(-1, w.shape[-1]), steps).reshape(w.shape)
    return w - lr * (update + weight_decay * w), v


def newton_schulz(d, steps) -> np.ndarray:
    """About U Vᵀ, where d = U S Vᵀ: `steps` times X <- a X + b X XᵀX + c X (XᵀX)², from X = d / |d|.

    Each singular value s of X becomes a s + b s³ + c s⁵.
    """
    (d,) = float64(d)
    a, b, c = 3.4445, -4.775, 2.0315
    x = d / (np.linalg.norm(d) + 1e-7)
    for _ in range(steps):
        gram = x.T @ x
        x = a * x + b * x @ gram + c * x @ gram @ gram
    return x

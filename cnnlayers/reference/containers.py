"""Layers put together: one after the other, side by side, and with a skip connection.

A function f is handed over as it is, and for its backward pass as the function δ -> (∂f/∂x)ᵀ δ.

Source: UC Berkeley CS W182 discussion sheet, Problem 3.
"""

from collections.abc import Callable, Sequence

import numpy as np

from .activations import relu, relu_backward
from .affine import affine, affine_backward
from .arrays import float64

Function = Callable[[np.ndarray], np.ndarray]


def sequential(x, functions: Sequence[Function]) -> np.ndarray:
    """y = f_k(... f_2(f_1(x))).

    Shapes      x and y as the functions have them

    Examples
    --------
    >>> sequential(np.array([1.0, 2.0]), [lambda x: 3 * x, lambda x: x + 1])
    array([4., 7.])
    """
    (x,) = float64(x)
    for f in functions:
        x = f(x)  # x_i = f_i(x_{i-1})
    return x


def sequential_backward(dy, backwards: Sequence[Function]) -> np.ndarray:
    """dL/dx by the chain rule: δ_{i-1} = (∂f_i/∂x_{i-1})ᵀ δ_i, from δ_k = dL/dy to δ_0 = dL/dx.

    Shapes      dy as y;  dx as x

    Examples
    --------
    >>> sequential_backward([10, 20], [lambda delta: 3 * delta, lambda delta: delta])
    array([30., 60.])
    """
    (delta,) = float64(dy)
    for backward in reversed(backwards):
        delta = backward(delta)  # δ_{i-1} = (∂f_i/∂x_{i-1})ᵀ δ_i
    return delta


def residual(x, body: Function, shortcut: Function = lambda x: x) -> np.ndarray:
    """y = f(x) + s(x), where the shortcut s is the identity by default.

    Shapes      y as f and s both give it

    Examples
    --------
    >>> residual(np.array([1.0, 2.0]), lambda x: x**2)
    array([2., 6.])
    """
    (x,) = float64(x)
    return body(x) + shortcut(x)  # f(x) + s(x)


def residual_backward(dy, body: Function, shortcut: Function = lambda delta: delta) -> np.ndarray:
    """dL/dx = (∂f/∂x)ᵀ δ + (∂s/∂x)ᵀ δ: x reaches y by two ways, and ways add.

    Shapes      dy as y;  dx as x
    Source      UC Berkeley CS W182 discussion sheet, Problem 3

    Examples
    --------
    >>> residual_backward([10, 20], lambda delta: [2, 4] * delta)  # f(x) = x² at 1 and 2
    array([ 30., 100.])
    """
    (delta,) = float64(dy)
    return body(delta) + shortcut(delta)  # (∂f/∂x)ᵀ δ + (∂s/∂x)ᵀ δ


def concat(x, branches: Sequence[Function]) -> np.ndarray:
    """y = (f_1(x), ..., f_k(x)) along the last axis.

    Shapes      f_i(x) (..., C_i);  y (..., C_1 + ... + C_k)

    Examples
    --------
    >>> concat(np.array([[1.0, 2.0]]), [lambda x: x, lambda x: x.sum(axis=1, keepdims=True)])
    array([[1., 2., 3.]])
    """
    (x,) = float64(x)
    return np.concatenate([f(x) for f in branches], axis=-1)


def concat_backward(dy, backwards: Sequence[Function], channels: Sequence[int]) -> np.ndarray:
    """dL/dx = sum over i of (∂f_i/∂x)ᵀ δ_i, where δ_i holds the channels of δ that f_i gave.

    Shapes      dy as y;  channels C_1, ..., C_k;  dx as x

    Examples
    --------
    >>> concat_backward([[10, 20, 5]], [lambda delta: delta, lambda delta: np.repeat(delta, 2, axis=1)], [2, 1])
    array([[15., 25.]])
    """
    (delta,) = float64(dy)
    ends = np.cumsum(channels)
    parts = [delta[..., end - c : end] for c, end in zip(channels, ends, strict=True)]  # δ_i
    return np.sum([f(part) for f, part in zip(backwards, parts, strict=True)], axis=0)  # sum of (∂f_i/∂x)ᵀ δ_i


def skip_block(x, W1, W2) -> np.ndarray:
    """y = W₂ σ(W₁ x) + x, with one sample per row: y = relu(x W1) W2 + x.

    Shapes      x, y (N, D);  W1 (D, M);  W2 (M, D)
    Source      UC Berkeley CS W182 discussion sheet, Problem 3
    """
    return affine(relu(affine(x, W1)), W2) + np.asarray(x)


def skip_block_backward(x, W1, W2, dy) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dx, dW1, dW2; dL/dx = W₁ᵀ R(W₁ x) W₂ᵀ δ + δ.

    Shapes      x, dx, dy (N, D);  W1, dW1 (D, M);  W2, dW2 (M, D)
    Source      UC Berkeley CS W182 discussion sheet, Problem 3

    Examples
    --------
    >>> dx, dW1, dW2 = skip_block_backward([[1]], W1=[[2, -1]], W2=[[3], [5]], dy=[[10]])  # R = (1, 0)
    >>> dx, dW1, dW2
    (array([[70.]]), array([[30.,  0.]]), array([[20.], [ 0.]]))
    """
    z = affine(x, W1)  # z = W₁ x
    a = relu(z)  # a = σ(z)
    da, dW2, _ = affine_backward(a, W2, dy)  # dL/da = W₂ᵀ δ
    dz = relu_backward(z, da)  # dL/dz = R(z) W₂ᵀ δ
    dx, dW1, _ = affine_backward(x, W1, dz)  # W₁ᵀ R(W₁ x) W₂ᵀ δ
    return dx + np.asarray(dy), dW1, dW2  # dL/dx = W₁ᵀ R(W₁ x) W₂ᵀ δ + δ

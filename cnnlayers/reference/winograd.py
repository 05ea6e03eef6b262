"""Winograd's convolution: m neighbouring results of r weights with m + r - 1 multiplications in place of m r.

F(m, r) is three matrices: the numbers of a tile go to points by Bᵀ, the weights by G, their products back by Aᵀ. On
images each matrix is applied to the columns and to the rows. docs/winograd.md derives it.

Source: S. Winograd, "Arithmetic Complexity of Computations", 1980; A. Lavin, S. Gray, "Fast Algorithms for
Convolutional Neural Networks", 2015.
"""

import itertools

import numpy as np

from .arrays import float64
from .windows import pad_pairs

# For m + r - 1, and infinity as the last point.
POINTS: dict[int, list[float]] = {4: [0, 1, -1], 6: [0, 3 / 4, -3 / 4, 3 / 2, -3 / 2]}


def f_2_3(d, g) -> np.ndarray:
    """F(2, 3) by hand: y_0 = d_0 g_0 + d_1 g_1 + d_2 g_2 and y_1 = d_1 g_0 + d_2 g_1 + d_3 g_2.

    Shapes      d (4,);  g (3,);  y (2,)

    Examples
    --------
    >>> f_2_3([1, 2, 3, 4], [5, 6, 7])  # 1·5 + 2·6 + 3·7 and 2·5 + 3·6 + 4·7
    array([38., 56.])
    """
    d, g = float64(d, g)
    at_0 = (d[2] - d[0]) * -g[0]
    at_1 = (d[1] + d[2]) * (g[0] + g[1] + g[2]) / 2
    at_minus_1 = (d[2] - d[1]) * (g[0] - g[1] + g[2]) / 2
    at_infinity = (d[3] - d[1]) * g[2]
    return np.array([at_0 + at_1 + at_minus_1, at_1 - at_minus_1 + at_infinity])


def matrices(m: int, r: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Aᵀ (m, n), G (n, r) and Bᵀ (n, n) of F(m, r), with n = m + r - 1: y = Aᵀ [(G g) ⊙ (Bᵀ d)].

    Examples
    --------
    >>> AT, G, BT = matrices(2, 3)
    >>> BT
    array([[-1.,  0.,  1.,  0.],
           [ 0.,  1.,  1.,  0.],
           [ 0., -1.,  1.,  0.],
           [ 0., -1.,  0.,  1.]])
    """
    points = POINTS[m + r - 1]
    n = len(points) + 1
    A, G, B = np.zeros((n, m)), np.zeros((n, r)), np.zeros((n, n))
    for i, a in enumerate(points):
        others = points[:i] + points[i + 1 :]
        A[i] = [a**k for k in range(m)]  # the values at a of the powers 1, x, x², ...
        G[i] = [a**k / np.prod([a - other for other in others]) for k in range(r)]
        B[: n - 1, i] = np.poly(others)[::-1]  # the coefficients of the product of (x - other)
    A[-1, -1] = G[-1, -1] = 1  # the value at infinity is the coefficient of the highest power
    B[:, -1] = np.poly(points)[::-1]
    return A.T, G, B.T


def winograd_forward(x, W, m: int, padding=0) -> np.ndarray:
    """y = x ⋆ W at stride 1, tile by tile: Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A, summed over the channels at the points.

    Shapes      x (N, H, W, C) or (N, L, C);  W (r, r, C, F) or (r, C, F);  y (N, OH, OW, F) or (N, OL, F)
    """
    x, W = float64(x, W)
    of_x, of_W = range(1, x.ndim - 1), range(x.ndim - 2)  # the spatial axes of each
    AT, G, BT = matrices(m, len(W))
    padded, out, tiles = _cut(x, padding, m, len(W))
    y = np.zeros((len(x), *(size + -size % m for size in out), W.shape[-1]))
    g = _along(G, W, of_W)  # G g Gᵀ
    for reads, writes in tiles:
        d = _along(BT, padded[:, *reads], of_x)  # Bᵀ d B
        at_points = np.einsum("n...c,...cf->n...f", d, g)  # ⊙, and the sum over the channels
        y[:, *writes] = _along(AT, at_points, of_x)  # Aᵀ [...] A
    return y[:, *(slice(size) for size in out)]


def winograd_backward(x, W, dy, m: int, padding=0) -> tuple[np.ndarray, np.ndarray]:
    """dx, dW: both are convolutions, dx by F(m, r) and dW by F(r, m), in which δ takes the place of the weights.

    Shapes      x, dx (N, H, W, C) or (N, L, C);  W, dW (r, r, C, F) or (r, C, F);  dy as y
    Source      UC Berkeley CS W182 discussion sheet, Problem 6
    """
    x, W, delta = float64(x, W, dy)
    of_x, of_W, r = range(1, x.ndim - 1), range(x.ndim - 2), len(W)
    reversed_W = np.flip(W, axis=tuple(of_W)).swapaxes(-1, -2)
    dx = winograd_forward(delta, reversed_W, m, padding=r - 1)  # dL/dx̄: δ padded by r - 1, ⋆ W reversed
    pads = _pads(x, padding, r)
    inside = [slice(before, before + size) for size, (before, _) in zip(x.shape[1:-1], pads, strict=True)]

    AT, G, BT = matrices(r, m)
    padded, out, tiles = _cut(x, padding, m, r)
    delta = np.pad(delta, [(0, 0), *((0, -size % m) for size in out), (0, 0)])
    at_points = np.zeros((*[m + r - 1] * len(of_W), *W.shape[-2:]))
    for reads, own in tiles:
        d, g = _along(BT, padded[:, *reads], of_x), _along(G, delta[:, *own], of_x)
        at_points += np.einsum("n...c,n...f->...cf", d, g)  # ⊙, and the sum over the samples
    return dx[:, *inside], _along(AT, at_points, of_W)  # dL/dW = x̄ ⋆ δ


def _pads(x, padding, r: int) -> list[tuple[int, int]]:
    rank = x.ndim - 2
    return pad_pairs(padding, x.shape[1:-1], [r] * rank, [1] * rank, [1] * rank)


def _cut(x, padding, m: int, r: int):
    """x̄ with zeros at its end until tiles fit, y's sizes, and for each tile what it reads of x̄ and writes of y."""
    pads = _pads(x, padding, r)
    out = [before + size + after - r + 1 for size, (before, after) in zip(x.shape[1:-1], pads, strict=True)]
    wide = [(before, after + -size % m) for size, (before, after) in zip(out, pads, strict=True)]
    starts = itertools.product(*(range(0, size, m) for size in out))
    tiles = [([slice(i, i + m + r - 1) for i in start], [slice(i, i + m) for i in start]) for start in starts]
    return np.pad(x, [(0, 0), *wide, (0, 0)]), out, tiles


def _along(matrix, array, axes) -> np.ndarray:
    """The matrix times the array along each of these axes: for an image, its columns and then its rows."""
    for axis in axes:
        array = np.moveaxis(np.tensordot(matrix, array, (1, axis)), 0, axis)
    return array

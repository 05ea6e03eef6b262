"""Dropout: a number is dropped or grows, as a mask says that a key and the number's place decide.

Source: N. Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", 2014; the random
numbers: G. L. Steele, D. Lea, C. H. Flood, "Fast Splittable Pseudorandom Number Generators", 2014.
"""

import math

import numpy as np

from .arrays import float64

WORD = 2**64  # SplitMix64 computes modulo this


def splitmix64(seed: int, count: int) -> list[int]:
    """The first numbers of SplitMix64: a state that grows by gamma at each step, and a hash of it.

    Source      G. L. Steele, D. Lea, C. H. Flood, "Fast Splittable Pseudorandom Number Generators", 2014

    Examples
    --------
    >>> splitmix64(1234567, 2)  # as published with the generator
    [6457827717110365317, 3203168211198807973]
    """
    numbers, state = [], seed
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) % WORD
        z = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % WORD
        z = (z ^ z >> 27) * 0x94D049BB133111EB % WORD
        numbers.append(z ^ z >> 31)
    return numbers


def dropout_mask(shape, p: float, key: int) -> np.ndarray:
    """m = 0 with chance p, else 1: number i of the sequence that the key starts decides for the array's number i.

    Each number of 64 bits is two of 32, the lower half first; one below p 2^32 drops.

    Shapes      m of the given shape, filled in row-major order

    Examples
    --------
    >>> dropout_mask((2, 8), 0.5, key=1).astype(int)
    array([[1, 1, 0, 1, 1, 1, 1, 0],
           [1, 0, 1, 1, 1, 1, 0, 1]])
    """
    count = math.prod(shape)
    halves = [half for word in splitmix64(key, (count + 1) // 2) for half in (word % 2**32, word >> 32)]
    return np.array([float(half >= int(p * 2**32)) for half in halves[:count]]).reshape(shape)


def dropout(x, p: float, key: int) -> np.ndarray:
    """y = x m / (1 - p), and 0 for p = 1.

    Shapes      x of any shape;  y as x
    Source      N. Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", 2014
    """
    (x,) = float64(x)
    m = dropout_mask(x.shape, p, key)
    return x * m / (1 - p) if p < 1 else 0 * x  # y = x m / (1 - p)


def dropout_backward(dy, p: float, key: int) -> np.ndarray:
    """dL/dx = δ m / (1 - p): each number was multiplied by m / (1 - p), so its gradient is too, with the same mask.

    Shapes      dy of any shape;  dx as dy
    Source      As for `dropout`
    """
    return dropout(dy, p, key)


def spatial_dropout(x, p: float, key: int) -> np.ndarray:
    """y[n, ..., c] = x[n, ..., c] m[n, c] / (1 - p).

    Shapes      x (N, ..., C);  y as x
    Source      J. Tompson et al., "Efficient Object Localization Using Convolutional Networks", 2015
    """
    (x,) = float64(x)
    factors = dropout(np.ones((len(x), x.shape[-1])), p, key)  # m / (1 - p)
    y = np.zeros(x.shape)
    for n, c in np.ndindex(*factors.shape):
        y[n, ..., c] = x[n, ..., c] * factors[n, c]
    return y


def spatial_dropout_backward(dy, p: float, key: int) -> np.ndarray:
    """dL/dx[n, ..., c] = δ[n, ..., c] m[n, c] / (1 - p), with the mask of the forward pass.

    Shapes      dy (N, ..., C);  dx as dy
    Source      As for `spatial_dropout`
    """
    return spatial_dropout(dy, p, key)

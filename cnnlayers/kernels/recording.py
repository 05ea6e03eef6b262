"""What the fronts of this folder compute, recorded in a program: by the same kernels, and so to the same bits.

Each function is the twin of the one of its name, and gives the value that the program computes; or None where the front
computes it by NumPy, of which a program knows nothing.
"""

from math import prod

import numpy as np

from .._kernels import Program, Value
from ..geometry import Window
from . import products
from .choice import choose, choose_affine, choose_plain, separable
from .convolution import PackedWeights, made_ready
from .pooling import LARGEST


def conv_forward(
    program: Program,
    x: Value,
    W: np.ndarray,
    b: np.ndarray | None,
    window: Window,
    algorithm: str,
    relu: bool,
    packed: PackedWeights | None,
    plus: Value | None,
) -> Value | None:
    """y = x * W + b + plus, then max(y, 0) if `relu`."""
    n = x.shape[0]
    choice = choose("forward", window, W.shape, n, W.dtype, algorithm, packed is not None)
    if choice.kernel == "im2col":
        return None
    choice, ready = made_ready(choice, W, b, window, n, packed)
    plain = _plain("forward", window, W, n) if choice.side else None
    return program.conv_forward(
        x, W, b, window, relu, ready, choice.side, plus, kernel=choice.kernel, upright=choice.upright, plain=plain
    )


def two_convs(program: Program, x: Value, first: tuple, second: tuple, plus: Value | None) -> Value | None:
    """The second convolution of the first one's y, + plus, if both are one pass; else None.

    Both are what `conv_forward` takes after x, but for `plus`.
    """
    W, b, window, algorithm, relu, _ = first
    V, last_bias, last_window, last_algorithm, last_relu, packed = second
    n = x.shape[0]
    if packed is None or not separable(window, W.shape, last_window, V.shape, W.dtype):
        return None
    choices = (
        choose("forward", window, W.shape, n, W.dtype, algorithm),
        choose("forward", last_window, V.shape, n, V.dtype, last_algorithm, True),
    )
    if [choice.kernel for choice in choices] != ["depthwise", "direct"]:
        return None
    _, ready = made_ready(choices[1], V, last_bias, last_window, n, packed)
    if ready is None:
        return None
    return program.separable(x, (W, b, window, relu, None), (V, last_bias, last_window, last_relu, ready), plus)


def conv_input_grad(program: Program, dy: Value, W: np.ndarray, window: Window) -> Value | None:
    """dx[i] = the sum over the outputs that read pixel i, each through its own part of W^T."""
    choice = choose("input_grad", window, W.shape, dy.shape[0], W.dtype)
    if choice.kernel == "im2col":
        return None
    plain = _plain("input_grad", window, W, dy.shape[0]) if choice.side else None
    return program.conv_input_grad(
        dy, W, window, choice.side, kernel=choice.kernel, upright=choice.upright, plain=plain
    )


def _plain(which: str, window: Window, W: np.ndarray, n: int) -> tuple[str, bool]:
    """What computes a pass when Winograd's method met a number that is not finite: the kernel, and whether upright."""
    plain = choose_plain(which, window, W.shape, n, W.dtype)
    return plain.kernel, plain.upright


def affine(
    program: Program, x: Value, W: np.ndarray, b: np.ndarray | None, relu: bool, packed: PackedWeights | None
) -> Value:
    """y = x W + b, then max(y, 0) if `relu`."""
    kernel = choose_affine("forward", x.shape[0], W.shape, W.dtype).kernel
    ready = packed.ready(W, b) if packed is not None and kernel == "direct" else None
    return program.affine(x, W, b, relu, ready, kernel=kernel)


def max_pool(program: Program, x: Value, window: Window, relu: bool) -> Value | None:
    """The maximum of each window, and of 0 if `relu`."""
    return program.max_pool(x, window, relu) if prod(window.kernel) <= LARGEST else None


def avg_pool(program: Program, x: Value, window: Window, shares: np.ndarray) -> Value | None:
    """The sum of each window times its share."""
    return program.avg_pool(x, window, shares) if prod(window.kernel) <= LARGEST else None


def multiply(program: Program, factors: list[Value]) -> Value:
    """The product of all factors."""
    product = products.by_kernel(program, factors)
    if product is not None:
        return product
    shape = np.broadcast_shapes(*(factor.shape for factor in factors))
    return program.leave(lambda *arrays: products.multiply(arrays), factors, shape, "multiply")

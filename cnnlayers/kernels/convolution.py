"""Convolution by the algorithm that a layer names.

"direct" reads each patch where it lies in the image; "im2col" writes all patches down as a matrix, the readable way.
"auto" is "direct", which is the faster of the two for every shape. But where strides or holes leap over so much padding
that a buffer with it would dwarf x and y, both are "im2col", which never makes that padding.
"""

from math import prod
from typing import Any

import numpy as np

from .. import _kernels
from ..geometry import Window
from . import columns

ALGORITHMS: dict[str, Any] = {"auto": _kernels, "direct": _kernels, "im2col": columns}


def conv_forward(
    x: np.ndarray,
    W: np.ndarray,
    b: np.ndarray | None,
    window: Window,
    algorithm: str = "auto",
    relu: bool = False,
    packed: _kernels.PackedConv | None = None,
) -> np.ndarray:
    """y = x * W + b, then max(y, 0) if `relu`.

    x (N, H, W, C), W (KH, KW, C/G, F), y (N, OH, OW, F); or 1-D without the H axes. `packed`: W and b prepared by
    `pack_conv`, for a net whose weights never change.
    """
    way = _way(algorithm, window)
    return way.conv_forward(x, W, b, window, relu, packed) if packed else way.conv_forward(x, W, b, window, relu)


def pack_conv(
    W: np.ndarray, b: np.ndarray | None, window: Window, algorithm: str = "auto"
) -> _kernels.PackedConv | None:
    """Prepare weights and bias for many calls of `conv_forward` with this window; None where that gains nothing."""
    return _kernels.PackedConv(W, b, window) if _way(algorithm, window) is _kernels else None


def conv_weight_grad(x: np.ndarray, dy: np.ndarray, window: Window, dW: np.ndarray, algorithm: str = "auto") -> None:
    """dW := the sum over all positions of patch^T dy."""
    _way(algorithm, window).conv_weight_grad(x, dy, window, dW)


def conv_input_grad(dy: np.ndarray, W: np.ndarray, window: Window, algorithm: str = "auto") -> np.ndarray:
    """dx[i] = the sum over the outputs that read pixel i, each through its own part of W^T."""
    return _way(algorithm, window).conv_input_grad(dy, W, window)


def _way(algorithm: str, window: Window) -> Any:
    return columns if _mostly_padding(window) else ALGORITHMS[algorithm]


def _mostly_padding(window: Window) -> bool:
    """Whether the padded input is large, and far larger than input and output together."""
    padded = prod(axis.size + axis.before + axis.after for axis in window.axes)
    return padded * window.channels > 1 << 24 and padded > 16 * (prod(window.sizes) + prod(window.out))

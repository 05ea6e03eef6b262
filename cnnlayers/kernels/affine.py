"""The affine map, by the kernel that suits its shape (choice.py)."""

import numpy as np

from .. import _kernels
from .choice import choose_affine
from .convolution import PackedWeights


def affine(
    x: np.ndarray, W: np.ndarray, b: np.ndarray | None, relu: bool = False, packed: PackedWeights | None = None
) -> np.ndarray:
    """y = x W + b, then max(y, 0) if `relu`. `packed` keeps W and b prepared, so they must not change any more."""
    kernel = choose_affine("forward", len(x), W.shape, x.dtype).kernel
    ready = packed.ready(W, b) if packed is not None and kernel == "direct" else None
    return _kernels.affine(x, W, b, relu, ready, kernel=kernel)


def affine_weight_grad(x: np.ndarray, dy: np.ndarray, dW: np.ndarray | None, db: np.ndarray | None = None) -> None:
    """dW := x^T dy, db := the sum of dy. One that is None is left out."""
    if dW is not None:
        _kernels.affine_weight_grad(x, dy, dW, db)
    elif db is not None:
        _kernels.column_sums(dy, db)


def affine_input_grad(dy: np.ndarray, W: np.ndarray) -> np.ndarray:
    """dx = dy W^T."""
    return _kernels.affine_input_grad(dy, W, kernel=choose_affine("input_grad", len(dy), W.shape, dy.dtype).kernel)

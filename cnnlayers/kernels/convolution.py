"""Convolution by the algorithm that a layer names.

"direct" reads each patch where it lies in the image, by whichever kernel suits; "winograd" does the same with fewer
multiplications, for kernels of 3 and 5 a side and stride 1; "im2col" writes all patches down as a matrix, the readable
way. "auto" is the cheaper of "direct" and "winograd" (choice.py). But where strides or holes leap over so much padding
that a buffer with it would dwarf x and y, all are "im2col", which never makes that padding.

Winograd's method would spread a number that is not finite over its tile. Its kernels say so, and then a plain kernel
computes the pass.
"""

import numpy as np

from .. import _kernels
from ..geometry import Window
from . import columns
from .choice import Choice, choose, choose_plain

ALGORITHMS = ("auto", "direct", "im2col", "winograd")


class PackedWeights:
    """W and b in the order in which the kernels read them, for a net whose weights never change."""

    def __init__(self) -> None:
        self._by_side: dict[tuple[int, str], _kernels.PackedConv] = {}

    def ready(
        self, W: np.ndarray, b: np.ndarray | None, window: Window | None = None, side: int = 0
    ) -> _kernels.PackedConv:
        """W and b packed for tiles of this side (0: for the plain kernel), by the first call that needs them.

        Those of an affine map have no window.
        """
        key = side, _kernels.level()
        if key not in self._by_side:
            self._by_side[key] = _kernels.PackedConv(W, b, window, side)
        return self._by_side[key]

    def __reduce__(self):
        return type(None), ()  # a copy has None in its place, since the weights of a copy may change


def conv_forward(
    x: np.ndarray,
    W: np.ndarray,
    b: np.ndarray | None,
    window: Window,
    algorithm: str = "auto",
    relu: bool = False,
    packed: PackedWeights | None = None,
    plus: np.ndarray | None = None,
) -> np.ndarray:
    """y = x * W + b + plus, then max(y, 0) if `relu`.

    x (N, H, W, C), W (KH, KW, C/G, F), y and plus (N, OH, OW, F); or 1-D without the H axes. `packed` keeps W and b
    prepared for the next call: they must not change any more.
    """
    choice = choose("forward", window, W.shape, len(x), x.dtype, algorithm, packed is not None)
    return forward_by(choice, x, W, b, window, relu, packed, plus)


def forward_by(
    choice: Choice,
    x: np.ndarray,
    W: np.ndarray,
    b: np.ndarray | None,
    window: Window,
    relu: bool = False,
    packed: PackedWeights | None = None,
    plus: np.ndarray | None = None,
) -> np.ndarray:
    """The same by a choice that has been made."""
    if choice.kernel == "im2col":
        y = columns.conv_forward(x, W, b, window, relu and plus is None)
        return y if plus is None else _kernels.add(y, plus, relu)
    choice, ready = made_ready(choice, W, b, window, len(x), packed)
    result = _kernels.conv_forward(
        x, W, b, window, relu, ready, choice.side, plus, kernel=choice.kernel, upright=choice.upright
    )
    if result is None:
        plain = choose_plain("forward", window, W.shape, len(x), x.dtype)
        return forward_by(plain, x, W, b, window, relu, None, plus)
    return result


def made_ready(
    choice: Choice, W: np.ndarray, b: np.ndarray | None, window: Window, n: int, packed: PackedWeights | None
) -> tuple[Choice, _kernels.PackedConv | None]:
    """What computes a forward pass of n samples, and its packed weights if it takes any."""
    if packed is None or choice.kernel not in ("direct", "winograd"):
        return choice, None
    ready = packed.ready(W, b, window, choice.side)
    if choice.kernel == "direct" and not ready.fits(W, window):  # it was packed for images of another size
        return choose_plain("forward", window, W.shape, n, W.dtype), None
    return choice, ready


def conv_weight_grad(
    x: np.ndarray,
    dy: np.ndarray,
    window: Window,
    dW: np.ndarray | None,
    db: np.ndarray | None = None,
    algorithm: str = "auto",
) -> None:
    """dW := the sum over all positions of patch^T dy; db := the sum of dy. One that is None is left out."""
    if dW is None:
        if db is not None:
            _kernels.column_sums(dy, db)
        return
    weight_grad_by(choose("weight_grad", window, dW.shape, len(x), x.dtype, algorithm), x, dy, window, dW, db)


def weight_grad_by(
    choice: Choice, x: np.ndarray, dy: np.ndarray, window: Window, dW: np.ndarray, db: np.ndarray | None = None
) -> None:
    """The same by a choice that has been made."""
    if choice.kernel == "im2col":
        columns.conv_weight_grad(x, dy, window, dW)
        if db is not None:
            _kernels.column_sums(dy, db)
    elif not _kernels.conv_weight_grad(x, dy, window, dW, db, choice.side, kernel=choice.kernel):
        plain = choose_plain("weight_grad", window, dW.shape, len(x), x.dtype)
        weight_grad_by(plain, x, dy, window, dW)  # db is right


def conv_input_grad(
    dy: np.ndarray,
    W: np.ndarray,
    window: Window,
    algorithm: str = "auto",
    plus: np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> np.ndarray:
    """dx[i] = the sum over the outputs that read pixel i, each through its own part of W^T, + plus[i].

    And that only where mask[i] > 0, else 0: the gradient of the ReLU that `mask`, the input, came from.
    """
    choice = choose("input_grad", window, W.shape, len(dy), dy.dtype, algorithm)
    return input_grad_by(choice, dy, W, window, plus, mask)


def input_grad_by(
    choice: Choice,
    dy: np.ndarray,
    W: np.ndarray,
    window: Window,
    plus: np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> np.ndarray:
    """The same by a choice that has been made."""
    if choice.kernel == "im2col":
        return _kernels.finish_grad(columns.conv_input_grad(dy, W, window), plus, mask)
    result = _kernels.conv_input_grad(
        dy, W, window, choice.side, plus, mask, kernel=choice.kernel, upright=choice.upright
    )
    if result is None:
        plain = choose_plain("input_grad", window, W.shape, len(dy), dy.dtype)
        return input_grad_by(plain, dy, W, window, plus, mask)
    return result

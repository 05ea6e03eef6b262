"""im2col and col2im, and convolutions that are small enough for plain loops to take part.

backward    dx, dW and db
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from ..cases import Case
from ..sides import loops, numpy_conv, own, torch_conv
from .convolution import Row, problem

SIDES: dict[str, Callable[[Any], Any]] = {
    "numpy": numpy_conv.Conv,
    "cnnlayers": own.Conv,
    "torch:nchw": partial(torch_conv.Conv, channels_last=False),
    "torch:channels_last": partial(torch_conv.Conv, channels_last=True),
}
SMALL = [Row(2, 8, 3, 4, 3, padding=1), Row(2, 10, 2, 4, 5, stride=2, padding=2)]
ROWS = [
    Row(128, 28, 1, 16, 5),
    Row(64, 32, 3, 32, 3, padding=1),
    Row(64, 16, 64, 64, 3, padding=1),
    Row(64, 32, 64, 64, 3, stride=2, padding=1),
]


def cases() -> list[Case]:
    """Give im2col and col2im on every row, a whole convolution on the small ones."""
    small = [
        Case("columns", f"{operation}/{row.name}", operation, partial(problem, row), {"loops": loops.Conv, **SIDES})
        for operation in ("im2col", "col2im", "forward", "backward")
        for row in SMALL
    ]
    large = [
        Case("columns", f"{operation}/{row.name}", operation, partial(problem, row), SIDES)
        for operation in ("im2col", "col2im")
        for row in ROWS
    ]
    return [*small, *large]

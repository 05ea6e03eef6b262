"""Each pass of a convolution.

forward     y = x * W + b
dW, dx      one gradient alone

Where cnnlayers chooses Winograd's method, its plain kernel takes part too, as "direct".
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from ..cases import Case
from ..sides import own, torch_conv
from .convolution import Row, problem

SIDES: dict[str, Callable[[Any], Any]] = {
    "im2col": partial(own.Conv, algorithm="im2col"),
    "direct": partial(own.Conv, algorithm="direct"),
    "cnnlayers": own.Conv,
    "torch:nchw": partial(torch_conv.Conv, channels_last=False),
    "torch:channels_last": partial(torch_conv.Conv, channels_last=True),
}
PASSES = ("forward", "dW", "dx")

ROWS = [
    Row(64, 32, 3, 32, 3, padding=1),
    Row(64, 32, 32, 32, 3, padding=1),
    Row(64, 32, 32, 64, 3, padding=1),
    Row(64, 16, 64, 64, 3, padding=1),
    Row(64, 16, 64, 128, 3, padding=1),
    Row(64, 8, 128, 128, 3, padding=1),
    Row(64, 14, 16, 32, 5, padding=2),
    Row(64, 32, 64, 64, 3, stride=2, padding=1),
    Row(64, 16, 64, 128, 1, stride=2),
    Row(128, 28, 1, 16, 5),  # LeNet's two
    Row(128, 12, 16, 32, 5),
    Row(64, 32, 64, 64, 3, padding=1, groups=64),  # depthwise
    Row(64, 32, 128, 128, 3, stride=2, padding=1, groups=128),
    Row(64, 16, 64, 64, 3, padding=1, groups=4),
    Row(1, 32, 32, 32, 3, padding=1),
    Row(1, 16, 64, 64, 3, padding=1),
    Row(1, 8, 128, 128, 3, padding=1),
    Row(64, 32, 32, 32, 3, padding=1, dtype="float64"),
    Row(64, 16, 64, 64, 3, padding=1, dtype="float64"),
]


def cases() -> list[Case]:
    """Give every pass on every row."""
    return [
        Case("conv", f"{operation}/{row.name}", operation, partial(problem, row), sides(row, operation))
        for operation in PASSES
        for row in ROWS
    ]


def sides(row: Row, operation: str) -> dict[str, Callable[[Any], Any]]:
    """Depthwise without im2col: a matrix of columns for each channel takes longer than anyone would wait."""
    left_out = {"im2col"} if row.groups == row.channels > 1 else set()
    if row.algorithm(operation) == "direct":
        left_out.add("direct")
    return {name: side for name, side in SIDES.items() if name not in left_out}

"""im2col, col2im and each pass of a convolution.

forward     y = x * W + b
dW, dx      one gradient alone
backward    all three of them (dx, dW, db): the small rows, where the loops take part
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from ..cases import Case, Unavailable, method
from ..sides import loops, numpy_conv, own, torch_conv

SIDES: dict[str, Callable[[Any], Any]] = {
    "loops": loops.Conv,
    "numpy": numpy_conv.Conv,
    "cnnlayers": own.Conv,
    "torch:nchw": partial(torch_conv.Conv, channels_last=False),
    "torch:channels_last": partial(torch_conv.Conv, channels_last=True),
}


@dataclass(frozen=True)
class Row:
    """Sizes of one convolution of square images and kernels."""

    n: int
    size: int
    channels: int
    filters: int
    kernel: int
    stride: int = 1
    padding: int = 0
    loops: bool = False

    @property
    def name(self) -> str:
        image = f"{self.n}x{self.size}x{self.size}x{self.channels}"
        return f"{image}-f{self.filters}-k{self.kernel}-s{self.stride}-p{self.padding}"

    @property
    def out(self) -> int:
        return (self.size + 2 * self.padding - self.kernel) // self.stride + 1

    @property
    def operations(self) -> tuple[str, ...]:
        return ("im2col", "col2im", "forward", *(("backward",) if self.loops else ("dW", "dx")))

    def tiny(self) -> "Row":
        """Give the same convolution on two small images with few channels."""
        few = {"channels": min(self.channels, 4), "filters": min(self.filters, 5)}
        return replace(self, n=min(self.n, 2), size=min(self.size, self.kernel + 4), **few)


ROWS = [
    Row(2, 8, 3, 4, 3, padding=1, loops=True),
    Row(2, 10, 2, 4, 5, stride=2, padding=2, loops=True),
    Row(128, 28, 1, 16, 5),  # LeNet's
    Row(128, 12, 16, 32, 5),
    Row(64, 32, 3, 32, 3, padding=1),
    Row(64, 32, 32, 32, 3, padding=1),
    Row(64, 16, 64, 64, 3, padding=1),
    Row(64, 32, 64, 64, 3, stride=2, padding=1),
    Row(1, 32, 32, 32, 3, padding=1),
]


class Problem:
    """Random x, W, b and dL/dy of one row, channels last, float32; the arrays of columns on demand."""

    def __init__(self, row: Row) -> None:
        self.row = row
        rng = np.random.default_rng(0)
        fan_in = row.kernel**2 * row.channels
        self.x = rng.standard_normal((row.n, row.size, row.size, row.channels), np.float32)
        self.W = rng.standard_normal((row.kernel, row.kernel, row.channels, row.filters), np.float32)
        self.W /= np.float32(np.sqrt(fan_in))
        self.b = rng.standard_normal(row.filters, np.float32)
        self.dy = rng.standard_normal((row.n, row.out, row.out, row.filters), np.float32)

    @cached_property
    def cols(self) -> np.ndarray:
        row = self.row
        shape = (row.n * row.out**2, row.kernel**2 * row.channels)
        return np.random.default_rng(1).standard_normal(shape, np.float32)

    def work(self, operation: str) -> float | None:
        """Give the multiplications and additions of the definition."""
        passes = {"forward": 1, "dW": 1, "dx": 1, "backward": 2}.get(operation)
        return passes and 2.0 * passes * self.row.n * self.row.out**2 * self.W.size


def cases() -> list[Case]:
    """Give every operation on every row."""
    return [
        Case("conv", f"{operation}/{row.name}", operation, partial(problem, row), sides(row))
        for operation in ("im2col", "col2im", "forward", "backward", "dW", "dx")
        for row in ROWS
        if operation in row.operations
    ]


def problem(row: Row, quick: bool = False) -> Problem:
    return Problem(row.tiny() if quick else row)


def sides(row: Row) -> dict:
    return {name: side for name, side in SIDES.items() if name != "loops" or row.loops}


class Convolution:
    """The same for asv."""

    param_names = ("operation", "row", "side")
    params = (["im2col", "col2im", "forward", "backward", "dW", "dx"], [row.name for row in ROWS], list(SIDES))

    def setup(self, operation: str, row: str, side: str) -> None:
        chosen = next(r for r in ROWS if r.name == row)
        if operation not in chosen.operations or side not in sides(chosen):
            raise Unavailable(f"{operation} of {row} has no side {side}")
        self.run = method(SIDES[side](problem(chosen)), operation)
        self.run()

    def time_pass(self, operation: str, row: str, side: str) -> None:
        self.run()

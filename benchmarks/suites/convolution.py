"""The sizes of a convolution, and random numbers for it."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np


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
    groups: int = 1
    dtype: str = "float32"

    @property
    def name(self) -> str:
        image = f"{self.n}x{self.size}x{self.size}x{self.channels}"
        groups = f"-g{self.groups}" if self.groups > 1 else ""
        dtype = f"-{self.dtype}" if self.dtype != "float32" else ""
        return f"{image}-f{self.filters}-k{self.kernel}-s{self.stride}-p{self.padding}{groups}{dtype}"

    @property
    def out(self) -> int:
        return (self.size + 2 * self.padding - self.kernel) // self.stride + 1

    def tiny(self) -> "Row":
        """Give the same convolution on two small images with few channels."""
        few = {"channels": min(self.channels, 4), "filters": min(self.filters, 5)}
        if self.groups > 1:
            groups = 4 if self.groups == self.channels else 2
            few = {"channels": 4, "filters": 4, "groups": groups}
        return replace(self, n=min(self.n, 2), size=min(self.size, self.kernel + 4), **few)


class Problem:
    """Random x, W, b and dL/dy of one row, channels last; the arrays of columns on demand."""

    def __init__(self, row: Row) -> None:
        self.row = row
        self.dtype = row.dtype
        rng = np.random.default_rng(0)
        fan_in = row.kernel**2 * row.channels // row.groups

        def normal(*shape: int) -> np.ndarray:
            return rng.standard_normal(shape, np.dtype(row.dtype))

        self.x = normal(row.n, row.size, row.size, row.channels)
        self.W = normal(row.kernel, row.kernel, row.channels // row.groups, row.filters)
        self.W /= self.W.dtype.type(np.sqrt(fan_in))
        self.b = normal(row.filters)
        self.dy = normal(row.n, row.out, row.out, row.filters)

    @cached_property
    def cols(self) -> np.ndarray:
        row = self.row
        shape = (row.n * row.out**2, row.kernel**2 * row.channels)
        return np.random.default_rng(1).standard_normal(shape, np.dtype(row.dtype))

    def work(self, operation: str) -> float | None:
        """Give the multiplications and additions of the definition."""
        passes = {"forward": 1, "dW": 1, "dx": 1, "backward": 2, "layer": 3}.get(operation)
        return passes and 2.0 * passes * self.row.n * self.row.out**2 * self.W.size

    def traffic(self, operation: str) -> float | None:
        """Give the bytes of what one pass must read and write: x, W and y, or their gradients, once."""
        if operation not in ("forward", "dW", "dx"):
            return None
        return float(self.x.nbytes + self.W.nbytes + self.dy.nbytes)


def problem(row: Row, quick: bool = False) -> Problem:
    return Problem(row.tiny() if quick else row)

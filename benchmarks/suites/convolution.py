"""The sizes of a convolution, and random numbers for it."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from cnnlayers import geometry, kernels

PASSES = {"forward": ["forward"], "dW": ["weight_grad"], "dx": ["input_grad"]}
PASSES |= {"backward": [*PASSES["dx"], *PASSES["dW"]], "layer": [*PASSES["forward"], *PASSES["dx"], *PASSES["dW"]]}


@dataclass(frozen=True)
class Row:
    """Sizes of one convolution of square images and kernels, or of signals (rank 1)."""

    n: int
    size: int
    channels: int
    filters: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    dtype: str = "float32"
    rank: int = 2

    @property
    def name(self) -> str:
        image = "x".join(map(str, (self.n, *self.input_shape)))
        groups = f"-g{self.groups}" if self.groups > 1 else ""
        dtype = f"-{self.dtype}" if self.dtype != "float32" else ""
        return f"{image}-f{self.filters}-k{self.kernel}-s{self.stride}-p{self.padding}{groups}{dtype}"

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (*[self.size] * self.rank, self.channels)

    @property
    def W_shape(self) -> tuple[int, ...]:
        return (*[self.kernel] * self.rank, self.channels // self.groups, self.filters)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (*[self.out] * self.rank, self.filters)

    @property
    def out(self) -> int:
        return (self.size + 2 * self.padding - self.kernel) // self.stride + 1

    @property
    def fan_in(self) -> int:
        return math.prod(self.W_shape[:-1])

    def choices(self, operation: str) -> list[kernels.Choice]:
        """Give what cnnlayers chooses for each pass of the operation."""
        window = geometry.window(self.input_shape, self.kernel, self.stride, self.padding)
        return [
            kernels.choose(which, window, self.W_shape, self.n, np.dtype(self.dtype))
            for which in PASSES.get(operation, [])
        ]

    def algorithm(self, operation: str) -> str | None:
        """Give the name of what cnnlayers chooses; of several passes, if they differ, all.

        F(4) is Winograd's method in tiles of side 4.
        """
        names = [f"F({choice.side})" if choice.side else choice.name for choice in self.choices(operation)]
        return ", ".join(names if len(set(names)) > 1 else names[:1]) or None

    def taps_inside(self, o: int) -> int:
        """Give how many numbers of the kernel's side meet pixels, not padding, at place o along an axis."""
        first = o * self.stride - self.padding
        return max(0, min(first + self.kernel, self.size) - max(first, 0))

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

        def normal(*shape: int) -> np.ndarray:
            return rng.standard_normal(shape, np.dtype(row.dtype))

        self.x = normal(row.n, *row.input_shape)
        self.W = normal(*row.W_shape)
        self.W /= self.W.dtype.type(np.sqrt(row.fan_in))
        self.b = normal(row.filters)
        self.dy = normal(row.n, *row.output_shape)

    @cached_property
    def cols(self) -> np.ndarray:
        row = self.row
        shape = (row.n * row.out**2, row.kernel**2 * row.channels)
        return np.random.default_rng(1).standard_normal(shape, np.dtype(row.dtype))

    def work(self, operation: str) -> float | None:
        """Give the multiplications and additions of the definition."""
        if operation not in PASSES:
            return None
        return 2.0 * len(PASSES[operation]) * self.row.n * math.prod(self.row.output_shape[:-1]) * self.W.size

    def algorithm(self, operation: str) -> str | None:
        return self.row.algorithm(operation)

    def real_work(self, operation: str) -> float | None:
        """Give the multiplications and additions of the chosen algorithms, transforms left out.

        The plain kernel's: those with pixels, not with padding, most of which it skips. Winograd's: those of whole
        tiles, also where they hang over the image.
        """
        if operation not in PASSES:
            return None
        row, (c, f) = self.row, self.W.shape[-2:]
        work = 0.0
        for which, choice in zip(PASSES[operation], row.choices(operation), strict=True):
            if choice.side:
                size = row.size if which == "input_grad" else row.out
                products = (choice.side + row.kernel - 1) * math.ceil(size / choice.side)
            else:
                products = sum(map(row.taps_inside, range(row.out)))
            work += 2.0 * row.n * products**row.rank * c * f
        return work

    def traffic(self, operation: str) -> float | None:
        """Give the bytes of what one pass must read and write: x, W and y, or their gradients, once."""
        if operation not in ("forward", "dW", "dx"):
            return None
        return float(self.x.nbytes + self.W.nbytes + self.dy.nbytes)


def problem(row: Row, quick: bool = False) -> Problem:
    return Problem(row.tiny() if quick else row)

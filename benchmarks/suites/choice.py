"""Is the algorithm that cnnlayers chooses for a convolution the fastest of its own? No other library takes part.

direct             the plain kernel
F(2x2), F(4x4)     Winograd's method in tiles of 2 x 2, and for 3 x 3 kernels of 4 x 4
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from ..cases import Case
from ..sides import own
from .conv import PASSES
from .convolution import Row, problem

SIDES: dict[str, Callable[[Any], Any]] = {
    "direct": partial(own.Tiles, side=0),
    "F(2x2)": partial(own.Tiles, side=2),
    "F(4x4)": partial(own.Tiles, side=4),
}

# (N, size, C, F), for kernels of 3 x 3
SIZES = [
    *((1, 56, 32, 32), (1, 56, 64, 64), (1, 28, 64, 64), (1, 28, 128, 128), (1, 14, 256, 256)),
    *((1, 32, 32, 32), (1, 16, 64, 64), (1, 8, 128, 128), (1, 7, 256, 256), (1, 4, 256, 256)),
    *((4, 32, 32, 32), (4, 16, 64, 64), (4, 8, 128, 128), (4, 7, 256, 256)),
    *((16, 32, 16, 16), (16, 16, 32, 32), (16, 8, 64, 64), (16, 14, 128, 128), (16, 4, 256, 256)),
    *((64, 32, 8, 8), (64, 32, 16, 16), (64, 32, 16, 32), (64, 32, 32, 32), (64, 32, 32, 64), (64, 16, 24, 24)),
    *((64, 16, 64, 64), (64, 16, 64, 128), (64, 14, 48, 48), (64, 8, 32, 32), (64, 8, 128, 128), (64, 7, 64, 64)),
    *((64, 6, 128, 128), (64, 5, 64, 64), (64, 4, 128, 128), (32, 8, 256, 256), (8, 56, 64, 64)),
    *((128, 28, 16, 16), (128, 32, 16, 16), (128, 16, 32, 32), (128, 8, 64, 64), (128, 4, 64, 64)),
]
SIZES_5X5 = [  # (N, size, C, F, padding)
    *((128, 12, 16, 32, 0), (128, 14, 8, 16, 0), (64, 14, 16, 16, 2), (64, 16, 16, 32, 2), (64, 14, 16, 32, 2)),
    *((64, 32, 16, 16, 2), (64, 16, 32, 32, 2), (64, 8, 64, 64, 2), (64, 7, 48, 128, 2), (64, 8, 32, 64, 0)),
    *((1, 28, 16, 32, 2), (1, 14, 32, 64, 2), (1, 12, 16, 32, 0), (1, 7, 48, 128, 2), (1, 16, 128, 128, 2)),
    *((8, 14, 32, 64, 2), (16, 27, 64, 96, 2)),
]
ROWS = [Row(n, size, c, f, 3, padding=1) for n, size, c, f in SIZES]
ROWS += [Row(n, size, c, f, 5, padding=padding) for n, size, c, f, padding in SIZES_5X5]


def sides(kernel: int) -> dict[str, Callable[[Any], Any]]:
    """Give the algorithms that take a kernel of this size."""
    return {name: side for name, side in SIDES.items() if kernel == 3 or name != "F(4x4)"}


def cases() -> list[Case]:
    """Give every pass on every row."""
    return [
        Case(
            "choice",
            f"{operation}/{row.name}",
            operation,
            partial(problem, row),
            sides(row.kernel),
            reference="direct",
            pause=False,
        )
        for operation in PASSES
        for row in ROWS
    ]

"""Is the algorithm that cnnlayers chooses for a convolution the fastest of its own? No other library takes part.

direct             the plain kernel
F(2), F(4)         Winograd's method in tiles of side 2 and 4
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from cnnlayers import _kernels

from ..cases import Case
from ..sides import own
from .conv import PASSES
from .convolution import Row, problem

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
SIGNALS = [  # (N, size, C, F, kernel)
    *((64, 128, 16, 16, 3), (64, 128, 32, 32, 3), (64, 128, 64, 64, 3), (64, 128, 128, 128, 3), (64, 31, 256, 256, 3)),
    *((16, 1024, 64, 64, 3), (128, 500, 16, 32, 3), (1, 128, 64, 64, 3), (1, 1000, 32, 64, 3), (64, 8, 128, 128, 3)),
    *((64, 128, 32, 32, 5), (64, 128, 64, 64, 5), (64, 128, 128, 128, 5), (16, 1024, 64, 64, 5), (1, 128, 64, 64, 5)),
]
ROWS = [Row(n, size, c, f, 3, padding=1) for n, size, c, f in SIZES]
ROWS += [Row(n, size, c, f, 5, padding=padding) for n, size, c, f, padding in SIZES_5X5]
ROWS += [Row(n, size, c, f, kernel, padding=kernel // 2, rank=1) for n, size, c, f, kernel in SIGNALS]


def sides(row: Row) -> dict[str, Callable[[Any], Any]]:
    """Give the algorithms that take the row's kernel."""
    kernel = (1, row.kernel) if row.rank == 1 else (row.kernel, row.kernel)
    found = sorted(side for high, wide, side in _kernels.TILES if (high, wide) == kernel)
    return {"direct": partial(own.Tiles, side=0)} | {f"F({side})": partial(own.Tiles, side=side) for side in found}


def cases() -> list[Case]:
    """Give every pass on every row."""
    return [
        Case(
            "choice",
            f"{operation}/{row.name}",
            operation,
            partial(problem, row),
            sides(row),
            reference="direct",
            pause=False,
        )
        for operation in PASSES
        for row in ROWS
    ]

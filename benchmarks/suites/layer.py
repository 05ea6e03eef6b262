"""A convolutional layer in training: y, and then dx, dW and db; beside a layer as one writes it in plain NumPy."""

from collections.abc import Callable
from functools import partial
from typing import Any

from ..cases import Case
from ..sides import numpy_conv
from . import conv
from .convolution import problem

NUMPY: dict[str, Callable[[Any], Any]] = {"numpy": numpy_conv.Conv}


def cases() -> list[Case]:
    """Give the 3x3 rows with 32 channels or more."""
    rows = [r for r in conv.ROWS if r.kernel == 3 and r.channels >= 32 and r.groups == 1 and r.n > 1]
    return [
        Case("layer", row.name, "layer", partial(problem, row), {**NUMPY, **conv.sides(row, "layer")}) for row in rows
    ]

"""How far a convolution in float32, with a kernel of 3 or 5 a side, is from the truth: the plain kernel in float64.

The unit is eps, 2^-23, times the root mean square of the true result; x, dy and y are numbers of unit variance.

rms     the root of the mean square of all errors
max     the largest
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from cnnlayers import _kernels, geometry

from ..cases import Case
from .choice import sides as algorithms
from .conv import PASSES
from .convolution import Problem, Row

CHANNELS = (16, 32, 64, 128, 256, 512)
ERRORS: dict[str, Callable[[np.ndarray], float]] = {
    "rms": lambda error: float(np.sqrt(np.mean(error**2))),
    "max": lambda error: float(np.abs(error).max()),
}


class Errors:
    """An algorithm; its operations give the errors of a pass."""

    def __init__(self, problem: Any, make: Callable[[Any], Any]) -> None:
        self.problem = problem
        self.side = make(problem)

    def error(self, operation: str, kind: str) -> float:
        truth = true_result(self.problem, operation)
        unit = np.finfo(np.float32).eps * np.sqrt(np.mean(truth**2))
        return ERRORS[kind]((getattr(self.side, operation)() - truth) / unit)

    def __getattr__(self, name: str) -> Callable[[], float]:
        operation, _, kind = name.partition("_")
        return partial(self.error, operation, kind)

    def arrays(self, operation: str, result: Any) -> Sequence[np.ndarray]:
        return [np.asarray(result)]


def true_result(problem: Problem, operation: str) -> np.ndarray:
    """Compute a pass with the same numbers in float64."""
    x, W, b, dy = (a.astype(np.float64) for a in (problem.x, problem.W, problem.b, problem.dy))
    window = geometry.window(x.shape[1:], problem.row.kernel, problem.row.stride, problem.row.padding)
    if operation == "forward":
        return _kernels.conv_forward(x, W, b, window)
    if operation == "dx":
        return _kernels.conv_input_grad(dy, W, window)
    dW = np.zeros_like(W)
    _kernels.conv_weight_grad(x, dy, window, dW)
    return dW


def cases() -> list[Case]:
    """Give every pass and error at every number of channels, for both kernels of images and of signals."""
    return [
        Case(
            "rounding",
            f"{operation} {'x'.join([str(kernel)] * rank)} {kind}/{channels}",
            f"{operation}_{kind}",
            partial(problem, row(channels, kernel, rank)),
            {name: partial(Errors, make=make) for name, make in algorithms(row(channels, kernel, rank)).items()},
            timed=False,
            unit="eps",
            reference="direct",
        )
        for rank in (2, 1)
        for kernel in (3, 5)
        for operation in PASSES
        for kind in ERRORS
        for channels in CHANNELS
    ]


def row(channels: int, kernel: int, rank: int) -> Row:
    """Four images of 16 x 16, or four signals as long."""
    return Row(4, 16 if rank == 2 else 256, channels, channels, kernel, padding=kernel // 2, rank=rank)


def problem(row: Row, quick: bool = False) -> Problem:
    few = min(row.channels, 16)
    return Problem(replace(row, channels=few, filters=few) if quick else row)

"""How far a 3x3 or 5x5 convolution in float32 is from the truth, which the plain kernel computes in float64.

The unit is eps, 2^-23, times the root mean square of the true result; x, dy and y are numbers of unit variance.

rms     the root of the mean square of all errors
max     the largest
"""

from collections.abc import Callable, Sequence
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
    """Give every pass and error at every number of channels, for both kernels."""
    return [
        Case(
            "rounding",
            f"{operation} {kernel}x{kernel} {kind}/{channels}",
            f"{operation}_{kind}",
            partial(problem, channels, kernel),
            {name: partial(Errors, make=make) for name, make in algorithms(kernel).items()},
            timed=False,
            unit="eps",
            reference="direct",
        )
        for kernel in (3, 5)
        for operation in PASSES
        for kind in ERRORS
        for channels in CHANNELS
    ]


def problem(channels: int, kernel: int, quick: bool = False) -> Problem:
    width = min(channels, 16) if quick else channels
    return Problem(Row(4, 16, width, width, kernel, padding=kernel // 2))

"""What several nodes together are: activations and norms that a file writes out in arithmetic.

A function of single numbers is recognised by its values. Each array is followed as a function of those it was computed
from, at some points: x times the sigmoid of x is SiLU in whichever order a file writes it. Norms are followed by what
each array means: the mean of x, what x deviates from it, the square of that, and so on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ....layers import GELU, HardSigmoid, HardSwish, Layer, SiLU
from .flow import Flow
from .protobuf import Node, shortest

__all__ = ["ARITHMETIC", "Known", "Norm"]

POINTS = np.concatenate([np.linspace(-8, 8, 81), np.linspace(-1.05, 1.05, 20)])
NEAR = 2e-6  # constants in files are float32
FARTHEST = 12  # how many arrays back a function is followed
REMEMBERED = 1000  # of how many arrays: what belongs together stands together in a file
CUBIC = 0.044715

erf = np.vectorize(math.erf, otypes=[float])


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def _hard(x: Any) -> Any:
    return np.clip(x / 6 + 0.5, 0, 1)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Abs": np.abs,
    "Erf": erf,
    "Exp": np.exp,
    "Neg": np.negative,
    "Reciprocal": lambda x: 1 / x,
    "Relu": lambda x: np.maximum(x, 0),
    "Sigmoid": _sigmoid,
    "Softplus": lambda x: np.logaddexp(0, x),
    "Sqrt": np.sqrt,
    "Tanh": np.tanh,
}
OF_TWO = {
    "Add": np.add,
    "Div": np.divide,
    "Max": np.maximum,
    "Min": np.minimum,
    "Mul": np.multiply,
    "Pow": np.power,
    "Sub": np.subtract,
    "Sum": np.add,
}
ARITHMETIC = frozenset(["Erf", "Exp", "Abs", "Pow", "Sqrt", "Neg"])  # no layer gives these alone

LAYERS: list[tuple[Callable[[], Layer], Any]] = [
    (SiLU, POINTS * _sigmoid(POINTS)),
    (HardSigmoid, _hard(POINTS)),
    (HardSwish, POINTS * _hard(POINTS)),
    (GELU, POINTS * (1 + erf(POINTS / math.sqrt(2))) / 2),
    (
        lambda: GELU(approximate="tanh"),
        POINTS * (1 + np.tanh(math.sqrt(2 / math.pi) * (POINTS + CUBIC * POINTS**3))) / 2,
    ),
]


class Norm(NamedTuple):
    """(x - mean) / sqrt(var + eps) over some axes of an array."""

    of: str
    axes: tuple[int, ...]
    eps: float


class Known:
    """What the arrays of a graph are, as functions of others."""

    def __init__(self) -> None:
        self._functions: dict[str, dict[str, np.ndarray]] = {}
        self._meanings: dict[str, tuple[Any, ...]] = {}

    def see(self, node: Node, values: Mapping[str, Any]) -> tuple[str, Layer] | Norm | None:
        """Follow a node, and give what it ends: a layer with the name of its input, or a norm."""
        with np.errstate(all="ignore"):
            functions = self._follow(node, values)
        if functions:
            self._functions[node.outputs[0]] = functions
            if len(self._functions) > REMEMBERED:
                del self._functions[next(iter(self._functions))]
        if node.op in ("Mul", "Div"):
            for name, found in functions.items():  # from the array that is farthest away
                for make, wanted in LAYERS:
                    if len(node.inputs) == 2 and np.allclose(found, wanted, NEAR, NEAR):
                        return name, make()
        return self._norm(node, values)

    def _follow(self, node: Node, values: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The values of what a node gives, as a function of each array that it comes from."""
        if node.op in OF_TWO and len(node.inputs) == 2:
            sides: list[Any] = [self._of(name, values) for name in node.inputs]
            if None in sides or not any(sides):
                return {}
            a, b = sides
            shared = [name for name in a if name in b] if a and b else [*a, *b]
            x, y = (
                side or dict.fromkeys(shared, _number(values[name]))
                for side, name in zip(sides, node.inputs, strict=True)
            )
            return {name: OF_TWO[node.op](x[name], y[name]) for name in shared}
        function = self._function(node, values)
        if function is None or not node.inputs or not isinstance(values.get(node.inputs[0]), Flow):
            return {}
        found = self._of(node.inputs[0], values) or {}
        return {name: function(points) for name, points in found.items()}

    def _of(self, name: str, values: Mapping[str, Any]) -> dict[str, np.ndarray] | None:
        """The functions that an array is, the farthest first; {} for one number, None for neither."""
        if isinstance(values.get(name), Flow):
            before = self._functions.get(name, {})
            return dict(list(before.items())[-FARTHEST:]) | {name: POINTS}
        value = values.get(name)
        return {} if isinstance(value, np.ndarray) and value.size == 1 else None

    def _function(self, node: Node, values: Mapping[str, Any]) -> Callable[[Any], Any] | None:
        if node.op == "HardSigmoid":
            alpha, beta = node.get("alpha", 0.2), node.get("beta", 0.5)
            return lambda x: np.clip(alpha * x + beta, 0, 1)
        if node.op == "Clip":
            bounds = [node.get("min", -np.inf), node.get("max", np.inf)]
            for i, name in enumerate(node.inputs[1:3]):
                if name:
                    if not isinstance(values.get(name), np.ndarray):
                        return None
                    bounds[i] = _number(values[name])
            return lambda x: np.minimum(np.maximum(x, bounds[0]), bounds[1])
        return FUNCTIONS.get(node.op)

    def _norm(self, node: Node, values: Mapping[str, Any]) -> Norm | None:
        """Follow what an array means on the way to a norm; the norm, if it ends one."""
        meanings = [self._meanings.get(name, ()) for name in node.inputs]
        found = self._meaning(node, values, meanings) if meanings else ()
        if found[:1] == ("norm",):
            return Norm(*found[1:])
        if found:
            self._meanings[node.outputs[0]] = found
        return None

    def _meaning(self, node: Node, values: Mapping[str, Any], meanings: list[Any]) -> tuple[Any, ...]:
        """What a node gives: a word, the array that it comes from, the axes, and eps."""
        what, *more = meanings[0] or ("",)
        if node.op == "ReduceMean" and isinstance(values.get(node.inputs[0]), Flow) and node.get("keepdims", 1):
            axes = _axes(node, values)
            if what == "square" and more[1] == axes:
                return ("variance", *more)
            return ("mean", node.inputs[0], axes, *(more if what == "square of" else []))
        if node.op == "Sub" and meanings[1][:2] == ("mean", node.inputs[0]):
            return ("deviation", *meanings[1][1:3])
        if node.op == "Sub" and what == "mean" and meanings[1] == ("square of mean", *more[2:], more[1]):
            return ("variance", *meanings[1][1:])
        if (node.op == "Mul" and node.inputs[0] == node.inputs[1]) or (
            node.op == "Pow" and _is(values.get(node.inputs[1]), 2)
        ):
            squares = {"deviation": ("square", *more), "mean": ("square of mean", *more[:2])}
            return squares.get(what, ("square of", node.inputs[0]))
        if node.op == "Add":
            for meaning, other in zip(meanings, node.inputs[::-1], strict=True):
                eps = values.get(other)
                if meaning[:1] == ("variance",) and isinstance(eps, np.ndarray) and eps.size == 1:
                    return ("with eps", *meaning[1:], shortest(_number(eps)))
        if node.op == "Sqrt" and what == "with eps":
            return ("std", *more)
        if node.op == "Div" and what == "deviation" and meanings[1][:3] == ("std", *more):
            return ("norm", *meanings[1][1:])
        return ()


def _axes(node: Node, values: Mapping[str, Any]) -> tuple[int, ...]:
    rank, axes = values[node.inputs[0]].rank, node.get("axes", None)
    if axes is None and len(node.inputs) > 1:
        axes = values.get(node.inputs[1])
    if not isinstance(axes, list | np.ndarray):
        return ()
    return tuple(sorted(int(axis) % rank for axis in np.asarray(axes).reshape(-1)))


def _number(array: np.ndarray) -> float:
    return float(array.reshape(-1)[0])


def _is(value: Any, number: float) -> bool:
    return isinstance(value, np.ndarray) and value.size == 1 and _number(value) == number

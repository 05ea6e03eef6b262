"""Operators that work number by number: activations, and arithmetic with constants or with another way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np

from ....layers import (
    ELU,
    GELU,
    Affine,
    BatchNorm,
    Clip,
    Conv,
    ConvTranspose,
    GroupNorm,
    HardSigmoid,
    HardSwish,
    InstanceNorm,
    Layer,
    LayerNorm,
    LeakyReLU,
    Multiply,
    Normalize,
    PReLU,
    Reciprocal,
    ReLU,
    ReLU6,
    Scale,
    Sigmoid,
    Softplus,
    Tanh,
    Upsample,
)
from .constants import Sized
from .errors import Refused
from .flow import Flow, Point, factored, laid, layered, reshaped, spread
from .joining import added
from .protobuf import Node, shortest
from .reader import Operators, Reader, constant

NORMS = (BatchNorm, GroupNorm, InstanceNorm, LayerNorm)


def activation(make: Callable[[Node], Layer]) -> Callable[..., Flow]:
    """Read a node that becomes one layer, whatever the axes."""

    def read(reader: Reader, node: Node, x: Flow) -> Flow:
        return x.after(make(node), node.name)

    return read


def clip(reader: Reader, node: Node, x: Flow, low: Any = None, high: Any = None) -> Flow:
    """Read y = min(max(x, low), high); the bounds were attributes before opset 11."""
    bounds = [node.get("min", None), node.get("max", None)]
    for i, (value, name) in enumerate(((low, "min"), (high, "max"))):
        if value is not None:
            bounds[i] = _shortest(constant(value, name))
    if None not in bounds and bounds[0] > bounds[1]:
        bounds[0] = bounds[1]
    bounds = [None if bound is None or not np.isfinite(bound) or abs(bound) > 3e38 else bound for bound in bounds]
    if bounds == [None, None]:
        return x
    layer: Layer = ReLU() if bounds == [0, None] else ReLU6() if bounds == [0, 6] else Clip(*bounds)
    return x.after(layer, node.name)


def bound(name: str) -> Callable[..., Flow]:
    """Read y = max(x, low) or min(x, high), of x and one number."""

    def read(reader: Reader, node: Node, *values: Any) -> Flow:
        if len(values) != 2 or all(isinstance(value, Flow) for value in values):
            raise Refused("it is read for one array and one number alone")
        x, c, _ = _sorted(node, *values)
        if c.size != 1:
            raise Refused(f"it takes one number for all; got a constant of shape {c.shape}")
        return clip(reader, node, x, **{name: c})

    return read


def _hard_sigmoid(node: Node) -> Layer:
    alpha, beta = node.get("alpha", 0.2), node.get("beta", 0.5)
    return HardSigmoid(1 / 6 if np.float32(alpha) == np.float32(1 / 6) else alpha, beta)


def celu(reader: Reader, node: Node, x: Flow) -> Flow:
    """Read y = x where x > 0, else alpha (exp(x / alpha) - 1): alpha times the ELU of x / alpha."""
    alpha = node.get("alpha", 1.0)
    if not alpha > 0:
        raise Refused(f"it must be above 0; got {alpha}", "alpha")
    if alpha == 1:
        return x.after(ELU(), node.name)
    return _times(_times(x, 1 / alpha, node).after(ELU(), node.name), alpha, node)


def selu(reader: Reader, node: Node, x: Flow) -> Flow:
    """Read y = gamma x where x > 0, else gamma alpha (exp(x) - 1): gamma times an ELU."""
    alpha, gamma = node.get("alpha", 1.6732632), node.get("gamma", 1.050701)
    return _times(x.after(ELU(alpha), node.name), gamma, node)


def prelu(reader: Reader, node: Node, x: Flow, slope: Any) -> Flow:
    """Read y = x where x > 0, else slope x."""
    x, alpha = spread(x, constant(slope, "slope"))
    return x.after(PReLU(shape=_shape(alpha, x.point)), node.name, alpha=alpha)


def _shape(array: np.ndarray, point: Point) -> tuple[int, ...] | None:
    """The shape of a parameter, as layers are told it: None for one number per channel."""
    return None if array.shape == point.shape[-1:] else array.shape


# Arithmetic


def add(reader: Reader, node: Node, a: Any, b: Any) -> Flow:
    """Read y = a + b."""
    if isinstance(a, Flow) and isinstance(b, Flow):
        return _sum(node, a, b)
    x, c, name = _sorted(node, a, b)
    return _shifted(reader, node, name, x, c)


def sum_of(reader: Reader, node: Node, *values: Any) -> Any:
    """Read y = a + b + ..., one after the other."""
    total = values[0]
    for value in values[1:]:
        flows = isinstance(total, Flow) or isinstance(value, Flow)
        total = add(reader, node, total, value) if flows else constant(total, "term") + constant(value, "term")
    return total


def sub(reader: Reader, node: Node, a: Any, b: Any) -> Flow:
    """Read y = a - b."""
    if isinstance(a, Flow) and isinstance(b, Flow):
        return _sum(node, a, _times(b, -1, node))
    x, c, name = _sorted(node, a, b)
    if x is a:
        return _shifted(reader, node, name, x, -c)
    return _shifted(reader, node, "", _times(x, -1, node), c)


def neg(reader: Reader, node: Node, x: Flow) -> Flow:
    """Read y = -x."""
    return _times(x, -1, node)


def mul(reader: Reader, node: Node, a: Any, b: Any) -> Flow:
    """Read y = a b."""
    if isinstance(a, Flow) and isinstance(b, Flow):
        return _product(node, a, b)
    x, c, name = _sorted(node, a, b)
    return _scaled(reader, node, name, x, c)


def div(reader: Reader, node: Node, a: Any, b: Any) -> Flow:
    """Read y = a / b."""
    if isinstance(b, Flow):
        inverse = b.after(Reciprocal(), node.name)
        if isinstance(a, Flow):
            return _product(node, a, inverse)
        return _scaled(reader, node, "", inverse, constant(a, "dividend"))
    x, c, name = _sorted(node, a, b)
    if (c == 0).any():
        raise Refused("it divides by 0")
    return _scaled(reader, node, name, x, c, divide=True)


def _sorted(node: Node, a: Any, b: Any) -> tuple[Flow, np.ndarray, str]:
    """What flows, the constant in double precision, and the name of the first."""
    x, c, name = (a, b, node.inputs[0]) if isinstance(a, Flow) else (b, a, node.inputs[1])
    if isinstance(c, Sized):
        raise Refused("it computes with the number of samples in a batch")
    c = np.asarray(c, np.float64)
    if c.ndim > x.rank:
        x = x.widened(c.ndim)
    return x, c, name


def _times(x: Flow, factor: float, node: Node) -> Flow:
    """x times a number."""
    return x.after(Normalize(0.0, 1 / factor), node.name)


def _shifted(reader: Reader, node: Node, name: str, x: Flow, c: np.ndarray) -> Flow:
    """Read y = x + c: as the bias of the layer before, part of a Normalize, or a Scale."""
    x, values = spread(x, c)
    before, layer = x.point, x.point.made
    own = _is_own(reader, name, x, c, values)
    if own and isinstance(layer, Affine | Conv | ConvTranspose) and not layer.bias:
        biased = type(layer)(**{**layer.config(), "bias": True})
        return x.with_point(_instead(before, biased, **before.arrays, b=values))
    if own and isinstance(layer, NORMS) and not before.arrays["beta"].any():
        return x.with_point(_instead(before, layer.copy(), **{**before.arrays, "beta": values}))
    if (normalize := _normalize(reader, before, values)) is not None:
        mean, std, source = normalize
        return x.with_point(_normalized(mean - values * std, std, source, node))
    if name and isinstance(layer, Scale) and not layer.bias and reader.used_once(name):
        gamma = before.arrays["gamma"]
        if gamma.shape == values.shape:
            return x.with_point(_instead(before, Scale(shape=layer.shape), gamma=gamma, beta=values))
    return _scale(node, x, "beta", values)


def _scaled(reader: Reader, node: Node, name: str, x: Flow, c: np.ndarray, divide: bool = False) -> Flow:
    """Read y = x c, or x / c: as the factor of the norm before, part of a Normalize, or a Scale."""
    x, values = spread(x, np.asarray(c, np.float64))
    before = x.point
    own = not divide and _is_own(reader, name, x, c, values)
    if own and isinstance(before.made, NORMS) and _is_plain(before.arrays):
        return x.with_point(_instead(before, before.made.copy(), **{**before.arrays, "gamma": values}))
    if (normalize := _normalize(reader, before, values)) is not None and (values != 0).all():
        mean, std, source = normalize
        return x.with_point(_normalized(mean, std * values if divide else std / values, source, node))
    return _scale(node, x, "gamma", 1 / values if divide else values)


def _is_own(reader: Reader, name: str, x: Flow, c: np.ndarray, values: np.ndarray) -> bool:
    """Whether a constant, by its shape, may be a parameter of the layer before, which `name` comes from."""
    return c.ndim > 0 and values.shape == x.point.shape[-1:] and name != "" and reader.used_once(name)


def _is_plain(arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether a norm neither scales nor shifts."""
    return bool((arrays["gamma"] == 1).all()) and not arrays["beta"].any()


def _instead(point: Point, layer: Layer, **arrays: np.ndarray) -> Point:
    """A point with another layer in the place of one."""
    return Point(layer, point.inputs, point.shape, point.node, arrays)


def _scale(node: Node, x: Flow, name: str, values: np.ndarray) -> Flow:
    """Read a Scale with this one parameter."""
    layer = Scale(shape=_shape(values, x.point), gain=name == "gamma", bias=name == "beta")
    return x.after(layer, node.name, **{name: values})


def _normalize(reader: Reader, point: Point, values: np.ndarray) -> tuple[Any, Any, Point] | None:
    """The mean, the deviation and the input of a Normalize that arithmetic with a constant would be part of.

    That is arithmetic with one number, which is no parameter, and by channel straight after the input.
    """
    normalizes = isinstance(point.made, Normalize)
    before = point.inputs[0] if normalizes else point
    if values.size != 1 and (values.ndim != 1 or before is not reader.source):
        return None
    return (np.asarray(point.made.mean), np.asarray(point.made.std), before) if normalizes else (0.0, 1.0, point)


def _normalized(mean: Any, std: Any, source: Point, node: Node) -> Point:
    numbers = (_shortest(a) for a in map(np.asarray, (mean, std)))
    return layered(Normalize(*numbers), source, node.name)


def _shortest(array: np.ndarray) -> Any:
    """A number, or one per channel, written as shortly as float32 allows, where they come from one: 4.9."""
    numbers = [shortest(n) for n in array.reshape(-1)]
    if not np.array_equal(np.float32(array).astype(np.float64).reshape(-1), array.reshape(-1)):
        numbers = array.reshape(-1).tolist()
    return numbers[0] if len(numbers) == 1 else tuple(numbers)


# Where two ways meet


def aligned(a: Flow, b: Flow) -> tuple[Point, Point, Callable[[Point], Flow]]:
    """Two flows as points whose samples lie alike, of which either may have axes of size 1 where the other has more.

    With them, what makes a flow of the point where they meet.
    """
    rank = max(a.rank, b.rank)
    a, b = a.widened(rank), b.widened(rank)
    if a.factors == b.factors and a.axes == b.axes:
        return a.point, reshaped(b.point, a.point.shape), lambda point: a.with_point(point)
    if a.batches != b.batches:
        raise Refused("the samples of its two inputs lie along different axes")
    large = a if prod(a.factors) >= prod(b.factors) else b
    kept = [k for k in large.others() if a.axes[k] or b.axes[k]] or large.others()[-1:]
    first, second = (laid(x, *[x.axes[k] for k in kept]).point for x in (a, b))
    places = [kept.index(k) if k in kept else None for k in range(rank)]
    return first, second, lambda point: factored(point, places, *large.batches)


def _sum(node: Node, a: Flow, b: Flow) -> Flow:
    """Read y = a + b, of two ways."""
    first, second, flow = aligned(a, b)
    if first.shape != second.shape:
        first, second = _stretched(node, first, second), _stretched(node, second, first)
    return flow(added(first, second, node.name))


def _stretched(node: Node, point: Point, other: Point) -> Point:
    """What a point gives, repeated along the axes of size 1 that are larger in the other."""
    if point.shape == other.shape:
        return point
    factors = [m // n if n == 1 else 1 for n, m in zip(point.shape, other.shape, strict=True)]
    if all(factor == 1 for factor in factors):
        return point
    if factors[-1] != 1 or len(factors) not in (2, 3):
        missing = node.problem(f"no layer stretches samples of {point.shape}, to be added to {other.shape}")
        return Point(None, (point,), other.shape, node.name, missing=missing)
    return layered(Upsample(factors[0] if len(factors) == 2 else tuple(factors[:-1])), point)


def _product(node: Node, a: Flow, b: Flow) -> Flow:
    """Read y = a b, of two ways."""
    first, second, flow = aligned(a, b)
    shape = tuple(np.broadcast_shapes(first.shape, second.shape))
    return flow(Point(Multiply, (first, second), shape, node.name))


ELEMENTWISE: Operators = {
    "Add": add,
    "Celu": celu,
    "Clip": clip,
    "Div": div,
    "Elu": activation(lambda node: ELU(node.get("alpha", 1.0))),
    "Gelu": activation(lambda node: GELU(approximate=node.get("approximate", "none"))),
    "HardSigmoid": activation(_hard_sigmoid),
    "HardSwish": activation(lambda node: HardSwish()),
    "LeakyRelu": activation(lambda node: LeakyReLU(node.get("alpha", 0.01))),
    "Max": bound("low"),
    "Min": bound("high"),
    "Mul": mul,
    "Neg": neg,
    "PRelu": prelu,
    "Reciprocal": activation(lambda node: Reciprocal()),
    "Relu": activation(lambda node: ReLU()),
    "Selu": selu,
    "Sigmoid": activation(lambda node: Sigmoid()),
    "Softplus": activation(lambda node: Softplus()),
    "Sub": sub,
    "Sum": sum_of,
    "Tanh": activation(lambda node: Tanh()),
}

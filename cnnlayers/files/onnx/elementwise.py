"""How activations, and scales by parameters, become nodes: they keep the shape and take either order of the axes."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from ...layers import GELU, Clip, HardSwish, Layer, PReLU, Scale, SiLU, Softmax
from .graph import Graph, Value, Writer


def operator(name: str, *attributes: str) -> Writer:
    """Write one node of this name, with attributes that the layer has under the same names."""

    def write(graph: Graph, layer: Layer, x: Value) -> Value:
        return graph.add(name, x, **{each: getattr(layer, each) for each in attributes})

    return write


def gelu(graph: Graph, layer: GELU, x: Value) -> Value:
    """Write y = x Φ(x): as one node from opset 20 on."""
    if graph.opset >= 20:
        return graph.add("Gelu", x, approximate=layer.approximate)
    inner = _gelu_tanh(graph, x) if layer.approximate == "tanh" else _gelu_erf(graph, x)
    doubled = graph.add("Mul", x, graph.add("Add", inner, graph.array("one", 1)))  # 2 Φ(x) = 1 + inner
    return graph.add("Mul", doubled, graph.array("half", 0.5))


def _gelu_erf(graph: Graph, x: Value) -> Value:
    return graph.add("Erf", graph.add("Div", x, graph.array("sqrt2", sqrt(2))))  # erf(x / √2)


def _gelu_tanh(graph: Graph, x: Value) -> Value:
    cube = graph.add("Mul", graph.add("Mul", x, x), x)
    u = graph.add("Add", x, graph.add("Mul", cube, graph.array("cubic", 0.044715)))
    return graph.add("Tanh", graph.add("Mul", u, graph.array("sqrt2pi", sqrt(2 / np.pi))))  # tanh(√(2/π) (x + c x³))


def silu(graph: Graph, layer: SiLU, x: Value) -> Value:
    """Write y = x σ(x)."""
    return graph.add("Mul", x, graph.add("Sigmoid", x))


def hard_swish(graph: Graph, layer: HardSwish, x: Value) -> Value:
    """Write y = x max(0, min(1, x / 6 + 1 / 2)): as one node from opset 14 on."""
    if graph.opset >= 14:
        return graph.add("HardSwish", x)
    return graph.add("Mul", x, graph.add("HardSigmoid", x, alpha=1 / 6, beta=0.5))


def clip(graph: Graph, layer: Clip, x: Value) -> Value:
    """Write y = min(max(x, low), high); the name of a bound that is not there is empty."""
    low, high = ("" if bound is None else graph.array("bound", bound) for bound in (layer.low, layer.high))
    return graph.add("Clip", x, low, high)


def softmax(graph: Graph, layer: Softmax, x: Value) -> Value:
    """Write y_i = exp(x_i) / sum of exp(x_j) along the channels."""
    return graph.add("Softmax", x, axis=x.channel_axis)


# With parameters


def prelu(graph: Graph, layer: PReLU, x: Value) -> Value:
    """Write y = x where x > 0, else alpha x."""
    return graph.add("PRelu", x, graph.by_place("alpha", layer.params["alpha"], x))


def scale_or_fixed(graph: Graph, layer: Scale, x: Value) -> Value:
    """Write gamma x + beta, or the fixed factor times x."""
    if layer.factor is not None:
        return graph.add("Mul", x, graph.array("factor", layer.factor))
    return scale(graph, layer, x)


def scale(graph: Graph, layer: Any, x: Value) -> Value:
    """Write gamma x + beta; one that the layer does not have is not there."""
    for operation, name in (("Mul", "gamma"), ("Add", "beta")):
        if name in layer.params:
            x = graph.add(operation, x, graph.by_place(name, layer.params[name], x))
    return x

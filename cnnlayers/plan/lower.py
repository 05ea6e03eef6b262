"""How the layers that are a step by themselves (`step.Plain`) are recorded in a program, each by its kernel.

A function gives the value of y, by the same kernel as the layer's `forward` at inference; or None where that needs
NumPy. A layer that is not in the table is called as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..kernels import Program, Value, recording
from ..layers.activation import ELU, GELU, LeakyReLU, ReLU, Sigmoid, SiLU, Tanh
from ..layers.dropout import Dropout, SpatialDropout
from ..layers.layer import Layer
from ..layers.layer_norm import LayerNorm
from ..layers.pool import AvgPool, GlobalAvgPool, GlobalMaxPool
from ..layers.shape import Flatten, Reshape

Lower = Callable[[Program, Any, Value], Value | None]


def _relu(program: Program, layer: ReLU, x: Value) -> Value:
    return program.relu(x)


def _leaky_relu(program: Program, layer: LeakyReLU, x: Value) -> Value:
    return program.activation(x, "leaky_relu", layer.alpha)


def _elu(program: Program, layer: ELU, x: Value) -> Value:
    return program.activation(x, "elu", layer.alpha)


def _sigmoid(program: Program, layer: Sigmoid, x: Value) -> Value:
    return program.activation(x, "sigmoid")


def _tanh(program: Program, layer: Tanh, x: Value) -> Value:
    return program.activation(x, "tanh")


def _gelu(program: Program, layer: GELU, x: Value) -> Value:
    return program.activation(x, "gelu_tanh" if layer.approximate == "tanh" else "gelu")


def _silu(program: Program, layer: SiLU, x: Value) -> Value:
    return program.activation(x, "silu")


def _layer_norm(program: Program, layer: LayerNorm, x: Value) -> Value:
    return program.layer_norm(x, layer.params["gamma"], layer.params["beta"], layer.eps)


def _avg_pool(program: Program, layer: AvgPool, x: Value) -> Value | None:
    window = layer.window(x.shape[1:])
    return recording.avg_pool(program, x, window, layer.shares(window))


def _global_avg_pool(program: Program, layer: GlobalAvgPool, x: Value) -> Value:
    return program.global_avg_pool(x)


def _global_max_pool(program: Program, layer: GlobalMaxPool, x: Value) -> Value:
    return program.global_max_pool(x)


def _reshaped(program: Program, layer: Flatten | Reshape, x: Value) -> Value:
    return program.reshape(x, (x.shape[0], *layer.output_shape(x.shape[1:])))


def _itself(program: Program, layer: Layer, x: Value) -> Value:
    return x


LOWER: dict[type[Layer], Lower] = {
    ReLU: _relu,
    LeakyReLU: _leaky_relu,
    ELU: _elu,
    Sigmoid: _sigmoid,
    Tanh: _tanh,
    GELU: _gelu,
    SiLU: _silu,
    LayerNorm: _layer_norm,
    AvgPool: _avg_pool,
    GlobalAvgPool: _global_avg_pool,
    GlobalMaxPool: _global_max_pool,
    Flatten: _reshaped,
    Reshape: _reshaped,
    Dropout: _itself,
    SpatialDropout: _itself,
}

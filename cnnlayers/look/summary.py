"""The table that `net.summary()` gives."""

from __future__ import annotations

import math

from ..layers.flat import parameter_count
from ..layers.layer import Layer
from ..tables import RULE, columns


def table(net: Layer) -> str:
    """A line for each layer: its name, output shape, parameters, multiply-adds and activation bytes of one sample."""
    net.require_built()
    rows: list[tuple[str, ...]] = [("layer", "output shape", "parameters", "multiply-adds", "activation bytes"), RULE]
    for name, layer in net.walk():
        shape = tuple(layer.output_shape(layer.input_shape))
        label = f"{'  ' * name.count('.')}{name}: {layer.who}" if name else layer.who
        counts = [""] * 3
        if not layer.children():
            size = math.prod(shape) * layer.dtype.itemsize
            numbers = (parameter_count(layer), layer.multiply_adds(layer.input_shape), size)
            counts = [f"{n:,}" for n in numbers]
        rows.append((label, str(shape), *counts))
    total = [parameter_count(net), net.multiply_adds(net.input_shape)]
    held = sum(math.prod(leaf.output_shape(leaf.input_shape)) for leaf in net.leaves()) * net.dtype.itemsize
    rows += [RULE, ("total", "", *(f"{n:,}" for n in (*total, held)))]
    return columns(rows, left=2)

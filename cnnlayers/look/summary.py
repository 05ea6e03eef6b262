"""The table that `net.summary()` gives."""

from __future__ import annotations

import math

from ..layers.flat import parameter_count
from ..layers.layer import Layer
from ..tables import RULE, columns


def table(net: Layer) -> str:
    """A line for each layer: its name, output shape, parameters, multiply-adds and activation bytes of one sample.

    The last line has the sums; where something is frozen, one after it says how many parameters train.
    """
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
    trained = sum(run.stop - run.start for run, _ in net.param_runs())
    if trained < total[0]:
        rows.append(("trained", "", f"{trained:,}", "", ""))
    return columns(rows, left=2)

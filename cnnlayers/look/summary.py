"""The table that `net.summary()` gives."""

from __future__ import annotations

import math

from ..layers.flat import parameter_count
from ..layers.layer import Layer


def table(net: Layer) -> str:
    """A line for each layer: its name, output shape, parameters, multiply-adds and activation bytes of one sample."""
    net.require_built()
    rows: list[tuple[str, ...]] = [("layer", "output shape", "parameters", "multiply-adds", "activation bytes")]
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
    rows.append(("total", "", *(f"{n:,}" for n in (*total, held))))
    return align(rows)


def align(rows: list[tuple[str, ...]]) -> str:
    """Set columns under each other, the first two to the left; rules under the head and over the last line."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    rule = "-" * len(lines[0])
    return "\n".join(line.rstrip() for line in [lines[0], rule, *lines[1:-1], rule, lines[-1]])

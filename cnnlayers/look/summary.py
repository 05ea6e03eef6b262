"""The table that `net.summary()` gives, and the one that a notebook shows of a layer or a net."""

from __future__ import annotations

import math

from .. import markup
from ..layers.flat import parameter_count
from ..layers.layer import Layer
from ..tables import RULE, columns


def table(net: Layer) -> str:
    """A line for each layer: its name, output shape, parameters, multiply-adds and activation bytes of one sample.

    The last line has the sums; where something is frozen, one after it says how many parameters train.
    """
    net.require_built()
    return columns(_rows(net), left=2)


def html(net: Layer) -> str | None:
    """The same table as HTML; before the net is built the layers alone, and nothing for a single one."""
    if net.built:
        return markup.block(markup.table(_rows(net), left=2))
    if not net.children():
        return None
    names = [("layer",), *((_label(name, layer),) for name, layer in net.walk())]
    return markup.block(markup.table(names), markup.note("not built yet: shapes come with the first batch"))


def _label(name: str, layer: Layer) -> str:
    return f"{'  ' * name.count('.')}{name}: {layer.who}" if name else layer.who


def _rows(net: Layer) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("layer", "output shape", "parameters", "multiply-adds", "activation bytes"), RULE]
    for name, layer in net.walk():
        shape = tuple(layer.output_shape(layer.input_shape))
        counts = [""] * 3
        if not layer.children():
            size = math.prod(shape) * layer.dtype.itemsize
            numbers = (parameter_count(layer), layer.multiply_adds(layer.input_shape), size)
            counts = [f"{n:,}" for n in numbers]
        rows.append((_label(name, layer), str(shape), *counts))
    total = [parameter_count(net), net.multiply_adds(net.input_shape)]
    held = sum(math.prod(leaf.output_shape(leaf.input_shape)) for leaf in net.leaves()) * net.dtype.itemsize
    rows += [RULE, ("total", "", *(f"{n:,}" for n in (*total, held)))]
    trained = sum(run.stop - run.start for run, _ in net.param_runs())
    if trained < total[0]:
        rows.append(("trained", "", f"{trained:,}", "", ""))
    return rows

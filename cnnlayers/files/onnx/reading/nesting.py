"""Points as layers: ways that part and meet again become the branches of a container."""

from __future__ import annotations

import numpy as np

from ....errors import DataError
from ....layers import Layer
from .errors import Refused
from .flow import Point

__all__ = ["nested"]


def nested(source: Point, end: Point) -> list[Layer]:
    """The layers between two points: one after the other, with containers for the ways that part and meet again."""
    return _between(source, end, {})


def _between(source: Point, end: Point, used: dict[Point, Layer]) -> list[Layer]:
    layers: list[Layer] = []
    while end is not source:
        if end.missing:
            raise Refused(end.missing)
        before = end.before()
        if len(end.inputs) == 1:
            layers.append(_made(end, used))
        else:
            layers.append(end.made([_between(before, point, used) for point in end.inputs]))
        end = before
    return layers[::-1]


def _made(point: Point, used: dict[Point, Layer]) -> Layer:
    """The layer of a point, which takes its arrays from the file; another one each time, if it has none."""
    if point in used:
        if point.arrays:
            raise Refused(
                f"what the node {point.node!r} gives is read by branches that meet at different places, so no nesting "
                "of branches holds its parameters once"
            )
        return used[point].copy()
    layer: Layer = point.made
    if point.arrays:
        layer.fill_from(lambda name, shape, init: _array(point, name, shape))
    used[point] = layer
    return layer


def _array(point: Point, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A parameter of a point's layer."""
    array = point.arrays.get(name)
    if array is None or array.shape != tuple(shape):
        found = "none" if array is None else f"shape {array.shape}"
        raise DataError(f"from_onnx: the node {point.node!r} needs an array {name} of shape {shape}; it has {found}")
    return np.array(array, point.made.dtype, order="C")

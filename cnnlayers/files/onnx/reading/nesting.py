"""Points as layers: ways that part and meet again become the branches of a container."""

from __future__ import annotations

import numpy as np

from ....layers import Layer
from .errors import Problem, Refused, shown
from .flow import Point, before

__all__ = ["nested"]

DEEPEST = 64  # branches within branches: what layers do with those inside them is recursive
REPEATED = 4  # how many times as many layers as points: a way that several branches share is a copy in each
LEAST = 1000


def nested(source: Point, end: Point, problems: list[Problem]) -> list[Layer]:
    """The layers between two points: one after the other, with containers for the ways that part and meet again.

    When the layers are built, arrays that are not finite are added to `problems`; one of another shape is Refused.
    """
    return _Nesting(max(LEAST, REPEATED * len(before(end))), problems).between(source, end, 0)


class _Nesting:
    """Layers that are made, of which there may be `most`."""

    def __init__(self, most: int, problems: list[Problem]):
        self.most = self.left = most
        self.problems = problems
        self.used: dict[Point, Layer] = {}

    def between(self, source: Point, end: Point, depth: int) -> list[Layer]:
        """The layers between two points."""
        if depth > DEEPEST:
            raise Refused(f"its branches are nested more than {DEEPEST} deep")
        layers: list[Layer] = []
        self._count()
        while end is not source:
            self._count()
            way = end.before()
            if len(end.inputs) == 1:
                layers.append(self._made(end))
            else:
                layers.append(end.made([self.between(way, point, depth + 1) for point in end.inputs]))
            end = way
        return layers[::-1]

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Refused(
                f"so many branches read the same values that nesting them would take more than {self.most} layers"
            )

    def _made(self, point: Point) -> Layer:
        """The layer of a point, which takes its arrays from the file; another one each time, if it has none."""
        if point in self.used:
            if point.arrays:
                raise Refused(
                    f"what the node {point.node!r} gives is read by branches that meet at different places, so no "
                    "nesting of branches holds its parameters once"
                )
            return self.used[point].copy()
        layer: Layer = point.made
        if point.arrays:
            layer.fill_from(lambda name, shape, init: _array(point, name, shape, self.problems))
        self.used[point] = layer
        return layer


def _array(point: Point, name: str, shape: tuple[int, ...], problems: list[Problem]) -> np.ndarray:
    """A parameter of a point's layer; 0 for now, if the file's are not finite."""
    array, dtype, layer = point.arrays.get(name), point.made.dtype, type(point.made).__name__
    who = f"{point.node} (a layer {layer}): it needs an array {name} of"
    if array is None or array.shape != tuple(shape):  # of another size than what is there: nothing is made of it
        raise Refused(f"{who} shape {shape}; it has {'none' if array is None else f'one of shape {array.shape}'}")
    with np.errstate(over="ignore"):
        own = np.array(array, dtype, order="C")
    bad = np.argwhere(~np.isfinite(own))
    if len(bad):
        at = tuple(bad[0].tolist())
        line = shown(f"{who} finite numbers in {dtype}; it has {array[at]} at {at}")
        problems.append(Problem(len(problems), line))
    return own

"""Arrays on their way through a graph: what gives them, and how their axes lie in memory.

The layers here have channels last, ONNX's operators have them first; and a Reshape, a Flatten or a Transpose of ONNX
only renames places. So a `Flow` holds what a layer gives, cut into factors, the sizes in the order of memory, and for
each axis of ONNX's array the factors that it is made of:

    images (N, C, H, W) in a net of images (N, H, W, C)     factors (H, W, C)    axes (batch) (2) (0) (1)
    after Transpose to (N, H, W, C)                         factors (H, W, C)    axes (batch) (0) (1) (2)
    after Flatten to (N, C H W)                             factors (H, W, C)    axes (batch) (2 0 1)

Nothing is moved for any of the three. An operator says how it needs the axes to lie, `laid(flow, ...)`; only where
they lie otherwise do a Reshape and a Permute come in. What is only flattened for an affine map stays where it is: the
rows of its matrix are put in the order of memory instead. Factors of size 1 are left out, since they lie everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ....layers import Flatten, Layer, Permute, Reshape
from .errors import Problem, Refused, check_size

__all__ = [
    "BATCH",
    "Flow",
    "Point",
    "alone",
    "before",
    "factored",
    "laid",
    "last",
    "layered",
    "meeting",
    "memory_order",
    "reshaped",
    "spread",
]

BATCH = (-1,)  # the axis of ONNX's array along which the samples lie


class Point:
    """A place in the graph: what a layer gives, or a container in which several ways meet.

    Attributes
    ----------
    made : Layer, or function of branches; None for the input and for what no layer gives
    inputs : tuple of Point
    shape : tuple of int
        Of a sample, as the layers have it.
    node : str
        The node of the file that it comes from.
    arrays : dict of arrays
        The layer's parameters and state.
    missing : Problem, optional
        Why no layer gives it, if none does.
    moved : dict of Point
        By their layers, what gives the same numbers in other places.
    way, depth : Point, int
        The last point that lies on all ways from the input to this one, and how many such points there are.
    leap : Point
        One of those points, much further back: `meeting` takes few steps in whatever graph.
    """

    def __init__(
        self,
        made: Any,
        inputs: Sequence[Point],
        shape: tuple[int, ...],
        node: str = "",
        arrays: Mapping[str, np.ndarray] | None = None,
        missing: Problem | None = None,
    ):
        if min(shape, default=1) < 1:
            raise Refused(f"it would give samples of {shape}, which hold nothing")
        self.made, self.inputs, self.shape, self.node = made, tuple(inputs), shape, node
        self.arrays, self.missing = dict(arrays or {}), missing
        self.moved: dict[str, Point] = {}
        self.way: Point | None = None
        self.depth = 0
        self.leap = self
        if inputs:
            way = self.way = meeting(self.inputs)
            self.depth = way.depth + 1
            # Two leaps of the same length become one that is as long as both.
            as_long = way.depth - way.leap.depth == way.leap.depth - way.leap.leap.depth
            self.leap = way.leap.leap if as_long else way

    def at(self, depth: int) -> Point:
        """Itself, or of the points before it that `way` leads to the one of this depth."""
        found = self
        while found.depth > depth:
            found = found.leap if found.leap.depth >= depth else found.before()
        return found

    def before(self) -> Point:
        """`way`, where there is one."""
        if self.way is None:
            raise Refused("it takes values that do not come from the same input")
        return self.way


def meeting(points: Sequence[Point]) -> Point:
    """The last point that lies on all ways from the input to any of these."""
    found, *others = points
    for other in others:
        while found is not other:
            if found.depth != other.depth:
                depth = min(found.depth, other.depth)
                found, other = found.at(depth), other.at(depth)
            elif found.depth and found.leap is not other.leap:
                found, other = found.leap, other.leap
            else:
                found, other = found.before(), other.before()
    return found


def before(*ends: Point) -> list[Point]:
    """The points on the ways to these, and these."""
    found, left = dict.fromkeys(ends), list(ends)
    while left:
        for point in left.pop().inputs:
            if point not in found:
                found[point] = None
                left.append(point)
    return list(found)


@dataclass(frozen=True, eq=False)
class Flow:
    """An array on its way: what gives it, its factors in the order of memory, and the factors of each ONNX axis."""

    point: Point
    factors: tuple[int, ...]
    axes: tuple[tuple[int, ...], ...]

    @property
    def rank(self) -> int:
        """How many axes ONNX's array has."""
        return len(self.axes)

    @property
    def dims(self) -> tuple[int | None, ...]:
        """The sizes of ONNX's array; None for the batch."""
        return tuple(None if axis == BATCH else self.size(axis) for axis in self.axes)

    def size(self, factors: Sequence[int]) -> int:
        """The product of these factors."""
        return prod(self.factors[i] for i in factors)

    @property
    def batches(self) -> list[int]:
        """The axis along which the samples lie, if there is one."""
        return [k for k, axis in enumerate(self.axes) if axis == BATCH]

    def widened(self, rank: int) -> Flow:
        """The same values with so many axes: those in front, which it has not, are of size 1."""
        return self.with_axes([()] * (rank - self.rank) + [*self.axes])

    def with_point(self, point: Point) -> Flow:
        """The same axes of what another point gives, of the same shape."""
        return Flow(point, self.factors, self.axes)

    def with_axes(self, axes: Sequence[tuple[int, ...]]) -> Flow:
        """The same values with other axes."""
        return Flow(self.point, self.factors, tuple(axes))

    def after(self, layer: Layer, node: str, **arrays: np.ndarray) -> Flow:
        """What a layer gives that keeps the shape."""
        return self.with_point(layered(layer, self.point, node, **arrays))

    def axis(self, number: int) -> int:
        """An axis counted from the front."""
        if not -self.rank <= number < self.rank:
            raise Refused(f"there is no axis {number} in {self.rank} axes", "axis")
        return number % self.rank

    def at_the_end(self, axes: Sequence[int]) -> bool:
        """Whether what these axes are made of lies behind all else in memory."""
        own = sorted(i for k in axes for i in self.axes[k])
        return own == list(range(len(self.factors) - len(own), len(self.factors)))

    def others(self, *taken: int) -> list[int]:
        """The axes that are not these and not the batch, as they lie in memory."""
        left = [k for k in range(self.rank) if k not in taken and self.axes[k] != BATCH]
        return sorted(left, key=lambda k: min(self.axes[k], default=-1))


def factored(point: Point, axes: Sequence[int | None], batch: int | None = None) -> Flow:
    """A flow of what a point gives: for each ONNX axis the axis of a sample that it is; None is an axis of size 1."""
    large = [i for i, n in enumerate(point.shape) if n != 1]
    places = [(large.index(k),) if k in large else () for k in axes]
    if batch is not None:
        places[batch] = BATCH
    return Flow(point, tuple(point.shape[i] for i in large), tuple(places))


def layered(layer: Layer, point: Point, node: str = "", **arrays: np.ndarray) -> Point:
    """What a layer gives for what a point gives."""
    try:
        return Point(layer, (point,), tuple(layer.output_shape(point.shape)), node or point.node, arrays)
    except (ValueError, TypeError) as error:
        raise Refused(str(error)) from None


def reshaped(point: Point, shape: tuple[int, ...]) -> Point:
    """The same numbers in another shape; several such steps are one, or none."""
    while isinstance(point.made, Flatten | Reshape) and point.shape != shape:
        (point,) = point.inputs
    if point.shape == shape:
        return point
    return _moved(Flatten() if len(shape) == 1 else Reshape(shape), point)


def _moved(layer: Layer, point: Point) -> Point:
    """The same numbers elsewhere; one point for all that need them there."""
    key = repr(layer)
    if key not in point.moved:
        point.moved[key] = layered(layer, point)
    return point.moved[key]


def _permuted(point: Point, order: Sequence[int]) -> Point:
    """The axes of a sample in another order; two such steps are one, or none."""
    if isinstance(point.made, Permute):
        order = [point.made.axes[i] for i in order]
        (point,) = point.inputs
    return point if list(order) == sorted(order) else _moved(Permute(order), point)


def laid(flow: Flow, *groups: Sequence[int]) -> Flow:
    """The flow with a sample's axes made of these groups of factors, in this order."""
    order = [i for group in groups for i in group]
    if sorted(order) != list(range(len(flow.factors))):
        raise Refused("it does not keep the samples of a batch apart")
    shape, point = tuple(flow.size(group) for group in groups), flow.point
    if order != sorted(order):
        point = _permuted(reshaped(point, flow.factors), order)
        place = {i: k for k, i in enumerate(order)}
        axes = [axis if axis == BATCH else tuple(place[i] for i in axis) for axis in flow.axes]
        flow = Flow(point, tuple(flow.factors[i] for i in order), tuple(axes))
    return Flow(reshaped(point, shape), flow.factors, flow.axes)


def last(flow: Flow, *axes: int) -> tuple[Flow, np.ndarray]:
    """The flow with these ONNX axes as its last, one axis of a sample, in the order in which they lie in memory.

    With it an array of indices: at place j of the last axis is what ONNX has there at place order[j].
    """
    order = memory_order(flow, *axes)
    if flow.at_the_end(axes) and flow.point.shape[-1] == len(order):
        return flow, order
    memory = sorted(i for k in axes for i in flow.axes[k])
    around = [flow.axes[k] for k in flow.others(*axes)]
    return laid(flow, *[group for group in around if group], memory), order


def memory_order(flow: Flow, *axes: int) -> np.ndarray:
    """For each place in memory along these ONNX axes, which one it is as ONNX counts them."""
    if any(flow.axes[k] == BATCH for k in axes):
        raise Refused("it works along the batch", "axis")
    own = [i for k in axes for i in flow.axes[k]]
    check_size(flow.size(own))
    order = np.arange(flow.size(own)).reshape([flow.factors[i] for i in own])
    return order.transpose([own.index(i) for i in sorted(own)]).reshape(-1)


def alone(flow: Flow, k: int) -> tuple[Flow, int]:
    """The flow with an ONNX axis as one axis of the sample, of one factor, and which one it is."""
    own = list(flow.axes[k])
    start = own[0]
    groups = _groups(flow.factors, flow.point.shape)
    if own not in groups:
        if own == list(range(start, start + len(own))):
            groups = [*([i] for i in range(start)), own, *([i] for i in range(start + len(own), len(flow.factors)))]
        else:
            groups = [*([i] for i in range(len(flow.factors)) if i not in own), own]
        flow = laid(flow, *groups)
        start = flow.axes[k][0]
    more = len(own) - 1
    axes = [axis if axis == BATCH else tuple(i - more * (i > start) for i in axis) for axis in flow.axes]
    axes[k] = (start,)
    factors = (*flow.factors[:start], flow.size(flow.axes[k]), *flow.factors[start + 1 + more :])
    return Flow(flow.point, factors, tuple(axes)), groups.index(own)


def spread(flow: Flow, array: np.ndarray) -> tuple[Flow, np.ndarray]:
    """A constant that ONNX broadcasts to the flow, shaped to be broadcast to what the flow's point gives.

    Where an axis of the sample is made of several factors, and the constant has not all of them, each of the factors
    becomes an axis: a number that stands for several is one parameter.
    """
    array = array.reshape(*[1] * (flow.rank - array.ndim), *array.shape)
    split: list[int] = []
    order: list[int] = []
    for axis, size, own in zip(flow.axes, flow.dims, array.shape, strict=True):
        if axis == BATCH:
            if own != 1:
                raise Refused("it has a constant with a value for each sample of a batch")
            continue
        if own not in (1, size):
            raise Refused(f"it has a constant of shape {array.shape}, which would enlarge an array of {flow.dims}")
        split += [1 if own != size else flow.factors[i] for i in axis]
        order += axis
    array = array.reshape(split).transpose(np.argsort(order))
    groups: list[list[int]] = []
    for group in _groups(flow.factors, flow.point.shape):
        alike = len({array.shape[i] == 1 for i in group}) < 2
        groups += [group] if alike else [[i] for i in group]
    sizes = [prod(array.shape[i] for i in group) for group in groups]
    while len(sizes) > 1 and sizes[0] == 1:
        del sizes[0]
    return laid(flow, *groups), np.ascontiguousarray(array).reshape(sizes)


def _groups(factors: tuple[int, ...], shape: tuple[int, ...]) -> list[list[int]]:
    """The factors of which each axis of a shape is made."""
    groups, at = [], 0
    for size in shape:
        start = at
        while prod(factors[start:at]) < size and at < len(factors):
            at += 1
        groups.append(list(range(start, at)))
    return groups

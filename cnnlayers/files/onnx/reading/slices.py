"""Operators that take parts of arrays, or put arrays side by side: Slice, Split, Gather and Concat."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ....layers import Slice
from .constants import Sized
from .errors import Refused, check_size
from .flow import BATCH, Flow, alone, factored, laid, layered
from .joining import MOST, side_by_side
from .protobuf import Node
from .reader import Operators, Reader, constant, numbers


def part(x: Flow, k: int, places: range, node: Node) -> Flow:
    """The part of an ONNX axis that lies at these places."""
    n = x.dims[k]
    if not len(places):
        raise Refused(f"it takes nothing of axis {k}")
    if places == range(n or 1):
        return x
    x, at = alone(x, k)
    start = None if places.start == (0 if places.step > 0 else (n or 1) - 1) else places.start
    stop = places.stop if 0 <= places[-1] + places.step < (n or 1) else None
    point = layered(Slice(start, stop, places.step, at - len(x.point.shape)), x.point, node.name)
    (i,) = x.axes[k]
    if len(places) > 1:
        return Flow(point, (*x.factors[:i], len(places), *x.factors[i + 1 :]), x.axes)
    axes = [axis if axis == BATCH else tuple(j - (j > i) for j in axis if j != i) for axis in x.axes]
    return Flow(point, (*x.factors[:i], *x.factors[i + 1 :]), tuple(axes))


def slice_(reader: Reader, node: Node, x: Flow, *given: Any) -> Flow:
    """Read y = x[start:stop:step] along some axes; these were attributes before opset 10."""
    if not isinstance(x, Flow):
        raise Refused("what it takes depends on the input")
    names = ("starts", "ends", "axes", "steps")
    found: dict[str, list[int]] = {name: node.get(name, None) for name in names}
    for name, value in zip(names, given, strict=False):
        if value is not None:
            found[name] = [int(n) for n in constant(value, name).reshape(-1)]
    axes = found["axes"] or list(range(len(found["starts"])))
    steps = found["steps"] or [1] * len(axes)
    for k, start, stop, step in zip(map(x.axis, axes), found["starts"], found["ends"], steps, strict=True):
        if not step:
            raise Refused("a step must not be 0", "steps")
        if x.axes[k] != BATCH:
            n = x.dims[k] or 1
            x = part(x, k, range(n)[slice(start, stop if step > 0 or stop >= -n else None, step)], node)
        elif (start, step) != (0, 1) or stop < np.iinfo(np.int32).max:
            raise Refused("it takes some samples of a batch")
    return x


def split(reader: Reader, node: Node, x: Flow, given: Any = None) -> list[Flow]:
    """Read x in parts of some sizes along an axis; of the same size, if none are given, but for the last."""
    k, count = x.axis(node.get("axis", 0)), len(node.outputs)
    n = x.dims[k]
    if n is None:
        raise Refused("it takes the samples of a batch apart")
    sizes = numbers(node, "split", given)
    if sizes is None:
        each = -(-n // count)
        sizes = [each] * (count - 1) + [n - each * (count - 1)]
    if len(sizes) != count or sum(sizes) != n or min(sizes) < 0:
        raise Refused(f"it splits axis {k} of {x.dims} into parts of {sizes}, which are not {count} of {n} in all")
    ends = np.cumsum(sizes).tolist()
    return [part(x, k, range(end - size, end), node) for size, end in zip(sizes, ends, strict=True)]


def gather(reader: Reader, node: Node, x: Flow, given: Any) -> Flow:
    """Read y = x[..., i, ...] of one place along an axis, or of several."""
    if not isinstance(x, Flow):
        raise Refused("what it takes depends on the input")
    k, wanted = x.axis(node.get("axis", 0)), constant(given, "indices")
    n = x.dims[k]
    if n is None:
        raise Refused("it takes some samples of a batch")
    places = [int(i) + n * (i < 0) for i in wanted.reshape(-1)]
    return _divided(at_places(reader, node, x, k, places), k, wanted.shape)


def _divided(x: Flow, k: int, shape: tuple[int, ...]) -> Flow:
    """The flow with an ONNX axis divided into several of these sizes, or into none."""
    large = [n for n in shape if n != 1]
    if not large:
        return x.with_axes([*x.axes[:k], *[()] * len(shape), *x.axes[k + 1 :]])
    x, _ = alone(x, k)
    (i,) = x.axes[k]
    axes = [axis if axis == BATCH else tuple(j + (len(large) - 1) * (j > i) for j in axis) for axis in x.axes]
    places = iter(range(i, i + len(large)))
    axes[k : k + 1] = [() if n == 1 else (next(places),) for n in shape]
    return Flow(x.point, (*x.factors[:i], *large, *x.factors[i + 1 :]), tuple(axes))


def at_places(reader: Reader, node: Node, x: Flow, k: int, places: Sequence[int]) -> Flow:
    """The numbers at these places of an ONNX axis, in runs of places that lie evenly."""
    if x.axes[k] == BATCH or not places:
        raise Refused("it takes some samples of a batch" if places else f"it takes nothing of axis {k}")
    if min(places) < 0 or max(places) >= (x.dims[k] or 1):
        raise Refused(f"it takes places of axis {k} of {x.dims} that are not there")
    runs: list[list[int]] = []
    for place in places:
        run = runs[-1] if runs else []
        if run and place != run[-1] and (len(run) == 1 or place - run[-1] == run[1] - run[0]):
            run.append(place)
        else:
            runs.append([place])
    if len(runs) > MOST:
        raise Refused(f"it takes {len(runs)} parts of axis {k}; no more than {MOST} are put side by side")
    steps = [run[1] - run[0] if len(run) > 1 else 1 for run in runs]
    parts = [
        part(x, k, range(run[0], run[-1] + (1 if step > 0 else -1), step), node)
        for run, step in zip(runs, steps, strict=True)
    ]
    return beside(reader, node, parts, k) if len(parts) > 1 else parts[0]


def concat(reader: Reader, node: Node, *values: Any) -> Flow:
    """Read several arrays side by side along an axis; a constant is a border of the array beside it."""
    flows = [k for k, value in enumerate(values) if isinstance(value, Flow)]
    axis = values[flows[0]].axis(node.get("axis", -1))
    starts = [0, *flows[1:]]
    flowing = [
        _between_constants(reader, node, values[start:at], values[at], values[at + 1 : end], axis)
        for at, start, end in zip(flows, starts, [*starts[1:], len(values)], strict=True)
    ]
    return beside(reader, node, flowing, axis) if len(flowing) > 1 else flowing[0]


def _between_constants(
    reader: Reader, node: Node, before: Sequence[Any], x: Flow, after: Sequence[Any], axis: int
) -> Flow:
    """x with constants on both sides: a border of one number, or of 0 with the constants added."""
    if not before and not after:
        return x
    if x.axes[axis] == BATCH:
        raise Refused("it puts constant samples beside those that come in")
    parts = [*(_of_a_sample(each, x) for each in before), *(_of_a_sample(each, x) for each in after)]
    shape = [n or 1 for n in x.dims]
    if any(part.shape[:axis] + part.shape[axis + 1 :] != (*shape[:axis], *shape[axis + 1 :]) for part in parts):
        raise Refused(f"constants of shapes {[part.shape for part in parts]} do not go beside an array of {x.dims}")
    sides = [sum(part.shape[axis] for part in side) for side in (parts[: len(before)], parts[len(before) :])]
    numbers = np.unique(np.concatenate([part.reshape(-1) for part in parts]))
    pads = np.zeros((2, x.rank), np.int64)
    pads[:, axis] = sides
    y = reader.operators["Pad"](reader, node, x, pads, numbers[:1] if len(numbers) == 1 else np.zeros(1))
    if len(numbers) <= 1:
        return y
    check_size(prod(y.factors))
    parts.insert(len(before), np.zeros(shape))
    return reader.operators["Add"](reader, node, y, np.concatenate(parts, axis))


def _of_a_sample(value: Any, x: Flow) -> np.ndarray:
    """A constant that is the same for all samples, for one."""
    array = value.arrays[0] if isinstance(value, Sized) else np.asarray(value)
    if array.ndim != x.rank:
        raise Refused(f"a constant of shape {array.shape} does not go beside an array of {x.dims}")
    for k in x.batches:
        first = array.take([0], k)
        if (array != first).any():
            raise Refused("it has a constant with a value for each sample of a batch")
        array = first
    return array


def beside(reader: Reader, node: Node, values: Sequence[Flow], axis: int) -> Flow:
    """Several arrays that all depend on the input, side by side along an axis."""
    first = values[0]
    if any(x.rank != first.rank or (x.axes[axis] == BATCH) for x in values):
        raise Refused("it puts samples beside samples, or arrays of different rank side by side")
    if any(x.batches != first.batches for x in values):
        raise Refused("the samples of its inputs lie along different axes")
    kept = [k for k in first.others(axis) if any(x.axes[k] for x in values)]
    points = [laid(x, *[x.axes[k] for k in kept], x.axes[axis]).point for x in values]
    if len({point.shape[:-1] for point in points}) > 1:
        raise Refused(f"its inputs have the shapes {[x.dims for x in values]}")
    point = side_by_side(points, node.name, reader.latest)
    places = [len(kept) if k == axis else kept.index(k) if k in kept else None for k in range(first.rank)]
    return factored(point, places, *first.batches)


SLICES: Operators = {"Concat": concat, "Gather": gather, "Slice": slice_, "Split": split}

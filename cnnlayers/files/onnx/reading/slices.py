"""Operators that take a part of an array: Slice, Split and Gather."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....layers import Slice
from .errors import Refused
from .flow import BATCH, Flow, alone, layered
from .protobuf import Node
from .reader import Operators, Reader, constant


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
    sizes = node.get("split", None) if given is None else constant(given, "split").reshape(-1).tolist()
    if sizes is None:
        each = -(-n // count)
        sizes = [each] * (count - 1) + [n - each * (count - 1)]
    if len(sizes) != count or sum(sizes) != n or min(sizes) < 0:
        raise Refused(f"it splits axis {k} of {x.dims} into parts of {sizes}, which are not {count} of {n} in all")
    ends = np.cumsum(sizes).tolist()
    return [part(x, k, range(end - size, end), node) for size, end in zip(sizes, ends, strict=True)]


def gather(reader: Reader, node: Node, x: Flow, given: Any) -> Flow:
    """Read y = x[..., i, ...] of one place along an axis, or of places that lie evenly."""
    if not isinstance(x, Flow):
        raise Refused("what it takes depends on the input")
    k, wanted = x.axis(node.get("axis", 0)), constant(given, "indices")
    n = x.dims[k]
    if n is None:
        raise Refused("it takes some samples of a batch")
    places = [int(i) + n * (i < 0) for i in wanted.reshape(-1)]
    step = places[1] - places[0] if len(places) > 1 else 1
    if wanted.ndim > 1 or not step or np.any(np.diff(places) != step) or not 0 <= min(places) <= max(places) < n:
        raise Refused(f"it takes places of axis {k} of {x.dims} that do not lie evenly, or are not there")
    y = part(x, k, range(places[0], places[-1] + (1 if step > 0 else -1), step), node)
    return y if wanted.ndim else y.with_axes([axis for i, axis in enumerate(y.axes) if i != k])


SLICES: Operators = {"Gather": gather, "Slice": slice_, "Split": split}

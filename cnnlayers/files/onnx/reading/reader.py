"""A graph, read node by node: each becomes a point with a layer, or a constant, or a reason why it cannot."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .constants import FOLDED, Sized, folded
from .definitions import check
from .errors import LARGEST, SENSELESS, Problem, Refused
from .flow import Flow, Point, factored
from .joining import Latest
from .known import ARITHMETIC, Known, Norm
from .protobuf import Node

__all__ = ["Operators", "Reader", "constant", "needed", "numbers"]

COPIES = 32  # how often the arrays of a file may come in what is made of them
EITHER = frozenset(  # operators whose first input may be a constant
    ["Add", "CastLike", "Concat", "Constant", "Div", "MatMul", "Max", "Min", "Mul", "Sub", "Sum"]
)
OPTIONS = {
    "axis": "ax",
    "coordinates": "coordinate",
    "p": "ratio",
    "padding": "pads",
    "rounding": "nearest",
    "size": "kernel_shape",
}
NO_LAYER = "there is no layer for this operator"

Operators = Mapping[str, Callable[..., Any]]  # (reader, node, values ...) -> value
SEVERAL = ("Split",)  # give a list of values


class Reader:
    """What is known of the values of a graph.

    Parameters
    ----------
    nodes : list of Node
    constants : dict of arrays
    outputs : the names of what the graph gives
    operators : dict of functions by operator
    norm : function (reader, node, flow, axes, eps) -> flow
        Makes the norm that several nodes write out.
    frozen : int, optional
        The size of a batch that the file was written with, which its constants may hold.

    Attributes
    ----------
    values : dict
        A Flow, an array, sizes that depend on the batch, or None for what could not be read.
    problems : list of Problem
        What stands in the way.
    latest : dict
        What `side_by_side` has made.
    unread : int
        How many nodes are behind those, and could not be looked at.
    ends : list of Point
        What flows into the nodes that stand in the way.
    """

    def __init__(
        self,
        nodes: list[Node],
        constants: Mapping[str, np.ndarray | Refused],
        outputs: list[str],
        operators: Operators,
        norm: Callable[..., Flow],
        frozen: int | None,
    ):
        self.nodes, self.operators, self.norm, self.frozen = nodes, operators, norm, frozen
        self.values: dict[str, Any] = dict(constants)
        self.problems: list[Problem] = []
        self.unread = 0
        self.ends: list[Point] = []
        self.source: Point | None = None
        self.latest: Latest = {}
        self._uses = Counter(outputs) + Counter(name for node in self.nodes for name in node.inputs)
        held = sum(value.size for value in constants.values() if isinstance(value, np.ndarray))
        self._room = LARGEST + COPIES * held
        self._known = Known()

    def read(self, source: Flow, name: str, shapes: Mapping[str, tuple[int | None, ...]]) -> None:
        """Read all nodes.

        After a node that cannot be read, those behind it go on from the shape that `shapes` has for its output, so
        that all problems are found at once.
        """
        self.source = source.point
        self.values[name] = source
        with np.errstate(all="ignore"):  # what is not finite is refused by those that need it to be
            self._read_all(shapes)

    def _read_all(self, shapes: Mapping[str, tuple[int | None, ...]]) -> None:
        for i, node in enumerate(self.nodes):
            outputs = [name for name in node.outputs if name]
            given = [name for name in outputs if name in self.values]
            try:
                if given or len(set(outputs)) < len(outputs):
                    raise Refused(f"it gives {(given or outputs)[0]!r}, which is there already")
                value = self._read(node)
                self._keep(node, value)
            except (Refused, *SENSELESS) as error:
                self._problem(node, error)
                self._stand_in(node, [name for name in outputs if name not in given], shapes)
                if self._room < 0:  # every other one would say the same
                    self.unread += len(self.nodes) - i - 1
                    return
            else:
                self.unread += value is None
                self._stand_in(node, outputs, shapes)
                if isinstance(value, list):
                    self.values |= zip(node.outputs, value, strict=True)
                elif value is not None and outputs and node.outputs[0] == outputs[0]:
                    self.values[node.outputs[0]] = value
                    self._recognise(node)

    def _stand_in(self, node: Node, outputs: list[str], shapes: Mapping[str, tuple[int | None, ...]]) -> None:
        """Go on after a node that was not read, if it gives no constants and its shapes are known."""
        flows = any(isinstance(self.values.get(name), Flow) for name in node.inputs)
        for name in outputs:
            _, *sizes = shapes.get(name, ()) or (None,)
            self.values[name] = None
            if flows and self.source and sizes and all(n and n > 0 for n in sizes):
                point = Point(None, (self.source,), tuple(int(n or 0) for n in (*sizes[1:], sizes[0])))
                axes = [None, len(sizes) - 1, *range(len(sizes) - 1)]
                self.values[name] = factored(point, axes, batch=0)

    def _problem(self, node: Node, error: Exception) -> None:
        """Note what stands in the way."""
        why, attribute = str(error), getattr(error, "attribute", "")
        if not isinstance(error, Refused | ValueError):
            why = f"its inputs and attributes do not go together: {error}"
        if told := re.match(r"\w+: (\w+) must", why):  # a layer of one of its options
            why = why[told.start(1) :]
            attribute = attribute or _attribute(node, told[1])
        if attribute == "axis":
            attribute = _attribute(node, attribute)
        self.problems.append(node.problem(why, attribute))
        values = [self.values.get(name) for name in node.inputs]
        self.ends += [value.point for value in values if isinstance(value, Flow)]

    def _keep(self, node: Node, value: Any) -> None:
        """Refuse a node after which all that is computed from the file's arrays would be far more than they are."""
        if node.op == "Constant":
            self._room += COPIES * value.size
        elif isinstance(value, Flow):
            before = [self.values.get(name) for name in node.inputs]
            if not any(isinstance(each, Flow) and each.point is value.point for each in before):
                self._room -= sum(array.size for array in value.point.arrays.values())
        elif isinstance(value, np.ndarray):
            self._room -= value.size
        if self._room < 0:
            raise Refused("all that is computed before it would take far more memory than the file")

    def used_once(self, name: str) -> bool:
        """Whether a value is read by one node alone."""
        return self._uses[name] == 1

    def _read(self, node: Node) -> Any:
        if node.op not in self.operators and node.op not in ARITHMETIC and node.op not in FOLDED:
            raise Refused(NO_LAYER)
        check(node)
        for name, attribute in node.attributes.items():
            if isinstance(attribute, Refused):
                raise Refused(attribute.why, name)
        values = [self._value(name) for name in node.inputs]
        if any(name and value is None for name, value in zip(node.inputs, values, strict=True)):
            return None  # what it reads could not be read
        for name in node.outputs[1:]:
            if self._uses[name] and node.op not in SEVERAL:
                raise Refused(f"its output {name!r} is read; a layer has one output")
        if not any(isinstance(value, Flow) for value in values) and node.op != "Constant":
            return folded(node, values)
        if node.op in self.operators:
            if values and not isinstance(values[0], Flow) and node.op not in EITHER:
                raise Refused(
                    f"its first input {node.inputs[0]!r} is a constant, and another one depends on the net's input; "
                    "it must be the other way round"
                )
            return self.operators[node.op](self, node, *values)
        if node.op in ARITHMETIC:
            flow = next(value for value in values if isinstance(value, Flow))
            missing = node.problem(f"{NO_LAYER}, save where it is part of an activation or a norm")
            return flow.with_point(Point(None, (flow.point,), flow.point.shape, node.name, missing=missing))
        raise Refused("it is read for constants and sizes alone")

    def _value(self, name: str) -> Any:
        """The value of an input."""
        if name and name not in self.values:
            raise Refused(f"it reads {name!r}, which nothing before it gives")
        value = self.values[name] if name else None
        if isinstance(value, Refused):
            raise Refused(value.why)
        return value

    def _recognise(self, node: Node) -> None:
        """Put a layer in the place of what several nodes have computed, if this is the last of them."""
        try:
            found = self._known.see(node, self.values)
            if found is None:
                return
            name = found.of if isinstance(found, Norm) else found[0]
            flow = self.values[name]
            if isinstance(found, Norm):
                value = self.norm(self, node, flow, found.axes, found.eps)
            else:
                value = flow.after(found[1], node.name)
        except (Refused, *SENSELESS):
            return  # it stays what it is
        self.values[node.outputs[0]] = value


def needed(nodes: list[Node], outputs: list[str]) -> list[Node]:
    """The nodes that the outputs depend on."""
    names, found = set(outputs), []
    for node in reversed(nodes):
        if not names.isdisjoint(node.outputs):
            names.update(name for name in node.inputs if name)
            found.append(node)
    return found[::-1]


def constant(value: Any, what: str) -> np.ndarray:
    """An input that must be a constant."""
    if isinstance(value, Flow | Sized) or value is None:
        raise Refused(f"its {what} must be a constant")
    return np.asarray(value)


def numbers(node: Node, name: str, value: Any, default: list[Any] | None = None) -> Any:
    """A list of numbers: in newer opsets the input `value`, in older ones an attribute; else the default."""
    return node.get(name, default) if value is None else constant(value, name).reshape(-1).tolist()


def _attribute(node: Node, option: str) -> str:
    """The attribute from which an option of a layer comes: strides for stride, group for groups, epsilon for eps."""
    name = OPTIONS.get(option, option)
    return next((each for each in node.attributes if each.startswith(name) or name.startswith(each)), "")

"""A graph, read node by node: each becomes a point with a layer, or a constant, or a reason why it cannot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .constants import FOLDED, Sized, folded
from .errors import Refused
from .flow import Flow, Point, factored
from .joining import Latest
from .known import ARITHMETIC, Known, Norm
from .protobuf import Node

__all__ = ["Operators", "Reader"]

Operators = Mapping[str, Callable[..., Any]]  # (reader, node, values ...) -> value


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
    problems : list of str
        What stands in the way.
    latest : dict
        What `side_by_side` has made.
    """

    def __init__(
        self,
        nodes: list[Node],
        constants: Mapping[str, np.ndarray],
        outputs: list[str],
        operators: Operators,
        norm: Callable[..., Flow],
        frozen: int | None,
    ):
        self.nodes, self.operators, self.norm, self.frozen = nodes, operators, norm, frozen
        self.values: dict[str, Any] = dict(constants)
        self.problems: list[str] = []
        self.source: Point | None = None
        self.latest: Latest = {}
        self._uses = Counter(outputs) + Counter(name for node in nodes for name in node.inputs)
        self._known = Known()

    def read(self, source: Flow, name: str, shapes: Mapping[str, tuple[int | None, ...]]) -> None:
        """Read all nodes.

        After a node that cannot be read, those behind it go on from the shape that `shapes` has for its output, so
        that all problems are found at once.
        """
        self.source = source.point
        self.values[name] = source
        for node in self.nodes:
            try:
                value = self._read(node)
            except (Refused, ArithmeticError, IndexError, TypeError, ValueError) as error:  # files may hold anything
                self.problem(node, str(error), getattr(error, "attribute", ""))
                value = _stand_in(shapes.get(node.outputs[0])) if node.outputs else None
            if node.outputs:
                self.values[node.outputs[0]] = value
                self._recognise(node)

    def problem(self, node: Node | None, why: str, attribute: str = "") -> None:
        """Note what stands in the way."""
        where = f"{node.name} ({node.op}{f', {attribute}' if attribute else ''}): " if node else ""
        self.problems.append(f"{where}{why}")

    def used_once(self, name: str) -> bool:
        """Whether a value is read by one node alone."""
        return self._uses[name] == 1

    def _read(self, node: Node) -> Any:
        if node.op not in self.operators and node.op not in ARITHMETIC and node.op not in FOLDED:
            raise Refused("there is no layer for this operator")
        values = [self.values.get(name) if name else None for name in node.inputs]
        if any(name and value is None for name, value in zip(node.inputs, values, strict=True)):
            return None  # what it reads could not be read
        for name in node.outputs[1:]:
            if self._uses[name]:
                raise Refused(f"its output {name!r} is read; a layer has one output")
        if not any(isinstance(value, Flow) for value in values) and node.op != "Constant":
            return folded(node, values)
        if node.op in self.operators:
            return self.operators[node.op](self, node, *values)
        if node.op in ARITHMETIC:
            flow = next(value for value in values if isinstance(value, Flow))
            missing = "there is no layer for this operator, save where it is part of an activation or a norm"
            return Flow(
                Point(None, (flow.point,), flow.point.shape, node.name, missing=missing), flow.factors, flow.axes
            )
        raise Refused("it is read for constants and sizes alone")

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
        except Refused:
            return  # it stays what it is
        self.values[node.outputs[0]] = value


def constant(value: Any, what: str) -> np.ndarray:
    """An input that must be a constant."""
    if isinstance(value, Flow | Sized) or value is None:
        raise Refused(f"its {what} must be a constant")
    return np.asarray(value)


def _stand_in(shape: tuple[int | None, ...] | None) -> Flow | None:
    """What takes the place of a value that could not be read, if its shape is known."""
    if not shape or None in shape[1:] or 0 in shape or len(shape) < 2:
        return None
    sizes = tuple(int(n) for n in shape[1:] if n is not None)
    point = Point(None, (), (*sizes[1:], sizes[0]), missing="it could not be read")
    return factored(point, [None, len(sizes) - 1, *range(len(sizes) - 1)], batch=0)

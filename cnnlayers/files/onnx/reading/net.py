"""An ONNX file as a net that can be trained."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....errors import DataError
from ....layers import Layer, Permute, Sequential
from ....layers.scores import as_class_names
from .definitions import shapes
from .elementwise import ELEMENTWISE
from .errors import Problem, Refused, shown
from .flow import BATCH, Flow, Point, before, factored, laid
from .maps import MAPS
from .nesting import nested
from .norms import NORMS, written_out
from .protobuf import MOST_AXES, WHO, Arrays, Node, dtype_name, loaded, nodes_of
from .reader import Reader, needed
from .resize import RESIZE
from .shapes import SHAPES
from .slices import SLICES

OPERATORS = {**ELEMENTWISE, **MAPS, **NORMS, **RESIZE, **SHAPES, **SLICES}
INPUTS = (1, 2, 3, 4, 5, 6, 7, 11, 12, 13)  # the dtypes of what may come in: what nets take
OUTPUTS = {1: np.float32, 11: np.float64}
FIRST, LAST = "channels first", "channels last"
LAYOUTS = {'"NHWC"': False, '"NCHW"': True}  # by what the metadata of `to_onnx` say: whether channels come first
SHOWN = 100  # problems that an error lists


@dataclass(frozen=True, eq=False)
class Read:
    """A net that was read, and how its arrays are those of the file: the ONNX axes of x and y, as they lie in the net.

    The batch is among them, if there is one.
    """

    net: Sequential
    x: tuple[int, ...]
    y: tuple[int, ...]


def read_file(path: str | os.PathLike, given: tuple[int, ...] | None = None) -> Sequential:
    """Make a net of a file; `given` is the shape of a sample, where the file leaves it open."""
    model, opset = loaded(path)
    return read_model(model, opset, path, given).net


def read_model(model: Any, opset: int, path: Any, given: tuple[int, ...] | None = None, batched: bool = True) -> Read:
    """Read a model: `path` is where its file is. Without `batched` the whole input of the file is one sample."""
    name = os.fspath(path)
    graph, arrays = model.graph, Arrays(path)
    constants = arrays.named(graph.initializer)
    nodes = nodes_of(graph, opset, arrays)
    port, out = _ports(graph, constants, name)
    dims = _dims(port, given, name, batched)
    about = {entry.key: entry.value for entry in model.metadata_props}
    first, other = _orders(dims, about, batched)
    moved = LAYOUTS.get(about.get("layout", ""))

    def attempt(order: str) -> _Attempt:
        shape = _sample_shape(name, dims, given, order, batched)
        return _Attempt(nodes, constants, out.name, shape, order, dims, batched, moved)

    best = attempt(first)
    best.read(port.name)
    if other and (best.problems or best.permutes()) and _fits(given, dims[1:]):
        second = attempt(other)
        second.read(port.name)
        best = best if second.problems or second.permutes() else second
    if best.problems:
        best.read(port.name, shapes(graph, nodes, port, best.dims))  # once more, to find them all
    best.raise_problems(name)
    net = Sequential(best.layers)
    try:
        net.build(best.shape, rng=0, dtype=OUTPUTS[out.type.tensor_type.elem_type])
    except Refused as refused:
        best.problems.append(Problem(len(best.problems), shown(refused.why)))
    except ValueError as error:
        raise ValueError(f"{WHO}: {name} cannot become a net of layers: {error}") from None
    best.raise_problems(name)
    _name_classes(net, about)
    return Read(net, best.x_axes, best.y_axes)


class _Attempt:
    """A reading of the graph, with the axes of its input in one of two orders."""

    def __init__(
        self,
        nodes: list[Node],
        constants: Mapping[str, np.ndarray | Refused],
        output: str,
        shape: tuple[int, ...],
        order: str,
        dims: list[int | None],
        batched: bool,
        moved: bool | None,
    ):
        self.moved = moved
        self.nodes, self.constants, self.output, self.shape = nodes, constants, output, shape
        self.first, self.batched, self.frozen = order == FIRST, batched, dims[0] or None
        rank = len(shape)
        own = [rank - 1, *range(rank - 1)] if self.first else [*range(rank)]  # the axis of a sample of each of ONNX's
        self.dims = [*dims[:batched], *(shape[k] for k in own)]
        self.source = (
            factored(Point(None, (), shape), [None, *own], 0) if batched else factored(Point(None, (), shape), own)
        )
        self.x_axes = self._placed(rank, self.first)
        self.y_axes: tuple[int, ...] = ()
        self.problems: list[Problem] = []
        self.unread = 0
        self.layers: list[Layer] = []
        self.end: Point | None = None

    def _placed(self, rank: int, first: bool) -> tuple[int, ...]:
        """The axes of ONNX's array in the order of the net's: channels last, if they come first."""
        if not self.batched:
            return (*range(rank),)
        return (0, *range(2, rank + 1), 1) if first else (*range(rank + 1),)

    def read(self, port: str, shapes: Mapping[str, tuple[int | None, ...]] | None = None) -> None:
        """Read the graph, and nest what it holds.

        With the `shapes` of values, all of it: also what is behind nodes that cannot be read, and what nobody reads.
        """
        nodes = self.nodes if shapes is not None else needed(self.nodes, [self.output])
        frozen = self.frozen if self.batched else None
        reader = Reader(nodes, self.constants, [self.output], OPERATORS, written_out, frozen)
        reader.read(self.source, port, shapes or {})
        y = reader.values.get(self.output)
        ends = [*reader.ends, *([y.point] if isinstance(y, Flow) else [])]
        self.problems = sorted([*reader.problems, *(point.missing for point in before(*ends) if point.missing)])
        self.unread = reader.unread
        if self.problems:
            return
        try:
            if not isinstance(y, Flow):
                raise Refused(f"the output {self.output!r} does not depend on the input {port!r}")
            try:
                y = self._arranged(y)
            except Refused as refused:
                raise Refused(f"the output {self.output!r}: {refused.why}") from None
            self.end = y.point
            self.layers = nested(self.source.point, y.point, self.problems)
        except Refused as refused:
            self.problems.append(Problem(len(self.nodes), shown(refused.why)))

    def raise_problems(self, name: str) -> None:
        """Raise one error with all that stands in the way, one node a line."""
        if not self.problems:
            return
        lines = [str(problem) for problem in self.problems[:SHOWN]]
        if len(self.problems) > SHOWN:
            lines.append(f"and {len(self.problems) - SHOWN} more")
        if self.unread:
            lines.append(f"(what is behind these, {self.unread} of the nodes, could not be looked at)")
        listed = "".join(f"\n  {line}" for line in lines)
        raise ValueError(f"{WHO}: {name} cannot become a net of layers; what stands in the way:{listed}")

    def _arranged(self, y: Flow) -> Flow:
        """The output with its axes as the net gives them: its channels last, unless they lie as in the file."""
        if self.batched and (not y.rank or y.axes[0] != BATCH):
            raise Refused("the samples do not lie along its first axis")
        there = y.axes[1:] if self.batched else y.axes
        ordered = [i for axis in there for i in axis]
        channels = [i for axis in (*there[1:], *there[:1]) for i in axis]
        moved = self.moved
        if moved is None:
            as_in_file, channels_last = ordered == sorted(ordered), channels == sorted(channels)
            moved = channels_last or not as_in_file if self.first else channels_last and not as_in_file
        moved = moved and self.batched and len(there) > 1
        self.y_axes = self._placed(len(there), moved)
        return laid(y, *((*there[1:], *there[:1]) if moved else there or ((),)))

    def permutes(self) -> int:
        """How many times the axes have to be put in another order."""
        return 0 if self.end is None else sum(isinstance(point.made, Permute) for point in before(self.end))


def _ports(graph: Any, constants: Mapping[str, Any], name: str) -> tuple[Any, Any]:
    """The one input and the one output."""
    inputs = [each for each in graph.input if each.name not in constants]
    for what, ports in (("input", inputs), ("output", graph.output)):
        if len(ports) != 1:
            named = shown(", ".join(str(each.name) for each in ports)) or "none"
            raise ValueError(
                f"{WHO}: a net has one {what}; {name} has {len(ports)}: {named} "
                "(onnx.utils.extract_model makes a file of a part of it)"
            )
    if len(graph.sparse_initializer):
        raise ValueError(f"{WHO}: {name} holds sparse arrays, which are not read")
    for what, port, kinds in (("input", inputs[0], INPUTS), ("output", graph.output[0], OUTPUTS)):
        if port.type.tensor_type.elem_type not in kinds:
            does = "takes float32, float64 or integers" if what == "input" else "gives float32 or float64"
            kind = port.type.tensor_type.elem_type
            found = dtype_name(kind) if kind else "of no dtype"
            raise ValueError(f"{WHO}: a net {does}; the {what} {port.name!r} of {name} is {found}")
    return inputs[0], graph.output[0]


def _dims(port: Any, given: tuple[int, ...] | None, name: str, batched: bool) -> list[int | None]:
    """The sizes of the input, None where the file leaves one open."""
    tensor = port.type.tensor_type
    if not tensor.HasField("shape"):
        if given is None:
            raise ValueError(f"{WHO}: {name} does not say the shape of its input {port.name!r}: say input_shape=")
        return [None] * (len(given) + batched)
    dims = [each.dim_value if each.HasField("dim_value") else None for each in tensor.shape.dim]
    if min((n for n in dims if n is not None), default=0) < 0 or len(dims) > MOST_AXES:
        raise DataError(f"{WHO}: {name} is damaged: its input {port.name!r} has the shape {dims[:MOST_AXES]}")
    return dims


def _orders(dims: list[int | None], about: Mapping[str, str], batched: bool) -> tuple[str, str | None]:
    """The order of the input's axes, and another one to try: channels first is what files mostly have.

    Last is the order of a file that works with it as it comes, and not with the other: one that begins with a
    Transpose, for instance.
    """
    if not batched or len(dims) < 3:
        return LAST, None
    if about.get("layout") in LAYOUTS:
        return (FIRST if LAYOUTS[about["layout"]] else LAST), None
    return FIRST, LAST


def _sample_shape(
    name: str, dims: list[int | None], given: tuple[int, ...] | None, order: str, batched: bool
) -> tuple[int, ...]:
    """The shape of a sample as the net takes it."""
    if len(dims) < 1 + batched:
        raise ValueError(f"{WHO}: {name} takes an array of {len(dims)} axes, which is no batch of samples")
    sample = dims[1:] if batched else dims
    if order == FIRST:
        sample = [*sample[1:], sample[0]]
    if given is not None:
        if not _fits(given, sample):
            raise ValueError(f"{WHO}: {name} takes samples of {_shown(sample)}; input_shape is {given}")
        return given
    if not all(sample):
        raise ValueError(f"{WHO}: {name} leaves sizes open, {_shown(sample)}: say input_shape=")
    return tuple(int(n or 0) for n in sample)


def _fits(given: tuple[int, ...] | None, sample: list[int | None]) -> bool:
    """Whether a shape, if one is given, is that of a sample with sizes open."""
    if given is None:
        return True
    return len(given) == len(sample) and all(n in (None, 0, m) for n, m in zip(sample, given, strict=True))


def _shown(sample: list[int | None]) -> str:
    return f"({', '.join('?' if not n else str(n) for n in sample)}{',' if len(sample) == 1 else ''})"


def _name_classes(net: Sequential, about: Mapping[str, str]) -> None:
    """Take the names of the classes from the metadata that `to_onnx` writes."""
    try:
        names = json.loads(about.get("classes", "null"))
        if isinstance(names, list) and all(isinstance(each, str) for each in names):
            net.classes = as_class_names(net, names)
    except ValueError:  # of another program, or for another number of scores
        return

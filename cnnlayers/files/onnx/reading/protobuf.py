"""What an ONNX file holds, taken out of it with care: nothing in it is believed before it is checked."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import DataError
from ..graph import onnx_for
from .errors import Problem, Refused, shown

__all__ = ["WHO", "Arrays", "Node", "dtype_name", "loaded", "nodes_of", "shortest"]

WHO = "from_onnx"
OLDEST = 7  # the first opset whose Add broadcasts as NumPy does
MOST_AXES = 32

# Where a tensor keeps its numbers if not as bytes: the field, by the number of the dtype.
FIELDS = {1: "float_data", 11: "double_data", 7: "int64_data", **dict.fromkeys((2, 3, 4, 5, 6, 9), "int32_data")}
DTYPES = {1: "<f4", 2: "u1", 3: "i1", 4: "<u2", 5: "<i2", 6: "<i4", 7: "<i8", 9: "?", 11: "<f8"}


@dataclass(frozen=True, eq=False)
class Node:
    """A node of a graph.

    Attributes
    ----------
    place : int
        Where it is among the nodes.
    op, name : str
        The operator, and what errors call the node.
    inputs, outputs : tuple of str
        The names of values; "" for one that is left out.
    attributes : dict
        Numbers, strings, lists of them, arrays, or why there is none of them (Refused).
    opset : int
        The version of the operators.
    proto : onnx.NodeProto
    """

    place: int
    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    opset: int
    proto: Any

    def get(self, name: str, default: Any) -> Any:
        """An attribute."""
        return self.attributes.get(name, default)

    def problem(self, why: str, attribute: str = "") -> Problem:
        """What stands in the way, with the node that does."""
        return Problem(self.place, shown(f"{self.name} ({self.op}{f', {attribute}' if attribute else ''}): {why}"))


def loaded(path: str | os.PathLike) -> tuple[Any, int]:
    """The model in a file, and the version of its operators.

    Raises
    ------
    DataError
        If it is no ONNX file, or damaged.
    ValueError
        If it is of an opset or has a part that is not read at all.
    """
    onnx = onnx_for(WHO)
    data = Path(os.fspath(path)).read_bytes()  # a missing or unreadable file is the operating system's error
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as error:  # protobuf's own kinds, which depend on how it is installed
        raise DataError(f"{WHO}: {os.fspath(path)} is no ONNX file, or damaged: {shown(str(error))}") from None
    if not (model.ir_version and model.graph.node and model.graph.output):
        raise DataError(f"{WHO}: {os.fspath(path)} is no ONNX file, or damaged: it has no graph with an output")
    opset = max((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), default=0)
    newest = onnx.defs.onnx_opset_version()
    if not OLDEST <= opset <= newest:
        raise ValueError(
            f"{WHO}: {os.fspath(path)} is of opset {opset}; onnx {onnx.__version__} knows {OLDEST} to {newest} "
            "(onnx.version_converter may bring it there)"
        )
    return model, opset


class Arrays:
    """The constant arrays of a file: sizes are compared with what is there before anything is allocated.

    Arrays in files of their own are read from the folder of the model's file, and from nowhere else.
    """

    def __init__(self, path: str | os.PathLike):
        self.who = f"{WHO}: {os.fspath(path)}"
        self.folder = Path(os.fspath(path)).resolve().parent

    def named(self, tensors: Iterable[Any]) -> dict[str, np.ndarray | Refused]:
        """The arrays of these tensors, by name."""
        found: dict[str, np.ndarray | Refused] = {}
        for tensor in tensors:
            if tensor.name in found:
                raise DataError(f"{self.who} is damaged: it has two arrays {tensor.name!r}")
            found[tensor.name] = self.array(tensor, f"the array {tensor.name!r}")
        return found

    def array(self, tensor: Any, what: str) -> np.ndarray | Refused:
        """The array of a tensor; if it holds what no net here does, why whoever reads it is refused."""
        shape = tuple(tensor.dims)
        if tensor.data_type not in DTYPES:
            return Refused(f"{what} has the dtype {dtype_name(tensor.data_type)}; a net here holds float32 or float64")
        if len(shape) > MOST_AXES or min(shape, default=0) < 0:
            raise DataError(f"{self.who} is damaged: {what} has the shape {shape[:MOST_AXES]}")
        dtype, size = np.dtype(DTYPES[tensor.data_type]), prod(shape)
        if tensor.data_location == tensor.EXTERNAL:
            data = self._outside(tensor, what, size * dtype.itemsize)
        elif tensor.HasField("raw_data"):
            data = tensor.raw_data
        else:
            values = getattr(tensor, FIELDS[tensor.data_type])
            if len(values) != size:
                raise DataError(
                    f"{self.who} is damaged: {what} of shape {shape} needs {size} numbers; it has {len(values)}"
                )
            return np.array(values).astype(dtype).reshape(shape)
        if len(data) != size * dtype.itemsize:
            raise DataError(
                f"{self.who} is damaged: {what}, {dtype} of shape {shape}, needs {size * dtype.itemsize} bytes; "
                f"it has {len(data)}"
            )
        return np.frombuffer(data, dtype).reshape(shape)

    def _outside(self, tensor: Any, what: str, size: int) -> bytes:
        """The bytes of an array in a file of its own."""
        entries = {str(entry.key): str(entry.value) for entry in tensor.external_data}
        name = entries.get("location", "")
        if not name:
            raise DataError(f"{self.who} is damaged: it does not say in which file {what} is")
        try:
            path = (self.folder / name).resolve()
            inside = not os.path.isabs(name) and path.is_relative_to(self.folder)
            there = inside and path.is_file()  # no folder, and no pipe that nobody writes to
        except (OSError, ValueError, RuntimeError):  # no name of a file, or links in a circle
            inside, there = True, False
        if not inside:
            raise DataError(f"{self.who}: {what} is in {name!r}, which is not in the folder of the file")
        if not there:
            raise DataError(f"{self.who}: {what} is in the file {name!r}, which is not in the folder of the file")
        try:
            offset, length = int(entries.get("offset", 0)), int(entries.get("length", size))
        except ValueError:
            raise DataError(f"{self.who} is damaged: the place of {what} in {name!r} is no number") from None
        found = path.stat().st_size
        if offset < 0 or length != size or offset + length > found:
            raise DataError(
                f"{self.who} is damaged: {what} needs {size} bytes, and is said to be the {length} from {offset} on "
                f"in {name!r}, a file of {found}"
            )
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(length)


def dtype_name(number: int) -> str:
    """What ONNX calls a dtype."""
    kinds = onnx_for(WHO).TensorProto.DataType
    return kinds.Name(number) if number in kinds.values() else f"number {number}"


def nodes_of(graph: Any, opset: int, arrays: Arrays) -> list[Node]:
    """The nodes of a graph, in order."""
    made = []
    for i, proto in enumerate(graph.node):
        op, domain = _text(proto.op_type), _text(proto.domain)
        op = op if domain in ("", "ai.onnx") else f"{domain}.{op}"
        name = _text(proto.name) or f"{op} {i}"
        attributes = {each.name: _value(each, arrays, name) for each in proto.attribute}
        made.append(Node(i, op, name, tuple(proto.input), tuple(proto.output), attributes, opset, proto))
    return made


def _text(value: str | bytes) -> str:
    """Text; protobuf gives bytes where it is none."""
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _value(attribute: Any, arrays: Arrays, node: str) -> Any:
    """An attribute as a number, a string, a list, or an array; a graph as None."""
    kinds = type(attribute)
    if attribute.type == kinds.TENSOR:
        return arrays.array(attribute.t, f"the array of the node {node!r}")
    if attribute.type == kinds.STRING:
        return attribute.s.decode("utf-8", "replace")
    if attribute.type == kinds.STRINGS:
        return [each.decode("utf-8", "replace") for each in attribute.strings]
    fields = {kinds.FLOAT: "f", kinds.INT: "i", kinds.FLOATS: "floats", kinds.INTS: "ints"}
    if attribute.type not in fields:
        return None
    value = getattr(attribute, fields[attribute.type])
    if attribute.type == kinds.FLOAT:
        return shortest(value)
    if attribute.type == kinds.FLOATS:
        return [shortest(each) for each in value]
    return int(value) if attribute.type == kinds.INT else [int(each) for each in value]


def shortest(number: float) -> float:
    """The shortest number that is this float32: 1e-05, not 9.999999747378752e-06."""
    return float(str(np.float32(number)))

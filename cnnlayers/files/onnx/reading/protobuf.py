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

__all__ = ["Arrays", "Node", "loaded", "nodes_of"]

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
    op, name : str
        The operator, and what errors call the node.
    inputs, outputs : tuple of str
        The names of values; "" for one that is left out.
    attributes : dict
        Numbers, strings, lists of them, or arrays.
    opset : int
        The version of the operators.
    proto : onnx.NodeProto
    """

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
        raise DataError(f"{WHO}: {os.fspath(path)} is no ONNX file, or damaged: {error}") from None
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
        self.folder = Path(os.fspath(path)).resolve().parent

    def named(self, tensors: Iterable[Any]) -> dict[str, np.ndarray]:
        """The arrays of these tensors, by name."""
        return {tensor.name: self.array(tensor) for tensor in tensors}

    def array(self, tensor: Any) -> np.ndarray:
        """The array of a tensor."""
        what, shape = f"the array {tensor.name!r}", tuple(tensor.dims)
        if tensor.data_type not in DTYPES:
            kind = onnx_for(WHO).TensorProto.DataType.Name(tensor.data_type) if tensor.data_type else "none"
            raise ValueError(f"{WHO}: {what} has the dtype {kind}; a net here holds float32 or float64")
        if len(shape) > MOST_AXES or min(shape, default=0) < 0:
            raise DataError(f"{WHO}: {what} is damaged: it has the shape {shape[:MOST_AXES]}")
        dtype, size = np.dtype(DTYPES[tensor.data_type]), prod(shape)
        if tensor.data_location == tensor.EXTERNAL:
            data = self._outside(tensor, what, size * dtype.itemsize)
        elif tensor.HasField("raw_data"):
            data = tensor.raw_data
        else:
            values = getattr(tensor, FIELDS[tensor.data_type])
            if len(values) != size:
                raise DataError(f"{WHO}: {what} is damaged: shape {shape} needs {size} numbers; it has {len(values)}")
            return np.array(values).astype(dtype).reshape(shape)
        if len(data) != size * dtype.itemsize:
            raise DataError(
                f"{WHO}: {what} is damaged: {dtype} of shape {shape} needs {size * dtype.itemsize} bytes; "
                f"it has {len(data)}"
            )
        return np.frombuffer(data, dtype).reshape(shape)

    def _outside(self, tensor: Any, what: str, size: int) -> bytes:
        """The bytes of an array in a file of its own."""
        entries = {entry.key: entry.value for entry in tensor.external_data}
        name = entries.get("location", "")
        path = (self.folder / name).resolve()
        if not name or os.path.isabs(name) or not path.is_relative_to(self.folder):
            raise DataError(f"{WHO}: {what} is in {name!r}, which is not in the folder of the file")
        try:
            offset, length = int(entries.get("offset", 0)), int(entries.get("length", size))
        except ValueError:
            raise DataError(f"{WHO}: {what} is damaged: its place in {name!r} is no number") from None
        if not path.is_file():
            raise DataError(f"{WHO}: {what} is in the file {name!r}, which is not in the folder of the file")
        found = path.stat().st_size
        if offset < 0 or length != size or offset + length > found:
            raise DataError(
                f"{WHO}: {what} needs {size} bytes, {length} of them from {offset} on in {name!r}; "
                f"that file has {found}"
            )
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(length)


def nodes_of(graph: Any, opset: int, arrays: Arrays) -> list[Node]:
    """The nodes of a graph, in order."""
    made = []
    for i, proto in enumerate(graph.node):
        attributes = {each.name: _value(each, arrays) for each in proto.attribute}
        domain = "" if proto.domain in ("", "ai.onnx") else f"{proto.domain}."
        name = proto.name or f"{proto.op_type} {i}"
        made.append(
            Node(domain + proto.op_type, name, tuple(proto.input), tuple(proto.output), attributes, opset, proto)
        )
    return made


def _value(attribute: Any, arrays: Arrays) -> Any:
    """An attribute as a number, a string, a list, or an array; a graph as None."""
    kinds = type(attribute)
    if attribute.type == kinds.TENSOR:
        return arrays.array(attribute.t)
    if attribute.type == kinds.STRING:
        return attribute.s.decode("utf-8", "replace")
    if attribute.type == kinds.STRINGS:
        return [each.decode("utf-8", "replace") for each in attribute.strings]
    fields = {kinds.FLOAT: "f", kinds.INT: "i", kinds.FLOATS: "floats", kinds.INTS: "ints"}
    if attribute.type not in fields:
        return None
    value = getattr(attribute, fields[attribute.type])
    if attribute.type == kinds.FLOAT:
        return _shortest(value)
    if attribute.type == kinds.FLOATS:
        return [_shortest(each) for each in value]
    return int(value) if attribute.type == kinds.INT else [int(each) for each in value]


def _shortest(number: float) -> float:
    """The shortest number that is this float32: 1e-05, not 9.999999747378752e-06."""
    return float(str(np.float32(number)))

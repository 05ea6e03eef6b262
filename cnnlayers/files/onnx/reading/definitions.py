"""What ONNX itself says of its operators: whether a node is one at all, and which shapes come out."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from ..graph import onnx_for
from .errors import Refused
from .protobuf import WHO, Node

__all__ = ["check", "shapes"]

SMALL = 64  # bytes of an array that may hold sizes


@functools.lru_cache(maxsize=512)
def _definition(op: str, opset: int) -> Any:
    """How many inputs and outputs an operator has, which inputs must be there, and its attributes by name."""
    defs = onnx_for(WHO).defs
    try:
        schema = defs.get_schema(op, opset)
    except defs.SchemaError:
        return None
    if schema.deprecated:
        return None
    needed = [i for i, each in enumerate(schema.inputs) if each.option == defs.OpSchema.FormalParameterOption.Single]
    return (schema.min_input, schema.max_input), schema.max_output, needed, dict(schema.attributes)


def check(node: Node) -> None:
    """Refuse a node that is none of its operator: by its inputs, its outputs or its attributes."""
    found = _definition(node.op, node.opset)
    if found is None:
        raise Refused(f"opset {node.opset} has no such operator")
    (least, most), outputs, needed, attributes = found
    if not least <= len(node.inputs) <= most:
        wanted = f"{least}" if least == most else f"{least} or more" if most > 2**30 else f"{least} to {most}"
        raise Refused(f"it needs {wanted} inputs; it has {len(node.inputs)}")
    missing = [i for i in needed if i < len(node.inputs) and not node.inputs[i]]
    if missing:
        raise Refused(f"its input {missing[0]} is left out, and must be there")
    if len(node.outputs) > outputs:
        raise Refused(f"it gives {outputs} outputs at most; it has {len(node.outputs)}")
    kinds = onnx_for(WHO).AttributeProto.AttributeType
    for each in node.proto.attribute:
        if each.name not in attributes:
            raise Refused(f"opset {node.opset} has no such attribute", str(each.name))
        wanted = attributes[each.name].type.name
        given = kinds.Name(each.type) if each.type in kinds.values() else str(each.type)
        if wanted != given:
            raise Refused(f"it must be of the type {wanted}; it is of {given}", each.name)
    for name, attribute in attributes.items():
        if attribute.required and name not in node.attributes:
            raise Refused("it is left out, and must be there", name)


def shapes(graph: Any, nodes: list[Node], x: Any, dims: Sequence[int | None]) -> dict[str, tuple[int | None, ...]]:
    """The shapes of all values, as far as ONNX can tell: for the nodes behind those that cannot be read.

    `dims` are those of the input x, also where the file leaves them open.
    """
    onnx = onnx_for(WHO)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    small = [tensor for tensor in constants.values() if tensor.ByteSize() <= SMALL]
    try:
        large = [
            onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            for tensor in constants.values()
            if tensor.ByteSize() > SMALL
        ]
        source = onnx.helper.make_tensor_value_info(x.name, x.type.tensor_type.elem_type, dims)
        whole = [node.proto for node in nodes if _is_whole(node)]  # one that is not ends the inference
        part = onnx.helper.make_graph(whole, "part", [source, *large], graph.output, small, value_info=graph.value_info)
        opsets = [onnx.helper.make_opsetid("", nodes[0].opset)]
        inferred = onnx.shape_inference.infer_shapes(onnx.helper.make_model(part, opset_imports=opsets))
    except Exception:  # it serves an error's completeness alone
        return {}
    return {
        value.name: tuple(each.dim_value or None for each in value.type.tensor_type.shape.dim)
        for value in inferred.graph.value_info
    }


def _is_whole(node: Node) -> bool:
    try:
        check(node)
    except Refused:
        return False
    return True

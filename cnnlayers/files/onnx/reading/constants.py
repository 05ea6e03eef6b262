"""What of a graph does not depend on x: constants, and sizes, which may depend on the number of samples in a batch.

Files compute the sizes of a Reshape or a Resize from those of x, in chains of Shape, Gather, Concat and arithmetic.
Such a chain is computed here for two sizes of the batch at once. What comes out the same for both is a constant; what
comes out as the two sizes is the batch.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..graph import onnx_for
from .errors import Refused, check_size
from .protobuf import WHO, Node

__all__ = ["BATCH_SIZES", "Sized", "folded", "sizes"]

BATCH_SIZES = (7, 11)
KEPT = "Cast Concat Flatten Gather Identity ReduceProd Reshape Shape Size Slice Squeeze Transpose Unsqueeze"
ELEMENTWISE = frozenset(
    [
        "Abs",
        "Add",
        "Ceil",
        "Div",
        "Equal",
        "Exp",
        "Floor",
        "Log",
        "Max",
        "Min",
        "Mod",
        "Mul",
        "Neg",
        "Pow",
        "Reciprocal",
        "Round",
        "Sqrt",
        "Sub",
        "Where",
    ]
)
FOLDED = frozenset([*KEPT.split(), *ELEMENTWISE, "ConstantOfShape", "Expand"])


class Sized:
    """An array that depends on how many samples a batch has: what it is for each of `BATCH_SIZES`."""

    def __init__(self, arrays: tuple[np.ndarray, ...]):
        self.arrays = arrays


def one_of(arrays: tuple[np.ndarray, ...]) -> Any:
    """A constant, if the arrays are the same."""
    first, second = arrays
    return first if np.array_equal(first, second) and first.dtype == second.dtype else Sized(arrays)


def folded(node: Node, values: list[Any]) -> Any:
    """What a node gives for constants: computed by ONNX's reference evaluator."""
    if node.op not in FOLDED:
        raise Refused("it computes with constants alone, which is not done here for this operator")
    pairs = [value.arrays if isinstance(value, Sized) else (value, value) for value in values]
    return one_of(tuple(_run(node, [pair[i] for pair in pairs]) for i in range(2)))


def _run(node: Node, arrays: list[Any]) -> np.ndarray:
    _check_size(node, arrays)
    onnx = onnx_for(WHO)
    given = {name: array for name, array in zip(node.inputs, arrays, strict=True) if name}
    try:
        ports = [[onnx.ValueInfoProto(name=name) for name in names] for names in (given, node.outputs[:1])]
        graph = onnx.helper.make_graph([node.proto], node.op, *ports)
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", node.opset)])
        with np.errstate(all="ignore"):
            found = onnx.reference.ReferenceEvaluator(model).run(None, given)[0]
    except Exception as error:  # of many kinds, as the evaluator checks little
        raise Refused(f"ONNX's reference evaluator fails at it: {error}") from None
    found = np.asarray(found)
    if found.dtype.kind not in "biuf":
        raise Refused("it gives no numbers")
    return found


def _check_size(node: Node, arrays: list[Any]) -> None:
    """Refuse what would be far larger than what comes in."""
    shapes = [np.shape(array) for array in arrays if array is not None]
    try:
        if node.op == "ConstantOfShape":
            size = prod(int(n) for n in arrays[0].reshape(-1))
        elif node.op == "Expand":
            size = prod(np.broadcast_shapes(shapes[0], tuple(int(n) for n in arrays[1].reshape(-1))))
        elif node.op in ELEMENTWISE:
            size = prod(np.broadcast_shapes(*shapes))
        elif node.op == "Gather":
            size = prod(shapes[1]) * (prod(shapes[0]) // max(1, min(shapes[0], default=1)))
        else:  # the others give as many as they take, or fewer
            return
    except (ValueError, OverflowError, TypeError) as error:
        raise Refused(f"its constants do not go together: {error}") from None
    if size > max(map(prod, shapes)):
        check_size(size)


def sizes(value: Any) -> list[int | str]:
    """A list of sizes, "batch" for that of the batch."""
    if not isinstance(value, Sized):
        return [int(n) for n in np.asarray(value).reshape(-1)]
    rows = zip(*(array.reshape(-1).tolist() for array in value.arrays), strict=True)
    made: list[int | str] = []
    for row in rows:
        if row[0] == row[1]:
            made.append(int(row[0]))
        elif row == BATCH_SIZES:
            made.append("batch")
        else:
            raise Refused("a size depends on how many samples the batch has")
    return made

"""ONNX's own tests of its operators, run on the nets that `from_onnx` makes of them.

    python -m tests.files.onnx_backend      # writes their numbers into docs/onnx.md

A case of these tests is a model, mostly of one node, with inputs and what it must give for them. A net has one input,
so the other inputs of a model become constants of it; the first that `from_onnx` takes as what flows is that. Where it
refuses the first axis as that of a batch, which is none in many of these cases, the whole input is one sample. And a
net has one output, so each output of a model is that of a net of its own.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep
from onnx.backend.test.case.node import collect_testcases
from onnx.backend.test.runner import BackendIsNotSupposedToImplementIt, Runner

from cnnlayers.files.onnx.reading.net import OPERATORS, read_model

PAGE = Path(__file__).parents[2] / "docs" / "onnx.md"
BEGIN, END = "<!-- the numbers, written by tests/files/onnx_backend.py -->\n", "<!-- up to here -->\n"
NAME = "net.onnx"
READ = frozenset([*OPERATORS, "Erf", "Gather", "Shape"])  # the last ones are parts of others
MOVING = frozenset(["MaxPool", "Pad"])  # they compute the same for whole numbers, of which some of their cases are
WHOLE_NUMBERS = (onnx.TensorProto.UINT8, onnx.TensorProto.INT32)
FLOAT, DOUBLE = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE
OF_THESE, OTHERS = "others, written out in these", "others"
PASSED, FIRST, REFUSED = "passed", "first output", "refused"


class Refused(BackendIsNotSupposedToImplementIt):
    """`from_onnx` makes no net of a model."""


class Import(Backend):
    """A backend that runs a model as the net that is made of it."""

    @classmethod
    def prepare(cls, model, device="CPU", **kwargs):
        return Model(model)

    @classmethod
    def supports_device(cls, device):
        return device == "CPU"


class Model(BackendRep):
    """A model that becomes a net when its inputs are known: those that do not flow are constants of the net."""

    def __init__(self, model):
        self.model = model

    def run(self, inputs, **kwargs):
        """Give the outputs for these inputs, each by a net of its own.

        What flows is the first input of floats with which this is possible. Refused gives the reason for the first.
        """
        held = {tensor.name for tensor in self.model.graph.initializer}
        names = [port.name for port in self.model.graph.input if port.name not in held]
        given = dict(zip(names, map(_array, inputs), strict=True))
        flowing = [name for name, array in given.items() if _is_floats(array)]
        tries = [(name, batched) for name in flowing or names[:1] or [""] for batched in (True, False)]
        return tuple(self._first(output, given, tries) for output in range(len(self.model.graph.output)))

    def _first(self, output, given, tries):
        """An output by the first of these ways that is not refused."""
        reasons = []
        for way in tries:
            try:
                return self._run(output, given, *way)
            except ValueError as error:
                reasons.append(str(error))
        raise Refused(reasons[1])

    def _run(self, output, given, name, batched):
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        model.graph.ClearField("output")
        model.graph.output.append(self.model.graph.output[output])
        constants = {other: array for other, array in given.items() if other != name and isinstance(array, np.ndarray)}
        model.graph.initializer.extend(onnx.numpy_helper.from_array(*each[::-1]) for each in constants.items())
        opset = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 0)
        read = read_model(model, opset, NAME, batched=batched)
        x = given[name].transpose(read.x)
        y = read.net.predict(x if batched else x[np.newaxis])
        y = y if batched else y[0]
        return y.transpose(np.argsort(read.y)) if read.y else y.reshape(())


def _is_floats(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.size > 0 and array.dtype in (np.float32, np.float64)


# The cases


class Case(NamedTuple):
    """A case of ONNX's tests, or the same with doubles in the place of floats."""

    name: str
    row: str
    doubles: bool
    model: onnx.ModelProto
    inputs: list[Any]
    outputs: list[Any]
    rtol: float
    atol: float


def cases() -> Iterator[Case]:
    """Give all cases of single nodes, and of the functions that ONNX defines them by, written out."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of casts that overflow, on purpose
        found = collect_testcases(None)
    own = {case.name: case.model.graph.node[0].op_type for case in found}
    for case in found:
        base, written_out, _ = case.name.partition("_expanded")
        operator = own.get(base, "")
        row = f"{operator}, written out" if written_out else operator
        if operator not in READ:
            row = OTHERS if not written_out else OF_THESE
        if row == OF_THESE and not {node.op_type for node in case.model.graph.node} <= READ:
            continue
        for inputs, outputs in case.data_sets:
            inputs, outputs = [_array(each) for each in inputs], [_array(each) for each in outputs]
            yield Case(case.name, row, False, case.model, inputs, outputs, case.rtol, case.atol)
            model = in_doubles(case.model) if row != OTHERS else None
            if model is not None:
                inputs = _with_dtypes(inputs, model.graph.input)
                outputs = _with_dtypes(outputs, model.graph.output)
                yield Case(case.name, row, True, model, inputs, outputs, case.rtol, case.atol)


def _array(value: Any) -> Any:
    value = onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value
    return np.asarray(value) if isinstance(value, np.generic) else value


def in_doubles(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """The model with doubles in the place of floats, where its operators take them."""
    doubled = onnx.ModelProto()
    doubled.CopyFrom(model)
    graph = doubled.graph
    alone = graph.node[0] if len(graph.node) == 1 else None
    kinds = (FLOAT, *WHOLE_NUMBERS) if alone is not None and alone.op_type in MOVING else (FLOAT,)
    changed = [
        port
        for port in graph.input
        if port.type.tensor_type.elem_type in kinds and (alone is None or _takes_doubles(alone, port.name, model))
    ]
    for port in changed:
        port.type.tensor_type.elem_type = DOUBLE
    for node in graph.node if alone is None else []:
        for attribute in node.attribute:
            _doubled(node, attribute)
    for port in graph.output:
        port.type.tensor_type.ClearField("elem_type")
    try:
        doubled = onnx.shape_inference.infer_shapes(doubled, check_type=True, strict_mode=True)
    except onnx.shape_inference.InferenceError:  # somewhere in it only floats are allowed
        return None
    known = all(port.type.tensor_type.elem_type for port in doubled.graph.output)
    return doubled if changed and known else None


def _takes_doubles(node: onnx.NodeProto, name: str, model: onnx.ModelProto) -> bool:
    """Whether an input of a node may be of doubles, and is what its kind of number is named for."""
    schema = onnx.defs.get_schema(node.op_type, model.opset_import[0].version, node.domain)
    if name not in node.input:
        return True
    formal = schema.inputs[min([*node.input].index(name), len(schema.inputs) - 1)]
    return "tensor(double)" in formal.types and (node.op_type not in MOVING or formal.type_str == "T")


def _doubled(node: onnx.NodeProto, attribute: onnx.AttributeProto) -> None:
    """Make an attribute that says or holds floats one of doubles."""
    if node.op_type == "Cast" and attribute.name == "to" and attribute.i == FLOAT:
        attribute.i = DOUBLE
    if attribute.name in ("value_float", "value_floats"):
        numbers = np.array(attribute.f if attribute.name == "value_float" else attribute.floats, np.float64)
        attribute.CopyFrom(onnx.helper.make_attribute("value", onnx.numpy_helper.from_array(numbers)))
    elif attribute.type == attribute.TENSOR and attribute.t.data_type == FLOAT:
        array = onnx.numpy_helper.to_array(attribute.t).astype(np.float64)
        attribute.t.CopyFrom(onnx.numpy_helper.from_array(array, attribute.t.name))


def _with_dtypes(arrays: list[Any], ports: Any) -> list[Any]:
    """The arrays as these ports have them."""
    kinds = [port.type.tensor_type.elem_type for port in ports]
    return [array.astype(np.float64) if kind == DOUBLE else array for array, kind in zip(arrays, kinds, strict=True)]


# What becomes of them


def outcome(case: Case) -> tuple[str, str]:
    """Whether a case passes, passes in the first of several outputs, or is refused, and why.

    Raises
    ------
    AssertionError
        If the net gives something else than the case says.
    """
    model, kept = case.model, len(case.outputs)
    while True:
        try:
            found = Import.run_model(model, case.inputs)
        except Refused as refused:
            if kept == 1:
                return REFUSED, reason(str(refused))
            model, kept = onnx.ModelProto(), 1
            model.CopyFrom(case.model)
            del model.graph.output[1:]
            continue
        try:
            Runner.assert_similar_outputs(case.outputs[:kept], found, case.rtol, case.atol)
        except AssertionError as error:
            raise AssertionError(f"{case.name}{', in doubles' * case.doubles}: {error}") from None
        return (PASSED if kept == len(case.outputs) else FIRST), ""


DTYPES = [
    (r"a net (?:takes|gives) .*; the (\w+) .* is .*", r"a net has no such dtype for its \1"),
    (r"the array .* has the dtype .*", "a net has no such dtype for its constants"),
]


def reason(message: str) -> str:
    """Why a model is refused, without the names in it."""
    first = message.split("\n")[1] if "\n" in message else message
    why = re.sub(r"^  .*?: ", "", first).removeprefix("from_onnx: ")
    for pattern, told in DTYPES:
        why = re.sub(pattern, told, why)
    why = re.sub(r" \(onnx\.utils.*\)$| of net\.onnx| '[^']*' (?=is|depends)", "", why)
    return why.replace(f"{NAME} ", "")


# The page


class Row(NamedTuple):
    """What became of the cases of an operator: how many by their outcome, as they are and in doubles, and why not."""

    counts: Counter[tuple[bool, str]]
    reasons: Counter[str]


def rows() -> dict[str, Row]:
    """Run all cases. AssertionError names those that give something else than they should."""
    found: dict[str, Row] = defaultdict(lambda: Row(Counter(), Counter()))
    wrong = []
    for case in cases():
        try:
            what, why = outcome(case)
        except AssertionError as error:
            wrong.append(str(error))
            continue
        found[case.row].counts[case.doubles, what] += 1
        if why:
            found[case.row].reasons[why] += 1
    if wrong:
        raise AssertionError("\n\n".join(wrong))
    return found


def numbers(found: dict[str, Row]) -> str:
    """Give the numbers as they stand on the page."""
    outcomes = (PASSED, FIRST, REFUSED)
    own = [name for name in sorted(found) if name != OTHERS]
    heads = ["operator", "cases", *outcomes, "in doubles", *outcomes, "refused because"]
    lines = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 2)}---|"]
    totals = {(doubles, what): 0 for doubles in (False, True) for what in ("", *outcomes)}
    for name in own:
        cells = {key: _count(found[name], *key) for key in totals}
        totals = {key: n + cells[key] for key, n in totals.items()}
        why = "; ".join(f"{each} ({count})" for each, count in sorted(found[name].reasons.items()))
        lines.append(f"| {name} | {' | '.join(str(n or '') for n in cells.values())} | {why} |")
    lines.append(f"| all | {' | '.join(map(str, totals.values()))} | |")
    passed, refused = (_count(found[OTHERS], False, what) for what in (PASSED, REFUSED))
    others = f"Of all other operators there are {passed + refused} cases, of which {refused} are refused."
    return f"Of onnx {onnx.__version__}; none fails. {others}\n\n" + "\n".join(lines) + "\n"


def _count(row: Row, doubles: bool, what: str) -> int:
    """How many cases have an outcome, or all, if none is named."""
    return sum(n for key, n in row.counts.items() if key == (doubles, what or key[1]))


def on_the_page() -> str:
    """The numbers that stand on the page."""
    return PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]


def main() -> None:
    """Write the numbers into the page."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}{numbers(rows())}{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()

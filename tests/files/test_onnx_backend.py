"""ONNX's own tests of its operators: none fails, and their numbers are those of docs/onnx.md."""

import re

import numpy as np
import onnx
import onnx.helper as make
import pytest
from onnx.backend.test.runner import Runner

from tests.files import onnx_backend
from tests.files.onnx_backend import FIRST, OTHERS, PASSED, READ, REFUSED, Import, Refused

# Operators that are read in part: as parts of others, with one number, or of arrays that hold some.
BEYOND = {"Constant", "Erf", "Max", "Min", "ReduceMax", "ReduceSum", "Reshape", "Slice", "Split"}


@pytest.fixture(scope="module")
def found():
    return onnx_backend.rows()  # an AssertionError names the cases that fail


def test_none_fails_and_the_numbers_are_those_of_the_page(found):
    assert not {what for row in found.values() for _, what in row.counts} - {PASSED, FIRST, REFUSED}
    page = onnx_backend.on_the_page()
    version = re.search(r"onnx (\S+);", page)[1]
    cure = "`python -m tests.files.onnx_backend` writes the numbers anew"
    assert version != onnx.__version__ or page == onnx_backend.numbers(found), cure


def test_what_is_read_and_of_floats_passes(found):
    """Refused are other dtypes, volumes, training, and what is no function of floats."""
    reasons = {
        *("a net has no such dtype for its input", "a net has no such dtype for its output"),
        "a net has no such dtype for its constants",
        "it has 3 spatial axes; the layers here have one or two",
        *("it was exported in training mode: it normalises by the batch", "it drops at inference too"),
    }
    for name in READ - BEYOND:
        assert set(found[name].reasons) <= reasons, name


def test_all_that_is_read_has_cases_and_is_on_the_page(found):
    page = onnx_backend.PAGE.read_text(encoding="utf-8").partition(onnx_backend.BEGIN)[0]
    assert {name for name in READ if f"`{name}`" not in page} == set()
    assert {*READ, OTHERS} <= set(found)


def test_onnx_runs_the_backend_by_itself():
    runner = Runner(Import, __name__)
    names = [
        name for name in runner.test_cases["OnnxBackendNodeModelTest"].__dict__ if re.match(r"test_elu.*_cpu$", name)
    ]
    assert len(names) >= 3
    for name in names:
        getattr(runner.test_cases["OnnxBackendNodeModelTest"](name), name)()


def test_what_a_backend_must_do():
    assert Import.supports_device("CPU")
    assert not Import.supports_device("CUDA")
    ports = [make.make_tensor_value_info(name, 1, [2, 3]) for name in "xyz"]
    graph = make.make_graph([make.make_node("Sub", ["x", "y"], ["z"])], "graph", ports[:2], ports[2:])
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 14)])
    x, y = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    (z,) = Import.run_model(model, [x, y])
    assert z.tolist() == (x - y).tolist()
    model.graph.node[0].op_type = "Mod"
    with pytest.raises(Refused, match=r"Mod 0 \(Mod\): it is read for constants and sizes alone"):
        Import.run_model(model, [x, y])


def test_a_net_that_gives_something_else_fails():
    case = next(case for case in onnx_backend.cases() if case.name == "test_relu")
    assert onnx_backend.outcome(case) == (PASSED, "")
    with pytest.raises(AssertionError, match="test_relu"):
        onnx_backend.outcome(case._replace(outputs=[case.outputs[0] + 1]))

"""The suite infer: its table, on figures that are made up; its runtimes, where they are installed."""

import numpy as np
import pytest

import cnnlayers as cl
from benchmarks import command, environment, nets, runner, suites, table
from benchmarks.cases import Prepared, Unavailable
from benchmarks.runner import Result
from benchmarks.sides import runtimes
from benchmarks.suites import infer

CASES = suites.infer.cases()
RUNTIMES = {"onnxruntime": runtimes.OnnxRuntime, "openvino": runtimes.OpenVINO, "ncnn": runtimes.Ncnn}


def result(name, **seconds):
    return Result("infer", name, {side.replace("_", ":", 1): times for side, times in seconds.items()})


RESULTS = [
    result("lenet-1", cnnlayers=[0.002], torch_nchw=[0.008], torch_frozen=[0.006], onnxruntime=[0.001], ncnn=[0.004]),
    result("vgg-1", cnnlayers=[0.001], torch_nchw=[0.002], torch_frozen=[0.003], onnxruntime=[0.004], ncnn=[0.008]),
    result("lenet-128", cnnlayers=[0.001, 0.001], torch_nchw=[0.008, 0.032], onnxruntime=[0.016, 0.016]),
]


# The table


def test_a_line_names_the_best_rival_and_has_one_ratio():
    sides = ["cnnlayers", "torch:nchw", "torch:frozen", "onnxruntime", "ncnn"]
    printed = table.make("infer", ["lenet-128"], sides)
    assert printed.titles == ["infer", "cnnlayers", "PyTorch", "ONNX Runtime", "ncnn", "best rival", "vs best"]
    assert printed.cells(RESULTS[0])[-3:] == ["4.00 (4.00)", "ONNX Runtime", "0.50"]
    assert printed.cells(RESULTS[1])[-2:] == ["PyTorch", "2.00"]
    assert printed.cells(RESULTS[0])[2] == "fz 6.00 (6.00)"
    assert printed.cells(result("lenet-1", cnnlayers=[1.0]))[-3:] == ["-", "-", "-"]
    assert {len(line) for line in (printed.header(), *map(printed.line, RESULTS))} == {len(printed.header())}


def test_the_footer_sums_up_all_and_each_batch_size_against_the_best_rival():
    printed = table.make("infer", [], ["cnnlayers", "torch:nchw", "onnxruntime", "openvino"])
    assert printed.footer(RESULTS) == [
        "infer vs the best rival: geometric mean 2.00 (by medians 2.52) over 3 cases, 2 of them at least 1; "
        "worst 0.50 (lenet-1)",
        "batch 1 vs the best rival: geometric mean 1.00 (by medians 1.00) over 2 cases, 1 of them at least 1; "
        "worst 0.50 (lenet-1)",
        "batch 128 vs the best rival: geometric mean 8.00 (by medians 16.00) over 1 cases, 1 of them at least 1; "
        "worst 8.00 (lenet-128)",
        "infer vs PyTorch: geometric mean 3.63 (by medians 4.93) over 3 cases, 3 of them at least 1; "
        "worst 2.00 (vgg-1)",
        "infer vs ONNX Runtime: geometric mean 3.17 (by medians 3.17) over 3 cases, 2 of them at least 1; "
        "worst 0.50 (lenet-1)",
    ]


# The cases


def test_every_net_at_batch_1_16_and_128_beside_four_rivals():
    names = [case.name for case in CASES]
    assert names == [f"{net}-{batch}" for net in (*nets.NETS, *nets.DEPLOYED) for batch in (1, 16, 128)]
    for case in CASES:
        assert {table.family(side) for side in case.sides} == {"cnnlayers", *environment.LIBRARIES}


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("lenet20-50", 431_080), ("cifar-quick", 145_578), ("resnet14", 175_258), ("vgg-bn", 307_946)],
)
def test_nets_have_their_parameters(name, parameters):
    build, shape = nets.DEPLOYED[name]
    assert build(input_shape=shape, rng=0).flat_params.size == parameters


def test_a_net_is_the_same_at_every_batch_size():
    pytest.importorskip("onnx")
    one, two = (infer.trained("resnet8", batch) for batch in (1, 2))
    assert one.onnx == two.onnx
    assert len(two.x) == 2
    assert not np.allclose(one.net.layers[1].state["running_var"], 1)


def test_ours_predicts_from_the_net_that_is_made_for_it():
    problem = infer.trained("resnet8", 2)
    side = infer.SIDES["cnnlayers"](problem)
    assert len(side.net.layers) < len(problem.net.layers)  # BatchNorm is in the convolutions
    np.testing.assert_allclose(side.predict(), problem.net.predict(problem.x), rtol=1e-4, atol=1e-5)


# Libraries that are not there


def test_what_is_not_installed_takes_no_part_and_is_named_with_its_cure(monkeypatch):
    cases = CASES[:1]
    monkeypatch.setattr(
        environment.importlib.util, "find_spec", lambda name: None if name in ("pnnx", "onnx") else name
    )
    assert environment.missing("ncnn") == ["pnnx", "onnx"]
    assert environment.missing("torch") == environment.missing("cnnlayers") == []
    sides = command.sides_of(cases)
    assert "torch:nchw" in sides
    assert not {"ncnn", "openvino", "onnxruntime"}.intersection(sides)
    assert command.left_out(cases) == [
        "ONNX Runtime was not found and takes no part: no package onnx; "
        "to compare with it: pip install onnxruntime onnx",
        "OpenVINO was not found and takes no part: no package onnx; to compare with it: pip install openvino onnx",
        "ncnn was not found and takes no part: no package pnnx and no onnx; "
        "to compare with it: pip install ncnn pnnx onnx",
    ]
    with pytest.raises(Unavailable, match="not installed: pnnx, onnx"):
        runtimes.Ncnn(None)


def test_the_versions_of_all_are_stated():
    where = environment.describe()
    for name, library in environment.LIBRARIES.items():
        assert (where[library.title] is None) is bool(environment.missing(name))
    settings = {"threads": 2, "repeats": 1, "seconds": 1, "quick": True}
    old = {name: where[name] for name in where if name not in ("OpenVINO", "ncnn")}  # a file from before they took part
    for environment_of_run in (where, old):
        lines = command.preamble({**environment_of_run, "limits": None}, settings)
        assert any(line.startswith("PyTorch ") and "OpenVINO " in line for line in lines)


# The runtimes


@pytest.fixture(params=RUNTIMES)
def make(request):
    for package in environment.LIBRARIES[request.param].packages:
        pytest.importorskip(package, reason=f"{request.param} needs the package {package}: pip install {package}")
    return RUNTIMES[request.param]


@pytest.mark.parametrize("batch", [1, 3])
def test_a_runtime_computes_what_the_net_does_and_reads_images_anew(make, batch):
    cl.set_num_threads(2)
    problem = infer.trained("resnet8", batch)
    side = make(problem)
    expected = problem.net.predict(problem.x)
    for _ in range(2):
        (scores,) = side.arrays("predict", side.predict())
        np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)


def test_openvino_takes_no_shorter_numbers_than_it_is_given():
    openvino = pytest.importorskip("openvino", reason="openvino is not installed: pip install openvino")
    pytest.importorskip("onnx")
    side = runtimes.OpenVINO(infer.trained("lenet", 1))
    assert side.compiled.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32
    assert side.compiled.get_property("NUM_STREAMS") == 1


def test_sides_that_compute_in_bfloat16_disagree():
    case = next(case for case in CASES if case.name == "resnet8-1")
    problem = case.problem(True)

    class Narrow(infer.SIDES["cnnlayers"]):
        def arrays(self, operation, result):
            bits = result.view(np.uint32) & 0xFFFF0000  # of the scores alone: a whole net is further off
            return [bits.view(np.float32)]

    sides = {"cnnlayers": infer.SIDES["cnnlayers"](problem), "narrow": Narrow(problem)}
    prepared = {
        name: Prepared(side.predict, lambda result, side=side: side.arrays("predict", result))
        for name, side in sides.items()
    }
    with pytest.raises(runner.Disagreement, match="narrow differs from cnnlayers"):
        runner.verify(case, prepared)

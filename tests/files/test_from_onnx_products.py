"""Constants of ONNX files that meet what flows: matrices for several places, what lies beside it, and places of it."""

import numpy as np
import onnx
import pytest

import cnnlayers as cl
from tests.files.onnx_backend import Import
from tests.files.test_from_onnx import write


def test_a_constant_beside_what_comes_in_is_a_border(tmp_path):
    x = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float32)
    token = np.arange(5, dtype=np.float32).reshape(1, 1, 5)
    nodes = [  # a class token, one for each sample of the batch, whatever its size
        *[("Shape", "x", "n", {"end": 1}), ("Concat", "n rest", "to", {"axis": 0})],
        *[("Expand", "token to", "tokens", {}), ("Concat", "tokens x zeros", "y", {"axis": 1})],
    ]
    arrays = {"token": token, "rest": np.array([1, 5]), "zeros": np.zeros((1, 2, 5), np.float32)}
    net = cl.from_onnx(write(tmp_path / "net.onnx", nodes, ("N", 4, 5), ("N", 7, 5), **arrays))
    wanted = np.concatenate([np.repeat(token, 3, 0), x, np.zeros((3, 2, 5), np.float32)], 1)
    np.testing.assert_array_equal(net.predict(x), wanted)
    c = np.full((1, 4, 2), 9, np.float32)
    path = write(tmp_path / "net.onnx", [("Concat", "x c", "y", {"axis": 2})], ("N", 4, 5), ("N", 4, 7), c=c)
    assert repr(cl.from_onnx(path)) == "Sequential([Pad(((0, 2),), value=9.0)])"
    path = write(tmp_path / "net.onnx", [("Concat", "x c", "y", {"axis": 0})], ("N", 4), ("M", 4), c=c[:, :, 0])
    with pytest.raises(ValueError, match="it puts constant samples beside those that come in"):
        cl.from_onnx(path)


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize(
    ("x", "W"),
    [((7, 4), (4, 3)), ((2, 7, 4), (2, 4, 3)), ((1, 7, 4), (2, 4, 3)), ((2, 7, 4), (4,)), ((5, 2, 1, 4), (5, 2, 4, 1))],
)
def test_one_matrix_or_one_for_each_place_along_other_axes(x, W, left, tmp_path):
    rng = np.random.default_rng(0)
    x, W = (rng.standard_normal(shape).astype(np.float32) for shape in ((6, *x), W))
    if left:
        x, W = x.swapaxes(-1, -2), W.swapaxes(-1, -2) if W.ndim > 1 else W
    y = W @ x if left else x @ W
    nodes = [("MatMul", "W x" if left else "x W", "y", {})]
    path = write(tmp_path / "net.onnx", nodes, ("N", *x.shape[1:]), ("N", *y.shape[1:]), W=W)
    (found,) = Import.run_model(onnx.load(path), [x])
    np.testing.assert_allclose(found, y, rtol=1e-5, atol=1e-5)


def test_a_matrix_for_each_sample_is_refused(tmp_path):
    path = write(tmp_path / "net.onnx", [("MatMul", "x W", "y", {})], (2, 7, 4), (2, 7, 3), W=np.ones((2, 4, 3), "f"))
    with pytest.raises(ValueError, match="it has a matrix for each sample of a batch"):
        cl.from_onnx(path)


@pytest.mark.parametrize(
    ("nodes", "wanted"),
    [
        ([("Max", "x zero", "y", {})], "ReLU()"),
        ([("Max", "zero x", "a", {}), ("Min", "a six", "y", {})], "ReLU(), Clip(high=6.0)"),
        ([("CastLike", "six x", "a", {}), ("Min", "x a", "y", {})], "Clip(high=6.0)"),
        ([("Relu", "x", "a", {}), ("Sum", "a x six", "y", {})], "Residual([ReLU()]), Normalize(-6.0, 1.0)"),
        ([("Tanh", "x", "a", {}), ("Sum", "six six a", "y", {})], "Tanh(), Normalize(-12.0, 1.0)"),
    ],
)
def test_bounds_and_sums_of_several(nodes, wanted, tmp_path):
    path = write(tmp_path / "net.onnx", nodes, ("N", 3), ("N", 3), zero=np.float32(0), six=np.float32([6]))
    assert repr(cl.from_onnx(path)) == f"Sequential([{wanted}])"
    x = np.float32([[-9, 0.5, 9]])
    (y,) = onnx.reference.ReferenceEvaluator(onnx.load(path)).run(["y"], {"x": x})
    np.testing.assert_allclose(cl.from_onnx(path).predict(x), y, rtol=1e-6)


@pytest.mark.parametrize("places", [[0, 1, 3], [[0, 3], [3, 1]], [[[2]]], [-1, 0, 0]])
@pytest.mark.parametrize("axis", [1, 2])
def test_places_that_do_not_lie_evenly(places, axis, tmp_path):
    x = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float32)
    y = np.take(x, places, axis)
    nodes = [("Gather", "x i", "y", {"axis": axis})]
    path = write(tmp_path / "net.onnx", nodes, ("N", 4, 5), ("N", *y.shape[1:]), i=np.array(places))
    (found,) = Import.run_model(onnx.load(path), [x])
    np.testing.assert_array_equal(found, y)


def test_a_border_that_goes_round(tmp_path):
    x = np.random.default_rng(0).standard_normal((3, 2, 4)).astype(np.float32)
    nodes = [("Pad", "x p", "y", {"mode": "wrap"})]
    path = write(tmp_path / "net.onnx", nodes, ("N", 2, 4), ("N", 2, 7), 19, p=np.array([0, 0, 1, 0, 0, 2]))
    (found,) = Import.run_model(onnx.load(path), [x])
    np.testing.assert_array_equal(found, np.pad(x, ((0, 0), (0, 0), (1, 2)), "wrap"))


@pytest.mark.parametrize("axis", [1, 2])
def test_a_norm_by_the_mean_of_squares(axis, tmp_path):
    nodes = [
        *[("ReduceMean", "x", "m", {"axes": [axis]}), ("Mul", "x x", "xx", {}), ("Sub", "x m", "d", {})],
        *[("ReduceMean", "xx", "q", {"axes": [axis]}), ("Mul", "m m", "mm", {}), ("Sub", "q mm", "v", {})],
        *[("Add", "v eps", "ve", {}), ("Sqrt", "ve", "std", {}), ("Div", "d std", "y", {})],
    ]
    path = write(tmp_path / "net.onnx", nodes, ("N", 4, 5), ("N", 4, 5), eps=np.float32(1e-5))
    assert repr(cl.from_onnx(path)) == f"Sequential([{('LayerNorm', 'InstanceNorm')[axis - 1]}()])"
    x = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float32)
    (found,) = Import.run_model(onnx.load(path), [x])
    np.testing.assert_allclose(
        found, (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + 1e-5), atol=1e-5
    )

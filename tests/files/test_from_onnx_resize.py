"""Resize and Upsample of ONNX files: what they become, and that they compute the same."""

import numpy as np
import onnx
import onnx.helper as make
import pytest

import cnnlayers as cl
from cnnlayers.files.onnx.agreement import mended


def write(path, op, shape, opset, inputs=(), before=(), **attributes):
    """A file of one such node; `inputs` are arrays, "" for one that is left out, or names that `before` gives."""
    arrays = {f"c{i}": each for i, each in enumerate(inputs) if not isinstance(each, str)}
    names = [each if isinstance(each, str) else f"c{i}" for i, each in enumerate(inputs)]
    nodes = [*before, make.make_node(op, ["x", *names], ["y"], **attributes)]
    ports = [make.make_tensor_value_info("x", 1, shape)], [make.make_tensor_value_info("y", 1, [None] * len(shape))]
    constants = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    graph = make.make_graph(nodes, "graph", *ports, constants)
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", opset)], ir_version=8), path)
    return path


def evaluated(path, x):
    (y,) = onnx.reference.ReferenceEvaluator(onnx.load(path), new_ops=mended()).run(["y"], {"x": x})
    return y


def scales(*numbers):
    return np.array(numbers, np.float32)


BECOMES = [
    ("Upsample(2)", {"mode": "nearest"}, [2, 2]),
    ("Upsample((1, 3), mode='bilinear')", {"mode": "linear"}, [1, 3]),
    (
        "Upsample(2)",
        {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        [2, 2],
    ),
    ("Resize(mode='bicubic', scale=2.0, coordinates='half_pixel')", {"mode": "cubic"}, [2, 2]),
    (
        "Resize(scale=2.0, coordinates='align_corners')",
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
        [2, 2],
    ),
    (
        "Resize(mode='nearest', scale=(1.5, 0.5), coordinates='asymmetric', rounding='ceil')",
        {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "ceil"},
        [1.5, 0.5],
    ),
    (
        "Resize(scale=0.5, coordinates='half_pixel', exclude_outside=True, antialias=True)",
        {"mode": "linear", "antialias": 1, "exclude_outside": 1},
        [0.5, 0.5],
    ),
]


@pytest.mark.parametrize(("wanted", "attributes", "factors"), BECOMES)
def test_a_resize_by_scales(wanted, attributes, factors, tmp_path):
    path = write(tmp_path / "net.onnx", "Resize", ("N", 3, 4, 6), 18, ["", scales(1, 1, *factors)], **attributes)
    net = cl.from_onnx(path)
    assert repr(net) == f"Sequential([{wanted}])"
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 6)).astype(np.float32)
    y = np.moveaxis(net.predict(np.moveaxis(x, 1, -1)), -1, 1)
    np.testing.assert_allclose(y, evaluated(path, x), rtol=1e-5, atol=1e-5)


def test_sizes_may_be_those_of_a_batch_that_the_file_fixes(tmp_path):
    path = write(tmp_path / "net.onnx", "Resize", (1, 3, 4, 6), 17, ["", "", np.array([1, 3, 5, 7])], mode="linear")
    net = cl.from_onnx(path)
    assert repr(net) == "Sequential([Resize(size=(5, 7), coordinates='half_pixel')])"
    assert net.predict(np.ones((5, 4, 6, 3))).shape == (5, 5, 7, 3)


def test_sizes_may_be_computed_from_those_of_the_input(tmp_path):
    before = [
        make.make_node("Shape", ["x"], ["s"], end=2),
        make.make_node("Constant", [], ["to"], value_ints=[8, 3]),
        make.make_node("Concat", ["s", "to"], ["sizes"], axis=0),
    ]
    path = write(tmp_path / "net.onnx", "Resize", ("N", 3, 4, 6), 17, ["", "", "sizes"], before, mode="linear")
    assert repr(cl.from_onnx(path)) == "Sequential([Resize(size=(8, 3), coordinates='half_pixel')])"


@pytest.mark.parametrize(("op", "opset"), [("Upsample", 7), ("Upsample", 9), ("Resize", 10)])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_older_opsets_lay_pixel_i_at_i_over_scale(op, opset, mode, tmp_path):
    factors = scales(1, 1, 2, 1.5)
    held = {"scales": factors} if opset == 7 else {}
    path = write(tmp_path / "net.onnx", op, ("N", 1, 1, 2), opset, [] if held else [factors], mode=mode, **held)
    y = cl.from_onnx(path).predict(np.array([[[[1], [4]]]]))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y[0, ..., 0], [[1, 1, 4] if mode == "nearest" else [1, 3, 4]] * 2)


def test_before_opset_11_shorter_axes_take_the_next_pixel(tmp_path):
    x = np.arange(1, 9, dtype=np.float32).reshape(2, 4)  # the numbers of ONNX's own test of that opset
    path = write(tmp_path / "net.onnx", "Resize", ("N", 1, 2, 4), 10, [scales(1, 1, 0.6, 0.6)], mode="nearest")
    assert cl.from_onnx(path).predict(x[np.newaxis, ..., np.newaxis]).tolist() == [[[[1], [3]]]]
    path = write(tmp_path / "net.onnx", "Resize", ("N", 1, 2, 4), 10, [scales(1, 1, 2, 0.6)], mode="nearest")
    with pytest.raises(ValueError, match="one axis longer and another one shorter"):
        cl.from_onnx(path)


@pytest.mark.parametrize(
    ("inputs", "attributes", "message"),
    [
        (["", scales(2, 1, 1, 1)], {}, "it changes how many samples there are"),
        (["", scales(1, 1, 0, 1)], {}, r"a scale must be above 0; got 0\.0"),
        ([], {}, "it has neither scales nor sizes"),
        (["", scales(1, 1, 2, 2)], {"mode": "area"}, "'area' is no way of resampling"),
        (["", scales(1, 1, 2, 2)], {"coordinate_transformation_mode": "half"}, "coordinates must be one of"),
        (["", scales(1, 1, 1e9, 1e9)], {}, "it would take an array of 3000000000 numbers"),
        (["", scales(1, 1, 2)], {}, r"Resize 0 \(Resize, scales\): it has 3 scales for 4 axes"),
        (["", "", np.array([1, 1, 9, 9])], {"keep_aspect_ratio_policy": "not"}, "no ratio of sides is kept by 'not'"),
        (["", "x"], {}, "its scales must be a constant"),
    ],
)
def test_what_is_refused(inputs, attributes, message, tmp_path):
    path = write(tmp_path / "net.onnx", "Resize", ("N", 1, 3, 3), 18, inputs, **attributes)
    with pytest.raises(ValueError, match=message):
        cl.from_onnx(path)


@pytest.mark.parametrize("seed", range(12))
def test_layers_come_back(seed, tmp_path):
    rng = np.random.default_rng(seed)
    to = {"size": tuple(map(int, rng.integers(1, 12, 2)))} if seed % 2 else {"scale": rng.integers(1, 13, 2) / 4}
    layer = cl.Resize(mode=("nearest", "bilinear", "bicubic")[seed % 3], **to)
    net = cl.Sequential([layer], input_shape=(5, 7, 2), rng=0)
    cl.to_onnx(net, tmp_path / "net.onnx")
    x = rng.standard_normal((2, 5, 7, 2)).astype(np.float32)
    np.testing.assert_allclose(cl.from_onnx(tmp_path / "net.onnx").predict(x), net.predict(x), rtol=1e-5, atol=1e-5)

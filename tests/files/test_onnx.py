"""ONNX files: what is in them, what is refused, and that no bad one is ever written."""

import json
import sys

import numpy as np
import onnx
import pytest

import cnnlayers as cl
from cnnlayers import writing
from cnnlayers.files.onnx import agreement, export
from tests.files.onnx_files import agree, operators, run, trained
from tests.layers.common import CASES

NEWEST = onnx.defs.onnx_opset_version()


def small_net(dtype="float32"):
    layers = [cl.Normalize(8, 4), cl.Conv(3, 3, padding="same"), cl.BatchNorm(), cl.ReLU(), cl.Dropout(0.5)]
    net = cl.Sequential([*layers, cl.GlobalAvgPool(), cl.Affine(2)], (5, 4, 1), rng=0, dtype=dtype)
    return trained(net)


def shape_of(value):
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


# What is in a file


def test_a_file_by_hand(tmp_path):
    net = cl.Sequential([cl.Affine(2), cl.ReLU()], (3,), rng=0)
    net.params["0.W"] = [[1, 2], [3, 4], [5, 6]]
    net.params["0.b"] = [-10, -100]
    cl.to_onnx(net, tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    (x,), (y,) = model.graph.input, model.graph.output
    assert (x.name, shape_of(x), y.name, shape_of(y)) == ("x", ["N", 3], "y", ["N", 2])
    assert [(n.name, n.op_type, *n.input, *n.output) for n in model.graph.node] == [
        ("0.Gemm", "Gemm", "x", "0.W", "0.b", "0.Gemm"),
        ("1.Relu", "Relu", "0.Gemm", "y"),
    ]
    assert run(tmp_path / "net.onnx", np.ones((1, 3), np.float32)).tolist() == [[0, 0]]
    assert run(tmp_path / "net.onnx", np.full((2, 3), 2, np.float32)).tolist() == [[8, 0], [8, 0]]


def test_one_transposition_and_nothing_of_training(tmp_path):
    cl.to_onnx(small_net(), tmp_path / "net.onnx")
    assert operators(tmp_path / "net.onnx") == [
        *("Sub", "Div", "Transpose", "Conv", "BatchNormalization", "Relu", "GlobalAveragePool", "Flatten", "Gemm")
    ]
    cl.to_onnx(small_net(), tmp_path / "net.onnx", layout="NCHW")
    assert "Transpose" not in operators(tmp_path / "net.onnx")


def test_branches_share_a_transposition(tmp_path):
    net = cl.Sequential([cl.Concat([cl.Conv(2, 1), cl.MaxPool(1), []]), cl.Residual([cl.Conv(6, 1)])], (3, 4, 2), rng=0)
    cl.to_onnx(net, tmp_path / "net.onnx")
    assert operators(tmp_path / "net.onnx") == ["Transpose", "Conv", "MaxPool", "Concat", "Conv", "Add", "Transpose"]


@pytest.mark.parametrize(("layout", "x", "y"), [("NHWC", [6, 5, 3], [4, 3, 2]), ("NCHW", [3, 6, 5], [2, 4, 3])])
def test_maps_go_out_as_images_come_in(layout, x, y, tmp_path):
    net = cl.Sequential([cl.Conv(2, 3)], (6, 5, 3), rng=0)
    cl.to_onnx(net, tmp_path / "net.onnx", layout=layout)
    graph = onnx.load(tmp_path / "net.onnx").graph
    assert shape_of(graph.input[0]) == ["N", *x]
    assert shape_of(graph.output[0]) == ["N", *y]


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_the_metadata(layout, tmp_path):
    net = small_net()
    net.classes = ("Katze", "Hündin")
    cl.to_onnx(net, str(tmp_path / "net.onnx"), layout)
    model = onnx.load(tmp_path / "net.onnx")
    assert {p.key: json.loads(p.value) for p in model.metadata_props} == {
        "classes": ["Katze", "Hündin"],
        "input_shape": [5, 4, 1],
        "layout": layout,
        "version": cl.__version__,
    }
    assert (model.producer_name, model.producer_version) == ("cnnlayers", cl.__version__)
    cl.to_onnx(small_net(), tmp_path / "net.onnx", layout)
    assert "classes" not in {p.key for p in onnx.load(tmp_path / "net.onnx").metadata_props}


def test_it_takes_the_pixels_that_the_net_takes(tmp_path):
    """Of uint8 in the net, of the net's dtype in the file: neither scales them."""
    net = small_net()
    x = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 1), dtype=np.uint8)
    cl.to_onnx(net, tmp_path / "net.onnx")
    np.testing.assert_allclose(run(tmp_path / "net.onnx", x.astype(np.float32)), net.predict(x), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dtype_is_that_of_the_net(dtype, tmp_path):
    cl.to_onnx(small_net(dtype), tmp_path / "net.onnx")
    graph = onnx.load(tmp_path / "net.onnx").graph
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    assert {v.type.tensor_type.elem_type for v in (*graph.input, *graph.output)} == {kind}
    assert {array.data_type for array in graph.initializer} == {kind}


def test_the_same_net_gives_the_same_file(tmp_path):
    for name in "ab":
        cl.to_onnx(small_net(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_opset_17_and_format_8_by_default(tmp_path):
    cl.to_onnx(small_net(), tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 17)]
    assert model.ir_version == 8


FORMATS = {13: 7, 14: 7, 16: 8, 18: 8, 20: 9, NEWEST: onnx.IR_VERSION}  # the oldest that allow the opset


@pytest.mark.parametrize("opset", FORMATS)
def test_every_layer_in_other_opsets(opset, tmp_path):
    """The file is of the format that came with the opset."""
    for name, (factory, shape) in CASES.items():
        layer = factory()
        layer.build(shape, rng=0)
        cl.to_onnx(trained(layer), tmp_path / "layer.onnx", opset=opset)
        x = np.random.default_rng(1).standard_normal((2, *shape)).astype(np.float32)
        y, expected = run(tmp_path / "layer.onnx", x), layer.predict(x)
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5 * abs(expected).max(), err_msg=name)
    model = onnx.load(tmp_path / "layer.onnx")
    assert model.opset_import[0].version == opset
    assert model.ir_version == FORMATS[opset]


def test_the_net_stays_as_it_was(tmp_path):
    net, twin = small_net(), small_net()
    x = np.ones((2, 5, 4, 1))
    net.forward(x)
    twin.forward(x)
    cl.to_onnx(net, tmp_path / "net.onnx")
    np.testing.assert_array_equal(net.flat_params, twin.flat_params)
    np.testing.assert_array_equal(net.flat_state, twin.flat_state)
    np.testing.assert_array_equal(net.backward(np.ones((2, 2))), twin.backward(np.ones((2, 2))))  # was pending


def test_weights_that_are_not_finite_go_along(tmp_path):
    net = small_net()
    net.params["6.b"] = [np.nan, np.inf]
    cl.to_onnx(net, tmp_path / "net.onnx")
    y = run(tmp_path / "net.onnx", np.ones((2, 5, 4, 1), np.float32))
    np.testing.assert_array_equal(y, [[np.nan, np.inf]] * 2)


# A user's own layers


class PReLU(cl.Layer):
    def allocate(self, input_shape):
        self.add_param("alpha", input_shape[-1:], lambda shape, rng, dtype: rng.uniform(0.1, 0.9, shape))

    def forward(self, x, train=True):
        return np.where(x > 0, x, self.params["alpha"] * x)


class Classifier(cl.Sequential):
    def __init__(self, classes):
        super().__init__([cl.Conv(4, 1), cl.ReLU(), cl.GlobalAvgPool(), cl.Affine(classes)], (3, 4, 2), rng=0)


class Pointwise(cl.Conv):
    """A layer of the package under another constructor."""

    def __init__(self, filters):
        super().__init__(filters, 1)


def prelu(graph, layer, x):
    return graph.add("PRelu", x, graph.by_channel("alpha", layer.params["alpha"], x))


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_an_own_layer_by_a_function(layout, tmp_path):
    net = cl.Sequential([PReLU(), Pointwise(3), cl.Residual([PReLU()]), cl.Flatten(), PReLU()], (3, 4, 2), rng=0)
    cl.to_onnx(net, tmp_path / "net.onnx", layout, custom={PReLU: prelu})
    agree(net, tmp_path / "net.onnx", layout)


def test_an_own_container_of_the_packages_layers(tmp_path):
    cl.to_onnx(Classifier(3), tmp_path / "net.onnx")
    agree(Classifier(3), tmp_path / "net.onnx")


def test_an_own_function_goes_before_the_packages(tmp_path):
    """And names do not clash, not even with the input's."""

    def doubled(graph, layer, x):
        two = graph.array("x", 2.0)
        return graph.add("Relu", graph.add("Mul", graph.add("Mul", x, two), graph.array("x", 0.5)))

    layer = cl.ReLU()
    layer.build((3,))
    cl.to_onnx(layer, tmp_path / "net.onnx", custom={cl.ReLU: doubled})
    assert operators(tmp_path / "net.onnx") == ["Mul", "Mul", "Relu"]
    agree(layer, tmp_path / "net.onnx")


def test_an_own_layer_without_one_is_named(tmp_path):
    net = cl.Sequential([cl.Conv(2, 1), cl.Residual([PReLU()])], (3, 4, 2), rng=0)
    with pytest.raises(ValueError, match=r"layer 1\.body\.0 is PReLU\(\), .*custom=\{PReLU: function\}"):
        cl.to_onnx(net, tmp_path / "net.onnx")
    alone = PReLU()
    alone.build((3,), rng=0)
    with pytest.raises(ValueError, match=r"to_onnx: the net is PReLU\(\)"):
        cl.to_onnx(alone, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_a_layer_that_computes_otherwise_is_not_its_base(tmp_path):
    class Doubled(cl.ReLU):
        def forward(self, x, train=True):
            return 2 * super().forward(x, train)

    net = cl.Sequential([Doubled()], (3,), rng=0)
    with pytest.raises(ValueError, match=r"layer 0 is Doubled\(\)"):
        cl.to_onnx(net, tmp_path / "net.onnx")
    net = cl.Sequential([cl.Tanh(), cl.ReLU()], (3,), rng=0)
    net[1].forward = lambda x, train=True: 2 * x  # on this one object
    with pytest.raises(cl.CheckpointError, match=r"the first layer that differs is the net itself, Sequential, by"):
        cl.to_onnx(net, tmp_path / "net.onnx")


# What is refused, and leaves what was there


@pytest.fixture
def there(tmp_path):
    """A file that is there already; in the end it must be as it was, and alone."""
    path = tmp_path / "net.onnx"
    path.write_bytes(b"before")
    yield path
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_disagrees_is_never_written(there):
    def wrong(graph, layer, x):
        return graph.add("Abs", x)

    message = r"other outputs than the net, by [\d.]+ of the largest, .* is 3, ReLU\(\), by [\d.]+$"
    with pytest.raises(cl.CheckpointError, match=message):
        cl.to_onnx(small_net(), there, custom={cl.ReLU: wrong})
    net = cl.Sequential([cl.Conv(2, 1), cl.ReLU()], (3, 3, 1), rng=0)
    with pytest.raises(cl.CheckpointError, match=r"the first layer that differs is 1, ReLU\(\)"):
        cl.to_onnx(net.for_inference(), there, custom={cl.ReLU: wrong})


def test_nodes_that_are_not_valid(there):
    def unknown(graph, layer, x):
        return graph.add("Rectify", x)

    with pytest.raises(cl.CheckpointError, match=r"ONNX's checker refuses the file.*Rectify"):
        cl.to_onnx(small_net(), there, custom={cl.ReLU: unknown})

    def of_another_shape(graph, layer, x):
        return graph.add("Relu", x, shape=(7,))

    with pytest.raises(ValueError, match=r"the nodes of ReLU\(\) give shape \(7,\); the layer gives \(5, 4, 3\)"):
        cl.to_onnx(small_net(), there, custom={cl.ReLU: of_another_shape})
    with pytest.raises(TypeError, match=r"what writes ReLU\(\) must return what graph.add\(\) gave; got None"):
        cl.to_onnx(small_net(), there, custom={cl.ReLU: lambda graph, layer, x: None})


def test_nan_in_one_of_the_two_is_a_difference():
    x = np.array([1.0, np.nan, np.inf])
    assert agreement.relative(x, x) == 0
    for other in ([1, 2, np.inf], [np.nan, np.nan, np.inf], [1, np.nan, -np.inf], [1, np.nan, 3]):
        assert agreement.relative(np.array(other), x) == np.inf
        assert agreement.relative(x, np.array(other)) == np.inf
    assert agreement.relative(x[:2], x) == np.inf
    assert agreement.relative(np.array([1.0, 3.5]), np.array([1.0, 4.0])) == 0.125


def test_what_overflows_is_no_excuse(there):
    """Of a net whose float32 is infinite where its float64 is not, the rounding says nothing."""
    net = cl.Sequential([cl.Affine(2), cl.ReLU()], (3,), rng=0)
    net.params["0.W"] = [[3e38, -1], [3e38, 1], [3e38, 2]]
    net.params["0.b"] = [3e38, 0]

    def wrong(graph, layer, x):
        return graph.add("Relu", graph.add("Neg", x))

    with pytest.raises(cl.CheckpointError, match="other outputs than the net"):
        cl.to_onnx(net, there, custom={cl.ReLU: wrong})


def test_a_net_that_rounds_much_is_no_disagreement(tmp_path):
    """Numbers of 100,000 whose differences count: in float32 they are rounded by a hundredth."""
    net = cl.Sequential([cl.Affine(4), cl.BatchNorm()], (8,), rng=0)
    net.params["0.b"] = net.state["1.running_mean"] = np.full(4, 1e5)
    cl.to_onnx(net, tmp_path / "net.onnx")
    assert (tmp_path / "net.onnx").exists()


@pytest.mark.parametrize("opset", [12, 0, -1, NEWEST + 1])
def test_opsets_that_are_none(opset, there):
    with pytest.raises(ValueError, match=rf"opset must be 13 to {NEWEST}, the newest that onnx .* got {opset}$"):
        cl.to_onnx(small_net(), there, opset=opset)


def test_other_wrong_calls(there):
    with pytest.raises(TypeError, match="opset must be an int"):
        cl.to_onnx(small_net(), there, opset=17.0)
    with pytest.raises(ValueError, match=r"layout must be one of 'NHWC', 'NCHW'; got 'nchw'"):
        cl.to_onnx(small_net(), there, layout="nchw")
    with pytest.raises(RuntimeError, match="not built"):
        cl.to_onnx(cl.Sequential([cl.Conv(2, 1)]), there)
    with pytest.raises(TypeError, match="custom must be a dict"):
        cl.to_onnx(small_net(), there, custom=(PReLU,))


def test_no_place_to_write(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere/net\.onnx"):
        cl.to_onnx(small_net(), tmp_path / "nowhere" / "net.onnx")
    with pytest.raises(IsADirectoryError):
        cl.to_onnx(small_net(), tmp_path)


def test_a_full_disk_leaves_the_old_file(there, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing.os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left.*net\.onnx"):
        cl.to_onnx(small_net(), there)


def test_too_large_for_the_format(there, monkeypatch):
    monkeypatch.setattr(export, "LARGEST", 100)  # bytes
    with pytest.raises(ValueError, match="an ONNX file holds 2 GB at most, and the arrays of Sequential need more"):
        cl.to_onnx(small_net(), there)


def test_without_onnx(there, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r'to_onnx needs onnx: pip install "cnnlayers\[onnx\]"'):
        cl.to_onnx(small_net(), there)

"""Nets from ONNX files: what they become, that they compute the same, and what is refused."""

import re

import numpy as np
import onnx
import onnx.helper as make
import pytest

import cnnlayers as cl
from cnnlayers.files.onnx.agreement import relative
from tests.files.onnx_files import RUNTIME, random_net, run_in_runtime, trained
from tests.layers.common import CASES

ZOO = ("conv1d_classifier", "digits_cnn", "digits_resnet", "lenet", "linear", "mobilenet", "resnet20", "resnet32")
ZOO += ("resnet8", "three_layer", "vgg")


def there_and_back(net, folder, **options):
    """A net by way of a file."""
    cl.to_onnx(net, folder / "net.onnx", **options)
    return cl.from_onnx(folder / "net.onnx")


def write(path, nodes, x, y, opset=17, **arrays):
    """A file of these nodes: (operator, inputs, output, attributes); x and y are shapes."""
    made = [make.make_node(op, ins.split(), [out], **attributes) for op, ins, out, attributes in nodes]
    ports = [[make.make_tensor_value_info(name, 1, shape)] for name, shape in (("x", x), ("y", y))]
    constants = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    graph = make.make_graph(made, "graph", *ports, constants)
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", opset)], ir_version=8), path)
    return path


# There and back


@pytest.mark.parametrize("name", ZOO)
def test_nets_of_the_package_come_back(name, tmp_path):
    net = trained(getattr(cl.models, name)(rng=0))
    back = there_and_back(net, tmp_path)
    x = np.random.default_rng(0).uniform(0, 16, (3, *net.input_shape)).astype(np.float32)
    assert relative(back.predict(x), net.predict(x)) <= 1e-5
    if RUNTIME:
        assert relative(run_in_runtime(tmp_path / "net.onnx", x), net.predict(x)) <= 1e-5
    assert [type(layer) for _, layer in back.walk()] == [type(layer) for _, layer in net.walk()]
    assert {name: array.shape for name, array in back.params.items()} == {
        name: array.shape for name, array in net.params.items()
    }


@pytest.mark.parametrize("seed", range(60))
def test_random_nets_come_back(seed, tmp_path):
    net = random_net(seed)
    x = np.random.default_rng(seed).standard_normal((3, *net.input_shape)).astype(net.dtype)
    for layout, opset in (("NHWC", 17), ("NCHW", 13), ("NHWC", 21)):
        back = there_and_back(net, tmp_path, layout=layout, opset=opset)
        assert back.dtype == net.dtype
        assert back.input_shape == net.input_shape
        assert relative(back.predict(x), net.predict(x)) <= 1e-5
        if RUNTIME and opset == 17 and net.dtype == np.float32:  # it lacks most of float64
            assert relative(run_in_runtime(tmp_path / "net.onnx", x, layout), net.predict(x)) <= 1e-5


@pytest.mark.parametrize("case", CASES)
def test_each_layer_comes_back_alone(case, tmp_path):
    make_layer, shape = CASES[case]
    for layout, dtype in (("NHWC", "float32"), ("NCHW", "float64")):
        net = cl.Sequential([make_layer()], shape, rng=0, dtype=dtype)
        back = there_and_back(net, tmp_path, layout=layout)
        x = np.random.default_rng(0).standard_normal((3, *shape)).astype(dtype)
        assert relative(back.predict(x), net.predict(x)) <= 1e-5


def test_a_net_that_came_back_trains_on(tmp_path):
    data = cl.datasets.digits()
    net = cl.models.digits_cnn(rng=0)
    net.classes = tuple("0123456789")
    back = there_and_back(net, tmp_path)
    assert back.classes == net.classes
    solver = cl.Solver(back, data.train, loss=cl.SoftmaxLoss(), optimizer=cl.Adam(lr=0.01), epochs=4, progress=False)
    solver.train()
    assert solver.evaluate(*data.test)["accuracy"] > 0.8
    back.save(tmp_path / "net.safetensors")
    x = data.test[0][:5]
    np.testing.assert_array_equal(cl.load(tmp_path / "net.safetensors").predict(x), back.predict(x))


# What nodes become


def test_a_graph_by_hand(tmp_path):
    path = write(
        tmp_path / "net.onnx",
        [("Gemm", "x W b", "h", {"transB": 1}), ("Relu", "h", "y", {})],
        ("N", 3),
        ("N", 2),
        W=np.float32([[1, 3, 5], [2, 4, 6]]),
        b=np.float32([-10, 1]),
    )
    net = cl.from_onnx(path)
    assert repr(net) == "Sequential([Affine(2), ReLU()])"
    assert net.predict([[1, 1, 1]]).tolist() == [[0, 13]]


def test_images_come_with_channels_last_and_rows_are_put_in_their_order(tmp_path):
    W = np.arange(12, dtype=np.float32).reshape(12, 1)
    path = write(
        tmp_path / "net.onnx",
        [("Relu", "x", "h", {}), ("Flatten", "h", "f", {}), ("MatMul", "f W", "y", {})],
        (1, 3, 2, 2),
        (1, 1),
        W=W,
    )
    net = cl.from_onnx(path)
    assert repr(net) == "Sequential([ReLU(), Flatten(), Affine(1, bias=False)])"
    assert net.input_shape == (2, 2, 3)
    x = np.random.default_rng(0).uniform(0, 1, (4, 2, 2, 3)).astype(np.float32)  # not the one sample of the file
    np.testing.assert_allclose(net.predict(x), np.moveaxis(x, -1, 1).reshape(4, 12) @ W, rtol=1e-6)


ERF = [("Div", "x s", "a", {}), ("Erf", "a", "b", {}), ("Add", "b one", "c", {})]
WAYS = {
    "SiLU()": [("Sigmoid", "x", "s1", {}), ("Mul", "s1 x", "y", {})],
    "HardSwish()": [
        *[("Add", "x three", "a", {}), ("Clip", "a zero six", "b", {})],
        *[("Mul", "x b", "c", {}), ("Div", "c six", "y", {})],
    ],
    "GELU()": [*ERF, ("Mul", "x c", "d", {}), ("Mul", "d half", "y", {})],
    "GELU() ": [*ERF, ("Mul", "half c", "d", {}), ("Mul", "d x", "y", {})],
    "LayerNorm()": [
        *[("ReduceMean", "x", "m", {"axes": [1]}), ("Sub", "x m", "d", {}), ("Mul", "d d", "dd", {})],
        *[("ReduceMean", "dd", "v", {"axes": [-1]}), ("Add", "v eps", "ve", {}), ("Sqrt", "ve", "std", {})],
        *[("Div", "d std", "n", {}), ("Mul", "n gamma", "g", {}), ("Add", "g beta", "y", {})],
    ],
    "Multiply([[], [Tanh()]])": [("Tanh", "x", "t", {}), ("Mul", "x t", "y", {})],
    "Residual([Tanh()])": [("Tanh", "x", "t", {}), ("Add", "t x", "y", {})],
    "Concat([[Tanh()], []])": [("Tanh", "x", "t", {}), ("Concat", "t x", "y", {"axis": 1})],
}


@pytest.mark.parametrize("wanted", WAYS)
def test_several_nodes_become_one_layer(wanted, tmp_path):
    numbers = {"s": np.sqrt(2), "one": 1, "half": 0.5, "zero": 0, "three": 3, "six": 6, "eps": 1e-5}
    arrays = {"gamma": np.float32([1, 2, 3]), "beta": np.float32([4, 5, 6])}
    arrays |= {name: np.float32(number) for name, number in numbers.items()}
    columns = 6 if "Concat" in wanted else 3
    path = write(tmp_path / "net.onnx", WAYS[wanted], ("N", 3), ("N", columns), **arrays)
    net = cl.from_onnx(path)
    assert repr(net) == f"Sequential([{wanted.strip()}])"
    x = np.float32([[-1.5, 0.25, 3]])
    (y,) = onnx.reference.ReferenceEvaluator(onnx.load(path)).run(["y"], {"x": x})
    np.testing.assert_allclose(net.predict(x), y, rtol=1e-5, atol=1e-6)


def test_a_branch_of_branches(tmp_path):
    nodes = [
        *[("Relu", "x", "a", {}), ("Tanh", "a", "b", {}), ("Sigmoid", "b", "c", {}), ("Add", "b c", "d", {})],
        *[("Concat", "d a", "e", {"axis": 1}), ("Relu", "e", "y", {})],
    ]
    net = cl.from_onnx(write(tmp_path / "net.onnx", nodes, ("N", 3), ("N", 6)))
    assert repr(net) == "Sequential([ReLU(), Concat([[Tanh(), Residual([Sigmoid()])], []]), ReLU()])"


SHARED = {
    "a sum of three": [
        *[("MatMul", "x W", "a", {}), ("Tanh", "a", "b", {}), ("Relu", "x", "c", {})],
        *[("Add", "c a", "d", {}), ("Add", "d b", "y", {})],
    ],
    "one beside what comes of it": [
        *[("MatMul", "x W", "a", {}), ("Tanh", "a", "b", {}), ("Relu", "x", "c", {})],
        ("Concat", "c a b", "y", {"axis": 1}),
    ],
    "all so far beside what comes of it": [
        *[("MatMul", "x W", "a", {}), ("Concat", "x a", "b", {"axis": 1}), ("Tanh", "b", "c", {})],
        ("Concat", "x a c", "y", {"axis": 1}),
    ],
}
GROUPED = {
    "a sum of three": "Residual([ReLU()], shortcut=Sequential([Affine(3, bias=False), Residual([Tanh()])]))",
    "one beside what comes of it": "Concat([[ReLU()], [Affine(3, bias=False), Concat([[], [Tanh()]])]])",
    "all so far beside what comes of it": "Concat([[], [Affine(3, bias=False)]]), Concat([[], [Tanh()]])",
}


@pytest.mark.parametrize("what", SHARED)
def test_inputs_that_share_a_part_are_grouped_so_that_its_parameters_are_there_once(what, tmp_path):
    W = np.random.default_rng(0).standard_normal((3, 3)).astype(np.float32)
    columns = {"a sum of three": 3, "one beside what comes of it": 9}.get(what, 12)
    path = write(tmp_path / "net.onnx", SHARED[what], ("N", 3), ("N", columns), W=W)
    net = cl.from_onnx(path)
    assert repr(net) == f"Sequential([{GROUPED[what]}])"
    assert net.flat_params.size == 9
    x = np.random.default_rng(1).standard_normal((2, 3)).astype(np.float32)
    (y,) = onnx.reference.ReferenceEvaluator(onnx.load(path)).run(["y"], {"x": x})
    np.testing.assert_allclose(net.predict(x), y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("times", [60, 500])
def test_a_sum_of_what_comes_of_each_other(times, tmp_path):
    """tanh(x) + c_1 + c_2 + ..., each c computed from the one before, and so a branch in the one before."""
    nodes = [("Tanh", "x", "s0", {}), ("Identity", "x", "c0", {})]
    for i in range(times):
        nodes += [("Relu", f"c{i}", f"c{i + 1}", {}), ("Add", f"s{i} c{i + 1}", f"s{i + 1}", {})]
    path = write(tmp_path / "net.onnx", [*nodes, ("Relu", f"s{times}", "y", {})], ("N", 3), ("N", 3))
    if times > 64:
        with pytest.raises(ValueError, match="nested more than 64 deep"):
            cl.from_onnx(path)
    else:
        np.testing.assert_allclose(cl.from_onnx(path).predict([[0, 1, 2]]), [[0, 60 + np.tanh(1), 120 + np.tanh(2)]])


def test_one_number_for_several_is_one_parameter(tmp_path):
    nodes = [
        *[("Flatten", "x", "a", {}), ("LayerNormalization", "a g b", "n", {}), ("Reshape", "n to", "c", {})],
        ("Mul", "c s", "y", {}),
    ]
    arrays = {"g": np.ones(12, np.float32), "b": np.zeros(12, np.float32), "to": np.array([0, 2, 3, 2])}
    path = write(tmp_path / "net.onnx", nodes, ("N", 2, 3, 2), ("N", 2, 3, 2), s=np.float32([[[2]], [[3]]]), **arrays)
    net = cl.from_onnx(path)
    assert repr(net) == "Sequential([Flatten(), LayerNorm(), Reshape((3, 2, 2)), Scale(bias=False)])"
    assert net.params["3.gamma"].tolist() == [2, 3]
    x = np.random.default_rng(0).standard_normal((4, 3, 2, 2)).astype(np.float32)
    (y,) = onnx.reference.ReferenceEvaluator(onnx.load(path)).run(["y"], {"x": np.moveaxis(x, -1, 1)})
    np.testing.assert_allclose(net.predict(x), np.moveaxis(y, 1, -1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("op", ["Celu", "Selu"])
@pytest.mark.parametrize("attributes", [{}, {"alpha": 0.7}])
def test_kinds_of_elu(op, attributes, tmp_path):
    path = write(tmp_path / "net.onnx", [(op, "x", "y", attributes)], ("N", 5), ("N", 5))
    x = np.float32([[-9, -0.5, 0, 0.25, 3]])
    (y,) = onnx.reference.ReferenceEvaluator(onnx.load(path)).run(["y"], {"x": x})
    np.testing.assert_allclose(cl.from_onnx(path).predict(x), y, rtol=1e-5)


# What is refused


def test_all_that_stands_in_the_way_is_named(tmp_path):
    nodes = [
        *[("LSTM", "x W W", "a", {}), ("Conv", "x W", "b", {"auto_pad": "SAME"}), ("Relu", "b", "c", {})],
        ("TopK", "c", "y", {}),
    ]
    path = write(tmp_path / "net.onnx", nodes, ("N", 3, 4, 4), ("N", 2, 4, 4), W=np.zeros((2, 3, 1, 1), np.float32))
    with pytest.raises(ValueError, match="cannot become a net of layers") as error:
        cl.from_onnx(path)
    assert re.findall(r"\n  (.*?):", str(error.value)) == ["LSTM 0 (LSTM)", "Conv 1 (Conv, auto_pad)", "TopK 3 (TopK)"]


def test_parameters_that_no_nesting_holds_once(tmp_path):
    nodes = [
        *[("MatMul", "x W", "a", {}), ("Tanh", "x", "b", {}), ("Add", "a b", "c", {})],
        *[("Sigmoid", "c", "d", {}), ("Mul", "d a", "y", {})],
    ]
    path = write(tmp_path / "net.onnx", nodes, ("N", 3), ("N", 3), W=np.eye(3, dtype=np.float32))
    with pytest.raises(ValueError, match="'MatMul 0' gives is read by branches that meet at different places"):
        cl.from_onnx(path)


def test_damaged_files(tmp_path):
    path = tmp_path / "net.onnx"
    cl.to_onnx(cl.models.digits_cnn(rng=0), path)
    whole = path.read_bytes()
    for damaged in (b"", b"no file of ONNX", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(cl.DataError, match=r"net\.onnx is no ONNX file, or damaged"):
            cl.from_onnx(path)
    model = onnx.load_from_string(whole)
    model.graph.initializer[2].dims[0] = 10**9
    path.write_bytes(model.SerializeToString())
    with pytest.raises(cl.DataError, match="bytes; it has"):
        cl.from_onnx(path)


def test_arrays_outside_of_the_folder_are_not_read(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(24))
    (tmp_path / "in").mkdir()
    path = write(tmp_path / "in" / "net.onnx", [("Add", "x c", "y", {})], ("N", 6), ("N", 6), c=np.zeros(6, np.float32))
    model = onnx.load(path)
    (tensor,) = model.graph.initializer
    tensor.ClearField("raw_data")
    tensor.data_location = tensor.EXTERNAL
    entry = tensor.external_data.add(key="location", value="../secret")
    for place in ("../secret", str(tmp_path / "secret")):
        entry.value = place
        path.write_bytes(model.SerializeToString())
        with pytest.raises(cl.DataError, match="not in the folder of the file"):
            cl.from_onnx(path)
    (tmp_path / "in" / "beside").write_bytes(np.arange(6, dtype="<f4").tobytes())
    entry.value = "beside"
    path.write_bytes(model.SerializeToString())
    assert cl.from_onnx(path).predict(np.zeros((1, 6))).tolist() == [[0, 1, 2, 3, 4, 5]]


def test_open_sizes_must_be_said(tmp_path):
    nodes = [("GlobalAveragePool", "x", "a", {}), ("Flatten", "a", "y", {})]
    path = write(tmp_path / "net.onnx", nodes, ("N", 3, "H", "W"), ("N", 3))
    with pytest.raises(ValueError, match=r"leaves sizes open, \(\?, \?, 3\): say input_shape="):
        cl.from_onnx(path)
    assert cl.from_onnx(path, input_shape=(6, 5, 3)).predict(np.ones((2, 6, 5, 3))).tolist() == [[1] * 3] * 2
    with pytest.raises(ValueError, match=r"takes samples of \(\?, \?, 3\); input_shape is \(6, 5, 1\)"):
        cl.from_onnx(path, input_shape=(6, 5, 1))

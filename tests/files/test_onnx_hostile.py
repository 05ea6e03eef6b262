"""ONNX files that are damaged, senseless or made to do harm: an error that helps, in little time and memory."""

import os
import random
import sys
import tracemalloc

import numpy as np
import onnx
import onnx.helper as make
import pytest

import cnnlayers as cl
from tests.files.onnx_files import trained

f32 = np.float32
IMAGES = ("N", 3, 4, 4)
SCALE = np.ones(3, f32)


def model_of(nodes, x=IMAGES, y=IMAGES, opset=17, **arrays):
    """A model of these nodes: (operator, inputs, outputs, attributes); x and y are shapes."""
    made = [make.make_node(op, ins.split(), outs.split(), **attributes) for op, ins, outs, attributes in nodes]
    ports = [[make.make_tensor_value_info(name, 1, shape)] for name, shape in (("x", x), ("y", y))]
    constants = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    graph = make.make_graph(made, "graph", *ports, constants)
    return make.make_model(graph, opset_imports=[make.make_opsetid("", opset)], ir_version=8)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.onnx"


def refused(path, model=None, **options):
    """The message of the error that a file brings about, which names the file."""
    if model is not None:
        path.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=r"^from_onnx: .*net\.onnx") as error:
        cl.from_onnx(path, **options)
    return str(error.value)


def read_or_refused(path, data):
    """Read what may be damaged: a net, or an error that names the file, and never another error."""
    path.write_bytes(data)
    try:
        cl.from_onnx(path)
    except ValueError as error:
        assert path.name in str(error)  # noqa: PT017


def chain(op, count, start="x", end="y"):
    """Nodes one after the other."""
    names = [start, *(f"{op}{i}" for i in range(1, count)), end]
    return [(op, names[i], names[i + 1], {}) for i in range(count)]


def small(path):
    """The model of a file with most kinds of layers."""
    branches = [cl.Residual([cl.Conv(2, 1)]), cl.Concat([cl.MaxPool(2), [cl.AvgPool(2), cl.PReLU()]])]
    front = [cl.Normalize(3, 2), cl.Conv(2, 3, padding="same"), cl.BatchNorm(), cl.GELU()]
    net = cl.Sequential([*front, *branches, cl.Flatten(), cl.LayerNorm(), cl.Affine(2), cl.Softmax()], (4, 4, 2), rng=0)
    cl.to_onnx(trained(net), path)
    return onnx.load(path)


def in_fields(model):
    """The same with arrays as lists of numbers, as other programs write them."""
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        field = {np.dtype("f4"): tensor.float_data, np.dtype("i8"): tensor.int64_data}[array.dtype]
        tensor.ClearField("raw_data")
        field.extend(array.reshape(-1).tolist())
    return model


# Damage


@pytest.mark.parametrize("form", [lambda model: model, in_fields])
def test_cut_off_anywhere(form, path):
    whole = form(small(path)).SerializeToString()
    for length in range(0, len(whole), 3):
        read_or_refused(path, whole[:length])


@pytest.mark.parametrize("form", [lambda model: model, in_fields])
@pytest.mark.parametrize("seed", range(3))
def test_bits_turned(form, seed, path):
    whole = form(small(path)).SerializeToString()
    rng = random.Random(seed)
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(rng.choice([1, 1, 2, 4])):
            damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        read_or_refused(path, bytes(damaged))


def _set(path, value):
    """A function that puts a value into a model: "graph.node.0.op_type"."""

    def edit(model):
        *names, last = path.split(".")
        place = model
        for name in names:
            place = place[int(name)] if name.isdigit() else getattr(place, name)
        if isinstance(value, list):
            getattr(place, last)[:] = value
        else:
            setattr(place, last, value)

    return edit


NAMED = [_set("graph.node.0.op_type", "Foo"), _set("graph.node.0.name", "A\n\x1b[31m" + "B" * 1000)]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            _set("graph.initializer.0.dims", [2**40, 2]),
            r"'c', float32 of shape \(1099511627776, 2\), needs \d+ bytes; it",
        ),
        (_set("graph.initializer.0.dims", [2**62, 2**62, 2**62]), r"needs \d{50,} bytes; it has 12"),
        (_set("graph.initializer.0.dims", [-3]), r"damaged: the array 'c' has the shape \(-3,\)"),
        (_set("graph.initializer.0.dims", [1] * 1000), r"damaged: the array 'c' has the shape \(1, 1"),
        (_set("graph.initializer.0.data_type", 77), "Add 0 .*the array 'c' has the dtype number 77; a net here holds"),
        (_set("graph.initializer.0.data_type", 8), "Add 0 .*the array 'c' has the dtype STRING; a net here holds"),
        (lambda model: model.graph.initializer.append(model.graph.initializer[0]), "has two arrays 'c'"),
        (_set("graph.input.0.type.tensor_type.shape.dim.1.dim_value", -3), r"'x' has the shape \[None, -3, 4, 4\]"),
        (_set("graph.input.0.type.tensor_type.elem_type", 77), "the input 'x' of .* is number 77"),
        (
            _set("graph.output.0.type.tensor_type.elem_type", 9),
            "gives float32 or float64; the output 'y' of .* is BOOL",
        ),
        (lambda model: model.graph.input[0].ClearField("type"), "the input 'x' of .* is of no dtype"),
        (lambda model: model.graph.ClearField("output"), "damaged: it has no graph with an output"),
        (lambda model: model.graph.output.append(model.graph.output[0]), r"one output; .* has 2: y, y \(onnx.utils"),
        (lambda model: model.ClearField("opset_import"), "is of opset 0; onnx .* knows 7 to"),
        (_set("opset_import.0.version", 2**60), "is of opset 1152921504606846976"),
        (lambda model: model.graph.sparse_initializer.add(), "holds sparse arrays"),
        (_set("graph.node.0.input", ["x"]), r"Add 0 \(Add\): it needs 2 inputs; it has 1"),
        (_set("graph.node.0.input", ["x", "nowhere"]), r"Add 0 \(Add\): it reads 'nowhere', which nothing before it"),
        (_set("graph.node.0.output", ["c"]), r"Add 0 \(Add\): it gives 'c', which is there already"),
        (_set("graph.node.0.output", ["y", "more"]), r"Add 0 \(Add\): it gives 1 outputs at most; it has 2"),
        (_set("graph.node.0.domain", "com.there"), r"com\.there\.Add 0 \(com\.there\.Add\): there is no layer"),
        (lambda model: [edit(model) for edit in NAMED], r"\n  A\\n\\x1b\[31mBBB.{280,300} \.\.\.$"),
        (_set("graph.output.0.name", "c"), "the output 'c' does not depend on the input 'x'|would enlarge"),
    ],
)
def test_files_that_make_no_sense(edit, message, path):
    model = model_of([("Add", "x c", "y", {})], c=np.ones((3, 1, 1), f32))
    edit(model)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=message) as error:
        cl.from_onnx(path)
    assert "net.onnx" in str(error.value)


def test_names_that_are_no_text(path):
    data = model_of([("Relu", "x", "y", {})]).SerializeToString()
    for old in (b"Relu", b"\x01x", b"\x01y"):
        read_or_refused(path, data.replace(old, old[:-1] + b"\xff"))


def test_the_graph_of_a_file_in_no_order(path):
    unsorted = model_of([("Relu", "z", "y", {}), ("Tanh", "x", "z", {})])
    assert "Relu 0 (Relu): it reads 'z', which nothing before it gives" in refused(path, unsorted)
    circle = model_of([("Relu", "z", "y", {}), ("Tanh", "y", "z", {})])
    assert "Relu 0 (Relu): it reads 'z', which nothing before it gives" in refused(path, circle)
    twice = model_of([("Relu", "x", "z", {}), ("Tanh", "x", "z", {}), ("Tanh", "z", "y", {})])
    twice.graph.node[1].output.append("y")
    assert "which is there already" in refused(path, twice)


def test_what_is_fine(path):
    old = model_of([("Add", "x c", "y", {})], c=np.ones((3, 1, 1), f32))  # an array is also an input with a default
    old.graph.input.append(make.make_tensor_value_info("c", 1, (3, 1, 1)))
    unused = model_of([("Relu", "x", "y", {}), ("LSTM", "x c c", "z", {})], c=np.ones(3, np.float16))
    same = model_of([("Relu", "x", "y", {})])
    same.graph.output[0].name = "x"
    for model, wanted in ((old, "Normalize((-1.0, -1.0, -1.0), 1.0)"), (unused, "ReLU()"), (same, "Sequential([])")):
        path.write_bytes(model.SerializeToString())
        assert wanted in repr(cl.from_onnx(path))


# Attributes

KERNEL = {"W": np.zeros((2, 3, 3, 3), f32)}
MOMENTS = dict.fromkeys("abcd", SCALE)
NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "arrays", "message"),
    [
        ("Conv", "x W", {"group": 0}, KERNEL, "group): groups must be 1 or more; got 0"),
        ("Conv", "x W", {"group": 2}, KERNEL, "do not go with 3 channels in 2 groups"),
        ("Conv", "x W", {"strides": [0, 1]}, KERNEL, "strides): stride must be 1 or more; got 0"),
        ("Conv", "x W", {"strides": "two"}, KERNEL, "strides): it must be of the type INTS; it is of STRING"),
        (
            "Conv",
            "x W",
            {"strides": [1, 1, 1]},
            KERNEL,
            "strides): it needs a number for each of 2 axes; got [1, 1, 1]",
        ),
        ("Conv", "x W", {"dilations": [-(2**63), 1]}, KERNEL, "dilations): dilation must be 1 or more; got -9223"),
        ("Conv", "x W", {"kernel_shape": [5, 5]}, KERNEL, "kernel_shape): a kernel of [5, 5] does not go with weights"),
        ("Conv", "x W", {"pads": [-1, 0, 0, 0]}, KERNEL, "pads): padding must be two sizes for each axis, none below"),
        ("Conv", "x W", {"pads": [2**62] * 4}, KERNEL, "Conv 0 (Conv): Conv(2, 3): a padded input of shape"),
        ("Conv", "W x", {}, KERNEL, "its first input 'W' is a constant, and another one depends on the net's input"),
        (
            "Conv",
            "x W W",
            {},
            {"W": np.zeros((2, 3, 1, 1), f32)},
            "a bias of shape (2, 3, 1, 1) does not go with 2",
        ),
        (
            "ConvTranspose",
            "x W",
            {"group": 2**40},
            {"W": np.zeros((2, 3, 1, 1), f32)},
            "do not go with 3 channels in 1099",
        ),
        ("ConvTranspose", "x W", {"group": 2**40}, {"W": np.zeros((3, 1, 1, 1), f32)}, "group"),
        ("ConvTranspose", "x W", {"output_shape": [4]}, KERNEL, "output_shape): it needs a size for each of 2 axes"),
        ("MaxPool", "x", {"kernel_shape": [-1, 2]}, {}, "kernel_shape): size must be 1 or more; got -1"),
        ("MaxPool", "x", {"kernel_shape": [2**62, 2]}, {}, "does not fit"),
        ("MaxPool", "x", {}, {}, "kernel_shape): it is left out, and must be there"),
        ("MaxPool", "x", {"kernel_shape": [2, 2], "slope": 1.0}, {}, "slope): opset 17 has no such attribute"),
        ("InstanceNormalization", "x a a", {"epsilon": NAN}, MOMENTS, "epsilon): eps must be above 0; got nan"),
        ("BatchNormalization", "x a b c d", {"epsilon": -1.0}, MOMENTS, "epsilon): eps must be above 0; got -1.0"),
        ("BatchNormalization", "x a b c d", {"momentum": NAN}, MOMENTS, "momentum): momentum must be at least 0 and"),
        ("BatchNormalization", "x a b c", {}, MOMENTS, "BatchNormalization): it needs 5 inputs; it has 4"),
        (
            "BatchNormalization",
            "x a b c c",
            {},
            MOMENTS | {"c": np.ones(4, f32)},
            "running_mean of shape (4,) does not",
        ),
        ("Elu", "x", {"alpha": INF}, {}, "alpha): alpha must be finite; got inf"),
        ("Softmax", "x", {"axis": 7}, {}, "axis): there is no axis 7 in 4 axes"),
        ("Softmax", "x", {"axis": -(2**63)}, {}, "axis): there is no axis -9223372036854775808 in 4 axes"),
        ("ReduceMean", "x", {"axes": [1, 9]}, {}, "axes): there is no axis 9 in 4 axes"),
        ("Transpose", "x", {"perm": [0, 0, 1, 2]}, {}, "perm): [0, 0, 1, 2] is no order of 4 axes"),
        ("Cast", "x", {"to": 10}, {}, "to): a net computes in float32 or float64, not in FLOAT16"),
        ("Reshape", "x s", {}, {"s": np.int64([-1, -1])}, "no axis is that of the batch"),
        ("Reshape", "x s", {}, {"s": np.int64([0, 2**62])}, "has no shape"),
        ("Pad", "x s", {}, {"s": np.int64([2**62] * 8)}, "it changes how many samples there are"),
        ("Pad", "x s", {}, {"s": np.int64([0, 0, 2**60, 0] * 2)}, "would need more than 2**47 bytes"),
        ("Resize", "x e s", {}, {"e": SCALE[:0], "s": f32([1, 1, 1e12, 1])}, "no more than 16777216 are made"),
        ("Upsample", "x s", {}, {"s": f32([1, 1, 2, 2])}, "opset 17 has no such operator"),
    ],
)
def test_attributes_that_make_no_sense(op, inputs, attributes, arrays, message, path):
    model = model_of([(op, inputs, "y", attributes)], **arrays)
    text = refused(path, model)
    assert message in text
    assert f"\n  {op} 0 (" in text
    assert text.count("\n") == 1


def test_weights_that_are_not_finite(path):
    arrays = {"W": np.zeros((2, 3, 1, 1), f32), "b": f32([0, np.nan]), "c": f32([1, np.inf])}
    text = refused(
        path, model_of([("Conv", "x W b", "z", {}), ("Conv", "z V c", "y", {})], V=np.eye(2)[..., None, None], **arrays)
    )
    assert "Conv 0 (a layer Conv): it needs an array b of finite numbers in float32; it has nan at (1,)" in text
    assert "Conv 1 (a layer Conv): it needs an array b of finite numbers in float32; it has inf at (1,)" in text


# Everything that stands in the way


def test_also_what_is_behind_what_cannot_be_read(path):
    nodes = [
        *[("Exp", "x", "a", {}), ("LSTM", "a W W", "b", {}), ("MaxPool", "a", "c d", {"kernel_shape": [1, 1]})],
        *[("Add", "c d", "e", {}), ("Conv", "e W", "f", {"strides": [0, 1]}), ("Foo", "f", "g", {})],
        *[("Softmax", "a", "h", {"axis": 9}), ("Mish", "h", "i", {}), ("Concat", "g i b", "y", {"axis": 1})],
    ]
    text = refused(path, model_of(nodes, **KERNEL))
    assert [line.split(": ")[0].strip() for line in text.split("\n")[1:]] == [
        *("Exp 0 (Exp)", "LSTM 1 (LSTM)", "MaxPool 2 (MaxPool)", "Conv 4 (Conv, strides)", "Foo 5 (Foo)"),
        *("Softmax 6 (Softmax, axis)", "Mish 7 (Mish)"),
        "(what is behind these, 1 of the nodes, could not be looked at)",
    ]


def test_also_where_the_file_leaves_sizes_open(path):
    nodes = [("Mish", "x", "a", {}), ("Relu", "a", "b", {}), ("Elu", "b", "y", {"alpha": INF})]
    text = refused(path, model_of(nodes, x=("N", 3, "H", "W")), input_shape=(6, 5, 3))
    assert text.endswith("no layer for this operator\n  (what is behind these, 2 of the nodes, could not be looked at)")
    nodes[0] = ("Softmax", "x", "a", {"axis": 0})
    text = refused(path, model_of(nodes, x=("N", 3, "H", "W"), y=("N", 3, "H", "W")), input_shape=(6, 5, 3))
    assert "Softmax 0 (Softmax, axis)" in text
    assert "Elu 2 (Elu, alpha)" in text


def test_arrays_of_other_dtypes_stand_in_the_way_of_those_that_read_them(path):
    halves = {name: np.zeros((3, 3, 1, 1), np.float16) for name in "VW"}
    text = refused(path, model_of([("Conv", "x V", "z", {}), ("Conv", "z W", "y", {})], **halves))
    for line in (
        "Conv 0 (Conv): the array 'V' has the dtype FLOAT16",
        "Conv 1 (Conv): the array 'W' has the dtype FLOAT16",
    ):
        assert line in text
    constants = [("Constant", "", "c", {"value_string": "a"}), ("Add", "x c", "y", {})]
    assert "Constant 0 (Constant): it holds no numbers" in refused(path, model_of(constants))


def test_quantised_nets(path):
    arrays = {"s": f32(1), "z": np.uint8(0), "w": np.zeros((3, 3, 1, 1), np.uint8)}
    nodes = [("QuantizeLinear", "x s z", "q", {}), ("QLinearConv", "q s z w s z s z", "r", {})]
    text = refused(path, model_of([*nodes, ("DequantizeLinear", "r s z", "y", {})], **arrays))
    assert [line.split()[0] for line in text.split("\n")[1:]] == ["QuantizeLinear", "QLinearConv", "DequantizeLinear"]


def test_long_lists_are_cut(path):
    text = refused(path, model_of(chain("Mish", 150)))
    assert text.count("\n") == 101
    assert text.endswith("\n  and 50 more")


@pytest.mark.parametrize("op", ["If", "Loop", "Scan"])
def test_graphs_within_graphs(op, path):
    model = model_of([(op, "x", "y", {})])
    node = model.graph.node[0]
    for _ in range(20):
        inner = node.attribute.add(name="body", type=onnx.AttributeProto.GRAPH).g
        node = inner.node.add(op_type=op, input=["x"], output=["y"])
    assert f"{op} 0 ({op}): there is no layer for this operator" in refused(path, model)


# Time and memory


def peak(path, nodes, **options):
    """How many bytes are in use at most while a file is read, and the message of the error, if there is one."""
    path.write_bytes(model_of(nodes, **options).SerializeToString())
    tracemalloc.start()
    try:
        cl.from_onnx(path)
        text = ""
    except ValueError as error:
        text = str(error)
    finally:
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return used, text


END = [("ReduceProd", "d", "p", {"keepdims": 0}), ("Add", "x p", "y", {})]
ROW, LONG = np.zeros((1, 100_000), f32), np.zeros((100_000, 1), f32)


@pytest.mark.parametrize(
    ("nodes", "arrays"),
    [
        ([("ConstantOfShape", "s", "d", {})], {"s": np.int64([2**40])}),
        ([("ConstantOfShape", "s", "d", {})], {"s": np.int64([2**62, 2**62])}),
        ([("Expand", "c s", "d", {})], {"c": ROW, "s": np.int64([100_000, 1])}),
        ([("Mul", "c s", "d", {})], {"c": ROW, "s": LONG}),
        ([("Gather", "c s", "d", {})], {"c": ROW, "s": np.zeros(100_000, np.int64)}),
        ([("Tile", "c s", "d", {})], {"c": ROW, "s": np.int64([2**40, 1])}),
        ([("Range", "c s s", "d", {})], {"c": np.int64(0), "s": np.int64(2**60)}),
        (
            [
                ("Concat", f"{'c' if i == 0 else f'c{i - 1}'} " * 2, f"c{i}" if i < 59 else "d", {"axis": 0})
                for i in range(60)
            ],
            {"c": LONG},
        ),
    ],
)
def test_constants_that_would_fill_the_memory(nodes, arrays, path):
    used, text = peak(path, [*nodes, *END], **arrays)
    assert "stands in the way" in text
    assert "Unable to allocate" not in text
    assert used < 400e6  # the largest that is made takes 128 MB


def test_many_constants_that_would_fill_it_together(path):
    nodes = [("ConstantOfShape", "s", f"c{i}", {}) for i in range(500)]
    names = " ".join(f"c{i}" for i in range(500))
    used, text = peak(path, [*nodes, ("Concat", names, "d", {"axis": 0}), *END], s=np.int64([2**22]))
    assert text.endswith(
        "ConstantOfShape 4 (ConstantOfShape): all that is computed before it would take far more memory than the file\n"
        "  (what is behind these, 498 of the nodes, could not be looked at)"
    )
    assert used < 200e6


@pytest.mark.parametrize("size", [2**24, 2**40, 2**62])
@pytest.mark.parametrize(
    ("op", "inputs", "attributes"),
    [
        *[("Softmax", "x", {"axis": 2}), ("LayerNormalization", "x g", {"axis": 2}), ("Mul", "x c", {})],
        *[("InstanceNormalization", "x c c", {}), ("GlobalAveragePool", "x", {}), ("PRelu", "x s", {})],
        *[("MaxPool", "x", {"kernel_shape": [1, 1]}), ("Resize", "x e f", {}), ("ReduceMean", "x", {"axes": [1]})],
    ],
)
def test_images_of_absurd_size(size, op, inputs, attributes, path):
    arrays = {"g": SCALE[:1], "c": SCALE, "s": SCALE.reshape(3, 1, 1), "e": SCALE[:0], "f": f32([1, 1, 2, 2])}
    nodes = [("Relu", "x", "h", {}), (op, inputs, "z", attributes), ("Tanh", "z", "y", {})]
    used, text = peak(path, nodes, x=("N", 3, size, 2), **arrays)
    assert "Unable to allocate" not in text
    assert used < 900e6


def test_long_chains_take_time_in_proportion(path):
    net_of = []
    for count in (300, 3000):
        path.write_bytes(model_of(chain("Tanh", count)).SerializeToString())
        net_of.append(len(cl.from_onnx(path).layers))
    assert net_of == [300, 3000]


def test_many_branches_one_after_the_other(path):
    nodes, y = [], "x"
    for i in range(300):
        nodes += [("Tanh", y, f"t{i}", {}), ("Add", f"t{i} {y}", f"a{i}", {})]
        y = f"a{i}"
    path.write_bytes(model_of([*nodes, ("Relu", y, "y", {})]).SerializeToString())
    assert repr(cl.from_onnx(path).layers[298:]) == "(Residual([Tanh()]), Residual([Tanh()]), ReLU())"


def test_branches_within_branches_without_end(path):
    nodes = chain("Tanh", 500, end="Tanh500")
    y = "Tanh500"
    for i in range(499, 0, -1):
        nodes += [("Relu", y, f"r{i}", {}), ("Mul", f"r{i} Tanh{i}", f"m{i}", {})]
        y = f"m{i}"
    assert "its branches are nested more than 64 deep" in refused(path, model_of([*nodes, ("Relu", y, "y", {})]))


@pytest.mark.parametrize("op", ["Add", "Mul", "Concat"])
def test_copies_without_end(op, path):
    nodes = [("Tanh", "x", "a0", {}), ("Tanh", "a0", "a1", {})]  # each is read by the next two, and so on
    for i in range(2, 50):
        nodes += [
            ("Relu", f"a{i - 1}", f"r{i}", {}),
            (op, f"r{i} a{i - 2}", f"a{i}", {"axis": 1} if op == "Concat" else {}),
        ]
    text = refused(path, model_of([*nodes, ("Relu", "a49", "y", {})]))
    assert "nesting them would take more than 1000 layers" in text or "nested more than 64 deep" in text


# Arrays in files of their own


@pytest.fixture
def beside(path):
    """A model that adds 6 numbers, to be found in a file in the folder of the model: `place(**entries)` says where."""
    (path.parent / "there").write_bytes(np.arange(6, dtype="<f4").tobytes())
    model = model_of([("Add", "x c", "y", {})], x=("N", 6), y=("N", 6), c=np.zeros(6, f32))
    (tensor,) = model.graph.initializer
    tensor.ClearField("raw_data")
    tensor.data_location = tensor.EXTERNAL

    def place(**entries):
        tensor.ClearField("external_data")
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=str(value))
        return model

    return place


def test_where_an_array_is_said_to_be(beside, path):
    folder = path.parent
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "circle").symlink_to("circle")
    (folder / "out").symlink_to("/proc/self/cmdline")
    (folder / "zero").symlink_to("/dev/zero")
    for entries, message in [
        ({}, "does not say in which file the array 'c' is"),
        ({"location": "../there"}, "is in '../there', which is not in the folder of the file"),
        ({"location": folder / "there"}, "which is not in the folder of the file"),
        ({"location": "out"}, "is in 'out', which is not in the folder of the file"),
        ({"location": "zero"}, "is in 'zero', which is not in the folder of the file"),
        ({"location": "folder/../../there"}, "which is not in the folder of the file"),
        *[
            ({"location": name}, f"is in the file {name!r}, which")
            for name in ("folder", "pipe", "circle", "gone", "a" * 5000)
        ],
        ({"location": "th\0ere"}, "is in the file 'th\\x00ere', which is not in the folder of the file"),
        (
            {"location": "there", "offset": 4},
            "needs 24 bytes, and is said to be the 24 from 4 on in 'there', a file of 24",
        ),
        ({"location": "there", "offset": -4}, "from -4 on"),
        ({"location": "there", "offset": 2**70}, "from 1180591620717411303424 on"),
        ({"location": "there", "length": 2**62}, "is said to be the 4611686018427387904 from 0 on"),
        ({"location": "there", "length": "all"}, "the place of the array 'c' in 'there' is no number"),
        ({"location": "there", "offset": "9" * 5000}, "the place of the array 'c' in 'there' is no number"),
    ]:
        assert message in refused(path, beside(**entries)), entries
    path.write_bytes(beside(location="folder/../there", offset=0, length=24).SerializeToString())
    assert cl.from_onnx(path).predict(np.zeros((1, 6))).tolist() == [[0, 1, 2, 3, 4, 5]]


def test_bits_turned_with_arrays_beside(beside, path):
    whole = beside(location="there", offset=0, length=24).SerializeToString()
    for i in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[i // 8] ^= 1 << i % 8
        read_or_refused(path, bytes(damaged))


# What is installed


def test_without_onnx(path, monkeypatch):
    small(path)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r'from_onnx needs onnx: pip install "cnnlayers\[onnx\]"'):
        cl.from_onnx(path)

"""Operators of ONNX files that take a part of an array, deal it out otherwise, or reduce it."""

import numpy as np
import onnx
import onnx.helper as make
import pytest

import cnnlayers as cl

LAST = np.iinfo(np.int64).max


def write(path, nodes, arrays, opset):
    """A file of nodes: (operator, inputs, outputs, attributes), from x (N, 4, 5, 6) to y."""
    made = [make.make_node(op, ins.split(), outs.split(), **attributes) for op, ins, outs, attributes in nodes]
    constants = [onnx.numpy_helper.from_array(np.array(array, np.int64), name) for name, array in arrays.items()]
    ports = [make.make_tensor_value_info("x", 1, ["N", 4, 5, 6])], [make.make_tensor_value_info("y", 1, None)]
    graph = make.make_graph(made, "graph", *ports, constants)
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", opset)], ir_version=8), path)
    return path


def read(tmp_path, nodes, opset=17, **arrays):
    """The net of a file, which gives what ONNX's evaluator does, if its output has four axes with channels last."""
    path = write(tmp_path / "net.onnx", nodes, arrays, opset)
    net = cl.from_onnx(path)
    x = np.random.default_rng(0).standard_normal((3, 4, 5, 6)).astype(np.float32)
    (y,) = onnx.reference.ReferenceEvaluator(onnx.load(path)).run(["y"], {"x": x})
    expected = np.moveaxis(y, 1, -1) if y.ndim > 2 else y
    np.testing.assert_allclose(net.predict(np.moveaxis(x, 1, -1)), expected, rtol=1e-5, atol=1e-6)
    return net


@pytest.mark.parametrize(
    ("arrays", "layers"),
    [
        (([1], [3], [1]), "Slice(start=1, stop=3)"),
        (([-3], [LAST], [-3], [2]), "Slice(start=1, step=2)"),
        (([LAST], [-LAST], [1], [-1]), "Slice(step=-1)"),
        (([3], [0], [1], [-2]), "Slice(step=-2)"),
        (([2], [1], [1], [-1]), "Slice(start=2, stop=1, step=-1)"),
        (([1, 0], [4, 6], [2, 3]), "Slice(start=1, stop=4, axis=-3)"),
        (([0, 1, 2], [LAST, 2, 99], [0, 3, 2]), "Slice(start=1, stop=2, axis=-2), Slice(start=2, axis=-3)"),
        (([0, 1], [LAST, 3]), "Slice(start=1, stop=3)"),
        (([0], [LAST], [3]), ""),
    ],
)
def test_slice(arrays, layers, tmp_path):
    names = ("starts", "ends", "axes", "steps")[: len(arrays)]
    net = read(tmp_path, [("Slice", f"x {' '.join(names)}", "y", {})], **dict(zip(names, arrays, strict=True)))
    assert repr(net) == f"Sequential([{layers}])"


def test_slice_of_old_opsets(tmp_path):
    net = read(tmp_path, [("Slice", "x", "y", {"starts": [1], "ends": [-1], "axes": [3]})], opset=9)
    assert repr(net) == "Sequential([Slice(start=1, stop=5, axis=-2)])"


def test_a_part_of_what_was_flattened(tmp_path):
    """A row holds the channels one after the other, (c, h, w); here it lies as (h, w, c)."""
    nodes = [("GlobalMaxPool", "x", "g", {}), ("Add", "g x", "a", {})]  # which want channels last
    nodes += [("Flatten", "a", "f", {}), ("Slice", "f starts ends axes", "y", {})]
    net = read(tmp_path, nodes, starts=[7], ends=[100], axes=[1])
    assert net.output_shape(net.input_shape) == (93,)


@pytest.mark.parametrize(
    ("opset", "attributes", "sizes"),
    [(11, {}, None), (11, {"split": [1, 3]}, None), (17, {}, None), (17, {}, [3, 1]), (18, {"num_outputs": 2}, None)],
)
def test_split(opset, attributes, sizes, tmp_path):
    arrays = {} if sizes is None else {"sizes": sizes}
    ins = " ".join(["x", *arrays])
    nodes = [
        *[("Split", ins, "a b", {"axis": 1} | attributes), ("Relu", "a", "c", {}), ("Tanh", "b", "d", {})],
        ("Concat", "d c", "y", {"axis": 1}),
    ]
    net = read(tmp_path, nodes, opset, **arrays)
    first = (sizes or attributes.get("split", [2]))[0]
    assert repr(net) == f"Sequential([Concat([[Slice(start={first}), Tanh()], [Slice(stop={first}), ReLU()]])])"


def test_split_in_uneven_parts(tmp_path):
    nodes = [("Split", "x", "a b c", {"axis": 2, "num_outputs": 3}), ("Concat", "c a b", "y", {"axis": 2})]
    net = read(tmp_path, nodes, opset=18)
    assert net.output_shape(net.input_shape) == (5, 6, 4)


@pytest.mark.parametrize(
    ("indices", "layers"),
    [([2, 3], "Slice(start=2)"), ([-1, 1], "Slice(step=-2)"), ([1], "Slice(start=1, stop=2)")],
)
def test_gather(indices, layers, tmp_path):
    assert layers in repr(read(tmp_path, [("Gather", "x i", "y", {"axis": 1})], i=indices))


def test_gather_of_one_place(tmp_path):
    nodes = [("Gather", "x i", "h", {"axis": 2}), ("Gather", "h j", "y", {"axis": 2})]
    net = read(tmp_path, nodes, i=-1, j=2)
    assert net.output_shape(net.input_shape) == (4,)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
@pytest.mark.parametrize("before", [[], [("Transpose", "x", "t", {"perm": [0, 1, 3, 2]})]])
def test_depth_to_space(mode, before, tmp_path):
    nodes = [*before, ("DepthToSpace", "t" if before else "x", "y", {"blocksize": 2, "mode": mode})]
    net = read(tmp_path, nodes)
    assert net.output_shape(net.input_shape) == ((12, 10, 1) if before else (10, 12, 1))


def test_space_to_depth(tmp_path):
    nodes = [("Slice", "x starts ends axes", "s", {}), ("SpaceToDepth", "s", "y", {"blocksize": 2})]
    net = read(tmp_path, nodes, starts=[1], ends=[5], axes=[2])
    assert net.output_shape(net.input_shape) == (2, 3, 16)
    back = [*nodes[:1], ("SpaceToDepth", "s", "d", {"blocksize": 2}), ("DepthToSpace", "d", "y", {"blocksize": 2})]
    assert repr(read(tmp_path, back, starts=[1], ends=[5], axes=[2])) == "Sequential([Slice(start=1, axis=-3)])"


@pytest.mark.parametrize(
    ("op", "layers"),
    [
        ("ReduceMax", "GlobalMaxPool()"),
        ("ReduceMean", "GlobalAvgPool()"),
        ("ReduceSum", f"GlobalAvgPool(), Normalize(0.0, {1 / 30})"),
    ],
)
def test_reductions(op, layers, tmp_path):
    if op == "ReduceSum":
        nodes, arrays = [(op, "x axes", "y", {"keepdims": 0})], {"axes": [-1, 2]}
    else:
        nodes, arrays = [(op, "x", "y", {"keepdims": 0, "axes": [-1, 2]})], {}
    assert repr(read(tmp_path, nodes, **arrays)) == f"Sequential([{layers}])"


def test_neg(tmp_path):
    assert repr(read(tmp_path, [("Neg", "x", "y", {})])) == "Sequential([Normalize(0.0, -1.0)])"


@pytest.mark.parametrize(
    ("node", "arrays", "message"),
    [
        (("Slice", "x starts ends axes", "y", {}), ([0], [1], [0]), "it takes some samples of a batch"),
        (("Slice", "x starts ends axes", "y", {}), ([3], [3], [1]), "it takes nothing of axis 1"),
        (("Slice", "x starts ends axes steps", "y", {}), ([0], [3], [1], [0]), "a step must not be 0"),
        (("Gather", "x starts", "y", {"axis": 0}), ([1],), "it takes some samples of a batch"),
        (("DepthToSpace", "x", "y", {"blocksize": 3}), (), "4 channels do not make blocks of 3 x 3 pixels"),
        (("SpaceToDepth", "x", "y", {"blocksize": 2}), (), "images of 5 x 6 pixels have no blocks of 2 x 2"),
        (("Gather", "x starts", "y", {"axis": 1}), ([4],), "that are not there"),
        (("Gather", "x starts", "y", {"axis": 1}), ([0] * 65,), "it takes 65 parts of axis 1"),
        (("Gather", "x starts", "y", {"axis": 1}), (np.zeros(0, int),), "it takes nothing of axis 1"),
        (("Split", "x", "y z", {"axis": 0}), (), "it takes the samples of a batch apart"),
        (("Split", "x starts", "y z", {"axis": 1}), ([1, 2],), "which are not 2 of 4 in all"),
    ],
)
def test_what_is_refused(node, arrays, message, tmp_path):
    names = ("starts", "ends", "axes", "steps")
    path = write(tmp_path / "net.onnx", [node], dict(zip(names, arrays, strict=False)), 17)
    with pytest.raises(ValueError, match=message):
        cl.from_onnx(path)

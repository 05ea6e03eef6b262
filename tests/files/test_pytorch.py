"""Weights from PyTorch and back, without PyTorch: shapes, orders and refusals, by hand and as round trips."""

import json
import re
from collections import OrderedDict

import numpy as np
import pytest
import safetensors.numpy

import cnnlayers as cl
from cnnlayers import models


def nets():
    """Nets with every kind of layer that has parameters, in each place that matters."""
    block = cl.Residual([cl.Conv(4, 3, padding=1), cl.GroupNorm(2)], shortcut=cl.Conv(4, 1))
    return {
        "lenet": models.lenet((16, 20, 3), 7, rng=0),
        "residual": cl.Sequential([block, cl.BatchNorm(), cl.GlobalAvgPool(), cl.Affine(3)], (5, 4, 2), rng=0),
        "signals": cl.Sequential([cl.Conv(3, 5), cl.Flatten(), cl.BatchNorm(), cl.Affine(2)], (9, 2), rng=0),
        "generator": cl.Sequential(
            [cl.Affine(24), cl.BatchNorm(), cl.Reshape((2, 3, 4)), cl.ConvTranspose(2, (3, 2), 2)], (5,), rng=0
        ),
        "branches": cl.Sequential([cl.Concat([[cl.Conv(2, 1)], cl.Conv(3, 3, padding=1)]), cl.LayerNorm()], (4, 4, 2)),
        "instances": cl.Sequential([cl.Conv(3, 2), cl.InstanceNorm(), cl.Flatten(), cl.Affine(2)], (4, 5, 2), rng=0),
        "gates": cl.Sequential(
            [
                cl.Multiply([[], [cl.GlobalAvgPool(), cl.Affine(3), cl.Sigmoid(), cl.Reshape((1, 1, 3))]]),
                *(cl.Flatten(), cl.Multiply([[], cl.Affine(1), cl.Affine(60)]), cl.BatchNorm(), cl.Affine(2)),
            ],
            (4, 5, 3),
            rng=0,
        ),
        "groups": cl.Sequential([cl.Conv(6, 3, groups=3), cl.ConvTranspose(4, 3, groups=2)], (5, 5, 3), rng=0),
    }


every_net = pytest.mark.parametrize("name", nets())


def shuffled(net, seed=1):
    """The net with other weights and statistics."""
    twin, rng = net.copy(), np.random.default_rng(seed)
    twin.flat_params[...] = rng.standard_normal(twin.flat_params.shape)
    twin.flat_state[...] = rng.uniform(0.5, 2, twin.flat_state.shape)
    return twin


# Round trips


@every_net
@pytest.mark.parametrize("way", ["dict", "file"])
def test_there_and_back(name, way, tmp_path):
    net = nets()[name]
    other = shuffled(net)
    arrays = cl.to_torch(other)
    if way == "file":
        safetensors.numpy.save_file(arrays, tmp_path / "net.safetensors")
        arrays = tmp_path / "net.safetensors"
    cl.from_torch(net, arrays)
    np.testing.assert_array_equal(net.flat_params, other.flat_params)
    np.testing.assert_array_equal(net.flat_state, other.flat_state)


@every_net
def test_every_number_has_one_place(name):
    net = nets()[name]
    net.flat_params[...] = np.arange(net.flat_params.size)
    arrays = [a for key, a in cl.to_torch(net).items() if "running" not in key]
    assert sorted(np.concatenate([a.ravel() for a in arrays])) == list(range(net.flat_params.size))


def test_what_comes_out_is_independent():
    net = nets()["lenet"]
    before = net.flat_params.copy()
    for array in cl.to_torch(net).values():
        array[...] = 0
    np.testing.assert_array_equal(net.flat_params, before)


def test_the_nets_dtype_stays():
    net = cl.Affine(2)
    net.build((3,), dtype=np.float32)
    cl.from_torch(net, {"weight": np.ones((2, 3)), "bias": np.arange(2)})
    assert net.flat_params.dtype == np.float32
    np.testing.assert_array_equal(net.params["b"], [0, 1])


# By hand


def test_a_convolution():
    net = cl.Sequential([cl.Conv(2, (1, 3))], input_shape=(4, 5, 2), rng=0)
    weight = np.arange(12).reshape(2, 2, 1, 3)  # filter, channel, row, column
    cl.from_torch(net, {"conv.weight": weight, "conv.bias": [5, 6]})
    for f, c, kw in np.ndindex(2, 2, 3):
        assert net.params["0.W"][0, kw, c, f] == weight[f, c, 0, kw]
    assert {key: a.shape for key, a in cl.to_torch(net).items()} == {"0.weight": (2, 2, 1, 3), "0.bias": (2,)}


def test_affine_after_flatten():
    """The scores are the same if the image is, in either order."""
    net = cl.Sequential([cl.Flatten(), cl.Dropout(0.5), cl.Affine(3)], input_shape=(2, 3, 4), rng=0, dtype=np.float64)
    rng = np.random.default_rng(0)
    weight, bias, x = rng.normal(size=(3, 24)), rng.normal(size=3), rng.normal(size=(5, 2, 3, 4))
    cl.from_torch(net, {"fc.weight": weight, "fc.bias": bias})
    expected = cl.to_nchw(x).reshape(5, 24) @ weight.T + bias
    np.testing.assert_allclose(net.predict(x), expected, rtol=1e-12)


def test_a_norm_between_flatten_and_affine():
    net = cl.Sequential([cl.Flatten(), cl.BatchNorm(), cl.Affine(1)], input_shape=(2, 2), rng=0, dtype=np.float64)
    gamma, mean = [1.0, 2, 3, 4], [10.0, 20, 30, 40]  # in PyTorch's order: (channel 0: 2 places), (channel 1: 2)
    norm = {"bn.weight": gamma, "bn.bias": [0] * 4, "bn.running_mean": mean, "bn.running_var": [1] * 4}
    cl.from_torch(net, {**norm, "bn.num_batches_tracked": 7, "fc.weight": [[1, 10, 100, 1000]], "fc.bias": [0]})
    assert net.params["1.gamma"].tolist() == [1, 3, 2, 4]
    assert net.state["1.running_mean"].tolist() == [10, 30, 20, 40]
    assert net.params["2.W"].ravel().tolist() == [1, 100, 10, 1000]


def test_affine_in_front_of_images():
    net = cl.Sequential([cl.Affine(8), cl.Reshape((2, 2, 2))], input_shape=(3,), rng=0, dtype=np.float64)
    rng = np.random.default_rng(0)
    weight, bias, x = rng.normal(size=(8, 3)), rng.normal(size=8), rng.normal(size=(5, 3))
    cl.from_torch(net, {"0.weight": weight, "0.bias": bias})
    np.testing.assert_allclose(cl.to_nchw(net.predict(x)), (x @ weight.T + bias).reshape(5, 2, 2, 2), rtol=1e-12)


def test_global_pools_give_rows_in_the_same_order():
    net = cl.Sequential([cl.GlobalMaxPool(), cl.Affine(1)], input_shape=(2, 3, 2), rng=0)
    cl.from_torch(net, {"weight": [[1, 2]], "bias": [3]})
    assert net.params["1.W"].ravel().tolist() == [1, 2]


def test_an_affine_residual_on_flattened_images():
    layers = [cl.Flatten(), cl.Residual([cl.Affine(4)]), cl.Affine(1)]
    net = cl.Sequential(layers, input_shape=(2, 2), rng=0, dtype=np.float64)
    rng = np.random.default_rng(0)
    a, c, x = rng.normal(size=(4, 4)), rng.normal(size=(1, 4)), rng.normal(size=(3, 2, 2))
    cl.from_torch(net, {"a.weight": a, "a.bias": np.arange(4), "c.weight": c, "c.bias": [0]})
    rows = np.moveaxis(x, -1, 1).reshape(3, 4)
    np.testing.assert_allclose(net.predict(x), (rows @ a.T + np.arange(4) + rows) @ c.T, rtol=1e-12)


# Names and orders


def test_each_kind_has_an_order_of_its_own():
    """As in a module that lists its convolutions before its norms, and in a file, by the alphabet."""
    net = cl.Sequential([cl.Conv(2, 1), cl.BatchNorm(), cl.Conv(2, 1), cl.BatchNorm()], input_shape=(3, 3, 2), rng=0)
    other = shuffled(net)
    arrays = cl.to_torch(other, names=["conv1", "bn1", "conv2", "bn2"])
    cl.from_torch(net, dict(sorted(arrays.items())))
    np.testing.assert_array_equal(net.flat_params, other.flat_params)


def test_numbers_in_the_names_of_a_file_are_numbers(tmp_path):
    net = cl.Sequential([cl.Affine(2) for _ in range(12)], input_shape=(2,), rng=0)
    other = shuffled(net)
    safetensors.numpy.save_file(cl.to_torch(other), tmp_path / "net.safetensors")
    cl.from_torch(net, str(tmp_path / "net.safetensors"))
    np.testing.assert_array_equal(net.flat_params, other.flat_params)


def two_affine():
    return cl.Sequential([cl.Affine(2), cl.Affine(2)], input_shape=(2,), rng=0)


def as_file(arrays, tmp_path):
    safetensors.numpy.save_file(arrays, tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


def as_read(arrays, tmp_path):
    return safetensors.numpy.load_file(as_file(arrays, tmp_path))


@pytest.mark.parametrize("form", [as_file, as_read])
@pytest.mark.parametrize("names", [["encoder", "decoder"], ["fc", "fc1"], ["down.0", "up.1"], ["a1", "a1.b"]])
def test_an_order_that_the_file_has_lost_is_asked_for(form, names, tmp_path):
    net, other = two_affine(), shuffled(two_affine())
    before = net.flat_params.copy()
    found = form(cl.to_torch(other, names), tmp_path)
    with pytest.raises(ValueError, match=r"(?s)which of '.*' comes first\? Both have .*: pass names=\[...\], one of"):
        cl.from_torch(net, found)
    np.testing.assert_array_equal(net.flat_params, before)
    cl.from_torch(net, found, names=names)
    np.testing.assert_array_equal(net.flat_params, other.flat_params)


@pytest.mark.parametrize("names", [["fc2", "fc10"], ["net.9.a", "net.10.a"], ["x.1.z", "x.2.b"]])
@pytest.mark.parametrize("form", [as_file, as_read])
def test_an_order_that_numbers_tell(form, names, tmp_path):
    net, other = two_affine(), shuffled(two_affine())
    cl.from_torch(net, form(cl.to_torch(other, names), tmp_path))
    np.testing.assert_array_equal(net.flat_params, other.flat_params)


@pytest.mark.parametrize("form", [as_file, as_read])
def test_an_order_that_shapes_tell(form, tmp_path):
    net = cl.Sequential([cl.Affine(3), cl.BatchNorm(), cl.Affine(2), cl.Affine(4)], input_shape=(2,), rng=0)
    other = shuffled(net)
    cl.from_torch(net, form(cl.to_torch(other, ["z", "y", "b", "a"]), tmp_path))
    np.testing.assert_array_equal(net.flat_params, other.flat_params)
    np.testing.assert_array_equal(net.flat_state, other.flat_state)


@pytest.mark.parametrize("form", [as_file, as_read])
def test_a_shortcut_is_told_by_its_name(form, tmp_path):
    """As torchvision has it, whose blocks are "0.conv1", "0.bn1", ..., "0.downsample.0", "0.downsample.1"."""
    block = cl.Residual([cl.Conv(2, 3, padding=1), cl.BatchNorm()], shortcut=[cl.Conv(2, 1), cl.BatchNorm()])
    net = cl.Sequential([block], input_shape=(3, 3, 2), rng=0)
    other = shuffled(net)
    cl.from_torch(net, form(cl.to_torch(other, ["0.z1", "0.zn1", "0.downsample.0", "0.downsample.1"]), tmp_path))
    np.testing.assert_array_equal(net.flat_params, other.flat_params)
    np.testing.assert_array_equal(net.flat_state, other.flat_state)


def test_a_downsample_that_is_no_shortcut_tells_nothing(tmp_path):
    with pytest.raises(ValueError, match="which of 'downsample' and 'head' comes first"):
        cl.from_torch(two_affine(), as_file(cl.to_torch(two_affine(), ["head", "downsample"]), tmp_path))


def test_an_ordered_dict_keeps_its_order():
    net, other = two_affine(), shuffled(two_affine())
    arrays = cl.to_torch(other, ["encoder", "decoder"])
    cl.from_torch(net, arrays)  # weight before bias, as PyTorch has them
    np.testing.assert_array_equal(net.flat_params, other.flat_params)
    first, second = (OrderedDict(sorted(cl.to_torch(shuffled(two_affine(), i), ["a", "b"]).items())) for i in (2, 3))
    for given, seed in ((first, 2), (second, 3)):
        cl.from_torch(net, given)
        np.testing.assert_array_equal(net.flat_params, shuffled(two_affine(), seed).flat_params)


def test_own_names_go_before_order():
    """A PyTorch module may have made its shortcut first."""
    body = [cl.Affine(2), cl.ReLU(), cl.Affine(2)]
    net = cl.Sequential([cl.Residual(body, shortcut=cl.Affine(2))], input_shape=(2,), rng=0)
    other = shuffled(net)
    arrays = cl.to_torch(other)
    cl.from_torch(net, OrderedDict(sorted(arrays.items(), key=lambda item: "shortcut" not in item[0])))
    np.testing.assert_array_equal(net.flat_params, other.flat_params)


def raw_file(path, entries):
    """A safetensors file by hand: name -> (dtype, shape, bytes)."""
    header, at = {}, 0
    for name, (dtype, shape, data) in entries.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(data for *_, data in entries.values()))
    return path


def test_bfloat16_of_a_file_is_widened_exactly(tmp_path):
    net = cl.Affine(2)
    net.build((3,), rng=0)
    bits = np.array([0x3F80, 0xC049, 0x0001, 0x7F7F, 0x8000, 0x3DCD], "<u2")  # 1, -3.140625, the least, the largest
    bias = np.array([0.5, -2], np.float16)
    path = raw_file(
        tmp_path / "net.safetensors",
        {"fc.bias": ("F16", [2], bias.tobytes()), "fc.weight": ("BF16", [2, 3], bits.tobytes())},
    )
    cl.from_torch(net, path)
    expected = [[1, -3.140625, 2.0**-133], [(2 - 2.0**-7) * 2.0**127, -0.0, 0.10009765625]]
    np.testing.assert_array_equal(net.params["W"], np.array(expected, np.float32).T)
    assert np.signbit(net.params["W"][1, 1])
    np.testing.assert_array_equal(net.params["b"], [0.5, -2])


def test_other_dtypes_of_a_file_are_refused_by_name(tmp_path):
    path = raw_file(tmp_path / "net.safetensors", {"0.weight": ("F8_E4M3", [2, 2], b"1234")})
    with pytest.raises(TypeError, match=r"'0.weight' must hold real numbers; got dtype F8_E4M3"):
        cl.from_torch(two_affine(), path)


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_the_key_of_a_wrapped_state_dict_is_named(key):
    arrays = cl.to_torch(two_affine())
    wrapped = {"epoch": 3, "optimizer": {"state": {}}, key: arrays}
    with pytest.raises(
        ValueError, match=rf"needs the state_dict itself; got a dict .* pass its \['{key}'\], of \['epo"
    ):
        cl.from_torch(two_affine(), wrapped)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("key", ["1.weight", "1.bias"])
def test_weights_that_are_not_finite_are_refused(key, bad):
    net = two_affine()
    before = net.flat_params.copy()
    arrays = {name: array.astype(np.float64) for name, array in cl.to_torch(shuffled(net)).items()}
    arrays[key][1] = bad
    with pytest.raises(ValueError, match=rf"'{key}' must hold finite numbers in float32; got .* at \(1,.*nothing was"):
        cl.from_torch(net, arrays)
    np.testing.assert_array_equal(net.flat_params, before)
    unused = {**cl.to_torch(net), "2.weight": np.full((2, 2), bad)}
    cl.from_torch(net, unused, names=["0", "1"])  # what is not taken may hold anything


def test_names_choose():
    net = cl.Sequential([cl.Affine(2), cl.Affine(2)], input_shape=(2,), rng=0)
    other = shuffled(net)
    arrays = cl.to_torch(other, names=["second", "first"]) | {"unused.weight": np.zeros((2, 2))}
    cl.from_torch(net, arrays, names=["second", "first"])
    np.testing.assert_array_equal(net.flat_params, other.flat_params)
    cl.from_torch(net, arrays, names=iter(["first", "second"]))
    np.testing.assert_array_equal(net.params["0.W"], other.params["1.W"])


def test_names_of_a_residual_net():
    net = cl.Sequential([models.basic_block(4, stride=2)], input_shape=(6, 6, 2), rng=0)
    keys = list(cl.to_torch(net))
    assert keys[:2] == ["0.body.0.weight", "0.body.1.weight"]
    assert keys[-4:] == [f"0.shortcut.1.{k}" for k in ("weight", "bias", "running_mean", "running_var")]


class Tensor:
    """What is used of a PyTorch tensor."""

    def __init__(self, array, dtype="torch.float32"):
        self.array, self.dtype = np.asarray(array, np.float32), dtype

    def detach(self):
        return self

    def cpu(self):
        return self

    def float(self):
        return Tensor(self.array)

    def numpy(self):
        if self.dtype == "torch.bfloat16":
            raise TypeError("NumPy has no bfloat16")
        return self.array


@pytest.mark.parametrize("dtype", ["torch.float32", "torch.bfloat16"])
def test_tensors_are_taken(dtype):
    net = cl.Affine(2)
    net.build((3,), rng=0)
    cl.from_torch(net, {"weight": Tensor(np.arange(6).reshape(2, 3), dtype), "bias": Tensor([1, 2], dtype)})
    np.testing.assert_array_equal(net.params["W"], [[0, 3], [1, 4], [2, 5]])


# Refusals


def small():
    return cl.Sequential([cl.Conv(2, 3), cl.Flatten(), cl.Affine(4)], input_shape=(4, 4, 1), rng=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"0.weight": np.zeros((2, 1, 3, 2))}, r"\* 0: Conv\(2, 3\) weight \(2, 1, 3, 3\).*'0' weight \(2, 1, 3, 2\)"),
        ({"0.bias": None}, r"\* 0: Conv\(2, 3\) weight .*, bias \(2,\) +'0' weight \(2, 1, 3, 3\)\n"),
        ({"2.weight": None, "2.bias": None}, r"\* 2: Affine\(4\) .* nothing of this kind"),
        ({"9.weight": np.zeros((3, 3))}, r"\* nothing +'9' weight \(3, 3\)"),
        ({"0.running_mean": np.zeros(2)}, r"\* 0: Conv\(2, 3\).*running_mean \(2,\)"),
        ({"0.weight": np.zeros((2, 1, 3))}, r"\* 0: Conv\(2, 3\).*'0' weight \(2, 1, 3\), bias"),
    ],
)
def test_what_does_not_fit_is_shown_and_nothing_changes(change, message):
    net = small()
    before = net.flat_params.copy()
    arrays = {key: a for key, a in (cl.to_torch(shuffled(net)) | change).items() if a is not None}
    with pytest.raises(ValueError, match=f"(?s)from_torch: the nets differ .* nothing was changed.*{message}"):
        cl.from_torch(net, arrays)
    np.testing.assert_array_equal(net.flat_params, before)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda net: cl.from_torch(net, [1]), TypeError, "from_torch needs a state_dict or the path of one; got list"),
        (lambda net: cl.from_torch(3, {}), TypeError, "from_torch needs a net of cnnlayers; got int"),
        (lambda net: cl.to_torch(None), TypeError, "to_torch needs a net of cnnlayers; got NoneType"),
        (lambda net: cl.from_torch(cl.Sequential([]), {}), RuntimeError, "Sequential is not built yet"),
        (lambda net: cl.from_torch(net, {"a.scale": [1]}), ValueError, "'a.scale' is none of the arrays known here"),
        (
            lambda net: cl.from_torch(net, {"a.bias": ["x"]}),
            TypeError,
            "'a.bias' must hold real numbers; got dtype <U1",
        ),
        (
            lambda net: cl.from_torch(net, cl.to_torch(net), ["0"]),
            ValueError,
            "names must be modules of the state",
        ),
        (lambda net: cl.from_torch(net, cl.to_torch(net), ["0", "3"]), ValueError, "there are ['0', '2']"),
        (lambda net: cl.to_torch(net, ["0"]), ValueError, "to_torch: names must be 2, one for each of"),
        (lambda net: cl.from_torch(net.for_inference(), cl.to_torch(net)), ValueError, "before for_inference()"),
        (lambda net: cl.from_torch(net, "no such file"), FileNotFoundError, "no such file"),
        (lambda net: cl.from_torch(net, __file__), cl.CheckpointError, "test_pytorch.py: "),
    ],
)
def test_refusals(call, kind, message):
    net = small()
    before = net.flat_params.copy()
    with pytest.raises(kind, match=re.escape(message)):
        call(net)
    np.testing.assert_array_equal(net.flat_params, before)


class Scale(cl.Layer):
    def allocate(self, input_shape):
        self.add_param("gamma", input_shape[-1:], "ones")

    def forward(self, x, train=True):
        return x * self.params["gamma"]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([Scale()], "0, Scale(), has no twin in PyTorch"),
        ([cl.Scale()], "0, Scale(), has no twin in PyTorch"),
        ([cl.PReLU(shape=(4, 1, 1))], "0, PReLU(shape=(4, 1, 1)), has no twin in PyTorch"),
        ([cl.Reshape((16, 2))], "0, Reshape((16, 2)) of (4, 4, 2), gives other numbers in PyTorch"),
        ([cl.Flatten(), cl.GroupNorm(2)], "1, a GroupNorm of flattened images, has other groups in PyTorch"),
        ([cl.Concat([cl.Flatten(), cl.Flatten()])], "0, a Concat of flattened images, has no order in PyTorch"),
        ([cl.Flatten(), cl.Reshape((2, 8, 2))], "rows that are (4, 4, 2) are also (2, 8, 2): no order fits both"),
    ],
)
def test_nets_without_a_twin(layers, message):
    net = cl.Sequential(layers, input_shape=(4, 4, 2), rng=0)
    with pytest.raises(ValueError, match=re.escape(f"to_torch: {message}")):
        cl.to_torch(net)


# A norm without a gamma


def test_a_norm_without_a_gamma_has_a_weight_of_ones_in_pytorch():
    norm = cl.BatchNorm(scale=False)
    norm.build((2,))
    norm.params["beta"] = [3, 4]
    arrays = cl.to_torch(norm)
    assert {name: a.tolist() for name, a in arrays.items()} == {
        "weight": [1, 1],
        "bias": [3, 4],
        "running_mean": [0, 0],
        "running_var": [1, 1],
    }
    cl.from_torch(norm, arrays | {"bias": np.array([5.0, 6])})
    assert norm.params["beta"].tolist() == [5, 6]
    layers = [cl.Conv(3, 2), cl.BatchNorm(scale=False), cl.Flatten(), cl.BatchNorm(scale=False), cl.Affine(2)]
    net = cl.Sequential(layers, (4, 4, 2), rng=0)
    other = shuffled(net)
    cl.from_torch(net, cl.to_torch(other))
    np.testing.assert_array_equal(net.flat_params, other.flat_params)
    np.testing.assert_array_equal(net.flat_state, other.flat_state)


def test_a_norm_without_a_gamma_takes_no_other_weight():
    net = cl.Sequential([cl.Affine(2), cl.BatchNorm(scale=False)], (3,), rng=0)
    arrays, before = cl.to_torch(net), net.flat_params.copy()
    arrays |= {"0.bias": np.array([7, 7]), "1.weight": np.array([1, 2])}
    message = "1, BatchNorm(scale=False), has no gamma, and the weight of '1' is not all ones: give the layer scale"
    with pytest.raises(ValueError, match=re.escape(message)):
        cl.from_torch(net, arrays)
    np.testing.assert_array_equal(net.flat_params, before)

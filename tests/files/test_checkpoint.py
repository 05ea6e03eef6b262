"""Nets in files: what comes back is what went in, or an error."""

import ast
import contextlib
import hashlib
import json
import os
import pickle
import re
import signal
import struct
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import cnnlayers as cl
from cnnlayers.files import checkpoint
from tests.layers.common import CASES, batch
from tests.marks import by_turns
from tests.windows import files_as_on_windows

ROOT = Path(__file__).parents[2]


def assert_same(a, b):
    """Two nets with the same layers and the same bits in all arrays."""
    assert repr(a) == repr(b)
    assert a.input_shape == b.input_shape
    assert [(name, layer.trainable, layer.dtype) for name, layer in a.walk()] == [
        (name, layer.trainable, layer.dtype) for name, layer in b.walk()
    ]
    assert list(a.params) == list(b.params)
    assert list(a.state) == list(b.state)
    for key in ("flat_params", "flat_state"):
        assert getattr(a, key).tobytes() == getattr(b, key).tobytes()
    for (name, one), (_, other) in zip(a.walk(), b.walk(), strict=True):
        if one.random:
            assert one.rng.bit_generator.state == other.rng.bit_generator.state, name


def trained(*layers, shape=(4, 5, 2), dtype=np.float32):
    """Make a net whose arrays have all left their first values."""
    net = cl.Sequential(layers, input_shape=shape, rng=0, dtype=dtype)
    net.forward(batch(3, *shape))
    rng = np.random.default_rng(1)
    net.flat_params[...] += rng.standard_normal(net.flat_params.size)
    net.flat_state[...] += rng.uniform(0.5, 1, net.flat_state.size)
    return net


def small(dtype=np.float32):
    return trained(
        cl.Conv(2, 3, padding="same"),
        cl.BatchNorm(),
        cl.Residual([cl.Conv(3, 1), cl.Dropout(0.2)], shortcut=cl.Conv(3, 1, bias=False)),
        cl.GlobalAvgPool(),
        cl.Affine(2),
        dtype=dtype,
    )


@pytest.fixture(name="path")
def a_path(tmp_path):
    return tmp_path / "net.safetensors"


def saved(net, path):
    net.save(path)
    return cl.load(path)


def parts(path):
    """The arrays of a file and its description."""
    with safetensors.safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["cnnlayers"])  # noqa: SIM118


def forge(path, arrays, about):
    """Write a file as a forger would: every checksum is right."""
    about = about | {"sha256": {name: checkpoint.digest(array) for name, array in arrays.items()}}
    text = json.dumps(about)
    metadata = {"cnnlayers": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    path.write_bytes(safetensors.numpy.save(arrays, metadata))


@contextlib.contextmanager
def little_memory():
    """Fail if what happens within takes more than a few megabytes."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


# What comes back


@by_turns("name", CASES)
def test_every_layer_comes_back(name, dtype, path):
    make, shape = CASES[name]
    net = trained(make(), shape=shape, dtype=dtype)
    loaded = saved(net, path)
    assert_same(loaded, net)
    assert loaded.dtype == dtype
    x = batch(3, *shape)
    np.testing.assert_array_equal(loaded.predict(x), net.predict(x))
    y = net.forward(x)
    np.testing.assert_array_equal(loaded.forward(x), y)  # the dropout's draws too
    np.testing.assert_array_equal(loaded.backward(y), net.backward(y))
    np.testing.assert_array_equal(loaded.flat_grads, net.flat_grads)


def test_nests_come_back(path):
    inner = cl.Residual([cl.Residual([cl.Conv(2, 3, padding=1), cl.BatchNorm()]), cl.Sequential([]), cl.ReLU()])
    net = trained(cl.Sequential([inner]), cl.Residual([cl.MaxPool(2), cl.Dropout(0.5)], cl.Sequential([cl.AvgPool(2)])))
    loaded = saved(net, path)
    assert_same(loaded, net)
    assert isinstance(loaded[0][0].body[0].body[1], cl.BatchNorm)
    assert loaded.params["0.0.body.0.body.1.gamma"] is loaded[0][0].body[0].body[1].params["gamma"]


def test_a_net_without_arrays_comes_back(path):
    assert_same(saved(trained(cl.ReLU(), cl.Flatten()), path), trained(cl.ReLU(), cl.Flatten()))


def test_a_residual_comes_back(path):
    net = cl.Residual([cl.Affine(2)])
    net.build((2,), rng=0)
    assert_same(saved(net, path), net)


def test_shape_dtype_and_classes(path):
    net = small(np.float64)
    assert net.classes is None
    assert saved(net, path).classes is None
    net.save(str(path), classes=["cat", "döner"])
    loaded = cl.load(str(path))
    assert loaded.classes == net.classes == ("cat", "döner")
    assert loaded.input_shape == (4, 5, 2)
    assert loaded.flat_params.dtype == np.float64
    assert saved(loaded, path).classes == ("cat", "döner")


def test_frozen_layers_come_back_frozen(path):
    net = small()
    net[0].trainable = net[2].shortcut.trainable = False
    loaded = saved(net, path)
    assert [name for name, layer in loaded.walk() if not layer.trainable] == ["0", "2.shortcut"]
    assert loaded.param_runs() == net.param_runs()
    net.trainable = False
    assert all(not layer.trainable for _, layer in saved(net, path).walk())


def test_initialisers_by_name_come_back_and_ones_own_are_left_out(path):
    def mine(shape, rng, dtype):
        return np.full(shape, 3)

    net = cl.Sequential(
        [cl.Affine(2, init=mine), cl.Affine(2, init="ones"), cl.Affine(2, init=cl.initializers.zeros)], (2,), rng=0
    )
    loaded = saved(net, path)
    np.testing.assert_array_equal(loaded.flat_params, net.flat_params)
    assert repr(loaded) == "Sequential([Affine(2), Affine(2, init='ones'), Affine(2, init='zeros')])"


def test_what_is_loaded_is_a_net_like_any_other(path):
    net = saved(small(), path)
    net.copy().save(path)
    assert_same(cl.load(path), net)
    assert_same(net.astype(np.float64).astype(np.float32), net)
    y = net.forward(batch(3, 4, 5, 2))
    net.backward(y, input_grad=False)
    before = net.flat_params.copy()
    cl.SGD(lr=0.1).step(net)
    assert (net.flat_params != before).any()


def test_a_loaded_net_holds_nothing_of_the_file(path):
    net = saved(small(), path)
    assert_same(pickle.loads(pickle.dumps(net)), net)
    before = net.flat_params.copy()
    path.write_bytes(b"\0" * path.stat().st_size)
    np.testing.assert_array_equal(net.flat_params, before)


def test_saving_what_was_loaded_gives_the_same_file(path):
    net = small()
    net.save(path)
    arrays, about = parts(path)
    cl.load(path).save(path)
    again, about_again = parts(path)
    assert about_again == about
    assert {name: a.tobytes() for name, a in again.items()} == {name: a.tobytes() for name, a in arrays.items()}


def test_nan_and_infinity_come_back(path):
    net = small()
    net.flat_params[:4] = [np.nan, np.inf, -np.inf, -0.0]
    assert_same(saved(net, path), net)


# What cannot be saved or loaded


def test_an_unbuilt_net_cannot_be_saved(path):
    with pytest.raises(RuntimeError, match="Sequential is not built yet"):
        cl.Sequential([cl.Affine(2)]).save(path)
    assert not path.exists()


def test_a_missing_file(path):
    with pytest.raises(FileNotFoundError, match=r"net\.safetensors"):
        cl.load(path)
    with pytest.raises(IsADirectoryError):
        cl.load(path.parent)


def test_what_is_no_path():
    with pytest.raises(TypeError, match=r"expected str, bytes or .* object, not int"):
        cl.load(0)  # which would be standard input


def test_a_missing_folder(path):
    with pytest.raises(FileNotFoundError):
        small().save(path / "more")


@pytest.mark.parametrize("data", [b"", b"x", b"PK\x03\x04" + b"\0" * 100, b"\x80\x05K\x01.", b"\xff" * 64, b"\0" * 64])
def test_what_is_no_safetensors_file(data, path):
    path.write_bytes(data)
    with pytest.raises(cl.CheckpointError, match=r"net\.safetensors: "):
        cl.load(path)


def test_a_safetensors_file_of_others(path):
    path.write_bytes(safetensors.numpy.save({"W": np.zeros(3)}))
    with pytest.raises(cl.CheckpointError, match="not a net saved by cnnlayers: it has no architecture"):
        cl.load(path)


@pytest.mark.parametrize("bad", ["Cube", 3, int, cl.Sequential([])])
def test_custom_layers_that_are_none(bad, path):
    small().save(path)
    with pytest.raises(TypeError, match="load: custom must hold Layer classes; got"):
        cl.load(path, custom=(bad,))


def test_custom_needs_a_tuple(path):
    small().save(path)
    with pytest.raises(TypeError, match=r"as in custom=\(Affine,\); got one class"):
        cl.load(path, custom=cl.Affine)
    with pytest.raises(TypeError, match="load: custom must hold Layer classes; got None"):
        cl.load(path, custom=None)


# Damage


def test_a_flipped_bit_is_an_error_or_changes_nothing(path):
    net = trained(cl.Affine(2), cl.BatchNorm(), cl.Dropout(0.5), shape=(2,))
    net.save(path, classes=("a", "b"))
    whole = path.read_bytes()
    (head,) = struct.unpack("<Q", whole[:8])
    refused = 0
    for position in range(len(whole)):
        for bit in {position % 8} if position % 4 else {position // 4 % 8, 5}:  # 5 turns small letters into capitals
            data = bytearray(whole)
            data[position] ^= 1 << bit
            path.write_bytes(data)
            try:
                loaded = cl.load(path)
            except cl.CheckpointError:
                refused += 1
            else:
                assert position < 8 + head
                assert_same(loaded, net)
                assert loaded.classes == ("a", "b")
    assert refused > len(whole)


def test_a_truncated_file_is_an_error(path):
    small().save(path)
    whole = path.read_bytes()
    for length in [*range(0, len(whole), 37), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(cl.CheckpointError, match=r"net\.safetensors: "):
            cl.load(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(cl.CheckpointError, match=r"net\.safetensors: "):
        cl.load(path)


def test_the_damaged_array_is_named(path):
    small().save(path)
    whole = bytearray(path.read_bytes())
    whole[-1] ^= 1
    path.write_bytes(whole)
    with pytest.raises(cl.CheckpointError, match=r"'.*' is damaged: its SHA-256 is not the one that was saved"):
        cl.load(path)


# Forgeries: every checksum is right, and the content lies


def forged(path, change):
    small().save(path)
    arrays, about = parts(path)
    change(arrays, about)
    forge(path, arrays, about)
    return path


def layer(about, i):
    return about["architecture"]["config"]["layers"][i]


def test_an_honest_forgery_loads(path):
    assert_same(cl.load(forged(path, lambda arrays, about: None)), small())


def _set(i, key, value):
    return lambda arrays, about: layer(about, i)["config"].update({key: value})


HUGE = 10**12

LIES = {
    "units": (_set(4, "units", HUGE), r"'4.W' must have shape \(3, 1000000000000\); the file has \(3, 2\)"),
    "filters": (_set(0, "filters", HUGE), r"'0.W' must have shape"),
    "filters beyond all": (_set(0, "filters", 10**30), r"'0.W' must have shape"),
    "a kernel": (_set(0, "kernel", HUGE), "a padded input of shape .* would need"),
    "a kernel that fits with padding": (lambda a, b: layer(b, 0)["config"].update(kernel=HUGE, padding=HUGE), "shape"),
    "dilation": (_set(0, "dilation", HUGE), "net.safetensors: "),
    "stride of 0": (_set(0, "stride", 0), "stride must be 1 or more; got 0"),
    "NaN": (_set(2, "body", {"layer": "Dropout", "config": {"p": float("nan")}}), "p must be"),
    "infinity": (_set(1, "eps", float("inf")), "eps must be"),
    "a text for a number": (_set(4, "units", "2"), "units must be an int; got '2'"),
    "a bool for a number": (_set(4, "units", True), "units must be an int; got True"),
    "an unknown option": (_set(4, "colour", 1), "colour"),
    "a smuggled input_shape": (
        lambda a, b: b["architecture"]["config"].update(input_shape=[HUGE, HUGE]),
        "the configuration of Sequential names what only the net as a whole may have",
    ),
    "a smuggled rng": (lambda a, b: b["architecture"]["config"].update(rng=0), "only the net as a whole may have"),
    "no initialiser": (_set(4, "init", "os.system"), "init must be one of"),
    "no layer": (_set(2, "body", 3), "needs a list of layers; got 3"),
    "a dict that is no layer": (_set(2, "body", {"a": 1}), "net.safetensors: "),
    "an unknown class": (lambda a, b: layer(b, 1).update(layer="os.system"), "unknown layer 'os.system'"),
    "a class of Python": (lambda a, b: layer(b, 1).update(layer="__import__"), "unknown layer '__import__'"),
    "a class that is no text": (lambda a, b: layer(b, 1).update(layer=["Affine"]), "net.safetensors: "),
    "the base class": (lambda a, b: b["architecture"].update(layer="Layer", config={}), "net.safetensors: "),
    "no class": (lambda a, b: layer(b, 1).pop("layer"), "net.safetensors: 'layer'"),
    "no config": (lambda a, b: layer(b, 1).pop("config"), "net.safetensors: 'config'"),
    "a config that is no dict": (lambda a, b: layer(b, 1).update(config=[1]), "net.safetensors: "),
    "no net": (lambda a, b: b.update(architecture=[1, 2]), "net.safetensors: "),
    "input_shape": (lambda a, b: b.update(input_shape=[HUGE, HUGE, 2]), "net.safetensors: "),
    "input_shape of two axes": (lambda a, b: b.update(input_shape=[4, 2]), "must have shape"),
    "input_shape of floats": (lambda a, b: b.update(input_shape=[4.0, 5.0, 2.0]), "a size must be an int; got 4.0"),
    "input_shape below 0": (lambda a, b: b.update(input_shape=[-4, 5, 2]), "a size must be 0 or more; got -4"),
    "no input_shape": (lambda a, b: b.pop("input_shape"), "net.safetensors: 'input_shape'"),
    "input_shape null": (lambda a, b: b.update(input_shape=None), "net.safetensors: "),
    "dtype": (lambda a, b: b.update(dtype="float64"), "must be float64; the file has float32"),
    "dtype of ints": (lambda a, b: b.update(dtype="int32"), "dtype must be float32 or float64"),
    "dtype of objects": (lambda a, b: b.update(dtype="O"), "dtype must be float32 or float64"),
    "format": (lambda a, b: b.update(format=2), "the file has format 2; this version reads format 1$"),
    "random state of nothing": (lambda a, b: b.update(rng={}), r"random states of \['2.body.1'\]; it has \[\]"),
    "random state of another": (
        lambda a, b: b["rng"].update({"0": b["rng"]["2.body.1"]}),
        "must hold the random states",
    ),
    "a broken random state": (lambda a, b: b["rng"].update({"2.body.1": {"state": 1}}), "net.safetensors: "),
    "classes that are none": (lambda a, b: b.update(classes=3), "net.safetensors: "),
    "a missing array": (lambda a, b: a.pop("4.b"), "the file lacks the array '4.b'"),
    "one more array": (lambda a, b: a.update({"9.W": np.zeros(3)}), r"the net has no place for \['9.W'\]"),
    "an array of another dtype": (
        lambda a, b: a.update({"4.b": np.zeros(2)}),
        "'4.b' must be float32; the file has float64",
    ),
    "an array of ints": (
        lambda a, b: a.update({"4.b": np.zeros(2, np.int32)}),
        "'4.b' must be float32; the file has int32",
    ),
    "an array of another shape": (
        lambda a, b: a.update({"4.W": np.zeros((2, 3), np.float32)}),
        r"'4.W' must have shape \(3, 2\); the file has \(2, 3\)",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_an_error_before_anything_is_allocated(lie, path):
    change, message = LIES[lie]
    forged(path, change)
    with little_memory(), pytest.raises(cl.CheckpointError, match=message):
        cl.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, b: b.update(format=2), "the file has format 2; this version reads format 1"),
        (lambda a, b: layer(b, 1).update(layer="Attention"), "unknown layer 'Attention'"),
        (lambda a, b: layer(b, 0)["config"].update(rotations=4), "'rotations'"),
        (lambda a, b: a.update({"0.V": np.zeros(3)}), r"the net has no place for \['0.V'\]"),
    ],
)
@pytest.mark.parametrize("version", ["99.0", "99", "99.1.2rc1", "0.10000.0+local"])
def test_what_a_file_of_a_later_version_has_is_said_to_be_of_it(change, message, version, path):
    def later(arrays, about):
        change(arrays, about)
        about["version"] = version

    forged(path, later)
    with pytest.raises(cl.CheckpointError, match=message) as raised:
        cl.load(path)
    own = re.escape(cl.__version__)
    assert re.search(
        rf"; the file is of cnnlayers {re.escape(version)}, and this is {own}: a later version may read it$",
        str(raised.value),
    )


@pytest.mark.parametrize("version", ["0.0.1", cl.__version__, "new", "9" * 5000, "99 and more", None, [99], ""])
def test_the_version_is_left_out_where_it_explains_nothing(version, path):
    def other(arrays, about):
        about.update(version=version, format=2)

    forged(path, other)
    with pytest.raises(cl.CheckpointError, match=r"this version reads format 1$"):
        cl.load(path)


def test_a_later_version_alone_is_no_error(path):
    assert_same(cl.load(forged(path, lambda a, b: b.update(version="99.0"))), small())


@pytest.mark.parametrize("pool", ["MaxPool", "AvgPool"])
def test_a_huge_input_without_any_array(pool, path):
    cl.Sequential([getattr(cl, pool)(2)], input_shape=(4, 4, 1)).save(path)
    arrays, about = parts(path)
    for shape in ([HUGE, 4, 1], [HUGE, HUGE, 1], [10**40, 4, 1], [2**31, 2**15, 1]):
        forge(path, arrays, about | {"input_shape": shape})
        with little_memory(), contextlib.suppress(cl.CheckpointError):
            assert cl.load(path).input_shape == tuple(shape)


def test_an_architecture_without_end(path):
    net = cl.Sequential([], input_shape=(2,))
    net.save(path)
    arrays, about = parts(path)
    depth = 100_000
    text = json.dumps(about | {"architecture": "HERE"})
    nest = '{"layer": "Sequential", "config": {"layers": [' * depth + "]}}" * depth
    text = text.replace('"HERE"', nest)
    metadata = {"cnnlayers": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    path.write_bytes(safetensors.numpy.save(arrays, metadata))
    with pytest.raises(cl.CheckpointError, match=r"net\.safetensors: "):
        cl.load(path)


def test_a_header_that_lies_about_sizes(path):
    small().save(path)
    whole = path.read_bytes()
    (head,) = struct.unpack("<Q", whole[:8])
    for size in (2**63, 2**40, 0, head - 1, head + 1):
        path.write_bytes(struct.pack("<Q", size) + whole[8:])
        with pytest.raises(cl.CheckpointError, match=r"net\.safetensors: "):
            cl.load(path)
    header = json.loads(whole[8 : 8 + head])
    for change in ({"shape": [2**62, 4]}, {"shape": [1]}, {"data_offsets": [0, 2**60]}, {"dtype": "F8_E4M3"}):
        changed = header | {"4.b": header["4.b"] | change}
        text = json.dumps(changed).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + whole[8 + head :])
        with pytest.raises(cl.CheckpointError, match=r"net\.safetensors: "):
            cl.load(path)


def test_nothing_of_the_package_reads_pickles_or_runs_text():
    """But for CIFAR's Python version, by an unpickler that makes arrays alone (tests/data/test_cifar.py)."""
    forbidden = {"pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle", "importlib"}
    for file in sorted((ROOT / "cnnlayers").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            allowed = {"pickle"} if file.name == "python_batch.py" else set()
            assert not (forbidden - allowed) & {name.partition(".")[0] for name in names}, file
            if isinstance(node, ast.Call):
                called = getattr(node.func, "id", None)
                assert called not in ("eval", "exec", "compile", "__import__"), file
                assert not any(k.arg == "allow_pickle" and getattr(k.value, "value", 0) for k in node.keywords), file


# Atomic


@pytest.mark.parametrize("fails", ["fsync", "replace", "open"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_save_that_fails_leaves_the_old_file(fails, error, path, monkeypatch):
    net = small()
    net.save(path)
    before = path.read_bytes()
    net.flat_params[...] = 0

    def broken(*args, **kwargs):
        raise error

    with monkeypatch.context() as patch:
        if fails == "open":
            patch.setattr("builtins.open", broken)
        else:
            patch.setattr(os, fails, broken)
        with pytest.raises(type(error)):
            net.save(path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


SAVES_FOR_EVER = """\
import sys
import numpy as np
import cnnlayers as cl
net = cl.Sequential([cl.Affine(200), cl.Affine(200)], input_shape=(200,), rng=0)
for i in range(10**9):
    net.flat_params[...] = i
    net.save(sys.argv[1])
    if i == 0:
        print("ready", flush=True)
"""


def test_a_process_killed_while_saving_leaves_a_whole_file(path):
    for kill in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", SAVES_FOR_EVER, str(path)],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(ROOT), "CNNLAYERS_NUM_THREADS": "1"},
        )
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.011 * (kill + 1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        net = cl.load(path)
        assert np.unique(net.flat_params).size == 1


def test_a_file_that_was_read_is_not_kept_open(tmp_path, monkeypatch):
    """Windows would not let it be replaced."""
    files_as_on_windows(monkeypatch)
    net = cl.Sequential([cl.Conv(4, 3), cl.Flatten(), cl.Affine(2)], input_shape=(28, 28, 1), rng=0)
    net.save(tmp_path / "net.safetensors")
    again = cl.load(tmp_path / "net.safetensors")
    again.params["2.b"][...] = 1
    again.save(tmp_path / "net.safetensors")
    assert_same(cl.load(tmp_path / "net.safetensors"), again)
    assert_same(checkpoint.from_bytes(checkpoint.to_bytes(again)), again)

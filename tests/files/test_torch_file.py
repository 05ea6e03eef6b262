"""Files of torch.save without PyTorch: what is read, and that of what is not, nothing is run."""

import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import CheckpointError
from cnnlayers.files.torch_file import read_torch
from tests.files.torch_files import (
    STORAGES,
    call,
    mapping,
    name,
    number,
    ordered,
    parameter,
    pickles,
    several,
    storage,
    tensor,
    tensors,
    text,
    zipped,
)

FLOATS = np.arange(24, dtype=np.float32)
ARRAYS = {"b.weight": FLOATS.reshape(6, 4), "b.bias": FLOATS[:6] / 7, "a.weight": np.array(3, np.float32)}


def read(content, blocks=None, write=zipped, **options):
    return read_torch("net.pt", write(content, blocks or {}, **options))


def refused(content, message, blocks=None, write=zipped, **options):
    with pytest.raises(CheckpointError, match=message):
        read(content, blocks, write, **options)


def assert_same(found, wanted):
    assert list(found) == list(wanted)
    for key, array in wanted.items():
        assert (found[key].shape, found[key].dtype.newbyteorder("=")) == (array.shape, array.dtype)
        np.testing.assert_array_equal(found[key], array)


# What is read


@pytest.mark.parametrize("write", [zipped, pickles])
@pytest.mark.parametrize("form", [mapping, ordered])
def test_a_state_dict(write, form):
    pickled, blocks = tensors(ARRAYS)
    found = read(form(pickled), blocks, write)
    assert_same(found, ARRAYS)
    assert type(found) is (dict if form is mapping else OrderedDict)


def test_a_net_takes_it_in_its_order(tmp_path):
    """An OrderedDict has the order of the net, whatever its names."""
    net = cl.Sequential([cl.Affine(2), cl.Affine(2)], input_shape=(2,), rng=0)
    other = cl.Sequential([cl.Affine(2), cl.Affine(2)], input_shape=(2,), rng=1)
    pickled, blocks = tensors(cl.to_torch(other, ["encoder", "decoder"]))
    path = tmp_path / "net.pth"
    path.write_bytes(zipped(ordered(pickled), blocks))
    cl.from_torch(net, path)
    np.testing.assert_array_equal(net.flat_params, other.flat_params)


@pytest.mark.parametrize("dtype", STORAGES)
@pytest.mark.parametrize("order", ["<", ">"])
def test_types_and_byte_orders(dtype, order):
    array = np.arange(6).astype(order + dtype)
    pickled, blocks = tensors({"x": array})
    found = read(mapping(pickled), blocks, order=b"little" if order == "<" else b"big")
    assert_same(found, {"x": array.astype(dtype)})


def test_a_file_without_a_byte_order_is_little():
    pickled, blocks = tensors(ARRAYS)
    assert_same(read(mapping(pickled), blocks, order=None), ARRAYS)


def test_bfloat16_is_widened():
    bits = np.array([0x3F80, 0xC049, 0x0001, 0x7F7F], "<u2")
    for order in ("little", "big"):
        block = bits.astype("<u2" if order == "little" else ">u2").tobytes()
        found = read(
            mapping({"x": tensor(storage("0", 4, "BFloat16Storage"), (2, 2))}), {"0": block}, order=order.encode()
        )
        wanted = np.array([[1, -3.140625], [2.0**-133, (2 - 2.0**-7) * 2.0**127]], np.float32)
        assert_same(found, {"x": wanted})


def test_bool_and_types_without_a_storage_of_their_own():
    untyped = (
        several(text("storage"), name("torch.storage", "UntypedStorage"), text("1"), text("cpu"), number(6)) + b"Q"
    )
    rest = (b"\x89", call(name("collections", "OrderedDict")), name("torch", "uint16"))
    items = {
        "flags": tensor(storage("0", 2, "BoolStorage"), (2,)),
        "counts": tensor(untyped, (3,), function="_rebuild_tensor_v3", rest=rest),
    }
    found = read(mapping(items), {"0": b"\x01\x00", "1": np.array([1, 2, 65535], "<u2").tobytes()})
    assert_same(found, {"flags": np.array([True, False]), "counts": np.array([1, 2, 65535], np.uint16)})


def test_views_of_one_storage():
    """Transposed, cut out, repeated, empty: all of the same 24 numbers."""
    held = storage("0", 24)
    items = {
        "whole": tensor(held, (4, 6)),
        "transposed": tensor(held, (6, 4), (1, 6)),
        "cut": parameter(tensor(held, (2, 3), (12, 2), offset=7)),
        "repeated": tensor(held, (3, 2), (0, 1), offset=22),
        "last": tensor(held, (), (), offset=23),
        "one": tensor(held, (1, 1), (2**40, 2**40), offset=23),
        "none": tensor(held, (0, 5), (5, 1), offset=99),
    }
    whole = FLOATS.reshape(4, 6)
    wanted = {
        "whole": whole,
        "transposed": whole.T,
        "cut": np.array([[7, 9, 11], [19, 21, 23]], np.float32),
        "repeated": np.array([[22, 23]] * 3, np.float32),
        "last": np.array(23, np.float32),
        "one": np.array([[23]], np.float32),
        "none": np.empty((0, 5), np.float32),
    }
    assert_same(read(ordered(items), {"0": FLOATS.tobytes()}), wanted)


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", "net"])
def test_the_state_dict_in_a_checkpoint(key):
    pickled, blocks = tensors(ARRAYS)
    optimizer = mapping(
        {"state": mapping({"0": mapping({"step": number(3), "m": pickled["b.bias"]})}), "lr": number(1)}
    )
    content = {
        "epoch": number(3),
        "rng": tensor(storage("0", 24), (24,)),
        "optimizer": optimizer,
        "size": call(name("torch", "Size"), several(number(2), number(3))),
        "device": call(name("torch", "device"), text("cpu")),
        "dtype": name("torch", "float32"),
        "losses": b"](" + number(1) + b"NG" + struct.pack(">d", 0.5) + b"e",
        key: ordered(pickled),
    }
    for write in (zipped, pickles):
        assert_same(read(mapping(content), blocks, write), ARRAYS)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_prefixes_of_wrappers_are_left_off(prefix):
    pickled, blocks = tensors({f"{prefix}{key}": array for key, array in ARRAYS.items()})
    assert_same(read(ordered(pickled), blocks), ARRAYS)
    pickled, blocks = tensors({"module.bias": FLOATS, "bias": FLOATS})
    assert list(read(mapping(pickled), blocks)) == ["module.bias", "bias"]


def test_newer_protocols():
    """Instructions of protocol 4: frames, short texts, names from the stack."""
    called = b"\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x94\x93\x94)R\x94"
    pickled, blocks = tensors({"bias": FLOATS})
    assert_same(read(b"\x95" + bytes(8) + mapping(pickled, called), blocks), {"bias": FLOATS})


# What is refused


def test_several_state_dicts_are_named():
    pickled, blocks = tensors(ARRAYS)
    refused(
        mapping({"epoch": number(1), "model": ordered(pickled), "ema": mapping(pickled)}),
        r"net.pt: expected a dict of tensors, .* found several, 'model' \(OrderedDict\), 'ema' \(dict\): save the one",
        blocks,
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            mapping({"epoch": number(1), "lr": text("x")}),
            r"found none in 'epoch' \(1\), 'lr' \('x'\); torch.save\(net.st",
        ),
        (b"}", "found none in nothing"),
        (b"]", "expected a state_dict; found list"),
        (tensor(storage("0", 24), (24,)), "expected a state_dict; found Tensor"),
        (mapping({f"k{i}": number(i) for i in range(99)}), r"'k9' \(9\), \.\.\.; torch.save"),
    ],
)
def test_what_is_no_state_dict(content, message):
    refused(content, message, {"0": FLOATS.tobytes()})


class Ran(Exception):
    """What a hostile pickle would raise, if it were run."""


def ran(*_):
    raise Ran


class Hostile:
    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


HOSTILE = {
    "system": (os.system, ("touch ran",)),
    "eval": (eval, ("ran()",)),
    "exec": (exec, ("raise SystemExit",)),
    "getattr": (getattr, ("", "join")),
    "own": (ran, (1,)),
}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("what", HOSTILE)
def test_nothing_is_run(what, protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickled = pickle.dumps({"a.weight": Hostile(*HOSTILE[what])}, protocol)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("net/data.pkl", pickled)
    for data in (file.getvalue(), pickled) if protocol > 1 else (file.getvalue(),):
        with pytest.raises(CheckpointError, match=r"found the (name|instruction)"):
            read_torch("net.pt", data)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            name("posix", "system"),
            r"found the name posix.system: nothing else is looked up; torch.save\(net.state_dict",
        ),
        (
            name("torch.nn.modules.container", "Sequential"),
            "found the name torch.nn.modules.container.Sequential: a whole",
        ),
        (name("__main__", "Net"), "__main__.Net: a whole module seems to have been saved"),
        (name("torch._utils", "_rebuild_sparse_tensor"), "found the name torch._utils._rebuild_sparse_tensor"),
        (name("torch", "ComplexFloatStorage"), "found the name torch.ComplexFloatStorage"),
        (name("torch", "load"), "found the name torch.load"),
        (name("torch", "x" * 9999), r"found the name torch.x{100}: nothing"),
        (several(text("module"), text("Net")) + b"Q", "found a whole module"),
        (several(text("storage"), text("x")) + b"Q", "expected a reference to a storage of a tensor; found tuple"),
        (
            call(name("torch", "FloatStorage"), number(9)),
            "expected a call that makes a tensor; found one of torch.Float",
        ),
        (call(name("torch", "float32")), "found one of torch.float32"),
        (call(text("print"), number(9)), "found one of 'print'"),
        (call(several(), number(9)), "found one of tuple"),
        (b"}}b", "expected a OrderedDict to add to; found dict"),
        (b"}" + several() + number(1) + b"s", "expected keys that are text or numbers; found tuple"),
        (text("a") + number(1) + b"a", "expected a list to add to; found 'a'"),
        (b"](" + name("torch", "float32") + several() + b"\x81e", "found the instruction NEWOBJ"),
        (b"\x82\x01", "found the instruction EXT1"),
        (b"(i os\nsystem\n", "found the instruction INST"),
        (b"\x96" + bytes([255] * 7) + b"\x7f", "damaged"),
        (b"Ppersistent\n", "found the instruction PERSID"),
        (b"00", "found the instruction POP"),
        (call(name("torch", "Size"), b"]"), "expected a tuple of sizes; found list"),
        (b"t", "damaged: IndexError"),
        (b"N\x86", "damaged: IndexError"),
        (b"h\x07", "damaged: KeyError"),
        (b"X\xff\xff\xff\xffab", "damaged: ValueError"),
        (b"\x8b\xff\xff\xff\x7fab", "damaged: ValueError"),
    ],
)
@pytest.mark.parametrize("write", [zipped, pickles])
def test_other_pickles(content, message, write):
    refused(content, message, write=write)


HELD = storage("0", 24)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (tensor(HELD, (25,)), "expected 'x' within its storage of 24 elements; found that it goes up to element 24"),
        (tensor(HELD, (2, 2), (23, 2), 0), "up to element 25"),
        (tensor(HELD, (1,), offset=24), "up to element 24"),
        (tensor(HELD, (2**62, 2**62)), "up to element"),
        (tensor(HELD, (2**62, 2**62), (0, 0)), "damaged: ValueError"),
        (tensor(HELD, (2,), (-1,), 5), "expected a size of a tensor; found -1"),
        (tensor(HELD, (-1,)), "expected a size of a tensor; found -1"),
        (tensor(HELD, (2,), offset=-4), "expected a size of a tensor; found -4"),
        (tensor(HELD, (2**65,)), "expected a size of a tensor; found 36893488147419103232"),
        (tensor(HELD, (2, 2), (1,)), "expected the shape and the strides"),
        (tensor(HELD, (1,) * 200, (1,) * 200), "expected a tensor of up to 64 axes; found 200"),
        (tensor(number(1), (2,)), "expected the storage of a tensor; found 1"),
        (tensor(storage("0", 23), (23,)), "expected 23 elements in storage '0'; found 96 bytes"),
        (tensor(storage("0", 2**50), (2**50,)), "expected 1,125,899,906,842,624 elements in storage '0'; found 96"),
        (tensor(storage("7", 24), (24,)), "damaged|expected net/data/7 in it; found none"),
        (tensor(HELD, (2,), rest=(b"\x89", b"}", mapping({"conj": b"\x88"}))), "without metadata"),
        (parameter(number(1)), "expected the tensor of a parameter; found 1"),
    ],
)
def test_tensors_that_do_not_fit(value, message):
    refused(mapping({"x": value}), message, {"0": FLOATS.tobytes()})


def test_a_dict_that_holds_itself():
    """Instructions that remember and recall may close a circle."""
    refused(b"}q\x00" + text("x") + b"h\x00s", r"found none in 'x' \(dict\)")
    refused(b"]q\x00h\x00a", "expected a state_dict; found list")


@pytest.mark.parametrize(
    ("opened", "closed", "kind"), [(b"]", b"a", "list"), (b"}" + text("x"), b"s", "dict"), (b"(", b"t", "tuple")]
)
def test_a_pickle_as_deep_as_it_is_long(opened, closed, kind):
    deep = opened * 100_000 + b"]" + closed * 100_000
    refused(b"}" + text("x") + deep + b"s", rf"found none in 'x' \({kind}\)")
    refused(b"}" + deep + number(1) + b"s", f"expected keys that are text or numbers; found {kind}")


def test_pairs_in_a_list():
    """Python 2 pickles an OrderedDict so. No list is taken twice, so what is made is no longer than the pickle."""
    pickled, blocks = tensors(ARRAYS)
    pairs = b"](" + b"".join(several(text(key), value) for key, value in pickled.items()) + b"eq\x00"
    made = call(name("collections", "OrderedDict"), pairs)
    assert_same(read(made, blocks), ARRAYS)
    again = call(name("collections", "OrderedDict"), b"h\x00")
    assert_same(read(mapping({"model": made, "other": again}), blocks), ARRAYS)


def test_a_short_pickle_that_would_fill_the_memory():
    """Each call would take up a list of 20,000 again, from the memory of the pickle."""
    many = 20_000
    pairs = b"](" + b"".join(several(number(i), b"N") for i in range(many)) + b"eq\x00"
    dicts = b"(" + call(name("collections", "OrderedDict"), pairs)
    dicts += call(name("collections", "OrderedDict"), b"h\x00") * many + b"t"
    refused(b"}" + text("x") + dicts + b"s", r"found none in 'x' \(tuple\)")
    refused(b"(" + b"N" * 200_000 + b"\x85" * 200_000 + b"t", "found tuple")


def test_a_zip_bomb():
    """Members that are compressed, or of which one is counted many times, are not read."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/data.pkl", bytes(1 << 24))
    with pytest.raises(CheckpointError, match=r"expected net/data.pkl as it is; found it compressed or encrypted"):
        read_torch("net.pt", file.getvalue())
    pickled, blocks = tensors({"x": np.zeros(1 << 12, np.float32)})
    data = zipped(mapping(pickled), blocks)
    end = data.rindex(b"PK\x05\x06")
    start = data.index(b"PK\x01\x02")
    entry = data[start:end]
    one = entry[entry.index(b"net/data/0") - 46 : entry.index(b"net/data/0") + len(b"net/data/0")]
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 13, 13, len(entry) + 9 * len(one), start, 0)
    with pytest.raises(CheckpointError, match="expected members that are stored side by side; found some that overlap"):
        read_torch("net.pt", data[:start] + entry + 9 * one + tail)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"x.npy": b""}, "expected a file of torch.save; found another zip file, without a data.pkl in it"),
        ({"net/data.pkl": b"", "net/constants.pkl": b""}, "found one of torch.jit.save, which is a program"),
        ({"net/data.pkl": b"\x80\x02}.", "net/byteorder": b"middle"}, "expected the byte order .*; found 'middle'"),
        ({"net/data.pkl": b""}, "damaged"),
    ],
)
def test_other_zip_files(members, message):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for key, block in members.items():
            archive.writestr(key, block)
    with pytest.raises(CheckpointError, match=message):
        read_torch("net.pt", file.getvalue())


@pytest.mark.parametrize("start", [b"PK\x03\x04\x00\x00\x08\x08", b"\x80\x02\x8a\nl\xfc\x9cF"])
def test_what_only_begins_like_one(start, tmp_path):
    net = cl.Sequential([cl.Affine(2)], input_shape=(2,), rng=0)
    (tmp_path / "net.pt").write_bytes(start + bytes(100))
    with pytest.raises(CheckpointError, match=r"net.pt: expected a file of torch.save; found that it is damaged"):
        cl.from_torch(net, tmp_path / "net.pt")


def test_another_pickle():
    with pytest.raises(CheckpointError, match=r"expected a file of torch.save; found another pickle, of dict"):
        read_torch("net.pt", pickle.dumps({"a.weight": [1.0]}))


def test_unknown_storages_of_the_old_format():
    pickled, blocks = tensors({"x": FLOATS})
    refused(
        mapping(pickled), "expected the storages of the tensors; found another one, 'y'", blocks | {"y": b""}, pickles
    )
    refused(mapping(pickled), r"damaged: KeyError: '0'", {}, pickles)
    data = pickles(mapping(pickled), blocks)
    for damaged in (data[:-1], data.replace(struct.pack("<q", 24), struct.pack("<q", 2**60))):
        with pytest.raises(CheckpointError, match=r"elements in storage '0'; found the end of the file"):
            read_torch("net.pt", damaged)


# Damage


@pytest.mark.parametrize("write", [zipped, pickles])
def test_files_that_break_off(write):
    pickled, blocks = tensors(ARRAYS)
    data = write(ordered(pickled), blocks)
    for length in range(len(data)):
        with pytest.raises(CheckpointError, match=r"net\.pt: "):
            read_torch("net.pt", data[:length])


def test_a_flipped_bit_is_found_or_does_no_harm():
    pickled, blocks = tensors({"a.weight": FLOATS[:6].reshape(2, 3), "a.bias": FLOATS[:2]})
    rng = np.random.default_rng(0)
    for order in (b"little", b"big"):
        data = zipped(ordered(pickled), blocks, order)
        wanted = {key: array.tobytes() for key, array in read_torch("net.pt", data).items()}
        for place in range(len(data)):
            flipped = bytearray(data)
            flipped[place] ^= 1 << int(rng.integers(8))
            try:
                found = read_torch("net.pt", bytes(flipped))
            except CheckpointError:
                continue
            assert {key: array.tobytes() for key, array in found.items()} == wanted


def test_damage_of_the_old_format_never_raises_another_error():
    """It has no checksums, so numbers may be other ones."""
    pickled, blocks = tensors(ARRAYS)
    data = pickles(ordered(pickled), blocks)
    rng = np.random.default_rng(1)
    refusals = 0
    for _ in range(1000):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 5)):
            damaged[place] = rng.integers(256)
        try:
            read_torch("net.pt", bytes(damaged))
        except CheckpointError:
            refusals += 1
    assert refusals > 100

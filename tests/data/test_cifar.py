"""CIFAR-10 and CIFAR-100, in their binary and their Python version."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from cnnlayers import DataError
from cnnlayers.data import cifar as module
from cnnlayers.data.datasets import cifar10, cifar100

DATA = os.environ.get("CNNLAYERS_DATA")


def draw(n, classes=10, seed=0):
    """Planes (n, 3, 32, 32) as in the files, images, labels."""
    rng = np.random.default_rng(seed)
    planes = rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)
    return planes, planes.transpose(0, 2, 3, 1), rng.integers(0, classes, n)


def records(planes, *labels):
    columns = [np.asarray(y, np.uint8)[:, np.newaxis] for y in labels]
    return np.concatenate([*columns, planes.reshape(len(planes), -1)], axis=1).tobytes()


def python2_pickle(content):
    """As Python 2 with an old NumPy wrote: protocol 2, text for bytes, numpy.core for numpy._core."""
    return pickle.dumps(content, protocol=2).replace(b"numpy._core", b"numpy.core")


@pytest.fixture
def binary(tmp_path):
    """Two batches of four, and a test batch of three."""
    parts = [draw(4, seed=0), draw(4, seed=1), draw(3, seed=2)]
    for name, (planes, _, y) in zip(("data_batch_1", "data_batch_2", "test_batch"), parts, strict=True):
        (tmp_path / f"{name}.bin").write_bytes(records(planes, y))
    return tmp_path, parts


def test_cifar10(binary):
    root, (first, second, test) = binary
    data = cifar10(root, val=0)
    np.testing.assert_array_equal(data.train[0], np.concatenate([first[1], second[1]]))
    np.testing.assert_array_equal(data.train[1], np.concatenate([first[2], second[2]]))
    np.testing.assert_array_equal(data.test[0], test[1])
    for x, y in (data.train, data.test):
        assert x.dtype == np.uint8
        assert x.flags.c_contiguous
        assert y.dtype == np.int64
    assert data.classes[:3] == ("airplane", "automobile", "bird")
    assert repr(cifar10(root, val=0.25)) == "Dataset(train=6, val=2, test=3 images of 32 x 32 x 3, 10 classes)"


def test_a_pixel_by_hand(tmp_path):
    """Byte 1 + 1024 * channel + 32 * row + column of a record."""
    record = bytearray(3073)
    record[0], record[1 + 2 * 1024 + 32 * 3 + 7] = 9, 200
    for name in ("data_batch_1.bin", "test_batch.bin"):
        (tmp_path / name).write_bytes(record)
    x, y = cifar10(tmp_path, val=0).train
    assert x[0, 3, 7, 2] == 200
    assert x.sum() == 200
    assert y.tolist() == [9]


def test_the_folder_within(binary):
    root, _ = binary
    inner = root / "cifar-10-batches-bin"
    inner.mkdir()
    for file in root.glob("*.bin"):
        file.rename(inner / file.name)
    assert len(cifar10(root).train[1]) == 7


@pytest.mark.parametrize("labels", ["fine", "coarse"])
def test_cifar100(tmp_path, labels):
    expected = {}
    for name, n in (("train", 6), ("test", 3)):
        planes, x, fine = draw(n, 100, seed=n)
        (tmp_path / f"{name}.bin").write_bytes(records(planes, fine // 5, fine))
        expected[name] = x, fine if labels == "fine" else fine // 5
    data = cifar100(tmp_path, labels=labels, val=0)
    for name, (x, y) in expected.items():
        np.testing.assert_array_equal(getattr(data, name)[0], x)
        np.testing.assert_array_equal(getattr(data, name)[1], y)
    assert len(data.classes) == len(set(data.classes)) == (100 if labels == "fine" else 20)
    assert list(data.classes) == sorted(data.classes)


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("data_batch_1.bin", b"", "expected records of 3,073 bytes; found 0 bytes"),
        ("data_batch_2.bin", b"\0" * 3072, "expected records of 3,073 bytes; found 3,072 bytes, which is no whole"),
        ("test_batch.bin", b"\0" * 3074, "expected records of 3,073 bytes; found 3,074 bytes"),
        ("test_batch.bin", b"\0" * 3073 + b"\x0a" + b"\0" * 3072, r"labels must be in 0\.\.9; found 10 at position 1"),
    ],
)
def test_damaged_batches(binary, name, content, text):
    root, _ = binary
    (root / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}: {text}"):
        cifar10(root)


def test_a_gap_in_the_numbers(binary):
    root, _ = binary
    (root / "data_batch_2.bin").rename(root / "data_batch_4.bin")
    with pytest.raises(DataError, match=r"expected data_batch_2.bin before the later ones; found \[1, 4\]"):
        cifar10(root)


def test_missing_files(binary, tmp_path):
    root, _ = binary
    (root / "test_batch.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"test_batch.bin"):
        cifar10(root)
    with pytest.raises(FileNotFoundError, match=r"cifar100: there is no train.bin in .*; download=True fetches it"):
        cifar100(root)
    with pytest.raises(ValueError, match='labels must be "fine" or "coarse"; got \'both\''):
        cifar100(root, labels="both")


# The Python version


@pytest.mark.parametrize("write", [python2_pickle, *(lambda c, p=p: pickle.dumps(c, protocol=p) for p in (2, 3, 4))])
@pytest.mark.parametrize("keys", [str, str.encode])
def test_python_version(tmp_path, write, keys):
    parts = {}
    for name, n in (("data_batch_1", 4), ("test_batch", 3)):
        planes, x, y = draw(n, seed=n)
        content = {keys("data"): planes.reshape(n, -1), keys("labels"): y.tolist(), keys("batch_label"): "a"}
        (tmp_path / name).write_bytes(write(content))
        parts[name] = x, y
    data = cifar10(tmp_path, val=0)
    np.testing.assert_array_equal(data.train[0], parts["data_batch_1"][0])
    np.testing.assert_array_equal(data.train[1], parts["data_batch_1"][1])
    np.testing.assert_array_equal(data.test[0], parts["test_batch"][0])


def test_python_version_of_cifar100(tmp_path):
    for name, n in (("train", 6), ("test", 3)):
        planes, x, y = draw(n, 100, seed=n)
        content = {"data": planes.reshape(n, -1), "fine_labels": y.tolist(), "coarse_labels": (y // 5).tolist()}
        (tmp_path / name).write_bytes(python2_pickle(content))
    np.testing.assert_array_equal(cifar100(tmp_path).test[1], y)
    np.testing.assert_array_equal(cifar100(tmp_path, labels="coarse").test[1], y // 5)
    np.testing.assert_array_equal(cifar100(tmp_path).test[0], x)


class Calls:
    """An object whose pickle calls a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def batch(**changes):
    planes, _, y = draw(2)
    return {"data": planes.reshape(2, -1), "labels": y.tolist()} | changes


HOSTILE = {
    "a command": (batch(extra=Calls(os.system, "false")), r"found (posix|nt)\.system"),
    "eval": (batch(extra=Calls(eval, "1")), r"found (builtins|__builtin__)\.eval"),
    "getattr": (batch(extra=Calls(getattr, "a", "upper")), r"found (builtins|__builtin__)\.getattr"),
    "a class": (batch(extra=Path("x")), r"found pathlib"),
    "objects": (batch(data=np.array([["a"]], object)), r"integers \(u1, i1, i8, i4\); found the type 'O8'"),
    "floats": (batch(data=np.zeros((2, 3072))), "found the type 'f8'"),
    "no array": (batch(data=[1, 2]), "expected an array as 'data'; found list"),
    "no labels": ({"data": batch()["data"]}, r"expected an entry 'labels'; found \['data'\]"),
    "another shape": (batch(data=np.zeros((2, 3071), np.uint8)), r"images \(N, 3072\) of bytes; found uint8 of shape"),
    "too few labels": (batch(labels=[1]), "expected a list of 2 labels; found list"),
    "labels of text": (batch(labels=["1", "2"]), "expected labels that are small integers"),
    "labels out of range": (batch(labels=[1, 10]), r"labels must be in 0\.\.9; found 10 at position 1"),
    "no dict": ([1], "expected a dict; found list"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles(tmp_path, name):
    content, text = HOSTILE[name]
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(DataError, match=f"data_batch_1: .*{text}"):
        cifar10(tmp_path)


RAW = {
    "cut off": python2_pickle(batch())[:-100],
    "empty": b"",
    "no pickle": b"\x1f\x8b hello",
    "an array shorter than its shape": python2_pickle(batch()).replace(b"K\x02M\x00\x0c", b"K\x03M\x00\x0c", 1),
    "petabytes of bytes": b"\x80\x04\x8e" + (2**50).to_bytes(8, "little") + b"a.",
    "petabytes of a bytearray": b"\x80\x05\x96" + (2**50).to_bytes(8, "little") + b"a.",
    "memory for four thousand million notes": b"\x80\x02}r\xff\xff\xff\xff.",
    "the state of a function": b"\x80\x02c_codecs\nencode\n}X\x01\x00\x00\x00aK\x01sb.",
    "the state of a class": b"\x80\x02cnumpy\nndarray\nN}X\x01\x00\x00\x00aK\x01s\x86b.",
    "a reference to another place": b"\x80\x02X\x01\x00\x00\x00aQ.",
}


@pytest.mark.parametrize("name", RAW)
def test_damaged_pickles(tmp_path, name):
    (tmp_path / "data_batch_1").write_bytes(RAW[name])
    with pytest.raises(DataError, match="data_batch_1: expected"):
        cifar10(tmp_path)


def test_any_flipped_byte_of_a_pickle_is_read_or_an_error(tmp_path):
    good = bytearray(python2_pickle({"data": np.zeros((1, 3072), np.uint8), "labels": [3]}))
    rng = np.random.default_rng(0)
    file = tmp_path / "data_batch_1"
    (tmp_path / "test_batch").write_bytes(good)
    for position in [*range(300), *range(len(good) - 100, len(good))]:
        bad = bytearray(good)
        bad[position] ^= rng.integers(1, 256)
        file.write_bytes(bad)
        try:
            shape = cifar10(tmp_path, val=0).train[0].shape
        except DataError as error:
            shape = "data_batch_1" in str(error)
        assert shape in (True, (1, 32, 32, 3))


# Download


@pytest.mark.parametrize("read", [cifar10, cifar100])
def test_download_unpacks_what_is_missing(binary, monkeypatch, read):
    root, _ = binary
    calls = []
    monkeypatch.setattr(module, "fetch", lambda remote, path: calls.append(path.name) or path)
    monkeypatch.setattr(module, "unpack", lambda archive, members, folder: calls.append(len(members)))
    if read is cifar10:
        read(root, download=True)
        assert calls == []
        (root / "data_batch_1.bin").unlink()
    with pytest.raises(FileNotFoundError, match=f"{read.__name__}: there is no"):
        read(root, download=True)
    assert calls == (["cifar-10-binary.tar.gz", 6] if read is cifar10 else ["cifar-100-binary.tar.gz", 2])


@pytest.mark.skipif(not DATA, reason="CNNLAYERS_DATA is unset: the folder with cifar-10-batches-bin/")
def test_real_photographs():
    data = cifar10(DATA, val=1000)
    assert repr(data) == "Dataset(train=9000, val=1000, test=2000 images of 32 x 32 x 3, 10 classes)"
    assert np.bincount(np.concatenate([data.train[1], data.val[1]])).tolist() == [1000] * 10
    assert np.bincount(data.test[1]).tolist() == [200] * 10
    assert 110 < data.train[0].mean() < 130

"""MNIST's four files in a folder."""

import gzip

import numpy as np
import pytest

from cnnlayers import DataError
from cnnlayers.command import sources
from cnnlayers.data import mnist as module
from cnnlayers.data.datasets import fashion_mnist, mnist
from cnnlayers.data.download import Remote
from tests.data.test_idx import encode

IMAGES, LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"


def make(folder, n=50, size=(6, 5), packed=True):
    """Write the four files; give the arrays by prefix."""
    rng = np.random.default_rng(0)
    parts = {}
    for prefix, count in (("train", n), ("t10k", 10)):
        x = rng.integers(0, 256, (count, *size), dtype=np.uint8)
        y = np.arange(count, dtype=np.uint8) % 10
        parts[prefix] = x, y
        for name, a in ((IMAGES, x), (LABELS, y)):
            write(folder, f"{prefix}-{name}", a, packed)
    return parts


def write(folder, name, a, packed=True):
    content = encode(a)
    (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(content) if packed else content)


@pytest.mark.parametrize("packed", [False, True])
def test_the_parts(tmp_path, packed):
    parts = make(tmp_path, packed=packed)
    data = mnist(tmp_path, val=0)
    assert data.val is None
    for pair, prefix in ((data.train, "train"), (data.test, "t10k")):
        np.testing.assert_array_equal(pair[0][..., 0], parts[prefix][0])
        np.testing.assert_array_equal(pair[1], parts[prefix][1])
        assert pair[0].dtype == np.uint8
        assert pair[0].flags.c_contiguous
        assert pair[1].dtype == np.int64
    assert data.classes == tuple("0123456789")
    assert repr(data) == "Dataset(train=50, test=10 images of 6 x 5 x 1, 10 classes)"


def test_a_validation_part_is_drawn(tmp_path):
    parts = make(tmp_path)
    data = mnist(tmp_path)
    assert [len(data.train[1]), len(data.val[1])] == [45, 5]
    again, other = mnist(tmp_path), mnist(tmp_path, rng=1)
    np.testing.assert_array_equal(data.val[0], again.val[0])
    assert not np.array_equal(data.val[0], other.val[0])
    together = np.concatenate([data.train[0], data.val[0]])[..., 0]
    assert sorted(map(bytes, together)) == sorted(map(bytes, parts["train"][0]))


def test_a_relative_of_mnist(tmp_path):
    make(tmp_path)
    assert mnist(tmp_path, classes="ABCDEFGHIJ").classes == tuple("ABCDEFGHIJ")
    assert fashion_mnist(tmp_path).classes[9] == "Ankle boot"


@pytest.mark.parametrize(
    ("name", "a", "text"),
    [
        (f"train-{IMAGES}", np.zeros((50, 30), "u1"), r"expected images \(N, H, W\) of bytes; found uint8 of shape"),
        (f"train-{IMAGES}", np.zeros((50, 6, 5), "i2"), "expected images .*; found int16"),
        (f"train-{IMAGES}", np.zeros((0, 6, 5), "u1"), "expected images"),
        (f"train-{LABELS}", np.zeros(49, "u1"), r"expected 50 labels of a byte; found uint8 of shape \(49,\)"),
        (f"t10k-{LABELS}", np.zeros(10, "i4"), "expected 10 labels of a byte; found int32"),
        (f"t10k-{LABELS}", np.arange(1, 11, dtype="u1"), r"labels must be in 0\.\.9; found 10 at position 9"),
    ],
)
def test_files_that_do_not_fit(tmp_path, name, a, text):
    make(tmp_path)
    write(tmp_path, name, a)
    with pytest.raises(DataError, match=f"{name}.gz: {text}"):
        mnist(tmp_path)


def dotted(folder, name, content):
    (folder / name.replace("-idx", ".idx")).write_bytes(content)


def dotted_and_packed(folder, name, content):
    (folder / f"{name.replace('-idx', '.idx')}.gz").write_bytes(gzip.compress(content))


def in_capitals(folder, name, content):
    (folder / f"{name.upper()}.GZ").write_bytes(gzip.compress(content))


def nested(folder, name, content):
    (folder / name).mkdir()
    (folder / name / name).write_bytes(content)


def nested_and_dotted(folder, name, content):
    (folder / name.replace("-idx", ".idx")).mkdir()
    dotted(folder / name.replace("-idx", ".idx"), name, content)


def packed_beside_a_folder(folder, name, content):
    (folder / name).mkdir()
    (folder / f"{name}.gz").write_bytes(gzip.compress(content))


def packed_beside_nothing(folder, name, content):
    (folder / name).write_bytes(b"")
    (folder / f"{name}.gz").write_bytes(gzip.compress(content))


def packed_beside_a_half(folder, name, content):
    (folder / name).write_bytes(content[: len(content) // 2])
    (folder / f"{name}.gz").write_bytes(gzip.compress(content))


def beside_a_damaged_packed_one(folder, name, content):
    (folder / name.replace("-idx", ".idx")).write_bytes(content)
    (folder / f"{name}.gz").write_bytes(gzip.compress(content)[:30])


def in_raw(folder, name, content):
    (folder / "raw").mkdir(exist_ok=True)
    (folder / "raw" / name).write_bytes(content)


def one_level_deeper(folder, name, content):
    (folder / "__MACOSX").mkdir(exist_ok=True)
    (folder / "digits").mkdir(exist_ok=True)
    (folder / "digits" / name).write_bytes(content)


def two_levels_deeper(folder, name, content):
    (folder / "MNIST").mkdir(exist_ok=True)
    in_raw(folder / "MNIST", name, content)


WAYS = (
    *(dotted, dotted_and_packed, in_capitals, nested, nested_and_dotted, packed_beside_a_folder),
    *(packed_beside_nothing, packed_beside_a_half, beside_a_damaged_packed_one, in_raw),
    *(one_level_deeper, two_levels_deeper),
)


@pytest.mark.parametrize("ways", [*((way,) for way in WAYS), (dotted, nested, in_capitals, packed_beside_nothing)])
def test_as_archives_unpack_it(tmp_path, ways):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    make(tmp_path / "a", packed=False)
    for file, way in zip(sorted((tmp_path / "a").iterdir()), ways * 4, strict=False):
        way(tmp_path / "b", file.name, file.read_bytes())
    for one, other in zip(mnist(tmp_path / "a").train, mnist(tmp_path / "b").train, strict=True):
        np.testing.assert_array_equal(one, other)
    assert sources.open_data(str(tmp_path / "b")).test[1].tolist() == list(range(10))


def test_other_copies_in_a_folder_beside_the_files_are_left_alone(tmp_path):
    make(tmp_path)
    one_level_deeper(tmp_path, f"train-{LABELS}", b"none")
    assert len(mnist(tmp_path, val=0).train[1]) == 50
    (tmp_path / f"train-{LABELS}.gz").unlink()
    with pytest.raises(FileNotFoundError, match=f"there is no train-{LABELS} in"):
        mnist(tmp_path)


def test_clothes_in_a_folder_within(tmp_path):
    (tmp_path / "FashionMNIST" / "raw").mkdir(parents=True)
    make(tmp_path / "FashionMNIST" / "raw")
    assert sources.open_data(str(tmp_path)).classes[0] == "T-shirt/top"


def test_errors_name_the_file_that_is_there(tmp_path):
    make(tmp_path)
    (tmp_path / f"train-{LABELS}.gz").unlink()
    dotted(tmp_path, f"train-{LABELS}", b"none")
    with pytest.raises(DataError, match=r"train-labels\.idx1-ubyte: expected an idx file"):
        mnist(tmp_path)
    (tmp_path / "train-labels.idx1-ubyte").rename(tmp_path / "labels-of-train")
    with pytest.raises(FileNotFoundError, match=f"there is no train-{LABELS} in .*; found labels-of-train, t10k-"):
        mnist(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"in .*nowhere, which is no folder"):
        mnist(tmp_path / "nowhere")


def test_parts_of_two_sizes(tmp_path):
    make(tmp_path)
    write(tmp_path, f"t10k-{IMAGES}", np.zeros((10, 5, 5), "u1"))
    with pytest.raises(DataError, match=r"expected test images of \(6, 5\); found \(5, 5\)"):
        mnist(tmp_path)


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"mnist: there is no train-{IMAGES} in .*; download=True fetches it"):
        mnist(tmp_path)


def test_download_fetches_what_is_missing(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    make(tmp_path / "elsewhere")
    asked = []

    def fetch(remote, path):
        asked.append(remote.url)
        path.write_bytes((tmp_path / "elsewhere" / path.name).read_bytes())

    monkeypatch.setattr(module, "fetch", fetch)
    root = tmp_path / "root"
    root.mkdir()
    write(root, f"t10k-{LABELS}", np.zeros(10, "u1"), packed=False)  # is there, unpacked
    data = mnist(root, download=True)
    assert [url.rpartition("/")[2] for url in asked] == [
        f"train-{IMAGES}.gz",
        f"train-{LABELS}.gz",
        f"t10k-{IMAGES}.gz",
    ]
    assert not data.test[1].any()
    mnist(root, download=True)
    assert len(asked) == 3


@pytest.mark.parametrize("table", [module.MNIST_FILES, module.FASHION_FILES])
def test_what_is_known_of_the_files(table):
    assert len(table) == 4
    for name, remote in table.items():
        assert isinstance(remote, Remote)
        assert remote.url.endswith(f"/{name}")
        assert len(bytes.fromhex(remote.sha256)) == 32

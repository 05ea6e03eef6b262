"""DATA: what it may be."""

import dataclasses
import gzip
import struct

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import DataError
from cnnlayers.command import sources
from cnnlayers.data.source import Source, has_any
from tests.command import common


def write_idx(path, array):
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    data = head + array.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def mnist(root, suffix=""):
    rng = np.random.default_rng(0)
    for prefix, n in (("train", 20), ("t10k", 5)):
        write_idx(root / f"{prefix}-images-idx3-ubyte{suffix}", rng.integers(0, 256, (n, 28, 28), dtype=np.uint8))
        write_idx(root / f"{prefix}-labels-idx1-ubyte{suffix}", (np.arange(n) % 10).astype(np.uint8))
    return root


def cifar(root, names, label_bytes):
    root.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for name in names:
        records = rng.integers(0, 256, (20, label_bytes + 3072), dtype=np.uint8)
        records[:, :label_bytes] = 1
        records.tofile(root / name)
    return root


def test_digits():
    assert repr(sources.open_data("digits")) == repr(cl.datasets.digits())


def test_a_folder_of_images(tmp_path):
    root = common.image_folder(tmp_path / "photos")
    data = sources.open_data(str(root), size=(9, 11), channels=1, val=4, test=0.25)
    assert repr(data) == "Dataset(train=14, val=4, test=6 images of 9 x 11 x 1, 2 classes)"
    assert data.classes == ("bright", "dark")
    other = sources.open_data(str(root), size=(9, 11), channels=1, val=4, test=0.25, seed=1)
    assert not np.array_equal(data.test[1], other.test[1]) or not np.array_equal(data.test[0], other.test[0])


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_mnist(suffix, tmp_path):
    data = sources.open_data(str(mnist(tmp_path, suffix)))
    assert repr(data) == "Dataset(train=18, val=2, test=5 images of 28 x 28 x 1, 10 classes)"


def test_cifar(tmp_path):
    ten = cifar(tmp_path / "ten", ["data_batch_1.bin", "test_batch.bin"], 1)
    assert repr(sources.open_data(str(ten), val=5)) == (
        "Dataset(train=15, val=5, test=20 images of 32 x 32 x 3, 10 classes)"
    )
    hundred = tmp_path / "hundred"
    hundred.mkdir()
    cifar(hundred / "cifar-100-binary", ["train.bin", "test.bin"], 2)
    assert len(sources.open_data(str(hundred)).classes) == 100


@pytest.mark.parametrize(
    ("folder", "reader"),
    [
        ("data/mnist", "mnist"),
        ("MNIST/", "mnist"),
        ("fashion_mnist", "fashion_mnist"),
        ("data/Fashion-MNIST", "fashion_mnist"),
        ("cifar10", "cifar10"),
        ("CIFAR-100", "cifar100"),
    ],
)
def test_downloads_go_by_the_folders_name(folder, reader, tmp_path, monkeypatch):
    calls = []

    def noting(read):
        return lambda *a, **options: calls.append((a, options)) if read is getattr(cl.datasets, reader) else None

    fakes = [dataclasses.replace(source, read=noting(source.read)) for source in sources.SOURCES]
    monkeypatch.setattr(sources, "SOURCES", fakes)
    sources.open_data(f"{tmp_path}/{folder}", val=7, seed=3, download=True)
    assert calls == [((tmp_path / folder,), {"download": True, "val": 7, "rng": 3})]


@pytest.mark.parametrize(("link", "target"), [("fashion-mnist", "store"), ("mine", "fashion-mnist")])
def test_a_link_has_the_name_of_either_end(link, target, tmp_path):
    (tmp_path / target).mkdir()
    mnist(tmp_path / target)
    (tmp_path / link).symlink_to(target)
    assert sources.open_data(str(tmp_path / link), val=5).classes[0] == "T-shirt/top"


def test_a_file_that_is_missing_can_be_fetched(tmp_path):
    root = mnist(tmp_path)
    (root / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no t10k-labels-idx1-ubyte in .*; --download fetches it"):
        sources.open_data(str(root))


@pytest.mark.parametrize("name", ["photos", "digits", "mnist.npz", "cifar"])
def test_what_cannot_be_downloaded(name):
    with pytest.raises(ValueError, match=f"--download needs DATA to be a folder named mnist, .*; got '{name}'"):
        sources.open_data(name, download=True)


def test_emnist(tmp_path):
    for split in ("digits", "letters"):
        for part, n in (("train", 52), ("test", 26)):
            labels = np.arange(n) % 10 if split == "digits" else 1 + np.arange(n) % 26
            write_idx(tmp_path / f"emnist-{split}-{part}-images-idx3-ubyte.gz", np.zeros((n, 28, 28), np.uint8))
            write_idx(tmp_path / f"emnist-{split}-{part}-labels-idx1-ubyte.gz", labels.astype(np.uint8))
    with pytest.raises(DataError, match="expected one split of EMNIST, or --split NAME; found digits, letters"):
        sources.open_data(str(tmp_path))
    data = sources.open_data(str(tmp_path), val=2, split="letters")
    assert repr(data) == "Dataset(train=50, val=2, test=26 images of 28 x 28 x 1, 26 classes)"


def test_npz(tmp_path):
    data = sources.open_data(str(common.npz_file(tmp_path / "a.npz")), val=0)
    assert repr(data) == "Dataset(train=60, test=12 images of 8 x 8 x 1, 3 classes)"


def test_what_is_no_data(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"there is no data at .*none; DATA is digits, a folder, or an npz file"
    ):
        sources.open_data(str(tmp_path / "none"))
    with pytest.raises(DataError, match="expected a folder of images for each class"):
        sources.open_data(str(tmp_path))
    (tmp_path / "a.csv").write_text("1,2")
    with pytest.raises(DataError, match=r"a\.csv: expected an npz file or a folder"):
        sources.open_data(str(tmp_path / "a.csv"))


def test_another_source_is_read_and_listed(tmp_path, monkeypatch):
    def tables(path, val=0.1):
        return path.name, val

    own = Source(tables, lambda path: path.suffix == ".tab", "a table", is_file=True)
    folder = Source(tables, lambda path: has_any(path, "kmnist"), "a folder of {} files", "KMNIST's", "kmnist")
    monkeypatch.setattr(sources, "SOURCES", (own, folder, *sources.SOURCES))
    (tmp_path / "a.tab").write_text("1")
    assert sources.open_data(str(tmp_path / "a.tab"), val=3, signals=True) == ("a.tab", 3)
    (tmp_path / "kmnist").mkdir()
    assert sources.open_data(str(tmp_path)) == (tmp_path.name, 0.1)
    assert sources.data_help() == (
        "digits, a folder with a folder of images for each class, "
        "a folder of KMNIST's, MNIST's, EMNIST's or CIFAR's files, "
        "a table, or an npz"
    )
    (tmp_path / "a.csv").write_text("1,2")
    with pytest.raises(DataError, match="expected a table or an npz file or a folder"):
        sources.open_data(str(tmp_path / "a.csv"))


def test_parts(tmp_path):
    whole = cl.datasets.digits()
    assert sources.held_out(whole)[0] == "test"
    only = cl.datasets.arrays(whole.train)
    assert sources.held_out(only)[0] == "train"
    assert sources.held_out(cl.datasets.arrays(whole.train, whole.val))[0] == "val"
    with pytest.raises(ValueError, match="photos has no test part; it has train"):
        sources.part_of(only, "test", "photos")

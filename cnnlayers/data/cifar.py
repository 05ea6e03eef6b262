"""CIFAR-10 and CIFAR-100: small colour photographs.

The binary version is a run of records: the label (CIFAR-100: coarse label, fine label), a byte each, then the 32 x 32
pixels of red, of green and of blue. Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images",
2009.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .download import Remote, fetch, unpack
from .parts import Dataset, Pair, check_labels, split
from .source import Source, has_any

__all__ = ["SOURCES", "cifar10", "cifar100"]

PIXELS = 3 * 32 * 32  # bytes of an image

CIFAR10 = Remote(
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    170_052_171,
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)
CIFAR10_MEMBERS = {
    f"cifar-10-batches-bin/{name}.bin": 10_000 * (1 + PIXELS)
    for name in (
        *(f"data_batch_{i}" for i in range(1, 6)),
        "test_batch",
    )
}
CIFAR100 = Remote(
    "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    168_513_733,
    "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
)
CIFAR100_MEMBERS = {
    "cifar-100-binary/train.bin": 50_000 * (2 + PIXELS),
    "cifar-100-binary/test.bin": 10_000 * (2 + PIXELS),
}

CLASSES10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# fmt: off
CLASSES100 = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl",
    "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair",
    "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin",
    "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp",
    "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain",
    "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck",
    "pine_tree", "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket",
    "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider", "squirrel",
    "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor",
    "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
)
COARSE_CLASSES100 = (
    "aquatic_mammals", "fish", "flowers", "food_containers", "fruit_and_vegetables",
    "household_electrical_devices", "household_furniture", "insects", "large_carnivores",
    "large_man-made_outdoor_things", "large_natural_outdoor_scenes", "large_omnivores_and_herbivores",
    "medium_mammals", "non-insect_invertebrates", "people", "reptiles", "small_mammals", "trees", "vehicles_1",
    "vehicles_2",
)
# fmt: on


def cifar10(root: str | os.PathLike, download: bool = False, *, val: int | float = 0.1, rng: Any = 0) -> Dataset:
    """Read CIFAR-10 from a folder: the binary version, data_batch_1.bin, ..., test_batch.bin, or the Python version.

    Batches are numbered from 1 without a gap and may hold any whole number of records, so a part of the data set can
    be read too. The Python version's files are pickles; they are read by a reader that makes arrays, numbers, text,
    lists and dicts and nothing else.

    Parameters
    ----------
    root : str or path
        The folder of the batches, or the one that contains cifar-10-batches-bin or cifar-10-batches-py.
    download : bool
        Fetch and unpack the binary version if there is neither: 170 MB.
    val : int or float
        The validation part, drawn from the training part: an int is a number of images, a float below 1 a share of
        them.
    rng : int or numpy.random.Generator
        Draws the validation part.

    Returns
    -------
    Dataset
        x (N, 32, 32, 3) of uint8; in all 50,000 images for training and validation and 10,000 for testing.

    Raises
    ------
    DataError
        If a file is damaged.
    FileNotFoundError
        If one is not there.
    """
    root = Path(root)
    if download and _folder(root, ("data_batch_1.bin", "data_batch_1"), CIFAR10_FOLDERS) is None:
        unpack(fetch(CIFAR10, root / "cifar-10-binary.tar.gz"), CIFAR10_MEMBERS, root)
    folder = _folder(root, ("data_batch_1.bin", "data_batch_1"), CIFAR10_FOLDERS)
    if folder is None:
        raise _missing("cifar10", root, "data_batch_1.bin")
    binary = (folder / "data_batch_1.bin").exists()
    suffix = ".bin" if binary else ""
    parts = [
        _batch(folder / f"data_batch_{i}{suffix}", 1, 0, CLASSES10) for i in range(1, 1 + _batches(folder, suffix))
    ]
    train = np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])
    return split("cifar10", train, val, _batch(folder / f"test_batch{suffix}", 1, 0, CLASSES10), CLASSES10, rng)


def cifar100(
    root: str | os.PathLike, download: bool = False, *, labels: str = "fine", val: int | float = 0.1, rng: Any = 0
) -> Dataset:
    """Read CIFAR-100 from a folder: the binary version, train.bin and test.bin, or the Python version.

    Parameters
    ----------
    root : str or path
        The folder of the files, or the one that contains cifar-100-binary or cifar-100-python.
    download : bool
        Fetch and unpack the binary version if there is neither: 169 MB.
    labels : {"fine", "coarse"}
        The 100 classes, or the 20 groups of them.
    val, rng
        As for `cifar10`.

    Returns
    -------
    Dataset
        x (N, 32, 32, 3) of uint8.

    Raises
    ------
    DataError
        If a file is damaged.
    FileNotFoundError
        If one is not there.
    """
    if labels not in ("fine", "coarse"):
        raise ValueError(f'cifar100: labels must be "fine" or "coarse"; got {labels!r}')
    root = Path(root)
    if download and _folder(root, ("train.bin", "train"), CIFAR100_FOLDERS) is None:
        unpack(fetch(CIFAR100, root / "cifar-100-binary.tar.gz"), CIFAR100_MEMBERS, root)
    folder = _folder(root, ("train.bin", "train"), CIFAR100_FOLDERS)
    if folder is None:
        raise _missing("cifar100", root, "train.bin")
    suffix = ".bin" if (folder / "train.bin").exists() else ""
    classes, column = (CLASSES100, 1) if labels == "fine" else (COARSE_CLASSES100, 0)
    train, test = (_batch(folder / f"{name}{suffix}", 2, column, classes) for name in ("train", "test"))
    return split("cifar100", train, val, test, classes, rng)


CIFAR10_FOLDERS = ("", "cifar-10-batches-bin", "cifar-10-batches-py")
CIFAR100_FOLDERS = ("", "cifar-100-binary", "cifar-100-python")


def _folder(root: Path, names: tuple[str, ...], folders: tuple[str, ...]) -> Path | None:
    """The first folder that has one of the files, or None."""
    return next((root / f for f in folders if any((root / f / name).is_file() for name in names)), None)


def _missing(who: str, root: Path, name: str) -> FileNotFoundError:
    return FileNotFoundError(
        f"{who}: there is no {name} in {root} or in its folder of that name; download=True fetches it"
    )


def _batches(folder: Path, suffix: str) -> int:
    """How many training batches there are; a gap in their numbers is an error."""
    numbers = [i for i in range(1, 10) if (folder / f"data_batch_{i}{suffix}").exists()]
    if numbers != list(range(1, len(numbers) + 1)):
        gap = next(i for i in range(1, 10) if i not in numbers)
        raise DataError(f"{folder}: expected data_batch_{gap}{suffix} before the later ones; found {numbers}")
    return len(numbers)


def _batch(path: Path, label_bytes: int, column: int, classes: tuple[str, ...]) -> Pair:
    """Images and labels of one file; `column` is the byte of a record that is the label."""
    if path.suffix == ".bin":
        planes, y = _records(path, label_bytes, column)
    else:
        from .python_batch import read_batch  # here, so that importing the package stays quick

        key = ("labels", "coarse_labels", "fine_labels")[column + (label_bytes == 2)]
        planes, y = read_batch(path, key, PIXELS)
    check_labels(str(path), y, len(classes))
    x = planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(x), y.astype(np.int64)


def _records(path: Path, label_bytes: int, column: int) -> Pair:
    size, record = path.stat().st_size, label_bytes + PIXELS
    if size == 0 or size % record:
        raise DataError(
            f"{path}: expected records of {record:,} bytes; found {size:,} bytes, which is no whole number of them"
        )
    records = np.fromfile(path, np.uint8).reshape(-1, record)
    return records[:, label_bytes:], records[:, column]


SOURCES = (
    Source(
        cifar10,
        lambda path: has_any(path, "data_batch_1.bin", "data_batch_1", *CIFAR10_FOLDERS[1:]),
        "a folder of {} files",
        "CIFAR's",
        sign="CIFAR's data_batch_1.bin",
        download="cifar10",
    ),
    Source(
        cifar100,
        lambda path: has_any(path, "train.bin", "meta", *CIFAR100_FOLDERS[1:]),
        "a folder of {} files",
        "CIFAR's",
        download="cifar100",
    ),
)

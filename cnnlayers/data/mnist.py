"""MNIST, and data sets in its files: Fashion-MNIST, Kuzushiji-MNIST and their like."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .download import Remote, fetch
from .idx_folder import candidates, images_and_labels, names_in, places
from .parts import Dataset, Pair, check_labels, split
from .source import Source, named_after

__all__ = ["SOURCES", "fashion_mnist", "mnist"]

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

MNIST_FILES = {
    name: Remote(f"https://storage.googleapis.com/cvdf-datasets/mnist/{name}", size, sha256)
    for name, size, sha256 in (
        (
            "train-images-idx3-ubyte.gz",
            9_912_422,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        ),
        (
            "train-labels-idx1-ubyte.gz",
            28_881,
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        ),
        (
            "t10k-images-idx3-ubyte.gz",
            1_648_877,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        ),
        (
            "t10k-labels-idx1-ubyte.gz",
            4_542,
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    )
}

FASHION_FILES = {
    name: Remote(f"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/{name}", size, sha256)
    for name, size, sha256 in (
        (
            "train-images-idx3-ubyte.gz",
            26_421_880,
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        ),
        (
            "train-labels-idx1-ubyte.gz",
            29_515,
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        ),
        (
            "t10k-images-idx3-ubyte.gz",
            4_422_102,
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        ),
        (
            "t10k-labels-idx1-ubyte.gz",
            5_148,
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    )
}


def mnist(
    root: str | os.PathLike,
    download: bool = False,
    *,
    val: int | float = 0.1,
    rng: Any = 0,
    classes: Iterable[str] = tuple("0123456789"),
) -> Dataset:
    """Read MNIST, or another data set in files of its names and format, from a folder.

    The files are train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte,
    each plain or with .gz, also as train-images.idx3-ubyte, or each in a folder of its name, or all in a folder raw or
    MNIST/raw, as archives unpack. Other idx files can be read one by one with `idx`.

    Parameters
    ----------
    root : str or path
        The folder.
    download : bool
        Fetch what is missing: 11.6 MB.
    val : int or float
        The validation part, drawn from the training part: an int is a number of images, a float below 1 a share of
        them.
    rng : int or numpy.random.Generator
        Draws the validation part.
    classes : sequence of str
        The names of the labels, for other data sets than MNIST.

    Returns
    -------
    Dataset
        x (N, 28, 28, 1) of uint8; MNIST has 60,000 images for training and validation and 10,000 for testing.

    Raises
    ------
    DataError
        If a file is damaged, or images and labels do not fit together.
    FileNotFoundError
        If a file is not there.

    Notes
    -----
    Source: Y. LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998.
    """
    return _read("mnist", Path(root), MNIST_FILES if download else {}, val, rng, tuple(map(str, classes)))


def fashion_mnist(root: str | os.PathLike, download: bool = False, *, val: int | float = 0.1, rng: Any = 0) -> Dataset:
    """Read Fashion-MNIST: as `mnist`, with pictures of ten kinds of clothes; the download is 30.9 MB.

    Notes
    -----
    Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
    Algorithms", 2017.
    """
    return _read("fashion_mnist", Path(root), FASHION_FILES if download else {}, val, rng, FASHION_CLASSES)


def _read(who: str, root: Path, remotes: dict[str, Remote], val: Any, rng: Any, classes: tuple[str, ...]) -> Dataset:
    for name, remote in remotes.items():
        if not candidates(root, name.removesuffix(".gz")):
            fetch(remote, root / name)
    train, test = (_part(who, root, prefix, classes) for prefix in ("train", "t10k"))
    if train[0].shape[1:] != test[0].shape[1:]:
        raise DataError(f"{root}: expected test images of {train[0].shape[1:3]}; found {test[0].shape[1:3]}")
    return split(who, train, val, test, classes, rng)


def _part(who: str, root: Path, prefix: str, classes: tuple[str, ...]) -> Pair:
    """Images and labels of one part."""
    names = f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"
    x, y, label_file = images_and_labels(who, root, *names, hint="; download=True fetches it")
    check_labels(str(label_file), y, len(classes))
    return x[..., np.newaxis], y.astype(np.int64)


def _has_files(path: Path) -> bool:
    return "train-images-idx3-ubyte" in names_in(path)


def _is_fashion(path: Path) -> bool:
    """Whether a folder, or the one in it, is named after Fashion-MNIST, whose files have the names of MNIST's."""
    names = (named_after(place, ("mnist", "fashion-mnist")) for place in places(path))
    return next(filter(None, names), None) == "fashion-mnist"


SOURCES = (
    Source(
        mnist,
        lambda path: _has_files(path) and not _is_fashion(path),
        "a folder of {} files",
        "MNIST's",
        sign="MNIST's train-images-idx3-ubyte",
        download="mnist",
    ),
    Source(
        fashion_mnist,
        lambda path: _has_files(path) and _is_fashion(path),
        "a folder of {} files",
        "MNIST's",
        download="fashion-mnist",
    ),
)

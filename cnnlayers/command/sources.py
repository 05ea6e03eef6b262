"""DATA of the command: what it is, and its reader."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..data import datasets
from ..data.dataset import Dataset
from ..errors import DataError

MNIST = ("train-images-idx3-ubyte", "train-images-idx3-ubyte.gz")
CIFAR10 = ("data_batch_1.bin", "data_batch_1", "cifar-10-batches-bin", "cifar-10-batches-py")
CIFAR100 = ("train.bin", "cifar-100-binary", "cifar-100-python", "meta")
KNOWN = {"mnist": "mnist", "fashionmnist": "fashion_mnist", "cifar10": "cifar10", "cifar100": "cifar100"}


def open_data(
    name: str,
    *,
    size: Sequence[int] = (32, 32),
    channels: int = 3,
    val: int | float = 0.1,
    test: int | float = 0.1,
    seed: int = 0,
    signals: bool | None = None,
    download: bool = False,
) -> Dataset:
    """Read `digits`, a folder of images, of MNIST's or of CIFAR's files, or an npz file.

    `size` and `channels` are for folders of images. `val` and `test` say how much is drawn for these parts where the
    data has none of its own (`test`: of folders of images). `signals` is for npz files.
    `download` fetches what is missing of a data set that the folder is named after.
    """
    path = Path(name)
    if download:
        check_download(name)
        return _known(path)(path, download=True, val=val, rng=seed)
    if name == "digits":
        return datasets.digits()
    if not path.exists():
        hint = "--download fetches it" if _known(path) else "DATA is digits, a folder, or an npz file"
        raise FileNotFoundError(f"there is no data at {name}; {hint}")
    if path.is_file():
        if path.suffix != ".npz":
            raise DataError(f"{name}: expected an npz file or a folder; found another file")
        return datasets.npz(path, val=val, rng=seed, signals=signals)
    readers: list[tuple[Sequence[str], Callable[..., Dataset]]] = [
        (MNIST, datasets.fashion_mnist if _known(path) is datasets.fashion_mnist else datasets.mnist),
        (CIFAR10, datasets.cifar10),
        (CIFAR100, datasets.cifar100),
    ]
    for files, reader in readers:
        if any((path / file).exists() for file in files):
            try:
                return reader(path, val=val, rng=seed)
            except FileNotFoundError as error:
                raise FileNotFoundError(str(error).replace("download=True", "--download")) from None
    if not any(entry.is_dir() for entry in path.iterdir()):
        raise DataError(
            f"{name}: expected a folder of images for each class, MNIST's train-images-idx3-ubyte or CIFAR's "
            "data_batch_1.bin; found none of them"
        )
    return datasets.image_folder(path, tuple(size), channels=channels, val=val, test=test, rng=seed)


def check_download(name: str) -> None:
    """Raise ValueError unless a folder is named after a data set that can be fetched."""
    if _known(Path(name)) is None:
        raise ValueError(
            f"--download needs DATA to be a folder named mnist, fashion-mnist, cifar10 or cifar100; got {name!r}"
        )


def _known(folder: Path) -> Any:
    """The reader of the data set that a folder is named after, or None: in capitals or not, with - and _ or without."""
    names = [path.name.lower().replace("-", "").replace("_", "") for path in (folder, folder.resolve())]
    reader = next((KNOWN[name] for name in names if name in KNOWN), None)  # a link's own name goes first
    return None if reader is None else getattr(datasets, reader)


def held_out(data: Dataset) -> tuple[str, Any]:
    """Give the name of the part to judge a net by, and the part: test, or else val, or else train."""
    return next((name, getattr(data, name)) for name in ("test", "val", "train") if getattr(data, name) is not None)


def part_of(data: Dataset, name: str, source: str) -> Any:
    """Give one part; it is an error if the data has none."""
    part = getattr(data, name)
    if part is None:
        there = [other for other in ("train", "val", "test") if getattr(data, other) is not None]
        raise ValueError(f"{source} has no {name} part; it has {', '.join(there)}")
    return part

"""Folders of idx files: which file is the one that is meant, under the names that archives unpack to."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import DataError
from .idx import idx
from .layout import folders_in

__all__ = ["candidates", "images_and_labels", "names_in", "places"]

INNER = ("gzip", "raw")  # folders that the files may be in
MOST_LEVELS = 3  # such as data/MNIST/raw
MOST_NAMED = 8


def plain(name: str) -> str:
    """Give a file's name as it was published: train-images.idx3-ubyte.GZ is train-images-idx3-ubyte.

    >>> plain("Train-Images.idx3-ubyte.gz")
    'train-images-idx3-ubyte'
    """
    return name.lower().removesuffix(".gz").replace(".", "-").replace("_", "-")


def candidates(root: Path, name: str) -> list[Path]:
    """Give the files in a folder that may be the one of this name, which is plain: unpacked ones first.

    They may lie in a folder of the file's name, and all in a folder gzip or raw, or one or two levels deeper if there
    is nothing else. Empty files are left out.
    """
    found = []
    for place in places(root):
        for entry in sorted(place.iterdir(), key=lambda entry: entry.name):
            if plain(entry.name) == name:
                inside = [file for file in entry.iterdir() if plain(file.name) == name] if entry.is_dir() else [entry]
                found += [file for file in inside if file.is_file() and file.stat().st_size > 0]
    return sorted(found, key=lambda file: file.suffix.lower() == ".gz")


def names_in(root: Path) -> list[str]:
    """Give the plain names of all that is in a folder."""
    return sorted({plain(entry.name) for place in places(root) for entry in place.iterdir()})


def images_and_labels(
    who: str, root: Path, images: str, labels: str, hint: str = ""
) -> tuple[np.ndarray, np.ndarray, Path]:
    """Read images (N, H, W) and labels (N,) of bytes from the two files of these plain names; also give the labels'.

    Raises
    ------
    DataError
        If a file is damaged, or the two do not fit together.
    FileNotFoundError
        If one is not there; `hint` says what else may help.
    """
    image_file, x = _read(who, root, images, hint)
    label_file, y = _read(who, root, labels, hint)
    if x.ndim != 3 or x.dtype != np.uint8 or 0 in x.shape:
        raise DataError(f"{image_file}: expected images (N, H, W) of bytes; found {x.dtype} of shape {x.shape}")
    if y.shape != x.shape[:1] or y.dtype != np.uint8:
        raise DataError(f"{label_file}: expected {len(x)} labels of a byte; found {y.dtype} of shape {y.shape}")
    return x, y, label_file


def _read(who: str, root: Path, name: str, hint: str) -> tuple[Path, np.ndarray]:
    """Read the first of the candidates that is whole."""
    first: DataError | None = None
    for file in candidates(root, name):
        try:
            return file, idx(file)
        except DataError as error:  # a good one may lie beside it
            first = first or error
    if first is not None:
        raise first
    if not root.is_dir():
        raise FileNotFoundError(f"{who}: there is no {name} in {root}, which is no folder{hint}")
    there = sorted(entry.name for entry in root.iterdir())
    more = f" and {len(there) - MOST_NAMED} more" if len(there) > MOST_NAMED else ""
    shown = f"; found {', '.join(there[:MOST_NAMED])}{more}" if there else ""
    raise FileNotFoundError(f"{who}: there is no {name} in {root}, nor {name}.gz, or it is empty{shown}{hint}")


def places(root: Path) -> list[Path]:
    """Give the folders that may hold the files: this one and its `INNER`; if it has a single folder, that one's too."""
    found: list[Path] = []
    for _ in range(MOST_LEVELS):
        if not root.is_dir():
            break
        names = folders_in(root)
        inner = [name for name in names if name.lower() in INNER]
        found += [root, *(root / name for name in inner)]
        if len(names) != 1 or inner or any(plain(file.name).endswith("-ubyte") for file in root.iterdir()):
            break
        root /= names[0]
    return found

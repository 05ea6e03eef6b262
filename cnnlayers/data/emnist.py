"""EMNIST: handwritten letters and digits, in MNIST's format."""

from __future__ import annotations

import os
import string
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .idx_folder import candidates, images_and_labels, names_in
from .parts import Dataset, check_labels
from .parts import split as split_off
from .source import Source

__all__ = ["SOURCE", "emnist"]

MERGED = string.digits + string.ascii_uppercase + "abdefghnqrt"  # small letters that differ from capitals
CLASSES = {
    "balanced": MERGED,
    "byclass": string.digits + string.ascii_uppercase + string.ascii_lowercase,
    "bymerge": MERGED,
    "digits": string.digits,
    "letters": string.ascii_uppercase,
    "mnist": string.digits,
}


def emnist(root: str | os.PathLike, split: str | None = None, *, val: int | float = 0.1, rng: Any = 0) -> Dataset:
    """Read a split of EMNIST from a folder.

    The files are emnist-SPLIT-train-images-idx3-ubyte and so on, each plain or with .gz, in the folder or in one within
    it, as the archive unpacks. The images are stored transposed, and are turned; the labels of the letters,
    which begin at 1, become 0 to 25.

    Parameters
    ----------
    root : str or path
        The folder.
    split : {"balanced", "byclass", "bymerge", "digits", "letters", "mnist"}, optional
        Which one; by default the one that is there.
    val : int or float
        The validation part, drawn from the training part: an int is a number of images, a float below 1 a share of
        them.
    rng : int or numpy.random.Generator
        Draws the validation part.

    Returns
    -------
    Dataset
        x (N, 28, 28, 1) of uint8; classes are characters, as emnist-SPLIT-mapping.txt has them if it is there. Letters
        that are not told apart from their capitals have the capital's name.

    Raises
    ------
    DataError
        If a file is damaged, or there are several splits and none is named.
    FileNotFoundError
        If a file is not there.

    Notes
    -----
    Source: G. Cohen, S. Afshar, J. Tapson, A. van Schaik, "EMNIST: an extension of MNIST to handwritten letters", 2017.
    """
    root = Path(root)
    if split is not None and split not in CLASSES:
        raise ValueError(f"emnist: split must be one of {', '.join(CLASSES)}; got {split!r}")
    if split is None:
        split = _only_split(root)
    classes = _classes(root, split)
    parts = {}
    for part in ("train", "test"):
        images, labels = (f"emnist-{split}-{part}-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1"))
        parts[part] = images_and_labels("emnist", root, images, labels, hint=_there(root))
    from_one = split == "letters" and all(y.min() > 0 for _, y, _ in parts.values())
    pairs = []
    for x, y, file in parts.values():
        y = y.astype(np.int64) - from_one
        check_labels(str(file), y, len(classes))
        pairs.append((np.ascontiguousarray(x.swapaxes(1, 2))[..., np.newaxis], y))
    if pairs[0][0].shape[1:] != pairs[1][0].shape[1:]:
        raise DataError(f"{root}: expected test images of {pairs[0][0].shape[1:3]}; found {pairs[1][0].shape[1:3]}")
    return split_off("emnist", pairs[0], val, pairs[1], classes, rng)


def _splits(root: Path) -> list[str]:
    """The splits of which a folder has the training images."""
    names = names_in(root)
    return [split for split in CLASSES if f"emnist-{split}-train-images-idx3-ubyte" in names]


def _only_split(root: Path) -> str:
    there = _splits(root)
    if not there:
        raise FileNotFoundError(f"emnist: there is no emnist-SPLIT-train-images-idx3-ubyte in {root}, of any split")
    if len(there) > 1:
        raise DataError(f"{root}: expected one split of EMNIST, or split=NAME; found {', '.join(there)}")
    return there[0]


def _there(root: Path) -> str:
    there = _splits(root)
    return f"; splits that are there: {', '.join(there)}" if there else ""


def _classes(root: Path, split: str) -> tuple[str, ...]:
    """The characters that labels mean: of lines "label code [code of the small letter]", or those that are known."""
    file = next(iter(candidates(root, f"emnist-{split}-mapping-txt")), None)
    if file is None:
        return tuple(CLASSES[split])
    try:
        lines = [[int(number) for number in line.split()] for line in file.read_text(encoding="ascii").splitlines()]
        codes = {line[0]: chr(line[1]) for line in lines if line}
    except (ValueError, IndexError, OverflowError):
        raise DataError(f"{file}: expected lines of a label and the code of a character; found other text") from None
    if len(codes) != len(CLASSES[split]):
        raise DataError(f"{file}: expected {len(CLASSES[split])} labels of {split}; found {len(codes)}")
    return tuple(codes[label] for label in sorted(codes))


SOURCE = Source(
    emnist,
    lambda path: bool(_splits(path)),
    "a folder of {} files",
    "EMNIST's",
    sign="EMNIST's emnist-SPLIT-train-images-idx3-ubyte",
)

"""A folder of images, a folder per class."""

from __future__ import annotations

import dataclasses
import functools
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..names import readable
from ..randomness import random_generator
from .image_file import MODES, DamagedImageError, as_background, as_size, need_pillow, read_image
from .layout import KNOWN, SUFFIXES, class_names, folders_in, images_in, part_folders, unwrapped
from .parts import Dataset, Pair, split
from .source import Source

__all__ = ["SOURCE", "image_folder"]

MOST_NAMED = 5  # damaged files in one message
Damage = list[tuple[Path, DamagedImageError]]


def image_folder(
    root: str | os.PathLike,
    size: int | Sequence[int],
    *,
    channels: int = 3,
    background: int | Sequence[int] = 255,
    val: int | float = 0.1,
    test: int | float = 0,
    rng: Any = 0,
    skip_damaged: bool = False,
    truncated: bool = False,
) -> Dataset:
    """Read a folder that has a folder of images for each class, or folders train, val and test that do.

    Each image is read as `read_image` does: upright, on `background` where it is transparent, scaled so that it covers
    `size`, the rest cut off evenly. Gray images of 16 or 32 bits, as microscopes and depth cameras write them, are
    refused, since 8 bits cannot hold what is in them: scale them to 8 bits, or put them into an npz file. Colours of
    16 bits are cut to 8 by Pillow. It needs Pillow: pip install "cnnlayers[images]".

    The folders of the parts may be named training, valid, validation, dev or testing too, in capitals or not. A folder
    that holds a single folder of such folders, as archives unpack to, is taken for that one. Files that are not images
    by their name are ignored, and so are hidden ones and folders such as __MACOSX and @eaDir. Classes are sorted by
    name, or, if all names are whole numbers, by number; so the same folder gives the same arrays.

    Parameters
    ----------
    root : str or path
    size : int or (height, width)
    channels : {3, 1}
        Colour or gray.
    background : int or sequence of int
        What is seen through transparent pixels, 0 to 255: for all channels, or one for each. White by default.
    val, test : int or float
        Parts that are drawn from the training part, where there are no folders for them: an int is a number of images,
        a float below 1 a share of them.
    rng : int or numpy.random.Generator
        Draws them.
    skip_damaged : bool
        Leave out files from which no image can be decoded, with one warning; `skipped` of what is returned names them.
    truncated : bool
        Take files that break off for what can be decoded of them.

    Returns
    -------
    Dataset
        x (N, height, width, channels) of uint8; classes are the folders' names, with escapes for bytes that are not
        UTF-8.

    Raises
    ------
    ImportError
        If Pillow is not installed.
    DataError
        If images are damaged, too large, or have gray values of more than 8 bits; if there are none of a class; or if
        the folders cannot be understood.
    FileNotFoundError
        If there is no such folder.
    """
    need_pillow("image_folder")
    size = as_size("image_folder", size)
    if channels not in MODES or isinstance(channels, bool):
        raise ValueError(f"image_folder: channels must be 3 or 1; got {channels!r}")
    as_background("image_folder", background, channels)
    rng = random_generator(rng)
    root = unwrapped(Path(root))
    folders = part_folders(root) or {"train": root}
    classes = class_names(folders["train"])
    if len(classes) == 0:
        raise DataError(f"{root}: expected a folder for each class; found none")
    read = functools.partial(
        read_image, size=size, channels=int(channels), background=background, truncated=bool(truncated)
    )
    files = {name: _files(folder, classes) for name, folder in folders.items()}
    damaged: Damage = []
    parts = {name: _read(part, (*size, int(channels)), read, damaged) for name, part in files.items()}
    if damaged:
        _tell(damaged, sum(map(len, files.values())), skip_damaged)
        _check_classes(folders, classes, parts)
    data = _with_parts(parts, val, test, tuple(map(readable, classes)), rng)
    return dataclasses.replace(data, skipped=tuple(str(file) for file, _ in damaged))


def _with_parts(parts: dict[str, Pair], val: Any, test: Any, classes: tuple[str, ...], rng: Any) -> Dataset:
    """The data set, with the parts drawn that are asked for and not there."""
    train, held = parts["train"], parts.get("test")
    if held is None and test:
        whole = split("image_folder", train, test, None, classes, rng)
        train, held = whole.train, whole.val
    if "val" in parts:
        return Dataset(train, parts["val"], held, classes)
    return split("image_folder", train, val, held, classes, rng)


def _files(folder: Path, classes: tuple[str, ...]) -> list[tuple[int, Path]]:
    """All images of a folder of classes, with their labels."""
    names = folders_in(folder)
    unknown = sorted(set(names) - set(classes))
    if unknown or not names:
        raise DataError(
            f"{folder}: expected folders of the classes {', '.join(classes)}; found {', '.join(unknown) or 'none'}"
        )
    files = []
    for label, name in enumerate(classes):
        found = images_in(folder / name)
        if not found:
            raise DataError(
                f"{folder / name}: expected images ({', '.join(sorted(SUFFIXES))}); found none. Each folder "
                f"in {folder} was taken for a class; names of parts that hold such folders are {KNOWN}"
            )
        files += [(label, file) for file in found]
    return files


def _read(
    files: list[tuple[int, Path]], shape: tuple[int, int, int], read: Callable[[Path], np.ndarray], damaged: Damage
) -> Pair:
    """Images and labels of one part, without the damaged files, which are put on a list."""
    x = np.empty((len(files), *shape), np.uint8)
    good = np.ones(len(files), bool)
    for i, (_, file) in enumerate(files):
        try:
            x[i] = read(file)
        except DamagedImageError as error:
            damaged.append((file, error))
            good[i] = False
    y = np.array([label for label, _ in files], np.int64)
    return (x, y) if good.all() else (x[good], y[good])


def _tell(damaged: Damage, total: int, skip: bool) -> None:
    """Warn of the damaged files that are left out, or raise the first one's error, which names the others."""
    names = [str(file) for file, _ in damaged]
    if skip:
        warnings.warn(
            f"image_folder: left out {len(names)} of {total:,} files, which are damaged: {_listed(names)}", stacklevel=3
        )
        return
    others = f"; {len(names) - 1} more of {total:,} files are damaged: {_listed(names[1:])}" if names[1:] else ""
    raise DataError(f"{damaged[0][1]}; skip_damaged=True leaves such files out{others}") from damaged[0][1]


def _listed(names: list[str]) -> str:
    rest = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _check_classes(folders: dict[str, Path], classes: tuple[str, ...], parts: dict[str, Pair]) -> None:
    """Raise an error if a class has lost all its images."""
    for name, (_, y) in parts.items():
        lost = set(range(len(classes))) - set(y.tolist())
        if lost:
            raise DataError(f"{folders[name] / classes[min(lost)]}: expected images; found that all are damaged")


SOURCE = Source(
    image_folder,
    lambda path: path.is_dir() and any(entry.is_dir() for entry in path.iterdir()),
    "a folder with a folder of images for each class",
    sign="a folder of images for each class",
)

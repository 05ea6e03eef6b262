"""A folder of images, a folder per class."""

from __future__ import annotations

import dataclasses
import functools
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..names import readable
from ..randomness import random_generator
from .image_cache import decoded, kept
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
    classes: Sequence[str] | None = None,
    cache: str | os.PathLike | None = None,
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
    classes : sequence of str, optional
        The classes in the order of their labels, instead of all folders that there are. One whose folder is empty or
        not there keeps its label, with a warning if the training part has no image of it.
    cache : str or path, optional
        A folder in which the decoded images are kept, each set in one npy file: they are decoded once, and then read
        from there, mapped into memory, until a file of `root` or an option has changed. So the data may be larger than
        memory. What has been replaced is removed. It must not lie among the folders of `root`.

    Returns
    -------
    Dataset
        x (N, height, width, channels) of uint8; with `cache` read-only. Classes are the folders' names, with escapes
        for bytes that are not UTF-8.

    Raises
    ------
    ImportError
        If Pillow is not installed.
    DataError
        If images are damaged, too large, or have gray values of more than 8 bits; if there are none, or, without
        `classes`, none of a class; if there are folders besides those of `classes`; or if the folders cannot be
        understood.
    FileNotFoundError
        If there is no such folder.
    """
    need_pillow("image_folder")
    size = as_size("image_folder", size)
    if channels not in MODES or isinstance(channels, bool):
        raise ValueError(f"image_folder: channels must be 3 or 1; got {channels!r}")
    ground = as_background("image_folder", background, channels)
    rng = random_generator(rng)
    given = None if classes is None else _as_classes(classes)
    folders, names = _layout(Path(root), given)
    files = {part: _files(folder, names, given is not None) for part, folder in folders.items()}
    listed = [file for part in files.values() for _, file in part]
    read = functools.partial(
        read_image, size=size, channels=int(channels), background=background, truncated=bool(truncated)
    )
    shape = (*size, int(channels))
    if cache is None:
        x, damaged = decoded(listed, shape, read)
    else:
        options = {"background": list(ground), "truncated": bool(truncated)}
        x, damaged = kept(_outside(Path(cache), Path(root)), Path(root), options, listed, shape, read)
    if damaged:
        _tell([(listed[number], error) for number, error in damaged.items()], len(listed), skip_damaged)
    parts = _parts(x, files, set(damaged))
    _check_classes(folders, names, parts, given is not None)
    data = _with_parts(parts, val, test, tuple(map(readable, names)), rng)
    return dataclasses.replace(data, skipped=tuple(str(listed[number]) for number in damaged))


def _as_classes(classes: Any) -> tuple[str, ...]:
    """The names of the classes that are asked for, each once."""
    names = () if isinstance(classes, str) else tuple(classes)
    if not names or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise ValueError(f"image_folder: classes must be names of folders, each once; got {classes!r}")
    return names


def _layout(root: Path, given: tuple[str, ...] | None) -> tuple[dict[str, Path], tuple[str, ...]]:
    """The folder of each part, and the names of the classes' folders; classes that are given may have none."""
    there = set(map(readable, folders_in(root)))
    if given is None or not there or not there <= set(map(readable, given)):
        root = unwrapped(root)
        folders = part_folders(root) or {"train": root}
    else:
        folders = {"train": root}
    if given is not None:
        return folders, given
    names = class_names(folders["train"])
    if len(names) == 0:
        raise DataError(f"{root}: expected a folder for each class; found none")
    return folders, names


def _outside(cache: Path, root: Path) -> Path:
    """The cache's folder, if it cannot be taken for one of images."""
    place, home = cache.resolve(), root.resolve()
    within = place.relative_to(home).parts if place.is_relative_to(home) else None
    if within is not None and not any(name.startswith(".") for name in within):
        raise ValueError(f"image_folder: cache must be a folder outside of {root}, which holds images; got {cache}")
    return cache


def _with_parts(parts: dict[str, Pair], val: Any, test: Any, classes: tuple[str, ...], rng: Any) -> Dataset:
    """The data set, with the parts drawn that are asked for and not there."""
    train, held = parts["train"], parts.get("test")
    if held is None and test:
        whole = split("image_folder", train, test, None, classes, rng)
        train, held = whole.train, whole.val
    if "val" in parts:
        return Dataset(train, parts["val"], held, classes)
    return split("image_folder", train, val, held, classes, rng)


def _files(folder: Path, classes: tuple[str, ...], may_lack: bool) -> list[tuple[int, Path]]:
    """All images of a folder of classes, with their labels; classes without any are errors, unless they `may_lack`."""
    own = {readable(name): name for name in folders_in(folder)}
    unknown = sorted(own.keys() - set(map(readable, classes)))
    if unknown or not (own or may_lack):
        raise DataError(
            f"{folder}: expected folders of the classes {', '.join(map(readable, classes))}; "
            f"found {', '.join(unknown) or 'none'}"
        )
    files = []
    for label, name in enumerate(classes):
        place = folder / own.get(readable(name), name)
        found = images_in(place) if readable(name) in own else []
        if not found and not may_lack:
            raise DataError(
                f"{place}: expected images ({', '.join(sorted(SUFFIXES))}); found none. Each folder "
                f"in {folder} was taken for a class; names of parts that hold such folders are {KNOWN}"
            )
        files += [(label, file) for file in found]
    if not files:
        raise DataError(f"{folder}: expected images of the classes {', '.join(map(readable, classes))}; found none")
    return files


def _parts(x: np.ndarray, files: dict[str, list[tuple[int, Path]]], damaged: set[int]) -> dict[str, Pair]:
    """The images and labels of each part: x has the parts one after the other, without the damaged files."""
    parts, number, start = {}, 0, 0
    for name, part in files.items():
        y = np.array([label for i, (label, _) in enumerate(part, number) if i not in damaged], np.int64)
        parts[name] = (x[start : start + len(y)], y)
        number, start = number + len(part), start + len(y)
    return parts


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


def _check_classes(folders: dict[str, Path], classes: tuple[str, ...], parts: dict[str, Pair], may_lack: bool) -> None:
    """Raise an error if a class has lost all its images; warn of classes that may lack them, and do in training."""
    for name, (_, y) in parts.items():
        lost = [classes[label] for label in sorted(set(range(len(classes))) - set(y.tolist()))]
        if lost and (not may_lack or len(y) == 0):
            raise DataError(f"{folders[name] / lost[0]}: expected images; found that all are damaged")
        if lost and name == "train":
            warnings.warn(
                f"image_folder: {folders[name]} has no images of {', '.join(map(readable, lost))}", stacklevel=3
            )


SOURCE = Source(
    image_folder,
    lambda path: path.is_dir() and any(entry.is_dir() for entry in path.iterdir()),
    "a folder with a folder of images for each class",
    sign="a folder of images for each class",
)

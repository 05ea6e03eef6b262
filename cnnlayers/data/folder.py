"""A folder of images, a folder per class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import as_integer
from ..errors import DataError
from ..randomness import random_generator
from .parts import Dataset, Pair, split
from .source import Source

__all__ = ["SOURCE", "image_folder", "read_image"]

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
MODES = {3: "RGB", 1: "L"}
PARTS = ("train", "val", "test")
MAX_PIXELS = 100_000_000  # of one image: larger ones are attacks, not photographs


def image_folder(
    root: str | os.PathLike,
    size: int | Sequence[int],
    *,
    channels: int = 3,
    val: int | float = 0.1,
    test: int | float = 0,
    rng: Any = 0,
) -> Dataset:
    """Read a folder that has a folder of images for each class, or folders train, val and test that do.

    Each image is scaled so that it covers `size`, and the rest is cut off evenly; it is turned upright as its EXIF
    orientation says. Names are sorted, so that the same folder gives the same arrays. Files that are not images by
    their name are ignored. Gray images of 16 or 32 bits, as microscopes and depth cameras write them, are refused,
    since 8 bits cannot hold what is in them: scale them to 8 bits, or put them into an npz file. Colours of 16 bits
    are cut to 8 by Pillow. It needs Pillow: pip install "cnnlayers[images]".

    Parameters
    ----------
    root : str or path
    size : int or (height, width)
    channels : {3, 1}
        Colour or gray.
    val, test : int or float
        Parts that are drawn from the training part, where there are no folders for them: an int is a number of images,
        a float below 1 a share of them.
    rng : int or numpy.random.Generator
        Draws them.

    Returns
    -------
    Dataset
        x (N, height, width, channels) of uint8; classes are the folders' names.

    Raises
    ------
    ImportError
        If Pillow is not installed.
    DataError
        If an image is damaged or has gray values of more than 8 bits, or there are none of a class.
    FileNotFoundError
        If there is no such folder.
    """
    need_pillow("image_folder")
    height, width = _size(size)
    if channels not in MODES or isinstance(channels, bool):
        raise ValueError(f"image_folder: channels must be 3 or 1; got {channels!r}")
    rng = random_generator(rng)
    root = Path(root)
    folders = _folders(root)
    shape = (height, width, int(channels))
    if "train" in folders and set(folders) <= set(PARTS):
        classes = tuple(_folders(root / "train"))
        parts = {name: _part(root / name, classes, shape) for name in folders}
    else:
        classes = tuple(folders)
        parts = {"train": _part(root, classes, shape)}
    if len(classes) == 0:
        raise DataError(f"{root}: expected a folder for each class; found none")
    held = parts.get("test")
    if held is None and test:
        whole = split("image_folder", parts["train"], test, None, classes, rng)
        parts["train"], held = whole.train, whole.val
    if "val" in parts:
        return Dataset(parts["train"], parts["val"], held, classes)
    return split("image_folder", parts["train"], val, held, classes, rng)


def read_image(path: str | os.PathLike, size: int | Sequence[int], channels: int = 3) -> np.ndarray:
    """Read one image as `image_folder` does: (height, width, channels) of uint8."""
    from PIL import Image, ImageOps

    height, width = _size(size)
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(
                    f"{path}: expected an image of at most {MAX_PIXELS:,} pixels; "
                    f"found {image.width:,} x {image.height:,}"
                )
            if image.mode[0] in "IF":
                raise DataError(
                    f"{path}: expected an image of 8 bits per channel; found Pillow's mode {image.mode}, which has more"
                )
            upright = ImageOps.exif_transpose(image).convert(MODES[channels])
            fitted = ImageOps.fit(upright, (width, height), Image.Resampling.BILINEAR)
            return np.asarray(fitted, np.uint8).reshape(height, width, channels)
    except DataError:
        raise
    except FileNotFoundError:
        raise
    except Exception as error:  # Pillow's readers fail in many ways
        raise DataError(f"{path}: expected an image; found that it is damaged or none: {error}") from error


def _part(root: Path, classes: tuple[str, ...], shape: tuple[int, int, int]) -> Pair:
    """All images of a folder of classes."""
    unknown = set(_folders(root)) - set(classes)
    if unknown:
        raise DataError(
            f"{root}: expected folders of the classes {', '.join(classes)}; found {', '.join(sorted(unknown))}"
        )
    files = [(label, file) for label, name in enumerate(classes) for file in _images(root / name)]
    x = np.empty((len(files), *shape), np.uint8)
    for i, (_, file) in enumerate(files):
        x[i] = read_image(file, shape[:2], shape[2])
    return x, np.array([label for label, _ in files], np.int64)


def _folders(root: Path) -> list[str]:
    if not root.is_dir():
        raise FileNotFoundError(f"image_folder: there is no folder {root}")
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _images(folder: Path) -> list[Path]:
    found = [file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES] if folder.is_dir() else []
    found = sorted(file for file in found if not file.name.startswith(".") and file.is_file())
    if not found:
        raise DataError(f"{folder}: expected images ({', '.join(sorted(SUFFIXES))}); found none")
    return found


def _size(size: Any) -> tuple[int, int]:
    """Height and width."""
    sizes = size if isinstance(size, tuple | list) else (size, size)
    if len(sizes) != 2:
        raise ValueError(f"image_folder: size must be an int or (height, width); got {size!r}")
    height, width = (as_integer("image_folder", "size", n, low=1) for n in sizes)
    return height, width


def need_pillow(who: str) -> None:
    """Raise ImportError, saying how to get it, where Pillow is not installed."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError:
        raise ImportError(f'{who} needs Pillow: pip install "cnnlayers[images]"') from None


SOURCE = Source(
    image_folder,
    lambda path: path.is_dir() and any(entry.is_dir() for entry in path.iterdir()),
    "a folder with a folder of images for each class",
    sign="a folder of images for each class",
)

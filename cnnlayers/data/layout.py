"""How folders of images are laid out: which folders are parts of a data set, which are classes, which are neither."""

from __future__ import annotations

from pathlib import Path

from ..errors import DataError

__all__ = ["class_names", "folders_in", "images_in", "part_folders", "unwrapped"]

SUFFIXES = {
    *(".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"),
}
PARTS = {  # in capitals or not; also "train_set", "test-set"
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
KNOWN = "; ".join(f"{part} ({', '.join(names[1:])})" for part, names in PARTS.items())
JUNK = {"__macosx", "@eadir", "#recycle", "$recycle.bin", "lost+found", "system volume information", "__pycache__"}
MOST_LEVELS = 8  # a link may lead back


def folders_in(folder: Path) -> list[str]:
    """Give the names of the folders in a folder, sorted, without those that systems and editors make."""
    if not folder.is_dir():
        raise FileNotFoundError(f"image_folder: there is no folder {folder}")
    names = (entry.name for entry in folder.iterdir() if entry.is_dir())
    return sorted(name for name in names if not name.startswith(".") and name.lower() not in JUNK)


def images_in(folder: Path) -> list[Path]:
    """Give the images in a folder, by their names, sorted."""
    found = [file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES] if folder.is_dir() else []
    images = (file for file in found if not file.name.startswith(".") and file.is_file())
    return sorted(images, key=lambda file: file.name)  # paths of Windows are in another order, without capitals


def class_names(folder: Path) -> tuple[str, ...]:
    """Give the folders in a folder as classes: if all are whole numbers, in their order, else in that of text."""
    names = folders_in(folder)
    if all(name.isascii() and name.isdigit() for name in names):
        names.sort(key=int)
    return tuple(names)


def unwrapped(folder: Path) -> Path:
    """Give the folder, or what it holds if that is a single folder of folders, as archives unpack to."""
    for _ in range(MOST_LEVELS):
        names = folders_in(folder)
        if len(names) != 1 or not _holds_folders(folder / names[0]) or images_in(folder):
            break
        folder /= names[0]
    return folder


def part_folders(root: Path) -> dict[str, Path] | None:
    """Give the folder of each part, or None if the folders are those of classes.

    Raises
    ------
    DataError
        If there are folders besides the parts, two of one part, or none for training.
    """
    names = folders_in(root)
    known = {name: part for name in names if (part := _part(name)) is not None and folders_in(root / name)}
    others = [name for name in names if name not in known]
    in_doubt = "train" not in known.values() or any(images_in(root / name) for name in known)
    if not known or (others and in_doubt):
        return None
    understood = ", ".join(f"{name} as {part}" for name, part in known.items())
    if others:
        raise DataError(
            f"{root}: understood {understood}; found besides {', '.join(others)}. Names of parts, each with a folder "
            f"for each class, are {KNOWN}"
        )
    if "train" not in known.values() or len(set(known.values())) < len(known):
        raise DataError(
            f"{root}: expected one folder for training, and one at most for validation and for testing; understood "
            f"{understood}. Names of parts are {KNOWN}"
        )
    return {part: unwrapped(root / name) for name, part in known.items()}


def _part(name: str) -> str | None:
    """Which part a folder is named after."""
    plain = name.lower().replace("_", "").replace("-", "").replace(" ", "").removesuffix("set")
    return next((part for part, names in PARTS.items() if plain in names), None)


def _holds_folders(folder: Path) -> bool:
    """Whether there are folders in it, and no images beside them."""
    return bool(folders_in(folder)) and not images_in(folder)

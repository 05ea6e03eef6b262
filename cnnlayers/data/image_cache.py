"""Decoded images kept in a file: a folder is decoded once, and read from there as long as it stays what it was.

In the cache's folder there are two files for a folder of images, read with certain options:

    images-<digest>.npy     the images (N, height, width, channels) of uint8, which NumPy can load too
    images-<digest>.json    of what: the options, and each file with its size and the time of its last change; which
                            files are damaged; a checksum of the images and of that

The digest is that of all that the second one says of the source. So no process, whatever it finds or leaves, takes
images for those of another state of the folder. Each file is written under another name, and renamed when it is whole
and on the disk; the second one comes last.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import math
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..writing import open_atomically
from .image_file import DamagedImageError, pillow_version

__all__ = ["decoded", "kept"]

VERSION = 1  # of `read_image`: another one may give other pixels
CHUNK = 1 << 20  # bytes that are read at a time to compute a checksum
ABANDONED = 24 * 3600  # seconds without a change after which a file that was being written is removed

Damaged = dict[int, DamagedImageError]  # by the number of the file
Read = Callable[[Path], np.ndarray]


def decoded(files: Sequence[Path], shape: tuple[int, ...], read: Read) -> tuple[np.ndarray, Damaged]:
    """Decode images into memory; give those that can be, in their order, and the errors of the others."""
    x = np.empty((len(files), *shape), np.uint8)
    damaged: Damaged = {}
    for number, image in enumerate(_images(files, read, damaged)):
        x[number] = image
    return x[: len(files) - len(damaged)], damaged


def kept(
    folder: Path, root: Path, options: Mapping[str, Any], files: Sequence[Path], shape: tuple[int, ...], read: Read
) -> tuple[np.ndarray, Damaged]:
    """Give decoded images from the cache, where they are put if it does not have them.

    Parameters
    ----------
    folder : Path
        The cache's; it is made if it is not there.
    root : Path
        The folder of images.
    options : dict
        What the pixels depend on besides the files.
    files : sequence of Path
        Within root, in the order of their images.
    shape : (height, width, channels)
    read : function (path) -> image

    Returns
    -------
    x : np.memmap
        Read-only.
    damaged : dict
        The errors of files that cannot be decoded, by their number.
    """
    source = _source(root, options, files, shape)
    digest = hashlib.sha256(json.dumps(source).encode()).hexdigest()[:16]
    path, note = folder / f"images-{digest}.npy", folder / f"images-{digest}.json"
    try:
        return _open(path, note, source) or _write(path, note, source, files, read)
    except PermissionError:  # on Windows: another process has done the same meanwhile, and has its file open
        if (found := _open(path, note, source)) is None:
            raise
        return found


def _images(files: Sequence[Path], read: Read, damaged: Damaged) -> Iterator[np.ndarray]:
    """Yield the image of each file that can be decoded; note the errors of the others."""
    for number, file in enumerate(files):
        try:
            image = read(file)
        except DamagedImageError as error:
            damaged[number] = error
        else:
            yield image


def _source(root: Path, options: Mapping[str, Any], files: Sequence[Path], shape: tuple[int, ...]) -> dict[str, Any]:
    """Say what is to be decoded: all that the pixels depend on."""
    listed = []
    for file in files:
        about = file.stat()
        listed.append([file.relative_to(root).as_posix(), about.st_size, about.st_mtime_ns])
    made_by = {"version": VERSION, "pillow": pillow_version()}
    return {**made_by, "root": str(root.absolute()), "shape": list(shape), **options, "files": listed}


def _header(count: int, shape: Sequence[int]) -> bytes:
    """Give the first bytes of an npy file of so many images: as many for any number."""
    file = io.BytesIO()
    about = {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
    np.lib.format.write_array_header_1_0(file, about)
    return file.getvalue()


def _open(path: Path, note: Path, source: Mapping[str, Any]) -> tuple[np.ndarray, Damaged] | None:
    """The images and the damaged files, if both files are there and whole."""
    try:
        found = json.loads(note.read_bytes())
        errors = {int(number): str(text) for number, text in found["damaged"].items()}
        if found["source"] != source or not errors.keys() <= set(range(len(source["files"]))):
            return None
        x = _map(path, len(source["files"]) - len(errors), source["shape"])
        return (x, _as_errors(errors)) if found["crc32"] == _checksum(_crc_of(path, x.nbytes), errors) else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):  # none, or a damaged one
        return None


def _map(path: Path, count: int, shape: Sequence[int]) -> np.ndarray:
    """The images of an npy file that is just as long as they need, in place; ValueError if it is another one."""
    header = _header(count, shape)
    images = (count, *shape)
    with open(path, "rb") as file:
        whole = len(header) + math.prod(images)
        if file.read(len(header)) != header or os.fstat(file.fileno()).st_size != whole:
            raise ValueError(f"{path} holds no {count} images")
        return np.memmap(file, np.uint8, "r", len(header), images) if count else np.empty(images, np.uint8)


def _crc_of(path: Path, last: int) -> int:
    """The CRC-32 of the last bytes of a file, which are read but not mapped: they take no memory."""
    crc = 0
    with open(path, "rb") as file:
        file.seek(-last, os.SEEK_END)
        while chunk := file.read(CHUNK):
            crc = zlib.crc32(chunk, crc)
    return crc


def _checksum(crc: int, errors: Mapping[int, str]) -> int:
    """The CRC-32 of the images, of which that is given, and the errors."""
    return zlib.crc32(json.dumps(errors).encode(), crc)


def _as_errors(texts: Mapping[int, str]) -> Damaged:
    return {number: DamagedImageError(text) for number, text in texts.items()}


def _write(
    path: Path, note: Path, source: Mapping[str, Any], files: Sequence[Path], read: Read
) -> tuple[np.ndarray, Damaged]:
    """Decode the images into the file, one after the other, and give them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _check_space(path, len(files) * math.prod(source["shape"]))
    damaged: Damaged = {}
    crc = 0
    with open_atomically(path) as file:
        file.write(_header(len(files), source["shape"]))
        for image in _images(files, read, damaged):
            file.write(image.tobytes())
            crc = zlib.crc32(image.tobytes(), crc)
        file.seek(0)
        file.write(_header(len(files) - len(damaged), source["shape"]))
    x = _map(path, len(files) - len(damaged), source["shape"])  # not before: Windows renames no file that is mapped
    with open_atomically(note) as file:
        errors = {number: str(error) for number, error in damaged.items()}
        about = {"source": source, "damaged": errors, "crc32": _checksum(crc, errors)}
        file.write(json.dumps(about, indent=0).encode())
    _remove_outdated(note, source)
    return x, damaged


def _check_space(path: Path, needed: int) -> None:
    """Refuse to begin what the disk has no room for; it may be full before the end nevertheless."""
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise OSError(
            errno.ENOSPC, f"No space left on device: {needed:,} bytes are needed, {free:,} are free", str(path)
        )


def _remove_outdated(note: Path, source: Mapping[str, Any]) -> None:
    """Remove the images of other states of the folder, and what processes that were killed have left.

    A process that has such images open keeps them; on Windows they stay until the next time.
    """
    for left in note.parent.glob(".images-*.tmp"):
        with contextlib.suppress(OSError):  # the cache is right with them too
            if time.time() - left.stat().st_mtime > ABANDONED:
                left.unlink()
    for other in note.parent.glob("images-*.json"):
        if other != note and _same_but_files(other, source):
            with contextlib.suppress(OSError):
                other.with_suffix(".npy").unlink(missing_ok=True)
                other.unlink()


def _same_but_files(note: Path, source: Mapping[str, Any]) -> bool:
    """Whether a note is of the same folder and options."""
    try:
        found = json.loads(note.read_bytes())["source"]
        return found | {"files": 0, "version": 0, "pillow": 0} == {**source, "files": 0, "version": 0, "pillow": 0}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return False

"""The idx format of MNIST and its relatives, plain or gzipped.

A file is two zero bytes, a byte for the type, a byte for the rank, the sizes as big-endian 32-bit numbers, and the
values, big-endian. Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", 1998.
"""

from __future__ import annotations

import math
import os
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import DataError

__all__ = ["idx"]

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
GZIP = b"\x1f\x8b"
DEFLATE_RATIO = 1032  # the most that deflate can shrink: no more than this many bytes come from one
MAX_RANK = 16
CHUNK = 1 << 20


def idx(path: str | os.PathLike) -> np.ndarray:
    """Read the array in an idx file; a gzipped one is known by its first bytes, not by its name.

    The sizes in the header are compared with the length of the file before memory is taken for the values: of a
    gzipped file with the most that it can hold, and then memory grows only as values come out of it.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    array
        Of uint8, int8, int16, int32, float32 or float64, as the file says.

    Raises
    ------
    DataError
        If the file is damaged or its header does not fit it.
    FileNotFoundError
        If there is none.
    """
    path = Path(path)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if file.read(2) != GZIP:
            file.seek(0)
            return _read(path, file, size, exact=True)
        file.seek(0)
        return _read_gzip(path, file, size)


def _read_gzip(path: Path, file: BinaryIO, size: int) -> np.ndarray:
    import gzip  # here, so that importing the package stays quick

    try:
        with gzip.GzipFile(fileobj=file, mode="rb") as unpacked:
            return _read(path, unpacked, size * DEFLATE_RATIO, exact=False)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: expected a whole gzip file; found that it is damaged: {error}") from error


def _read(path: Path, file: Any, size: int, exact: bool) -> np.ndarray:
    """Read an array from an open file of `size` bytes; or of no more than these, if that is not exact."""
    dtype, shape = _header(path, file)
    count = math.prod(shape) * dtype.itemsize
    wanted = 4 + 4 * len(shape) + count
    sizes = " x ".join(map(str, shape))
    if wanted != size if exact else wanted > size:
        room = f"{size:,} bytes" if exact else f"a file that holds {size:,} bytes at most"
        raise DataError(f"{path}: expected {wanted:,} bytes for the {sizes} values of its header; found {room}")
    values = bytearray()
    while len(values) <= count and (chunk := file.read(CHUNK)):
        values += chunk
    if len(values) != count:
        found = f"{len(values):,}" if len(values) < count else "more"
        raise DataError(f"{path}: expected {count:,} bytes after the header, for {sizes} values; found {found}")
    array = np.frombuffer(values, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _header(path: Path, file: Any) -> tuple[np.dtype, tuple[int, ...]]:
    """Type and sizes."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in TYPES:
        raise DataError(
            f"{path}: expected an idx file, which begins with 0 0 and a type; found {magic.hex(' ') or 'nothing'}"
        )
    rank = magic[3]
    if not 1 <= rank <= MAX_RANK:
        raise DataError(f"{path}: expected a rank of 1 to {MAX_RANK}; found {rank}")
    sizes = file.read(4 * rank)
    if len(sizes) < 4 * rank:
        raise DataError(f"{path}: expected {rank} sizes in the header; found {len(sizes)} bytes, and the end")
    return np.dtype(TYPES[magic[2]]), tuple(np.frombuffer(sizes, ">u4").tolist())

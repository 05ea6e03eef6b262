"""Data sets in NumPy's npz files."""

from __future__ import annotations

import errno
import io
import math
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .idx import DEFLATE_RATIO
from .parts import MOST_CLASSES, Dataset, Pair, blocks, check_labels, split
from .source import Source
from .targets import REAL
from .zipped import place_of

__all__ = ["SOURCE", "npz"]

MOST_CHANNELS = 4  # of square arrays that are read as signals: 5 x 5 and larger ones are read as images
NAMES = (("x_train", "y_train"), ("x_val", "y_val"), ("x_test", "y_test"))
SAMPLES = ("x", *(x for x, _ in NAMES))
LONGEST_HEADER = 1 << 14  # bytes; NumPy takes 10,000 characters
CHUNK = 1 << 20  # bytes that are read at a time to compute a checksum


def npz(
    path: str | os.PathLike,
    *,
    val: int | float = 0.1,
    rng: Any = 0,
    classes: Iterable[str] | None = None,
    signals: bool | None = None,
) -> Dataset:
    """Read a data set that `np.savez(path, x_train=, y_train=, ...)` wrote.

    Samples that are not compressed (`np.savez_compressed` compresses) stay in the file, mapped into memory: they are
    read-only, may be larger than memory, and need the file as it is for as long as they are in use.

    Parameters
    ----------
    path : str or path
        With the arrays x_train and y_train, or x and y; x_test and y_test, if there is a test part; x_val and y_val,
        if there is a validation part. Pickled objects are never read.
    val : int or float
        Without x_val, the validation part is drawn from the training part: an int is a number of samples, a float below
        1 a share of them.
    rng : int or numpy.random.Generator
        Draws it.
    classes : sequence of str, optional
        The names of the labels; by default the array `classes` in the file, or else "0", "1", ...
    signals : bool, optional
        What samples x of three axes are: signals (N, L, C), or else gray images (N, H, W), which get a channel axis. By
        default those of uint8 are images; of other dtypes squares, H = W > 4, are, with a warning, since they may be
        signals; all else are signals.

    Raises
    ------
    DataError
        If the file is damaged, lies about its sizes, lacks an array or has an empty one, or samples are not finite.
    FileNotFoundError
        If there is none.
    """
    path = Path(path)
    if signals is not None and not isinstance(signals, bool | np.bool_):
        raise TypeError(f"npz: signals must be True, False or None; got {signals!r}")
    if path.is_dir():
        raise DataError(f"{path}: expected an npz file; found a folder")
    try:
        arrays = _read(path)
    except Exception as error:  # a damaged file fails in any way at all
        of_the_system = isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)  # bz2's, a wrong seek's
        if of_the_system or isinstance(error, DataError | MemoryError):
            raise
        raise DataError(f"{path}: expected an npz file; found that it is damaged: {error}") from error
    alone = "x" in arrays and "y" in arrays and "x_train" not in arrays
    parts = (("x", "y"), *NAMES[1:]) if alone else NAMES
    train, val_part, test = (_pair(path, arrays, *names) for names in parts)
    if train is None:
        raise DataError(f"{path}: expected arrays x_train and y_train, or x and y; found {sorted(arrays)}")
    pairs = [pair for pair in (train, val_part, test) if pair is not None]
    names = _names(path, arrays, pairs) if classes is None else tuple(map(str, classes))
    shape = train[0].shape[1:]
    for x, y in pairs:
        check_labels(str(path), y, len(names))
        if x.shape[1:] != shape:
            raise DataError(f"{path}: expected samples of {shape} in each part; found {x.shape[1:]}")
    if len(shape) == 2 and _gray(path, parts[0][0], train[0], signals):
        train = _with_channel(train)
        val_part, test = (pair and _with_channel(pair) for pair in (val_part, test))
    if val_part is not None:
        return Dataset(train, val_part, test, names)
    return split("npz", train, val, test, names, rng)


def _names(path: Path, arrays: dict[str, Any], pairs: list[Pair]) -> tuple[str, ...]:
    """The names of the labels: those in the file, or else their numbers."""
    if "classes" in arrays:
        try:
            return tuple(map(str, arrays["classes"].ravel().tolist()))
        except (SystemError, ValueError) as error:
            raise DataError(f"{path}: expected names in classes; found characters that there are none of") from error
    largest = max(int(y.max()) for _, y in pairs)
    if largest >= MOST_CLASSES:
        raise DataError(f"{path}: expected labels below {MOST_CLASSES:,}; found {largest}")
    return tuple(map(str, range(1 + largest)))


def _with_channel(pair: Pair) -> Pair:
    """Gray images (N, H, W) as (N, H, W, 1)."""
    return pair[0][..., np.newaxis], pair[1]


def _pair(path: Path, arrays: dict[str, Any], x_name: str, y_name: str) -> Pair | None:
    """The arrays of one part, checked; None if the file has none."""
    x, y = arrays.get(x_name), arrays.get(y_name)
    if x is None and y is None:
        return None
    if x is None or y is None:
        raise DataError(f"{path}: expected both {x_name} and {y_name}; found {sorted(arrays)}")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]  # as Keras writes CIFAR's
    if x.shape[:1] == y.shape[:1] == (0,):
        way_out = {"x_val": ", and a part is drawn for it", "x_test": ""}.get(x_name)
        hint = "" if way_out is None else f": leave {x_name} and {y_name} out{way_out}"
        raise DataError(f"{path}: expected samples in {x_name}; found none{hint}")
    if x.ndim < 2 or x.dtype.kind not in REAL or 0 in x.shape:
        raise DataError(
            f"{path}: expected samples (N, ...) of real numbers in {x_name}; found {x.dtype} of shape {x.shape}"
        )
    if y.shape != x.shape[:1] or y.dtype.kind not in "iu":
        raise DataError(f"{path}: expected {len(x)} integer labels in {y_name}; found {y.dtype} of shape {y.shape}")
    if y.max() > np.iinfo(np.int64).max:
        raise DataError(f"{path}: expected labels below {MOST_CLASSES:,} in {y_name}; found {y.max()}")
    _check_finite(path, x_name, x)
    return x, y.astype(np.int64)


def _gray(path: Path, name: str, x: np.ndarray, signals: bool | None) -> bool:
    """Whether samples of three axes are gray images, by the argument `signals` or by their shape and dtype."""
    if signals is not None or x.dtype == np.uint8:
        return not signals
    if x.shape[1] != x.shape[2] or x.shape[2] <= MOST_CHANNELS:
        return False
    warnings.warn(
        f"{path}: {name}, {x.dtype} of shape {x.shape}, is taken for gray images (N, H, W); signals=False says so, "
        "signals=True takes it for signals (N, L, C)",
        stacklevel=3,
    )
    return True


def _check_finite(path: Path, name: str, x: np.ndarray) -> None:
    """Refuse NaN and infinity, a few samples at a time."""
    start = 0
    for block in blocks(x) if x.dtype.kind == "f" else ():
        bad = ~np.isfinite(block)
        if bad.any():
            at = np.unravel_index(int(bad.argmax()), bad.shape)
            raise DataError(f"{path}: expected finite numbers in {name}; found {block[at]} in sample {start + at[0]}")
        start += len(block)


def _read(path: Path) -> dict[str, np.ndarray]:
    """The arrays by name; those of samples stay in the file, if it has them as they are."""
    import zipfile  # here, so that importing the package stays quick

    size = path.stat().st_size
    with zipfile.ZipFile(path) as file:
        members = {info.filename.removesuffix(".npy"): info for info in file.infolist()}
        stored = {name: info.compress_type == zipfile.ZIP_STORED for name, info in members.items()}
        for name, info in members.items():
            _check_member(path, name, file, info, size if stored[name] else size * DEFLATE_RATIO)
        return {
            name: _mapped(path, file, info) if stored[name] and name in SAMPLES else _array(path, name, file, info)
            for name, info in members.items()
        }


def _array(path: Path, name: str, file: Any, info: Any) -> np.ndarray:
    """An array, read into memory."""
    with file.open(info) as member:
        try:
            array = np.lib.format.read_array(member, allow_pickle=False)
        except ValueError as error:
            raise DataError(f"{path}: expected an array in {name}; found that it is damaged: {error}") from error
        if member.read(1):
            raise DataError(f"{path}: expected the end after the array {name}; found more")
    return array


def _mapped(path: Path, file: Any, info: Any) -> np.ndarray:
    """An array where it is in the file, read once for its checksum."""
    with file.open(info) as member:
        shape, fortran, dtype, start = _header(member)
        while member.read(CHUNK):
            pass
    with open(path, "rb") as whole:
        try:
            place = place_of(whole, info) + start
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
    if not shape or 0 in shape:  # which is refused later
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "r", place, shape, "F" if fortran else "C")


def _header(member: Any) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """The shape of an array, whether it is in Fortran's order, its dtype, and where it begins."""
    file = io.BytesIO(member.read(LONGEST_HEADER))  # it may claim to be as long as the memory
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return *read(file), file.tell()


def _check_member(path: Path, name: str, file: Any, info: Any, limit: int) -> None:
    """Compare the header of an array with its size in the file, before it is read."""
    with file.open(info) as member:
        try:
            shape, _, dtype, start = _header(member)
        except ValueError as error:
            raise DataError(f"{path}: expected an array in {name}; found another thing: {error}") from error
        if dtype.hasobject:
            raise DataError(
                f"{path}: expected numbers in {name}; found Python objects, which are pickled and never read"
            )
        wanted = start + math.prod(shape) * dtype.itemsize
    if wanted != info.file_size or wanted > limit:
        raise DataError(
            f"{path}: expected {wanted:,} bytes for {name}, {dtype} of shape {shape}; "
            f"found {min(info.file_size, limit):,}"
        )


SOURCE = Source(npz, lambda path: path.is_file() and path.suffix == ".npz", "an npz", is_file=True)

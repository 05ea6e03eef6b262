"""Data sets in NumPy's npz files."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .dataset import Dataset, Pair, check_labels, split
from .idx import DEFLATE_RATIO

__all__ = ["npz"]

MOST_CLASSES = 1_000_000  # a label above is a mistake, and each class has a name
NAMES = (("x_train", "y_train"), ("x_val", "y_val"), ("x_test", "y_test"))


def npz(
    path: str | os.PathLike, *, val: int | float = 0.1, rng: Any = 0, classes: Iterable[str] | None = None
) -> Dataset:
    """Read a data set that `np.savez(path, x_train=, y_train=, ...)` wrote.

    Parameters
    ----------
    path : str or path
        With the arrays x_train and y_train, or x and y; x_test and y_test, if there is a test part; x_val and y_val,
        if there is a validation part. Gray images (N, H, W) of uint8 get a channel axis. Pickled objects are never
        read.
    val : int or float
        Without x_val, the validation part is drawn from the training part: an int so many samples, a float below 1 this
        part of them.
    rng : int or numpy.random.Generator
        Draws it.
    classes : sequence of str, optional
        The names of the labels; by default the array `classes` in the file, or else "0", "1", ...

    Raises
    ------
    DataError
        If the file is damaged, lies about its sizes, or lacks an array.
    FileNotFoundError
        If there is none.
    """
    import zipfile  # here, so that importing the package stays quick
    import zlib

    path = Path(path)
    try:
        arrays = _read(path)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OverflowError) as error:
        raise DataError(f"{path}: expected an npz file; found that it is damaged: {error}") from error
    if "x" in arrays and "y" in arrays and "x_train" not in arrays:
        arrays["x_train"], arrays["y_train"] = arrays["x"], arrays["y"]
    pairs = [_pair(path, arrays, *names) for names in NAMES]
    if pairs[0] is None:
        raise DataError(f"{path}: expected arrays x_train and y_train, or x and y; found {sorted(arrays)}")
    if classes is None and "classes" in arrays:
        classes = map(str, arrays["classes"].ravel().tolist())
    elif classes is None:
        largest = max(int(pair[1].max()) for pair in pairs if pair)
        if largest >= MOST_CLASSES:
            raise DataError(f"{path}: expected labels below {MOST_CLASSES:,}; found {largest}")
        classes = map(str, range(1 + largest))
    names = tuple(map(str, classes))
    for pair in pairs:
        if pair is not None:
            check_labels(str(path), pair[1], len(names))
            if pair[0].shape[1:] != pairs[0][0].shape[1:]:
                raise DataError(
                    f"{path}: expected samples of {pairs[0][0].shape[1:]} in each part; found {pair[0].shape[1:]}"
                )
    if pairs[1] is not None:
        return Dataset(pairs[0], pairs[1], pairs[2], names)
    return split("npz", pairs[0], val, pairs[2], names, rng)


def _pair(path: Path, arrays: dict[str, Any], x_name: str, y_name: str) -> Pair | None:
    """The arrays of one part, checked; None if the file has none."""
    x, y = arrays.get(x_name), arrays.get(y_name)
    if x is None and y is None:
        return None
    if x is None or y is None:
        raise DataError(f"{path}: expected both {x_name} and {y_name}; found {sorted(arrays)}")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]  # as Keras writes CIFAR's
    if x.ndim < 2 or x.dtype.kind not in "biuf" or len(x) == 0:
        raise DataError(
            f"{path}: expected samples (N, ...) of real numbers in {x_name}; found {x.dtype} of shape {x.shape}"
        )
    if y.shape != x.shape[:1] or y.dtype.kind not in "iu":
        raise DataError(f"{path}: expected {len(x)} integer labels in {y_name}; found {y.dtype} of shape {y.shape}")
    if y.max() > np.iinfo(np.int64).max:
        raise DataError(f"{path}: expected labels below {MOST_CLASSES:,} in {y_name}; found {y.max()}")
    if x.ndim == 3 and x.dtype == np.uint8:
        x = x[..., np.newaxis]
    return x, y.astype(np.int64)


def _read(path: Path) -> dict[str, np.ndarray]:
    """The arrays by name."""
    import zipfile

    size = path.stat().st_size
    with zipfile.ZipFile(path) as file:
        members = {info.filename.removesuffix(".npy"): info for info in file.infolist()}
        for name, info in members.items():
            limit = size * DEFLATE_RATIO if info.compress_type != zipfile.ZIP_STORED else size
            _check_member(path, name, file, info, limit)
        arrays = {}
        for name, info in members.items():
            with file.open(info) as member:
                try:
                    arrays[name] = np.lib.format.read_array(member, allow_pickle=False)
                except ValueError as error:
                    raise DataError(
                        f"{path}: expected an array in {name}; found that it is damaged: {error}"
                    ) from error
                if member.read(1):
                    raise DataError(f"{path}: expected the end after the array {name}; found more")
        return arrays


def _check_member(path: Path, name: str, file: Any, info: Any, limit: int) -> None:
    """Compare what an array says of itself with its place in the file, before it is read."""
    with file.open(info) as member:
        try:
            version = np.lib.format.read_magic(member)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(member)
        except ValueError as error:
            raise DataError(f"{path}: expected an array in {name}; found another thing: {error}") from error
        if dtype.hasobject:
            raise DataError(
                f"{path}: expected numbers in {name}; found Python objects, which are pickled and never read"
            )
        wanted = member.tell() + math.prod(shape) * dtype.itemsize
    if wanted != info.file_size or wanted > limit:
        raise DataError(
            f"{path}: expected {wanted:,} bytes for {name}, {dtype} of shape {shape}; "
            f"found {min(info.file_size, limit):,}"
        )

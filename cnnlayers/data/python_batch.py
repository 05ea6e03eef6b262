"""CIFAR's Python version: a pickle, read without running anything that it says.

A pickle is a program. This reader lets it make numbers, text, bytes, lists, tuples and dicts, and two of our own
classes in the place of NumPy's array and dtype, which only take notes; the array is made afterwards, from a type of a
short list and as many bytes as its shape needs. Any other name in the file is an error, and nothing of that name is
imported.
"""

from __future__ import annotations

import io
import math
import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..errors import DataError

__all__ = ["read_batch"]

TYPES = ("u1", "i1", "i8", "i4")


def read_batch(path: Path, label_key: str, pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Give the images (N, 3072) of bytes and the labels (N,) of a batch.

    Raises
    ------
    DataError
        If the file is damaged, is not such a batch, or asks for anything but arrays.
    """
    raw = path.read_bytes()
    try:
        content = ArraysOnly(io.BytesIO(raw), encoding="latin-1").load()
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except Exception as error:  # a damaged pickle fails in any way at all
        raise DataError(f"{path}: expected a pickle of arrays; found that it is damaged: {error!r}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a dict; found {type(content).__name__}")
    content = {key.decode("latin-1") if isinstance(key, bytes) else key: value for key, value in content.items()}
    for key in ("data", label_key):
        if key not in content:
            raise DataError(f"{path}: expected an entry {key!r}; found {sorted(map(str, content))}")
    images = _images(path, content["data"], pixels)
    return images, _labels(path, content[label_key], len(images))


def _images(path: Path, notes: Any, pixels: int) -> np.ndarray:
    if not isinstance(notes, ArrayNotes):
        raise DataError(f"{path}: expected an array as 'data'; found {type(notes).__name__}")
    try:
        x = notes.array()
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    if x.dtype != np.uint8 or x.ndim != 2 or x.shape[1] != pixels or len(x) == 0:
        raise DataError(f"{path}: expected images (N, {pixels}) of bytes; found {x.dtype} of shape {x.shape}")
    return x


def _labels(path: Path, values: Any, n: int) -> np.ndarray:
    if isinstance(values, ArrayNotes):
        values = values.array().tolist()
    if not isinstance(values, list) or len(values) != n:
        raise DataError(f"{path}: expected a list of {n} labels; found {type(values).__name__}")
    if not all(type(v) is int and -(2**31) < v < 2**31 for v in values):
        raise DataError(f"{path}: expected labels that are small integers; found others")
    return np.array(values, np.int64)


class ArrayNotes:
    """What a pickle says of an array."""

    def __init__(self, *_: Any):
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self) -> np.ndarray:
        """Make the array, if all of it fits together."""
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            raise DataError("expected the five parts of an array; found others")
        _, shape, dtype, fortran, values = self.state
        if isinstance(values, str):  # Python 2's bytes, read as latin-1
            values = values.encode("latin-1")
        if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
            raise DataError(f"expected the shape of an array; found {shape!r}")
        if not isinstance(dtype, TypeNotes) or not isinstance(values, bytes):
            raise DataError("expected an array of numbers; found other values")
        wanted = math.prod(shape) * dtype.dtype.itemsize
        if wanted != len(values):
            raise DataError(f"expected {wanted:,} bytes for an array of shape {shape}; found {len(values):,}")
        return np.frombuffer(values, dtype.dtype).reshape(shape, order="F" if fortran else "C")


class TypeNotes:
    """What a pickle says of the dtype of an array."""

    def __init__(self, code: Any = None, *_: Any):
        if code not in TYPES:
            raise DataError(f"expected an array of integers ({', '.join(TYPES)}); found the type {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", "|", ">", "="):
            raise DataError(f"expected the byte order of a type; found {state!r}")
        self.dtype = self.dtype.newbyteorder(state[1])


def _text_to_bytes(text: Any, encoding: Any) -> bytes:
    """_codecs.encode as Python 3 uses it to write bytes in old protocols."""
    if not isinstance(text, str) or encoding != "latin1":
        raise DataError(f"expected bytes written as latin1; found {encoding!r}")
    return text.encode("latin-1")


NAMES: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): ArrayNotes,
    ("numpy", "dtype"): TypeNotes,
    ("numpy.core.multiarray", "_reconstruct"): ArrayNotes,
    ("numpy._core.multiarray", "_reconstruct"): ArrayNotes,
    ("_codecs", "encode"): _text_to_bytes,
}


# The reader in Python, not the one in C: that one takes memory for a number in the file before it looks at its size.
class ArraysOnly(pickle._Unpickler):
    """A reader of pickles that knows these names and no others."""

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)
    del dispatch[pickle.BYTEARRAY8[0]]  # it takes memory before it reads, and no batch has one

    def find_class(self, module: str, name: str) -> Any:
        """Give the stand-in for a name, or an error."""
        if (module, name) not in NAMES:
            raise DataError(f"expected arrays, numbers, text, lists and dicts; found {module}.{name}")
        return NAMES[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """Refuse: all values are in the file."""
        raise DataError("expected all values in the file; found a reference to another place")

    def load_build(self) -> None:
        """Hand a state to the stand-ins alone, never to a function or a class."""
        if not isinstance(self.stack[-2], ArrayNotes | TypeNotes):  # type: ignore[attr-defined]
            raise DataError("expected the state of an array; found that of another thing")
        super().load_build()  # type: ignore[misc]

    dispatch[pickle.BUILD[0]] = load_build

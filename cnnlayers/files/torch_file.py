"""Files of torch.save (.pt, .pth, .bin) as arrays, without PyTorch and without running anything that they say.

Since version 1.6 a file is a zip with these members, under a folder of any name; none is compressed:

    data.pkl      a pickle of what was saved, with references to storages in the place of numbers
    data/0, ...   the elements of each storage
    byteorder     "little" or "big"; older files, which lack it, are little

Before, it was five pickles in a row (a magic number, the version, the system, what was saved, the keys of the storages)
and then the storages, each with its number of elements in front of it. Only a zip has checksums, which are compared.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from ..arrays import from_bfloat16
from ..data.zipped import place_of
from ..errors import CheckpointError, DataError
from .tensors import CURE, Storage, Tensor, itemsize, load, short

__all__ = ["is_torch_file", "read_torch"]

ZIP, PICKLE = b"PK\x03\x04", b"\x80"
MAIN = "data.pkl"
MAGIC = 0x1950A86A20F9469CFC6C  # of files before 1.6
PREFIXES = ("module.", "_orig_mod.")  # of DataParallel, of torch.compile
MOST_NAMED = 10  # keys in one message
Raw = Callable[[Storage], memoryview]


def is_torch_file(data: bytes) -> bool:
    """Whether a file begins as those of torch.save do."""
    return data.startswith((ZIP, PICKLE))


def read_torch(path: str, data: bytes) -> dict[str, np.ndarray]:
    """Give the state_dict in a file, in its order: an OrderedDict, if the file has one.

    What was saved is a state_dict, or a dict that holds one, as checkpoints of training do: it is taken if it is the
    only dict of tensors among the values. Arrays have the shape of the tensors, and are views of `data` where they can
    be; bfloat16, which NumPy lacks, is widened to the float32 of the same value.

    Parameters
    ----------
    path : str
        For errors.
    data : bytes
        The file.

    Raises
    ------
    CheckpointError
        If it is damaged, lies about sizes, or holds anything but tensors, numbers, text, lists and dicts.
    """
    try:
        content, raw, order = _of_zip(data) if data.startswith(ZIP) else _of_pickles(data)
        found = _state_dict(content)
        flat: dict[Storage, np.ndarray] = {}
        arrays: dict[str, np.ndarray] = OrderedDict() if isinstance(found, OrderedDict) else {}
        for name, tensor in found.items():
            if tensor.storage not in flat:
                flat[tensor.storage] = _elements(tensor.storage, raw(tensor.storage), order)
            arrays[name] = _view(name, tensor, flat[tensor.storage])
        return arrays
    except (CheckpointError, DataError) as error:
        raise CheckpointError(f"{path}: {error}") from None
    except Exception as error:  # a damaged pickle or zip fails in any way at all
        raise CheckpointError(
            f"{path}: expected a file of torch.save; found that it is damaged: {type(error).__name__}: {error}"
        ) from error


# The two formats: each gives what was saved, a reader of the bytes of a storage, and their order


def _of_zip(data: bytes) -> tuple[Any, Raw, str]:
    import zipfile  # here, so that importing the package stays quick

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        listed = archive.infolist()
    members = {info.filename: info for info in listed}
    folder = min((name.removesuffix(MAIN) for name in members if name.endswith(f"/{MAIN}")), key=len, default="")
    if not folder:
        raise CheckpointError(f"expected a file of torch.save; found another zip file, without a {MAIN} in it")
    if f"{folder}constants.pkl" in members:
        raise CheckpointError(
            "expected a file of torch.save; found one of torch.jit.save, which is a program: load it with "
            "torch.jit.load, and save its state_dict()"
        )
    view, file = memoryview(data), io.BytesIO(data)
    places = {info.filename: place_of(file, info) for info in listed}
    if len(members) < len(listed) or sum(info.file_size for info in listed) > len(data):
        raise CheckpointError("expected members that are stored side by side; found some that overlap")

    def bytes_of(name: str) -> memoryview:
        if name not in members:
            raise CheckpointError(f"expected {name:.100} in it; found none")
        found = view[places[name] : places[name] + members[name].file_size]
        if zlib.crc32(found) != members[name].CRC:
            raise CheckpointError(f"expected {name:.100} with its checksum; found that it is damaged")
        return found

    order = bytes(bytes_of(f"{folder}byteorder")) if f"{folder}byteorder" in members else b"little"
    if order not in (b"little", b"big"):
        raise CheckpointError(f"expected the byte order little or big; found {short(order.decode('latin-1'))}")
    content = load(io.BytesIO(bytes_of(f"{folder}{MAIN}")))
    return content, lambda storage: bytes_of(f"{folder}data/{storage.key}"), "<" if order == b"little" else ">"


def _of_pickles(data: bytes) -> tuple[Any, Raw, str]:
    file = io.BytesIO(data)
    if (magic := load(file)) != MAGIC:
        raise CheckpointError(f"expected a file of torch.save; found another pickle, of {short(magic)}")
    for _ in ("version", "system"):
        load(file)
    storages: dict[str, Storage] = {}
    content, keys = load(file, storages), load(file)
    blocks: dict[str, memoryview] = {}
    for key in keys:
        if not isinstance(key, str) or key not in storages:
            raise CheckpointError(f"expected the storages of the tensors; found another one, {short(key)}")
        (count,) = struct.unpack("<q", file.read(8))
        start, stop = file.tell(), file.tell() + count * itemsize(storages[key].dtype)
        if count < 0 or stop > len(data):
            raise CheckpointError(f"expected {count:,} elements in storage {short(key)}; found the end of the file")
        blocks[key] = memoryview(data)[start:stop]
        file.seek(stop)
    return content, lambda storage: blocks[storage.key], "<"  # whatever machine wrote it


# From what was saved to arrays


def _state_dict(content: Any) -> dict[str, Tensor]:
    """The dict of tensors that was saved, or the only one in the dict that was; without prefixes of wrappers."""
    if not isinstance(content, dict):
        raise CheckpointError(f"expected a state_dict; found {short(content)}")
    if _is_state_dict(content):
        return _plain(content)
    inner = [key for key, value in content.items() if _is_state_dict(value)]
    if len(inner) == 1:
        return _plain(content[inner[0]])
    there = [f"{short(key)} ({short(content[key])})" for key in inner or content]
    listed = ", ".join(there[:MOST_NAMED] + ["..."] * (len(there) > MOST_NAMED)) or "nothing"
    what = f"several, {listed}: save the one that is meant" if inner else f"none in {listed}; {CURE}"
    raise CheckpointError(f"expected a dict of tensors, or one that holds a single dict of tensors; found {what}")


def _is_state_dict(value: Any) -> bool:
    """Whether it is a dict of tensors by their names."""
    return (
        isinstance(value, dict)
        and len(value) > 0
        and all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items())
    )


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state_dict without "module.", if all names begin so."""
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = type(tensors)((name.removeprefix(prefix), value) for name, value in tensors.items())
    return tensors


def _elements(storage: Storage, raw: memoryview, order: str) -> np.ndarray:
    """The elements of a storage, of which there must be as many as it says."""
    count, rest = divmod(len(raw), itemsize(storage.dtype))
    if rest or count != storage.count:
        raise CheckpointError(
            f"expected {storage.count:,} elements in storage {short(storage.key)}; found {len(raw):,} bytes"
        )
    if storage.dtype == "bfloat16":
        return from_bfloat16(np.frombuffer(raw, f"{order}u2"))
    return np.frombuffer(raw, f"{order}{storage.dtype}")


def _view(name: str, tensor: Tensor, flat: np.ndarray) -> np.ndarray:
    """The array of a tensor in the elements of its storage, all of whose elements must be there."""
    last = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True))
    if 0 not in tensor.shape and tensor.offset + last >= len(flat):
        raise CheckpointError(
            f"expected {short(name)} within its storage of {len(flat):,} elements; found that it goes up to element "
            f"{tensor.offset + last:,}"
        )
    if 0 in tensor.shape:
        return np.empty(tensor.shape, flat.dtype)
    size = flat.itemsize
    strides = tuple(size * step if n > 1 else 0 for n, step in zip(tensor.shape, tensor.strides, strict=True))
    return np.ndarray(tensor.shape, flat.dtype, flat, tensor.offset * size, strides)

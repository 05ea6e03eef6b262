"""Nets and training runs in files: safetensors, written atomically, checked in full before anything is believed.

A file holds every parameter and state array under its dotted name. One metadata entry, JSON, holds the architecture,
input shape, dtype, class names and a SHA-256 for each array; a second entry is the SHA-256 of the first. Loading makes
the layers from a closed registry of classes: nothing in a file is ever run or imported. Sizes are compared with the
arrays in the file before memory is allocated for them.

A checkpoint of a training run is the file of its net with more in it: arrays under "training/..." and an entry
"training" in the description (`training/resume.py` says what they mean, and writes them). `load` reads the net in it
and leaves the rest.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from .. import config, initializers
from .._version import __version__
from ..errors import CheckpointError
from ..layers.layer import Layer
from ..writing import write_atomically

FORMAT = 1
TRAINING = "training/"  # what the names of a run's arrays begin with


def save(
    net: Layer,
    path: str | os.PathLike,
    training: dict[str, Any] | None = None,
    training_arrays: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write a built net to `path`, atomically: a crash leaves the old file or the new one.

    `training` (what JSON holds) and `training_arrays` go along; `load_training` gives them back.

    Raises
    ------
    RuntimeError
        If the net is not built.
    TypeError
        If a layer's configuration holds something a file cannot hold.
    OSError
        If the file cannot be written, with `path` as its name.
    """
    write_atomically(path, to_bytes(net, training, training_arrays))


def to_bytes(
    net: Layer, training: dict[str, Any] | None = None, training_arrays: Mapping[str, np.ndarray] | None = None
) -> bytes:
    """Give what `save` writes."""
    extra = {TRAINING + name: np.ascontiguousarray(array) for name, array in (training_arrays or {}).items()}
    arrays = _arrays(net) | extra
    about = {
        "format": FORMAT,
        "version": __version__,
        "architecture": encode(net),
        "input_shape": net.input_shape,
        "dtype": str(net.dtype),
        "classes": getattr(net, "classes", None),
        "rng": {name: layer.rng.bit_generator.state for name, layer in net.walk() if layer.random},
        "sha256": {name: digest(array) for name, array in arrays.items()},
    }
    if training is not None:
        shapes = {name: [array.shape, str(array.dtype)] for name, array in extra.items()}
        about |= {"training": training, "training_arrays": shapes}
    text = json.dumps(about)
    metadata = {"cnnlayers": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    return bytes(safetensors.numpy.save(arrays, metadata))


def load(path: str | os.PathLike, custom: Iterable[type[Layer]] = ()) -> Any:
    """Read the net that `net.save(path)` wrote.

    Parameters
    ----------
    path : str or path
    custom : iterable of Layer classes
        Your own layers that the net uses; apart from them a file can name only the package's.

    Raises
    ------
    CheckpointError
        If the file is damaged, lies about its sizes, or names an unknown layer.
    FileNotFoundError
        If there is no such file.
    """
    return _read(path, custom, lambda net, file, about: net)


def from_bytes(data: bytes, custom: Iterable[type[Layer]] = ()) -> Any:
    """Read the net that `to_bytes` gave, as `load` does."""
    with tempfile.TemporaryDirectory() as folder:  # the reader takes names of files alone
        path = Path(folder, "net.safetensors")
        path.write_bytes(data)
        return load(path, custom)


def load_training(path: str | os.PathLike, custom: Iterable[type[Layer]] = ()) -> tuple[Any, dict, dict]:
    """Read the net, the description of the run and the run's arrays from a checkpoint.

    Raises
    ------
    CheckpointError
        As `load`, and if the file is that of a net alone.
    """

    def with_training(net: Layer, file: Any, about: dict[str, Any]) -> tuple[Any, dict, dict]:
        if "training" not in about:
            raise CheckpointError("a net saved by itself, which has no training run to resume")
        shapes = about["training_arrays"]
        if set(shapes) != {key for key in about["sha256"] if key.startswith(TRAINING)}:
            raise CheckpointError("the arrays of the training run are not those the file lists")
        arrays = {
            key.removeprefix(TRAINING): _array(file, about["sha256"], key, tuple(shape), np.dtype(dtype))
            for key, (shape, dtype) in shapes.items()
        }
        return net, about["training"] | {"version": about.get("version")}, arrays

    return _read(path, custom, with_training)


def _read(path: str | os.PathLike, custom: Iterable[type[Layer]], give: Callable[[Layer, Any, dict], Any]) -> Any:
    """Open a file, make its net, and return give(net, file, about)."""
    classes = {name: cls for name, cls in config.REGISTRY.items() if issubclass(cls, Layer)}
    if isinstance(custom, type):
        raise TypeError(f"load: custom must hold Layer classes, as in custom=({custom.__name__},); got one class")
    if not isinstance(custom, Iterable):
        raise TypeError(f"load: custom must hold Layer classes; got {custom!r}")
    for cls in custom:
        if not (isinstance(cls, type) and issubclass(cls, Layer)):
            raise TypeError(f"load: custom must hold Layer classes; got {cls!r}")
        classes[cls.__name__] = cls
    with open(os.fspath(path), "rb"):
        pass  # a missing or unreadable file is the operating system's error
    about: dict[str, Any] = {}
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            about = _about(file.metadata() or {})
            _refuse_other_formats(about)
            return give(_restore(file, about, classes), file, about)
    except (safetensors.SafetensorError, *DECODING_ERRORS) as error:
        reason = str(error) or type(error).__name__
        raise CheckpointError(f"{os.fspath(path)}: {reason}{if_later(about.get('version'))}") from error


DECODING_ERRORS = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    RuntimeError,
    ArithmeticError,
    MemoryError,
)


def _restore(file: Any, about: dict[str, Any], classes: dict[str, type[Layer]]) -> Layer:
    """The net in an open file."""
    net = decode(about["architecture"], classes)
    found = set(file.keys())
    if found != set(about["sha256"]):
        raise CheckpointError(f"the arrays in the file are not those it lists: {sorted(found ^ set(about['sha256']))}")
    own = {key for key in found if "training" not in about or not key.startswith(TRAINING)}
    left = set(own)
    dtype = np.dtype(about["dtype"])
    for name, layer in net.walk():
        if not layer.built:
            layer.fill_from(_reader(file, about["sha256"], left, name, dtype))
    net.build(tuple(about["input_shape"]), dtype=dtype)
    arrays, read = _arrays(net), _reader(file, about["sha256"], left, "", dtype)
    for name in left & set(arrays):  # of a net whose constructor builds it
        arrays[name][...] = read(name, arrays[name].shape, "zeros")
    if set(arrays) != own:
        lacks, extra = sorted(set(arrays) - own), sorted(left)
        raise CheckpointError(f"the file lacks {lacks}" if lacks else f"the net has no place for {extra}")
    drawing = {}
    for name, layer in net.walk():
        if layer.random:
            drawing[name] = layer.rng.bit_generator
    if set(drawing) != set(about["rng"]):
        raise CheckpointError(
            f"the file must hold the random states of {sorted(drawing)}; it has {sorted(about['rng'])}"
        )
    for name, generator in drawing.items():
        generator.state = about["rng"][name]
    if about["classes"] is not None:
        net.classes = tuple(map(str, about["classes"]))
    return net


def _reader(file, hashes: dict[str, str], left: set[str], prefix: str, dtype: np.dtype):
    """A maker of initial arrays that takes them from the file; the shape is compared before anything is read."""

    def read(name: str, shape: tuple[int, ...], init) -> np.ndarray:
        key = f"{prefix}.{name}" if prefix else name
        if key not in left:
            raise CheckpointError(f"the file lacks the array {key!r}")
        initializers.get(init)  # the values are here already, but a wrong name is a wrong file
        array = _array(file, hashes, key, tuple(shape), dtype)
        left.remove(key)
        return array

    return read


def _array(file: Any, hashes: dict[str, str], key: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """One array; its shape is compared before anything is read."""
    found = tuple(file.get_slice(key).get_shape())
    if found != shape:
        raise CheckpointError(f"{key!r} must have shape {shape}; the file has {found}")
    array = file.get_tensor(key)
    if array.dtype != dtype:
        raise CheckpointError(f"{key!r} must be {dtype}; the file has {array.dtype}")
    if digest(array) != hashes[key]:
        raise CheckpointError(f"{key!r} is damaged: its SHA-256 is not the one that was saved")
    return array


def _about(metadata: dict[str, str]) -> dict[str, Any]:
    """The metadata, verified."""
    text = metadata.get("cnnlayers")
    if text is None:
        raise CheckpointError("not a net saved by cnnlayers: it has no architecture")
    if hashlib.sha256(text.encode()).hexdigest() != metadata.get("sha256"):
        raise CheckpointError("the description of the net is damaged: its SHA-256 is not the one that was saved")
    return dict(json.loads(text))


def _refuse_other_formats(about: dict[str, Any]) -> None:
    if about["format"] != FORMAT:
        raise CheckpointError(f"the file has format {about['format']}; this version reads format {FORMAT}")


def if_later(version: Any) -> str:
    """What to add to an error about a file that a later version has written: that may be the reason."""
    if _numbers(version) <= _numbers(__version__):
        return ""
    return f"; the file is of cnnlayers {version}, and this is {__version__}: a later version may read it"


def _numbers(version: Any) -> list[int]:
    """The numbers that a version begins with, [1, 12, 0] of "1.12.0rc1"; none of what is no version."""
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6}){0,3})\S{0,20}", str(version), re.ASCII)
    return [int(n) for n in found[1].split(".")] if found else []


def encode(value: Any) -> Any:
    """A layer, a loss, an optimiser, ..., or what its config holds, as JSON can hold it."""
    if isinstance(value, Layer):
        options = {k: v for k, v in value.config().items() if not _unnamed_init(k, v)}
        described = {"layer": type(value).__name__, "config": {k: encode(v) for k, v in options.items()}}
        frozen = {"frozen": sorted(value._frozen)} if value._frozen else {}
        return described | ({} if value.trainable else {"trainable": False}) | frozen
    if config.REGISTRY.get(type(value).__name__) is type(value):
        return {"class": type(value).__name__, "config": {k: encode(v) for k, v in value.config().items()}}
    if isinstance(value, dict) and all(isinstance(k, str) for k in value):
        return {"dict": {k: encode(v) for k, v in value.items()}}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, list | tuple):
        return [encode(v) for v in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if callable(value) and getattr(value, "__name__", None) in initializers.names():
        return value.__name__
    raise TypeError(f"a file cannot hold {value!r}, which a layer's config gives; only numbers, text, lists and layers")


def _unnamed_init(key: str, value: Any) -> bool:
    """Whether this is a user's own initialiser: it has done its work, and the file leaves it out."""
    return (
        key == "init" and callable(value) and initializers.get(value) not in map(initializers.get, initializers.names())
    )


def decode(value: Any, classes: dict[str, type[Layer]]) -> Any:
    """Undo `encode`."""
    if isinstance(value, list):
        return [decode(v, classes) for v in value]
    if not isinstance(value, dict):
        return value
    if "dict" in value:
        return {key: decode(v, classes) for key, v in value["dict"].items()}
    if "class" in value:
        cls = config.REGISTRY.get(value["class"])
        if cls is None or issubclass(cls, Layer):
            raise CheckpointError(f"unknown class {value['class']!r}")
        return cls(**{key: decode(v, classes) for key, v in value["config"].items()})
    name, options = value["layer"], value["config"]
    if name not in classes:
        raise CheckpointError(
            f"unknown layer {name!r}: if it is yours, hand its class over, load(path, custom=({name},))"
        )
    if {"input_shape", "rng", "dtype"} & set(options):
        raise CheckpointError(f"the configuration of {name} names what only the net as a whole may have")
    layer = classes[name](**{key: decode(v, classes) for key, v in options.items()})
    if not value.get("trainable", True):
        layer._trainable = False
    layer._frozen = frozenset(map(str, value.get("frozen", ())))
    return layer


def _arrays(net: Layer) -> dict[str, np.ndarray]:
    """Parameters and state by dotted name."""
    net.require_built()
    return {**net.params, **net.state}


def digest(array: np.ndarray) -> str:
    """SHA-256 of an array's dtype, shape and values."""
    head = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()

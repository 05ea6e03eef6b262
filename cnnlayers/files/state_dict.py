"""A state_dict of PyTorch as arrays: a dict of arrays or tensors, or a file, with or without PyTorch."""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors

from ..arrays import from_bfloat16
from ..errors import CheckpointError

__all__ = ["NAMES", "arrays_of", "as_finite", "by_module", "natural"]

# What a PyTorch module calls our arrays.
NAMES = {
    "W": "weight",
    "b": "bias",
    "gamma": "weight",
    "beta": "bias",
    "alpha": "weight",
    "running_mean": "running_mean",
    "running_var": "running_var",
}
IGNORED = "num_batches_tracked"

# The dtypes that a safetensors file may hold, by the format's names; bfloat16 is the upper half of a float32.
DTYPES = {f"F{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)}
DTYPES |= {f"{kind}{bits}": f"<{kind.lower()}{bits // 8}" for kind in "IU" for bits in (8, 16, 32, 64)}
DTYPES |= {"BF16": "<u2"}


def arrays_of(state_dict: Any) -> tuple[dict[str, np.ndarray], bool]:
    """Give a state_dict, or what is in a file, as arrays, and whether they are in PyTorch's order.

    A safetensors file sorts them, and so does a plain dict that was read from one; a file of torch.save does not.
    """
    if isinstance(state_dict, str | os.PathLike):
        return _read(os.fspath(state_dict))
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"from_torch needs a state_dict or the path of one; got {type(state_dict).__name__}")
    inner = [name for name, value in state_dict.items() if isinstance(value, Mapping)]
    if inner:
        weights = [name for name in inner if any(str(key).endswith(tuple(NAMES.values())) for key in state_dict[name])]
        raise ValueError(
            f"from_torch needs the state_dict itself; got a dict that holds others: pass its "
            f"[{(weights or inner)[0]!r}], of {list(state_dict)}"
        )
    return _checked(state_dict)


def _checked(state_dict: Mapping[Any, Any]) -> tuple[dict[str, np.ndarray], bool]:
    """A dict of arrays or tensors, and whether it is in PyTorch's order."""
    arrays = {str(name): _array(name, value) for name, value in state_dict.items()}
    return arrays, isinstance(state_dict, OrderedDict) or _is_unsorted(arrays)


def _read(path: str) -> tuple[dict[str, np.ndarray], bool]:
    """The arrays of a file; those of a safetensors file by their names, numbers in them compared as numbers."""
    with open(path, "rb") as file:  # a missing or unreadable file is the operating system's error
        data = file.read()
    try:
        found = dict(safetensors.deserialize(data))
    except Exception as error:  # of many kinds
        from .torch_file import is_torch_file, read_torch  # here, so that importing the package stays quick

        if is_torch_file(data):
            return _checked(read_torch(path, data))
        raise CheckpointError(f"{path}: {error}") from error
    return {name: _widened(name, found[name]) for name in sorted(found, key=natural)}, False


def _widened(name: str, entry: Mapping[str, Any]) -> np.ndarray:
    """An array of a file; bfloat16, which NumPy lacks, as the float32 of the same value."""
    if entry["dtype"] not in DTYPES:
        raise TypeError(f"from_torch: {name!r} must hold real numbers; got dtype {entry['dtype']}")
    array = np.frombuffer(entry["data"], DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return from_bfloat16(array) if entry["dtype"] == "BF16" else array


def _array(name: Any, value: Any) -> np.ndarray:
    """A tensor as an array; bfloat16 by way of float32."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float().numpy() if "bfloat16" in str(value.dtype) else value.numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"from_torch: {name!r} must hold real numbers; got dtype {array.dtype}")
    return array


def as_finite(name: str, array: np.ndarray, dtype: Any) -> np.ndarray:
    """The array in the net's dtype, in which all its elements must be finite."""
    with np.errstate(over="ignore"):
        cast = array.astype(dtype)
    bad = np.argwhere(~np.isfinite(cast))
    if len(bad):
        at = tuple(bad[0].tolist())
        raise ValueError(
            f"from_torch: {name!r} must hold finite numbers in {dtype}; got {array[at]} at {at}; nothing was changed"
        )
    return cast


def natural(name: str) -> list:
    """Key for sorting: numbers as numbers."""
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.split(r"(\d+)", name)]


def by_module(arrays: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """The arrays by module."""
    modules: dict[str, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        module, _, key = name.rpartition(".")
        if key not in NAMES.values() and key != IGNORED:
            known = ", ".join(dict.fromkeys(NAMES.values()))
            raise ValueError(f"from_torch: {name!r} is none of the arrays known here: {known}")
        if key != IGNORED:
            modules.setdefault(module, {})[key] = array
    return modules


def _is_unsorted(arrays: dict[str, np.ndarray]) -> bool:
    """Whether a plain dict is in PyTorch's order: not sorted, and no module with its bias first, which none has."""
    bias_first = any(list(own)[:2] == ["bias", "weight"] for own in by_module(arrays).values())
    return list(arrays) != sorted(arrays) and not bias_first

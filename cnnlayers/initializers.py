"""First values of parameters: functions `(shape, rng, dtype) -> array`.

A weight's last axis counts its outputs and the others what each output sees: `(D, M)` for Affine,
`(KH, KW, C // groups, F)` or `(K, C // groups, F)` for Conv. So `fan_in = prod(shape[:-1])`, the number of inputs of
one output, and `fan_out = prod(shape[:-2]) * shape[-1]`, the number of outputs that one input reaches (with stride 1).
"""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

__all__ = [
    "get",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "names",
    "ones",
    "zeros",
]

Shape: TypeAlias = tuple[int, ...]
Initializer: TypeAlias = Callable[[Shape, np.random.Generator, Any], np.ndarray]


def he_normal(shape: Shape, rng: np.random.Generator, dtype: Any = np.float32) -> np.ndarray:
    """W ~ N(0, 2 / fan_in), untruncated: keeps the variance of activations through ReLU layers.

    Source: He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", 2015.
    """
    fan_in, _ = _fans("he_normal", shape)
    return _normal(math.sqrt(2 / fan_in), shape, rng, dtype)


def he_uniform(shape: Shape, rng: np.random.Generator, dtype: Any = np.float32) -> np.ndarray:
    """W ~ U(-a, a) with a = sqrt(6 / fan_in): the variance of `he_normal`.

    Source: He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", 2015.
    """
    fan_in, _ = _fans("he_uniform", shape)
    return _uniform(math.sqrt(6 / fan_in), shape, rng, dtype)


def glorot_normal(shape: Shape, rng: np.random.Generator, dtype: Any = np.float32) -> np.ndarray:
    """W ~ N(0, 2 / (fan_in + fan_out)), untruncated: for layers followed by tanh or nothing.

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    """
    fan_in, fan_out = _fans("glorot_normal", shape)
    return _normal(math.sqrt(2 / (fan_in + fan_out)), shape, rng, dtype)


def glorot_uniform(shape: Shape, rng: np.random.Generator, dtype: Any = np.float32) -> np.ndarray:
    """W ~ U(-a, a) with a = sqrt(6 / (fan_in + fan_out)): the variance of `glorot_normal`.

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    """
    fan_in, fan_out = _fans("glorot_uniform", shape)
    return _uniform(math.sqrt(6 / (fan_in + fan_out)), shape, rng, dtype)


def lecun_normal(shape: Shape, rng: np.random.Generator, dtype: Any = np.float32) -> np.ndarray:
    """W ~ N(0, 1 / fan_in), untruncated: keeps the variance through a linear layer.

    Source: LeCun, Bottou, Orr and Müller, "Efficient BackProp", 1998.
    """
    fan_in, _ = _fans("lecun_normal", shape)
    return _normal(math.sqrt(1 / fan_in), shape, rng, dtype)


def zeros(shape: Shape, rng: np.random.Generator | None = None, dtype: Any = np.float32) -> np.ndarray:
    """All zeros; draws nothing from `rng`."""
    return np.zeros(shape, dtype)


def ones(shape: Shape, rng: np.random.Generator | None = None, dtype: Any = np.float32) -> np.ndarray:
    """All ones; draws nothing from `rng`."""
    return np.ones(shape, dtype)


_BY_NAME: dict[str, Initializer] = {
    f.__name__: f for f in (he_normal, he_uniform, glorot_normal, glorot_uniform, lecun_normal, zeros, ones)
}


def names() -> tuple[str, ...]:
    """Give the names that `get` knows."""
    return tuple(_BY_NAME)


def get(init: str | Initializer, who: str = "") -> Initializer:
    """Give the function that `init` names; a callable `(shape, rng, dtype) -> array` comes back as it is.

    `who` is whose init it is, for the messages.

    Raises
    ------
    ValueError
        If no initializer has that name.
    TypeError
        If `init` is neither a name nor callable.

    Examples
    --------
    >>> get("he_normal")((3, 3, 16, 32), np.random.default_rng(0), np.float32).shape
    (3, 3, 16, 32)
    """
    what = f"{who}: init" if who else "init"
    if isinstance(init, str):
        if init not in _BY_NAME:
            raise ValueError(f"{what} must be one of {', '.join(_BY_NAME)}, or a callable; got {init!r}")
        return _BY_NAME[init]
    if not callable(init):
        raise TypeError(
            f"{what} must be one of {', '.join(_BY_NAME)}, or a callable (shape, rng, dtype) -> array; got {init!r}"
        )
    return init


def _fans(name: str, shape: Shape) -> tuple[int, int]:
    """Inputs of one output, and outputs that one input reaches."""
    if len(shape) < 2 or 0 in shape:
        raise ValueError(f"{name} needs a weight of two or more axes, none of size 0; got shape {tuple(shape)}")
    return math.prod(shape[:-1]), math.prod(shape[:-2]) * shape[-1]


def _normal(std: float, shape: Shape, rng: np.random.Generator, dtype: Any) -> np.ndarray:
    w: np.ndarray = rng.standard_normal(shape, dtype=dtype)
    w *= std
    return w


def _uniform(limit: float, shape: Shape, rng: np.random.Generator, dtype: Any) -> np.ndarray:
    w: np.ndarray = rng.random(shape, dtype=dtype)  # in [0, 1)
    w *= 2 * limit
    w -= limit
    return w

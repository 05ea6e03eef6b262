"""Where random numbers come from: an int or a Generator, never NumPy's global state."""

import operator
from typing import Any

import numpy as np

__all__ = ["child", "random_generator"]


def random_generator(rng: Any = None) -> np.random.Generator:
    """Give the Generator that `rng` stands for.

    Parameters
    ----------
    rng : int, numpy.random.Generator or None
        A seed, 0 or more; or a Generator, which is used as it is (its draws go on from where they are); or None for a
        fresh one seeded by the system.

    Raises
    ------
    TypeError
        If `rng` is anything else, a bool or a float included.
    ValueError
        If the seed is negative.

    Examples
    --------
    >>> random_generator(0).integers(100) == random_generator(0).integers(100)
    np.True_
    """
    if rng is None or isinstance(rng, np.random.Generator):
        return np.random.default_rng(rng)
    if isinstance(rng, bool | np.bool_) or not hasattr(rng, "__index__"):
        raise TypeError(f"rng must be an int, a numpy.random.Generator or None; got {rng!r}")
    seed = operator.index(rng)
    if seed < 0:
        raise ValueError(f"rng must be 0 or more where it is an int; got {seed}")
    return np.random.default_rng(seed)


def child(rng: np.random.Generator) -> np.random.Generator:
    """Draw a new Generator from `rng`: its later draws and those of `rng` do not touch each other.

    Examples
    --------
    >>> parent = random_generator(0)
    >>> child(parent).random() == child(parent).random()
    False
    """
    return np.random.default_rng(rng.integers(2**32, size=4, dtype=np.uint64))

"""How the Solver calls an augmentation: with the keys of its random numbers, or with a generator made from them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from .targets import as_labels


class Augmenting:
    """An augmentation and the seed of its draws, which depend on nothing else than what each call is told.

    Three kinds are taken:

    - `augment(x, *, seed, epoch, indices) -> x`: draws from (seed, epoch, number of the sample);
    - the same with the attribute `mixes = True`: `augment(x, y=rows, seed=, epoch=, indices=) -> (x, rows)`, with
      probability rows for y (labels become one-hot rows);
    - any other function `f(x, rng) -> x`: `rng` is a Generator made from (seed, epoch, number of the batch).

    Parameters
    ----------
    augment : callable
    seed : int
    """

    def __init__(self, augment: Callable[..., Any], seed: int):
        if isinstance(augment, type) or not callable(augment):
            raise TypeError(f"Solver: augment must be a function of a batch, as f(x, rng) -> x; got {augment!r}")
        self.augment, self.seed = augment, seed
        self.mixes = bool(getattr(augment, "mixes", False))
        self.keyed = self.mixes or _takes_keys(augment)

    def __call__(
        self, x: Any, y: Any, indices: np.ndarray, *, epoch: int, batch: int, classes: Callable[[], int]
    ) -> tuple[Any, Any]:
        """Augment one batch; `classes` gives the width of a row, which only what mixes must know."""
        x = np.asarray(x)
        keys = {"seed": self.seed, "epoch": epoch, "indices": indices}
        if self.mixes:
            given = self.augment(x, y=_as_rows(y, classes), **keys)
            if not (isinstance(given, tuple) and len(given) == 2):
                raise TypeError(f"Solver: augment mixes, so it must give (x, y); it gave {type(given).__name__}")
            new, y = given
        elif self.keyed:
            new = self.augment(x, **keys)
        else:
            new = self.augment(x, np.random.default_rng([self.seed, epoch, batch]))
        if np.ndim(new) == 0 or len(new) != len(x):
            raise ValueError(f"Solver: augment must give as many samples as it got, {len(x)}; got {_shown(new)}")
        return new, y


def _takes_keys(augment: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(augment).parameters
    except (TypeError, ValueError):  # a function in C may not say
        return False
    return {"seed", "epoch", "indices"} <= set(parameters)


def _as_rows(y: Any, classes: Callable[[], int]) -> np.ndarray:
    """Labels as one-hot rows; rows as they are."""
    y = np.asarray(y)
    if y.ndim != 1:
        return y
    width = classes()
    as_labels("Solver: augment", y, len(y), width)
    return np.eye(width, dtype=np.float32)[y]


def _shown(a: Any) -> str:
    return f"shape {np.shape(a)}" if isinstance(a, np.ndarray) else type(a).__name__

"""What a net is fed in training: batches in a drawn order, augmented, as many at a time as a step takes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterator
from typing import Any

import numpy as np

from ..checks import takes
from ..layers.layer import Layer
from .loader import ArrayBatches, Batch, IterableBatches
from .targets import as_labels, as_weights

__all__ = ["Augmenting", "Feed", "build_for"]


class Feed:
    """The batches of training, step by step.

    Parameters
    ----------
    data : ArrayBatches or IterableBatches
    augment : callable, optional
        Changes the batches: one of the three kinds that `Augmenting` takes.
    seed : int, optional
        Of the augmentation's draws; 0 by default.
    accumulate : int
        Batches per step.
    """

    def __init__(
        self,
        data: ArrayBatches | IterableBatches,
        augment: Callable[..., Any] | None = None,
        seed: int | None = None,
        accumulate: int = 1,
    ):
        self.data, self.accumulate = data, accumulate
        self.augmenting = None if augment is None else Augmenting(augment, seed or 0)
        if self.augmenting is not None and getattr(data, "weights", None) is not None:
            self.augmenting.check_takes_weights()

    def __len__(self) -> int:
        """How many steps an epoch has."""
        return -(-len(self.data) // self.accumulate)

    def groups(
        self, net: Layer, rng: np.random.Generator, epoch: int, skip: int = 0, places: Container[int] | None = None
    ) -> Iterator[list[Batch]]:
        """Yield the batches of each step that is left of an epoch.

        Parameters
        ----------
        net : Layer
            Batches come in its dtype; it is built if the augmentation must know how many classes there are.
        rng : numpy.random.Generator
            Draws the order of the samples (and the parameters of a net that is built here).
        epoch : int
            Its number, for the augmentation's draws.
        skip : int
            How many batches of it are done.
        places : container of int, optional
            Which batches of a step are wanted, all by default; in place of another one comes (). While the net is not
            built all are, since any of them may be the one to build it for.
        """
        augmenting = self.augmenting

        def change(batch: Batch, indices: np.ndarray, number: int) -> Batch:
            def classes() -> int:
                build_for(net, batch[0], rng)
                return net.output_shape(np.shape(batch[0])[1:])[-1]

            if len(batch[0]) == 0:
                return batch
            return augmenting(batch, indices, epoch=epoch, batch=number, classes=classes)  # type: ignore[misc]

        def wanted(number: int) -> bool:
            return places is None or not net.built or (number - skip) % self.accumulate in places

        if augmenting is None:
            batches = self.data.batches(rng, net.dtype, skip, None, wanted)
        else:  # which gets the data as they are
            batches = self.data.batches(rng, None, skip, change, wanted)
        if self.accumulate > 1 and isinstance(self.data, IterableBatches):
            batches = map(_copied, batches)
        while group := list(itertools.islice(batches, self.accumulate)):
            yield group


def build_for(net: Layer, x: Any, rng: Any) -> None:
    """Build a net for batches such as x, if it is not built; `rng` draws its parameters."""
    if not net.built:
        net.build_for(x, rng=rng)


class Augmenting:
    """An augmentation and the seed of its draws, which depend only on the arguments of each call.

    Three kinds are taken:

    - `augment(x, *, seed, epoch, indices) -> x`: draws from (seed, epoch, number of the sample);
    - the same with the attribute `mixes = True`: `augment(x, y=rows, seed=, epoch=, indices=) -> (x, rows)`, with
      probability rows for y (labels become one-hot rows); where samples have weights, `augment(x, y=rows, weights=w,
      seed=, epoch=, indices=) -> (x, rows, w)`;
    - any other function `f(x, rng) -> x`: `rng` is a Generator made from (seed, epoch, number of the batch).

    What does not mix leaves each sample its weight.

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
        self.keyed = self.mixes or takes(augment, "seed", "epoch", "indices")

    def check_takes_weights(self) -> None:
        """Refuse an augmentation that mixes samples and cannot say what becomes of their weights."""
        if self.mixes and not takes(self.augment, "weights"):
            raise TypeError(
                f"Solver: the samples have weights, and augment mixes samples: it must take weights= and give (x, y, "
                f"weights); got {self.augment!r}"
            )

    def __call__(
        self, given: Batch, indices: np.ndarray, *, epoch: int, batch: int, classes: Callable[[], int]
    ) -> Batch:
        """Augment one batch; `classes` gives the width of a row, which only what mixes must know."""
        x, y, *weights = given
        x = np.asarray(x)
        keys: dict[str, Any] = {"seed": self.seed, "epoch": epoch, "indices": indices}
        if self.mixes:
            new, y, *weights = self._mixed(x, _as_rows(y, classes), weights, keys)
        elif self.keyed:
            new = self.augment(x, **keys)
        else:
            new = self.augment(x, np.random.default_rng([self.seed, epoch, batch]))
        if np.ndim(new) == 0 or len(new) != len(x):
            raise ValueError(f"Solver: augment must give as many samples as it got, {len(x)}; got {_shown(new)}")
        return (new, y, *weights)

    def _mixed(self, x: np.ndarray, rows: np.ndarray, weights: list[Any], keys: dict[str, Any]) -> Batch:
        """A batch of blends, with the weights of these if samples have any."""
        if weights:
            self.check_takes_weights()
            keys = keys | {"weights": weights[0]}
        made = self.augment(x, y=rows, **keys)
        if not (isinstance(made, tuple) and len(made) == 2 + len(weights)):
            wanted = "(x, y, weights)" if weights else "(x, y)"
            raise TypeError(f"Solver: augment mixes, so it must give {wanted}; it gave {type(made).__name__}")
        if weights:
            as_weights("Solver: augment", made[2], len(x), some=False)
        return made


def _as_rows(y: Any, classes: Callable[[], int]) -> np.ndarray:
    """Labels as one-hot rows, or for a single score as a column; rows as they are."""
    y = np.asarray(y)
    if y.ndim != 1:
        return y
    width = classes()
    if width == 1:
        return y[:, np.newaxis]
    as_labels("Solver: augment", y, len(y), width)
    return np.eye(width, dtype=np.float32)[y]


def _copied(batch: Batch) -> Batch:
    """A batch in arrays of its own: the user's object may fill the same arrays with the next one."""
    return tuple(np.array(part) if isinstance(part, np.ndarray) else part for part in batch)


def _shown(a: Any) -> str:
    return f"shape {np.shape(a)}" if isinstance(a, np.ndarray) else type(a).__name__

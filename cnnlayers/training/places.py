"""What layers draw and learn in a step of several batches: by the place of a batch, not by who came before it.

So any process can compute any of a step's batches. A layer that draws random numbers (`random`) draws one for the step,
and those for a batch from that and the batch's place. A layer that learns statistics (`lessons`, as BatchNorm has them)
does so after the step, from one batch after the other: what it learns has no part in the step itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from ..layers.layer import Layer

__all__ = ["Places", "refuse_change"]

Lessons = Mapping[str, Sequence[tuple[Any, ...]]]  # by the name of a layer: what it shall learn


class Places:
    """While it is entered, layers draw by place; and learn nothing, if that is to be done later.

    Parameters
    ----------
    model : Layer
    accumulate : int
        How many batches a step has; of one, layers draw as ever.
    later : bool
        Whether what layers shall learn is kept in `lessons`, for `learn`.
    """

    def __init__(self, model: Layer, accumulate: int, later: bool):
        layers = list(model.walk())
        self.lessons: Lessons = {}
        self._drawing = [layer for _, layer in layers if layer.random] if accumulate > 1 else []
        self._learning = {name: layer for name, layer in layers if learns(layer)} if later else {}

    def __enter__(self) -> Self:
        self._generators = [layer.rng for layer in self._drawing]
        self._seeds = [int(rng.integers(2**63)) for rng in self._generators]
        for layer in self._learning.values():
            layer.lessons = []
        return self

    def enter(self, place: int) -> None:
        """Have layers draw for the batch of this place."""
        for layer, seed in zip(self._drawing, self._seeds, strict=True):
            layer.rng = np.random.default_rng([seed, place])

    def __exit__(self, *_: object) -> None:
        for layer, rng in zip(self._drawing, self._generators, strict=True):
            layer.rng = rng
        self.lessons = {name: layer.lessons for name, layer in self._learning.items()}
        for layer in self._learning.values():
            layer.lessons = None

    def learn(self, everyone: Sequence[Lessons]) -> None:
        """Have layers learn what came to the ranks, in the order of the batches."""
        for name, layer in self._learning.items():
            for lessons in everyone:
                for lesson in lessons[name]:
                    layer.learn(*lesson)


def learns(layer: Any) -> bool:
    """Whether a layer can learn after a step."""
    return hasattr(layer, "lessons")


def refuse_change(model: Layer, before: np.ndarray) -> None:
    """Refuse a state that forward has changed: several processes cannot bring that together."""
    if np.array_equal(model.flat_state, before, equal_nan=True):
        return
    raise ValueError(
        f"Solver: {model.who} has a layer whose forward changes its state, on the rank that has the batch alone; with "
        "more than one rank it must leave that to a method learn, and keep what it is given in `lessons` when it is no "
        "longer None, as BatchNorm does"
    )

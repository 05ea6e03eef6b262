"""An epoch of training: how far it is, and what its losses and metrics will be made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .evaluation import values_of
from .step import Taken, weight_of

__all__ = ["Epoch"]

Metrics = Mapping[str, Callable[[Any, Any], float]]
KEPT = "scores", "targets", "weights"  # of what the metrics need; in a checkpoint "epoch.scores", ...


@dataclasses.dataclass
class Epoch:
    """An epoch that has begun: how far it is.

    Its loss is the mean over its batches, weighted as the loss weighs them, also where that of a step is a sum. A
    metric need be no mean of anything (F1, the root of a mean square), so it is computed once, at the end, of all
    scores of the epoch as each step met them. They are kept until then, if there are metrics: N x C numbers, but of a
    net whose scores are maps all maps of the epoch.

    Where batches cannot be joined (maps of several sizes, targets that are not arrays of numbers), metrics are means
    over the batches, weighted by samples, or by the sums of their weights.
    """

    order: dict[str, Any]  # the state of the random generator before it drew the order of the samples
    batch: int = 0  # how many batches are done
    sums: dict[str, float] = dataclasses.field(default_factory=dict)
    lr: float = 0.0
    seconds: float = 0.0
    scores: list[Any] = dataclasses.field(default_factory=list)  # of the batches that are done,
    targets: list[Any] = dataclasses.field(default_factory=list)  # theirs,
    weights: list[Any] = dataclasses.field(default_factory=list)  # and those of their samples, if they have any

    def add_step(self, taken: Taken, metrics: Metrics) -> None:
        """Add up the losses of a step's batches, and keep what the metrics need."""
        for met in taken.met:
            self._add("loss", met.loss / met.weight if taken.sums else met.loss, met.weight)
            if not metrics:
                continue
            y, *weights = met.target
            if self._by_batch(metrics):
                self._add_metrics(metrics, met.scores, y, *weights)
                continue
            self.scores.append(met.scores)
            self.targets.append(y)
            self.weights += weights
            if not (_joins(self.scores) and _joins(self.targets)):
                for kept in zip(*self._kept(), strict=True):
                    self._add_metrics(metrics, *kept)
                self.scores, self.targets, self.weights = [], [], []

    def values(self, metrics: Metrics) -> dict[str, float]:
        """Give the loss and the metrics of the epoch."""
        loss = {"loss": self._mean("loss")}
        if not metrics or self._by_batch(metrics):
            return loss | {name: self._mean(name) for name in metrics}
        return loss | values_of(metrics, *map(np.concatenate, self._kept()))

    def described(self, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        """Give what JSON holds of it; add the rest to `arrays`."""
        if self.scores:
            kept = zip(KEPT, self._kept(), strict=False)  # there may be no weights
            arrays |= {f"epoch.{name}": np.concatenate(parts) for name, parts in kept}
        about = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in about.items() if name not in KEPT}

    @classmethod
    def restored(cls, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Epoch:
        """Make the epoch that `described` gave.

        A file of an earlier version may hold sums of metrics and no scores: its epoch ends with the means over its
        batches, weighted by samples, which that version would have given it.
        """
        kept: dict[str, Any] = {name: [arrays[f"epoch.{name}"]] for name in KEPT if f"epoch.{name}" in arrays}
        return cls(**about, **kept)

    def _kept(self) -> list[list[Any]]:
        """What the metrics need, by batch: scores, targets, and weights if there are any."""
        return [self.scores, self.targets, *([self.weights] if self.weights else [])]

    def _by_batch(self, metrics: Metrics) -> bool:
        """Whether metrics are means over batches."""
        return any(f"{name} weight" in self.sums for name in metrics)

    def _add_metrics(self, metrics: Metrics, scores: Any, y: Any, weights: Any = None) -> None:
        for name, value in values_of(metrics, scores, y, weights).items():
            self._add(name, value, weight_of(scores, y, weights))

    def _add(self, name: str, value: float, weight: float) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + float(value) * weight
        self.sums[f"{name} weight"] = self.sums.get(f"{name} weight", 0.0) + weight

    def _mean(self, name: str) -> float:
        """The weighted mean of what was added under this name."""
        return self.sums[name] / self.sums[f"{name} weight"]


def _joins(parts: Sequence[Any]) -> bool:
    """Whether the last part is an array of numbers that goes with the first."""
    first, last = parts[0], parts[-1]
    if not isinstance(last, np.ndarray) or last.ndim == 0 or last.dtype.kind not in "biuf" or last.dtype.itemsize > 8:
        return False
    return (last.dtype.kind, last.shape[1:]) == (first.dtype.kind, first.shape[1:])

"""Losses: a number for how wrong the scores are, and its gradient. The 1/N of a batch is applied here and nowhere else.

With `reduction="sum"` it is applied nowhere: the loss is the sum that the mean divides, and so is the gradient.

A loss is not a layer: `forward(scores, target)` gives a float, `backward()` the gradient with respect to the scores. An
object of your own with these two methods will do as well. All are computed in float64, whatever the dtype of the
scores, which costs little on N x C elements; the gradient has the dtype of the scores.

Each takes `weights`, a number for each sample: L = sum_n w_n L_n / sum_n w_n, with L_n the loss of sample n alone. So a
sample of weight 2 counts as two of it do, and one of weight 0 is not there: its scores may be NaN, and their gradient
is 0. The targets of all samples are checked.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..config import Configured

__all__ = ["Loss", "Metric"]

Metric = Callable[..., float]  # (scores, target, weights=None)


class Loss(Configured):
    """Base class of the losses.

    Parameters
    ----------
    reduction : {"mean", "sum"}
        What the losses of the elements come to: their mean, or their sum, weighted as the mean is but not divided.
        The step of a Solver over several batches follows the mean over all of them, or the sum over all. What a Solver
        says of an epoch or of a data set (`history`, `evaluate`) is a mean in both cases.

    Attributes
    ----------
    weight : float
        Set by `forward`: the divisor of the mean, also where there is no division. The mean over several batches is
        `sum(loss * weight) / sum(weight)`, exactly; of sums it is `sum(loss) / sum(weight)`.
    """

    weight: float = 0.0
    reduction: str = "mean"

    def __init__(self, reduction: str = "mean") -> None:
        if reduction not in ("mean", "sum"):
            raise ValueError(f'{type(self).__name__}: reduction must be "mean" or "sum"; got {reduction!r}')
        self.reduction = reduction
        self._saved: Any = None

    # What the Solver asks about targets. It does not ask a class with a `forward` of its own, which may take others,
    # unless that class answers too.

    def check_targets(self, target: Any, output_shape: tuple[int, ...], who: str = "") -> None:
        """Refuse targets that `forward` would refuse for scores of this shape (without the batch axis)."""

    def counts(self, target: Any) -> bool:
        """Whether any of the targets counts: a batch of which none does is left out of training."""
        return True

    def forward(self, scores: Any, target: Any, weights: Any = None) -> float:
        """Give the loss of `scores`, and keep what `backward` needs; `weights` (N,) are those of the samples."""
        raise NotImplementedError(f"{type(self).__name__} has no forward()")

    def backward(self) -> np.ndarray:
        """Give the gradient of the last `forward` with respect to its scores, as a new array each time."""
        raise NotImplementedError(f"{type(self).__name__} has no backward()")

    def metrics(self) -> dict[str, Metric]:
        """Give the metrics that go with this loss: functions `(scores, target) -> float` by name."""
        return {}

    def _divisor(self) -> float:
        """What the sum over the batch is divided by."""
        return 1.0 if self.reduction == "sum" else self.weight

    def _take(self) -> Any:
        """What `forward` kept; it stays, as `backward` may be called again."""
        if self._saved is None:
            raise RuntimeError(f"{self!r}: backward() needs a forward() before it")
        return self._saved

"""One step of gradient descent: taken as a whole, or undone as a whole."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..data.feed import build_for
from ..data.loader import Batch
from ..errors import NonFiniteError
from ..layers.layer import Layer
from .agreement import loss_of
from .diagnosis import first_bad
from .weights import Weights, set_weights, weights_of

__all__ = ["Step", "Taken", "weight_of"]


class Taken(NamedTuple):
    """What a step met: for each of its batches the scores, the loss and the loss's weight (the samples that count)."""

    scores: list[Any]
    losses: list[float]
    weights: list[float]

    @property
    def loss(self) -> float:
        """The loss of the step: the weighted mean over its batches."""
        if len(self.losses) == 1:
            return self.losses[0]
        total = sum(loss * weight for loss, weight in zip(self.losses, self.weights, strict=True))
        return total / sum(self.weights)


class Step:
    """Takes steps: forward and backward passes, the clip of the gradient, the optimiser.

    The gradients of several batches are averaged, weighted as their losses are: g = sum(w_i g_i) / sum(w_i).

    Parameters
    ----------
    model : Layer
        It is built from the first batch, if it is not built.
    loss : Loss
    optimizer : Optimizer
    clip_norm : float, optional
        The largest Euclidean norm of the gradient; a larger one is scaled down to it.
    rng : int or numpy.random.Generator, optional
        Draws the parameters of a model that is not built.
    """

    def __init__(self, model: Layer, loss: Any, optimizer: Any, clip_norm: float | None = None, rng: Any = None):
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.clip_norm, self.rng = clip_norm, rng
        self._before: tuple[Weights, dict[str, Any], dict[str, Any]] | None = None

    def take(self, batches: Sequence[Batch], factor: float = 1.0, number: int = 1) -> Taken:
        """Take one step; if it fails or anything in it is not finite, the model and optimiser are as before it.

        Parameters
        ----------
        batches : sequence of (x, y), or (x, y, weights of the samples)
            At least one.
        factor : float
            Multiplies the learning rate.
        number : int
            The number of the step in its run, for errors.

        Raises
        ------
        NonFiniteError
            If a loss, a gradient or a new weight is NaN or infinite: names the step and the layer.
        """
        build_for(self.model, batches[0][0], self.rng)
        self._remember()
        try:
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # reported as NonFiniteError below
                return self._checked(batches, factor, number)
        except BaseException:
            self.undo()
            raise

    def undo(self) -> None:
        """Put back what there was before the last step."""
        if self._before is None:
            return
        weights, states, memory = self._before
        set_weights(self.model, weights)
        layers = dict(self.model.walk())
        for name, drawn in states.items():
            layers[name].rng.bit_generator.state = drawn
        if memory:
            self.optimizer.state = memory

    def _remember(self) -> None:
        """Copy what a step changes: weights, state, random states, the optimiser's memory."""
        if hasattr(self.optimizer, "bind"):
            self.optimizer.bind(self.model)  # the first step would
        layers = self.model.walk()
        states = {name: copy.deepcopy(layer.rng.bit_generator.state) for name, layer in layers if layer.random}
        self._before = weights_of(self.model), states, copy.deepcopy(getattr(self.optimizer, "state", {}))

    def _checked(self, batches: Sequence[Batch], factor: float, number: int) -> Taken:
        """Take the step, unless the loss, a gradient or a new weight is not finite."""
        model, taken = self.model, Taken([], [], [])
        total: Any = 0.0
        for i, (x, *target) in enumerate(batches):
            scores = model.forward(x)
            loss = loss_of(self.loss, scores, *target)
            weight = float(getattr(self.loss, "weight", 0)) or weight_of(x, *target)  # one's own may not set it
            taken.scores.append(scores)
            taken.losses.append(loss)
            taken.weights.append(weight)
            unit = taken.weights[0] if len(target) > 1 else 1.0  # weights of samples may be of any size, float32 is not
            model.backward(self.loss.backward(), input_grad=False)
            if not math.isfinite(loss):
                raise self._not_finite(batches[: i + 1], f"step {number}: the loss is {loss}")
            if not _all_finite(model.flat_grads):
                raise self._not_finite(batches[: i + 1], f"step {number}: a gradient is not finite")
            if len(batches) > 1:
                total = total + model.dtype.type(weight / unit) * model.flat_grads
        if len(batches) > 1:
            model.flat_grads[...] = total / model.dtype.type(sum(taken.weights) / unit)
        if self.clip_norm is not None:
            self._clip(self.clip_norm)
        self.optimizer.step(model, factor)
        if not (_all_finite(model.flat_params) and _all_finite(model.flat_state)):
            what = f"step {number}: the step took a weight out of range (is lr too large?)"
            raise self._not_finite(batches, what)
        return taken

    def _clip(self, largest: float) -> None:
        """Scale the gradients of what is trained down to this Euclidean norm, if theirs is larger."""
        grads = [self.model.flat_grads[run] for run, _ in self.model.param_runs()]
        norm = math.hypot(*(float(np.linalg.norm(g.astype(np.float64))) for g in grads))
        if norm > largest:
            for g in grads:
                g *= largest / norm

    def _not_finite(self, batches: Sequence[Batch], what: str) -> NonFiniteError:
        """Undo the step and replay it, to find where in the last batch the first bad value appears."""
        self.undo()
        loss = copy.copy(self.loss)
        for x, *target in batches[:-1]:
            loss_of(loss, self.model.forward(x), *target)
        return NonFiniteError(f"{what}; {first_bad(self.model, loss, *batches[-1])}")


def weight_of(x: Any, y: Any, weights: Any = None) -> float:
    """Give what a batch weighs: its samples, or the sum of their weights."""
    return float(len(x) if weights is None else np.sum(weights))


def _all_finite(a: np.ndarray) -> bool:
    """Whether no element is NaN or infinite; the sum tells it cheaply, save that it may overflow."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(a.sum())) or bool(np.isfinite(a).all())

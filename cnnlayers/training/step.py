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
from .agreement import loss_of, sums
from .diagnosis import first_bad
from .places import Places, refuse_change
from .ranks import Ranks
from .tree import EMPTY, Part, TreeSum, mantissa_and_exponent
from .weights import Weights, set_weights, weights_of

__all__ = ["Met", "Step", "Taken", "own", "weight_in", "weight_of"]


class Met(NamedTuple):
    """What a step met in one of its batches."""

    place: int  # of the batch in the step
    loss: float
    weight: float  # the loss's: the samples that count
    scores: Any = None
    target: tuple[Any, ...] = ()  # the targets, and the weights of the samples, if they have any


class Taken(NamedTuple):
    """What a step met, batch by batch."""

    met: list[Met]
    sums: bool = False  # whether the losses are sums, not means

    @property
    def loss(self) -> float:
        """The loss of the step: the weighted mean over its batches, or the sum of their sums."""
        if len(self.met) == 1:
            return self.met[0].loss
        if self.sums:
            return sum(met.loss for met in self.met)
        return sum(met.loss * met.weight for met in self.met) / sum(met.weight for met in self.met)


class Step:
    """Takes steps: forward and backward passes, the clip of the gradient, the optimiser.

    The gradients of several batches are averaged, weighted as their losses are: g = sum(w_i g_i) / sum(w_i), added up
    as a tree (`tree`); where the losses are sums, so is g = sum(g_i). They may be computed by several processes, to
    the same bits (`ranks`).

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
    ranks : Ranks, optional
        Who takes the steps, and how many batches each has; this process alone by default, and one.
    keep_scores : bool
        Whether what is met holds scores and targets.
    """

    def __init__(
        self,
        model: Layer,
        loss: Any,
        optimizer: Any,
        clip_norm: float | None = None,
        rng: Any = None,
        ranks: Ranks | None = None,
        keep_scores: bool = True,
    ):
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.sums = sums(loss)
        self.clip_norm, self.rng = clip_norm, rng
        self.ranks, self.keep_scores = ranks or Ranks(), keep_scores
        self._before: tuple[Weights, dict[str, Any], dict[str, Any]] | None = None

    def take(self, batches: Sequence[Batch], factor: float = 1.0, number: int = 1, group_factor: Any = None) -> Taken:
        """Take one step; if it fails or anything in it is not finite, the model and optimiser are as before it.

        Parameters
        ----------
        batches : sequence of (x, y), or (x, y, weights of the samples)
            () where nothing counts, or where another rank has the batch. If nothing counts on any rank, nothing is met,
            and there is no step.
        factor : float
            Multiplies the learning rate.
        number : int
            The number of the step in its run, for errors.
        group_factor : callable (schedule) -> float, optional
            Gives the factor of a group of parameters that has a schedule of its own.

        Raises
        ------
        NonFiniteError
            If a loss, a gradient or a new weight is NaN or infinite: names the step and the layer. On every rank.
        """
        if first := next(filter(None, batches), None):
            build_for(self.model, first[0], self.rng)
        if not self.model.built:  # and then no rank has a batch in which anything counts
            return Taken([])
        self._remember()
        try:
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # reported as NonFiniteError below
                taken = self._checked(batches, factor, number, group_factor)
        except BaseException:
            self.undo()
            raise
        if not taken.met:
            self.undo()
        return taken

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

    def _checked(self, batches: Sequence[Batch], factor: float, number: int, group_factor: Any) -> Taken:
        """Take the step, unless the loss, a gradient or a new weight is not finite."""
        places, tree = Places(self.model, self.ranks.accumulate, self.ranks.size > 1), TreeSum(len(batches))
        mine: list[Met] = []
        trouble = None
        with places:
            for place in self.ranks.places(len(batches)):
                part = Part(place, place + 1)
                batch = batches[place]
                if batch and trouble is None:
                    places.enter(place)
                    mine.append(self._met(place, batch))
                    trouble = self._trouble(mine[-1], number)
                    part = self._weighted(mine[-1], len(batches))
                tree.add(part)
        if self.ranks.size > 1 and self._before is not None:
            refuse_change(self.model, self._before[0][1])
        everyone = self.ranks.gather((mine, trouble, places.lessons))
        met = [each for theirs, _, _ in everyone for each in theirs]
        if any(what for _, what, _ in everyone):
            raise self._not_finite(batches, mine[-1].place if trouble else None, trouble)
        if not met:
            return Taken(met, self.sums)
        self._average(tree, met, len(batches))
        places.learn([lessons for _, _, lessons in everyone])
        if self.clip_norm is not None:
            self._clip(self.clip_norm)
        rates = (factor,) if group_factor is None else (factor, group_factor)
        self.optimizer.step(self.model, *(() if rates == (1,) else rates))  # without a schedule step(net) will do
        if not (_all_finite(self.model.flat_params) and _all_finite(self.model.flat_state)):
            last = met[-1].place
            what = f"step {number}: the step took a weight out of range (is lr too large?)"
            raise self._not_finite(batches, last if last in self.ranks.places(len(batches)) else None, what)
        return Taken(met, self.sums)

    def _met(self, place: int, batch: Batch) -> Met:
        """Go forward and backward with one batch."""
        x, *target = batch
        scores = self.model.forward(x)
        loss = loss_of(self.loss, scores, *target)
        weight = weight_in(self.loss, x, *target)
        self.model.backward(self.loss.backward(), input_grad=False)
        return Met(place, loss, weight, *((scores, tuple(map(own, target))) if self.keep_scores else ()))

    def _trouble(self, met: Met, number: int) -> str | None:
        """What is not finite after a batch, if anything is."""
        if not math.isfinite(met.loss):
            return f"step {number}: the loss is {met.loss}"
        return None if _all_finite(self.model.flat_grads) else f"step {number}: a gradient is not finite"

    def _weighted(self, met: Met, places: int) -> Part:
        """The gradient of a batch, times its weight, if there are others; that of a sum as it is."""
        if places == 1:
            return Part(met.place, met.place + 1, 0, self.model.flat_grads)
        share, exponent = mantissa_and_exponent(self._factor(met))
        grads = self.model.flat_grads
        if share != 1:
            grads *= self.model.dtype.type(share)
        return Part(met.place, met.place + 1, exponent, grads)

    def _average(self, tree: TreeSum, met: Sequence[Met], places: int) -> None:
        """Make the gradient the weighted mean over all batches, or their sum."""
        grads = self.model.flat_grads
        if places == 1:
            self.ranks.add_up(tree.parts, [0], grads)
            return
        exponents = [EMPTY] * places
        for each in met:
            exponents[each.place] = mantissa_and_exponent(self._factor(each))[1]
        exponent = self.ranks.add_up(tree.parts, exponents, grads)
        if not self.sums:
            total = math.fsum(each.weight for each in met)
            grads /= self.model.dtype.type(math.ldexp(total, -exponent))

    def _factor(self, met: Met) -> float:
        """What the gradient of a batch is multiplied by before it is added."""
        return 1.0 if self.sums else met.weight

    def _clip(self, largest: float) -> None:
        """Scale the gradients of what is trained down to this Euclidean norm, if theirs is larger."""
        grads = [self.model.flat_grads[run] for run, _ in self.model.param_runs()]
        norm = math.hypot(*(float(np.linalg.norm(g.astype(np.float64))) for g in grads))
        if norm > largest:
            for g in grads:
                g *= largest / norm

    def _not_finite(self, batches: Sequence[Batch], place: int | None, what: str | None) -> NonFiniteError:
        """Undo the step and find where in a batch the first bad value appears; `place` is None on the other ranks."""
        self.undo()
        text = None
        if place is not None:
            loss = copy.copy(self.loss)
            with Places(self.model, self.ranks.accumulate, True) as places:
                for before in filter(batches.__getitem__, self.ranks.places(place)):
                    places.enter(before)
                    loss_of(loss, self.model.forward(batches[before][0]), *batches[before][1:])
                places.enter(place)
                text = f"{what}; {first_bad(self.model, loss, *batches[place])}"
        return NonFiniteError(next(told for told in self.ranks.gather(text) if told))


def weight_of(x: Any, y: Any, weights: Any = None) -> float:
    """Give what a batch weighs: its samples, or the sum of their weights."""
    return float(len(x) if weights is None else np.sum(weights))


def weight_in(loss: Any, x: Any, y: Any, weights: Any = None) -> float:
    """Give what a batch weighs in a loss that has just seen it; one's own may not set its `weight`."""
    return float(getattr(loss, "weight", 0)) or weight_of(x, y, weights)


def own(y: Any) -> Any:
    """A copy of targets, as an array if they are one: the user's object may fill one array again and again."""
    try:
        return np.array(y)
    except ValueError:  # ragged
        return y


def _all_finite(a: np.ndarray) -> bool:
    """Whether no element is NaN or infinite; the sum tells it cheaply, save that it may overflow."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(a.sum())) or bool(np.isfinite(a).all())

"""Trials on a copy of a Solver, which is left as it is: which learning rate, and whether the net can learn at all."""

from __future__ import annotations

import copy
import dataclasses
import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..checks import as_integer, as_number
from ..data.feed import Feed
from ..data.loader import Batch
from ..errors import NonFiniteError
from .agreement import counts
from .curves import smooth, steepest
from .last_layer import mistake
from .optimizer import Optimizer, own_schedules
from .ranks import Ranks
from .step import Step

TOO_LARGE = 4.0  # a sweep ends where the smoothed loss is above this many times its minimum


@dataclasses.dataclass
class LearningRates:
    """What a sweep of learning rates gave.

    Attributes
    ----------
    rates, losses : arrays
        The rate of each step, and the loss that it met before it; the sweep ends early where the loss blows up.
    suggestion : float or None
        Where the loss falls fastest on the way to its minimum, noise aside: a rate to begin with. None, with a warning,
        where it does not fall beyond its noise: in a sweep of few steps, say.
    """

    rates: np.ndarray
    losses: np.ndarray
    suggestion: float | None

    def plot(self, ax: Any = None) -> Any:
        """Draw loss over rate with matplotlib; gives the axes.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        if ax is None:
            try:
                from matplotlib import pyplot
            except ImportError:
                raise ImportError("LearningRates.plot needs matplotlib: pip install matplotlib") from None
            _, ax = pyplot.subplots()
        from ..look.plot.training import draw_sweep  # here: pictures come after training

        draw_sweep(ax, self)
        return ax


@dataclasses.dataclass
class Overfit:
    """What training on one batch gave.

    Attributes
    ----------
    losses : list of float
        By step.
    ok : bool
        Whether the last loss is below a tenth of the first.
    mistake : str
        What is wrong with the net's last layer for the loss, if something is known to be.
    """

    losses: list[float]
    ok: bool
    mistake: str = ""

    def __str__(self) -> str:
        steps = (
            f"the loss of one batch went from {self.losses[0]:.4g} to {self.losses[-1]:.4g} in {len(self.losses)} steps"
        )
        if self.ok:
            return f"ok: {steps}" + (f"; but {self.mistake}" if self.mistake else "")
        check = "check the labels, the loss, the scale of the input and the learning rate"
        return f"not ok: {steps}: {self.mistake or check}"


def lr_find(solver: Any, lowest: float, highest: float, steps: int) -> LearningRates:
    """One step with each rate of a geometric sequence."""
    who = "Solver.lr_find"
    lowest = as_number(who, "lowest", lowest, low=0, open_low=True)
    highest = as_number(who, "highest", highest, low=lowest, open_low=True)
    steps = as_integer(who, "steps", steps, low=2)
    twin = Twin(solver)
    batches = twin.groups()
    rates: list[float] = []
    losses: list[float] = []
    best = average = math.inf
    for rate in np.geomspace(lowest, highest, steps).tolist():
        twin.optimizer.lr = rate
        try:
            losses.append(twin.take(next(batches)))
        except NonFiniteError:
            break
        rates.append(rate)
        average = smooth(losses)[-1]
        best = min(best, average)
        if average > TOO_LARGE * best:
            break
    if len(rates) < 2:
        raise ValueError(f"{who}: the loss blows up at once; begin below lowest={lowest:g}")
    place = steepest(np.array(losses))
    if place is None and solver.ranks.is_first:
        warnings.warn(
            f"{who}: no suggestion: over {len(rates)} rates from {rates[0]:.2g} to {rates[-1]:.2g} the loss does not "
            "fall by more than its noise; look at plot(), try more steps, larger batches or other ends",
            UserWarning,
            stacklevel=3,
        )
    return LearningRates(np.array(rates), np.array(losses), None if place is None else rates[place])


def overfit_batch(solver: Any, steps: int, lr: float | None) -> Overfit:
    """Many steps on the first batch."""
    steps = as_integer("Solver.overfit_batch", "steps", steps, low=2)
    twin = Twin(solver, plain=True)
    if lr is not None:
        twin.optimizer.lr = as_number("Solver.overfit_batch", "lr", lr, low=0)
    if hasattr(twin.loss, "label_smoothing"):
        twin.loss.label_smoothing = 0.0
    for _, layer in twin.model.walk():
        if layer.random and hasattr(layer, "p"):
            layer.p = 0.0
    batch = next(twin.groups())[:1]
    losses: list[float] = []
    try:
        for _ in range(steps):
            losses.append(twin.take(batch))
    except NonFiniteError:
        losses.append(math.nan)
    return Overfit(losses, losses[-1] < 0.1 * losses[0], mistake(solver.model, solver.loss))


class Twin:
    """Copies of what a Solver trains, and with what; nothing that is done with them is seen on the Solver.

    Parameters
    ----------
    solver : Solver
    plain : bool
        Whether to leave out augmentation, weight decay and the schedules of groups of parameters.
    """

    def __init__(self, solver: Any, plain: bool = False):
        self.model = solver.model.copy()
        self.loss = copy.copy(solver.loss)
        self.optimizer = _copied(solver.optimizer, plain)
        self.rng = copy.deepcopy(solver.run.rng)
        self.step = Step(
            self.model, self.loss, self.optimizer, solver.clip_norm, self.rng, Ranks(None, solver.accumulate), False
        )
        augment = None if plain else solver.augment
        self.feed = Feed(solver.train_data, augment, solver.run.augment_seed, solver.accumulate)
        self.epoch = solver.epoch

    def take(self, batches: list[Batch]) -> float:
        """Take a step, with schedules at their start, and give its loss."""
        group_factor = (lambda schedule: 1.0) if own_schedules(self.optimizer) else None
        return self.step.take(batches, group_factor=group_factor).loss

    def groups(self) -> Iterator[list[Batch]]:
        """Yield the batches of each step, of one pass over the data after another."""
        while True:
            empty = True
            for group in self.feed.groups(self.model, self.rng, self.epoch):
                if batches := [batch for batch in group if counts(self.loss, *batch)]:
                    empty = False
                    yield batches
            if empty:
                raise ValueError("Solver: train gave no batches in which anything counts")


def _copied(optimizer: Any, plain: bool) -> Any:
    """An optimiser like this one, that belongs to no net yet; if `plain`, without weight decay."""
    if isinstance(optimizer, Optimizer):
        return optimizer.steady() if plain else optimizer.fresh()
    twin = optimizer.fresh() if hasattr(optimizer, "fresh") else copy.deepcopy(optimizer)
    if plain and hasattr(twin, "weight_decay"):
        twin.weight_decay = 0.0
    return twin

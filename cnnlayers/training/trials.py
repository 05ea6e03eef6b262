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
from ..errors import NonFiniteError

SMOOTHING = 0.9  # of the losses of a sweep, in which the largest of them stop it
TOO_LARGE = 4.0
HALF_WINDOW = 1 / 12  # of a sweep: what a line is fitted to on either side of a place
SURE = 3.0  # standard errors
AS_STEEP = 0.75


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
        smoothed = smooth(self.losses)
        ax.plot(self.rates, self.losses, alpha=0.3)
        ax.plot(self.rates, smoothed)
        if self.suggestion is not None:
            ax.axvline(self.suggestion, linestyle="--", color="gray", label=f"suggestion {self.suggestion:.2g}")
        ax.set(xscale="log", xlabel="learning rate", ylabel="loss")
        low, high = smoothed.min(), smoothed[: smoothed.argmin() + 1].max()
        if low < high:  # the end, where the loss blows up, would hide the rest
            ax.set(ylim=(low - 0.1 * (high - low), high + 0.3 * (high - low)))
        if self.suggestion is not None:
            ax.legend()
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
    """

    losses: list[float]
    ok: bool

    def __str__(self) -> str:
        steps = (
            f"the loss of one batch went from {self.losses[0]:.4g} to {self.losses[-1]:.4g} in {len(self.losses)} steps"
        )
        if self.ok:
            return f"ok: {steps}"
        return f"not ok: {steps}: check the labels, the loss, the scale of the input and the learning rate"


def lr_find(solver: Any, lowest: float, highest: float, steps: int) -> LearningRates:
    """One step with each rate of a geometric sequence."""
    who = "Solver.lr_find"
    lowest = as_number(who, "lowest", lowest, low=0, open_low=True)
    highest = as_number(who, "highest", highest, low=lowest, open_low=True)
    steps = as_integer(who, "steps", steps, low=2)
    twin = twin_of(solver)
    rates: list[float] = []
    best = average = math.inf
    batches = _endless(twin)
    for rate in np.geomspace(lowest, highest, steps).tolist():
        twin.optimizer.lr = rate
        try:
            twin._train_step(next(batches), 1.0)
        except NonFiniteError:
            break
        rates.append(rate)
        average = smooth(twin.history.steps["loss"])[-1]
        best = min(best, average)
        if average > TOO_LARGE * best:
            break
    losses = np.array(twin.history.steps["loss"])
    if len(rates) < 2:
        raise ValueError(f"{who}: the loss blows up at once; begin below lowest={lowest:g}")
    place = steepest(losses)
    if place is None:
        warnings.warn(
            f"{who}: no suggestion: over {len(rates)} rates from {rates[0]:.2g} to {rates[-1]:.2g} the loss does not "
            "fall by more than its noise; look at plot(), try more steps, larger batches or other ends",
            UserWarning,
            stacklevel=3,
        )
    return LearningRates(np.array(rates), losses, None if place is None else rates[place])


def overfit_batch(solver: Any, steps: int, lr: float | None) -> Overfit:
    """Many steps on the first batch."""
    steps = as_integer("Solver.overfit_batch", "steps", steps, low=2)
    twin = twin_of(solver)
    twin.augmenting = None
    if lr is not None:
        twin.optimizer.lr = as_number("Solver.overfit_batch", "lr", lr, low=0)
    for thing, name in [(twin.optimizer, "weight_decay"), (twin.loss, "label_smoothing")]:
        if hasattr(thing, name):
            setattr(thing, name, 0.0)
    if getattr(twin.optimizer, "groups", None):
        groups = twin.optimizer.groups.items()
        twin.optimizer.groups = {name: {k: v for k, v in rule.items() if k == "lr_factor"} for name, rule in groups}
    for _, layer in twin.model.walk():
        if layer.random and hasattr(layer, "p"):
            layer.p = 0.0
    group = next(_endless(twin))[:1]
    try:
        for _ in range(steps):
            twin._train_step(group, 1.0)
    except NonFiniteError:
        twin.history.steps["loss"].append(math.nan)
    losses = twin.history.steps["loss"]
    return Overfit(losses, losses[-1] < 0.1 * losses[0])


def twin_of(solver: Any) -> Any:
    """Copy a Solver so that nothing the copy does is seen on it: net, optimiser, loss, random numbers, history."""
    twin = copy.copy(solver)
    twin.rng = copy.deepcopy(solver.rng)
    twin.model = solver.model.copy()
    twin.loss = copy.copy(solver.loss)
    optimizer = solver.optimizer
    twin.optimizer = optimizer.fresh() if hasattr(optimizer, "fresh") else copy.deepcopy(optimizer)
    twin.history = type(solver.history)()
    twin._undo = None
    return twin


def smooth(losses: Any) -> np.ndarray:
    """Running means that forget, freed from their start at 0."""
    means, mean = [], 0.0
    for i, loss in enumerate(losses):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        means.append(mean / (1 - SMOOTHING ** (i + 1)))
    return np.array(means)


def steepest(losses: np.ndarray) -> int | None:
    """Place where a noisy curve falls fastest on the way to its minimum; None if it does not fall beyond its noise.

    Of places where it falls nearly as fast it is the last: the larger rate. A line is fitted to the numbers around each
    place (least squares); the ends, which have no such window, are left out. What lies above the level of the start
    counts as that level, or the end, where the loss blows up, would hide the way down. The noise is that of second
    differences, to which what is straight adds nothing.
    """
    half = max(1, round(len(losses) * HALF_WINDOW))
    if len(losses) <= 2 * half + 1:
        return None
    start = np.median(losses[: 2 * half + 1])
    windows = np.lib.stride_tricks.sliding_window_view(np.minimum(losses, start), 2 * half + 1)
    steps = np.arange(-half, half + 1)
    slopes = windows @ steps / (steps @ steps)
    lowest = int(windows.mean(axis=1).argmin())
    steep = slopes[: lowest + 1].min()
    noise = 1.4826 * np.median(np.abs(np.diff(losses[: lowest + 2 * half + 1], 2))) / math.sqrt(6)
    if not -steep > SURE * noise / math.sqrt(steps @ steps):
        return None
    return half + int(np.flatnonzero(slopes[: lowest + 1] <= AS_STEEP * steep)[-1])


def _endless(solver: Any) -> Iterator[list[tuple[Any, Any]]]:
    """Training batches, epoch after epoch."""
    while True:
        empty = True
        for group in solver._groups(solver.rng, 0):
            empty = False
            yield group
        if empty:
            raise ValueError("Solver: train gave no batches")

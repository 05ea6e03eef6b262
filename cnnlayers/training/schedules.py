"""Schedules: the learning rate as it changes during training.

A schedule is a callable `(step, total_steps) -> factor` on the optimiser's `lr`, steps counted from 0; any function
of your own will do. These are pure functions of the two arguments and of the length of an epoch, which the Solver hands
over once with `prepare(steps_per_epoch)`; by hand, call it where `warmup` or another number counts epochs. One has a
state: `ReduceOnPlateau` is told the losses and metrics of each epoch.

The Solver runs a schedule once over the steps of each call of `train`, so a second call begins it again, but without
its warm-up, which is for a net that has not trained yet.
"""

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..checks import as_integer, as_number
from ..config import Configured
from .better import improves

__all__ = ["Constant", "Cosine", "Exponential", "OneCycle", "Polynomial", "ReduceOnPlateau", "StepDecay"]


class Schedule(Configured):
    """Base class of the schedules: a linear warm-up, then the schedule's own curve over the steps that remain.

    In the warm-up of W steps, step s has the factor (s + 1) / W. A subclass writes `curve`.

    Parameters
    ----------
    warmup : float
        Length of the warm-up in epochs, at least 0; it need not be whole.
    """

    def __init__(self, warmup: float = 0) -> None:
        self.warmup = as_number(type(self).__name__, "warmup", warmup, low=0)
        self._steps_per_epoch: int | None = None

    def prepare(self, steps_per_epoch: int) -> None:
        """Say how many steps an epoch has."""
        self._steps_per_epoch = as_integer(type(self).__name__, "steps_per_epoch", steps_per_epoch, low=1)

    def __call__(self, step: int, total_steps: int) -> float:
        """Give the factor on lr.

        Parameters
        ----------
        step : int
            The step about to be taken, from 0. A step past the end has the factor of the end.
        total_steps : int
            The number of steps of the whole training, at least 1.

        Raises
        ------
        RuntimeError
            If a number of epochs is to be turned into steps and `prepare` was not called.
        ValueError, TypeError
            If the arguments are not ints, or out of range.
        """
        who = type(self).__name__
        step = as_integer(who, "step", step, low=0)
        total_steps = as_integer(who, "total_steps", total_steps, low=1)
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        return self.after_warmup(step - self.warmup_steps, max(total_steps - self.warmup_steps, 1))

    def after_warmup(self, step: int, total_steps: int) -> float:
        """Give the factor `step` steps after the warm-up, of the `total_steps` without it."""
        return self.curve(step, total_steps)

    def curve(self, step: int, total_steps: int) -> float:
        """Give the factor `step` steps after the warm-up, `total_steps` being those without it."""
        raise NotImplementedError(f"{type(self).__name__} has no curve()")

    @property
    def warmup_steps(self) -> int:
        """The length of the warm-up in steps."""
        return round(self.warmup * self.steps_per_epoch) if self.warmup else 0

    @property
    def steps_per_epoch(self) -> int:
        """The number that `prepare` was given."""
        if self._steps_per_epoch is None:
            raise RuntimeError(f"{self!r} counts epochs, so it needs prepare(steps_per_epoch) before its first call")
        return self._steps_per_epoch


class Ending(Schedule):
    """Base of those that go to an end: by default that of the training, or earlier, and then they stay there.

    Parameters
    ----------
    warmup : float
        As for `Schedule`.
    epochs : float, optional
        How many epochs it takes to the end, from the end of the warm-up; by default all that remain.
    """

    def __init__(self, warmup: float = 0, epochs: float | None = None) -> None:
        super().__init__(warmup)
        self.epochs = (
            epochs if epochs is None else as_number(type(self).__name__, "epochs", epochs, low=0, open_low=True)
        )

    def after_warmup(self, step: int, total_steps: int) -> float:
        """Give the factor of the curve, or of its end."""
        if self.epochs is not None:
            total_steps = max(round(self.epochs * self.steps_per_epoch), 1)
            step = min(step, total_steps)
        return self.curve(step, total_steps)


class Constant(Schedule):
    """The factor 1, after the warm-up.

    Examples
    --------
    >>> schedule = Constant(warmup=1)
    >>> schedule.prepare(steps_per_epoch=4)
    >>> [schedule(step, 8) for step in range(6)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    """

    def curve(self, step: int, total_steps: int) -> float:
        """Give 1."""
        return 1.0


class StepDecay(Schedule):
    """factor^k, k being the number of drops so far.

    Parameters
    ----------
    every : int or sequence of ints
        An int: a drop after each `every` epochs. A sequence: the epochs at which the drops come, increasing. Epochs are
        counted from the end of the warm-up.
    factor : float
        What each drop multiplies by, above 0.
    warmup : float
        As for `Schedule`.

    Examples
    --------
    >>> schedule = StepDecay(every=[1, 3], factor=0.5)
    >>> schedule.prepare(steps_per_epoch=2)
    >>> [schedule(step, 8) for step in range(8)]
    [1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]
    """

    def __init__(self, every: Any, factor: float = 0.1, warmup: float = 0) -> None:
        super().__init__(warmup)
        self.every = _as_every(every)
        self.factor = as_number("StepDecay", "factor", factor, low=0, open_low=True)

    def curve(self, step: int, total_steps: int) -> float:
        """Give factor^k."""
        epoch = step // self.steps_per_epoch
        if isinstance(self.every, int):
            drops = epoch // self.every
        else:
            drops = sum(milestone <= epoch for milestone in self.every)
        return self.factor**drops


class Exponential(Schedule):
    """decay^(epochs since the warm-up), smoothly: the number of epochs grows a little with each step.

    Parameters
    ----------
    decay : float
        The factor of one epoch, above 0.
    warmup : float
        As for `Schedule`.

    Examples
    --------
    >>> schedule = Exponential(decay=0.25)
    >>> schedule.prepare(steps_per_epoch=2)
    >>> [schedule(step, 4) for step in range(4)]
    [1.0, 0.5, 0.25, 0.125]
    """

    def __init__(self, decay: float, warmup: float = 0) -> None:
        super().__init__(warmup)
        self.decay = as_number("Exponential", "decay", decay, low=0, open_low=True)

    def curve(self, step: int, total_steps: int) -> float:
        """Give decay^(step / steps_per_epoch)."""
        return self.decay ** (step / self.steps_per_epoch)


class Cosine(Ending):
    """Half a cosine, from 1 to `final`: final + (1 - final) * (1 + cos(pi * s / S)) / 2.

    S is the number of steps after the warm-up, so `final` itself would come one step after the last: no step is taken
    with a learning rate of 0.

    Source: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017 (one cycle of it).

    Parameters
    ----------
    final : float
        The factor at the end, at least 0.
    warmup, epochs : float
        As for `Ending`.

    Examples
    --------
    >>> [round(Cosine()(step, 4), 3) for step in range(4)]
    [1.0, 0.854, 0.5, 0.146]
    """

    def __init__(self, final: float = 0.0, warmup: float = 0, epochs: float | None = None) -> None:
        super().__init__(warmup, epochs)
        self.final = as_number("Cosine", "final", final, low=0)

    def curve(self, step: int, total_steps: int) -> float:
        """Give the cosine, as above."""
        return _cosine(1.0, self.final, step / total_steps)


class OneCycle(Ending):
    """Up from `start` to 1, then down to `final`, each along half a cosine.

    The peak is at step `rise * total_steps - 1` and `final` at the last step, as in PyTorch's OneCycleLR with `lr` as
    its `max_lr`, `rise` its `pct_start`, `start` = 1 / `div_factor` and `final` = `start` / `final_div_factor` (whose
    default values give 4e-6). The momentum stays as it is (`cycle_momentum=False`).

    Source: Smith and Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates",
    2019.

    Parameters
    ----------
    rise : float
        The share of the steps that go up, in 0 < rise < 1.
    start, final : float
        The factors at both ends, in 0..1.
    epochs : float, optional
        As for `Ending`.

    Examples
    --------
    >>> [round(OneCycle(rise=0.3)(step, 10), 3) for step in (0, 1, 2, 9)]
    [0.04, 0.52, 1.0, 0.0]
    """

    def __init__(
        self, rise: float = 0.3, start: float = 1 / 25, final: float = 1e-4, epochs: float | None = None
    ) -> None:
        super().__init__(epochs=epochs)
        self.rise = as_number("OneCycle", "rise", rise, low=0, high=1, open_low=True, open_high=True)
        self.start = as_number("OneCycle", "start", start, low=0, high=1)
        self.final = as_number("OneCycle", "final", final, low=0, high=1)

    def curve(self, step: int, total_steps: int) -> float:
        """Give the rising or the falling half cosine."""
        last = total_steps - 1
        peak = max(self.rise * total_steps - 1, 0.0)
        if step < peak:
            return _cosine(self.start, 1.0, step / peak)
        return _cosine(1.0, self.final, (step - peak) / (last - peak) if last > peak else 0.0)


class Polynomial(Ending):
    """final + (1 - final) * (1 - s / S)^power: a straight line with power 1.

    S is the number of steps after the warm-up, so `final` itself would come one step after the last.

    Parameters
    ----------
    power : float
        Above 0.
    final : float
        The factor at the end, at least 0.
    warmup, epochs : float
        As for `Ending`.

    Examples
    --------
    >>> [Polynomial()(step, 4) for step in range(4)]
    [1.0, 0.75, 0.5, 0.25]
    >>> schedule = Polynomial(epochs=1)
    >>> schedule.prepare(steps_per_epoch=2)
    >>> [schedule(step, 4) for step in range(4)]
    [1.0, 0.5, 0.0, 0.0]
    """

    def __init__(self, power: float = 1.0, final: float = 0.0, warmup: float = 0, epochs: float | None = None) -> None:
        super().__init__(warmup, epochs)
        self.power = as_number("Polynomial", "power", power, low=0, open_low=True)
        self.final = as_number("Polynomial", "final", final, low=0)

    def curve(self, step: int, total_steps: int) -> float:
        """Give the polynomial, as above."""
        left = max(1 - step / total_steps, 0.0)
        return self.final + (1 - self.final) * left**self.power


class ReduceOnPlateau(Schedule):
    """1 at first, times `factor` whenever `monitor` has not improved for more than `patience` epochs.

    It has a memory, so the Solver (or you, by `update`) must tell it the values of each epoch. A checkpoint holds the
    memory; a second `train` goes on with it.

    Parameters
    ----------
    factor : float
        In 0 < factor < 1.
    patience : int
        How many epochs in a row may pass without an improvement.
    monitor : str, optional
        A name in the history; that of the Solver by default. Losses and errors improve when lower, all else when
        higher.
    min_factor : float
        The product never falls below it: in 0..1.
    min_delta : float
        What counts as an improvement: more than this.
    warmup : float
        As for `Schedule`.

    Examples
    --------
    >>> schedule = ReduceOnPlateau(factor=0.5, patience=1, monitor="val_loss")
    >>> for loss in (3.0, 2.0, 2.0, 2.0, 1.0):
    ...     schedule.update({"val_loss": loss})
    ...     print(schedule(0, 100))
    1.0
    1.0
    1.0
    0.5
    0.5
    """

    def __init__(
        self,
        factor: float = 0.1,
        patience: int = 10,
        monitor: str | None = None,
        min_factor: float = 0.0,
        min_delta: float = 0.0,
        warmup: float = 0,
    ) -> None:
        super().__init__(warmup)
        who = "ReduceOnPlateau"
        self.factor = as_number(who, "factor", factor, low=0, high=1, open_low=True, open_high=True)
        self.patience = as_integer(who, "patience", patience, low=0)
        self.monitor = monitor
        self.min_factor = as_number(who, "min_factor", min_factor, low=0, high=1)
        self.min_delta = as_number(who, "min_delta", min_delta, low=0)
        self.value, self.waited = 1.0, 0
        self.best: float | None = None

    def curve(self, step: int, total_steps: int) -> float:
        """Give the product so far."""
        return self.value

    def update(self, numbers: Mapping[str, float], monitor: str = "val_loss") -> None:
        """Take note of the values of an epoch; `monitor` is the name to look at if the schedule has none."""
        name = self.monitor or monitor
        if improves(name, numbers[name], self.best, self.min_delta):
            self.best, self.waited = float(numbers[name]), 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.value, self.waited = max(self.value * self.factor, self.min_factor), 0

    def state_dict(self) -> dict[str, Any]:
        """Give the memory."""
        return {"value": self.value, "best": self.best, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the memory that `state_dict` gave."""
        who = "ReduceOnPlateau"
        value = as_number(who, "state 'value'", state["value"], low=0, high=1)
        waited = as_integer(who, "state 'waited'", state["waited"], low=0)
        self.best = None if state["best"] is None else float(state["best"])
        self.value, self.waited = value, waited


def _cosine(begin: float, end: float, progress: float) -> float:
    """Half a cosine from `begin` at progress 0 to `end` at progress 1 and after."""
    return end + (begin - end) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2


def _as_every(every: Any) -> int | tuple[int, ...]:
    if not isinstance(every, list | tuple | np.ndarray):
        return as_integer("StepDecay", "every", every, low=1)
    milestones = tuple(as_integer("StepDecay", "every", epoch, low=1) for epoch in every)
    if not milestones or any(a >= b for a, b in itertools.pairwise(milestones)):
        raise ValueError(f"StepDecay: every must be an int or increasing epochs; got {every!r}")
    return milestones

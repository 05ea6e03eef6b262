"""Where a training run is: all that a resumed run must know, apart from the net and the states of its parts.

`Solver.run` is a `Run`; a checkpoint holds it as a whole (`resume`), with the net and the states of the optimiser,
the schedule and the callbacks.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np

from ..errors import CheckpointError
from ..layers.layer import Layer
from .better import improves
from .epoch import Epoch
from .history import History
from .schedules import Schedule
from .weights import Weights, set_weights, weights_of

__all__ = ["Call", "Run", "generator_at", "plain"]

GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")


@dataclasses.dataclass
class Call:
    """A call of `train` that has begun: the schedule runs over its steps."""

    first: int  # the step that it began with
    steps: int  # how many it takes in all; 0 if nothing had to know it (a schedule, or a callback that counts_steps)
    last: int  # the epoch that it ends with

    def factor(self, schedule: Callable[[int, int], float] | None, step: int) -> float:
        """Give the factor of a schedule at a step of the run. It begins again in each call, but without its warm-up."""
        if schedule is None:
            return 1.0
        if isinstance(schedule, Schedule) and 0 < schedule.warmup_steps <= self.first:
            return schedule.after_warmup(step - self.first, self.steps)
        return schedule(step - self.first, self.steps)


@dataclasses.dataclass
class Run:
    """A training run between two steps.

    Attributes
    ----------
    rng : numpy.random.Generator
        Draws the order of the samples.
    augment_seed : int or None
        The seed of the augmentation's draws.
    epoch, step : int
        How many are done.
    best : float or None
        The best value of the Solver's `monitor` so far.
    best_weights : Weights or None
        The weights that had it, if they are to come back.
    call : Call or None
        The `train` under way, or the one that was left before its end.
    partial : Epoch or None
        The epoch under way, or the one that was left before its end.
    history : History
    gave_back : (Weights, Weights) or None
        What the last `train` gave back, where it is not what it ended with; and what it ended with.
    """

    rng: np.random.Generator
    augment_seed: int | None = None
    epoch: int = 0
    step: int = 0
    best: float | None = None
    best_weights: Weights | None = None
    call: Call | None = None
    partial: Epoch | None = None
    history: History = dataclasses.field(default_factory=History)
    gave_back: tuple[Weights, Weights] | None = None

    def begin_call(self, epochs: int, steps_per_epoch: int, accumulate: int) -> None:
        """Begin a `train` of this many more epochs; one that was left before its end counts as the first."""
        done = 0 if self.partial is None else -(-self.partial.batch // accumulate)
        self.call = Call(self.step, max(epochs * steps_per_epoch - done, 0), self.epoch + epochs)

    def enter_epoch(self) -> tuple[Epoch, np.random.Generator]:
        """Give the epoch that is under way, or begin one; and the generator that draws its order of the samples."""
        if self.partial is not None:
            return self.partial, generator_at(self.partial.order)  # which draws the same order again
        self.partial = Epoch(copy.deepcopy(dict(self.rng.bit_generator.state)))
        return self.partial, self.rng

    def forget_untouched_epoch(self) -> None:
        """Give up an epoch in which nothing was done: its order will be drawn again."""
        if self.partial is not None and self.partial.batch == 0:
            self.rng.bit_generator.state = self.partial.order
            self.partial = None

    def best_so_far(self, net: Layer, monitor: str, row: Mapping[str, float], keep: str) -> Weights | None:
        """Give the net's weights if they are the best so far; then put them aside too, if they are to come back."""
        value = float(row[monitor])
        if not math.isfinite(value) or not improves(monitor, value, self.best):
            return None
        self.best, weights = value, weights_of(net)
        if keep == "best":
            self.best_weights = weights
        return weights

    def give_back(self, net: Layer, weights: Weights) -> None:
        """Put these weights into the net at the end of a `train`, and remember those that it ended with."""
        self.gave_back = (weights[0].copy(), weights[1].copy()), weights_of(net)
        set_weights(net, weights)

    def take_up(self, net: Layer) -> None:
        """Put the weights that the last `train` ended with into the net, if it still has what was given back."""
        if self.gave_back is not None:
            set_weights(net, self.training_weights(net))
        self.gave_back = None

    def training_weights(self, net: Layer) -> Weights:
        """Give the weights that training goes on from: the net's own, or those that the last `train` ended with."""
        now = weights_of(net)
        if self.gave_back is None:
            return now
        given, ended = self.gave_back
        return ended if all(np.array_equal(a, b) for a, b in zip(now, given, strict=True)) else now

    def described(self, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        """Give what JSON holds of the run, all but its weights and the seed; add the rest to `arrays`."""
        for name, values in self.history.epochs.items():
            arrays[f"history.{name}"] = np.asarray(values, np.float64)
        arrays["steps.loss"] = np.asarray(self.history.steps["loss"], np.float64)
        return {
            "epoch": self.epoch,
            "step": self.step,
            "best": self.best,
            "call": None if self.call is None else dataclasses.asdict(self.call),
            "partial": None if self.partial is None else plain(self.partial.described(arrays)),
            "rng": plain(self.rng.bit_generator.state),
            "history": list(self.history.epochs),
            "stopped": self.history.stopped,
        }

    @classmethod
    def restored(cls, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray], best_weights: Weights | None) -> Self:
        """Make the run that `described` gave."""
        run = cls(generator_at(about["rng"]), about["augment_seed"], about["epoch"], about["step"], about["best"])
        run.best_weights = best_weights
        if about["call"] is not None:
            run.call = Call(**about["call"])
        elif run.step > 0:  # saved after the end of a `train`: nothing is left of it
            run.call = Call(run.step, 0, run.epoch)
        run.partial = None if about["partial"] is None else Epoch.restored(about["partial"], arrays)
        run.history.epochs = {name: arrays[f"history.{name}"].tolist() for name in about["history"]}
        run.history.steps["loss"] = arrays["steps.loss"].tolist()
        run.history.stopped = about["stopped"]
        return run


def generator_at(state: Mapping[str, Any]) -> np.random.Generator:
    """Make a Generator in the state that another one was in."""
    name = state["bit_generator"]
    if name not in GENERATORS:
        raise CheckpointError(f"the random generator must be one of {', '.join(GENERATORS)}; the file has {name!r}")
    rng = np.random.Generator(getattr(np.random, name)())
    rng.bit_generator.state = copy.deepcopy(state)
    return rng


def plain(value: Any) -> Any:
    """Give nested dicts and lists in Python's own types, as JSON holds them."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a checkpoint cannot hold {value!r}: a state is made of numbers, text, lists, dicts and arrays")

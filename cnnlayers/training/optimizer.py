"""What all optimisers share: groups of parameters, the state, and the walk over the flat arrays.

Parameter groups: `SGD(lr=0.1, groups={"*.gamma": {"lr_factor": 0.1}, "0.*": {"weight_decay": 0}})`. A key is a pattern
for the names in `net.params` (with `*`, `?` and `[...]`); the first that fits a name counts. Of its rule

- `lr_factor` multiplies the learning rate of the rest, so schedules apply to all;
- `weight_decay` replaces the optimiser's, whatever the array;
- `schedule` takes the place of the Solver's: `{"1.b": {"schedule": cl.Polynomial(epochs=3)}}` trains a bias for three
  epochs, less and less.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, Self

import numpy as np

from ..checks import as_flag, as_integer, as_number
from ..config import Configured

__all__ = ["GroupFactor", "Groups", "Optimizer", "Stretch", "named_parts", "own_schedules"]

Groups = Mapping[str, Mapping[str, Any]]  # {pattern: {"lr_factor": ..., "weight_decay": ..., "schedule": ...}}
GroupFactor = Callable[[Any], float]  # of the schedule of a group: its value in this step


class Stretch(NamedTuple):
    """A part of the flat arrays that a step treats alike."""

    part: slice
    lr: float  # with all factors
    decay: float


class Optimizer(Configured):
    """Base class of the optimisers.

    A subclass names its arrays in `arrays` (and `counters`, if it counts steps) and writes `update`, its formula.

    An optimiser belongs to one net: its first step binds it. Frozen layers (`layer.trainable = False`) are left as they
    are, and so is their part of the state.

    Parameters
    ----------
    lr : float
        Learning rate, at least 0. It may be set at any time.
    weight_decay : float
        The factor of the L2 penalty whose gradient, `weight_decay * w`, is added to g.
    decay_all : bool
        Whether weight decay applies to biases, norm parameters, slopes and scales too.
    groups : dict, optional
        Rates, decay and schedules by pattern of names, as said above:
        `{pattern: {"lr_factor": float, "weight_decay": float, "schedule": callable (step, total_steps) -> factor}}`.

    Attributes
    ----------
    state : dict
        What the optimiser remembers: flat arrays in the order of `net.flat_params`, and ints, by name. Empty before the
        first step.
    """

    arrays: tuple[str, ...] = ()
    counters: tuple[str, ...] = ()
    rules: tuple[str, ...] = ("lr_factor", "weight_decay", "schedule")  # what a group may say

    def __init__(
        self, lr: float, weight_decay: float = 0.0, decay_all: bool = False, groups: Groups | None = None
    ) -> None:
        who = type(self).__name__
        self.lr = as_number(who, "lr", lr, low=0)
        self.weight_decay = as_number(who, "weight_decay", weight_decay, low=0)
        self.decay_all = as_flag(who, "decay_all", decay_all)
        self.groups = None if groups is None else _as_groups(who, groups, self.rules)
        self.state: dict[str, Any] = {}
        self._flat: np.ndarray | None = None

    def step(self, net: Any, factor: float = 1.0, group_factor: GroupFactor | None = None) -> None:
        """Change the parameters of `net` once, by its gradients.

        Parameters
        ----------
        net : Layer
            A built layer or net.
        factor : float
            Multiplies `lr` in this step: the value of a schedule.
        group_factor : callable (schedule) -> float, optional
            Gives the value of a group's own schedule, which takes the place of `factor` there. By hand:
            `optimizer.step(net, schedule(t, total), lambda own: own(t, total))`.

        Raises
        ------
        RuntimeError
            If the net is not built.
        ValueError
            If this optimiser has begun with another net, `lr` or `factor` is negative or not finite, or a group has a
            schedule and there is no `group_factor`.
        """
        who = type(self).__name__
        self.bind(net)
        as_number(who, "lr", self.lr, low=0)
        factor = as_number(who, "factor", factor, low=0)
        if self.schedules and group_factor is None:
            raise ValueError(f"{who}: a group has a schedule, so a step needs its value, as group_factor")
        for name in self.counters:
            self.state[name] += 1
        self.advance(net, factor, group_factor)

    def advance(
        self, net: Any, factor: float, group_factor: GroupFactor | None, names: Collection[str] | None = None
    ) -> None:
        """Change the parameters of these names, all by default: the part of a step after all checks."""
        for part, lr, decay in self.stretches(net, factor, group_factor, names):
            own = [self.state[name][part] for name in self.arrays]
            self.update(net.flat_params[part], net.flat_grads[part], lr, decay, *own)

    def update(self, w: np.ndarray, g: np.ndarray, lr: float, decay: float, *own: Any) -> None:
        """Change a stretch of the parameters, `w`, in place, given their gradients `g`, which are left as they are.

        `lr` includes the schedule's factor; `decay` is 0 where there is no weight decay; `own` are the parts of the
        arrays named in `arrays`, to be changed in place.
        """
        raise NotImplementedError(f"{type(self).__name__} has no update()")

    @property
    def schedules(self) -> list[Any]:
        """The schedules that groups have of their own."""
        return [rule["schedule"] for rule in (self.groups or {}).values() if "schedule" in rule]

    def stretches(
        self,
        net: Any,
        factor: float = 1.0,
        group_factor: GroupFactor | None = None,
        names: Collection[str] | None = None,
    ) -> list[Stretch]:
        """Give the trainable stretches of the flat arrays, those of the parameters of these names."""
        alike = self.decay_all or not (self.weight_decay or self.groups)  # all arrays have the same decay
        runs = net.param_runs(alike)
        if not self.groups and names is None:
            return [Stretch(part, self.lr * factor, self.weight_decay if decays else 0.0) for part, decays in runs]
        split: list[Stretch] = []
        for name, part, decays in named_parts(net, runs):
            if names is not None and name not in names:
                continue
            new = self.stretch(name, part, decays, factor, group_factor)
            last = split[-1] if split else None
            if last and last._replace(part=slice(last.part.start, part.start)) == last and new[1:] == last[1:]:
                split[-1] = new._replace(part=slice(last.part.start, part.stop))
            else:
                split.append(new)
        return split

    def stretch(self, name: str, part: slice, decays: bool, factor: float, group_factor: GroupFactor | None) -> Stretch:
        """Give the stretch of one parameter, with its rate and decay."""
        rule = self.rule(name)
        if "schedule" in rule and group_factor is not None:
            factor = as_number(type(self).__name__, "group_factor", group_factor(rule["schedule"]), low=0)
        decay = self.weight_decay if decays else 0.0
        return Stretch(part, self.lr * factor * rule.get("lr_factor", 1.0), rule.get("weight_decay", decay))

    def rule(self, name: str) -> Mapping[str, Any]:
        """Give what the groups say of the parameter of this name."""
        return next((rule for pattern, rule in (self.groups or {}).items() if fnmatchcase(name, pattern)), {})

    def bind(self, net: Any) -> None:
        """Give this optimiser to `net`, with a state of zeros; the first step does so. Once bound to it, do nothing."""
        if not net.built:
            raise RuntimeError(f"{self!r} needs a built net; build it, or run a forward(), before the first step")
        if self._flat is net.flat_params:
            return
        if not net.flat_params.flags.writeable:
            raise RuntimeError(f"{self!r} needs a net that trains; this one was made by for_inference()")
        self.check_groups(net)
        if self._flat is not None:
            raise ValueError(
                f"{self!r} has begun with another net, and its state belongs to that; make a new optimiser"
            )
        self._flat = net.flat_params
        self.state = dict.fromkeys(self.counters, 0)
        self.state |= {name: np.zeros_like(net.flat_params) for name in self.arrays}

    def check_groups(self, net: Any) -> None:
        """Refuse a pattern that fits no parameter of the net."""
        for pattern in self.groups or ():
            if not any(fnmatchcase(name, pattern) for name in net.params):
                raise ValueError(
                    f"{type(self).__name__}: groups must name parameters; {pattern!r} fits none of {list(net.params)}"
                )

    def fresh(self) -> Self:
        """Give an equal optimiser that belongs to no net yet."""
        twin = copy.copy(self)
        twin.state, twin._flat = {}, None
        return twin

    def steady(self) -> Self:
        """Give a fresh one without weight decay and without schedules of groups: for trials on one batch."""
        twin = self.fresh()
        twin.weight_decay = 0.0
        left_out = ("weight_decay", "schedule")
        if self.groups is not None:
            twin.groups = {
                pattern: {key: value for key, value in rule.items() if key not in left_out}
                for pattern, rule in self.groups.items()
            }
        return twin

    def load_state(self, net: Any, state: Mapping[str, Any]) -> None:
        """Bind to `net` and take over a copy of the saved `state`: the next step is as it would have been.

        Raises
        ------
        ValueError
            If the names, shapes or dtypes are not those of this optimiser on this net; then nothing is changed but the
            binding.
        """
        self.bind(net)
        who = type(self).__name__
        if set(state) != set(self.state):
            raise ValueError(f"{who}: the state must hold {sorted(self.state)}; got {sorted(state)}")
        for name in self.arrays:
            own, given = self.state[name], np.asarray(state[name])
            if (given.shape, given.dtype) != (own.shape, own.dtype):
                raise ValueError(
                    f"{who}: state {name!r} must have shape {own.shape} and dtype {own.dtype}; "
                    f"got shape {given.shape} and dtype {given.dtype}"
                )
        counts = {name: as_integer(who, f"state {name!r}", state[name], low=0) for name in self.counters}
        for name in self.arrays:
            self.state[name][...] = state[name]
        self.state |= counts


def own_schedules(optimizer: Any) -> list[Any]:
    """Give the schedules of its groups of parameters; one of the user's own class may have none."""
    return list(getattr(optimizer, "schedules", ()))


def named_parts(net: Any, runs: Collection[tuple[slice, bool]]) -> Iterator[tuple[str, slice, bool]]:
    """Each parameter that lies in one of these runs of `net.param_runs`: its name, its part, whether it decays."""
    start = 0
    for name, array in net.params.items():
        part = slice(start, start + array.size)
        start = part.stop
        for run, decays in runs:
            if run.start <= part.start and part.stop <= run.stop and array.size:
                yield name, part, decays


def _as_groups(who: str, groups: Any, rules: Collection[str]) -> dict[str, dict[str, Any]]:
    known = ", ".join(f'"{rule}"' for rule in rules)
    if not isinstance(groups, Mapping):
        raise TypeError(f'{who}: groups must be {{pattern: {{"lr_factor": ..., "weight_decay": ...}}}}; got {groups!r}')
    checked = {}
    for pattern, rule in groups.items():
        if not isinstance(pattern, str):
            raise TypeError(f"{who}: groups must have patterns of names as keys; got {pattern!r}")
        if not isinstance(rule, Mapping) or set(rule) - set(rules):
            raise ValueError(f"{who}: the group {pattern!r} must be a dict of {known}; got {rule!r}")
        checked[pattern] = {key: _as_rule(who, f"{key} of {pattern!r}", key, value) for key, value in rule.items()}
    return checked


def _as_rule(who: str, what: str, key: str, value: Any) -> Any:
    """One entry of a group, checked."""
    if key == "schedule":
        if isinstance(value, type) or not callable(value):
            raise TypeError(f"{who}: {what} must be a function (step, total_steps) -> factor; got {value!r}")
        if hasattr(value, "update"):
            raise ValueError(f"{who}: {what} must depend on the step alone; {value!r} has a memory: it is the Solver's")
        return value
    if key == "optimizer":
        if value not in ("muon", "rest"):
            raise ValueError(f'{who}: {what} must be "muon" or "rest"; got {value!r}')
        return value
    return as_number(who, what, value, low=0)

"""Optimisers: what a step does to the parameters, given their gradients.

The formulas and default values are PyTorch's, but weight decay skips biases, the parameters of norms and those of PReLU
and Scale, unless `decay_all=True`. A built net keeps its parameters in one flat array and its gradients in another; a
step is one pass over both (`kernels/c/optimizer.h` has the formulas again, line by line).

In the formulas w is a parameter, g its gradient, t the number of the step (from 1).

Parameter groups: `SGD(lr=0.1, groups={"*.gamma": {"lr_factor": 0.1}, "0.*": {"weight_decay": 0}})`. A key is a pattern
for the names in `net.params` (with `*`, `?` and `[...]`); the first that fits a name counts. `lr_factor` multiplies the
learning rate of the rest, so schedules apply to all; `weight_decay` replaces the optimiser's, whatever the array.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Self

import numpy as np

from .. import kernels
from ..checks import as_flag, as_integer, as_number
from ..config import Configured

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "RMSProp"]

Groups = Mapping[str, Mapping[str, float]]  # {pattern: {"lr_factor": ..., "weight_decay": ...}}


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
        Rates and decay by pattern of names, as said above: `{pattern: {"lr_factor": float, "weight_decay": float}}`.

    Attributes
    ----------
    state : dict
        What the optimiser remembers: flat arrays in the order of `net.flat_params`, and ints, by name. Empty before the
        first step.
    """

    arrays: tuple[str, ...] = ()
    counters: tuple[str, ...] = ()

    def __init__(
        self, lr: float, weight_decay: float = 0.0, decay_all: bool = False, groups: Groups | None = None
    ) -> None:
        who = type(self).__name__
        self.lr = as_number(who, "lr", lr, low=0)
        self.weight_decay = as_number(who, "weight_decay", weight_decay, low=0)
        self.decay_all = as_flag(who, "decay_all", decay_all)
        self.groups = None if groups is None else _as_groups(who, groups)
        self.state: dict[str, Any] = {}
        self._flat: np.ndarray | None = None

    def step(self, net: Any, factor: float = 1.0) -> None:
        """Change the parameters of `net` once, by its gradients.

        Parameters
        ----------
        net : Layer
            A built layer or net.
        factor : float
            Multiplies `lr` in this step: the value of a schedule.

        Raises
        ------
        RuntimeError
            If the net is not built.
        ValueError
            If this optimiser has begun with another net, or `lr` or `factor` is negative or not finite.
        """
        self.bind(net)
        who = type(self).__name__
        lr = as_number(who, "lr", self.lr, low=0) * as_number(who, "factor", factor, low=0)
        for name in self.counters:
            self.state[name] += 1
        for part, factor, decay in self.runs(net):
            own = [self.state[name][part] for name in self.arrays]
            self.update(net.flat_params[part], net.flat_grads[part], lr * factor, decay, *own)

    def runs(self, net: Any) -> list[tuple[slice, float, float]]:
        """Give the trainable stretches of the flat arrays, each with its factor on lr and its weight decay."""
        alike = self.decay_all or not (self.weight_decay or self.groups)  # all arrays have the same decay
        plain = [(part, 1.0, self.weight_decay if decays else 0.0) for part, decays in net.param_runs(alike)]
        if not self.groups:
            return plain
        split: list[tuple[slice, float, float]] = []
        for part, factor, decay in self._by_group(net, plain):
            if split and split[-1] == (slice(split[-1][0].start, part.start), factor, decay):
                split[-1] = (slice(split[-1][0].start, part.stop), factor, decay)
            else:
                split.append((part, factor, decay))
        return split

    def _by_group(self, net: Any, runs: list[tuple[slice, float, float]]) -> Iterator[tuple[slice, float, float]]:
        """Each trainable array as a stretch of its own."""
        start = 0
        for name, array in net.params.items():
            part = slice(start, start + array.size)
            start = part.stop
            rule = next((rule for pattern, rule in (self.groups or {}).items() if fnmatchcase(name, pattern)), {})
            for run, factor, decay in runs:
                if run.start <= part.start and part.stop <= run.stop and array.size:
                    yield part, factor * rule.get("lr_factor", 1.0), rule.get("weight_decay", decay)

    def update(self, w: np.ndarray, g: np.ndarray, lr: float, decay: float, *own: Any) -> None:
        """Change a stretch of the parameters, `w`, in place, given their gradients `g`, which are left as they are.

        `lr` includes the schedule's factor; `decay` is 0 where there is no weight decay; `own` are the parts of the
        arrays named in `arrays`, to be changed in place.
        """
        raise NotImplementedError(f"{type(self).__name__} has no update()")

    def bind(self, net: Any) -> None:
        """Give this optimiser to `net`, with a state of zeros; the first step does so. Once bound to it, do nothing."""
        if not net.built:
            raise RuntimeError(f"{self!r} needs a built net; build it, or run a forward(), before the first step")
        if self._flat is net.flat_params:
            return
        for pattern in self.groups or ():
            if not any(fnmatchcase(name, pattern) for name in net.params):
                raise ValueError(
                    f"{type(self).__name__}: groups must name parameters; {pattern!r} fits none of {list(net.params)}"
                )
        if self._flat is not None:
            raise ValueError(
                f"{self!r} has begun with another net, and its state belongs to that; make a new optimiser"
            )
        self._flat = net.flat_params
        self.state = dict.fromkeys(self.counters, 0)
        self.state |= {name: np.zeros_like(net.flat_params) for name in self.arrays}

    def fresh(self) -> Self:
        """Give an equal optimiser that belongs to no net yet."""
        twin = copy.copy(self)
        twin.state, twin._flat = {}, None
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


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if asked for.

    d = g + weight_decay * w
    v = momentum * v + d
    w = w - lr * v                      (nesterov: w - lr * (d + momentum * v))

    Source      Sutskever, Martens, Dahl and Hinton, "On the importance of initialization and momentum in deep
                learning", 2013, in PyTorch's form (lr outside v)
    Twin        reference.optimizers.sgd

    Parameters
    ----------
    lr : float
        Learning rate.
    momentum : float
        In 0 <= momentum < 1; 0 for none.
    nesterov : bool
        Look ahead along v; needs a momentum.
    weight_decay, decay_all, groups
        As for `Optimizer`.

    Examples
    --------
    >>> SGD(lr=0.1, momentum=0.9)
    SGD(lr=0.1, momentum=0.9)
    """

    def __init__(
        self,
        lr: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        decay_all: bool = False,
        groups: Groups | None = None,
    ) -> None:
        super().__init__(lr, weight_decay, decay_all, groups)
        self.momentum = as_number("SGD", "momentum", momentum, low=0, high=1, open_high=True)
        self.nesterov = as_flag("SGD", "nesterov", nesterov)
        if self.nesterov and self.momentum == 0:
            raise ValueError("SGD: nesterov needs a momentum above 0; got momentum=0")
        self.arrays = ("velocity",) if self.momentum else ()

    def update(self, w: np.ndarray, g: np.ndarray, lr: float, decay: float, *own: Any) -> None:
        """Change `w` and the velocity, as above."""
        kernels.sgd(w, g, own[0] if own else None, lr, self.momentum, self.nesterov, decay)


class RMSProp(Optimizer):
    """Each parameter's step is divided by the root of its mean squared gradient.

    d = g + weight_decay * w
    s = alpha * s + (1 - alpha) * d^2
    w = w - lr * d / (sqrt(s) + eps)

    Source      Tieleman and Hinton, lecture 6.5 of "Neural Networks for Machine Learning", 2012
    Twin        reference.optimizers.rmsprop

    Parameters
    ----------
    lr : float
        Learning rate.
    alpha : float
        In 0 <= alpha < 1: how slowly the mean forgets.
    eps : float
        Above 0: keeps the division from blowing up.
    weight_decay, decay_all, groups
        As for `Optimizer`.
    """

    arrays = ("square_mean",)

    def __init__(
        self,
        lr: float = 0.01,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decay_all: bool = False,
        groups: Groups | None = None,
    ) -> None:
        super().__init__(lr, weight_decay, decay_all, groups)
        self.alpha = as_number("RMSProp", "alpha", alpha, low=0, high=1, open_high=True)
        self.eps = as_number("RMSProp", "eps", eps, low=0, open_low=True)

    def update(self, w: np.ndarray, g: np.ndarray, lr: float, decay: float, *own: Any) -> None:
        """Change `w` and the mean square, as above."""
        kernels.rmsprop(w, g, own[0], lr, self.alpha, self.eps, decay)


class Adagrad(Optimizer):
    """Each parameter's step is divided by the root of the sum of all its squared gradients.

    d = g + weight_decay * w
    s = s + d^2
    w = w - lr * d / (sqrt(s) + eps)

    Source      Duchi, Hazan and Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic
                Optimization", 2011
    Twin        reference.optimizers.adagrad

    Parameters
    ----------
    lr : float
        Learning rate.
    eps : float
        Above 0: keeps the division from blowing up.
    weight_decay, decay_all, groups
        As for `Optimizer`.
    """

    arrays = ("square_sum",)

    def __init__(
        self,
        lr: float = 0.01,
        eps: float = 1e-10,
        weight_decay: float = 0.0,
        decay_all: bool = False,
        groups: Groups | None = None,
    ) -> None:
        super().__init__(lr, weight_decay, decay_all, groups)
        self.eps = as_number("Adagrad", "eps", eps, low=0, open_low=True)

    def update(self, w: np.ndarray, g: np.ndarray, lr: float, decay: float, *own: Any) -> None:
        """Change `w` and the sum of squares, as above."""
        kernels.adagrad(w, g, own[0], lr, self.eps, decay)


class Adam(Optimizer):
    """Momentum and RMSProp together, both freed from their start at 0.

    d = g + weight_decay * w
    m = beta1 * m + (1 - beta1) * d
    v = beta2 * v + (1 - beta2) * d^2
    w = w - lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

    Source      Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015
    Twin        reference.optimizers.adam

    Parameters
    ----------
    lr : float
        Learning rate.
    betas : (float, float)
        beta1 and beta2, each in 0 <= beta < 1.
    eps : float
        Above 0: keeps the division from blowing up.
    weight_decay, decay_all, groups
        As for `Optimizer`: an L2 penalty, which Adam's division takes the edge off; `AdamW` decays apart from it.

    Notes
    -----
    t counts the steps of the whole net, so a layer that is unfrozen late begins without the correction for its start.
    """

    arrays = ("mean", "square_mean")
    counters = ("step",)
    decoupled = False  # whether weight decay stays apart from the gradient

    def __init__(
        self,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decay_all: bool = False,
        groups: Groups | None = None,
    ) -> None:
        super().__init__(lr, weight_decay, decay_all, groups)
        self.betas = _as_betas(type(self).__name__, betas)
        self.eps = as_number(type(self).__name__, "eps", eps, low=0, open_low=True)

    def update(self, w: np.ndarray, g: np.ndarray, lr: float, decay: float, *own: Any) -> None:
        """Change `w`, the mean and the mean square, as above."""
        kernels.adam(w, g, own[0], own[1], lr, self.betas, self.eps, self.state["step"], decay, self.decoupled)


class AdamW(Adam):
    """Adam with weight decay apart from the gradient.

    w = w - lr * weight_decay * w, then Adam's step with d = g

    Source      Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019, in PyTorch's form (lr times
                weight_decay)
    Twin        reference.optimizers.adamw

    Parameters
    ----------
    lr, betas, eps
        As for `Adam`.
    weight_decay : float
        The share of w that a step with lr = 1 takes off.
    decay_all, groups
        As for `Optimizer`.
    """

    decoupled = True

    def __init__(
        self,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        decay_all: bool = False,
        groups: Groups | None = None,
    ) -> None:
        super().__init__(lr, betas, eps, weight_decay, decay_all, groups)


def _as_groups(who: str, groups: Any) -> dict[str, dict[str, float]]:
    if not isinstance(groups, Mapping):
        raise TypeError(f'{who}: groups must be {{pattern: {{"lr_factor": ..., "weight_decay": ...}}}}; got {groups!r}')
    checked = {}
    for pattern, rule in groups.items():
        if not isinstance(pattern, str):
            raise TypeError(f"{who}: groups must have patterns of names as keys; got {pattern!r}")
        if not isinstance(rule, Mapping) or set(rule) - {"lr_factor", "weight_decay"}:
            raise ValueError(
                f'{who}: the group {pattern!r} must be a dict of "lr_factor", "weight_decay"; got {rule!r}'
            )
        checked[pattern] = {key: as_number(who, f"{key} of {pattern!r}", value, low=0) for key, value in rule.items()}
    return checked


def _as_betas(who: str, betas: Any) -> tuple[float, float]:
    if not isinstance(betas, tuple | list) or len(betas) != 2:
        raise TypeError(f"{who}: betas must be two numbers (beta1, beta2); got {betas!r}")
    beta1, beta2 = (as_number(who, "betas", beta, low=0, high=1, open_high=True) for beta in betas)
    return beta1, beta2

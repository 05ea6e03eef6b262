"""Optimisers: what a step does to the parameters, given their gradients.

The formulas and default values are PyTorch's, but weight decay skips biases, the parameters of norms and those of PReLU
and Scale, unless `decay_all=True`. A built net keeps its parameters in one flat array and its gradients in another; a
step is one pass over both (`kernels/c/optimizer.h` has the formulas again, line by line).

In the formulas w is a parameter, g its gradient, t the number of the step (from 1).

Groups of parameters may have rates, decay and schedules of their own: see `optimizer`, the base of all.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, Self

import numpy as np

from .. import kernels
from ..checks import as_flag, as_integer, as_number
from ..kernels.orthogonal import norm
from .optimizer import GroupFactor, Groups, Optimizer, named_parts

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Muon", "RMSProp"]

REST = "rest."  # what Muon calls the state of the other optimiser begins so


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
        self.momentum, self.nesterov = _as_momentum("SGD", momentum, nesterov)
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


class Muon(Optimizer):
    """Momentum whose update is made orthogonal, for weights of two axes or more; another optimiser takes the rest.

    v = momentum * v + g
    d = v                               (nesterov: g + momentum * v)
    w = w * sqrt(F) / |w|               (filter banks: weights of three axes or more, if normalize)
    w = w - lr * (O(d) + weight_decay * w)

    d is taken as a matrix (D, F), where F is the size of its last axis: a column for each output of Affine and Conv.
    O(d) is about U Vᵀ, where d = U S Vᵀ: each direction in which d changes anything is changed as much as any other. It
    is computed by `steps` iterations of Newton and Schulz. They bring singular values to 0.7 .. 1.2 that are not too
    small beside |d|: five those above 0.002 |d|, three those above 0.02 |d|; smaller ones grow by 3.4 in each.

        X = d / |d|,  then repeatedly  X = a X + b X XᵀX + c X (XᵀX)²      (a, b, c = 3.4445, -4.775, 2.0315)

    Source      K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; filter banks at a
                fixed norm: the code of K. Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024
    Twin        reference.optimizers.muon

    Parameters
    ----------
    lr : float
        Learning rate: the size of a step in each direction, whatever the size of the gradient. A schedule multiplies
        that of the rest, too; `Solver.lr_find` and `overfit_batch(lr=)` try this one alone.
    momentum : float
        In 0 <= momentum < 1.
    nesterov : bool
        Look ahead along v; needs a momentum.
    steps : int
        Iterations, at least 1.
    normalize : bool
        Whether each filter bank is brought to the norm sqrt(F) before its step. It suits a convolution that a norm
        follows, for which the size of the weights does not count.
    weight_decay, decay_all
        The share of w that a step with lr = 1 takes off, as for `AdamW`; decay_all has no effect, since all weights
        that Muon takes decay.
    rest : Optimizer, optional
        For biases, norms and other parameters of one axis, and for what `groups` give to it, with rates and groups of
        its own; `AdamW(lr=0.001)` by default. Its groups are asked for its parameters alone.
    groups : dict, optional
        As for `Optimizer`, of the weights that Muon takes, and `"optimizer": "rest"` for what the other one is to take:
        for instance the last layer, `{"head.W": {"optimizer": "rest"}}`.

    Examples
    --------
    >>> Muon(lr=0.1, rest=SGD(lr=0.05), groups={"4.W": {"optimizer": "rest"}})
    Muon(lr=0.1, rest=SGD(lr=0.05), groups={'4.W': {'optimizer': 'rest'}})
    """

    rules = (*Optimizer.rules, "optimizer")

    def __init__(
        self,
        lr: float = 0.02,
        momentum: float = 0.95,
        nesterov: bool = True,
        steps: int = 5,
        normalize: bool = True,
        weight_decay: float = 0.0,
        decay_all: bool = False,
        rest: Optimizer | None = None,
        groups: Groups | None = None,
    ) -> None:
        super().__init__(lr, weight_decay, decay_all, groups)
        self.momentum, self.nesterov = _as_momentum("Muon", momentum, nesterov)
        self.steps = as_integer("Muon", "steps", steps, low=1)
        self.normalize = as_flag("Muon", "normalize", normalize)
        if not (rest is None or isinstance(rest, Optimizer)) or isinstance(rest, Muon):
            raise TypeError(f"Muon: rest must be an optimiser of another kind, as SGD(lr=0.1); got {rest!r}")
        self.rest = rest
        self._rest = AdamW() if rest is None else rest
        self.arrays = ("velocity", *(f"rest.{name}" for name in self._rest.arrays))
        self.counters = tuple(f"rest.{name}" for name in self._rest.counters)

    @property
    def schedules(self) -> list[Any]:
        """The schedules that groups have of their own, those of the rest among them."""
        return [*super().schedules, *self._rest.schedules]

    def advance(
        self, net: Any, factor: float, group_factor: GroupFactor | None, names: Collection[str] | None = None
    ) -> None:
        """Change the weights that are Muon's, one by one, and let the other optimiser change the rest."""
        mine = {name: part for name, part, decays in named_parts(net, net.param_runs()) if self._takes(name, decays)}
        stretches = {name: self.stretch(name, part, True, factor, group_factor) for name, part in mine.items()}
        self._rest.state = {name.removeprefix(REST): kept for name, kept in self.state.items() if name.startswith(REST)}
        self._rest.advance(net, factor, group_factor, net.params.keys() - mine.keys())
        for name, (part, lr, decay) in stretches.items():
            outputs = net.params[name].shape[-1]
            arrays = net.flat_params, net.flat_grads, self.state["velocity"]
            w, g, v = (flat[part].reshape(-1, outputs) for flat in arrays)
            if self.normalize and net.params[name].ndim > 2 and (size := norm(w)):
                w *= math.sqrt(outputs) / size
            self.update(w, g, lr, decay, v)

    def update(self, w: np.ndarray, g: np.ndarray, lr: float, decay: float, *own: Any) -> None:
        """Change a matrix of weights (D, F), `w`, and its velocity, as above."""
        (v,) = own
        v *= self.momentum
        v += g
        d = g + self.momentum * v if self.nesterov else v
        w -= lr * (kernels.orthogonalize(d, self.steps) + decay * w)

    def check_groups(self, net: Any) -> None:
        """Refuse patterns that fit no parameter, those of the rest too, and rules for what is the rest's to change."""
        super().check_groups(net)
        self._rest.check_groups(net)
        for name, _, decays in named_parts(net, net.param_runs()):
            rule = self.rule(name)
            if not self._takes(name, decays) and rule and rule != {"optimizer": "rest"}:
                raise ValueError(
                    f"Muon: groups say {dict(rule)} of {name!r}, which `rest` takes: it may have groups of its own, "
                    "and Muon's must fit weights of two axes or more alone"
                )

    def fresh(self) -> Self:
        """Give an equal optimiser that belongs to no net yet."""
        return self._with_rest(super().fresh(), self._rest.fresh())

    def steady(self) -> Self:
        """Give a fresh one without weight decay and without schedules of groups."""
        return self._with_rest(super().steady(), self._rest.steady())

    def _takes(self, name: str, decays: bool) -> bool:
        """Whether a parameter is Muon's: a weight of two axes or more, which decays, that is not given to the rest."""
        return decays and self.rule(name).get("optimizer") != "rest"

    def _with_rest(self, twin: Self, rest: Optimizer) -> Self:
        twin._rest, twin.rest = rest, None if self.rest is None else rest
        return twin


def _as_momentum(who: str, momentum: Any, nesterov: Any) -> tuple[float, bool]:
    momentum = as_number(who, "momentum", momentum, low=0, high=1, open_high=True)
    nesterov = as_flag(who, "nesterov", nesterov)
    if nesterov and momentum == 0:
        raise ValueError(f"{who}: nesterov needs a momentum above 0; got momentum=0")
    return momentum, nesterov


def _as_betas(who: str, betas: Any) -> tuple[float, float]:
    if not isinstance(betas, tuple | list) or len(betas) != 2:
        raise TypeError(f"{who}: betas must be two numbers (beta1, beta2); got {betas!r}")
    beta1, beta2 = (as_number(who, "betas", beta, low=0, high=1, open_high=True) for beta in betas)
    return beta1, beta2

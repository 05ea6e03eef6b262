"""The recipe of examples/cifar10_speedrun.py in PyTorch: made from its Solver, with the same first weights and rates.

Channels last, the faster of PyTorch's layouts here, and its fused SGD for what Muon leaves. `torch.optim.Muon` takes
matrices alone, so Muon is written out: the formula of `cl.Muon`, for filter banks.
"""

import math

import numpy as np

from cnnlayers.training.optimizer import named_parts

from .torch_conv import load
from .torch_translation import modules

COEFFICIENTS = 3.4445, -4.7750, 2.0315
NAMES = {"W": "weight", "b": "bias", "gamma": "weight", "beta": "bias"}


class Training:
    """The net of a Solver as modules, and its optimiser; `step` is one step of the recipe, `give_back` ends it.

    Parameters
    ----------
    solver : cl.Solver
        Of a Sequential, an optimiser `cl.Muon(rest=cl.SGD(...))` and a `cl.SoftmaxLoss(reduction="sum")`. It is not
        changed but by `give_back`.
    """

    def __init__(self, solver) -> None:
        self.torch = torch = load()
        self.solver, net = solver, solver.model
        self.net = modules(net).to(memory_format=torch.channels_last)
        self.arrays = dict(self.net.named_parameters()) | dict(self.net.named_buffers())
        with torch.no_grad():
            for name, array in (net.params | net.state).items():
                self.arrays[theirs(name)].copy_(torch.from_numpy(to_torch(array)))
        trained = {name: decays for name, _, decays in named_parts(net, net.param_runs())}
        for name, array in self.net.named_parameters():
            array.requires_grad_(name in map(theirs, trained))
        self.rates = Rates(solver.optimizer, trained)
        filters = [self.arrays[theirs(name)] for name in self.rates.muon]
        self.muon = Muon(torch, filters, solver.optimizer)
        rest = self.rates.rest
        groups = [
            {"params": [self.arrays[theirs(name)] for name in names], "lr": rest.lr} for names in self.rates.groups
        ]
        self.sgd = torch.optim.SGD(groups, rest.lr, rest.momentum, nesterov=rest.nesterov, fused=True)
        for group, names in zip(self.sgd.param_groups, self.rates.groups, strict=True):
            group["weight_decay"] = self.rates.of(names[0], 1.0, lambda schedule: 1.0).decay

    def take(self, x, y):
        """Give a batch (N, H, W, C) as PyTorch takes it: seen as (N, C, H, W), the same memory."""
        return self.torch.from_numpy(x).permute(0, 3, 1, 2), self.torch.from_numpy(np.asarray(y, np.int64))

    def step(self, x, y, factor, group_factor):
        """One step, with the factors on the rates that schedules give."""
        for group, names in zip(self.sgd.param_groups, self.rates.groups, strict=True):
            group["lr"] = self.rates.of(names[0], factor, group_factor).lr
        self.net.train()
        self.net.zero_grad(set_to_none=True)
        smoothing = self.solver.loss.label_smoothing
        loss = self.torch.nn.functional.cross_entropy(self.net(x), y, label_smoothing=smoothing, reduction="sum")
        loss.backward()
        self.sgd.step()
        self.muon.step(self.solver.optimizer.lr * factor)
        return float(loss.detach())

    def freeze(self, names):
        """Leave parameters as they are from here on, without gradients: autograd then ends after them, as ours does."""
        for name in names:
            self.arrays[theirs(name)].requires_grad_(False)

    def give_back(self):
        """Copy weights and running statistics into the Solver's net."""
        net = self.solver.model
        for name, array in (net.params | net.state).items():
            array[...] = from_torch(self.arrays[theirs(name)].detach().numpy())


class Rates:
    """Which optimiser each parameter has, and its rate and decay: asked of the optimiser of cnnlayers.

    Attributes
    ----------
    muon : list of str
        What Muon takes.
    groups : list of lists of str
        What the rest takes: those of one list have the same rule.
    """

    def __init__(self, optimizer, trained) -> None:
        self.rest, self.trained = optimizer.rest, trained
        self.muon = [n for n, decays in trained.items() if decays and optimizer.rule(n).get("optimizer") != "rest"]
        alike = {}
        for name in trained:
            if name not in self.muon:
                alike.setdefault(repr((self.rest.rule(name), self._decays(name))), []).append(name)
        self.groups = list(alike.values())

    def of(self, name, factor, group_factor):
        """The rate and the decay of a parameter that the rest takes."""
        return self.rest.stretch(name, slice(0), self._decays(name), factor, group_factor)

    def _decays(self, name):
        return self.trained[name] or self.rest.decay_all


class Muon:
    """`cl.Muon` for filter banks (F, C, KH, KW), each at the norm sqrt(F)."""

    def __init__(self, torch, filters, options) -> None:
        self.torch, self.filters, self.options = torch, filters, options
        self.velocity = [torch.zeros_like(w) for w in filters]

    def step(self, lr):
        options = self.options
        with self.torch.no_grad():
            for w, v in zip(self.filters, self.velocity, strict=True):
                v.mul_(options.momentum).add_(w.grad)
                d = w.grad.add(v, alpha=options.momentum) if options.nesterov else v
                if options.normalize:
                    w.mul_(math.sqrt(len(w)) / w.norm())
                update = self.orthogonal(d.reshape(len(d), -1)).reshape(d.shape)
                if options.weight_decay:
                    update = update + options.weight_decay * w
                w.add_(update, alpha=-lr)

    def orthogonal(self, d):
        """About U V^T, where d = U S V^T."""
        a, b, c = COEFFICIENTS
        x = d / d.norm()
        x = x.T if len(d) > d.shape[1] else x
        for _ in range(self.options.steps):
            square = x @ x.T
            x = self.torch.addmm(x, self.torch.addmm(square, square, square, beta=b, alpha=c), x, beta=a)
        return x.T if len(d) > d.shape[1] else x


def theirs(name):
    """The name in PyTorch of a parameter or a running statistic."""
    path, _, own = name.rpartition(".")
    return f"{path}.{NAMES.get(own, own)}"


def to_torch(array):
    """(KH, KW, C, F) as (F, C, KH, KW), (D, M) as (M, D)."""
    return np.ascontiguousarray(array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T)


def from_torch(array):
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T

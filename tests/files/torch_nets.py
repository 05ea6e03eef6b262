"""Nets of PyTorch drawn at random, for what comes out of its exporter."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class Call(nn.Module):
    """A function of x, and of modules that it is given."""

    def __init__(self, function, *modules):
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(modules)

    def forward(self, x):
        return self.function(x, *self.parts)


class Mixed(nn.Module):
    """Functions with parameters of their own: a scale and a shift of each channel."""

    def __init__(self, channels, rank):
        super().__init__()
        shape = (channels, *[1] * rank)
        self.scale, self.shift = nn.Parameter(torch.rand(shape) + 0.5), nn.Parameter(torch.randn(shape))

    def forward(self, x):
        return x * self.scale + self.shift


def shuffle(x, groups=2):
    """The channels of several groups by turns."""
    return x.reshape(x.size(0), groups, -1, *x.shape[2:]).transpose(1, 2).reshape(x.shape)


def last(x, module):
    """A module of the last axis on channels."""
    return module(x.movedim(1, -1)).movedim(-1, 1)


class Drawn:
    """A net of `rank` spatial axes; `torch.manual_seed` decides its weights, `seed` its layers."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.rank = int(self.rng.integers(1, 3))
        self.kinds = {name: getattr(nn, f"{name}{self.rank}d") for name in KINDS}
        torch.manual_seed(seed)
        self.channels = int(self.rng.integers(1, 4))
        self.shape = (self.channels, *map(int, self.rng.integers(7, 10, self.rank)))
        layers = self.same()  # constants straight after the input are no parameters
        for _ in range(self.rng.integers(2, 5)):
            layers += self.block(depth=1)
        self.net = nn.Sequential(*layers, *self.head(nn.Sequential(*layers))).double().eval()
        for module in self.net.modules():
            if getattr(module, "running_var", None) is not None:
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
            if getattr(module, "weight", None) is not None and module.weight.ndim == 1:
                nn.init.uniform_(module.weight, 0.5, 1.5)

    def one_of(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def ints(self, low, high):
        return tuple(map(int, self.rng.integers(low, high + 1, self.rank)))

    def conv(self, filters, groups=1, **options):
        kernel = self.one_of(1, 2, 3)
        layer = self.kinds["Conv"](
            self.channels, filters, kernel, groups=groups, bias=self.one_of(True, False), **options
        )
        self.channels = filters
        return layer

    def same(self):
        """Layers that keep the size and give 4 channels."""
        layer = self.conv(4, padding="same", dilation=self.one_of(1, 2))
        return [layer, self.one_of(self.norm, self.activation)()]

    def activation(self):
        plain = [nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid]
        made = [*plain, nn.Tanh, nn.Softplus, nn.Mish, lambda: nn.GELU("tanh"), lambda: nn.Hardtanh(-0.5, 0.7)]
        made += [lambda: nn.PReLU(self.channels), nn.PReLU, lambda: nn.Softmax(1), lambda: nn.LeakyReLU(0.3)]
        return self.one_of(*made)()

    def norm(self):
        c = self.channels
        return self.one_of(
            lambda: self.kinds["BatchNorm"](c),
            lambda: nn.GroupNorm(self.one_of(1, c), c),
            lambda: self.kinds["InstanceNorm"](c, affine=True),
            lambda: Call(last, nn.LayerNorm(c)),
            lambda: Mixed(c, self.rank),
        )()

    def gate(self):
        c = self.channels
        small = [nn.Linear(c, 3), nn.ReLU(), nn.Linear(3, c), nn.Sigmoid()]
        spatial = tuple(range(2, self.rank + 2))
        if self.one_of(True, False):
            return Call(lambda x, f: x * f(x.mean(spatial))[(..., *[None] * self.rank)], nn.Sequential(*small))
        conv = [self.kinds["AdaptiveAvgPool"](1), self.kinds["Conv"](c, c, 1), nn.Hardsigmoid()]
        return Call(lambda x, f: f(x) * x, nn.Sequential(*conv))

    def block(self, depth):
        """Some layers."""
        c = self.channels
        choices = [
            lambda: [self.conv(4, stride=self.ints(1, 2), padding=self.ints(0, 2)), self.activation()],
            lambda: [self.conv(2 * c, groups=c, padding=1)],
            lambda: [self.transposed(), self.norm()],
            lambda: [self.norm(), self.activation(), nn.Dropout(0.2)],
            lambda: [self.kinds["MaxPool"](2, self.one_of(1, 2), ceil_mode=self.one_of(True, False))],
            lambda: [self.kinds["AvgPool"](3, 2, 1, self.one_of(True, False), self.one_of(True, False))],
            lambda: [self.gate()],
            lambda: [Call(lambda x: F.pad(x, (1, 2)))],
            lambda: [Call(lambda x: F.interpolate(x, scale_factor=2, mode="nearest"))],
            lambda: [Call(lambda x: (x - 0.5) / 2 + 1), Call(last, nn.Linear(c, 5)), self.become(5)],
            lambda: [Call(lambda x: 1 - x), *([Call(shuffle)] if c % 2 == 0 else [])],
        ]
        if depth:
            choices += [self.residual, self.concatenation, self.difference]
        return self.one_of(*choices)()

    def become(self, channels):
        self.channels = channels
        return nn.Identity()

    def transposed(self):
        stride = self.one_of(1, 2)
        layer = self.kinds["ConvTranspose"](self.channels, 4, 3, stride, 1, self.one_of(0, stride - 1), bias=True)
        self.channels = 4
        return layer

    def residual(self):
        first = self.same()
        body = nn.Sequential(*self.same(), *self.one_of(self.same, lambda: [self.gate()])())
        way = self.one_of([], [self.norm()])
        return [*first, Call(lambda x, f, g: F.relu(f(x) + g(x)), body, nn.Sequential(*way))]

    def concatenation(self):
        c, branches = self.channels, []
        for _ in range(2):
            self.channels = c
            branches.append(nn.Sequential(*self.same()))
        self.channels = c + 8
        return [Call(lambda x, f, g: torch.cat([f(x), x, g(x)], 1), *branches)]

    def difference(self):
        first, branch = self.same(), nn.Sequential(*self.same())
        return [*first, Call(lambda x, f: x - f(x), branch)]

    def head(self, body):
        """What makes rows of maps, or nothing."""
        with torch.no_grad():
            shape = body.float().eval()(torch.zeros(2, *self.shape)).shape[1:]
        size = int(np.prod(shape))
        return self.one_of(
            list,
            lambda: [nn.Flatten(), nn.Linear(size, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3), nn.Softmax(1)],
            lambda: [Call(lambda x: x.reshape(x.size(0), -1)), nn.Linear(size, 4)],
            lambda: [self.kinds["AdaptiveAvgPool"](1), nn.Flatten(), nn.Linear(shape[0], 4), nn.LayerNorm(4)],
            lambda: [Call(lambda x: x.mean(tuple(range(2, x.ndim))))],
            lambda: [self.kinds["AdaptiveMaxPool"](1), Call(lambda x: x.flatten(1)), nn.Linear(shape[0], 2)],
        )()


KINDS = (
    *("Conv", "ConvTranspose", "BatchNorm", "InstanceNorm", "MaxPool", "AvgPool", "AdaptiveAvgPool", "AdaptiveMaxPool"),
)

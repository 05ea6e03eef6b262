"""The PyTorch net with the layers and parameters of a cnnlayers net."""

import cnnlayers as cl

from ..cases import Unavailable
from .torch_conv import load


def translate(net):
    """Give the modules of a Sequential as one, with its parameters."""
    module = modules(net)
    arrays = cl.to_torch(net)
    module.load_state_dict({name: load().from_numpy(array) for name, array in arrays.items()})
    return module


def modules(net):
    """The modules alone: nested as the layers are, so their parameters have the same names."""
    nn, made, shape = load().nn, [], net.input_shape
    for layer in net.layers:
        if type(layer) not in TRANSLATIONS:
            raise Unavailable(f"{layer!r} has no translation to PyTorch here")
        made.append(TRANSLATIONS[type(layer)](nn, layer, shape))
        shape = layer.output_shape(shape)
    return nn.Sequential(*made)


def conv(nn, layer, shape):
    """As PyTorch pads, or with a step of its own where one side gets more than the other."""
    options = {"stride": layer.stride, "dilation": layer.dilation, "groups": layer.groups, "bias": layer.bias}
    pads = [(axis.before, axis.after) for axis in layer.window(shape).axes]
    if all(before == after for before, after in pads):
        padding = tuple(before for before, _ in pads)
        return nn.Conv2d(shape[-1], layer.filters, layer.kernel, padding=padding, **options)

    class Padded(nn.Conv2d):
        def forward(self, x):
            around = [side for pair in reversed(pads) for side in pair]  # the last axis first
            return super().forward(nn.functional.pad(x, around))

    return Padded(shape[-1], layer.filters, layer.kernel, **options)


def residual(nn, layer, shape):
    """y = body(x) + shortcut(x), added in place."""

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = modules(layer.body)
            self.shortcut = None if layer.shortcut is None else modules(layer.shortcut)

        def forward(self, x):
            y = self.body(x)
            y += x if self.shortcut is None else self.shortcut(x)
            return y

    return Residual()


def max_pool(nn, layer, shape):
    return nn.MaxPool2d(layer.size, layer.stride, layer.padding, layer.dilation, ceil_mode=layer.ceil_mode)


def batch_norm(nn, layer, shape):
    """Without a gamma, PyTorch multiplies by ones that are not trained: it has no norm with a bias alone."""
    return nn.BatchNorm2d(shape[-1], eps=layer.eps, momentum=1 - layer.momentum)


def fixed(nn, change):
    """A module that computes and has nothing to learn."""

    class Fixed(nn.Module):
        def forward(self, x):
            return change(x)

    return Fixed()


def normalize(nn, layer, shape):
    mean, std = (load().tensor(numbers, dtype=load().float32).reshape(-1, 1, 1) for numbers in (layer.mean, layer.std))
    return fixed(nn, lambda x: (x - mean) / std)


def scale(nn, layer, shape):
    if layer.factor is None:
        raise Unavailable(f"{layer!r} has no translation to PyTorch here, but for a fixed factor")
    return fixed(nn, lambda x: x * layer.factor)


TRANSLATIONS = {
    cl.Conv: conv,
    cl.Affine: lambda nn, layer, shape: nn.Linear(shape[0], layer.units, layer.bias),
    cl.BatchNorm: batch_norm,
    cl.Residual: residual,
    cl.MaxPool: max_pool,
    cl.GlobalAvgPool: lambda nn, layer, shape: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    cl.GlobalMaxPool: lambda nn, layer, shape: nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten()),
    cl.ReLU: lambda nn, layer, shape: nn.ReLU(inplace=True),
    cl.GELU: lambda nn, layer, shape: nn.GELU(layer.approximate),
    cl.Normalize: normalize,
    cl.Scale: scale,
    cl.Sequential: lambda nn, layer, shape: modules(layer),
    cl.Flatten: lambda nn, layer, shape: nn.Flatten(),
}

"""The PyTorch net with the layers and parameters of a cnnlayers net."""

import numpy as np

import cnnlayers as cl

from ..cases import Unavailable
from .torch_conv import load


def translate(net):
    """Give the modules of a Sequential as one, and a function for each parameter that gives it in our layout."""
    torch = load()
    modules, restore = [], []
    shape, flattened = net.input_shape, None
    for layer in net.layers:
        if type(layer) not in TRANSLATIONS:
            raise Unavailable(f"{layer!r} has no translation to PyTorch here")
        source = flattened if isinstance(layer, cl.Affine) else shape
        module, back = TRANSLATIONS[type(layer)](torch.nn, layer, source or shape)
        modules.append(module)
        restore.extend(back)
        flattened = shape if isinstance(layer, cl.Flatten) else None if isinstance(layer, cl.Affine) else flattened
        shape = layer.output_shape(shape)
    return torch.nn.Sequential(*modules), restore


def conv(nn, layer, shape):
    W = layer.params["W"]
    options = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation, "groups": layer.groups}
    module = nn.Conv2d(shape[-1], layer.filters, W.shape[:2], bias=layer.bias, **options)
    fill(module.weight, W.transpose(3, 2, 0, 1))
    if layer.bias:
        fill(module.bias, layer.params["b"])
    return module, [lambda w: w.transpose(2, 3, 1, 0), *([np.asarray] if layer.bias else [])]


def affine(nn, layer, shape):
    """Translate; the rows of W after a Flatten of (H, W, C) go in the order that PyTorch flattens: (C, H, W)."""
    W, b = layer.params["W"], layer.params["b"]
    order = np.arange(len(W)).reshape(shape)
    order = order.transpose(2, 0, 1).ravel() if len(shape) == 3 else order
    module = nn.Linear(*W.shape)
    fill(module.weight, W[order].T)
    fill(module.bias, b)
    return module, [lambda w: w.T[np.argsort(order)], np.asarray]


def batch_norm(nn, layer, shape):
    module = nn.BatchNorm2d(shape[-1], eps=layer.eps, momentum=1 - layer.momentum)
    fill(module.weight, layer.params["gamma"])
    fill(module.bias, layer.params["beta"])
    fill(module.running_mean, layer.state["running_mean"])
    fill(module.running_var, layer.state["running_var"])
    return module, [np.asarray, np.asarray]


def residual(nn, layer, shape):
    body, back = translate(layer.body)
    if layer.shortcut is None:
        return shortcut_module(nn, body, None), back
    shortcut, back_shortcut = translate(layer.shortcut)
    return shortcut_module(nn, body, shortcut), [*back, *back_shortcut]


def shortcut_module(nn, body, shortcut):
    """y = body(x) + shortcut(x), added in place."""

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.shortcut = body, shortcut

        def forward(self, x):
            y = self.body(x)
            y += x if self.shortcut is None else self.shortcut(x)
            return y

    return Residual()


def max_pool(nn, layer, shape):
    return nn.MaxPool2d(layer.size, layer.stride, layer.padding, layer.dilation, ceil_mode=layer.ceil_mode), []


TRANSLATIONS = {
    cl.Conv: conv,
    cl.Affine: affine,
    cl.BatchNorm: batch_norm,
    cl.Residual: residual,
    cl.MaxPool: max_pool,
    cl.GlobalAvgPool: lambda nn, layer, shape: (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), []),
    cl.ReLU: lambda nn, layer, shape: (nn.ReLU(inplace=True), []),
    cl.Flatten: lambda nn, layer, shape: (nn.Flatten(), []),
}


def fill(parameter, array):
    torch = load()
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(np.array(array)))

"""The PyTorch net with the layers and parameters of a cnnlayers net, and its training step."""

import numpy as np

import cnnlayers as cl

from ..cases import Unavailable
from .torch_conv import load, tensor


class Step:
    """Forward, cross entropy, backward and the fused SGD; the images have no gradient."""

    def __init__(self, problem, channels_last) -> None:
        torch = load()
        modules, self.restore = translate(torch, problem.net)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.net = torch.nn.Sequential(*modules).to(memory_format=layout)
        self.x = tensor(problem.x, channels_last)
        self.y = torch.from_numpy(problem.y)
        self.loss = torch.nn.functional.cross_entropy
        self.optimizer = torch.optim.SGD(self.net.parameters(), problem.lr, problem.momentum, fused=True)

    def step(self):
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.net(self.x), self.y)
        loss.backward()
        self.optimizer.step()
        return loss

    def arrays(self, operation, result):
        parameters = [p.detach().numpy() for p in self.net.parameters()]
        restored = [restore(p) for restore, p in zip(self.restore, parameters, strict=True)]
        return [result.detach().numpy(), *restored]


def translate(torch, net):
    """Give the modules of a Sequential, and a function for each parameter that gives it in our layout."""
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
    return modules, restore


def conv(nn, layer, shape):
    W, b = layer.params["W"], layer.params["b"]
    options = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation, "groups": layer.groups}
    module = nn.Conv2d(shape[-1], layer.filters, W.shape[:2], **options)
    fill(module.weight, W.transpose(3, 2, 0, 1))
    fill(module.bias, b)
    return module, [lambda w: w.transpose(2, 3, 1, 0), np.asarray]


def affine(nn, layer, shape):
    """Translate; the rows of W after a Flatten of (H, W, C) go in the order that PyTorch flattens: (C, H, W)."""
    W, b = layer.params["W"], layer.params["b"]
    order = np.arange(len(W)).reshape(shape)
    order = order.transpose(2, 0, 1).ravel() if len(shape) == 3 else order
    module = nn.Linear(*W.shape)
    fill(module.weight, W[order].T)
    fill(module.bias, b)
    return module, [lambda w: w.T[np.argsort(order)], np.asarray]


def max_pool(nn, layer, shape):
    return nn.MaxPool2d(layer.size, layer.stride, layer.padding, layer.dilation, ceil_mode=layer.ceil_mode), []


TRANSLATIONS = {
    cl.Conv: conv,
    cl.Affine: affine,
    cl.MaxPool: max_pool,
    cl.ReLU: lambda nn, layer, shape: (nn.ReLU(inplace=True), []),
    cl.Flatten: lambda nn, layer, shape: (nn.Flatten(), []),
}


def fill(parameter, array):
    torch = load()
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(np.ascontiguousarray(array)))

"""A net and its training step in plain NumPy, with the parameters of a cnnlayers net: what LeNet needs."""

import numpy as np

import cnnlayers as cl

from ..cases import Unavailable
from . import numpy_conv


class Conv:
    def __init__(self, layer) -> None:
        if isinstance(layer.padding, str) or layer.groups != 1 or layer.dilation != 1:
            raise Unavailable(f"{layer!r} is not written in plain NumPy here")
        self.params = [layer.params["W"].copy(), layer.params["b"].copy()]
        self.geometry = (layer.stride, layer.padding)

    def forward(self, x):
        self.shape = x.shape
        y, self.cols = numpy_conv.forward(x, *self.params, *self.geometry)
        return y

    def backward(self, dy, input_grad):
        W = self.params[0]
        self.grads = [numpy_conv.weight_grad(self.cols, dy, W.shape), dy.sum(axis=(0, 1, 2))]
        return numpy_conv.input_grad(dy, W, self.shape, *self.geometry) if input_grad else None


class Affine:
    def __init__(self, layer) -> None:
        self.params = [layer.params["W"].copy(), layer.params["b"].copy()]

    def forward(self, x):
        self.x = x
        return x @ self.params[0] + self.params[1]

    def backward(self, dy, input_grad):
        self.grads = [self.x.T @ dy, dy.sum(axis=0)]
        return dy @ self.params[0].T


class ReLU:
    params = grads = ()

    def __init__(self, layer) -> None:
        pass

    def forward(self, x):
        self.mask = x > 0
        return x * self.mask

    def backward(self, dy, input_grad):
        return dy * self.mask


class MaxPool:
    """Windows that do not overlap: axes 2 and 4 of a reshaped view."""

    params = grads = ()

    def __init__(self, layer) -> None:
        if layer.stride not in (None, layer.size) or layer.padding != 0:
            raise Unavailable(f"{layer!r} is not written in plain NumPy here")
        self.size = layer.size

    def forward(self, x):
        n, h, w, c = x.shape
        windows = x.reshape(n, h // self.size, self.size, w // self.size, self.size, c)
        y = windows.max(axis=(2, 4), keepdims=True)
        self.mask = windows == y  # equals all win: after a ReLU those are zeros, where it stops the gradient
        self.shape = x.shape
        return y[:, :, 0, :, 0]

    def backward(self, dy, input_grad):
        return (self.mask * dy[:, :, None, :, None]).reshape(self.shape)


class Flatten:
    params = grads = ()

    def __init__(self, layer) -> None:
        pass

    def forward(self, x):
        self.shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, dy, input_grad):
        return dy.reshape(self.shape)


LAYERS = {cl.Conv: Conv, cl.Affine: Affine, cl.ReLU: ReLU, cl.MaxPool: MaxPool, cl.Flatten: Flatten}


class Step:
    def __init__(self, problem) -> None:
        self.problem = problem
        unknown = [layer for layer in problem.net.layers if type(layer) not in LAYERS]
        if unknown:
            raise Unavailable(f"{unknown[0]!r} is not written in plain NumPy here")
        self.layers = [LAYERS[type(layer)](layer) for layer in problem.net.layers]
        self.velocities = [[np.zeros_like(p) for p in layer.params] for layer in self.layers]

    def step(self):
        scores = self.problem.x
        for layer in self.layers:
            scores = layer.forward(scores)
        loss, dy = softmax_loss(scores, self.problem.y)
        for i in reversed(range(len(self.layers))):
            dy = self.layers[i].backward(dy, input_grad=i > 0)
        for layer, velocities in zip(self.layers, self.velocities, strict=True):
            for p, g, v in zip(layer.params, layer.grads, velocities, strict=True):
                v *= self.problem.momentum
                v += g
                p -= self.problem.lr * v
        return loss

    def arrays(self, operation, result):
        return [np.array(result), *(p for layer in self.layers for p in layer.params)]


def softmax_loss(scores, labels):
    """Mean loss over the batch, and its gradient."""
    rows = np.arange(len(labels))
    z = scores - scores.max(axis=1, keepdims=True)
    p = np.exp(z)
    total = p.sum(axis=1, keepdims=True)
    loss = np.mean(np.log(total[:, 0]) - z[rows, labels])
    p /= total
    p[rows, labels] -= 1
    p /= len(labels)
    return loss, p

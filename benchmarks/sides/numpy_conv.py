"""A convolution as one writes it in plain NumPy: a view of all windows, one copy, one matrix product."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..cases import Unavailable


def im2col(x, kernel, stride, padding):
    """Columns (N OH OW, KH KW C): the reshape is the copy."""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0))) if padding else x
    windows = sliding_window_view(x, (kernel, kernel), axis=(1, 2))[:, ::stride, ::stride]  # (N, OH, OW, C, KH, KW)
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, kernel * kernel * x.shape[-1])


def col2im(cols, input_shape, kernel, stride, padding):
    """The transpose of im2col: add up the columns, one kernel element at a time."""
    n, h, w, c = input_shape
    x = np.zeros((n, h + 2 * padding, w + 2 * padding, c), cols.dtype)
    oh, ow = ((size + 2 * padding - kernel) // stride + 1 for size in (h, w))
    cols = cols.reshape(n, oh, ow, kernel, kernel, c)
    for i in range(kernel):
        for j in range(kernel):
            x[:, i : i + stride * oh : stride, j : j + stride * ow : stride] += cols[:, :, :, i, j]
    return x[:, padding : padding + h, padding : padding + w]


def forward(x, W, b, stride, padding):
    """Give y = cols W + b, and the columns, which a layer keeps for backward."""
    kernel, filters = W.shape[0], W.shape[-1]
    cols = im2col(x, kernel, stride, padding)
    y = cols @ W.reshape(-1, filters) + b
    out = (x.shape[1] + 2 * padding - kernel) // stride + 1
    return y.reshape(len(x), out, -1, filters), cols


def weight_grad(cols, dy, shape):
    """dW = colsᵀ dy."""
    return (cols.T @ dy.reshape(-1, shape[-1])).reshape(shape)


def input_grad(dy, W, input_shape, stride, padding):
    """dx: where it is the faster way, the convolution of dy with the turned kernel, else col2im(dy Wᵀ)."""
    kernel, _, channels, filters = W.shape
    if stride == 1 and padding < kernel and filters <= 2 * channels:
        turned = W[::-1, ::-1].transpose(0, 1, 3, 2).reshape(-1, channels)
        return (im2col(dy, kernel, 1, kernel - 1 - padding) @ turned).reshape(input_shape)
    return col2im(dy.reshape(-1, filters) @ W.reshape(-1, filters).T, input_shape, kernel, stride, padding)


class Conv:
    def __init__(self, problem) -> None:
        if problem.row.groups != 1:
            raise Unavailable("groups are not written in plain NumPy here")
        self.problem = problem
        self.geometry = (problem.row.kernel, problem.row.stride, problem.row.padding)
        self.kept = None

    def im2col(self):
        return im2col(self.problem.x, *self.geometry)

    def col2im(self):
        return col2im(self.problem.cols, self.problem.x.shape, *self.geometry)

    def forward(self):
        p = self.problem
        return forward(p.x, p.W, p.b, *self.geometry[1:])[0]

    def dW(self):
        """From the columns of the forward pass: making them is not counted."""
        if self.kept is None:
            self.kept = self.im2col()
        return weight_grad(self.kept, self.problem.dy, self.problem.W.shape)

    def dx(self):
        p = self.problem
        return input_grad(p.dy, p.W, p.x.shape, *self.geometry[1:])

    def backward(self):
        return self.dx(), self.dW(), self.problem.dy.sum(axis=(0, 1, 2))

    def layer(self):
        """Forward keeps the columns, backward uses them."""
        p = self.problem
        y, cols = forward(p.x, p.W, p.b, *self.geometry[1:])
        return y, self.dx(), weight_grad(cols, p.dy, p.W.shape), p.dy.sum(axis=(0, 1, 2))

    def arrays(self, operation, result):
        return result if operation in ("backward", "layer") else [result]

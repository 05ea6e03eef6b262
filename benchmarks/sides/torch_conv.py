"""PyTorch's convolution and its parts, in one of its two memory layouts."""

import numpy as np

from ..cases import Unavailable
from ..environment import has_torch


def load():
    """Give the module torch, on as many threads as cnnlayers."""
    if not has_torch():
        raise Unavailable("PyTorch is not installed")
    import torch

    import cnnlayers as cl

    if torch.get_num_threads() != cl.get_num_threads():
        torch.set_num_threads(cl.get_num_threads())
    return torch


def tensor(array, channels_last):
    """Give images (N, H, W, C) as PyTorch has them: (N, C, H, W), with C fastest in memory if channels_last."""
    torch = load()
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return torch.from_numpy(array).permute(0, 3, 1, 2).clone(memory_format=layout)


class Conv:
    """Calls the operators themselves, without autograd around them."""

    def __init__(self, problem, channels_last) -> None:
        self.torch = load()
        self.row = problem.row
        self.x = tensor(problem.x, channels_last)
        self.dy = tensor(problem.dy, channels_last)
        self.W = tensor(problem.W.transpose(3, 0, 1, 2), channels_last)  # (F, C, KH, KW)
        self.b = self.torch.from_numpy(problem.b)
        self.problem = problem
        self.columns = None

    def im2col(self):
        return self.torch.nn.functional.unfold(
            self.x, self.row.kernel, stride=self.row.stride, padding=self.row.padding
        )

    def col2im(self):
        size, row = (self.row.size, self.row.size), self.row
        return self.torch.nn.functional.fold(self.cols, size, row.kernel, stride=row.stride, padding=row.padding)

    def forward(self):
        row = self.row
        return self.torch.conv2d(self.x, self.W, self.b, row.stride, row.padding, 1, row.groups)

    def dW(self):
        return self._backward(False, True, False)[1]

    def dx(self):
        return self._backward(True, False, False)[0]

    def backward(self):
        return self._backward(True, True, True)

    def layer(self):
        return self.forward(), *self.backward()

    def arrays(self, operation, result):
        row = self.row
        if operation == "im2col":  # (N, C KH KW, OH OW)
            parts = result.numpy().reshape(row.n, row.channels, row.kernel**2, row.out**2)
            return [parts.transpose(0, 3, 2, 1).reshape(row.n * row.out**2, -1)]
        if operation in ("backward", "layer"):
            *images, dW, db = (part.numpy() for part in result)
            return [*(part.transpose(0, 2, 3, 1) for part in images), dW.transpose(2, 3, 1, 0), db]
        return [result.numpy().transpose((2, 3, 1, 0) if operation == "dW" else (0, 2, 3, 1))]

    @property
    def cols(self):
        """The columns as `fold` takes them, made at the first, untimed call."""
        if self.columns is None:
            row = self.row
            parts = self.problem.cols.reshape(row.n, row.out**2, row.kernel**2, row.channels).transpose(0, 3, 2, 1)
            self.columns = self.torch.from_numpy(np.ascontiguousarray(parts.reshape(row.n, -1, row.out**2)))
        return self.columns

    def _backward(self, *wanted):
        stride, padding = [self.row.stride] * 2, [self.row.padding] * 2
        bias, dilation, transposed, output_padding = [self.row.filters], [1, 1], False, [0, 0]
        return self.torch.ops.aten.convolution_backward(
            self.dy,
            self.x,
            self.W,
            bias,
            stride,
            padding,
            dilation,
            transposed,
            output_padding,
            self.row.groups,
            wanted,
        )

"""cnnlayers: the kernels, and whole nets."""

import numpy as np

import cnnlayers as cl
from cnnlayers import _kernels, geometry, kernels


def as_output(array):
    """Copy into memory as the layers' outputs have it; PyTorch's tensors too are copies in memory of its own."""
    copy = _kernels.empty(array.shape, array.dtype)
    copy[...] = array
    return copy


class Conv:
    """What the layer Conv calls."""

    def __init__(self, problem, algorithm="auto") -> None:
        self.problem = problem
        self.x, self.dy = as_output(problem.x), as_output(problem.dy)
        self.algorithm = algorithm
        row = problem.row
        self.geometry = (row.kernel, row.stride, row.padding)
        self.window = geometry.window(problem.x.shape[1:], *self.geometry)
        self.dW_out = np.zeros_like(problem.W)  # a layer's gradients are overwritten in place
        self.db_out = np.zeros_like(problem.b)

    def im2col(self):
        return cl.im2col(self.problem.x, *self.geometry)

    def col2im(self):
        return cl.col2im(self.problem.cols, self.problem.x.shape, *self.geometry)

    def forward(self):
        return kernels.conv_forward(self.x, self.problem.W, self.problem.b, self.window, self.algorithm)

    def dW(self):
        kernels.conv_weight_grad(self.x, self.dy, self.window, self.dW_out, None, self.algorithm)
        return self.dW_out

    def dx(self):
        return kernels.conv_input_grad(self.dy, self.problem.W, self.window, self.algorithm)

    def db(self):
        kernels.column_sums(self.dy, self.db_out)
        return self.db_out

    def backward(self):
        kernels.conv_weight_grad(self.x, self.dy, self.window, self.dW_out, self.db_out, self.algorithm)
        return self.dx(), self.dW_out, self.db_out

    def layer(self):
        return self.forward(), *self.backward()

    def arrays(self, operation, result):
        return result if operation in ("backward", "layer") else [result]


class Tiles(Conv):
    """The kernels themselves, by Winograd's method in tiles of this side; 0: the plain ones."""

    def __init__(self, problem, side) -> None:
        super().__init__(problem)
        self.side = side

    def forward(self):
        return _kernels.conv_forward(self.x, self.problem.W, self.problem.b, self.window, side=self.side)

    def dW(self):
        _kernels.conv_weight_grad(self.x, self.dy, self.window, self.dW_out, None, self.side)
        return self.dW_out

    def dx(self):
        return _kernels.conv_input_grad(self.dy, self.problem.W, self.window, self.side)


class Step:
    """A training step by hand, as users write it."""

    def __init__(self, problem) -> None:
        self.problem = problem
        self.net = problem.net.copy()
        self.loss = cl.SoftmaxLoss()
        self.optimizer = cl.SGD(lr=problem.lr, momentum=problem.momentum)

    def step(self):
        loss = self.loss.forward(self.net.forward(self.problem.x), self.problem.y)
        self.net.backward(self.loss.backward(), input_grad=False)
        self.optimizer.step(self.net)
        return loss

    def arrays(self, operation, result):
        return [np.array(result), *self.net.params.values()]


class ExactStep(Step):
    """The same without Winograd's method."""

    def step(self):
        cl.set_precision("exact")
        try:
            return super().step()
        finally:
            cl.set_precision("fast")


class Infer:
    """The scores of a batch, from the copy that is made for prediction."""

    def __init__(self, problem) -> None:
        self.x = problem.x
        self.net = problem.net.for_inference()

    def predict(self):
        return self.net.predict(self.x)

    def arrays(self, operation, result):
        return [result]

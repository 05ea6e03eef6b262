"""Plain Python loops: the definitions in cnnlayers.reference."""

from cnnlayers import reference


class Conv:
    def __init__(self, problem) -> None:
        self.problem = problem
        self.geometry = (problem.row.kernel, problem.row.stride, problem.row.padding)

    def im2col(self):
        return reference.im2col(self.problem.x, *self.geometry)

    def col2im(self):
        return reference.col2im(self.problem.cols, self.problem.x.shape, *self.geometry)

    def forward(self):
        p = self.problem
        return reference.conv_forward(p.x, p.W, p.b, *self.geometry[1:])

    def backward(self):
        p = self.problem
        return reference.conv_backward(p.x, p.W, p.dy, *self.geometry[1:])

    def arrays(self, operation, result):
        return result if operation == "backward" else [result]

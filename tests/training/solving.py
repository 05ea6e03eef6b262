"""What the tests of the Solver share: data, nets, solvers."""

import math
import os

import numpy as np

import cnnlayers as cl

PID = os.getpid()


def data(n=10, seed=0):
    x = np.random.default_rng(seed).standard_normal((n, 3))
    return x, (x[:, 0] > x[:, 1]).astype(int)


def mlp(dtype=np.float32, rng=0):
    layers = [cl.Affine(6), cl.BatchNorm(), cl.ReLU(), cl.Dropout(0.2), cl.Affine(2)]
    return cl.Sequential(layers, input_shape=(3,), rng=rng, dtype=dtype)


def solver_of(net=None, train=None, val=None, **options):
    options = {"loss": cl.SoftmaxLoss(), "optimizer": cl.SGD(lr=0.1, momentum=0.9), "progress": False} | options
    options = {"batch_size": 4, "epochs": 2} | options
    return cl.Solver(net or mlp(), data() if train is None else train, val, **options)


def bits(solver):
    """All that training changes, as bytes."""
    net, optimizer = solver.model, solver.optimizer
    draws = [layer.rng.bit_generator.state for _, layer in net.walk() if layer.random]
    memory = {name: np.asarray(value).tobytes() for name, value in optimizer.state.items()}
    return net.flat_params.tobytes(), net.flat_state.tobytes(), draws, memory


class Bare:
    """A loss of one's own, without weights."""

    def forward(self, scores, target):
        self.scores = scores
        return float((scores**2).mean())

    def backward(self):
        return 2 * self.scores / self.scores.size


class Batches:
    """Batches of the user's own, with something to happen before a batch, counted from 1 over all epochs."""

    def __init__(self, batches, at=None, action=None):
        self.batches, self.at, self.action, self.given = batches, at, action, 0

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        for batch in self.batches:
            self.given += 1
            if self.given == self.at:
                self.action()
            yield batch


def batches(n=10, size=4):
    x, y = data(n)
    return [(x[i : i + size], y[i : i + size]) for i in range(0, n, size)]


def raises(error):
    def action():
        raise error

    return action


class Seen:
    """A metric that notes what it is given."""

    def __init__(self):
        self.targets = []

    def __call__(self, scores, target):
        self.targets.append(np.array(target))
        return float(len(target))


class Breaks(cl.Layer):
    """The identity, but for bad numbers at step `at`, forward or backward."""

    def __init__(self, at, where="forward", value=math.nan):
        self.at, self.where, self.value = at, where, value

    def allocate(self, input_shape):
        self.add_param("g", (1,), "ones")
        self.add_state("calls", (1,))

    def spoil(self, a, where):
        a = a.copy()
        if self.state["calls"] == self.at and where == self.where:
            a[...] = self.value
        return a

    def forward(self, x, train=True):
        self.keep(x)
        if train:
            self.state["calls"] += 1
        return self.spoil(x * self.params["g"], "forward")

    def backward(self, dy, input_grad=True):
        (x,) = self.take()
        self.grads["g"] = [(dy * x).sum()]
        if self.where == "gradient" and self.state["calls"] == self.at:
            self.grads["g"] = [self.value]
        return self.spoil(dy * self.params["g"], "backward")


def breaking(*options):
    layers = [cl.Affine(6), cl.BatchNorm(), cl.Dropout(0.2), cl.Sequential([cl.ReLU(), Breaks(*options)]), cl.Affine(2)]
    return cl.Sequential(layers, input_shape=(3,), rng=0)

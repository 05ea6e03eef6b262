"""A layer as the oracle computes it: the functions that its docstring names, called with the layer's own arguments."""

import copy
import importlib
import inspect
import re

import numpy as np

import cnnlayers as cl
from cnnlayers import reference


def named_functions(cls):
    """The functions that the line Twin of a docstring names: `reference.conv.conv_backward` and so on."""
    line = re.search(r"^ *Twin  +(.*)$", cls.__dict__.get("__doc__") or "", re.MULTILINE)
    if not line:
        raise LookupError(f"the docstring of {cls.__name__} has no line Twin that names functions of the oracle")
    found = re.findall(r"reference\.(\w+)\.(\w+)", line[1])
    return [getattr(importlib.import_module(f"cnnlayers.reference.{room}"), name) for room, name in found]


def forward_of(backward):
    """The forward function that goes with `f_backward`: `f`, or `f_forward`."""
    room = importlib.import_module(backward.__module__)
    name = backward.__name__.removesuffix("_backward")
    return getattr(room, name, None) or getattr(room, f"{name}_forward")


def twin_of(layer):
    """Make the twin of a built layer or net; it shares nothing with it."""
    return CONTAINERS.get(type(layer), Twin)(layer)


class Twin:
    """A leaf layer: its arrays in float64, and the oracle's functions, whose arguments go by their names.

    A name means x, δ, a parameter, or an option of the layer; None is a parameter that it does without. What some
    layers need besides is added below.
    """

    def __init__(self, layer):
        self.layer = layer
        self.params = {name: array.astype(np.float64) for name, array in layer.params.items()}
        self.state = {name: array.astype(np.float64) for name, array in layer.state.items()}
        self.rng = copy.deepcopy(layer.rng) if layer.random else None
        self.grads = {}

    def forward(self, x, train):
        self.given = self.params | {"x": x, "z": x} | self.more(x, train)
        return x if self.passes(train) else self.call(forward_of(self.function(train)), train)

    def backward(self, dy, train):
        self.given["dy"] = dy
        results = dy if self.passes(train) else self.call(self.function(train), train)
        dx, *grads = results if isinstance(results, tuple) else (results,)
        self.grads = dict(zip(self.params, grads, strict=False))  # without a bias there is a db too many
        return dx

    def call(self, function, train):
        names = inspect.signature(function).parameters
        return function(**{n: self.given[n] if n in self.given else getattr(self.layer, n, None) for n in names})

    def passes(self, train):
        """Whether x goes through unchanged."""
        return self.layer.random and not train

    def function(self, train):
        """The function that the backward pass is."""
        functions = named_functions(type(self.layer))
        which = {
            cl.BatchNorm: not train,
            cl.GELU: getattr(self.layer, "approximate", "") == "tanh",
            cl.Scale: getattr(self.layer, "factor", None) is not None,
        }
        return functions[which.get(type(self.layer), 0)]

    def more(self, x, train):
        """What the functions are given besides: the key of a mask, and statistics, which training moves."""
        if self.layer.random and train:
            return {"key": int(self.rng.integers(2**64, dtype=np.uint64))}
        if type(self.layer) is cl.BatchNorm:
            mean, var = self.state.values()
            if train:
                moved = reference.norm.running_statistics(x, mean, var, self.layer.momentum)
                self.state = dict(zip(self.state, moved, strict=True))
            return {"mean": mean, "var": var}
        return {}


class TwinOfContainer:
    """A container: the twins of its parts, and how the oracle puts them together."""

    def __init__(self, layer):
        self.layer = layer
        self.parts = {name: twin_of(part) for name, part in layer.children().items()}

    def gather(self, which):
        """The arrays of the parts, by dotted names."""
        return {
            f"{prefix}.{name}": array
            for prefix, part in self.parts.items()
            for name, array in getattr(part, which).items()
        }

    params = property(lambda self: self.gather("params"))
    grads = property(lambda self: self.gather("grads"))
    state = property(lambda self: self.gather("state"))

    def forward(self, x, train):
        self.outputs = []

        def runs(part):
            def run(x):
                self.outputs.append(part.forward(x, train))
                return self.outputs[-1]

            return run

        (backward,) = named_functions(type(self.layer))
        return self.put(forward_of(backward), x, [runs(part) for part in self.parts.values()])

    def backward(self, dy, train):
        (backward,) = named_functions(type(self.layer))
        return self.put_back(backward, dy, [lambda d, p=part: p.backward(d, train) for part in self.parts.values()])

    def put(self, function, x, parts):
        return function(x, parts)

    def put_back(self, function, dy, parts):
        return function(dy, parts)


class TwinOfResidual(TwinOfContainer):
    def put(self, function, x, parts):
        return function(x, *parts)  # the body, and the shortcut if there is one

    put_back = put


class TwinOfConcat(TwinOfContainer):
    def put_back(self, function, dy, parts):
        return function(dy, parts, [y.shape[-1] for y in self.outputs])


class TwinOfMultiply(TwinOfContainer):
    def put_back(self, function, dy, parts):
        return function(dy, parts, self.outputs)


CONTAINERS = {
    cl.Sequential: TwinOfContainer,
    cl.Residual: TwinOfResidual,
    cl.Concat: TwinOfConcat,
    cl.Multiply: TwinOfMultiply,
}

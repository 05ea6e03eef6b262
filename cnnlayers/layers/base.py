"""The protocol of a layer: build, forward, backward, predict.

A layer overrides `forward` and `backward` and sees clean arrays there: of its dtype, contiguous, of a checked shape.
What all layers share stands here once, above all the flat arrays that hold the parameters of a whole net; the checks
around the two calls stand in `guards`.
"""

from __future__ import annotations

import copy
import functools
import inspect
import math
from collections.abc import Iterator
from typing import Any, Self

import numpy as np

from .. import geometry, initializers, randomness
from ..arrays import as_array, float_dtype
from .guards import guarded_backward, guarded_build, guarded_forward
from .named import Arrays

_FUSIONS = {  # by flag, the methods that take what it promises
    "fuses_relu": ("forward", "backward", "predict"),
    "fuses_sum": ("forward", "predict"),
    "fuses_grad": ("backward",),
}
REGISTRY: dict[str, type[Layer]] = {}  # the package's own layers by name: all that a file may name


class Layer:
    """A map with parameters, a forward pass and a hand-written backward pass.

    A subclass stores each constructor argument under its own name (so `config`, `repr` and files know it) and defines

    - `forward(x, train=True)`: compute y; `self.keep(...)` what backward needs;
    - `backward(dy, input_grad=True)`: `self.take()` it back, fill `self.grads`, return dx;
    - `output_shape(input_shape)`, where it differs from the input's;
    - `allocate(input_shape)`, if it has parameters: `self.add_param(name, shape, init)`.

    Attributes
    ----------
    params, grads, state : dict of arrays
        Parameters, their gradients (sums over the batch), and what is learned without a gradient.
    trainable : bool
        False freezes the layer: optimisers leave its parameters alone.
    input_shape, dtype
        What the layer was built for; None before.
    """

    params: Arrays
    grads: Arrays
    state: Arrays
    rng: np.random.Generator
    input_shape: Any  # a tuple of int; None before build
    dtype: Any  # a numpy.dtype; None before build

    _trainable: bool
    _owned: bool  # whether a net holds it
    _make: Any  # makes the initial arrays while it is built; a loader puts its own here
    _kept: tuple  # what forward kept for backward
    _pending: tuple | None  # between forward and backward: shapes of x and y, and y if a ReLU was fused behind
    _flat: tuple  # the flat arrays of params, grads and state
    _leaves: tuple[Layer, ...]  # of a container that is built: the layers whose arrays they hold
    _out: tuple[int, ...]  # output shape for the input shape it was built for
    _building = False  # while a build() of the layer's own runs

    fuses_relu = False  # whether forward takes relu=True, to end in the ReLU that follows the layer
    undoes_relu = False  # whether its backward then undoes the ReLU too; else it gets the dy in front of the ReLU
    fuses_sum = False  # whether forward takes plus=array, to end in the sum with it, in front of that ReLU
    fuses_grad = False  # whether backward takes plus=array, rectified=array, to end in dx + plus where rectified > 0
    random = False  # whether it draws random numbers: then build gives it `self.rng`, a generator of its own
    resizable = False  # whether images of other sizes than those it was built for may come in
    _watch: Any = None  # called with every output and gradient while a step is replayed in search of a NaN

    def __new__(cls, *args, **kwargs) -> Self:
        self = super().__new__(cls)
        self.params, self.grads, self.state = Arrays(), Arrays(), Arrays()
        self.input_shape = self.dtype = None
        self._trainable = True
        self._owned = False
        self._make = None
        self._kept = ()
        self._pending = None
        self._flat = self._leaves = ()
        self._out = ()
        return self

    def __init_subclass__(cls, **kwargs) -> None:
        super().__init_subclass__(**kwargs)
        for flag, methods in _FUSIONS.items():
            said = next(i for i, base in enumerate(cls.__mro__) if flag in vars(base))
            if any(method in vars(base) for base in cls.__mro__[:said] for method in methods):
                setattr(cls, flag, False)  # a newer method must say for itself what it takes
        for name, guard in (("build", guarded_build), ("forward", guarded_forward), ("backward", guarded_backward)):
            if name in cls.__dict__:
                setattr(cls, name, guard(cls.__dict__[name]))
        if cls.__module__.partition(".")[0] == __name__.partition(".")[0]:
            REGISTRY[cls.__name__] = cls

    # What a subclass defines

    def allocate(self, input_shape: tuple[int, ...]) -> None:
        """Add the parameters and the state for inputs of this shape (without the batch axis)."""

    def forward(self, x: np.ndarray, train: bool = True) -> np.ndarray:
        """Compute y from x and keep what backward needs."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward(x, train=True)")

    def backward(self, dy: np.ndarray, input_grad: bool = True) -> np.ndarray | None:
        """Compute dx from dy and fill `grads`."""
        raise NotImplementedError(f"{type(self).__name__} defines no backward(dy, input_grad=True)")

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of y for this shape of x, both without the batch axis; ValueError if x does not fit.

        By default that of x, or what a `build` of the layer's own returns.
        """
        shape = tuple(input_shape)
        if self._building or type(self).build is Layer.build:
            return shape
        if shape == self.input_shape:
            return self._out
        twin = self.copy()
        twin._unbuild()
        return twin.build(shape, rng=0)

    def multiply_adds(self, input_shape: tuple[int, ...]) -> int:
        """Multiply-adds of one sample's forward pass (products with parameters only)."""
        return 0

    def children(self) -> dict[str, Layer]:
        """The layers within, by name: none but in containers."""
        return {}

    # What a subclass calls

    def add_param(self, name: str, shape: tuple[int, ...], init="zeros") -> None:
        """Add a parameter, with its gradient: `init` is a name or a function (shape, rng, dtype) -> array."""
        self.params[name] = self._initial(name, shape, init)
        self.grads[name] = np.zeros(shape, self.dtype)

    def add_state(self, name: str, shape: tuple[int, ...], init="zeros") -> None:
        """Add an array that is saved with the layer but has no gradient."""
        self.state[name] = self._initial(name, shape, init)

    def keep(self, *things) -> None:
        """Keep what backward needs."""
        self._kept = things

    def take(self) -> tuple:
        """What forward kept, once."""
        things, self._kept = self._kept, ()
        return things

    # What users call

    @property
    def built(self) -> bool:
        """Whether shapes are known and parameters drawn."""
        return self.input_shape is not None

    @property
    def trainable(self) -> bool:
        """False if optimisers leave this layer alone."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for child in self.children().values():
            child.trainable = value

    def build(self, input_shape, *, rng=None, dtype: Any = np.float32) -> tuple[int, ...]:
        """Check the shapes, draw the parameters and give the output shape.

        Parameters
        ----------
        input_shape : tuple of int
            Shape of x without the batch axis.
        rng : int or numpy.random.Generator, optional
            Where the initial values come from.
        dtype : float32 or float64
            Of parameters, outputs and gradients, whatever comes in.
        """
        shape = geometry.shape_of(input_shape, self.who)
        dtype = float_dtype(dtype, self.who)
        if self.built:
            return self._join(shape, dtype)
        out = tuple(self.output_shape(shape))
        fresh = [layer for _, layer in self.walk() if not layer.built]
        self.input_shape, self.dtype = shape, dtype
        try:
            self._allocate(shape, randomness.random_generator(rng))
        except BaseException:
            for layer in fresh:
                layer._unbuild()
            raise
        self._out = out
        if type(self).build is Layer.build:  # else there may be parameters to come
            self._gather()
        return out

    def predict(self, x, **fused) -> np.ndarray:
        """Inference: y with nothing written on the layer, so a pending backward stays valid."""
        return self._twin(x).forward(x, train=False, **fused)

    def copy(self) -> Self:
        """Copy the layer, with values of its own; it belongs to no net yet."""
        return copy.deepcopy(self)

    __copy__ = copy  # a shallow copy would share layers, whose arrays can be views of one flat array only

    def astype(self, dtype) -> Self:
        """Copy the layer in another dtype."""
        twin = self.copy()
        if twin.built:
            for _, layer in twin.walk():
                layer.dtype = float_dtype(dtype, self.who)
            twin._gather()
        return twin

    def config(self) -> dict[str, Any]:
        """Give the constructor's arguments: enough to make an equal, unbuilt layer."""
        names = [p.name for p in self._arguments()]
        missing = [name for name in names if not hasattr(self, name)]
        if missing:
            raise TypeError(
                f"{type(self).__name__} keeps no attribute {missing[0]!r}: store each argument of __init__ under its "
                "own name, or define config()"
            )
        return {name: getattr(self, name) for name in names}

    def __repr__(self) -> str:
        shown = []
        for p in self._arguments():
            value = getattr(self, p.name, "?")
            text = getattr(value, "__name__", None) or repr(value)
            if p.default is p.empty:
                shown.append(text)
            elif repr(value) != repr(p.default):
                shown.append(f"{p.name}={text}")
        return f"{type(self).__name__}({', '.join(shown)})"

    @property
    def who(self) -> str:
        """How messages name the layer."""
        return repr(self)

    def walk(self, name: str = "") -> Iterator[tuple[str, Layer]]:
        """Yield the layer and all within it, with their dotted names: a container comes before what it holds."""
        yield name, self
        for key, child in self.children().items():
            yield from child.walk(f"{name}.{key}" if name else key)

    @property
    def flat_params(self) -> np.ndarray:
        """All parameters, one after the other; `params` holds views of it."""
        return self._flat_array(0)

    @property
    def flat_grads(self) -> np.ndarray:
        """All gradients, in the order of `flat_params`."""
        return self._flat_array(1)

    @property
    def flat_state(self) -> np.ndarray:
        """All state, in the order of `state`."""
        return self._flat_array(2)

    def param_runs(self, decay_all: bool = False) -> list[tuple[slice, bool]]:
        """Give the trainable stretches of the flat arrays, each with whether weight decay applies to it.

        Weight decay is for arrays of two axes or more (biases and norm parameters have one); with `decay_all` for all.
        """
        runs: list[tuple[slice, bool]] = []
        start = 0
        for layer in self.leaves():
            for array in layer.params.values():
                stop, decays = start + array.size, decay_all or array.ndim > 1
                if layer.trainable and runs and runs[-1] == (slice(runs[-1][0].start, start), decays):
                    runs[-1] = (slice(runs[-1][0].start, stop), decays)
                elif layer.trainable:
                    runs.append((slice(start, stop), decays))
                start = stop
        return runs

    def leaves(self) -> list[Layer]:
        """Give the layers that hold no others, in the order of their parameters."""
        return list(self._leaves) or [layer for _, layer in self.walk() if not layer.children()]

    # The protocol's own business

    def _arguments(self) -> list[inspect.Parameter]:
        """The constructor's named arguments."""
        parameters = list(inspect.signature(type(self).__init__).parameters.values())[1:]
        return [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]

    def _allocate(self, shape: tuple[int, ...], rng: np.random.Generator) -> None:
        """Fill params, grads and state: by `allocate`, each array drawn from rng or taken from a file."""
        self._make = self._make or functools.partial(self._draw, rng)
        if self.random:
            self.rng = randomness.child(rng)
        try:
            self.allocate(shape)
        finally:
            self._make = None

    def _promises(self) -> bool:
        """Whether the layer has an output_shape of its own."""
        return type(self).output_shape is not Layer.output_shape

    def _unbuild(self) -> None:
        """Forget a build that failed."""
        self.input_shape = self.dtype = None
        self._flat = self._leaves = ()
        self.params, self.grads, self.state = Arrays(), Arrays(), Arrays()

    def _rebind(self, key: str, arrays: Arrays) -> None:
        """After a layer has bound a new dict, as in `self.grads = {...}`: copy it into what its net knows."""
        new = getattr(self, key)
        setattr(self, key, arrays)
        arrays.update(new)

    def _initial(self, name: str, shape: tuple[int, ...], init) -> np.ndarray:
        if name in self.params or name in self.state:
            raise ValueError(f"{self.who} has two arrays named {name!r}")
        if self._make is None:
            raise RuntimeError(f"{self.who}: add_param and add_state are for allocate(input_shape)")
        return self._make(name, shape, init)

    def _draw(self, rng: np.random.Generator, name: str, shape: tuple[int, ...], init) -> np.ndarray:
        geometry.check_bytes(shape, self.dtype.itemsize, self.who, f"the array {name!r}")
        array = np.array(initializers.get(init, self.who)(shape, rng, self.dtype), dtype=self.dtype)
        if array.shape != tuple(shape):
            raise ValueError(f"{self.who}: init must give an array of shape {tuple(shape)}; got shape {array.shape}")
        return array

    def _join(self, shape: tuple[int, ...], dtype: np.dtype) -> tuple[int, ...]:
        """Build of a built layer: it keeps its values if it fits."""
        if dtype != self.dtype:
            raise ValueError(f"{self.who} was built in {self.dtype}; it cannot join a net in {dtype}: use astype()")
        self._check_fit(shape)
        self.input_shape, self._out = shape, tuple(self.output_shape(shape))
        return self._out

    def _gather(self) -> None:
        """Move all arrays into flat ones of their own."""
        arrays = ("params", "grads", "state")
        sizes = [sum(a.size for leaf in self.leaves() for a in getattr(leaf, key).values()) for key in arrays]
        self._lay_out(*(np.zeros(size, self.dtype) for size in sizes))

    def _lay_out(self, *flat: np.ndarray) -> None:
        """Move all arrays into these flat ones (params, grads, state); the dicts then hold views."""
        children = self.children()
        for key, target in zip(("params", "grads", "state"), flat, strict=True):
            views, start = Arrays(), 0
            if not children:
                for name, old in getattr(self, key).items():
                    views[name] = target[start : start + old.size].reshape(old.shape)
                    views[name] = old
                    start += old.size
            setattr(self, key, views)
        self._flat, self._leaves = flat, tuple(self.leaves()) if children else ()
        starts = [0, 0, 0]
        for name, child in children.items():
            child._owned = True
            sizes = [sum(a.size for leaf in child.leaves() for a in getattr(leaf, k).values()) for k in _DICTS]
            child._lay_out(*(f[s : s + n] for f, s, n in zip(flat, starts, sizes, strict=True)))
            starts = [s + n for s, n in zip(starts, sizes, strict=True)]
            for key in _DICTS:
                for inner, view in getattr(child, key).items():
                    getattr(self, key)[f"{name}.{inner}"] = view
        for key in _DICTS:
            getattr(self, key).sealed = True

    def _flat_array(self, which: int) -> np.ndarray:
        if not self._flat:
            raise RuntimeError(f"{self.who} is not built yet: give it an input_shape, or call build() or forward()")
        return self._flat[which]

    def _take_rectified(self) -> np.ndarray | None:
        """What a ReLU fused behind the layer gave, if backward would undo it: the taker does that in its place."""
        if self._pending is None:
            return None
        *shapes, rectified = self._pending
        self._pending = (*shapes, None)
        return rectified

    def _twin(self, x) -> Layer:
        """Share everything with this layer but what a forward pass writes."""
        if not self.built:
            twin = self.copy()
            twin.build(as_array(x, self.who).shape[1:])
            if twin.params:
                raise RuntimeError(f"{self.who} has no parameters yet: build or train it before predict()")
            return twin
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin

    def _check_fit(self, shape: tuple[int, ...]) -> None:
        """Refuse inputs that the parameters were not made for."""
        if shape == self.input_shape:
            return
        self.output_shape(shape)
        built: tuple[int, ...] = self.input_shape or ()
        if not (self.resizable and len(shape) == len(built) and shape[-1] == built[-1]):
            raise ValueError(
                f"{self.who} was built for {geometry.with_batch(built)}; got shape {geometry.with_batch(shape)}"
            )

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__ | {"_flat": (), "_leaves": (), "_kept": (), "_pending": None, "_owned": False}
        holds = self.children()
        return state | {key: {} if holds else dict(getattr(self, key)) for key in _DICTS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for key in _DICTS:
            arrays = Arrays()
            arrays.update(state[key])
            setattr(self, key, arrays)
        for child in self.children().values():
            child._owned = True
        if self.built:
            self._gather()


_DICTS = ("params", "grads", "state")


def parameter_count(layer: Layer) -> int:
    """How many numbers the layer's parameters are."""
    return sum(math.prod(a.shape) for a in layer.params.values())

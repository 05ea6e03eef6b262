"""How a layer is built: shapes are checked, parameters drawn or taken from a file, and laid out flat."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import checks, initializers, randomness
from ..arrays import float_dtype
from .flat import DICTS, Arrays, FlatArrays


class Buildable(FlatArrays):
    """The part of `Layer` that builds it."""

    rng: np.random.Generator
    input_shape: Any  # a tuple of int; None before build
    dtype: Any  # a numpy.dtype; None before build
    _out: tuple[int, ...]  # the output shape for the input shape it was built for
    _built_with: tuple[Any, Any] = None, np.float32  # the rng and dtype of a net that says them before it is built
    _source: Any  # gives the initial arrays while it is built: `_draw`, or what `fill_from` was given

    @property
    def built(self) -> bool:
        """Whether shapes are known and parameters drawn."""
        return self.input_shape is not None

    def build(self: Any, input_shape, *, rng=None, dtype: Any = None) -> tuple[int, ...]:
        """Check the shapes, draw the parameters and give the output shape.

        Parameters
        ----------
        input_shape : tuple of int
            Shape of x without the batch axis.
        rng : int or numpy.random.Generator, optional
            Where the initial values come from.
        dtype : float32 or float64, optional
            Of parameters, outputs and gradients, whatever comes in; float32 by default. A Sequential that was made with
            an rng or a dtype has these for default values.
        """
        shape = checks.as_shape(self.who, input_shape)
        own_rng, own_dtype = self._built_with
        rng, dtype = own_rng if rng is None else rng, float_dtype(own_dtype if dtype is None else dtype, self.who)
        if self.built:
            return self._join(shape, dtype)
        self._doubt(shape)
        out = tuple(self.output_shape(shape))
        fresh = [layer for _, layer in self.walk() if not layer.built]
        self.input_shape, self.dtype = shape, dtype
        try:
            self._allocate(shape, randomness.random_generator(rng))
        except BaseException:
            for layer in fresh:
                layer._clear_build()
            raise
        self._out, self._source = out, None
        self._gather()
        return out

    def _doubt(self, shape: tuple[int, ...]) -> None:
        """Warn of a shape that is probably a mistake."""

    def build_for(self: Any, x: Any, *, rng=None) -> None:
        """Build it for batches such as `x`; a net that has an rng of its own takes that."""
        self.build(np.shape(x)[1:], rng=rng if self._built_with[0] is None else None)

    def add_param(self: Any, name: str, shape: tuple[int, ...], init="zeros") -> None:
        """Add a parameter, with its gradient: `init` is a name or a function (shape, rng, dtype) -> array."""
        self.params[name] = self._initial(name, shape, init)
        self.grads[name] = np.zeros(shape, self.dtype)

    def add_state(self: Any, name: str, shape: tuple[int, ...], init="zeros") -> None:
        """Add an array that is saved with the layer but has no gradient."""
        self.state[name] = self._initial(name, shape, init)

    def fill_from(self, source: Callable[[str, tuple[int, ...], Any], np.ndarray]) -> None:
        """Let the build take its initial arrays from `source(name, shape, init)`, as a loader has them."""
        self._source = source

    def _allocate(self: Any, shape: tuple[int, ...], rng: np.random.Generator) -> None:
        """Fill params, grads and state by `allocate`."""
        self._source = self._source or functools.partial(self._draw, rng)
        if self.random:
            self.rng = randomness.child(rng)
        self.allocate(shape)
        self._owners(self._frozen)  # now it is known whether they exist

    def _initial(self: Any, name: str, shape: tuple[int, ...], init) -> np.ndarray:
        if name in self.params or name in self.state:
            raise ValueError(f"{self.who} has two arrays named {name!r}")
        if self._source is None:
            raise RuntimeError(f"{self.who}: add_param and add_state are for allocate(input_shape)")
        return self._source(name, shape, init)

    def _draw(self: Any, rng: np.random.Generator, name: str, shape: tuple[int, ...], init) -> np.ndarray:
        checks.check_bytes(self.who, f"the array {name!r}", shape, self.dtype.itemsize)
        array = np.array(initializers.get(init, self.who)(shape, rng, self.dtype), dtype=self.dtype)
        if array.shape != tuple(shape):
            raise ValueError(f"{self.who}: init must give an array of shape {tuple(shape)}; got shape {array.shape}")
        return array

    def _join(self: Any, shape: tuple[int, ...], dtype: np.dtype) -> tuple[int, ...]:
        """Build a built layer again: it keeps its values if it fits."""
        if dtype != self.dtype:
            raise ValueError(f"{self.who} was built in {self.dtype}; it cannot join a net in {dtype}: use astype()")
        self._check_fit(shape)
        self.input_shape, self._out = shape, tuple(self.output_shape(shape))
        return self._out

    def _clear_build(self: Any) -> None:
        """Be as before any build, or after one that failed."""
        self.input_shape = self.dtype = self._source = None
        self._flat = self._leaves = self._out = ()
        vars(self).update({key: Arrays() for key in DICTS})

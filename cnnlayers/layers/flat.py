"""The arrays of a layer, and the flat arrays that hold those of a whole net.

A built net keeps all its parameters in one array, one leaf layer after the other; so it does with the gradients and the
state. Every layer's dicts hold views of them. An optimiser's step, a clip, a copy is then one pass over memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..arrays import as_array, float_dtype

DICTS = ("params", "grads", "state")


class Arrays(dict):
    """Named arrays. Assigning to a name that is there copies into its array; a new name is refused once built."""

    sealed = False

    def __setitem__(self, name: str, value) -> None:
        if name in self:
            value = as_array(value, repr(name))
            if value.shape != self[name].shape:
                raise ValueError(f"{name!r} has shape {self[name].shape}; got shape {value.shape}")
            self[name][...] = value
        elif self.sealed:
            raise KeyError(f"no array is named {name!r}; there are {', '.join(map(repr, self)) or 'none'}")
        else:
            super().__setitem__(name, np.asarray(value))

    def update(self, *args, **kwargs) -> None:
        """Assign each item."""
        for name, value in dict(*args, **kwargs).items():
            self[name] = value

    def __ior__(self, other):  # type: ignore[misc]
        self.update(other)
        return self

    def _refuse(self, *args, **kwargs):
        raise TypeError("the arrays of a layer cannot be removed; assign new values instead")

    __delitem__ = pop = popitem = clear = setdefault = _refuse


class FlatArrays:
    """The part of `Layer` that holds arrays: by name, and flat."""

    params: Any  # Arrays, but a layer's code may assign numbers to a name
    grads: Any
    state: Any
    dtype: Any  # a numpy.dtype; None before build

    _flat: tuple[np.ndarray, ...]  # the flat arrays of params, grads and state; empty before build
    _leaves: tuple  # of a built container: the layers whose arrays they hold
    _owned: bool  # whether a net holds the layer

    def children(self) -> dict[str, Any]:
        """The layers within, by name: none but in containers."""
        return {}

    def walk(self, name: str = "") -> Iterator[tuple[str, Any]]:
        """Yield the layer and all within it, with their dotted names: a container comes before what it holds."""
        yield name, self
        for key, child in self.children().items():
            yield from child.walk(f"{name}.{key}" if name else key)

    def leaves(self) -> list[Any]:
        """Give the layers that hold no others, in the order of their parameters."""
        return list(self._leaves) or [layer for _, layer in self.walk() if not layer.children()]

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

        Weight decay is for arrays of two axes or more (biases and norm parameters have one) of layers that do not say
        otherwise by `decays`; with `decay_all` for all.
        """
        runs: list[tuple[slice, bool]] = []
        start = 0
        for layer in self.leaves():
            for name, array in layer.params.items():
                stop, decays = start + array.size, decay_all or (layer.decays and array.ndim > 1)
                trains = layer.trainable and name not in layer._frozen
                if trains and runs and runs[-1] == (slice(runs[-1][0].start, start), decays):
                    runs[-1] = (slice(runs[-1][0].start, stop), decays)
                elif trains:
                    runs.append((slice(start, stop), decays))
                start = stop
        return runs

    def astype(self, dtype) -> Any:
        """Copy the layer in another dtype."""
        twin = self.copy()  # type: ignore[attr-defined]
        if twin.built:
            for _, layer in twin.walk():
                layer.dtype = float_dtype(dtype, twin.who)
            twin._gather()
        return twin

    def _flat_array(self, which: int) -> np.ndarray:
        self.require_built()
        return self._flat[which]

    def require_built(self) -> None:
        """Raise a RuntimeError that says what to do if the shapes are not known yet."""
        if not self._flat:
            raise RuntimeError(
                f"{self.who} is not built yet: "  # type: ignore[attr-defined]
                "give it an input_shape, or call build() or forward()"
            )

    def _gather(self) -> None:
        """Move all arrays into flat ones of their own."""
        self._lay_out(*(np.zeros(size, self.dtype) for size in _sizes(self)))

    def _lay_out(self, *flat: np.ndarray) -> None:
        """Move all arrays into these flat ones (params, grads, state); the dicts then hold views."""
        children = self.children()
        for key, target in zip(DICTS, flat, strict=True):
            vars(self)[key] = _views(target, {} if children else getattr(self, key))
        self._flat, self._leaves = flat, tuple(self.leaves()) if children else ()
        starts = [0, 0, 0]
        for name, child in children.items():
            child._owned = True
            ends = [start + size for start, size in zip(starts, _sizes(child), strict=True)]
            child._lay_out(*(array[start:end] for array, start, end in zip(flat, starts, ends, strict=True)))
            starts = ends
            for key in DICTS:
                getattr(self, key).update({f"{name}.{inner}": view for inner, view in getattr(child, key).items()})
        for key in DICTS:
            getattr(self, key).sealed = True

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__ | {"_flat": (), "_leaves": (), "_kept": (), "_pending": None, "_owned": False}
        holds = self.children()
        return state | {key: {} if holds else dict(getattr(self, key)) for key in DICTS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for key in DICTS:
            arrays = Arrays()
            arrays.update(state[key])
            vars(self)[key] = arrays
        for child in self.children().values():
            child._owned = True
        if self.built:  # type: ignore[attr-defined]
            self._gather()


def parameter_count(layer: FlatArrays) -> int:
    """How many values the layer's parameters are."""
    return sum(math.prod(array.shape) for array in layer.params.values())


def _sizes(layer: FlatArrays) -> list[int]:
    """How many values the layer's parameters, gradients and state are."""
    return [sum(array.size for leaf in layer.leaves() for array in getattr(leaf, key).values()) for key in DICTS]


def _views(target: np.ndarray, arrays: dict[str, np.ndarray]) -> Arrays:
    """Views of `target`, one after the other, with the shapes and the values of these arrays."""
    views, start = Arrays(), 0
    for name, old in arrays.items():
        views[name] = target[start : start + old.size].reshape(old.shape)
        views[name] = old
        start += old.size
    return views

"""The protocol of a layer: allocate, output_shape, forward, backward.

A layer overrides `forward` and `backward` and sees clean arrays there: of its dtype, contiguous, of a checked shape.
The checks around the calls are in `guards`, the building in `build`, the flat arrays of a whole net in `flat`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any, Self

import numpy as np

from .. import checks
from ..arrays import as_array
from ..config import Configured, arguments
from ..stored import Stored
from .build import Buildable
from .flat import DICTS
from .guards import guarded_backward, guarded_forward


class Layer(Configured, Buildable):
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
        False freezes the layer: optimisers leave its parameters alone. `freeze(name)` does so with one parameter.
    input_shape, dtype
        What the layer was built for; None before.
    """

    random = False  # whether it draws random numbers: then build gives it `self.rng`, a generator of its own
    resizable = False  # whether images of other sizes than those it was built for may come in
    decays = True  # whether weight decay applies to those of its parameters that have two axes or more

    # What a subclass defines

    def forward(self, x: np.ndarray, train: bool = True) -> np.ndarray:
        """Compute y from x and keep what backward needs."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward(x, train=True)")

    def backward(self, dy: np.ndarray, input_grad: bool = True) -> np.ndarray | None:
        """Compute dx from dy and fill `grads`."""
        raise NotImplementedError(f"{type(self).__name__} defines no backward(dy, input_grad=True)")

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of y for this shape of x, both without the batch axis; ValueError if x does not fit."""
        return tuple(input_shape)

    def allocate(self, input_shape: tuple[int, ...]) -> None:
        """Add the parameters and the state for inputs of this shape (without the batch axis)."""

    def multiply_adds(self, input_shape: tuple[int, ...]) -> int:
        """Multiply-adds of one sample's forward pass (products with parameters only)."""
        return 0

    # What a subclass calls, besides add_param and add_state

    def keep(self, *things) -> None:
        """Keep what backward needs."""
        self._kept = things

    def take(self) -> tuple:
        """What forward kept, once."""
        things, self._kept = self._kept, ()
        return things

    def grad_of(self, name: str) -> np.ndarray | None:
        """Where the gradient of a parameter goes; None if it is frozen by name, or the layer has none of that name."""
        return None if name in self._frozen else self.grads.get(name)

    # What users call, besides build

    def predict(self, x) -> np.ndarray:
        """Inference: y with nothing written on the layer, so a pending backward stays valid."""
        twin = self.twin() if self.built else self._built_for(x)
        return twin.forward(x, train=False)

    def twin(self) -> Self:
        """Share everything with this layer but what a forward pass writes on it."""
        twin = object.__new__(type(self))
        vars(twin).update(vars(self))
        return twin

    @property
    def trainable(self) -> bool:
        """False if optimisers leave this layer alone."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for _, layer in self.walk():
            layer._trainable = bool(value)

    def freeze(self, *names: str) -> Self:
        """Freeze single parameters, in a layer that goes on training otherwise; without names, the layer as a whole.

        `conv.freeze("W")` keeps the filters and lets the bias train; of a net, names are those of `net.params`, as in
        `net.freeze("1.W")`. Optimisers, weight decay and clipping leave a frozen parameter out. No gradient is computed
        for it where that saves work, and its part of `grads` is 0 after each backward. Files and copies keep what is
        frozen. The layer need not be built.

        Without names it is `trainable = False`: gradients are still computed, and norms keep their statistics too.

        Returns
        -------
        Layer
            The layer itself: `net = Sequential([Conv(24, 2, init=bank).freeze("W"), ...])`.

        Raises
        ------
        ValueError
            If there is no such parameter; for a layer that is not built yet, when it is built.
        """
        if not names:
            self.trainable = False
        for layer, name in self._owners(names):
            layer._frozen |= {name}
        return self

    def unfreeze(self, *names: str) -> Self:
        """Undo `freeze(*names)`; without names, let all parameters train."""
        if not names:
            self.trainable = True
            for _, layer in self.walk():
                layer._frozen = frozenset()
        for layer, name in self._owners(names):
            layer._frozen -= {name}
        return self

    @property
    def frozen(self) -> frozenset[str]:
        """Names of the parameters that do not train, by themselves or with their layer."""
        return frozenset(
            f"{where}.{name}" if where else name
            for where, layer in self.walk()
            if not layer.children()
            for name in (layer._frozen if layer.trainable else {*layer.params, *layer._frozen})
        )

    def copy(self) -> Self:
        """Copy the layer, with values of its own; it belongs to no net yet."""
        return copy.deepcopy(self)

    __copy__ = copy  # a shallow copy would share layers, whose arrays can be views of one flat array only

    def __repr__(self) -> str:
        shown = []
        for name, argument in arguments(type(self)).items():
            value = getattr(self, name, "?")
            text = getattr(value, "__name__", None) or repr(value)
            if argument.default is argument.empty:
                shown.append(text)
            elif repr(value) != repr(argument.default):
                shown.append(f"{name}={text}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def _repr_html_(self) -> str | None:
        """What notebooks show: the table of `summary`."""
        from ..look.summary import html

        return html(self)

    @property
    def who(self) -> str:
        """How messages name the layer."""
        return repr(self)

    # What holds for every layer

    _trainable: bool
    _frozen: frozenset[str]  # the parameters that `freeze` has named
    _kept: tuple  # what forward kept for backward
    _pending: tuple | None  # between forward and backward: the shapes of x and y
    _watch: Any = None  # called with every output and gradient: see `plan.watch`

    revision = 0  # of all layers: one more each time that somebody changes how one of them runs

    def __new__(cls, *args, **kwargs) -> Self:
        self = super().__new__(cls)
        self._trainable, self._frozen, self._owned = True, frozenset(), False
        self._kept, self._pending = (), None
        self._clear_build()
        return self

    def __init_subclass__(cls, **kwargs) -> None:
        super().__init_subclass__(**kwargs)
        if "build" in cls.__dict__:
            raise TypeError(f"{cls.__name__} overrides build(): define allocate(input_shape), which build() calls")
        for name, guard in (("forward", guarded_forward), ("backward", guarded_backward)):
            if name in cls.__dict__:
                setattr(cls, name, guard(cls.__dict__[name]))

    def __setattr__(self, name: str, value: Any) -> None:
        if name in DICTS and value is not vars(self)[name]:
            raise TypeError(f"{type(self).__name__}: assign to the names in {name}, as in self.{name}[...] = value")
        super().__setattr__(name, value)
        if name in HOW_IT_RUNS and self.built:
            Layer.revision += 1

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        if name in HOW_IT_RUNS:
            Layer.revision += 1

    def _from_the_end(self) -> Iterator[Layer]:
        """Give the layers whose work the output is, the last first, as far as they come one after the other."""
        yield self

    def _owners(self, names: Iterable[str]) -> list[tuple[Layer, str]]:
        """The layer that has each of these parameters, and its name there."""
        layers, owners = dict(self.walk()), []
        for name in names:
            if not isinstance(name, str):
                raise TypeError(f"{self.who}: parameters are frozen by name, such as 'W'; got {name!r}")
            where, _, own = name.rpartition(".")
            layer = layers.get(where)
            if layer is None or layer.children() or (layer.built and own not in layer.params):
                known = ", ".join(map(repr, self.params)) or "none"
                raise ValueError(f"{self.who} has no parameter {name!r} to freeze; there are {known}")
            owners.append((layer, own))
        return owners

    @property
    def _defines_output_shape(self) -> bool:
        return type(self).output_shape is not Layer.output_shape

    def _built_for(self, x) -> Self:
        """Copy an unbuilt layer that has no parameters, built for this input: it can predict."""
        twin = self.copy()
        twin.build_for(x if isinstance(x, Stored) else as_array(x, self.who))
        if twin.params:
            raise RuntimeError(f"{self.who} has no parameters yet: build or train it before predict()")
        return twin

    def _check_fit(self, shape: tuple[int, ...]) -> None:
        """Refuse inputs that the parameters were not made for."""
        if shape == self.input_shape:
            return
        try:
            self._refuse_other(shape, self.input_shape or ())
        except ValueError as error:
            hint = checks.cure(shape, self.input_shape or ())
            if hint and hint not in str(error):  # a layer within may have said it
                error.args = (f"{error}; {hint}",)
            raise

    def _refuse_other(self, shape: tuple[int, ...], built: tuple[int, ...]) -> None:
        """Refuse a shape that is not the one that it was built for, unless it may have another size."""
        self.output_shape(shape)
        if not (self.resizable and len(shape) == len(built) and shape[-1] == built[-1]):
            raise ValueError(
                f"{self.who} was built for {checks.with_batch(built)}; got shape {checks.with_batch(shape)}"
            )


# What a plan depends on: what somebody may put on the object itself, and what containers hold.
HOW_IT_RUNS = frozenset(("forward", "backward", "predict", "_watch", "fuse", "layers", "body", "shortcut", "branches"))


def runs_alone(layer: Layer) -> bool:
    """Whether somebody has put methods on this one object, or watches it: it joins no neighbour then."""
    d = vars(layer)
    return "forward" in d or "backward" in d or "predict" in d or "_watch" in d

"""Weights from PyTorch and back: each array in the other's shape and order.

PyTorch has channels first, and weights with the outputs first:

    Conv            W (KH, KW, C / groups, F)       weight (F, C / groups, KH, KW)
    ConvTranspose   W (KH, KW, F / groups, C)       weight (C, F / groups, KH, KW)
    Affine          W (D, M)                        weight (M, D)
    norms           gamma, beta                     weight, bias (and running_mean, running_var); ones for no gamma
    PReLU           alpha (C,) or one number        weight (C,) or (1,)

Where images become rows, our Flatten lists the elements in the order (H, W, C) and PyTorch's in the order (C, H, W).
The layer after it (an Affine's inputs, the channels of a BatchNorm) is reordered accordingly, and so are the outputs of
an Affine before a Reshape to images.

PyTorch itself is not needed: a state_dict is taken as a dict of arrays, or as a file of torch.save or safetensors.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from ..layers import (
    Affine,
    BatchNorm,
    Concat,
    Conv,
    ConvTranspose,
    Flatten,
    GroupNorm,
    Layer,
    LayerNorm,
    Multiply,
    PReLU,
    Reshape,
    Residual,
    Sequential,
)
from .state_dict import NAMES, arrays_of, as_finite, by_module, natural

Shape = tuple[int, ...]

SHORTCUTS = {"shortcut", "downsample"}  # ours, and what torchvision calls it


def from_torch(net: Layer, state_dict: Any, names: Iterable[str] | None = None) -> None:
    """Take the weights of a PyTorch net into a built net of the same shape.

    The k-th convolution of one net is matched with the k-th of the other, and so are affine layers and norms. All
    shapes must fit; else nothing is changed, and the error shows both sides.

    Parameters
    ----------
    net : Layer
        Built; it keeps its dtype.
    state_dict : dict of arrays or tensors, or path of a file of torch.save or safetensors
        What `torch_net.state_dict()` gives. Modules with the very names of our layers (as `to_torch` gives them) go by
        name, others by their order. A safetensors file does not keep that order, and neither does a dict read from one
        (an `OrderedDict`, which PyTorch gives, keeps it): there a module goes to the layer of its shapes
        ("downsample" or "shortcut" to that of a shortcut), and modules of equal shapes go in the order of the numbers
        in their names ("layer.2" before "layer.10"). Where no number tells it, `names` must. Float16 and bfloat16 are
        widened.

        A file of torch.save (.pt, .pth, .bin) may hold a training's checkpoint: its only dict of tensors is taken. It
        is a pickle, of which nothing is run: tensors, numbers, text, lists and dicts are read, all else is refused.
        Of names that all begin with "module." (DataParallel) or "_orig_mod." (torch.compile) that is left off.
    names : iterable of str, optional
        The PyTorch modules, one for each layer with parameters in the order of `net.params`, where the order of the
        state_dict is another or unknown. Modules that are not named stay out.

    Raises
    ------
    ValueError
        If layers, parameters or shapes differ; if the order of modules with equal shapes is unknown; if a weight is
        NaN or infinite; if a BatchNorm without a gamma would need one; or the net has no twin in PyTorch.
    TypeError
        If `state_dict` is neither a dict nor a path, or holds something else than real numbers.
    CheckpointError
        If the file is damaged, of neither kind, or holds anything but a state_dict or a checkpoint with one.

    Examples
    --------
    >>> from cnnlayers.layers import Affine
    >>> net = Affine(2)
    >>> net.build((3,), rng=0)
    (2,)
    >>> from_torch(net, {"weight": np.arange(6).reshape(2, 3), "bias": np.zeros(2)})
    >>> net.params["W"].tolist()
    [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    """
    slots = _slots(net, "from_torch")
    if not net.flat_params.flags.writeable:
        raise ValueError(f"from_torch: {net.who} cannot be changed; take the weights before for_inference()")
    arrays, in_order = arrays_of(state_dict)
    modules = by_module(arrays)
    if names is not None:
        chosen = _by_name(slots, modules, names)
    elif set(modules) == {slot.name for slot in slots}:
        chosen = _by_name(slots, modules, [slot.name for slot in slots])
    elif in_order:
        chosen = _by_order(slots, modules)
    else:
        chosen = _by_shape(slots, modules)
    found = [
        (slot.arrays[key], places, as_finite(f"{name}.{key}" if name else key, modules[name][key], net.dtype))
        for slot, name in zip(slots, chosen, strict=True)
        for key, places in slot.places().items()
    ]
    for slot, name in zip(slots, chosen, strict=True):
        if isinstance(slot.layer, BatchNorm) and not slot.layer.scale and (modules[name]["weight"] != 1).any():
            raise ValueError(
                f"from_torch: {slot.name or 'net'}, {slot.layer!r}, has no gamma, and the weight of {name!r} is not "
                "all ones: give the layer scale=True; nothing was changed"
            )
    for ours, places, theirs in found:
        ours.reshape(-1)[places.ravel()] = theirs.ravel()  # ours is a view of the flat array


def to_torch(net: Layer, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Give the weights of a built net in PyTorch's shapes and order: `from_torch`, the other way.

    Parameters
    ----------
    net : Layer
    names : iterable of str, optional
        The PyTorch modules, one for each layer with parameters in the order of `net.params`. By default the names are
        those of `net.params`, which are also those that nested `torch.nn.Sequential` have.

    Returns
    -------
    arrays : dict
        For `torch_net.load_state_dict({name: torch.from_numpy(a) for name, a in arrays.items()})`.

    Raises
    ------
    ValueError
        If a layer has no twin in PyTorch, or `names` are not as many as the layers with parameters.
    TypeError
        If `net` is no net of this package.

    Examples
    --------
    >>> from cnnlayers.layers import Conv
    >>> net = Sequential([Conv(8, (5, 3))], input_shape=(9, 9, 4), rng=0)
    >>> {name: array.shape for name, array in to_torch(net).items()}
    {'0.weight': (8, 4, 5, 3), '0.bias': (8,)}
    """
    slots = _slots(net, "to_torch")
    modules = [slot.name for slot in slots] if names is None else list(names)
    if len(modules) != len(slots):
        raise ValueError(f"to_torch: names must be {len(slots)}, one for each of\n{_table(slots)}\ngot {modules}")
    made = {}
    for name, slot in zip(modules, slots, strict=True):
        for key, places in slot.places().items():
            made[f"{name}.{key}" if name else key] = slot.arrays[key].reshape(-1)[np.ascontiguousarray(places)]
    return made


# Our side


@dataclass(eq=False)
class Features:
    """The elements of a row: the shape of the image that they were before Flatten, or become by Reshape, if any."""

    image: Shape | None = None

    def order(self, count: int) -> np.ndarray:
        """Our index of each feature, in PyTorch's order: channels first."""
        image = self.image or (count,)
        return np.moveaxis(np.arange(count).reshape(image), -1, 0).ravel()


@dataclass
class Slot:
    """A layer with parameters: its place in the net, and its arrays by PyTorch's names."""

    name: str
    layer: Layer
    inputs: Features  # of an Affine's or a norm's rows
    outputs: Features
    arrays: dict[str, np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        own = {**self.layer.params, **self.layer.state}
        if isinstance(self.layer, BatchNorm) and not self.layer.scale:
            own = {"gamma": self.layer.factors()} | own  # PyTorch's norms have weight and bias, or neither
        self.arrays = {NAMES[key]: array for key, array in own.items()}
        if isinstance(self.layer, PReLU):
            self.arrays["weight"] = self.layer.params["alpha"].reshape(-1)  # a view: (1, 1, C) becomes (C,)

    @property
    def kind(self) -> str:
        """Conv, affine, norm or slopes."""
        return _kind(self.arrays)

    def places(self) -> dict[str, np.ndarray]:
        """For each of PyTorch's arrays, in its shape, the index of each element in ours."""
        return {key: self._place(np.arange(array.size).reshape(array.shape)) for key, array in self.arrays.items()}

    def _place(self, at: np.ndarray) -> np.ndarray:
        if at.ndim > 2:
            return np.moveaxis(at, (-1, -2), (0, 1))  # a convolution's weights
        at = at[..., self.outputs.order(at.shape[-1])]
        return at[self.inputs.order(len(at))].T if at.ndim == 2 else at


class _Walk:
    """Visits a net in the order of its computation and tracks the features of rows."""

    def __init__(self, who: str) -> None:
        self.who = who
        self.slots: list[Slot] = []

    def visit(self, name: str, layer: Layer, features: Features) -> Features:
        """Note the layer's arrays; give the features of its output, from those of its input."""
        if isinstance(layer, Sequential):
            for key, inner in layer.children().items():
                features = self.visit(f"{name}.{key}" if name else key, inner, features)
            return features
        if isinstance(layer, Residual):
            ways = [self.visit(f"{name}.{key}" if name else key, f, features) for key, f in layer.children().items()]
            return self.same(ways[0], ways[1] if len(ways) > 1 else features)
        if isinstance(layer, Concat):
            ways = [self.visit(f"{name}.{key}" if name else key, f, features) for key, f in layer.children().items()]
            if any(way.image is not None and len(way.image) > 1 for way in ways):
                raise ValueError(f"{self.who}: {name}, a Concat of flattened images, has no order in PyTorch")
            return Features()
        if isinstance(layer, Multiply):
            ways = [self.visit(f"{name}.{key}" if name else key, f, features) for key, f in layer.children().items()]
            outs = [
                f.output_shape(f.input_shape) for f in layer.branches
            ]  # what is not stretched has the features of y
            alike = [way for way, out in zip(ways, outs, strict=True) if out == layer.output_shape(layer.input_shape)]
            return functools.reduce(self.same, alike, Features())
        if isinstance(layer, Affine):
            return self.note(name, layer, features, Features())
        if isinstance(layer, Conv | ConvTranspose):
            return self.note(name, layer, Features(), Features())
        if isinstance(layer, BatchNorm | LayerNorm | GroupNorm):
            if isinstance(layer, GroupNorm) and features.image is not None and layer.groups > 1:
                raise ValueError(f"{self.who}: {name}, a GroupNorm of flattened images, has other groups in PyTorch")
            return self.note(name, layer, features, features)
        if isinstance(layer, PReLU) and layer.params["alpha"].shape[-1] == layer.params["alpha"].size:
            own = features if layer.params["alpha"].size > 1 else Features()
            self.note(name, layer, own, own)
            return features
        if layer.params or layer.state:
            raise ValueError(f"{self.who}: {name}, {layer!r}, has no twin in PyTorch that is known here")
        return self.reshaped(name, layer, features)

    def note(self, name: str, layer: Layer, inputs: Features, outputs: Features) -> Features:
        if layer.params:
            self.slots.append(Slot(name, layer, inputs, outputs))
        return outputs

    def reshaped(self, name: str, layer: Layer, features: Features) -> Features:
        """Give the features after a layer without parameters."""
        before: Shape = layer.input_shape
        after = tuple(layer.output_shape(before))
        if isinstance(layer, Flatten | Reshape) and len(before) > 1 and len(after) > 1 and before != after:
            raise ValueError(f"{self.who}: {name}, {layer!r} of {before}, gives other numbers in PyTorch")
        if len(before) > 1 and len(after) == 1 and prod(before) == prod(after):
            return Features(before)
        if len(before) == 1 and len(after) > 1:
            self.same(features, Features(after))
            return Features()
        return features if before == after else Features()

    def same(self, one: Features, other: Features) -> Features:
        """Treat two names as the same features from now on."""
        if one.image and other.image and one.image != other.image:
            raise ValueError(f"{self.who}: rows that are {one.image} are also {other.image}: no order fits both")
        one.image = one.image or other.image
        for slot in self.slots:
            slot.inputs = one if slot.inputs is other else slot.inputs
            slot.outputs = one if slot.outputs is other else slot.outputs
        return one


def _slots(net: Layer, who: str) -> list[Slot]:
    if not isinstance(net, Layer):
        raise TypeError(f"{who} needs a net of cnnlayers; got {type(net).__name__}")
    net.require_built()
    walk = _Walk(who)
    walk.visit("", net, Features())
    return walk.slots


def _kind(arrays: Mapping[str, np.ndarray]) -> str:
    """Of what kind a layer with these arrays is, on either side."""
    axes = arrays["weight"].ndim if "weight" in arrays else 1
    if axes > 1:
        return "affine" if axes == 2 else f"convolution in {axes - 2}-D"
    if "running_mean" in arrays:
        return "norm with running statistics"
    return "norm" if "bias" in arrays else "slopes"


# Matching


def _by_shape(slots: list[Slot], modules: dict[str, dict[str, np.ndarray]]) -> list[str]:
    """The module of each layer: the one of its shapes, or the next of them by number."""
    names = sorted(modules, key=natural)
    ours = [(_signature(slot.places()), _of_shortcut(slot.name)) for slot in slots]
    theirs = [(_signature(modules[name]), _of_shortcut(name)) for name in names]
    if Counter(ours) != Counter(theirs):  # what is called a shortcut here is none there
        ours, theirs = [(shapes, False) for shapes, _ in ours], [(shapes, False) for shapes, _ in theirs]
    if Counter(ours) != Counter(theirs):
        return _by_order(slots, {name: modules[name] for name in names})  # which shows it
    waiting: dict[tuple, list[str]] = {}
    for name, like in zip(names, theirs, strict=True):
        waiting.setdefault(like, []).append(name)
    for alike in waiting.values():
        for one, other in pairwise(alike):
            if not _told_by_number(one, other):
                raise ValueError(
                    f"from_torch: which of {one!r} and {other!r} comes first? Both have {_shapes(_sizes(modules[one]))}"
                    f", and neither their names nor a safetensors file tell it (nor a dict read from one): pass "
                    f"names=[...], one of {names} for each of\n{_table(slots)}\n"
                    "or pass the OrderedDict that state_dict() gives"
                )
    return _checked(slots, modules, [waiting[like].pop(0) for like in ours], [])


def _of_shortcut(name: str) -> bool:
    """Whether a name says that the layer is in a residual block's shortcut."""
    return not SHORTCUTS.isdisjoint(name.split("."))


def _told_by_number(one: str, other: str) -> bool:
    """Whether two names differ first in a number."""
    pairs = zip(natural(one), natural(other), strict=False)
    return next((a[0] == b[0] == 1 for a, b in pairs if a != b), False)


def _signature(arrays: Mapping[str, np.ndarray]) -> tuple:
    return tuple(sorted(_sizes(arrays).items()))


def _sizes(arrays: Mapping[str, np.ndarray]) -> dict[str, Shape]:
    return {key: array.shape for key, array in arrays.items()}


def _by_order(slots: list[Slot], modules: dict[str, dict[str, np.ndarray]]) -> list[str]:
    """The module of each layer: the next of its kind."""
    waiting: dict[str, list[str]] = {}
    for name, arrays in modules.items():
        waiting.setdefault(_kind(arrays), []).append(name)
    chosen: list[str | None] = []
    for slot in slots:
        queue = waiting.get(slot.kind, [])
        chosen.append(queue.pop(0) if queue else None)
    left = [name for queue in waiting.values() for name in queue]
    return _checked(slots, modules, chosen, left)


def _by_name(slots, modules, names: Iterable[str]) -> list[str]:
    """The modules that the caller names."""
    given = list(names)
    if len(given) != len(slots) or not set(given) <= set(modules):
        raise ValueError(
            f"from_torch: names must be modules of the state_dict, one for each of\n{_table(slots)}\n"
            f"got {given}; there are {list(modules)}"
        )
    return _checked(slots, modules, given, [])


def _checked(slots, modules, chosen: Sequence[str | None], left: list[str]) -> list[str]:
    """The pairs, if all fit; else an error that shows them."""
    lines = [f"  {'needed':<58}  came"]
    fits = not left
    for slot, name in zip(slots, chosen, strict=True):
        needed = {key: places.shape for key, places in slot.places().items()}
        came = {} if name is None else {key: array.shape for key, array in modules[name].items()}
        fits = fits and needed == came
        theirs = f"{name!r} {_shapes(came)}" if name is not None else "nothing of this kind"
        lines.append(f"{' ' if needed == came else '*'} {_line(slot):<58}  {theirs}")
    for name in left:
        lines.append(f"* {'nothing':<58}  {name!r} {_shapes({k: a.shape for k, a in modules[name].items()})}")
    if not fits:
        raise ValueError("from_torch: the nets differ (*), and nothing was changed\n" + "\n".join(lines))
    return [name for name in chosen if name is not None]


def _line(slot: Slot) -> str:
    return f"{slot.name or 'net'}: {slot.layer!r} {_shapes({key: at.shape for key, at in slot.places().items()})}"


def _table(slots: list[Slot]) -> str:
    return "\n".join(f"  {_line(slot)}" for slot in slots)


def _shapes(shapes: Mapping[str, Shape]) -> str:
    return ", ".join(f"{key} {shape}" for key, shape in shapes.items())

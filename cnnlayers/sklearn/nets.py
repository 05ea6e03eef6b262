"""The net of an estimator: of an architecture's name or function, for samples of a shape and a number of outputs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from ..checks import with_batch
from ..command.factories import MODELS, model_for
from ..layers import Affine, Flatten, Layer, Normalize, ReLU, Sequential

__all__ = ["make_net"]

Scale = tuple[np.ndarray, np.ndarray]  # mean and deviation of each channel


def mlp(input_shape: tuple[int, ...], outputs: int, **build: Any) -> Sequential:
    """Build a net of one hidden layer, for rows of features."""
    return Sequential([Flatten(), Affine(100), ReLU(), Affine(outputs)], input_shape=input_shape, **build)


BY_NAME: dict[str, Callable[..., Any]] = {"mlp": mlp} | {model.__name__: model for model in MODELS.values()}


def make_net(
    who: str, architecture: Any, shape: tuple[int, ...], outputs: int, scale: Scale | None, rng: Any, dtype: Any
) -> Sequential:
    """Build the net, with a Normalize in front if there is a `scale`.

    A Normalize that begins a net of `cl.models` gives way to it; a net of the user's that begins with one is left as it
    is.
    """
    function = _function(who, architecture, shape)
    try:
        layers = _layers(who, _call(function, shape, outputs, {"rng": rng, "dtype": dtype}), dtype)
        own = isinstance(layers[0], Normalize)
        if scale is not None and (isinstance(architecture, str) or not own):
            layers = [Normalize(*scale), *layers[1 if own else 0 :]]
        net = Sequential(layers, input_shape=shape, rng=rng, dtype=dtype)
    except ValueError as error:
        if len(shape) == 1:
            error.add_note(f"{who}: if these rows are images, say image_shape=(H, W, C)")
        raise
    found = net.output_shape(shape)
    if found != (outputs,):
        raise ValueError(
            f"{who}: the architecture must give {outputs} outputs, {with_batch((outputs,))}; it gives "
            f"{with_batch(found)}"
        )
    return net


def _function(who: str, architecture: Any, shape: tuple[int, ...]) -> Callable[..., Any]:
    """The function f(input_shape, outputs) that an architecture stands for."""
    if isinstance(architecture, str):
        name = architecture
        if name == "auto":
            name = "mlp" if len(shape) == 1 else MODELS[model_for(shape)].__name__
        if name not in BY_NAME:
            raise ValueError(f"{who}: architecture must be 'auto', {', '.join(map(repr, BY_NAME))}; got {name!r}")
        return BY_NAME[name]
    if isinstance(architecture, Layer) or not callable(architecture):
        raise TypeError(
            f"{who}: architecture must be a name, or a function f(input_shape, outputs) that gives a net or a list of "
            f"layers; got {architecture!r}"
        )
    return architecture


def _call(function: Callable[..., Any], shape: tuple[int, ...], outputs: int, build: dict[str, Any]) -> Any:
    """Call it, with `rng` and `dtype` if it takes them."""
    try:
        parameters = dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # a function in C may not say
        parameters = {}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return function(shape, outputs, **{k: v for k, v in build.items() if takes_any or k in parameters})


def _layers(who: str, given: Any, dtype: Any) -> list[Layer]:
    """Copies of a net's layers, which keep their values if it is built: the function may give the same net again."""
    net = Sequential(given) if isinstance(given, list | tuple) else given
    if not isinstance(net, Layer):
        raise TypeError(f"{who}: the function of the architecture must give a net or a list of layers; got {given!r}")
    if net.built and net.dtype != np.dtype(dtype):
        net = net.astype(dtype)
    return [layer.copy() for layer in (net.layers if type(net) is Sequential else [net])]

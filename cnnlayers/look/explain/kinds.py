"""What the page must know of each layer to compute one number of its output: a function for each, and their table.

The page's own half is `page/layers.js`, which has a rule for each `kind` that is named here.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from ... import kernels, layers
from ...geometry import Window
from ...layers.container import fresh
from ...layers.layer import Layer

Described = dict[str, Any]

PASSES = ("forward", "backward")
AT_A_TIME = 256  # bright pixels that go through a layer together
MOST_ENTRIES = 50_000_000  # of a resampling's matrix, zeros included


def describe(layer: Layer, x: np.ndarray, train: bool) -> Described:
    """Say how a layer has computed its output from x, in the forward pass that it has just made.

    Parameters
    ----------
    layer : Layer
        No container; its backward is still to come.
    x : array (N, ...)
        What it was given.
    train : bool
        Whether it was told so.

    Returns
    -------
    dict
        `kind`, and what the rule of this kind in the page needs: numbers, lists, arrays. A layer that has its own
        forward or backward, as a user's, is "opaque": its numbers are shown and not explained.
    """
    known = next((base for base in type(layer).__mro__ if base in TABLE), None)
    if known is None or any(getattr(layer, name) != getattr(known, name).__get__(layer) for name in PASSES):
        return {"kind": "opaque"}
    return TABLE[known](layer, x, train)


def _conv(layer: Any, x: np.ndarray, train: bool) -> Described:
    return {"kind": "conv", "groups": layer.groups, "axes": _axes(layer.window(x.shape[1:]))}


def _conv_transpose(layer: Any, x: np.ndarray, train: bool) -> Described:
    """The window lies on the output; its positions are the pixels of the input."""
    return {"kind": "conv_transpose", "groups": layer.groups, "axes": _axes(layer.window(x.shape[1:]))}


def _axes(window: Window) -> list[dict[str, int]]:
    """Both spatial axes of an image; a signal is one pixel high."""
    names = ("size", "kernel", "stride", "before", "dilation", "out")
    return [{name: getattr(axis, name) for name in names} for axis in window.as_image().axes]


def _max_pool(layer: Any, x: np.ndarray, train: bool) -> Described:
    return {"kind": "max", "axes": _axes(layer.window(x.shape[1:]))}


def _global_max_pool(layer: Any, x: np.ndarray, train: bool) -> Described:
    sizes = x.shape[1:-1] if x.ndim == 4 else (1, *x.shape[1:-1])
    fixed = {"stride": 1, "before": 0, "dilation": 1, "out": 1}
    return {"kind": "max", "axes": [{"size": size, "kernel": size} | fixed for size in sizes]}


def _moved(layer: Any, x: np.ndarray, train: bool) -> Described:
    """A layer that moves numbers: each output is one of the input, or a constant. 1, 2, 3, ... show which."""
    shape = x.shape[1:]
    constant = layer.predict(np.zeros((1, *shape))).reshape(-1)
    number = layer.predict(np.arange(1.0, np.prod(shape) + 1).reshape(1, *shape)).reshape(-1)
    (rows,) = np.nonzero(number != constant)
    return _sparse(rows, number[rows].astype(int) - 1, np.ones(len(rows)), constant)


def _resampled(layer: Any, x: np.ndarray, train: bool) -> Described:
    """A layer that does the same with each channel: y = M x + c, column p of M being what it makes of one bright pixel.

    So no layer's rule is written down twice.
    """
    *sizes, channels = x.shape[1:]
    one = fresh(layer)
    one.build((*sizes, 1), dtype=np.float64)
    pixels, made = prod(sizes), prod(one.output_shape((*sizes, 1)))
    if pixels * made > MOST_ENTRIES:
        raise ValueError(f"explain is for small nets: {layer!r} on {x.shape[1:]} makes {made:,} of {pixels:,} pixels")
    constant = one.predict(np.zeros((1, *sizes, 1))).reshape(-1)
    found: list[tuple[np.ndarray, ...]] = [(np.zeros(0, int), np.zeros(0, int), np.zeros(0))]
    for start in range(0, pixels, AT_A_TIME):
        bright = np.eye(min(AT_A_TIME, pixels - start), pixels, start)
        given = one.predict(bright.reshape(-1, *sizes, 1)).reshape(len(bright), -1) - constant
        pixel, position = np.nonzero(given)
        found.append((position, pixel + start, given[pixel, position]))
    position, pixel, entry = (np.concatenate(each) for each in zip(*found, strict=True))
    channel = np.arange(channels)
    rows, columns = ((of[:, np.newaxis] * channels + channel).reshape(-1) for of in (position, pixel))
    return _sparse(rows, columns, np.repeat(entry, channels), np.repeat(constant, channels))


def _sparse(rows: np.ndarray, columns: np.ndarray, entries: np.ndarray, constant: np.ndarray) -> Described:
    """A matrix by its entries that are not 0, row after row, and what is added to its product with x."""
    order = np.argsort(rows, kind="stable")
    return {
        "kind": "fixed",
        "starts": np.searchsorted(rows[order], np.arange(len(constant) + 1)).astype(np.int32),
        "columns": columns[order].astype(np.int32),
        "entries": entries[order],
        "constant": constant,
    }


def _batch_norm(layer: Any, x: np.ndarray, train: bool) -> Described:
    told = {"kind": "norm", "over": "batch", "eps": layer.eps}
    if not layer.learns_from(x, train):
        told |= {"mean": layer.state["running_mean"].copy(), "var": layer.state["running_var"].copy()}
    return told


def _layer_norm(layer: Any, x: np.ndarray, train: bool) -> Described:
    return {"kind": "norm", "over": "position", "eps": layer.eps}


def _group_norm(layer: Any, x: np.ndarray, train: bool) -> Described:
    return {"kind": "norm", "over": "groups", "groups": layer.groups, "eps": layer.eps}


def _normalize(layer: Any, x: np.ndarray, train: bool) -> Described:
    shape = x.shape[-1:]
    mean, std = (np.broadcast_to(np.asarray(value, float), shape) for value in (layer.mean, layer.std))
    return {"kind": "normalize", "mean": mean.copy(), "std": std.copy()}


def _scale(layer: Any, x: np.ndarray, train: bool) -> Described:
    if layer.factor is not None:
        return {"kind": "scale", "factor": layer.factor}
    return {"kind": "scale", "at": _places(next(iter(layer.params.values())), x)}


def _prelu(layer: Any, x: np.ndarray, train: bool) -> Described:
    return {"kind": "prelu", "at": _places(layer.params["alpha"], x)}


def _places(parameter: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Which number of a parameter goes with each number of a sample."""
    numbered = np.arange(parameter.size, dtype=np.int32).reshape(parameter.shape)
    return np.broadcast_to(numbered, x.shape[1:]).reshape(-1).copy()


def _dropout(layer: Any, x: np.ndarray, train: bool) -> Described:
    """The factors that it drew: 0, or 1 / (1 - p)."""
    (key,) = layer._kept  # its backward has not taken it yet
    if key is None:
        return {"kind": "mask", "factors": np.ones(x.shape)}
    if isinstance(layer, layers.Dropout):
        return {"kind": "mask", "factors": kernels.dropout(np.ones(x.shape), layer.p, key)}
    return {"kind": "mask", "factors": kernels.scale_channels(np.ones(x.shape), layer._factors(x, key))}


def _pointwise(function: str, *names: str) -> Callable[[Any, np.ndarray, bool], Described]:
    """A function of one number, with these of the layer's arguments."""

    def tell(layer: Any, x: np.ndarray, train: bool) -> Described:
        return {"kind": "pointwise", "function": function} | {name: getattr(layer, name) for name in names}

    return tell


def _gelu(layer: Any, x: np.ndarray, train: bool) -> Described:
    return {"kind": "pointwise", "function": "gelu" if layer.approximate == "none" else "gelu_tanh"}


def _softmax(layer: Any, x: np.ndarray, train: bool) -> Described:
    return {"kind": "softmax"}


TABLE: dict[type, Callable[[Any, np.ndarray, bool], Described]] = {
    layers.Affine: lambda layer, x, train: {"kind": "affine"},
    layers.Conv: _conv,
    layers.ConvTranspose: _conv_transpose,
    layers.MaxPool: _max_pool,
    layers.GlobalMaxPool: _global_max_pool,
    **dict.fromkeys((layers.AvgPool, layers.GlobalAvgPool, layers.Upsample, layers.Resize), _resampled),
    **dict.fromkeys((layers.Flatten, layers.Reshape, layers.Permute, layers.Slice, layers.Pad), _moved),
    layers.BatchNorm: _batch_norm,
    layers.LayerNorm: _layer_norm,
    **dict.fromkeys((layers.GroupNorm, layers.InstanceNorm), _group_norm),
    layers.Normalize: _normalize,
    layers.Scale: _scale,
    layers.PReLU: _prelu,
    **dict.fromkeys((layers.Dropout, layers.SpatialDropout), _dropout),
    layers.ReLU: _pointwise("relu"),
    layers.LeakyReLU: _pointwise("leaky_relu", "alpha"),
    layers.ELU: _pointwise("elu", "alpha"),
    layers.GELU: _gelu,
    layers.SiLU: _pointwise("silu"),
    layers.Sigmoid: _pointwise("sigmoid"),
    layers.Tanh: _pointwise("tanh"),
    layers.Softplus: _pointwise("softplus"),
    layers.Reciprocal: _pointwise("reciprocal"),
    **dict.fromkeys((layers.Clip, layers.ReLU6), _pointwise("clip", "low", "high")),
    layers.HardSigmoid: _pointwise("hard_sigmoid", "alpha", "beta"),
    layers.HardSwish: _pointwise("hard_swish"),
    layers.Softmax: _softmax,
}

"""A net made ready for prediction: what training needs is folded away."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import kernels
from ..plan import Plan, PredictionPlan
from .affine import Affine
from .batch_norm import BatchNorm
from .concat import Concat
from .conv import Conv
from .dropout import Dropout, SpatialDropout
from .layer import Layer
from .multiply import Multiply
from .residual import Residual
from .scale import Scale
from .sequential import Sequential


class InferenceNet(Sequential):
    """An immutable net that predicts: what `net.for_inference()` gives.

    Each BatchNorm that comes after a Conv is folded into it. At inference, with the running mean and variance, and
    s = gamma / sqrt(var + eps),

        gamma (x ⋆ W + b - mean) / sqrt(var + eps) + beta = x ⋆ (W s) + (b - mean) s + beta

    so the two are one convolution. So it is with a Scale of channels, or by a fixed factor, whose s is gamma or the
    factor and whose mean is 0; also after an Affine. Dropout is left out. The arrays are read-only, and the weights of
    each Conv and Affine are packed in the kernel's order, once: its step uses them as `packed`.

    The first batch of a shape makes a program of the steps (`plan.program`): the calls of kernels, and where in one
    block of memory each value lies. Each batch of that shape is then one call, with no Python between the layers; any
    number of threads may call at once. `cnnlayers.show_plan(net, batch_size)` prints it.
    """

    _whole = False

    def __setattr__(self, name: str, value: Any) -> None:
        if self._whole and name in ("layers", "fuse", "trainable"):
            raise AttributeError(f"this net was made by for_inference(): its {name} cannot be set")
        super().__setattr__(name, value)

    def _make_plan(self) -> Plan:
        return PredictionPlan(self)

    def forward(self, x, train=True):
        raise RuntimeError("this net was made by for_inference(): it can predict(), not train")

    def _gather(self) -> None:
        super()._gather()
        for _, layer in self.walk():
            for array in (*layer.params.values(), *layer.state.values(), *layer._flat):
                array.flags.writeable = False
            if type(layer) in (Affine, Conv):
                layer.packed = kernels.PackedWeights()


def for_inference(net: Layer) -> InferenceNet:
    """Copy a built net for prediction; it agrees with `net.predict` but for rounding."""
    net.require_built()
    body = _prepared(net)
    layers = body.layers if type(body) is Sequential else [body]
    for layer in layers:
        layer._owned = False
    made = InferenceNet(layers, input_shape=net.input_shape, dtype=net.dtype)
    made.classes = getattr(net, "classes", None)
    made._whole = True
    return made


def _prepared(layer: Layer) -> Layer:
    """A copy of the layer, folded within."""
    if type(layer) is Residual:
        return Residual(_prepared(layer.body), None if layer.shortcut is None else _prepared(layer.shortcut))
    if type(layer) is Concat or type(layer) is Multiply:
        return type(layer)([_prepared(branch) for branch in layer.branches])
    if type(layer) is not Sequential:
        return layer.copy()
    kept: list[Layer] = []
    for inner in layer.layers:
        before = kept[-1] if kept else None
        if type(before) is Conv and type(inner) is BatchNorm:
            kept[-1] = _with_norm(before, inner)
        elif type(before) in (Affine, Conv) and type(inner) is Scale and _is_of_channels(inner):
            factor = 1 if inner.factor is None else inner.factor
            kept[-1] = _folded(before, inner.params.get("gamma", factor), 0, inner.params.get("beta", 0))
        elif type(inner) not in (Dropout, SpatialDropout):
            kept.append(_prepared(inner))
    return Sequential(kept)


def _with_norm(conv: Conv, norm: BatchNorm) -> Conv:
    s = norm.factors() / np.sqrt(norm.state["running_var"] + norm.dtype.type(norm.eps))
    return _folded(conv, s, norm.state["running_mean"], norm.params["beta"])


def _is_of_channels(scale: Scale) -> bool:
    """Whether it does the same at each position."""
    return scale.shape is None or scale.factor is not None or set(scale.shape[:-1]) <= {1}


def _folded(layer: Any, s: Any, mean: Any, beta: Any) -> Any:
    """One Conv or Affine that gives s (y - mean) + beta, y being what this one gives."""
    made = type(layer)(**(layer.config() | {"bias": True, "init": "zeros"}))
    made.build(layer.input_shape, dtype=layer.dtype)
    b = layer.params["b"] if layer.bias else np.zeros_like(made.params["b"])
    made.params["W"] = layer.params["W"] * np.reshape(s, -1)
    made.params["b"] = (b - mean) * np.reshape(s, -1) + np.reshape(beta, -1)
    return made

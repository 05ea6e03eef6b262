"""Which nodes each layer becomes in an ONNX file: a function (graph, layer, x) -> y for each, and their table.

A layer says in which order it needs the axes, by `graph.first(x)` or `graph.last(x)`; where it takes either, it keeps
the order that comes. Sizes and padding are written as numbers, as `geometry` has computed them: no `auto_pad` and no
`ceil_mode`, of which runtimes have had several readings.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ...geometry import Window
from ...layers import (
    ELU,
    GELU,
    Affine,
    AvgPool,
    BatchNorm,
    Clip,
    Concat,
    Conv,
    ConvTranspose,
    Dropout,
    Flatten,
    GlobalAvgPool,
    GlobalMaxPool,
    GroupNorm,
    HardSigmoid,
    HardSwish,
    InstanceNorm,
    Layer,
    LayerNorm,
    LeakyReLU,
    MaxPool,
    Multiply,
    Normalize,
    Pad,
    Permute,
    PReLU,
    Reciprocal,
    ReLU,
    ReLU6,
    Reshape,
    Residual,
    Resize,
    Scale,
    Sequential,
    Sigmoid,
    SiLU,
    Slice,
    Softmax,
    Softplus,
    SpatialDropout,
    Tanh,
    Upsample,
)
from ...layers.inference import InferenceNet
from .elementwise import clip, gelu, hard_swish, operator, prelu, scale, scale_or_fixed, silu, softmax
from .graph import Graph, Value, Writer
from .resize import resize

# Containers


def sequential(graph: Graph, net: Layer, x: Value) -> Value:
    """Write y = f_k(... f_1(x))."""
    for key, layer in net.children().items():
        x = graph.layer(key, layer, x)
    return x


def residual(graph: Graph, net: Layer, x: Value) -> Value:
    """Write y = body(x) + shortcut(x)."""
    body, *around = _branches(graph, net, x)
    return graph.add("Add", body, *_alike(graph, around or [x], body))


def concat(graph: Graph, net: Layer, x: Value) -> Value:
    """Write y = the channels of all branches."""
    branches = _in_one_order(graph, _branches(graph, net, x))
    shape = (*branches[0].shape[:-1], sum(y.shape[-1] for y in branches))
    return graph.add("Concat", *branches, shape=shape, axis=branches[0].channel_axis)


def multiply(graph: Graph, net: Layer, x: Value) -> Value:
    """Write y = the product of all branches."""
    y, *others = _in_one_order(graph, _branches(graph, net, x))
    for other in others:
        y = graph.add("Mul", y, other, shape=np.broadcast_shapes(y.shape, other.shape))
    return y


def _in_one_order(graph: Graph, branches: list[Value]) -> list[Value]:
    """The branches with their channels first, if one of them has them there."""
    return _alike(graph, branches, next((y for y in branches if y.first), branches[0]))


def _branches(graph: Graph, net: Layer, x: Value) -> list[Value]:
    return [graph.layer(key, layer, x) for key, layer in net.children().items()]


def _alike(graph: Graph, values: list[Value], like: Value) -> list[Value]:
    """The values in the order of axes of one of them."""
    return [graph.first(value) if like.first else graph.last(value) for value in values]


# Maps with parameters


def affine(graph: Graph, layer: Affine, x: Value) -> Value:
    """Write y = x W + b."""
    return graph.add("Gemm", x, *_weights(graph, layer, layer.params["W"]), shape=(layer.units,))


def conv(graph: Graph, layer: Conv, x: Value) -> Value:
    """Write y = x ⋆ W + b, with W (F, C / groups, KH, KW)."""
    window = layer.window(x.shape)
    return _convolution("Conv", graph, layer, x, window, shape=(*window.out, layer.filters))


def conv_transpose(graph: Graph, layer: ConvTranspose, x: Value) -> Value:
    """Write the transpose of a convolution, with W (C, F / groups, KH, KW)."""
    window = layer.window(x.shape)  # it slides on y
    covered = [(n - 1) * a.stride + a.span for n, a in zip(x.shape, window.axes, strict=False)]
    more = [a.size + a.before + a.after - n for a, n in zip(window.axes, covered, strict=True)]
    shape = (*window.sizes, layer.filters)
    return _convolution("ConvTranspose", graph, layer, x, window, shape=shape, output_padding=more)


def _convolution(op: str, graph: Graph, layer: Conv | ConvTranspose, x: Value, window: Window, **more: Any) -> Value:
    """The node of a convolution, or of the transpose of one."""
    return graph.add(
        op,
        graph.first(x),
        *_weights(graph, layer, np.moveaxis(layer.params["W"], (-1, -2), (0, 1))),
        group=layer.groups,
        **_places(window),
        dilations=[a.dilation for a in window.axes],
        pads=[*(a.before for a in window.axes), *(a.after for a in window.axes)],
        **more,
    )


def _weights(graph: Graph, layer: Any, W: np.ndarray) -> list[str]:
    """The names of W, and of b if there is one."""
    return [graph.array("W", W), *([graph.array("b", layer.params["b"])] if layer.bias else [])]


def _places(window: Window) -> dict[str, list[int]]:
    """Where a window goes, as all operators with windows say it."""
    return {"kernel_shape": list(window.kernel), "strides": [a.stride for a in window.axes]}


# Pools


def max_pool(graph: Graph, layer: MaxPool, x: Value) -> Value:
    """Write y = the maximum of each window."""
    window = layer.window(x.shape)
    pads = _reached(window)
    dilations = [a.dilation for a in window.axes]
    x = graph.first(x)
    if any(
        p >= k for p, k in zip(pads, window.kernel * 2, strict=True)
    ):  # as holes allow it; runtimes refuse it, so a node of its own pads
        x, pads = _padded(graph, x, pads, "constant", -np.inf), [0] * len(pads)
    shape = (*window.out, window.channels)
    return graph.add("MaxPool", x, shape=shape, **_places(window), dilations=dilations, pads=pads)


def avg_pool(graph: Graph, layer: AvgPool, x: Value) -> Value:
    """Write y = the mean of each window.

    ONNX counts either the pixels alone or the padding too. What ceil_mode lets hang over the end counts for ONNX as
    padding, and not for the layer: a factor for each position sets that right. Windows with holes, which ONNX's pool
    has not had from the beginning, are convolutions with equal weights.
    """
    window = layer.window(x.shape)
    shape, size = (*window.out, window.channels), prod(window.kernel)
    pads = _reached(window)
    if any(a.dilation > 1 for a in window.axes):
        W = graph.array("W", np.full((window.channels, 1, *window.kernel), 1 / size))
        options = {"group": window.channels, "dilations": [a.dilation for a in window.axes]}
        y = graph.add("Conv", graph.first(x), W, shape=shape, **_places(window), pads=pads, **options)
    else:
        counted = int(layer.count_include_pad)
        y = graph.add(
            "AveragePool", graph.first(x), shape=shape, **_places(window), pads=pads, count_include_pad=counted
        )
        if not counted:
            return y
    if all(count == a.kernel for a in window.axes for count in a.counts(layer.count_include_pad)):
        return y
    return graph.add("Mul", y, graph.array("factors", size * layer.shares(window)))


def _reached(window: Window) -> list[int]:
    """How far windows reach before x on each axis, then how far beyond its end: with this padding, sizes stay."""
    beyond = ((a.out - 1) * a.stride + a.span - a.before - a.size for a in window.axes)
    return [*(a.before for a in window.axes), *(max(0, n) for n in beyond)]


def global_pool(op: str) -> Writer:
    """Write y = the mean, or the maximum, over all positions."""

    def write(graph: Graph, layer: Layer, x: Value) -> Value:
        return _rows(graph, graph.add(op, graph.first(x), shape=(*[1] * (len(x.shape) - 1), x.shape[-1])))

    return write


def _rows(graph: Graph, x: Value) -> Value:
    return graph.add("Flatten", x, shape=(prod(x.shape),), axis=1)


# Norms


def batch_norm(graph: Graph, layer: BatchNorm, x: Value) -> Value:
    """Write y = gamma (x - mean) / sqrt(var + eps) + beta with the running mean and variance."""
    named = {"gamma": layer.factors(), **layer.params, **layer.state}
    arrays = [graph.array(name, named[name]) for name in ("gamma", "beta", "running_mean", "running_var")]
    return graph.add("BatchNormalization", graph.first(x), *arrays, epsilon=layer.eps)


def layer_norm(graph: Graph, layer: LayerNorm, x: Value) -> Value:
    """Write y = gamma x̂ + beta over the last axis: as one node where there is one that computes in the net's dtype."""
    gamma, beta = layer.params["gamma"], layer.params["beta"]
    if graph.opset >= 17 and graph.dtype == np.float32:
        arrays = graph.array("gamma", gamma), graph.array("beta", beta)
        return graph.add("LayerNormalization", graph.last(x), *arrays, axis=-1, epsilon=layer.eps)
    deviation = graph.add("Sub", x, _channel_mean(graph, x))
    var = _channel_mean(graph, graph.add("Mul", deviation, deviation))
    std = graph.add("Sqrt", graph.add("Add", var, graph.array("eps", layer.eps)))
    return scale(graph, layer, graph.add("Div", deviation, std))


def _channel_mean(graph: Graph, x: Value) -> Value:
    """The mean over the channels, which stay as an axis of 1."""
    shape, axes = (*x.shape[:-1], 1), [x.channel_axis]
    if graph.opset >= 18:
        return graph.add("ReduceMean", x, graph.array("axes", axes, np.int64), shape=shape)
    return graph.add("ReduceMean", x, shape=shape, axes=axes)


def group_norm(graph: Graph, layer: GroupNorm, x: Value) -> Value:
    """Write y = gamma x̂ + beta over groups of channels: each group is one channel of an InstanceNormalization."""
    x = graph.first(x)
    together = graph.array("groups", [0, layer.groups, prod(x.shape) // layer.groups], np.int64)
    apart = graph.array("shape", [0, *x.stored_shape], np.int64)
    grouped = graph.add("Reshape", x, together)
    ones, zeros = graph.array("ones", np.ones(layer.groups)), graph.array("zeros", np.zeros(layer.groups))
    normal = graph.add("InstanceNormalization", grouped, ones, zeros, epsilon=layer.eps)
    return scale(graph, layer, graph.add("Reshape", normal, apart))


def instance_norm(graph: Graph, layer: InstanceNorm, x: Value) -> Value:
    """Write y = gamma x̂ + beta over the positions of each channel."""
    gamma, beta = (graph.array(name, layer.params[name]) for name in ("gamma", "beta"))
    return graph.add("InstanceNormalization", graph.first(x), gamma, beta, epsilon=layer.eps)


def normalize(graph: Graph, layer: Normalize, x: Value) -> Value:
    """Write y = (x - mean) / std."""
    centred = graph.add("Sub", x, graph.by_channel("mean", layer.mean, x))
    return graph.add("Div", centred, graph.by_channel("std", layer.std, x))


# Shapes


def same(graph: Graph, layer: Layer, x: Value) -> Value:
    """Write nothing: y = x, as of Dropout at inference."""
    return x


def flatten(graph: Graph, layer: Flatten, x: Value) -> Value:
    """Write y = x as rows, in the order (h, w, c)."""
    return x if x.rows else _rows(graph, graph.last(x))


def reshape(graph: Graph, layer: Reshape, x: Value) -> Value:
    """Write y = x in another shape, in the order of channels last."""
    shape = layer.output_shape(x.shape)
    return graph.add("Reshape", graph.last(x), graph.array("shape", [0, *shape], np.int64), shape=shape)


def permute(graph: Graph, layer: Permute, x: Value) -> Value:
    """Write y = x with its axes in another order."""
    perm = [0, *(1 + axis for axis in layer.axes)]
    return graph.add("Transpose", graph.last(x), shape=layer.output_shape(x.shape), perm=perm)


def part(graph: Graph, layer: Slice, x: Value) -> Value:
    """Write y = a part of x along one axis."""
    at, far = layer.place(x.shape), np.iinfo(np.int64).max
    ends = (0, far) if layer.step > 0 else (far, -far)
    start, stop = (end if given is None else given for given, end in zip((layer.start, layer.stop), ends, strict=True))
    axis = 1 + at if not x.first else 1 if at == len(x.shape) - 1 else 2 + at
    names = zip(("start", "stop", "axis", "step"), (start, stop, axis, layer.step), strict=True)
    inputs = [graph.array(name, [number], np.int64) for name, number in names]
    return graph.add("Slice", x, *inputs, shape=layer.output_shape(x.shape))


def pad(graph: Graph, layer: Pad, x: Value) -> Value:
    """Write y = x with a border."""
    pads = [side for sides in zip(*layer.pairs(x.shape), strict=True) for side in sides]
    return _padded(graph, graph.first(x), pads, layer.mode, layer.value)


def _padded(graph: Graph, x: Value, pads: list[int], mode: Any, value: float) -> Value:
    """x, which has channels first, with a border: before on each spatial axis, then after on each."""
    rank = len(pads) // 2
    sizes = [n + p + q for n, p, q in zip(x.shape, pads[:rank], pads[rank:], strict=False)]
    inputs = [graph.array("pads", [0, 0, *pads[:rank], 0, 0, *pads[rank:]], np.int64)]
    inputs += [graph.array("value", value)] if mode == "constant" else []
    return graph.add("Pad", x, *inputs, shape=(*sizes, x.shape[-1]), mode=mode)


def upsample(graph: Graph, layer: Upsample, x: Value) -> Value:
    """Write y = x enlarged."""
    shape = layer.output_shape(x.shape)
    factors = [m / n for m, n in zip(shape[:-1], x.shape, strict=False)]
    how = {
        "nearest": {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        "bilinear": {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
    }
    scales = graph.array("scales", [1, 1, *factors], np.float32)
    return graph.add("Resize", graph.first(x), "", scales, shape=shape, **how[layer.mode])


WRITERS: dict[type[Layer], Writer] = {
    Affine: affine,
    AvgPool: avg_pool,
    BatchNorm: batch_norm,
    Clip: clip,
    Concat: concat,
    Conv: conv,
    ConvTranspose: conv_transpose,
    Dropout: same,
    ELU: operator("Elu", "alpha"),
    Flatten: flatten,
    GELU: gelu,
    GlobalAvgPool: global_pool("GlobalAveragePool"),
    GlobalMaxPool: global_pool("GlobalMaxPool"),
    GroupNorm: group_norm,
    HardSigmoid: operator("HardSigmoid", "alpha", "beta"),
    HardSwish: hard_swish,
    InferenceNet: sequential,
    InstanceNorm: instance_norm,
    LayerNorm: layer_norm,
    LeakyReLU: operator("LeakyRelu", "alpha"),
    MaxPool: max_pool,
    Multiply: multiply,
    Normalize: normalize,
    Pad: pad,
    Permute: permute,
    PReLU: prelu,
    ReLU: operator("Relu"),
    ReLU6: clip,
    Reciprocal: operator("Reciprocal"),
    Reshape: reshape,
    Residual: residual,
    Resize: resize,
    Scale: scale_or_fixed,
    Sequential: sequential,
    SiLU: silu,
    Sigmoid: operator("Sigmoid"),
    Slice: part,
    Softmax: softmax,
    Softplus: operator("Softplus"),
    SpatialDropout: same,
    Tanh: operator("Tanh"),
    Upsample: upsample,
}

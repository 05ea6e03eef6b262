"""Operators with weights or windows: convolutions, affine maps, pools."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from ....layers import Affine, AvgPool, Conv, ConvTranspose, GlobalAvgPool, GlobalMaxPool, Layer, MaxPool, Normalize
from .errors import Refused
from .flow import BATCH, Flow, Point, factored, laid, layered, memory_order
from .protobuf import Node
from .reader import Operators, Reader, constant, numbers

Pairs = list[tuple[int, int]]


def images(x: Flow) -> tuple[Point, list[int]]:
    """Images or signals as the layers have them, from ONNX's (N, C, H, W) or (N, C, L); and where the batch is."""
    if x.rank not in (3, 4):
        raise Refused(f"it has {x.rank - 2} spatial axes; the layers here have one or two")
    if x.axes[0] not in (BATCH, ()):
        raise Refused("the samples do not lie along its first axis")
    batch = [0] if x.axes[0] == BATCH else []
    return laid(x, *x.axes[2:], x.axes[1]).point, batch


def maps(point: Point, rank: int, batch: list[int]) -> Flow:
    """What a layer of images gives, as ONNX has it, (N, C, H, W) or (N, C, L)."""
    return factored(point, [None, rank - 2, *range(rank - 2)], *batch)


def simple(values: Sequence[Any]) -> Any:
    """One number, if all are the same; else a tuple."""
    return values[0] if len(set(values)) == 1 else tuple(values)


def padding(pairs: Pairs) -> Any:
    """Padding as one writes it: a number, if all sides are the same, one per axis, or pairs."""
    if len({n for pair in pairs for n in pair}) == 1:
        return pairs[0][0]
    if len(pairs) == 2 and all(before == after for before, after in pairs):
        return tuple(before for before, _ in pairs)
    return pairs


def window(node: Node, x: Flow, kernel: Sequence[int]) -> dict[str, Any]:
    """What convolutions and pools have in common: stride, dilation and padding."""
    rank = len(kernel)
    for name in ("kernel_shape", "strides", "dilations", "output_padding"):
        given = node.get(name, None)
        if given is not None and len(given) != rank:
            raise Refused(f"it needs a number for each of {rank} axes; got {given}", name)
    strides, dilations = node.get("strides", [1] * rank), node.get("dilations", [1] * rank)
    return {
        "stride": simple(strides),
        "dilation": simple(dilations),
        "padding": padding(_pairs(node, [n or 0 for n in x.dims[2:]], kernel, strides, dilations)),
    }


def _pairs(
    node: Node, sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> Pairs:
    """The padding of each axis, before and after."""
    how, rank = node.get("auto_pad", "NOTSET"), len(kernel)
    if how in ("NOTSET", ""):
        pads = node.get("pads", [0] * (2 * rank))
        if len(pads) != 2 * rank or min(pads) < 0:
            raise Refused(f"padding must be two sizes for each axis, none below 0; got {pads}", "pads")
        return list(zip(pads[:rank], pads[rank:], strict=True))
    if how == "VALID":
        return [(0, 0)] * rank
    if how not in ("SAME_UPPER", "SAME_LOWER"):
        raise Refused(f"{how!r} is no way of padding", "auto_pad")
    pairs = []
    for n, k, s, d in zip(sizes, kernel, strides, dilations, strict=True):
        pairs.append(_halves(max(0, (-(-n // s) - 1) * s + d * (k - 1) + 1 - n), how))
    return pairs


def _halves(total: int, how: str) -> tuple[int, int]:
    """Padding before and after: the odd pixel after for SAME_UPPER, else before."""
    less, more = total // 2, total - total // 2
    return (less, more) if how == "SAME_UPPER" else (more, less)


# With weights


def conv(reader: Reader, node: Node, x: Flow, weights: Any, bias: Any = None) -> Flow:
    """Read y = x ⋆ W + b, with W (F, C / groups, KH, KW)."""
    weights, point, batch = _kernel(node, x, weights), *images(x)
    filters, groups = weights.shape[0], node.get("group", 1)
    layer = Conv(
        filters, simple(weights.shape[2:]), groups=groups, bias=bias is not None, **window(node, x, weights.shape[2:])
    )
    return maps(_with_weights(layer, point, node, weights, bias, weights.shape[1] * groups, filters), x.rank, batch)


def conv_transpose(reader: Reader, node: Node, x: Flow, weights: Any, bias: Any = None) -> Flow:
    """Read the transpose of a convolution, with W (C, F / groups, KH, KW)."""
    weights, point, batch = _kernel(node, x, weights), *images(x)
    kernel, groups = weights.shape[2:], node.get("group", 1)
    options = window(node, x, kernel)
    pairs, more = _cut(node, point.shape[:-1], kernel)
    options |= {"padding": padding(pairs), "output_padding": simple(more)}
    filters = weights.shape[1] * groups
    layer = ConvTranspose(filters, simple(kernel), groups=groups, bias=bias is not None, **options)
    return maps(_with_weights(layer, point, node, weights, bias, weights.shape[0], filters), x.rank, batch)


def _cut(node: Node, sizes: Sequence[int], kernel: Sequence[int]) -> tuple[Pairs, list[int]]:
    """What a transposed convolution cuts off each axis, before and after, and what it adds at the end."""
    rank = len(kernel)
    strides, dilations = node.get("strides", [1] * rank), node.get("dilations", [1] * rank)
    more, how = list(node.get("output_padding", [0] * rank)), node.get("auto_pad", "NOTSET")
    wanted = node.get("output_shape", None)
    if wanted is None and how in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [n * s for n, s in zip(sizes, strides, strict=True)]
    if wanted is None:
        return _pairs(node, sizes, kernel, strides, dilations), more
    if len(wanted) < rank:
        raise Refused(f"it needs a size for each of {rank} axes; got {wanted}", "output_shape")
    pairs = []
    for i, (n, k, s, d) in enumerate(zip(sizes, kernel, strides, dilations, strict=True)):
        total = s * (n - 1) + more[i] + d * (k - 1) + 1 - wanted[-rank:][i]
        if total < 0:
            more[i], total = more[i] - total, 0
        pairs.append(_halves(total, how))
    return pairs, more


def _kernel(node: Node, x: Flow, weights: Any) -> np.ndarray:
    weights = constant(weights, "weights")
    if weights.ndim != x.rank:
        raise Refused(f"weights of shape {weights.shape} do not go with an input of {x.rank} axes")
    kernel = node.get("kernel_shape", None)
    if kernel is not None and tuple(kernel) != weights.shape[2:]:
        raise Refused(f"a kernel of {kernel} does not go with weights of shape {weights.shape}", "kernel_shape")
    return weights


def _with_weights(
    layer: Layer, point: Point, node: Node, weights: np.ndarray, bias: Any, channels: int, filters: int
) -> Point:
    """The point of a convolution that takes and gives so many; its weights come with these two axes first."""
    if channels != point.shape[-1]:
        grouped = f" in {node.get('group', 1)} groups" if node.get("group", 1) != 1 else ""
        raise Refused(f"weights of shape {weights.shape} do not go with {point.shape[-1]} channels{grouped}")
    arrays = {"W": np.moveaxis(weights, (0, 1), (-1, -2))}
    if bias is not None:
        arrays["b"] = constant(bias, "bias")
        if arrays["b"].shape != (filters,):
            raise Refused(f"a bias of shape {arrays['b'].shape} does not go with {filters} filters")
    return layered(layer, point, node.name, **arrays)


def gemm(reader: Reader, node: Node, x: Any, weights: Any, bias: Any = None) -> Flow:
    """Read y = alpha x W + beta b, with x or W transposed before."""
    weights = node.get("alpha", 1.0) * constant(weights, "weights")
    if node.get("transB", 0):
        weights = weights.T
    if not isinstance(x, Flow) or x.rank != 2:
        raise Refused("it needs rows")
    if node.get("transA", 0):
        x = x.with_axes(x.axes[::-1])
    beta = node.get("beta", 1.0)
    if bias is None or beta == 0:
        return matmul(reader, node, x, weights)
    bias = beta * constant(bias, "bias").astype(np.float64)
    if bias.size in (1, weights.shape[-1]) and bias.shape[-1:] in ((), (1,), weights.shape[-1:]):
        return _affine(node, x, weights, np.broadcast_to(bias.reshape(-1), weights.shape[-1:]))
    return reader.operators["Add"](reader, node, matmul(reader, node, x, weights), bias)


def matmul(reader: Reader, node: Node, a: Any, b: Any) -> Flow:
    """Read y = a b, where one of the two is a constant matrix, or has one for each place along other axes."""
    if isinstance(a, Flow) and isinstance(b, Flow):
        raise Refused("it multiplies two matrices that both depend on the input")
    if isinstance(a, Flow):
        return _rows_times(node, a, constant(b, "matrix"))
    left = constant(a, "matrix")
    if b.rank == 1 or left.ndim == 1:  # a b = bᵀ aᵀ, and here one of them is a vector
        return _rows_times(node, b if b.rank == 1 else _turned(b), left if left.ndim == 1 else left.swapaxes(-1, -2))
    return _turned(_rows_times(node, _turned(b), left.swapaxes(-1, -2)))


def _turned(x: Flow) -> Flow:
    """The transpose of matrices."""
    return x.with_axes([*x.axes[:-2], x.axes[-1], x.axes[-2]])


def _rows_times(node: Node, x: Flow, weights: np.ndarray) -> Flow:
    """Read y = x W as NumPy multiplies: a vector has one axis less."""
    if weights.ndim == 1:
        y = _rows_times(node, x, weights[:, np.newaxis])
        return y.with_axes(y.axes[:-1])
    if x.rank == 1:
        y = _rows_times(node, x.with_axes([(), *x.axes]), weights)
        return y.with_axes([*y.axes[:-2], y.axes[-1]])
    return _affine(node, x, weights)


def _affine(node: Node, x: Flow, weights: np.ndarray, bias: np.ndarray | None = None) -> Flow:
    """Read y = x W + b along the last axis: Affine of rows, else a convolution of one pixel.

    W may have more axes before. Where x has them too, the matrices are groups of the convolution; where it has not, y
    gets them, as filters.
    """
    rank = max(x.rank, weights.ndim)
    x = x.widened(rank)
    weights = weights.reshape(*[1] * (rank - weights.ndim), *weights.shape)
    several = [k for k in range(rank - 2) if weights.shape[k] != 1]
    shared, new = ([k for k in several if (x.axes[k] == ()) == missing] for missing in (False, True))
    if x.axes[-1] == BATCH:
        raise Refused("it sums over the samples of a batch")
    if any(x.axes[k] == BATCH for k in shared):
        raise Refused("it has a matrix for each sample of a batch")
    if x.dims[-1] != weights.shape[-2] or any(x.dims[k] != weights.shape[k] for k in shared):
        raise Refused(f"weights of shape {weights.shape} do not go with an array of {x.dims}")
    around = [x.axes[k] for k in x.others(*shared, rank - 1) if x.axes[k]]
    order = memory_order(x, rank - 1)
    groups, filters = prod(weights.shape[k] for k in shared), prod(weights.shape[k] for k in (*new, -1))
    if len(around) > 2 or (not around and groups > 1):
        around = [tuple(i for axis in around for i in axis)]
    inputs = sorted(x.axes[-1])
    x = laid(x, *around, [*(i for k in shared for i in x.axes[k]), *inputs])
    kept = [k for k in range(rank - 2) if k not in several]
    matrix = weights[..., order, :].transpose(*kept, rank - 2, *shared, *new, rank - 1)
    arrays = {"W": matrix.reshape(*[1] * len(around), len(order), groups * filters)}
    if bias is not None:
        arrays["b"] = bias
    layer: Layer = Affine(filters, bias=bias is not None)
    if around:
        layer = Conv(groups * filters, 1, groups=groups, bias=bias is not None)
    count = len(x.factors) - len(inputs)
    made = [k for k in (*new, rank - 1) if weights.shape[k] != 1]
    own = {rank - 1: ()} | {k: (count + i,) for i, k in enumerate(made)}
    factors = (*x.factors[:count], *(weights.shape[k] for k in made))
    axes = tuple(own.get(k, axis) for k, axis in enumerate(x.axes))
    return Flow(layered(layer, x.point, node.name, **arrays), factors, axes)


# Pools


def pool(make: Callable[..., Layer], **fixed: Callable[[Node], Any]) -> Callable[..., Flow]:
    """Read a pool with windows."""

    def read(reader: Reader, node: Node, x: Flow) -> Flow:
        point, batch = images(x)
        kernel = node.get("kernel_shape", [])
        if len(kernel) != x.rank - 2:
            raise Refused(f"a window needs a size for each spatial axis; got {kernel}", "kernel_shape")
        options = window(node, x, kernel) | {name: value(node) for name, value in fixed.items()}
        if options["stride"] == simple(kernel):
            del options["stride"]  # windows side by side
        layer = make(simple(kernel), ceil_mode=bool(node.get("ceil_mode", 0)), **options)
        return maps(layered(layer, point, node.name), x.rank, batch)

    return read


def global_pool(make: Callable[[], Layer]) -> Callable[..., Flow]:
    """Read a pool over all positions."""

    def read(reader: Reader, node: Node, x: Flow) -> Flow:
        return reduced(node, x, tuple(range(2, x.rank)), True, make())

    return read


def reduced(node: Node, x: Flow, axes: Sequence[int], keep: bool, layer: Layer) -> Flow:
    """Read what a global pool makes of some axes; they stay with size 1, if `keep` says so."""
    if any(x.axes[k] == BATCH for k in axes):
        raise Refused("it goes over the samples of a batch")
    if any(x.axes[k] for k in axes):
        taken = [k for k in sorted(axes, key=lambda k: min(x.axes[k], default=-1)) if x.axes[k]]
        groups = [x.axes[k] for k in taken] if len(taken) <= 2 else [[i for k in taken for i in x.axes[k]]]
        own = sorted(i for k in x.others(*axes) for i in x.axes[k])
        x = laid(x, *groups, own)
        count = len(x.factors) - len(own)
        left = [() if k in axes else axis for k, axis in enumerate(x.axes)]
        left = [axis if axis == BATCH else tuple(i - count for i in axis) for axis in left]
        x = Flow(layered(layer, x.point, node.name), x.factors[count:], tuple(left))
    return x.with_axes([axis for k, axis in enumerate(x.axes) if keep or k not in axes])


def reduction(make: Callable[[], Layer], total: bool = False) -> Callable[..., Flow]:
    """Read what a global pool makes of some axes, or their sum: of their mean, as many times as they have numbers."""

    def read(reader: Reader, node: Node, x: Flow, axes: Any = None) -> Flow:
        given = numbers(node, "axes", axes)
        if not given and node.get("noop_with_empty_axes", 0):
            return x
        chosen = [x.axis(int(k)) for k in given] if given else list(range(x.rank))
        y = reduced(node, x, chosen, bool(node.get("keepdims", 1)), make())
        count = prod(x.dims[k] or 1 for k in chosen) if total else 1
        return y if count == 1 else y.after(Normalize(0.0, 1 / count), node.name)

    return read


MAPS: Operators = {
    "AveragePool": pool(AvgPool, count_include_pad=lambda node: bool(node.get("count_include_pad", 0))),
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Gemm": gemm,
    "GlobalAveragePool": global_pool(GlobalAvgPool),
    "GlobalMaxPool": global_pool(GlobalMaxPool),
    "MatMul": matmul,
    "MaxPool": pool(MaxPool),
    "ReduceMax": reduction(GlobalMaxPool),
    "ReduceMean": reduction(GlobalAvgPool),
    "ReduceSum": reduction(GlobalAvgPool, total=True),
}

"""How a Resize becomes nodes: ONNX's Resize where all who run it find the same, else products with its matrices.

ONNX's operator works out its places from a scale of float32, so a place that should be a whole number or a half may
come out beside it, and nearest then takes another pixel. And of some options runtimes have more than one reading: what
a size that is no multiple by the scale means for "align_corners", a bicubic on signals, or one that makes images
smaller, the part of an image in "tf_crop_and_resize". Such a layer is written as its equation.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...layers import Resize
from ...layers.resample import Axis, Rule, places, resampling
from .graph import Graph, Value

MODES = {"nearest": "nearest", "bilinear": "linear", "bicubic": "cubic"}


def resize(graph: Graph, layer: Resize, x: Value) -> Value:
    """Write y = x resampled."""
    x, axes, shape = graph.first(x), layer.axes(x.shape), layer.output_shape(x.shape)
    rule = _written(layer.rule)
    if not _known(graph, rule, axes) or not all(_same(axis, layer.rule, rule) for axis in axes):
        return _by_matrices(graph, layer, x, axes)
    how: dict[str, Any] = {"mode": MODES[rule.mode], "coordinate_transformation_mode": rule.coordinates}
    if rule.mode == "nearest":
        how["nearest_mode"] = rule.rounding
    if rule.mode == "bicubic":
        how["cubic_coeff_a"] = rule.cubic_coeff
    how |= {name: 1 for name in ("antialias", "exclude_outside") if getattr(rule, name)}
    scales = [_scale(axis) for axis in axes]
    if layer.scale or scales == [_narrow(scale) for scale in scales]:
        return graph.add("Resize", x, "", graph.array("scales", [1, 1, *scales], np.float32), shape=shape, **how)
    batch = graph.add("Gather", graph.add("Shape", x), graph.array("axes", [0, 1], np.int64), axis=0)
    sizes = graph.add("Concat", batch, graph.array("sizes", [axis.m for axis in axes], np.int64), axis=0)
    return graph.add("Resize", x, "", "", sizes, shape=shape, **how)


def _by_matrices(graph: Graph, layer: Resize, x: Value, axes: list[Axis]) -> Value:
    """Write Y = R_h X R_wᵀ, and the value where that is outside of X."""
    shape, fill = layer.output_shape(x.shape), np.zeros([axis.m for axis in axes])
    matrices = [resampling(axis, layer.rule) for axis in axes]
    for R in reversed(matrices):  # the last axis, then the one before it in its place
        x = graph.add("MatMul", x, graph.array("R", R.dense().T), shape=shape)
        if len(axes) == 2:
            x = graph.add("Transpose", x, perm=[0, 1, 3, 2])
    for i, R in enumerate(matrices):
        fill[(slice(None),) * i + (R.outside,)] = layer.value
    return graph.add("Add", x, graph.array("outside", fill)) if fill.any() else x


def _written(rule: Rule) -> Rule:
    """The rule in the words that all versions and runtimes know; whether it is the same one, `_same` finds out."""
    coordinates = "half_pixel" if rule.coordinates.endswith(("half_pixel", "symmetric")) else rule.coordinates
    excluded = rule.exclude_outside and (rule.mode == "bicubic" or rule.antialias)
    return rule._replace(coordinates=coordinates, exclude_outside=excluded)


def _known(graph: Graph, rule: Rule, axes: list[Axis]) -> bool:
    """Whether the operator has it in this version, and runtimes agree about it."""
    if rule.coordinates == "tf_crop_and_resize" or (rule.antialias and graph.opset < 18):
        return False
    if rule.coordinates == "align_corners" and any(
        axis.scale and _narrow(axis.scale) * axis.n != axis.m for axis in axes
    ):
        return False
    if rule.mode == "bicubic" and graph.dtype != np.float32:  # whose weights are worked out in float32
        return False
    larger = all(_scale(axis) >= 1 for axis in axes)
    return rule.mode != "bicubic" or (len(axes) == 2 and (rule.antialias or larger))


def _same(axis: Axis, rule: Rule, written: Rule) -> bool:
    """Whether ONNX's operator resamples an axis as the layer does, by its scale, which is float32, or by the size."""
    n, m, scale = axis.n, axis.m, _scale(axis)
    if n == m and scale != 1:  # some runtimes leave such an axis as it is
        return False
    if axis.scale and {math.floor(n * _narrow(scale)), math.floor(np.float32(n) * np.float32(scale))} != {m}:
        return False
    theirs = [axis._replace(scale=_narrow(scale))]
    if not axis.scale and rule.mode == "nearest":
        theirs.append(axis._replace(scale=scale))
    elif not axis.scale:
        theirs = [axis._replace(scale=scale)]
    return all(_agree(axis, rule, other, written) for other in theirs)


def _agree(axis: Axis, rule: Rule, other: Axis, written: Rule) -> bool:
    """Whether the two matrices are the same, and no place is right beside one where other pixels are read.

    Those are the pixels, where ONNX's evaluator takes a step too many, and for nearest, in float32, halves too.
    """
    x = np.random.default_rng(0).standard_normal((axis.n, 1))
    if not np.allclose(resampling(axis, rule).times(x, 0), resampling(other, written).times(x, 0), rtol=0, atol=1e-6):
        return False
    parts, near = (2, 1e-6) if rule.mode == "nearest" else (1, 1e-9)
    at = parts * places(other, written.coordinates)
    off = np.abs(at - np.rint(at))
    return not ((off > 0) & (off < near)).any()


def _scale(axis: Axis) -> float:
    return axis.m / axis.n if axis.scale is None else axis.scale


def _narrow(scale: float) -> float:
    return float(np.float32(scale))

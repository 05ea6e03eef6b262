"""Operators that resample: Resize, and Upsample, which it replaced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ....layers import Layer, Resize, Upsample
from ....layers.resample import Axis, Matrix, Rule, resampling
from .constants import Sized, sizes
from .errors import Refused, check_size
from .flow import BATCH, Flow, Point, layered
from .maps import simple
from .protobuf import Node
from .reader import Operators, Reader, constant
from .shapes import along

MODES = {"nearest": "nearest", "linear": "bilinear", "cubic": "bicubic"}
POLICIES: dict[str, Any] = {"not_larger": min, "not_smaller": max}
_BATCH = -1  # the size of the axis of the batch
WHOLE = (0.0, 1.0)  # the part of an axis that is all of it


class _Change(NamedTuple):
    """What an axis becomes: m numbers, by a scale if one is given, of the part `roi`."""

    m: int
    scale: float | None
    roi: tuple[float, float] = WHOLE


def resize(reader: Reader, node: Node, x: Flow, *given: Any) -> Flow:
    """Read y = x resampled, by scales or to sizes."""
    if node.opset < 11:  # as Upsample, but for nearest, which rounds up where an axis becomes shorter
        return upsample(reader, node, x, *given)
    roi, scales, to = (*given, None, None, None)[:3]
    chosen = [x.axis(k) for k in node.get("axes", range(x.rank))]
    changes = _to_sizes(reader, node, x, chosen, to) if _is_there(to) else _by_scales(x, chosen, scales)
    coordinates = node.get("coordinate_transformation_mode", "half_pixel")
    how: dict[str, Any] = {"coordinates": coordinates}
    if coordinates == "tf_crop_and_resize":
        ends = constant(roi, "roi").reshape(2, -1).T.tolist()
        changes = {k: changes[k]._replace(roi=tuple(pair)) for k, pair in zip(chosen, ends, strict=True)}
        how["value"] = node.get("extrapolation_value", 0.0)
    mode = node.get("mode", "nearest")
    if mode == "nearest":
        how["rounding"] = node.get("nearest_mode", "round_prefer_floor")
    if mode == "cubic":
        how["cubic_coeff"] = node.get("cubic_coeff_a", -0.75)
    how |= {name: bool(node.get(name, 0)) for name in ("antialias", "exclude_outside")}
    return _resampled(node, x, mode, changes, how)


def upsample(reader: Reader, node: Node, x: Flow, *given: Any) -> Flow:
    """Read y = x resampled by scales, with pixel i of y at i / scale in x."""
    changes = _by_scales(x, range(x.rank), given[0] if given else np.float32(node.get("scales", [])))
    how = {"coordinates": "asymmetric"}
    mode = node.get("mode", "nearest")
    if mode == "nearest":
        shorter = [change.scale < 1 for change in changes.values() if change.scale not in (None, 1)]
        if len(set(shorter)) > 1:
            raise Refused("it makes one axis longer and another one shorter, which round differently", "scales")
        how["rounding"] = "ceil" if any(shorter) else "floor"
    return _resampled(node, x, mode, changes, how)


def _is_there(value: Any) -> bool:
    """Whether an optional input is given; files also leave it out by an empty array."""
    arrays = value.arrays if isinstance(value, Sized) else (value,)
    return value is not None and (isinstance(value, Flow) or np.size(arrays[0]) > 0)


def _by_scales(x: Flow, chosen: Sequence[int], scales: Any) -> dict[int, _Change]:
    if not _is_there(scales):
        raise Refused("it has neither scales nor sizes")
    numbers = constant(scales, "scales").astype(np.float32).reshape(-1)
    if len(numbers) != len(chosen):
        raise Refused(f"it has {len(numbers)} scales for {len(chosen)} axes", "scales")
    changes = {}
    for k, scale in zip(chosen, numbers, strict=True):
        if not 0 < scale < np.inf:
            raise Refused(f"a scale must be above 0; got {scale}", "scales")
        n = x.dims[k]
        m = _BATCH if n is None else int(n * scale)  # a product of float32
        changes[k] = _Change(m, float(scale))
    return changes


def _to_sizes(reader: Reader, node: Node, x: Flow, chosen: Sequence[int], to: Any) -> dict[int, _Change]:
    if isinstance(to, Flow):
        raise Refused("its sizes depend on the input")
    wanted = dict(zip(chosen, sizes(to), strict=True))
    policy = node.get("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        batch = ("batch", reader.frozen)
        return {
            k: _Change(_BATCH, 1) if x.axes[k] == BATCH and m in batch else _Change(int(m), None)
            for k, m in wanted.items()
        }
    if policy not in POLICIES or any(x.axes[k] == BATCH for k in chosen):
        raise Refused(f"no ratio of sides is kept by {policy!r} of these axes", "keep_aspect_ratio_policy")
    ratios = [int(m) / (x.dims[k] or 1) for k, m in wanted.items()]
    scale = POLICIES[policy](ratios)
    return {k: _Change(int(scale * (x.dims[k] or 1) + 0.5), scale) for k in chosen}


def _resampled(node: Node, x: Flow, mode: str, changes: dict[int, _Change], how: dict[str, Any]) -> Flow:
    """Make the layer, for those axes that change."""
    if mode not in MODES:
        raise Refused(f"{mode!r} is no way of resampling", "mode")
    same = [
        k for k, (m, scale, roi) in changes.items() if scale in (None, 1) and m in (_BATCH, x.dims[k]) and roi == WHOLE
    ]
    axes = [k for k in changes if k not in same]

    def larger(point: Point, order: Sequence[int]) -> Point:
        parts = [changes[k] if k in axes else _Change(int(x.dims[k] or 1), 1) for k in order]
        options = dict(how)
        if how["coordinates"] == "tf_crop_and_resize":
            options["roi"] = [part.roi for part in parts]
        check_size(max(part.m for part in parts))  # a matrix has rows of all of them
        scales, to = [part.scale for part in parts], simple([part.m for part in parts])
        if all(scale in (None, 1) for scale in scales):
            layer = Resize(to, MODES[mode], **options)
        else:
            options["scale"] = simple(scales)
            layer = Resize(None, MODES[mode], **options)
            if list(layer.output_shape(point.shape)[:-1]) != [part.m for part in parts]:
                layer = Resize(to, MODES[mode], **options)
        layer.output_shape(point.shape)  # an error, before the matrices are made, if it would be too large
        return layered(_by_whole_factors(layer, point.shape) or layer, point, node.name)

    return along(x, axes, larger)


def _by_whole_factors(layer: Resize, shape: tuple[int, ...]) -> Layer | None:
    """Give the Upsample that does the same, if there is one."""
    if layer.mode == "bicubic" or layer.coordinates == "tf_crop_and_resize":
        return None
    axes = layer.axes(shape)
    if any(axis.m % axis.n for axis in axes):
        return None
    plain = Rule(layer.mode, "asymmetric" if layer.mode == "nearest" else "half_pixel", "floor", 0, False, False)
    if any(
        not _same(resampling(axis, layer.rule), resampling(Axis(axis.n, axis.m, None, None), plain)) for axis in axes
    ):
        return None
    return Upsample(simple([axis.m // axis.n for axis in axes]), layer.mode)


def _same(a: Matrix, b: Matrix) -> bool:
    return all(np.array_equal(*each) for each in ((a.rows, b.rows), (a.columns, b.columns))) and np.allclose(
        a.weights, b.weights, rtol=0, atol=1e-7
    )


RESIZE: Operators = {"Resize": resize, "Upsample": upsample}

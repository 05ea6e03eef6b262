"""Operators that move numbers and change none: most of them rename axes, and become no layer at all."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ....layers import Dropout, Pad
from .constants import BATCH_SIZES, one_of, sizes
from .errors import Refused, check_size
from .flow import BATCH, Flow, Point, laid, layered
from .protobuf import Node, dtype_name, shortest
from .reader import Operators, Reader, constant, numbers
from .slices import at_places

MODES = ("constant", "edge", "reflect", "wrap")


def identity(reader: Reader, node: Node, x: Flow) -> Flow:
    """Read y = x."""
    return x


def cast(reader: Reader, node: Node, x: Flow) -> Flow:
    """Read y = x in another dtype: a net has one of its own."""
    if node.get("to", 1) not in (1, 11):
        raise Refused(f"a net computes in float32 or float64, not in {dtype_name(node.get('to', 1))}", "to")
    return x


def cast_like(reader: Reader, node: Node, x: Any, like: Any) -> Any:
    """Read y = x in the dtype of another array."""
    if not isinstance(like, Flow) and np.asarray(like).dtype not in (np.float32, np.float64):
        raise Refused("a net computes in float32 or float64")
    return x


def constant_of(reader: Reader, node: Node) -> np.ndarray:
    """Read an array that stands in the graph."""
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if node.get(name, None) is not None:
            dtype = {"value_float": np.float32, "value_floats": np.float32}.get(name)
            return np.asarray(node.get(name, None), dtype)
    raise Refused("it holds no numbers")


def dropout(reader: Reader, node: Node, x: Flow, ratio: Any = None, training: Any = None) -> Flow:
    """Read what drops some numbers in training, and does nothing at inference."""
    p = node.get("ratio", 0.5) if ratio is None else float(constant(ratio, "ratio").reshape(-1)[0])
    if p and training is not None and constant(training, "training_mode").any():
        raise Refused("it drops at inference too", "training_mode")
    return x.after(Dropout(shortest(p)), node.name) if 0 < p < 1 else x


def shape(reader: Reader, node: Node, x: Flow) -> Any:
    """Read the sizes of x."""
    chosen = x.dims[slice(node.get("start", None), node.get("end", None))]
    return one_of(tuple(np.array([n if n is not None else batch for n in chosen], np.int64) for batch in BATCH_SIZES))


def transpose(reader: Reader, node: Node, x: Flow) -> Flow:
    """Read y = x with its axes in another order."""
    perm = [x.axis(k) for k in node.get("perm", [*range(x.rank)][::-1])]  # PyTorch counts some from the end
    if sorted(perm) != [*range(x.rank)]:
        raise Refused(f"{perm} is no order of {x.rank} axes", "perm")
    return x.with_axes([x.axes[k] for k in perm])


def squeeze(reader: Reader, node: Node, x: Flow, axes: Any = None) -> Flow:
    """Read y = x without some axes of size 1."""
    given = numbers(node, "axes", axes)
    chosen = [k for k, n in enumerate(x.dims) if n == 1] if given is None else [x.axis(int(k)) for k in given]
    if any(x.axes[k] != () for k in chosen):
        raise Refused(f"axes {chosen} of {x.dims} are not all of size 1")
    return x.with_axes([axis for k, axis in enumerate(x.axes) if k not in chosen])


def unsqueeze(reader: Reader, node: Node, x: Flow, axes: Any = None) -> Flow:
    """Read y = x with new axes of size 1."""
    given = numbers(node, "axes", axes, [])
    rank = x.rank + len(given)
    chosen = {int(k) % rank for k in given}
    if len(chosen) != len(given) or any(not -rank <= k < rank for k in given):
        raise Refused(f"{given} are no new axes among {rank}")
    left = iter(x.axes)
    return x.with_axes([() if k in chosen else next(left) for k in range(rank)])


def flatten(reader: Reader, node: Node, x: Flow) -> Flow:
    """Read y = x with two axes: those before `axis`, and the others."""
    axis = node.get("axis", 1)
    at = x.rank if axis == x.rank else x.axis(axis)
    return x.with_axes([_merged(x.axes[:at]), _merged(x.axes[at:])])


def _merged(axes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Several axes as one."""
    large = [axis for axis in axes if axis]
    if BATCH in large and len(large) > 1:
        raise Refused("it puts the samples of a batch and what is in them along one axis")
    return BATCH if BATCH in large else tuple(i for axis in large for i in axis)


def reshape(reader: Reader, node: Node, x: Flow, shape: Any = None) -> Flow:
    """Read y = x in another shape."""
    if isinstance(shape, Flow):
        raise Refused("its shape depends on the input")
    wanted = _wanted(x, sizes(node.get("shape", []) if shape is None else shape), node, reader.frozen)
    if BATCH not in x.axes:
        return _split(x, wanted)
    at, place = x.axes.index(BATCH), wanted.index("batch")
    pieces = x.with_axes([axis for axis in x.axes if axis != BATCH])
    before = x.size([i for axis in x.axes[:at] for i in axis])
    if prod(n for n in wanted[:place] if n != "batch") != before:
        raise Refused("it moves numbers from sample to sample")
    y = _split(pieces, [n for n in wanted if n != "batch"])
    return y.with_axes([*y.axes[:place], BATCH, *y.axes[place:]])


def _wanted(x: Flow, shape: list[int | str], node: Node, frozen: int | None) -> list[Any]:
    """The sizes that a Reshape asks for, "batch" for that of the batch."""
    wanted: list[Any] = list(shape)
    for k, n in enumerate(wanted):
        if n == 0 and not node.get("allowzero", 0):
            if k >= x.rank:
                raise Refused(f"a size is to be that of axis {k} of {x.rank}")
            wanted[k] = "batch" if x.axes[k] == BATCH else x.size(x.axes[k])
    if BATCH in x.axes and "batch" not in wanted:
        wanted[_batch_in(x, wanted, frozen)] = "batch"
    known = prod(n for n in wanted if n not in ("batch", -1))
    if wanted.count(-1) > 1 or (-1 in wanted and (not known or prod(x.factors) % known)):
        raise Refused(f"a sample of {x.dims} has no shape {shape}")
    wanted = [prod(x.factors) // known if n == -1 else n for n in wanted]
    if prod(n for n in wanted if n != "batch") != prod(x.factors):
        raise Refused(f"a sample of {x.dims} has no shape {shape}")
    return wanted


def _batch_in(x: Flow, wanted: list[Any], frozen: int | None) -> int:
    """Which size stands for that of the batch, where the file says it by -1, or by the number it was written with."""
    at, size = x.axes.index(BATCH), prod(x.factors)
    before = x.size([i for axis in x.axes[:at] for i in axis])
    for k, n in enumerate(wanted):
        others = prod(m for i, m in enumerate(wanted) if i != k and m != -1)
        fits = others == size if -1 not in wanted or n == -1 else others and size % others == 0
        if n in (-1, frozen) and fits and (-1 in wanted[:k] or prod(wanted[:k]) == before):
            return k
    raise Refused(f"it gives an array of {wanted}, in which no axis is that of the batch")


def _split(x: Flow, wanted: Sequence[int]) -> Flow:
    """Other axes for the same numbers: factors are split where an axis ends within one."""
    cut = _cut(x, wanted)
    if cut is None:  # an axis ends within several factors that lie apart: ONNX's order is made that of memory
        rows = laid(x, [i for axis in x.axes for i in axis])
        large = [k for k, n in enumerate(wanted) if n != 1]
        axes_of_rows = [(large.index(k),) if k in large else () for k in range(len(wanted))]
        return Flow(rows.point, tuple(wanted[k] for k in large), tuple(axes_of_rows))
    pieces, axes = cut  # pieces[i]: the sizes of which factor i is made
    first = np.cumsum([0, *(len(sizes) for sizes in pieces)]).tolist()
    factors = tuple(n for sizes in pieces for n in sizes)
    return Flow(x.point, factors, tuple(tuple(first[i] + k for i, k in axis) for axis in axes))


def _cut(x: Flow, wanted: Sequence[int]) -> tuple[list[list[int]], list[list[tuple[int, int]]]] | None:
    """How each factor is split, and of which pieces each axis is made; None if it cannot be."""
    pieces: list[list[int]] = [[] for _ in x.factors]
    axes: list[list[tuple[int, int]]] = []
    queue = [(i, x.factors[i]) for axis in x.axes for i in axis]
    for size in wanted:
        axes.append([])
        while size != 1:
            if not queue:
                return None
            i, left = queue.pop(0)
            if size % left == 0:
                taken = left
            elif left % size == 0:
                taken = size
                queue.insert(0, (i, left // size))
            else:
                return None
            axes[-1].append((i, len(pieces[i])))
            pieces[i].append(taken)
            size //= taken
    return pieces, axes


def depth_to_space(reader: Reader, node: Node, x: Flow) -> Flow:
    """Read y whose blocks of b x b pixels are channels of x."""
    b, (c, h, w) = node.get("blocksize", 1), _image(x)
    if b < 1 or c % (b * b):
        raise Refused(f"{c} channels do not make blocks of {b} x {b} pixels", "blocksize")
    first = node.get("mode", "DCR") == "DCR"
    y = _split(x.with_axes(x.axes[1:]), [b, b, c // b**2, h, w] if first else [c // b**2, b, b, h, w])
    row, column, channel = y.axes[:3] if first else (*y.axes[1:3], y.axes[0])
    return y.with_axes([x.axes[0], channel, y.axes[3] + row, y.axes[4] + column])


def space_to_depth(reader: Reader, node: Node, x: Flow) -> Flow:
    """Read y whose channels are the blocks of b x b pixels of x."""
    b, (c, h, w) = node.get("blocksize", 1), _image(x)
    if b < 1 or h % b or w % b:
        raise Refused(f"images of {h} x {w} pixels have no blocks of {b} x {b}", "blocksize")
    y = _split(x.with_axes(x.axes[1:]), [c, h // b, b, w // b, b])
    channel, height, row, width, column = y.axes
    first = node.get("mode", "DCR") == "DCR"
    return y.with_axes([x.axes[0], row + column + channel if first else channel + row + column, height, width])


def _image(x: Flow) -> list[int]:
    """The sizes of images, channels first."""
    if x.rank != 4 or x.axes[0] not in (BATCH, ()) or BATCH in x.axes[1:]:
        raise Refused("it needs images, with the samples along its first axis")
    return [x.size(axis) for axis in x.axes[1:]]


def pad(reader: Reader, node: Node, x: Flow, pads: Any = None, value: Any = None, axes: Any = None) -> Flow:
    """Read y = x with a border."""
    given = numbers(node, "pads", pads, node.get("paddings", []))
    chosen = [*range(x.rank)] if axes is None else [x.axis(int(k)) for k in constant(axes, "axes").reshape(-1)]
    mode = node.get("mode", "constant")
    if mode not in MODES:
        raise Refused(f"a border is one of {', '.join(map(repr, MODES))}; got {mode!r}", "mode")
    if len(given) != 2 * len(chosen) or min(given, default=0) < 0:
        raise Refused(f"padding must be two sizes for each axis, none below 0; got {given}", "pads")
    pairs = {
        k: (before, after) for k, before, after in zip(chosen, given[: len(chosen)], given[len(chosen) :], strict=True)
    }
    padded = [k for k in chosen if any(pairs[k])]
    number = node.get("value", 0.0) if value is None else float(constant(value, "value").reshape(-1)[0])

    if mode == "wrap":
        for k in padded:
            check_size(sum(pairs[k]))
            x = at_places(reader, node, x, k, np.pad(np.arange(x.dims[k] or 0), pairs[k], mode).tolist())
        return x

    def border(point: Point, order: Sequence[int]) -> Point:
        return layered(Pad([pairs.get(k, (0, 0)) for k in order], number, mode), point, node.name)

    return along(x, padded, border)


def along(x: Flow, axes: Sequence[int], make: Any) -> Flow:
    """What a layer of images makes of some axes: `make(point, order)`, of those that are spatial, in this order."""
    if any(x.axes[k] == BATCH for k in axes):
        raise Refused("it changes how many samples there are")
    if not axes:
        return x
    images = [k for k in x.others(1) if k >= 2] if x.rank in (3, 4) and x.axes[1] != BATCH else []
    as_they_are = set(axes) <= set(images) and x.axes[0] in (BATCH, ())
    spatial = images if as_they_are else [k for k in x.others() if k in axes]
    if len(spatial) > 2:
        raise Refused(f"it changes {len(spatial)} axes; the layers here have two spatial ones")
    around = [k for k in x.others(*spatial) if x.axes[k]]
    x_laid = laid(x, *[x.axes[k] for k in spatial], [i for k in around for i in x.axes[k]])
    point = make(x_laid.point, spatial)
    factors: list[int] = []
    own: dict[int, tuple[int, ...]] = {}
    for k, n in zip(spatial, point.shape, strict=False):
        own[k] = (len(factors),) if n != 1 else ()
        factors += [n] if n != 1 else []
    for k in around:
        own[k] = tuple(range(len(factors), len(factors) + len(x.axes[k])))
        factors += [x.factors[i] for i in x.axes[k]]
    return Flow(
        point, tuple(factors), tuple(axis if axis == BATCH else own.get(k, ()) for k, axis in enumerate(x.axes))
    )


SHAPES: Operators = {
    "Cast": cast,
    "CastLike": cast_like,
    "Constant": constant_of,
    "DepthToSpace": depth_to_space,
    "Dropout": dropout,
    "Flatten": flatten,
    "Identity": identity,
    "Pad": pad,
    "Reshape": reshape,
    "Shape": shape,
    "SpaceToDepth": space_to_depth,
    "Squeeze": squeeze,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}

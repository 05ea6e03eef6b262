"""Whether an ONNX file computes what its net does, tried before anybody relies on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import CheckpointError
from ...layers import Layer, Normalize, Sequential
from ...layers.inference import InferenceNet
from ...plan.watch import watching
from .graph import Graph, Value, onnx_for

BATCH = 2
TOLERANCE = {"float32": 1e-5, "float64": 1e-6}  # of the largest output; ONNX's attributes, as eps, are float32 always
ROUNDING = 10  # times what float32 itself rounds in the net's predict, where that is more


def check(graph: Graph, model: Any) -> None:
    """Let ONNX's checker and its reference evaluator try the file of a net.

    Raises
    ------
    CheckpointError
        If the file is no valid ONNX, or its outputs for a random batch are not those of `net.predict`.
    """
    onnx = onnx_for("to_onnx")
    try:
        onnx.checker.check_model(model, full_check=True)  # which infers all shapes too
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise CheckpointError(f"to_onnx: ONNX's checker refuses the file, so none was written: {error}") from None
    net, x = graph.net, _batch(graph.net)
    expected = net.predict(x)
    found = _run(graph, model, {"": graph.y}, x)[""]
    off = relative(found, expected)
    if off <= TOLERANCE[str(net.dtype)]:
        return
    off_by_rounding = relative(expected, net.astype(np.float64).predict(x))
    if off <= ROUNDING * off_by_rounding < np.inf:
        return
    raise CheckpointError(
        f"to_onnx: the file gives other outputs than the net, by {off:.2g} of the largest, so none was written; "
        f"{_where(graph, model, x)}"
    )


def _batch(net: Layer) -> np.ndarray:
    """Random inputs, of the size that a net expects which begins with Normalize."""
    x = np.random.default_rng(0).standard_normal((BATCH, *net.input_shape))
    first = next(layer for _, layer in net.walk() if not layer.children())
    if isinstance(first, Normalize):
        x = np.asarray(first.mean) + np.asarray(first.std) * x
    return x.astype(net.dtype)


def _run(graph: Graph, model: Any, wanted: Mapping[str, Value], x: np.ndarray) -> dict[str, np.ndarray]:
    """What the file gives for x, a batch with channels last: these values of it, channels last too."""
    evaluator = onnx_for("to_onnx").reference.ReferenceEvaluator(model, new_ops=mended())
    with np.errstate(all="ignore"):  # as where exp overflows to the infinity that a sigmoid needs
        x = np.moveaxis(x, -1, 1) if graph.x.first else x
        found = evaluator.run([value.name for value in wanted.values()], {graph.x.name: x})
    return {
        place: np.moveaxis(array, 1, -1) if value.first else array
        for (place, value), array in zip(wanted.items(), found, strict=True)
    }


def mended() -> list[type]:
    """What the evaluator gets wrong, by its own code within the cases that it gets right."""
    from onnx.reference.ops.op_batch_normalization import BatchNormalization_14 as WithItsMode
    from onnx.reference.ops.op_conv_transpose import ConvTranspose as OfOneGroup
    from onnx.reference.ops.op_global_max_pool import GlobalMaxPool as OfImages
    from onnx.reference.ops.op_max_pool import MaxPool as OfWhole

    class BatchNormalization(WithItsMode):  # that of opset 13 would train
        op_domain = ""

        def _run(self, *arrays, epsilon=None, momentum=None, training_mode=0):
            return WithItsMode._run(self, *arrays, epsilon=epsilon, momentum=momentum, training_mode=training_mode)

    class ConvTranspose(OfOneGroup):
        op_domain = ""

        def _run(self, x, W, b=None, group=None, **options):
            biases = [None] * group if b is None else np.split(b, group)
            groups = zip(np.split(x, group, axis=1), np.split(W, group), biases, strict=True)
            return (np.concatenate([OfOneGroup._run(self, *one, group=1, **options)[0] for one in groups], axis=1),)

    class GlobalMaxPool(OfImages):
        op_domain = ""

        def _run(self, x):
            return (OfImages._run(self, x)[0] if x.ndim == 4 else OfImages._run(self, x[..., np.newaxis])[0][..., 0],)

    class MaxPool(OfWhole):
        op_domain = ""

        def _run(self, x, pads=None, **options):
            rank = x.ndim - 2
            sides = [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)]
            return OfWhole._run(self, np.pad(x, sides, constant_values=-np.inf), pads=[0] * len(pads), **options)

    return [BatchNormalization, ConvTranspose, GlobalMaxPool, MaxPool]


def _where(graph: Graph, model: Any, x: np.ndarray) -> str:
    """Words for where the two part: the first layer whose output differs by as much."""
    net: Any = graph.net
    if isinstance(net, InferenceNet):  # which has no forward
        twin = Sequential([layer.copy() for layer in net], net.input_shape, dtype=net.dtype)
    else:
        twin = net.copy()
    names = {id(layer): place for place, layer in twin.walk()}
    ours: dict[str, np.ndarray] = {}

    def see(layer: Layer, what: str, values: np.ndarray) -> None:
        ours[names[id(layer)]] = values

    with watching((layer for _, layer in twin.walk()), see):
        twin.forward(x, train=False)
    theirs = _run(graph, model, graph.written, x)
    for place, values in ours.items():  # in the order in which they were computed
        if place in theirs and (off := relative(theirs[place], values)) > TOLERANCE[str(twin.dtype)]:
            layer = dict(twin.walk())[place]
            return f"the first layer that differs is {place or 'the net itself'}, {layer.who}, by {off:.2g}"
    return "no layer alone differs: the rounding of several adds up"


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, of the largest finite number expected; infinite where NaN or infinities differ."""
    if found.shape != expected.shape:
        return np.inf
    finite = np.isfinite(expected)
    if not np.array_equal(found[~finite], expected[~finite], equal_nan=True) or not np.isfinite(found[finite]).all():
        return np.inf
    off = np.abs(found[finite].astype(np.float64) - expected[finite]).max(initial=0)
    return float(off / np.abs(expected[finite]).max(initial=1e-30))

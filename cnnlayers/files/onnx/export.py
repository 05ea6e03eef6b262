"""A net as an ONNX file, which ONNX Runtime and others run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..._version import __version__
from ...checks import as_integer
from ...layers.layer import Layer
from ...writing import check_writable, write_atomically

if TYPE_CHECKING:
    from .graph import Writer

LAYOUTS = ("NHWC", "NCHW")
OLDEST = 13  # the first opset whose Softmax is along one axis
LARGEST = 2**31 - 2**20  # bytes of arrays; a file of protobuf's holds 2 GB


def to_onnx(
    net: Layer,
    path: str | os.PathLike,
    layout: str = "NHWC",
    opset: int = 17,
    custom: Mapping[type[Layer], Writer] | None = None,
) -> None:
    """Write a built net to an ONNX file, as it predicts: BatchNorm with its running statistics, no Dropout.

    The file has one input, `x`, and one output, `y`, of the net's dtype, for batches of any size and samples of the
    net's `input_shape`. It takes the same numbers as `net.predict`: a Normalize is in it, and pixels of uint8 are cast
    and not scaled, `x.astype(np.float32)`. Its metadata hold `classes` (if the net names them), `input_shape`, `layout`
    and `version`, each as JSON.

    Before the file is put in its place, ONNX's checker and shape inference have passed it, and ONNX's reference
    evaluator has run it on a random batch: its outputs are those of `net.predict`, within 1e-5 of the largest (in
    float64 1e-6, since ONNX holds numbers such as eps as float32), or within ten times what float32 rounds in the net
    itself, where that is more.

    Parameters
    ----------
    net : Layer
        A net, one of `for_inference()` too, or a single layer. ONNX Runtime has no convolutions of float64 on the CPU:
        for it take `net.astype("float32")`.
    path : str or path
    layout : {"NHWC", "NCHW"}
        Whether images come in, and maps go out, with their channels last, as here, or first. Signals likewise.
    opset : int
        The version of ONNX's operators, from 13 to the newest that the installed onnx knows. The file is of the oldest
        format that allows it.
    custom : dict of Layer class to function, optional
        For layers of your own, what writes their nodes: f(graph, layer, x) -> y, with y = graph.add(operator, x, ...).

    Raises
    ------
    RuntimeError
        If the net is not built.
    ValueError
        If layout or opset are none of these, a layer has no form in ONNX, or the net is larger than 2 GB.
    CheckpointError
        If the file is not valid or does not agree with the net; nothing is written then.
    ImportError
        If onnx is not installed.
    OSError
        If the file cannot be written.
    """
    from .agreement import check  # these are imported when they are first needed
    from .graph import Graph, onnx_for
    from .nodes import WRITERS

    onnx = onnx_for("to_onnx")
    net.require_built()
    if layout not in LAYOUTS:
        raise ValueError(f"to_onnx: layout must be one of {', '.join(map(repr, LAYOUTS))}; got {layout!r}")
    opset, newest = as_integer("to_onnx", "opset", opset), onnx.defs.onnx_opset_version()
    if not OLDEST <= opset <= newest:
        raise ValueError(
            f"to_onnx: opset must be {OLDEST} to {newest}, the newest that onnx {onnx.__version__} knows; got {opset}"
        )
    if sum(array.nbytes for array in (*net.params.values(), *net.state.values())) > LARGEST:
        raise ValueError(f"to_onnx: an ONNX file holds 2 GB at most, and the arrays of {net.who} need more")
    check_writable(path)
    writers = WRITERS | _checked(custom or {})
    graph = Graph(net, layout == "NCHW", opset, lambda layer, place: _writer_of(layer, place, writers))
    model = graph.model(_metadata(net, layout))
    check(graph, model)
    write_atomically(path, model.SerializeToString())


def _writer_of(layer: Layer, place: str, writers: Mapping[type[Layer], Writer]) -> Writer:
    """What writes the nodes of a layer; ValueError if nothing does.

    A subclass that computes as its base does, as one with another constructor, is written as that.
    """
    bases: Any = type(layer).__mro__
    for cls in bases:
        if cls in writers and cls.forward is bases[0].forward:
            return writers[cls]
    where = f"layer {place}" if place else "the net"
    raise ValueError(
        f"to_onnx: {where} is {layer!r}, for which no ONNX nodes are known: hand over a function that writes them, "
        f"custom={{{type(layer).__name__}: function}}"
    )


def _checked(custom: Mapping[type[Layer], Writer]) -> dict[type[Layer], Writer]:
    """What writes the user's own layers."""
    if not (isinstance(custom, Mapping) and all(isinstance(cls, type) and callable(custom[cls]) for cls in custom)):
        raise TypeError(f"to_onnx: custom must be a dict with a function for each Layer class; got {custom!r}")
    return dict(custom)


def _metadata(net: Any, layout: str) -> dict[str, str]:
    """What the file says about the net, as JSON."""
    about: dict[str, Any] = {"input_shape": net.input_shape, "layout": layout, "version": __version__}
    if getattr(net, "classes", None) is not None:
        about["classes"] = net.classes
    return {name: json.dumps(value) for name, value in about.items()}

"""The graph of an ONNX file, put together node by node, and the two orders of axes that it lives with.

ONNX's convolutions and pools have channels first, (N, C, H, W); the layers here have them last. A `Value` knows which
of the two its array in the file has, and a layer asks for the one that it needs: `first(x)`, `last(x)`. Only then is a
Transpose written, and never twice for the same value. So images are transposed once, on the way into the first
convolution, and stay as they are until a layer such as Flatten lists their elements.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..._version import __version__
from ...layers.layer import Layer

INPUT, OUTPUT, BATCH = "x", "y", "N"  # names in the file


class Value(NamedTuple):
    """An array that flows through the graph.

    Attributes
    ----------
    name : str
        In the file.
    shape : tuple of int
        As the layers have it: channels last, without the batch axis.
    first : bool
        Whether the array in the file has its channels first. Rows (N, C) are the same both ways.
    """

    name: str
    shape: tuple[int, ...]
    first: bool

    @property
    def rows(self) -> bool:
        """Whether it has no axes but those of the batch and the channels."""
        return len(self.shape) == 1

    @property
    def channel_axis(self) -> int:
        """Which axis of the array in the file has the channels."""
        return 1 if self.first or self.rows else -1

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The shape of the array in the file, without the batch axis."""
        return (self.shape[-1], *self.shape[:-1]) if self.first else self.shape


Writer = Callable[["Graph", Any, Value], Value]  # writes the nodes of a layer: (graph, layer, x) -> y


class Graph:
    """Nodes and constant arrays, as they are added.

    Parameters
    ----------
    net : Layer
        Built.
    first : bool
        Whether the file takes its input, and gives its output, with channels first.
    opset : int
        The version of ONNX's operators.
    writer_of : function of a layer and its name
        Gives what writes its nodes, or raises ValueError.
    """

    def __init__(self, net: Layer, first: bool, opset: int, writer_of: Callable[[Layer, str], Writer]):
        self.net, self.opset, self.dtype = net, opset, net.dtype
        self.written: dict[str, Value] = {}  # by the name of the layer, what it gives
        self._writer_of = writer_of
        self._nodes: list[Any] = []
        self._arrays: dict[str, np.ndarray] = {}
        self._names = {INPUT, OUTPUT}
        self._other_order: dict[str, Value] = {}
        self._place = ""  # the layer whose nodes are written
        self.x = Value(INPUT, tuple(net.input_shape), first and len(net.input_shape) > 1)
        y = self.layer("", net, self.x)
        self.y = self.first(y) if first else self.last(y)

    # What the writers of layers call

    def layer(self, key: str, layer: Layer, x: Value) -> Value:
        """Write a layer that the present one calls `key`, and give its output."""
        outside = self._place
        self._place = f"{outside}.{key}" if outside else key
        y = self._writer_of(layer, self._place)(self, layer, x)
        if not isinstance(y, Value):
            raise TypeError(f"to_onnx: what writes {layer!r} must return what graph.add() gave; got {y!r}")
        promised = tuple(layer.output_shape(x.shape))
        if y.shape != promised:
            raise ValueError(f"to_onnx: the nodes of {layer!r} give shape {y.shape}; the layer gives {promised}")
        self.written[self._place] = y
        self._place = outside
        return y

    def add(self, op: str, x: Value, *others: Value | str, shape=None, first=None, **attributes: Any) -> Value:
        """Add a node that reads x, other values and arrays (by name; "" for none), and give its output.

        It has the shape of x and its order of axes, unless `shape` or `first` say otherwise; `attributes` are those of
        the operator.
        """
        inputs = [each.name if isinstance(each, Value) else each for each in (x, *others)]
        name = self._free(f"{self._place}.{op}" if self._place else op)
        self._nodes.append(onnx_for("to_onnx").helper.make_node(op, inputs, [name], name=name, **attributes))
        shape = x.shape if shape is None else tuple(shape)
        return Value(name, shape, (x.first if first is None else first) and len(shape) > 1)

    def array(self, name: str, values: Any, dtype: Any = None) -> str:
        """Add a constant array, of the net's dtype unless another is given; its name in the file."""
        name = self._free(f"{self._place}.{name}" if self._place else name)
        self._arrays[name] = np.array(values, self.dtype if dtype is None else dtype, order="C")
        return name

    def by_channel(self, name: str, values: Any, x: Value) -> str:
        """Add an array of one number for each channel (or one for all), shaped to be added to x."""
        values = np.reshape(values, -1)
        return self.array(name, values.reshape(-1, *[1] * (len(x.shape) - 1)) if x.first else values)

    def by_place(self, name: str, values: np.ndarray, x: Value) -> str:
        """Add an array that broadcasts to a sample of the layer, shaped to be added to x."""
        if x.first:
            values = np.moveaxis(values.reshape(*[1] * (len(x.shape) - values.ndim), *values.shape), -1, 0)
        return self.array(name, values)

    def first(self, x: Value) -> Value:
        """Give x with its channels first."""
        return x if x.first or x.rows else self._transposed(x, [0, len(x.shape), *range(1, len(x.shape))])

    def last(self, x: Value) -> Value:
        """Give x with its channels last."""
        return self._transposed(x, [0, *range(2, len(x.shape) + 1), 1]) if x.first else x

    def _transposed(self, x: Value, perm: Sequence[int]) -> Value:
        if x.name not in self._other_order:
            y = self.add("Transpose", x, first=not x.first, perm=perm)
            self._other_order |= {x.name: y, y.name: x}
        return self._other_order[x.name]

    def _free(self, name: str) -> str:
        """A name that no node and no array has yet."""
        numbered = (name if i == 1 else f"{name}_{i}" for i in itertools.count(1))
        found = next(each for each in numbered if each not in self._names)
        self._names.add(found)
        return found

    # The file

    def model(self, metadata: Mapping[str, str]) -> Any:
        """Give the whole as an onnx.ModelProto."""
        onnx = onnx_for("to_onnx")
        self._name_output()
        made = onnx.helper.make_graph(
            self._nodes,
            type(self.net).__name__,
            [self._port(INPUT, self.x)],
            [self._port(OUTPUT, self.y)],
            [onnx.numpy_helper.from_array(array, name) for name, array in self._arrays.items()],
        )
        formats = onnx.helper.OP_SET_ID_VERSION_MAP  # the oldest for each opset; the newest may not be listed
        model = onnx.helper.make_model(
            made,
            opset_imports=[onnx.helper.make_opsetid("", self.opset)],
            ir_version=formats.get(("ai.onnx", self.opset), onnx.IR_VERSION),
            producer_name="cnnlayers",
            producer_version=__version__,
        )
        onnx.helper.set_model_props(model, dict(metadata))
        return model

    def _name_output(self) -> None:
        """Name what the net gives `y`: by a node of its own if it is the input, or another node reads it too."""
        y = self.y
        if y.name == INPUT or any(y.name in node.input for node in self._nodes):
            y = self.add("Identity", y)
        (node,) = [node for node in self._nodes if y.name in node.output]
        node.output[0] = OUTPUT
        named = y._replace(name=OUTPUT)
        self.written = {place: named if value.name == y.name else value for place, value in self.written.items()}
        self.y = named

    def _port(self, name: str, value: Value) -> Any:
        helper = onnx_for("to_onnx").helper
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))
        return helper.make_tensor_value_info(name, kind, [BATCH, *value.stored_shape])


def onnx_for(who: str) -> Any:
    """Import onnx, or say how to get it."""
    try:
        import onnx
        import onnx.numpy_helper
        import onnx.reference
    except ImportError:
        raise ImportError(f'{who} needs onnx: pip install "cnnlayers[onnx]"') from None
    return onnx

"""Containers: layers made of layers. Sequential stacks them, Residual adds a shortcut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from .. import kernels
from ..arrays import as_array, clean
from ..checks import as_flag, as_integer
from ..files import checkpoint
from ..functional import softmax
from ..geometry import with_batch
from .activation import ReLU, Softmax
from .base import Layer
from .pool import MaxPool
from .summary import table


class Container(Layer):
    """What nets share: they hold layers, predict in batches, print a summary and are saved to files.

    Attributes
    ----------
    classes : tuple of str or None
        Names of the classes that the scores stand for, if known; they are saved with the net.
    """

    classes: tuple[str, ...] | None = None

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "forward" in vars(cls) and "_infer" not in vars(cls):
            cls._infer = Container._infer_by_forward  # type: ignore[method-assign]  # it is what predicts, too

    @property
    def who(self):
        """How messages name the container: its kind, not all that it holds."""
        return type(self).__name__

    def predict(self, x, batch_size: int = 256, *, plus=None, **fused) -> np.ndarray:
        """Inference in batches; nothing is written on the net, so a pending backward stays valid.

        `plus` and `relu` are what a container that holds this one lets it end in, as for `forward`.
        """
        batch_size = as_integer(f"{self.who}.predict", "batch_size", batch_size, low=1)
        x = as_array(x, self.who)
        net: Any = self if self.built else self._twin(x)
        if x.ndim == 0:
            raise ValueError(f"{self.who} needs a batch {with_batch(net.input_shape or ())}; got a single number")
        net._check_fit(x.shape[1:])
        starts = range(0, max(len(x), 1), batch_size)  # an empty x is one empty batch
        parts = []
        for part in (slice(start, start + batch_size) for start in starts):
            ends = fused if plus is None else fused | {"plus": plus[part]}
            parts.append(net._infer(clean(x[part], net.dtype), **ends))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def predict_proba(self, x, batch_size: int = 256) -> np.ndarray:
        """Probabilities: the softmax of the scores (which a last Softmax layer has taken already)."""
        scores = self.predict(x, batch_size)
        return scores if ends_in_softmax(self) else softmax(scores)

    def _infer(self, x: np.ndarray) -> np.ndarray:
        """Predict one clean batch."""
        raise NotImplementedError

    def _infer_by_forward(self, x: np.ndarray, **fused) -> np.ndarray:
        """Predict by `forward`, on a copy: it writes on the layers within."""
        return self.copy().forward(x, train=False, **fused)

    def summary(self) -> str:
        """Give a table: layer, output shape, parameters, multiply-adds and activation bytes of one sample."""
        return table(self)

    def for_inference(self) -> Container:
        """Give an immutable copy for prediction: BatchNorm folded into Conv, no Dropout; it cannot train."""
        from .inference import for_inference  # it makes containers, so it comes after this file

        return for_inference(self)

    def save(self, path, classes: Iterable[str] | None = None) -> None:
        """Write the net to a safetensors file, atomically: architecture, input shape, class names, all arrays.

        Parameters
        ----------
        path : str or path
            Its folder must exist.
        classes : iterable of str, optional
            Names of the classes, kept as `net.classes`.
        """
        if classes is not None:
            self.classes = tuple(map(str, classes))
        checkpoint.save(self, path)

    def _adopt(self, layers: Iterable[Layer]) -> None:
        """Mark layers as held by this container."""
        held: set[int] = set()
        for layer in layers:
            if not isinstance(layer, Layer):
                raise TypeError(f"{self.who} needs layers; got {layer!r}")
            if layer._owned or id(layer) in held:
                raise ValueError(f"{layer!r} belongs to a net already: use its copy() here")
            held.add(id(layer))
        for layer in layers:
            layer._owned = True

    def _release(self) -> None:
        for child in self.children().values():
            child._owned = False

    def _allocate(self, shape, rng):
        for where, layer, layer_shape in self._shapes(shape):
            with _naming(self, where):
                layer.build(layer_shape, rng=rng, dtype=self.dtype)

    def _join(self, shape, dtype):
        out = super()._join(shape, dtype)
        for _, layer, layer_shape in self._shapes(shape):
            layer._join(layer_shape, dtype)
        return out

    def _check_fit(self, shape):
        if shape != self.input_shape:
            self.output_shape(shape)  # asks each layer within

    def _shapes(self, shape) -> list[tuple[Any, Layer, tuple[int, ...]]]:
        """Each layer within, with where it stands (for `_place`) and the shape of its input."""
        raise NotImplementedError

    def _place(self, where: Any) -> str:
        """Where in the container a layer stands, in words, for an error's note."""
        raise NotImplementedError

    def multiply_adds(self, input_shape):
        return sum(layer.multiply_adds(shape) for _, layer, shape in self._shapes(tuple(input_shape)))


class Sequential(Container):
    """y = f_k(... f_2(f_1(x))): layers one after the other.

    Forward     x_i = f_i(x_{i-1}), from x_0 = x to y = x_k
    Backward    δ_{i-1} = (∂f_i/∂x_{i-1})ᵀ δ_i, from δ_k = dL/dy to dL/dx = δ_0: the chain rule

    Shapes      whatever its layers make of them
    Errors      ValueError at construction if a layer does not fit its input: says which, what it needs, what it got

    Parameters
    ----------
    layers : iterable of Layer
        They belong to this net from now on; `layer.copy()` gives one that does not.
    input_shape : tuple of int, optional
        Shape of x without the batch axis: builds all layers at once. Without it the first `forward` does.
    rng : int or numpy.random.Generator, optional
        Where the initial values come from.
    dtype : float32 or float64
    fuse : bool
        Let a layer end in the ReLU that follows it, and the last one in the sum of a Residual, in one pass over memory.
        The results are the same to the bit.

    Examples
    --------
    >>> from cnnlayers.layers import Affine, Flatten
    >>> import cnnlayers as cl
    >>> net = cl.Sequential([cl.Flatten(), cl.Affine(10)], input_shape=(8, 8, 1), rng=0)
    >>> net.forward(np.zeros((2, 8, 8, 1))).shape, net.params["1.W"].shape, net.flat_params.size
    ((2, 10), (64, 10), 650)
    """

    fuses_sum = True
    fuses_grad = True

    def __init__(self, layers: Iterable[Layer], input_shape=None, rng=None, dtype: Any = np.float32, fuse: bool = True):
        self.fuse = as_flag("Sequential", "fuse", fuse)
        if isinstance(layers, Layer) or not isinstance(layers, Iterable):
            raise TypeError(f"Sequential needs a list of layers; got {layers!r}")
        self.layers = tuple(layers)
        self._adopt(self.layers)
        if input_shape is not None:
            try:
                self.build(input_shape, rng=rng, dtype=dtype)
            except BaseException:
                self._release()
                raise

    def forward(self, x, train=True, relu=False, plus=None):
        steps, left = self._steps({"relu": relu, "plus": plus})
        for i, layer, fused in steps:
            with _naming(self, i):
                x = layer.forward(x, train, **fused)
        self.keep([(i, layer) for i, layer, _ in steps])
        return _finish(x, **left)

    def backward(self, dy, input_grad=True, plus=None, rectified=None):
        (steps,) = self.take()
        while steps:
            i, layer = steps.pop()
            with _naming(self, i):
                if not steps:
                    return _backward_end(layer, dy, input_grad, plus, rectified)
                if _fuses(layer, "fuses_grad"):
                    dy = layer.backward(dy, rectified=steps[-1][1]._take_rectified())
                else:
                    dy = layer.backward(dy)
        return kernels.finish_grad(dy, plus, rectified) if input_grad else None

    def output_shape(self, input_shape):
        shape = tuple(input_shape)
        for i, layer in enumerate(self.layers):
            with _naming(self, i):
                if layer.built:
                    layer._check_fit(shape)
                shape = tuple(layer.output_shape(shape))
        return shape

    def children(self):
        return {str(i): layer for i, layer in enumerate(self.layers)}

    def config(self):
        if type(self).__init__ is not Sequential.__init__:
            return super().config()
        return {"layers": [_fresh(layer) for layer in self.layers]} | ({} if self.fuse else {"fuse": False})

    def __repr__(self):
        if type(self).__init__ is not Sequential.__init__:
            return super().__repr__()
        return f"{type(self).__name__}([{', '.join(map(repr, self.layers))}]{'' if self.fuse else ', fuse=False'})"

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, i):
        return self.layers[i]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def _infer(self, x, relu=False, plus=None):
        steps, left = self._steps({"relu": relu, "plus": plus})
        for i, layer, fused in steps:
            with _naming(self, i):
                x = layer.predict(x, **fused)
        return _finish(x, **left)

    def _steps(self, end: dict[str, Any]) -> tuple[list[tuple[int, Layer, dict[str, Any]]], dict[str, Any]]:
        """The layers to run, each with its number and what it ends in; and what is left of `end` to do behind them.

        A ReLU is left out where a layer before or behind it can end in it; the last layer ends in the sum if it can.

        A maximum of rectified numbers is the rectified maximum, so a ReLU in front of a MaxPool goes behind it, where
        there are fewer numbers. Value and gradient are the same: where the maximum is not above 0, no gradient passes.
        """
        steps: list[tuple[int, Layer, dict[str, Any]]] = []
        behind = False  # whether a ReLU waits to go behind the MaxPool that comes
        for i, layer in enumerate(self.layers):
            is_relu = self.fuse and type(layer) is ReLU and not _has_own_methods(layer)
            following = self.layers[i + 1] if i + 1 < len(self) else layer
            if is_relu and type(following) is MaxPool and _fuses(following, "fuses_relu"):
                behind = True
            elif behind or (is_relu and steps and steps[-1][0] == i - 1 and _fuses_next(steps[-1])):
                at, last = (i, layer) if behind else steps.pop()[:2]
                steps.append((at, last, {"relu": True}))
                behind = False
            else:
                steps.append((i, layer, {}))
        if end["plus"] is not None and self.fuse and steps:
            i, layer, fused = steps[-1]
            if not fused and _fuses(layer, "fuses_sum"):
                steps[-1] = (i, layer, end)
                end = {}
        return steps, end

    def _shapes(self, shape):
        rows = []
        for i, layer in enumerate(self.layers):
            rows.append((i, layer, shape))
            shape = tuple(layer.output_shape(shape))
        return rows

    def _place(self, i):
        return f"in layer {i} of {self.who}" + (f", after {self.layers[i - 1].who}" if i else "")


class Residual(Container):
    """y = body(x) + shortcut(x): the body learns what to add to x.

    Forward     y = f(x) + s(x);  s(x) = x without a shortcut layer
    Backward    dL/dx = (∂f/∂x)ᵀ δ + (∂s/∂x)ᵀ δ: x reaches y on two ways, so its gradients add       (δ = dL/dy)

    Shapes      y as body(x); shortcut(x) must have the same shape
    Errors      ValueError if the two shapes differ
    Source      UC Berkeley CS W182 discussion sheet, Problem 3;
                K. He et al., "Deep Residual Learning for Image Recognition", 2015

    Parameters
    ----------
    body : Layer or list of layers
        A list becomes a Sequential.
    shortcut : Layer or list of layers, optional
        The identity by default. Where the body changes the shape, a projection: Conv(filters, 1, stride).

    Examples
    --------
    >>> from cnnlayers.layers import Conv
    >>> import cnnlayers as cl
    >>> block = cl.Residual([cl.Conv(16, 3, stride=2, padding=1)], shortcut=cl.Conv(16, 1, stride=2))
    >>> block.build((8, 8, 4), rng=0)
    (4, 4, 16)
    """

    fuses_relu = True
    fuses_grad = True

    def __init__(self, body: Layer | Iterable[Layer], shortcut: Layer | Iterable[Layer] | None = None):
        self.body = body if isinstance(body, Layer) else Sequential(body)
        self._adopt([self.body])
        self.shortcut: Layer | None = None
        try:
            if shortcut is not None:
                self.shortcut = shortcut if isinstance(shortcut, Layer) else Sequential(shortcut)
                self._adopt([self.shortcut])
        except BaseException:
            self.body._owned = False
            if isinstance(self.body, Sequential) and self.body is not body:
                self.body._release()
            raise

    def forward(self, x, train=True, relu=False):  # the shortcut comes first: the body ends in the sum
        with _naming(self, "shortcut"):
            s = x if self.shortcut is None else self.shortcut.forward(x, train)  # s(x)
        with _naming(self, "body"):
            return _forward_plus(self.body, x, train, s, relu)  # f(x) + s(x)

    def backward(self, dy, input_grad=True, plus=None, rectified=None):
        with _naming(self, "shortcut"):
            ds: Any = dy if self.shortcut is None else self.shortcut.backward(dy, input_grad)  # (∂s/∂x)ᵀ δ
        with _naming(self, "body"):
            end = rectified if plus is None else None
            dx: Any = _backward_end(self.body, dy, input_grad, ds, end)  # (∂f/∂x)ᵀ δ + (∂s/∂x)ᵀ δ
        return dx if plus is None or not input_grad else kernels.finish_grad(dx, plus, rectified)

    def output_shape(self, input_shape):
        shape = tuple(input_shape)
        outs = []
        for where, layer, _ in self._shapes(shape):
            with _naming(self, where):
                if layer.built:
                    layer._check_fit(shape)
                outs.append(tuple(layer.output_shape(shape)))
        around = outs[1] if self.shortcut is not None else shape
        if outs[0] != around:
            hint = "" if len(outs[0]) < 2 else f", e.g. shortcut=Conv({outs[0][-1]}, 1{_stride_hint(shape, outs[0])})"
            if self.shortcut is None:
                raise ValueError(
                    f"Residual: the body maps {shape} to {outs[0]}, so it needs a shortcut of the same shape{hint}"
                )
            raise ValueError(f"Residual: the body maps {shape} to {outs[0]}, but the shortcut maps it to {around}")
        return outs[0]

    def children(self):
        return {"body": self.body} | ({} if self.shortcut is None else {"shortcut": self.shortcut})

    def config(self):
        if type(self).__init__ is not Residual.__init__:
            return super().config()
        return {"body": _fresh(self.body), "shortcut": None if self.shortcut is None else _fresh(self.shortcut)}

    def __repr__(self):
        if type(self).__init__ is not Residual.__init__:
            return super().__repr__()
        body = repr(list(self.body)) if type(self.body) is Sequential and self.body.fuse else repr(self.body)
        return f"Residual({body}{'' if self.shortcut is None else f', shortcut={self.shortcut!r}'})"

    def _infer(self, x, relu=False):
        s = x if self.shortcut is None else self.shortcut.predict(x)
        if _fuses(self.body, "fuses_sum"):
            return self.body.predict(x, relu=relu, plus=s)
        return kernels.add(self.body.predict(x), s, relu)

    def _shapes(self, shape):
        return [(name, layer, shape) for name, layer in self.children().items()]

    def _place(self, where):
        return f"in the {where} of Residual"


def _fresh(layer: Layer) -> Layer:
    """An equal layer, not built and in no net."""
    twin = type(layer)(**layer.config())
    twin._trainable = layer._trainable
    return twin


def ends_in_softmax(layer: Layer) -> bool:
    """Whether the layer's outputs are those of a Softmax."""
    while isinstance(layer, Sequential) and len(layer):
        layer = layer[-1]
    return isinstance(layer, Softmax)


def _stride_hint(shape, out) -> str:
    """The stride that a 1x1 shortcut needs, if the body halves or thirds the image."""
    strides = {-(-a // b) for a, b in zip(shape[:-1], out[:-1], strict=False) if b}
    return f", stride={strides.pop()}" if len(strides) == 1 and strides != {1} else ""


def _fuses(layer: Layer, flag: str) -> bool:
    """Whether `layer` can end in a ReLU or a sum: not where the user has put methods of his own on it.

    Nor where it is watched, or its layers are to run on their own: what it gives is then what it gives by itself.
    """
    return (
        getattr(layer, flag) and not _has_own_methods(layer) and layer._watch is None and getattr(layer, "fuse", True)
    )


def _has_own_methods(layer: Layer) -> bool:
    """Whether the user has put methods of his own on this one object."""
    return not vars(layer).keys().isdisjoint(("forward", "backward", "predict"))


def _fuses_next(step: tuple[int, Layer, dict[str, Any]]) -> bool:
    """Whether the layer of a step, which ends in nothing yet, can end in the ReLU behind it."""
    return not step[2] and _fuses(step[1], "fuses_relu")


def _finish(y, relu: bool = False, plus=None) -> np.ndarray:
    """y + plus, rectified if asked for: what no layer could end in."""
    if plus is not None:
        return kernels.add(y, plus, relu)
    return kernels.relu(y) if relu else y


def _forward_plus(layer: Layer, x, train: bool, plus, relu: bool) -> np.ndarray:
    """layer(x) + plus, rectified if asked for: in one pass over memory where the layer can end in the sum."""
    if _fuses(layer, "fuses_sum"):
        return layer.forward(x, train, relu=relu, plus=plus)  # type: ignore[call-arg]
    return _finish(layer.forward(x, train), relu, plus)


def _backward_end(layer: Layer, dy, input_grad: bool, plus=None, rectified=None) -> np.ndarray | None:
    """The gradient of the layer's input, + plus, where rectified > 0; in one pass where the layer can end in that."""
    if not input_grad or (plus is None and rectified is None):
        return layer.backward(dy, input_grad)
    if _fuses(layer, "fuses_grad"):
        return layer.backward(dy, plus=plus, rectified=rectified)  # type: ignore[call-arg]
    dx: Any = layer.backward(dy)
    return kernels.finish_grad(dx, plus, rectified)


class _naming:
    """Say on every error where in the net it arose; the place is only put into words when there is one."""

    def __init__(self, container: Container, where: Any):
        self.container, self.where = container, where

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, traceback) -> None:
        if isinstance(error, Exception):
            error.add_note(self.container._place(self.where))

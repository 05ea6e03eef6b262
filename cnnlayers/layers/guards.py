"""What stands around each layer's build, forward and backward: clean arrays, checked shapes, calls in their order.

`Layer.__init_subclass__` puts these around the methods that a subclass defines, so a layer's own code is its maths.
"""

import functools
from typing import Any

import numpy as np

from .. import geometry, kernels, randomness
from ..arrays import as_array, clean, float_dtype
from .named import Arrays


def _is_floats(x) -> bool:
    return type(x) is np.ndarray and x.dtype.kind == "f"


def guarded_build(method):
    """Build, as a subclass overrides it: whatever it put in `params` and `state` joins the flat arrays."""

    @functools.wraps(method)
    def build(self, input_shape, *, rng=None, dtype: Any = np.float32):
        shape, dtype = geometry.shape_of(input_shape, self.who), float_dtype(dtype, self.who)
        if self.built:
            return self._join(shape, dtype)
        promised = tuple(self.output_shape(shape)) if self._promises() else shape
        self._building = True
        try:
            out = method(self, shape, rng=randomness.random_generator(rng), dtype=dtype)
            out = promised if out is None else geometry.shape_of(out, self.who)
            if self._promises() and out != promised:
                raise ValueError(f"{self.who}: build gave {out}, but output_shape promises {promised}")
            self.grads = Arrays({name: np.zeros(np.shape(array), dtype) for name, array in self.params.items()})
            self.input_shape, self.dtype, self._out = shape, dtype, out
            self._gather()
        except BaseException:
            self._unbuild()
            raise
        finally:
            self._building = False
        return out

    return build


def guarded_forward(method):
    """Forward with its input made clean and its output checked."""

    @functools.wraps(method)
    def forward(self, x, train: bool = True, relu: bool = False, plus: np.ndarray | None = None):
        x = x if _is_floats(x) else as_array(x, self.who)  # `who` takes time to say
        if not self.built:
            self.build(x.shape[1:])
        if x.shape[1:] != self.input_shape:
            if x.ndim == 0:
                raise ValueError(
                    f"{self.who} needs a batch {geometry.with_batch(self.input_shape)}; got a single number"
                )
            self._check_fit(x.shape[1:])
        x = clean(x, self.dtype)
        self._pending, self._kept = None, ()
        state = self.state
        fused: dict[str, Any] = {"relu": True} if relu else {}
        if plus is not None:
            fused["plus"] = plus
        y = method(self, x, train, **fused)
        if self.state is not state:
            self._rebind("state", state)
        if not isinstance(y, np.ndarray):
            raise TypeError(f"{self.who}: forward must return an array; got {type(y).__name__}")
        expected = (len(x), *(self._out if x.shape[1:] == self.input_shape else self.output_shape(x.shape[1:])))
        if y.shape != expected:
            hint = "" if self._promises() else ": define output_shape(input_shape)"
            raise ValueError(f"{self.who}: forward gave shape {y.shape}, but output_shape promises {expected}{hint}")
        y = clean(y, self.dtype)
        own_relu = relu and plus is None  # a ReLU behind a sum is undone by the container that makes the sum
        self._pending = (x.shape, y.shape, y if own_relu and not self.undoes_relu else None)
        if self._watch is not None:
            self._watch(self, "output", y)
        return y

    return forward


def guarded_backward(method):
    """Backward once after each forward, with dy made clean and dx checked."""

    @functools.wraps(method)
    def backward(self, dy, input_grad: bool = True, plus=None, rectified=None):
        if self._pending is None:
            raise RuntimeError(f"{self.who}: backward() needs a forward() before it")
        x_shape, y_shape, own_relu = self._pending
        dy = dy if _is_floats(dy) else as_array(dy, self.who)
        if dy.shape != y_shape:
            raise ValueError(f"{self.who}: dy must have the shape of y, {y_shape}; got shape {dy.shape}")
        grads = self.grads
        try:
            dy = clean(dy, self.dtype)
            dy = dy if own_relu is None else kernels.relu_input_grad(own_relu, dy)
            fused = {} if plus is None else {"plus": plus}
            if rectified is not None:
                fused["rectified"] = rectified
            dx = method(self, dy, input_grad, **fused)
        finally:
            self._pending, self._kept = None, ()
            if self.grads is not grads:
                self._rebind("grads", grads)
        if self._watch is not None:
            for name, grad in self.grads.items():
                self._watch(self, f"gradient of {name!r}", grad)
        if not input_grad:
            return None
        if not isinstance(dx, np.ndarray):
            raise TypeError(f"{self.who}: backward must return dx, an array; got {type(dx).__name__}")
        if dx.shape != x_shape:
            raise ValueError(f"{self.who}: backward must return dx of shape {x_shape}; got shape {dx.shape}")
        dx = clean(dx, self.dtype)
        if self._watch is not None:
            self._watch(self, "gradient of the input", dx)
        return dx

    return backward

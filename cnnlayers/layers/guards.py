"""What is around each layer's forward and backward: clean arrays, checked shapes, calls in their order.

`Layer.__init_subclass__` puts these around the methods that a subclass defines, so a layer's own code is its maths. A
plan calls the package's own layers without them (`unguarded`): what one step gives is what the next one needs.
"""

import functools

import numpy as np

from .. import checks
from ..arrays import as_array, clean


def guarded_forward(method):
    """Forward with its input made clean and its output checked."""

    @functools.wraps(method)
    def forward(self, x, train: bool = True):
        x = x if _is_floats(x) else as_array(x, self.who)  # building the text of `who` is slow
        if not self.built:
            self.build_for(x)
        if x.shape[1:] != self.input_shape:
            if x.ndim == 0:
                needed = checks.with_batch(self.input_shape)
                raise ValueError(f"{self.who} needs a batch {needed}; got a single number")
            self._check_fit(x.shape[1:])
        x = clean(x, self.dtype)
        self._pending, self._kept = None, ()
        y = method(self, x, train)
        if not isinstance(y, np.ndarray):
            raise TypeError(f"{self.who}: forward must return an array; got {type(y).__name__}")
        expected = (len(x), *(self._out if x.shape[1:] == self.input_shape else self.output_shape(x.shape[1:])))
        if y.shape != expected:
            hint = "" if self._defines_output_shape else ": define output_shape(input_shape)"
            raise ValueError(f"{self.who}: forward gave shape {y.shape}, but output_shape promises {expected}{hint}")
        y = clean(y, self.dtype)
        self._pending = (x.shape, y.shape)
        if self._watch is not None:
            self._watch(self, "output", y)
        return y

    return forward


def guarded_backward(method):
    """Backward once after each forward, with dy made clean and dx checked."""

    @functools.wraps(method)
    def backward(self, dy, input_grad: bool = True):
        if self._pending is None:
            raise RuntimeError(f"{self.who}: backward() needs a forward() before it")
        x_shape, y_shape = self._pending
        dy = dy if _is_floats(dy) else as_array(dy, self.who)
        if dy.shape != y_shape:
            raise ValueError(f"{self.who}: dy must have the shape of y, {y_shape}; got shape {dy.shape}")
        try:
            dy = clean(dy, self.dtype)
            if self._watch is not None:
                self._watch(self, "gradient of the output", dy)
            dx = method(self, dy, input_grad)
        finally:
            self._pending, self._kept = None, ()
        for layer in self._leaves or (self,):
            for name in layer._frozen:  # by name: its gradient may have been left out
                layer.grads[name].fill(0)
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


def unguarded(cls: type) -> tuple:
    """The forward and backward of a class as they are written in its file; None for one that somebody has replaced."""
    return tuple(getattr(method, "__wrapped__", None) for method in (cls.forward, cls.backward))  # type: ignore[attr-defined]


def _is_floats(x) -> bool:
    return type(x) is np.ndarray and x.dtype.kind == "f"

"""Containers: layers made of layers. What they share; what each makes of its layers is in a file of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import clean
from ..checks import as_integer, with_batch
from ..plan import Plan
from ..stored import release, rows_of
from .layer import Layer, runs_alone
from .layout import warn_if_odd
from .scores import as_class_names, probabilities
from .views import Views, mean_over_views

if TYPE_CHECKING:
    from ..plan.step import Step


class Container(Layer):
    """What nets share: they hold layers, run them by a plan, predict in batches, and are saved to files.

    Attributes
    ----------
    classes : tuple of str or None
        Names of the classes that the scores stand for, if known; they are saved with the net.
    """

    classes: tuple[str, ...] | None = None
    _plan: Plan | None = None
    _fed: Any = None  # the dtype of the batch that it is built for, if it is built for one

    # What each container says of its layers

    def _steps(self, notes: Callable[[], list[str]]) -> list[Step]:
        """Give the steps that run the layers; `notes` says where the container itself is."""
        raise NotImplementedError

    def _shapes(self, shape) -> list[tuple[Any, Layer, tuple[int, ...]]]:
        """Give each layer within, with where it is (for `_place`) and the shape of its input."""
        raise NotImplementedError

    def _place(self, where: Any) -> str:
        """Say where in the container a layer is, for an error's note."""
        raise NotImplementedError

    # How it runs

    @property
    def plan(self) -> Plan:
        """How the net runs: the steps that `forward` and `backward` go through. It can be printed."""
        self.require_built()
        if self._plan is None or self._plan.revision != Layer.revision:
            self._plan = self._make_plan()
        return self._plan

    def _make_plan(self) -> Plan:
        return Plan(self)

    def twin(self):
        """As for any layer; it has no plan, and no pass of this one is pending in it."""
        twin = super().twin()
        twin._plan, twin._kept, twin._pending = None, (), None
        return twin

    def forward(self, x, train=True):
        plan = self.plan
        y = plan.forward(x, train)
        self.keep(plan)
        return y

    def backward(self, dy, input_grad=True):
        (plan,) = self.take() or (self.plan,)  # a forward of the user's own has kept none
        return plan.backward(dy, input_grad)

    def predict(self, x, batch_size: int = 256, views: Views | None = None) -> np.ndarray:
        """Inference in batches; nothing is written on the net, so a pending backward stays valid.

        An x that is not in memory, as a data set of an HDF5 file, is read batch by batch.

        Parameters
        ----------
        x : (N, ...)
        batch_size : int
        views : callable batch -> iterable of (weight, images), optional
            Give the weighted mean of the predictions for these views of each batch, as `cl.augment.mirror`: test-time
            augmentation. The weights sum to 1, the images have the shape of the batch. It costs a prediction for each
            view, and the memory of one batch.
        """
        batch_size = as_integer(f"{self.who}.predict", "batch_size", batch_size, low=1)
        x = rows_of(x, self.who)
        net: Any = self if self.built else self._built_for(x)
        if x.ndim == 0:
            raise ValueError(f"{self.who} needs a batch {with_batch(net.input_shape or ())}; got a single number")
        net._check_fit(x.shape[1:])
        predict = net._predictor()
        starts = range(0, max(len(x), 1), batch_size)  # an empty x is one empty batch
        parts = []
        for start in starts:
            batch = clean(x[start : start + batch_size], net.dtype)
            parts.append(predict(batch) if views is None else mean_over_views(predict, batch, views, net.dtype))
            release(x)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _predictor(self) -> Callable[[np.ndarray], np.ndarray]:
        """Give what predicts a clean batch: the plan, or else a forward of the user's own."""
        if type(self).forward.__module__.startswith(__package__):
            return self.plan.predict
        return lambda x: self.copy().forward(x, train=False)  # forward writes on the layers within

    def predict_proba(self, x, batch_size: int = 256, views: Views | None = None) -> np.ndarray:
        """Probabilities: what a net that ends in Softmax or Sigmoid gives, else the softmax of its scores.

        With `views` (see `predict`) they are those of the mean scores; of a net that ends in Softmax or Sigmoid, the
        mean of its probabilities.

        The softmax is along the last axis, so maps (N, H, W, C) have a distribution at each position. The layers alone
        decide (`layers.scores.what_scores_are`), not the loss that the net was trained with, which its file does not
        hold: of a regression's outputs, take `predict`.

        Raises
        ------
        ValueError
            If the net gives one score and does not end in Sigmoid: says what to do.
        """
        return probabilities(self, self.predict(x, batch_size, views))

    # What is made of it: these open doors to rooms above

    def summary(self) -> str:
        """Give a table: layer, output shape, parameters, multiply-adds and activation bytes of one sample."""
        from ..look.summary import table

        return table(self)

    def for_inference(self) -> Container:
        """Give an immutable copy for prediction: BatchNorm and Scale folded in, no Dropout; it cannot train."""
        from .inference import for_inference

        return for_inference(self)

    def save(self, path, classes: Iterable[str] | None = None) -> None:
        """Write the net to a safetensors file, atomically: architecture, input shape, class names, all arrays.

        Parameters
        ----------
        path : str or path
            Its folder must exist.
        classes : iterable of str, optional
            Names of the classes, one for each score (the last axis of what the net gives), kept as `net.classes`. A net
            that ends in one Sigmoid may have two: of p <= 1/2 and of p > 1/2.

        Raises
        ------
        ValueError, TypeError
            If the names are not as many as the scores, or are no list of str; nothing is written then.
        """
        from ..files import checkpoint

        self.require_built()
        if classes is not None:
            self.classes = as_class_names(self, classes)
        checkpoint.save(self, path)

    # What holds for every container

    @property
    def who(self):
        """How messages name the container: its kind, not all that it holds."""
        return type(self).__name__

    def multiply_adds(self, input_shape):
        return sum(layer.multiply_adds(shape) for _, layer, shape in self._shapes(tuple(input_shape)))

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
            with self._naming(where):
                layer.build(layer_shape, rng=rng, dtype=self.dtype)

    def _doubt(self, shape):
        if not (self._owned or self._source):  # the outermost, and not one that is read from a file
            warn_if_odd(self, shape, self._fed)

    def build_for(self, x, *, rng=None):
        self._fed = getattr(x, "dtype", None)
        super().build_for(x, rng=rng)

    def _join(self, shape, dtype):
        out = super()._join(shape, dtype)
        for _, layer, layer_shape in self._shapes(shape):
            layer._join(layer_shape, dtype)
        return out

    def _refuse_other(self, shape, built):
        self.output_shape(shape)  # asks each layer within

    def _fitted(self, where: Any, layer: Layer, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The output shape of a layer within, which is asked whether it takes this input."""
        with self._naming(where):
            if layer.built:
                layer._check_fit(shape)
            return tuple(layer.output_shape(shape))

    @property
    def _has_own_pass(self) -> bool:
        """Whether forward or backward are the user's own, which may call those of the layers within."""
        cls = type(self)
        return runs_alone(self) or (cls.forward, cls.backward) != (Container.forward, Container.backward)

    def _naming(self, where: Any) -> _Naming:
        """Say on every error in the block where in the net it arose."""
        return _Naming(self, where)

    def __getstate__(self):
        return super().__getstate__() | {"_plan": None}


class _Naming:
    """Adds a note to an error; the place is only put into words when there is one."""

    def __init__(self, container: Container, where: Any):
        self.container, self.where = container, where

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, traceback) -> None:
        if isinstance(error, Exception):
            error.add_note(self.container._place(self.where))


def fresh(layer: Layer) -> Layer:
    """Give an equal layer, not built and in no net."""
    twin = type(layer)(**layer.config())
    twin._trainable, twin._frozen = layer._trainable, layer._frozen
    return twin

"""Whether a net, its loss and the targets go together: asked before a training, and of each batch that comes unseen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..checks import takes
from ..data.loader import ArrayBatches
from ..data.targets import as_labels
from ..layers.layer import Layer

Check = Callable[[Any, Any, int], None]  # (x, y, number of the batch)

__all__ = ["checked", "counts", "loss_of", "sums"]


def loss_of(loss: Any, scores: Any, y: Any, weights: Any = None) -> float:
    """Give loss.forward(scores, y), with the weights of the samples if there are any."""
    if weights is None:
        return loss.forward(scores, y)
    _refuse_weights(loss)
    return loss.forward(scores, y, weights=weights)


def sums(loss: Any) -> bool:
    """Whether a loss is a sum over the batch; else it is a mean, as one's own is that does not say."""
    return bool(getattr(loss, "reduction", "mean") == "sum")


def counts(loss: Any, x: Any, y: Any, weights: Any = None) -> bool:
    """Whether anything in a batch counts: not if it is empty, or if the loss leaves out all labels of some weight."""
    answer = _answer(loss, "counts")
    if weights is not None:
        there = weights > 0
        if not there.any():
            return False
        if answer is not None and len(there) == len(y):  # else the targets are refused
            y = np.asarray(y)[there]
    return len(x) > 0 and (answer is None or bool(answer(y)))


def checked(data: Any, model: Layer, loss: Any, augment: Any = None) -> Check:
    """Refuse targets in arrays that do not go with the net and the loss; give what refuses those of a batch.

    It has nothing left to do where the targets are in arrays; those that come batch by batch, and those that an
    augmentation changes with the samples, are unseen until then.
    """
    check = _answer(loss, "check_targets")
    if getattr(data, "weights", None) is not None:
        _refuse_weights(loss, f"Solver: {data.name}: ")
        if not counts(loss, data.x, data.y, data.weights):
            raise ValueError(f"Solver: {data.name} needs a label that counts of a sample of positive weight")
    if data is None or check is None:
        return _nothing

    def check_batch(x: Any, y: Any, number: int) -> None:
        who, shape = f"Solver: {data.name}, batch {number}", _output_shape(model, np.shape(x)[1:])
        if shape is None:
            return
        if np.shape(y)[:1] != (len(x),):
            raise ValueError(f"{who} needs as many targets as samples, {len(x)}; got shape {np.shape(y)}")
        check(y, shape, who)

    if not isinstance(data, ArrayBatches):
        return check_batch
    who, shape = f"Solver: {data.name}", _output_shape(model, data.x.shape[1:])
    if shape is None or (augment is not None and len(shape) != 1):  # which may change the size of maps
        return check_batch
    if not getattr(augment, "mixes", False):
        check(data.y, shape, who)
        return _nothing
    if data.y.ndim == 1 and shape == (1,):
        check(data.y, shape, who)
    elif data.y.ndim == 1:  # labels, whose rows are mixed
        as_labels(who, data.y, len(data.y), *shape)
    return check_batch


def _refuse_weights(loss: Any, who: str = "") -> None:
    """Refuse weights of samples for a loss that has no place for them."""
    if not takes(loss.forward, "weights"):
        raise TypeError(
            f"{who}the samples have weights, but {type(loss).__name__}.forward takes none: give it a parameter "
            "weights=None, an array (N,), or leave them out"
        )


def _nothing(x: Any, y: Any, number: int) -> None:
    pass


def _answer(loss: Any, name: str) -> Callable[..., Any] | None:
    """What a loss says of its targets; None if it says nothing, or its forward is of a later class than the answer."""
    for kind in type(loss).__mro__:
        if name in vars(kind):
            return getattr(loss, name)
        if "forward" in vars(kind):
            return None
    return None


def _output_shape(model: Layer, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape of the scores for samples of this shape; None if the net takes others, which forward will say."""
    try:
        return tuple(model.output_shape(shape))
    except Exception:  # layers of the user's own may raise anything
        return None

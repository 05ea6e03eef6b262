"""Last layers that are a mistake in front of a loss: the net trains, but badly, and no error says so."""

from __future__ import annotations

from typing import Any

from ..layers.layer import Layer
from ..layers.scores import SAME, what_scores_are
from .losses import HingeLoss, SigmoidLoss, SoftmaxLoss

__all__ = ["mistake"]

APART = "HingeLoss wants scores that are 1 apart, which numbers from 0 to 1 hardly are"
NARROW = "the softmax of scores from 0 to 1 is never near 0 or 1, so SoftmaxLoss trains badly"
NEVER_NO = "the sigmoid of numbers of at least 0 is never below 1/2, so SigmoidLoss cannot say no to a label"
DEAD = "where it gives 0 no gradient passes, so that a class may never be learned"
WRONG = {  # last layers that are a mistake, and why
    ("SoftmaxLoss", "Softmax"): "SoftmaxLoss takes the softmax itself; taken twice, it trains badly",
    ("SoftmaxLoss", "Sigmoid"): NARROW,
    ("SoftmaxLoss", "HardSigmoid"): NARROW,
    ("SoftmaxLoss", "Tanh"): "the softmax of scores from -1 to 1 is never near 0 or 1, so SoftmaxLoss trains badly",
    ("SoftmaxLoss", "ReLU"): DEAD,
    ("SoftmaxLoss", "ReLU6"): DEAD,
    ("HingeLoss", "Softmax"): APART,
    ("HingeLoss", "Sigmoid"): APART,
    ("HingeLoss", "HardSigmoid"): APART,
    ("HingeLoss", "ReLU"): DEAD,
    ("HingeLoss", "ReLU6"): DEAD,
    ("SigmoidLoss", "Sigmoid"): "SigmoidLoss takes the sigmoid itself; taken twice, it trains badly",
    ("SigmoidLoss", "Tanh"): "the sigmoid of scores from -1 to 1 is never near 0 or 1, so SigmoidLoss trains badly",
    **{("SigmoidLoss", kind): NEVER_NO for kind in ("Softmax", "HardSigmoid", "ReLU", "ReLU6", "Softplus")},
}


def mistake(model: Layer, loss: Any) -> str:
    """Say what is wrong with a net's last layer for a loss of scores, and the cure; "" if nothing surely is.

    SoftmaxLoss, HingeLoss and SigmoidLoss want scores of any size. Those within bounds cannot bring the loss near 0;
    and where ReLU gives 0 it lets no gradient pass. Averages of ReLUs are scores that train well, so a pool makes it no
    mistake; nor are ELU and the like, which let a gradient pass on either side of 0. A loss or a net with a forward of
    its own is not judged.
    """
    forward = getattr(type(loss), "forward", None)
    name = next((loss.__name__ for loss in (SoftmaxLoss, HingeLoss, SigmoidLoss) if loss.forward is forward), "")
    if not name or getattr(model, "_has_own_pass", False):
        return ""
    last = next((layer for layer in model._from_the_end() if not isinstance(layer, SAME)), model)
    kind = {"softmax": "Softmax", "sigmoid": "Sigmoid"}.get(what_scores_are(model), type(last).__name__)
    why = WRONG.get((name, kind))
    if why is None:
        return ""
    return f"the net ends in {kind}, but {why}: leave {kind}() out{_afterwards(name, why)}"


def _afterwards(loss: str, why: str) -> str:
    """Where the probabilities come from without it."""
    if loss == "SigmoidLoss":
        return (
            " (once it is trained, cl.Sequential([net, cl.Sigmoid()], input_shape=net.input_shape) gives probabilities)"
        )
    return "" if why == DEAD else " (net.predict_proba takes the softmax)"

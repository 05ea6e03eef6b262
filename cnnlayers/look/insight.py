"""What a net sees in an image and where it errs, as plain arrays; `plot` draws them.

Nothing here changes the net: a pass that writes to layers runs on a copy.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..checks import as_integer
from ..data.targets import as_labels
from ..layers.affine import Affine
from ..layers.conv import Conv
from ..layers.layer import Layer
from ..layers.pool import AvgPool, MaxPool
from ..layers.scores import class_probabilities, class_scores, what_scores_are
from ..plan import watching
from ..training import metrics
from ..training.agreement import loss_of
from ..training.losses import SoftmaxLoss

__all__ = [
    "Hardest",
    "confusion",
    "cross_entropy",
    "filters",
    "grad_cam",
    "gradients",
    "hardest",
    "outputs",
    "probabilities",
    "row_shares",
    "saliency",
]


# Where it errs


def confusion(net: Layer, x: Any, y: Any, *, scores: Any = None) -> np.ndarray:
    """Count each pair: entry (i, j) is the number of samples of class i that the net takes for class j.

    Parameters
    ----------
    net : Layer
        It gives scores (N, C); or one Sigmoid, whose two classes are p <= 1/2 and p > 1/2.
    x : array (N, ...)
    y : array (N,) of int
        The true labels.
    scores : array (N, C), optional
        What `net.predict(x)` gave, where it is known.

    Returns
    -------
    array (C, C) of int64

    Raises
    ------
    ValueError
        If the net gives one score that is no probability, or maps.

    Examples
    --------
    >>> import cnnlayers as cl
    >>> confusion(cl.Softmax(), [[1.0, 2.0], [3.0, 1.0], [0.0, 1.0]], [1, 0, 0])
    array([[1, 1],
           [0, 1]])
    """
    scores = class_scores(net, _scores("confusion", net.predict(x) if scores is None else np.asarray(scores)))
    return metrics.confusion(scores, y)


def row_shares(counts: np.ndarray) -> np.ndarray:
    """Divide each row of a confusion matrix by its sum; a class without samples has a row of zeros.

    >>> row_shares(np.array([[3, 1], [0, 0]]))
    array([[0.75, 0.25],
           [0.  , 0.  ]])
    """
    counts = np.asarray(counts)
    sums = counts.sum(axis=1, keepdims=True)
    return counts / np.maximum(sums, 1)


@dataclasses.dataclass(frozen=True, eq=False)
class Hardest:
    """The samples that a net gets most wrong, the worst first.

    Attributes
    ----------
    index : array (K,) of int
        Where the samples are in x.
    label, predicted : array (K,) of int
        Their true class, and the one that the net takes them for.
    probability, true_probability : array (K,)
        What the net gives to the predicted and to the true class.
    wrong : int
        How many samples of all are wrong, shown or not.
    """

    index: np.ndarray
    label: np.ndarray
    predicted: np.ndarray
    probability: np.ndarray
    true_probability: np.ndarray
    wrong: int


def hardest(net: Layer, x: Any, y: Any, count: int = 12, *, scores: Any = None) -> Hardest:
    """Find the samples whose true class gets the least probability: first those taken for another class.

    Parameters
    ----------
    net : Layer
        It gives scores (N, C), or probabilities if it ends in Softmax or Sigmoid.
    x : array (N, ...)
    y : array (N,) of int
        The true labels.
    count : int
        How many to give, at most; where fewer are wrong, those that are right but least sure follow.
    scores : array (N, C), optional
        What `net.predict(x)` gave, where it is known.
    """
    count = as_integer("hardest", "count", count, low=1)
    p = _probabilities("hardest", net, x, scores)
    labels = as_labels("hardest", y, *p.shape)
    predicted = p.argmax(axis=1)
    at_label = p[np.arange(len(p)), labels]
    right = predicted == labels
    index = np.lexsort((at_label, right))[:count]  # by `right`, then by the probability
    return Hardest(
        index, labels[index], predicted[index], p.max(axis=1)[index], at_label[index], int(np.count_nonzero(~right))
    )


def probabilities(net: Layer, x: Any, scores: Any = None) -> np.ndarray:
    """Give the net's probabilities of the classes, (N, C): `net.predict_proba`; of one Sigmoid's p both, 1 - p and p.

    Raises
    ------
    ValueError
        If the net gives one score that is no probability, or maps.
    """
    return _probabilities("probabilities", net, x, scores)


def _probabilities(who: str, net: Layer, x: Any, scores: Any) -> np.ndarray:
    return class_probabilities(net, _scores(who, net.predict(x) if scores is None else np.asarray(scores)))


def cross_entropy(net: Layer, x: Any, y: Any, *, scores: Any = None) -> float:
    """Give the mean of -log P(label): how unlikely the net finds the true labels.

    P(label) is the label's probability p_y; where the net ends in several Sigmoids, whose classes know nothing of each
    other, it is p_y times the product of 1 - p_c over the other classes.

    Parameters
    ----------
    net, x, y, scores
        As for `confusion`.
    """
    scores = _scores("cross_entropy", net.predict(x) if scores is None else np.asarray(scores))
    if what_scores_are(net) == "raw" and scores.shape[1] > 1:
        return SoftmaxLoss().forward(scores, y)
    p = class_probabilities(net, scores).astype(float)
    own = np.zeros(p.shape, bool)
    own[np.arange(len(p)), as_labels("cross_entropy", y, *p.shape)] = True
    each = np.log(np.maximum(np.where(own, p, 1 - p), 1e-30))  # a log of 0 would be all that is seen
    independent = what_scores_are(net) == "sigmoid" and scores.shape[1] > 1
    return float(-(each if independent else each[own]).sum() / len(p))


# What it looks at


def outputs(net: Layer, x: Any) -> dict[str, np.ndarray]:
    """Give the output of every layer at inference, by the layer's dotted name, in the order of their computation.

    A container comes after what it holds; the net itself has the name "". No layer is fused with another, so the entry
    of a Conv is what the convolution gives, before the ReLU after it.

    Parameters
    ----------
    net : Layer
        Built; it is left as it is.
    x : array (N, ...)

    Examples
    --------
    >>> import cnnlayers as cl
    >>> net = cl.Sequential([cl.Conv(4, 3), cl.ReLU(), cl.Flatten()], input_shape=(5, 5, 1), rng=0)
    >>> {name: y.shape for name, y in outputs(net, np.ones((2, 5, 5, 1))).items()}
    {'0': (2, 3, 3, 4), '1': (2, 3, 3, 4), '2': (2, 36), '': (2, 36)}
    """
    return _outputs(_copy(net), x)


def saliency(net: Layer, x: Any, target: Any = None) -> np.ndarray:
    """Say how much each pixel matters: max over channels of |dscore/dx|, the score being that of the target class.

    Parameters
    ----------
    net : Layer
        It gives scores (N, C); it is left as it is.
    x : array (N, H, W, C), or (N, L, C)
    target : int or array (N,) of int, optional
        The class whose score it is; by default the one that the net predicts.

    Returns
    -------
    array (N, H, W), or (N, L)

    Raises
    ------
    ValueError
        If x are neither images nor signals, or the net gives no scores (N, C).

    Notes
    -----
    Source: K. Simonyan, A. Vedaldi and A. Zisserman, "Deep Inside Convolutional Networks", 2013, section 3.
    """
    twin = _copy(net)
    scores = _scores("saliency", twin.forward(x, train=False))
    dx: Any = twin.backward(_one_hot("saliency", twin, scores, target))
    if dx.ndim < 3:
        raise ValueError(f"saliency needs images (N, H, W, C) or signals (N, L, C); got shape {dx.shape}")
    return np.abs(dx).max(axis=-1)


def grad_cam(net: Layer, x: Any, layer: Layer | str | None = None, target: Any = None) -> np.ndarray:
    """Say which regions speak for a class: ReLU(sum over k of alpha_k A_k), A_k being the channels of a layer's output.

    alpha_k is dscore/dA_k averaged over the positions: how much the score gains with channel k.

    Parameters
    ----------
    net : Layer
        It gives scores (N, C); it is left as it is.
    x : array (N, H, W, C), or (N, L, C)
    layer : str or Layer, optional
        The layer, or its dotted name. By default the last one that is not a pool and gives more than one position.
    target : int or array (N,) of int, optional
        The class; by default the one that the net predicts.

    Returns
    -------
    array (N, h, w), or (N, l)
        At the resolution of the layer's output.

    Raises
    ------
    ValueError
        If the net has no such layer, or none that gives maps of more than one position.

    Notes
    -----
    Source: R. Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization",
    2017, equations 1 and 2.
    """
    twin = _copy(net)
    named = dict(twin.walk())
    seen = _outputs(twin, x)
    scores = _scores("grad_cam", seen[""])
    name = _last_with_positions(seen, named) if layer is None else name_of(net, layer, "grad_cam")
    a = seen.get(name)
    if a is None or a.ndim < 3:
        what = "has no output of its own" if a is None else f"gives {a.shape[1:]}"
        raise ValueError(f"grad_cam needs a layer that gives (H, W, C) or (L, C); {named[name]!r} {what}")
    da = _gradient_at(twin, named[name], _one_hot("grad_cam", twin, scores, target))
    positions = tuple(range(1, a.ndim - 1))
    alpha = da.mean(axis=positions, keepdims=True, dtype=np.float64).astype(da.dtype)
    return np.maximum((alpha * a).sum(axis=-1), 0)


# What it has learned


def filters(net: Layer) -> tuple[str, np.ndarray]:
    """Give the name and the filters of the first layer with weights, as pictures (F, KH, KW, C), or (F, K, C) in 1-D.

    An Affine layer that sees all pixels has a picture of the whole image's size for each unit.

    Raises
    ------
    ValueError
        If the first layer with weights is neither a Conv nor an Affine on the pixels of an image.
    """
    net.require_built()
    for name, layer in net.walk():
        if layer.children() or not any(array.ndim > 1 for array in layer.params.values()):
            continue
        if isinstance(layer, Conv):
            return name, np.moveaxis(layer.params["W"], -1, 0).copy()
        if isinstance(layer, Affine) and len(net.input_shape) == 3 and np.prod(net.input_shape) == layer.input_shape[0]:
            return name, layer.params["W"].T.reshape(-1, *net.input_shape).copy()
        raise ValueError(f"filters needs a net that begins with Conv, or Affine on an image's pixels; got {layer!r}")
    raise ValueError(f"filters needs a net with weights; {net.who} has none")


def gradients(net: Layer, x: Any, y: Any, loss: Any, weights: Any = None) -> dict[str, np.ndarray]:
    """Give the gradient of the loss of one batch for every parameter by its dotted name, as a training step has it.

    `weights` (N,) are those of the samples, if they have any.
    """
    twin = _copy(net)
    loss = copy.copy(loss)
    loss_of(loss, twin.forward(x), y, weights)
    twin.backward(loss.backward(), input_grad=False)
    return {name: np.array(grad) for name, grad in twin.grads.items()}


def name_of(net: Layer, layer: Layer | str, who: str) -> str:
    """Give the dotted name of one of the net's layers, which may be given by it."""
    names = dict(net.walk())
    if isinstance(layer, Layer):
        for name, found in names.items():
            if found is layer:
                return name
        raise ValueError(f"{who}: {layer!r} is not a layer of this net")
    if not isinstance(layer, str):
        raise TypeError(f"{who}: layer must be a layer of the net, or its name; got {layer!r}")
    if layer not in names:
        raise ValueError(f"{who}: the net has no layer {layer!r}; it has {', '.join(filter(None, names))}")
    return layer


# Copies that can be watched


def _copy(net: Layer) -> Layer:
    net.require_built()
    return net.copy()


def _outputs(twin: Layer, x: Any) -> dict[str, np.ndarray]:
    """Run a forward pass at inference and give what each layer gave."""
    names = {id(layer): name for name, layer in twin.walk()}
    seen: dict[str, np.ndarray] = {}

    def see(layer: Layer, what: str, values: np.ndarray) -> None:
        seen[names[id(layer)]] = values

    with watching((layer for _, layer in twin.walk()), see):
        twin.forward(x, train=False)
    return seen


def _gradient_at(twin: Layer, layer: Layer, dscores: np.ndarray) -> np.ndarray:
    """Run the backward pass and give the gradient that reaches the output of `layer`."""
    seen = []

    def see(layer: Layer, what: str, values: np.ndarray) -> None:
        if what == "gradient of the output":
            seen.append(values)

    with watching([layer], see):
        twin.backward(dscores)
    return seen[0]


def _last_with_positions(seen: Mapping[str, np.ndarray], named: Mapping[str, Layer]) -> str:
    for name, y in reversed(list(seen.items())):
        if y.ndim > 2 and np.prod(y.shape[1:-1]) > 1 and not isinstance(named[name], MaxPool | AvgPool):
            return name
    raise ValueError("grad_cam needs a net with a layer that gives (H, W, C) or (L, C), of more than one position")


# Scores and targets


def _scores(who: str, scores: np.ndarray) -> np.ndarray:
    if scores.ndim != 2:
        raise ValueError(f"{who} needs a net that gives scores (N, C); this one gives shape {scores.shape}")
    return scores


def _one_hot(who: str, net: Layer, scores: np.ndarray, target: Any) -> np.ndarray:
    """The gradient of the chosen scores with respect to all scores: 1 at the target class of each row.

    Of one Sigmoid's p the classes' scores are 1 - p and p, so it is -1 for the first and 1 for the second.
    """
    one = scores.shape[1] == 1 and what_scores_are(net) == "sigmoid"
    by_class = class_scores(net, scores) if one else scores
    if target is None:
        labels = by_class.argmax(axis=1)
    else:
        target = np.asarray(target)
        labels = as_labels(who, np.full(len(scores), target) if target.ndim == 0 else target, *by_class.shape)
    if one:
        return (2 * labels - 1)[:, np.newaxis].astype(scores.dtype)
    dscores = np.zeros_like(scores)
    dscores[np.arange(len(scores)), labels] = 1
    return dscores

"""What a net's scores are, read from the layers that it ends in, and the probabilities that they stand for.

`predict_proba`, the command, the report and the pictures all ask here, so they give the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from .. import kernels
from ..checks import with_batch
from ..names import readable
from .activation import Sigmoid, Softmax
from .dropout import Dropout, SpatialDropout
from .layer import Layer
from .pool import AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool
from .resize import Resize
from .shape import Flatten, Permute, Reshape
from .upsample import Upsample

Kind = Literal["softmax", "sigmoid", "raw"]

SAME = (Flatten, Permute, Reshape, Dropout, SpatialDropout)  # at inference they give the same numbers
AVERAGE = (AvgPool, GlobalAvgPool, Upsample)  # a mean of distributions is a distribution
LARGEST = (MaxPool, GlobalMaxPool)  # of numbers from 0 to 1 one of them, but those of the classes sum to 1 no longer


def what_scores_are(net: Layer) -> Kind:
    """Say what a net gives, by the layers that it ends in: "softmax", "sigmoid" or "raw".

    - "softmax": the probabilities of classes of which one holds. It ends in Softmax.
    - "sigmoid": probabilities that know nothing of each other. It ends in Sigmoid.
    - "raw": scores, as SoftmaxLoss and HingeLoss want them. It ends in anything else, a Residual or Concat among it.

    Nested Sequentials are entered. What comes after the Softmax or Sigmoid may rearrange (Flatten, Permute, Reshape),
    act in training alone (Dropout) or average (AvgPool, GlobalAvgPool, Upsample, Resize unless bicubic); after Sigmoid
    also take the largest.

    >>> from cnnlayers import Affine, Flatten, Sequential
    >>> what_scores_are(Sequential([Affine(10)])), what_scores_are(Sequential([Affine(10), Sequential([Softmax()])]))
    ('raw', 'softmax')
    """
    largest = False
    for layer in net._from_the_end():
        if isinstance(layer, Sigmoid):
            return "sigmoid"
        if isinstance(layer, Softmax) and not largest:
            return "softmax"
        if not (isinstance(layer, SAME + AVERAGE + LARGEST) or (isinstance(layer, Resize) and layer.averages)):
            break
        largest = largest or isinstance(layer, LARGEST)
    return "raw"


def probabilities(net: Layer, scores: np.ndarray) -> np.ndarray:
    """Give the probabilities that a net's scores stand for, in the scores' shape.

    What ends in Softmax or Sigmoid gives them already; of raw scores it is the softmax along the last axis, so maps
    (N, H, W, C) have a distribution at each position.

    Raises
    ------
    ValueError
        For one raw score: nothing says how a single number would become a probability.
    """
    _refuse_one_raw(net, scores)
    return kernels.softmax(scores) if what_scores_are(net) == "raw" else scores


def class_scores(net: Layer, scores: np.ndarray) -> np.ndarray:
    """Give a score for each class, of which the largest is the net's answer: of one Sigmoid's p they are 1 - p and p.

    So one Sigmoid decides for the second of two classes where p > 1/2. All other scores stay as they are.

    Raises
    ------
    ValueError
        For one raw score.
    """
    _refuse_one_raw(net, scores)
    return np.concatenate([1 - scores, scores], axis=-1) if scores.shape[-1:] == (1,) else scores


def class_probabilities(net: Layer, scores: np.ndarray) -> np.ndarray:
    """Give a probability for each class: `probabilities`, and of one Sigmoid's p both 1 - p and p.

    Raises
    ------
    ValueError
        For one raw score.
    """
    return class_scores(net, probabilities(net, scores))


def as_class_names(net: Layer, classes: Iterable[str]) -> tuple[str, ...]:
    """Check the names of a built net's classes: a list of str, one for each score, or two for one Sigmoid."""
    if isinstance(classes, str) or not isinstance(classes, Iterable):
        raise TypeError(f"{net.who}: classes must be a list of names, such as ['cat', 'dog']; got {classes!r}")
    names = tuple(classes)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"{net.who}: classes must be names, of str; got {name!r}")
    shape = tuple(net.output_shape(net.input_shape or ()))
    width = shape[-1] if shape else 0
    both = width == 1 and len(names) == 2 and what_scores_are(net) == "sigmoid"
    if len(names) != width and not both:
        raise ValueError(
            f"{net.who}: the net gives {with_batch(shape)}, so it has {width} classes to name; got {len(names)} names"
        )
    return tuple(map(str, names))  # np.str_ among them


def class_names(names: Sequence[str] | None, count: int) -> list[str]:
    """Name `count` classes: by the names, or by numbers without; a single name for one Sigmoid's two is the second's.

    Raises
    ------
    ValueError
        If there are other than `count` names.

    >>> class_names(["cat"], 2)
    ['not cat', 'cat']
    """
    given = [readable(str(name)) for name in (range(count) if names is None else names)]
    if len(given) == 1 and count == 2:
        given = [f"not {given[0]}", given[0]]
    if len(given) != count:
        raise ValueError(f"classes must name all {count} classes of the net; got {len(given)}")
    return given


def same_names(ours: Sequence[str] | None, others: Sequence[str]) -> bool:
    """Whether two lists name the same classes, as they are read."""
    return ours is not None and [*map(readable, ours)] == [*map(readable, others)]


def _refuse_one_raw(net: Layer, scores: np.ndarray) -> None:
    if scores.shape[-1:] == (1,) and what_scores_are(net) != "sigmoid":
        raise ValueError(
            f"{net.who} gives one score, shape {with_batch(scores.shape[1:])}, whose softmax is always 1. For a "
            "probability end the net in Sigmoid(), or give it two outputs and SoftmaxLoss; for the number itself, as "
            "in a regression, take net.predict(x)"
        )

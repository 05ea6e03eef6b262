"""How good scores are, in numbers that people read: functions `(scores, target, weights=None) -> float`.

`weights` (N,) are those of the samples: one of weight 2 counts as two, one of weight 0 is not there.
"""

from typing import Any

import numpy as np

from ..checks import as_integer
from ..data.targets import as_labels, as_rows, as_scores, as_weights

__all__ = ["accuracy", "confusion_matrix", "top_k_accuracy"]


def accuracy(scores: Any, target: Any, ignore_label: int | None = None, *, weights: Any = None) -> float:
    """Share of the samples whose highest score is at their label.

    Ties go to the first class; a row with NaN in it counts as wrong.

    Parameters
    ----------
    scores : array (N, C)
        Scores or probabilities.
    target : array (N,) or (N, C)
        Integer labels; or probability rows, whose label is the likeliest class.
    ignore_label : int, optional
        Samples with this label are left out.
    weights : array (N,), optional
        The weights of the samples.

    Raises
    ------
    ValueError, TypeError
        If the labels are not integers in 0..C-1, one per row, or none counts.

    Examples
    --------
    >>> accuracy([[0.1, 0.9], [0.8, 0.2], [0.7, 0.3]], [1, 0, 1])
    0.6666666666666666
    """
    scores, labels, w = _labelled("accuracy", scores, target, ignore_label, weights)
    return float(np.average(_predicted(scores) == labels, weights=w))


def top_k_accuracy(
    scores: Any, target: Any, k: int = 5, ignore_label: int | None = None, *, weights: Any = None
) -> float:
    """Share of the samples whose label is among the `k` highest scores.

    Ties go to the earlier class, so `k=1` is `accuracy`; a row with NaN in it counts as wrong.

    Raises
    ------
    ValueError, TypeError
        As for `accuracy`, and if `k` is not an int in 1..C.

    Examples
    --------
    >>> top_k_accuracy([[0.1, 0.6, 0.3], [0.5, 0.4, 0.1]], [2, 2], k=2)
    0.5
    """
    scores, labels, w = _labelled("top_k_accuracy", scores, target, ignore_label, weights)
    k = as_integer("top_k_accuracy", "k", k, low=1)
    if k > scores.shape[1]:
        raise ValueError(f"top_k_accuracy: k must be at most the number of classes, {scores.shape[1]}; got {k}")
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    rank = np.count_nonzero((scores > own) | ((scores == own) & earlier), axis=1)  # 0 is the best
    right = (rank < k) & ~np.isnan(scores).any(axis=1)
    return float(np.average(right, weights=w))


def confusion_matrix(scores_or_labels: Any, target: Any, classes: int) -> np.ndarray:
    """Count each pair: entry (i, j) is the number of samples of class i that were predicted as class j.

    Parameters
    ----------
    scores_or_labels : array (N, C) or (N,)
        Scores, or the predicted labels.
    target : array (N,)
        The true labels.
    classes : int
        C, the number of classes.

    Returns
    -------
    array (C, C) of int64

    Raises
    ------
    ValueError, TypeError
        If labels are not integers in 0..C-1, the lengths differ, or a row of scores has NaN in it.

    Examples
    --------
    >>> confusion_matrix([0, 1, 1], [0, 0, 1], classes=2)
    array([[1, 1],
           [0, 1]])
    """
    who = "confusion_matrix"
    classes = as_integer(who, "classes", classes, low=1)
    given = np.asarray(scores_or_labels)
    if given.ndim == 2:
        given = as_scores(who, given)
        if given.shape[1] != classes:
            raise ValueError(f"{who}: {classes} classes need scores (N, {classes}); got shape {given.shape}")
        given = _predicted(given)
        if given.min() < 0:
            raise ValueError(f"{who} needs scores without NaN; got one in row {int(given.argmin())}")
    if given.ndim != 1 or given.size == 0:
        raise ValueError(f"{who} needs scores (N, {classes}) or labels (N,), N at least 1; got shape {given.shape}")
    predicted = as_labels(who, given, len(given), classes)
    labels = as_labels(who, target, len(given), classes)
    counts = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64, copy=False)


def _labelled(
    who: str, scores: Any, target: Any, ignore_label: int | None, weights: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Scores and labels, and weights if there are any, of those samples that count."""
    scores = as_scores(who, scores)
    n, classes = scores.shape
    if classes == 1:
        raise ValueError(
            f"{who} needs scores of at least two classes; got shape {scores.shape}, whose highest score is always the "
            "first: of one Sigmoid's p, hand over np.concatenate([1 - p, p], axis=1)"
        )
    w = None if weights is None else as_weights(who, weights, n)
    if np.ndim(target) == 2:
        return scores, as_rows(who, target, n, classes).argmax(axis=1), w
    labels = as_labels(who, target, n, classes, ignore_label)
    if ignore_label is None:
        return scores, labels, w
    counted = labels >= 0
    if w is not None:
        w = w[counted]
        if not w.any():
            raise ValueError(f"{who} needs a label that counts of a sample of positive weight")
    return scores[counted], labels[counted], w


def _predicted(scores: np.ndarray) -> np.ndarray:
    """The class of the highest score; -1 for a row with NaN in it."""
    return np.where(np.isnan(scores).any(axis=1), -1, scores.argmax(axis=1))

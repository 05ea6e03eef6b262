"""How good scores are, in numbers that people read: functions `(scores, target, *, weights=None)`.

Those that give a number go to `Solver(metrics={"f1": cl.metrics.f1})`; an argument of theirs is bound by
`functools.partial(cl.metrics.top_k, k=3)`. `weights` (N,) are those of the samples: one of weight 2 counts as two, one
of weight 0 is not there.

What a target means depends on its shape. Labels (N,) beside scores (N, C) are of classes, of which the highest score is
the answer. A target of the scores' shape is of labels of which any number may hold, each with an answer of its own: yes
where the score is above 0, as those of `SigmoidLoss` are (of probabilities p, hand over p - 1/2). Scores (N,) or (N, 1)
are of one such label. Probability rows of classes, as blended images have, mean classes to `accuracy` alone: to the
others hand over target.argmax(axis=1).
"""

from typing import Any

import numpy as np

from ..checks import as_integer
from ..data.targets import as_float, as_labels, as_rows, as_scores, as_truths, as_weights

__all__ = ["accuracy", "average_precision", "confusion", "f1", "label_accuracy", "precision", "recall", "top_k"]


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


def top_k(scores: Any, target: Any, k: int = 5, ignore_label: int | None = None, *, weights: Any = None) -> float:
    """Share of the samples whose label is among the `k` highest scores.

    Ties go to the earlier class, so `k=1` is `accuracy`; a row with NaN in it counts as wrong.

    Raises
    ------
    ValueError, TypeError
        As for `accuracy`, and if `k` is not an int in 1..C.

    Examples
    --------
    >>> top_k([[0.1, 0.6, 0.3], [0.5, 0.4, 0.1]], [2, 2], k=2)
    0.5
    """
    scores, labels, w = _labelled("top_k", scores, target, ignore_label, weights)
    k = as_integer("top_k", "k", k, low=1)
    if k > scores.shape[1]:
        raise ValueError(f"top_k: k must be at most the number of classes, {scores.shape[1]}; got {k}")
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    rank = np.count_nonzero((scores > own) | ((scores == own) & earlier), axis=1)  # 0 is the best
    right = (rank < k) & ~np.isnan(scores).any(axis=1)
    return float(np.average(right, weights=w))


def label_accuracy(scores: Any, target: Any, average: str | None = "macro", *, weights: Any = None) -> Any:
    """Share of the labels that are right, over all samples and labels: yes where a score is above 0.

    A score of NaN counts as wrong. A target above 1/2 means that the label holds.

    Parameters
    ----------
    scores : array (N, L), or (N,) or (N, 1) of one label, or maps (N, H, W, L)
        Scores, not probabilities.
    target : array of that shape
        0 or 1, or probabilities.
    average : {"macro", None}
        The mean over the labels, or an array (L,) with a share for each.
    weights : array (N,), optional
        The weights of the samples.

    Raises
    ------
    ValueError, TypeError
        If the shapes differ, there is no sample, or targets are not in 0..1.

    Examples
    --------
    >>> label_accuracy([[2.0, -1.0], [-3.0, 0.5]], [[1, 0], [1, 1]])
    0.75
    >>> label_accuracy([[2.0, -1.0], [-3.0, 0.5]], [[1, 0], [1, 1]], average=None)
    array([0.5, 1. ])
    """
    z, holds, w = _of_labels("label_accuracy", scores, target, weights)
    return _averaged("label_accuracy", np.average(_says_yes(z, holds) == holds, axis=0, weights=w), average)


def precision(
    scores: Any,
    target: Any,
    average: str | None = "macro",
    *,
    ignore_label: int | None = None,
    weights: Any = None,
) -> Any:
    """Of the samples that were taken for a class, the share that are of it; the mean of this over the classes.

    A class that was never the answer though there are samples of it has 0. One that is neither in the labels nor in the
    answers has no precision: it is left out of the mean, and NaN in the array of all, without a warning. That is what
    scikit-learn's `precision_score(y, answers, average="macro")` gives. If no class is left, the mean is NaN.

    Parameters
    ----------
    scores : array (N, C), or (N, L), (N,), (N, 1) or maps (N, H, W, L) of labels
        Of classes the highest is the answer; of labels each above 0 is a yes. NaN counts as wrong.
    target : array (N,), or of the scores' shape
        Integer labels of classes, or for each label 0 or 1 (or a probability: above 1/2 it holds).
    average : {"macro", None}
        The mean over the classes or labels, or an array with a number for each.
    ignore_label : int, optional
        Samples with this label of a class are left out.
    weights : array (N,), optional
        The weights of the samples.

    Raises
    ------
    ValueError, TypeError
        If the target does not go with the scores, or nothing counts.

    Examples
    --------
    >>> scores, labels = [[3, 1, 0], [2, 1, 0], [0, 1, 0]], [0, 1, 1]  # the answers are 0, 0, 1; nothing is of class 2
    >>> precision(scores, labels)
    0.75
    >>> precision(scores, labels, average=None)
    array([0.5, 1. , nan])
    """
    hits, answers, there = _counted("precision", scores, target, ignore_label, weights)
    return _averaged("precision", _share(hits, answers, answers + there), average)


def recall(
    scores: Any,
    target: Any,
    average: str | None = "macro",
    *,
    ignore_label: int | None = None,
    weights: Any = None,
) -> Any:
    """Of the samples of a class, the share that were taken for it; the mean of this over the classes.

    A class of which there is no sample though it was an answer has 0. Parameters, errors and classes that are not there
    are as for `precision`.

    Examples
    --------
    >>> recall([[3, 1, 0], [2, 1, 0], [0, 1, 0]], [0, 1, 1], average=None)
    array([1. , 0.5, nan])
    """
    hits, answers, there = _counted("recall", scores, target, ignore_label, weights)
    return _averaged("recall", _share(hits, there, answers + there), average)


def f1(
    scores: Any,
    target: Any,
    average: str | None = "macro",
    *,
    ignore_label: int | None = None,
    weights: Any = None,
) -> Any:
    """Harmonic mean of precision and recall, 2 P R / (P + R) = 2 hits / (answers + samples) of a class; and their mean.

    Parameters, errors and classes that are not there are as for `precision`.

    Examples
    --------
    >>> f1([[3, 1, 0], [2, 1, 0], [0, 1, 0]], [0, 1, 1])
    0.6666666666666666
    >>> f1([1.5, -0.5, 2.0], [1, 1, 0])  # one label, yes or no
    0.5
    """
    hits, answers, there = _counted("f1", scores, target, ignore_label, weights)
    return _averaged("f1", _share(2 * hits, answers + there, answers + there), average)


def average_precision(
    scores: Any,
    target: Any,
    average: str | None = "macro",
    *,
    ignore_label: int | None = None,
    weights: Any = None,
) -> Any:
    """Area under precision over recall, sum_k (R_k - R_{k-1}) P_k of a label; the mean of this over the labels.

    P_k and R_k are precision and recall if the k highest scores of a label are taken for a yes; equal scores go
    together. 1 if all that hold come before all others; about the share of those that hold if the order is random. A
    label that never holds has none: it is left out of the mean, and NaN in the array of all, without a warning. A score
    of NaN counts as wrong: it comes last if the label holds, else first.

    Parameters and errors are as for `precision`. Of classes, each is a label that holds for its own samples, and its
    column is ranked as it is: hand over probabilities, since scores of two samples may differ by any number.

    Examples
    --------
    >>> average_precision([0.9, 0.4, 0.3, 0.1], [1, 0, 1, 0])  # 1/2 of 1, and 1/2 of 2/3
    0.8333333333333333
    """
    who = "average_precision"
    z, holds, w, _ = _judged(who, scores, target, ignore_label, weights)
    z = np.where(np.isnan(z), np.where(holds, -np.inf, np.inf), z)
    each = [_area(*column, w) for column in zip(z.T, holds.T, strict=True)]
    return _averaged(who, np.array(each), average)


def confusion(scores_or_labels: Any, target: Any, classes: int | None = None, *, weights: Any = None) -> np.ndarray:
    """Count each pair: entry (i, j) is the number of samples of class i that were predicted as class j.

    Parameters
    ----------
    scores_or_labels : array (N, C) or (N,)
        Scores, or the predicted labels.
    target : array (N,)
        The true labels.
    classes : int, optional
        C, the number of classes; by default that of the scores, or one more than the largest label.
    weights : array (N,), optional
        The weights of the samples, which are added up then.

    Returns
    -------
    array (C, C) of int64, or of float64 with weights
        A class that is not there has a row and a column of zeros.

    Raises
    ------
    ValueError, TypeError
        If labels are not integers in 0..C-1, the lengths differ, or a row of scores has NaN in it.

    Examples
    --------
    >>> confusion([0, 1, 1], [0, 0, 1])
    array([[1, 1],
           [0, 1]])
    """
    who, given = "confusion", np.asarray(scores_or_labels)
    if classes is None:
        classes = given.shape[1] if given.ndim == 2 else 1 + _largest(given, np.asarray(target))
    classes = as_integer(who, "classes", classes, low=1)
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
    w = None if weights is None else as_weights(who, weights, len(given))
    counts = np.bincount(labels * classes + predicted, w, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64 if w is None else np.float64, copy=False)


def _largest(*labels: np.ndarray) -> int:
    """The largest of labels, as far as they are integers; 0 if there is none."""
    return max((int(a.max(initial=0)) for a in labels if a.dtype.kind in "iu"), default=0)


# Classes, of which one holds, and labels, of which any may


def _labelled(
    who: str, scores: Any, target: Any, ignore_label: int | None, weights: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Scores and labels, and weights if there are any, of those samples that count."""
    scores = as_scores(who, scores)
    n, classes = scores.shape
    if classes == 1:
        raise ValueError(
            f"{who} needs scores of at least two classes; got shape {scores.shape}, whose highest score is always the "
            "first: of one Sigmoid's p, hand over np.concatenate([1 - p, p], axis=1); one score of SigmoidLoss goes to "
            "label_accuracy"
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


def _of_labels(who: str, scores: Any, target: Any, weights: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Scores (M, L), whether each label holds, and weights (M,) if there are any; M counts the pixels of maps."""
    z = as_float(who, "scores", scores)
    if z.size == 0 or z.ndim == 0:
        raise ValueError(f"{who} needs at least one sample with a score; got scores of shape {z.shape}")
    one = z.ndim == 1 or np.shape(target) == (*z.shape, 1)
    holds = as_truths(who, target, z.shape) > 0.5
    w = None if weights is None else as_weights(who, weights, len(z))
    rows = (-1, 1 if one else z.shape[-1])
    z, holds = z.reshape(rows), holds.reshape(rows)
    if w is not None:
        w = np.repeat(w, len(z) // len(w))
    return z, holds, w


def _says_yes(z: np.ndarray, holds: np.ndarray) -> np.ndarray:
    """The answer to each label: whether its score is above 0; the wrong one where it is NaN."""
    return np.where(np.isnan(z), ~holds, z > 0)


def _judged(
    who: str, scores: Any, target: Any, ignore_label: int | None, weights: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray]:
    """Scores (M, L), what holds, the weights if there are any, and the answers: of labels, or of classes as labels."""
    shape = np.shape(scores)
    if np.ndim(target) == 1 and len(shape) == 2 and shape[1] > 1:
        z, labels, w = _labelled(who, scores, target, ignore_label, weights)
        classes = np.arange(z.shape[1])
        return z, labels[:, np.newaxis] == classes, w, _predicted(z)[:, np.newaxis] == classes
    z, holds, w = _of_labels(who, scores, target, weights)
    return z, holds, w, _says_yes(z, holds)


def _counted(
    who: str, scores: Any, target: Any, ignore_label: int | None, weights: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How many samples of each class were taken for it, were taken for it of all, and are of it."""
    _, holds, w, answers = _judged(who, scores, target, ignore_label, weights)
    hits, said, there = (a.sum(axis=0) if w is None else w @ a for a in (holds & answers, answers, holds))
    return hits, said, there


def _share(part: np.ndarray, whole: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """part / whole; 0 where there is no whole, and NaN where the class was not seen at all."""
    shares = np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)
    return np.where(seen > 0, shares, np.nan)


def _area(z: np.ndarray, holds: np.ndarray, w: np.ndarray | None) -> float:
    """Average precision of one label."""
    w = np.ones(len(z)) if w is None else w
    order = np.argsort(-z, kind="stable")
    order = order[w[order] > 0]
    z = z[order]
    last = np.append(np.flatnonzero(z[1:] != z[:-1]), len(z) - 1)  # of each run of equal scores
    hits, said = np.cumsum((w * holds)[order])[last], np.cumsum(w[order])[last]
    if hits[-1] == 0:
        return np.nan
    return float((np.diff(hits, prepend=0) * (hits / said)).sum() / hits[-1])


def _averaged(who: str, values: np.ndarray, average: str | None) -> Any:
    """The mean of what is there, or all of it."""
    if average is None:
        return values
    if average != "macro":
        raise ValueError(f'{who}: average must be "macro" or None; got {average!r}')
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else np.nan

"""Scores and targets as losses and metrics take them: checked, and in one form."""

from typing import Any

import numpy as np

from .. import kernels

__all__ = ["as_float", "as_labels", "as_reals", "as_rows", "as_scores", "as_truths", "as_weights", "check_rows"]

REAL = "biuf"  # the kinds of dtype that are real numbers: bool, int, unsigned int, float
PART = 2**16  # how many probability rows are checked at a time
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))  # in native byte order


def as_scores(who: str, scores: Any) -> np.ndarray:
    """Give scores (N, C) as float64 or float32: these two are kept, other real dtypes become float32."""
    scores = as_float(who, "scores", scores)
    if scores.ndim != 2 or scores.shape[1] == 0:
        raise ValueError(f"{who} needs scores (N, C), a row of C class scores per sample; got shape {scores.shape}")
    if len(scores) == 0:
        raise ValueError(f"{who} needs at least one sample; got an empty batch, scores of shape {scores.shape}")
    return scores


def as_float(who: str, what: str, a: Any) -> np.ndarray:
    """Give real numbers of any shape as native float64 or float32: these two are kept, others become float32."""
    a = np.asarray(a)
    if a.dtype in FLOATS:
        return a
    if a.dtype.kind not in REAL:
        raise TypeError(f"{who}: {what} must be real numbers; got dtype {a.dtype}")
    double = a.dtype.kind == "f" and a.dtype.itemsize == 8
    return a.astype(np.float64 if double else np.float32)


def as_reals(who: str, target: Any) -> np.ndarray:
    """Give targets as an array of real numbers."""
    t = np.asarray(target)
    if t.dtype.kind not in REAL:
        raise TypeError(f"{who}: the target must be real numbers; got dtype {t.dtype}")
    return t


def as_truths(who: str, target: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Give what holds and what does not, numbers in 0..1, in the shape of the scores.

    Of scores or targets of one label, (N, 1), either may lack the axis of the label.
    """
    t = as_reals(who, target)
    if t.shape != shape and (*t.shape, 1) != shape and t.shape != (*shape, 1):
        hint = ""
        if t.ndim == 1 and len(shape) == 2 and t.dtype.kind in "iu" and t.shape == shape[:1]:
            hint = f"; numbers of classes go with SoftmaxLoss, or as rows np.eye({shape[1]})[y]"
        raise ValueError(f"{who} needs a target of the scores' shape {shape}; got shape {t.shape}{hint}")
    good = (t >= 0) & (t <= 1)
    if not good.all():
        at = np.unravel_index(int(good.argmin()), t.shape)
        where = f"position {at[0]}" if len(at) == 1 else f"position {tuple(map(int, at))}"
        hint = "; of -1 and 1 take y > 0" if np.isin(t, (-1, 1)).all() else ""
        raise ValueError(f"{who}: targets must be 0 or 1, or probabilities between; got {t[at]} at {where}{hint}")
    return t.reshape(shape)


def as_labels(who: str, target: Any, n: int, classes: int, ignore_label: int | None = None) -> np.ndarray:
    """Give integer labels (N,) as a new array of int64; ignored ones come back as -1."""
    given = np.asarray(target)
    if given.shape != (n,):
        raise ValueError(
            f"{who}: {n} rows of scores need labels of shape ({n},); got shape {given.shape}"
            f"{_labels_within(given, n, classes)}"
        )
    if given.dtype.kind not in "iu":
        raise TypeError(
            f"{who}: labels must be integers in 0..{classes - 1}; got dtype {given.dtype}{_integers_of(given)}"
        )
    labels = given.astype(np.int64, order="C")  # what wraps around is out of range, before and after
    ignored = None if ignore_label is None else given == ignore_label
    counted = labels if ignored is None else labels[~ignored]
    if not kernels.indices_fit(counted, classes):
        bad = (labels < 0) | (labels >= classes)
        at = int((bad if ignored is None else bad & ~ignored).argmax())
        raise ValueError(
            f"{who}: labels must be integers in 0..{classes - 1}; got {given[at]} at position {at}"
            f"{_range_of(given if ignored is None else given[~ignored], classes)}"
        )
    if len(counted) == 0:
        raise ValueError(f"{who} needs at least one label that counts; all {n} are ignore_label={ignore_label}")
    if ignored is not None:
        labels[ignored] = -1
    return labels


def _labels_within(given: np.ndarray, n: int, classes: int) -> str:
    """How to get labels (N,) out of targets of another shape, for an error; "" if nothing is plain."""
    if given.ndim == 2 and given.shape == (n, 1):
        return "; take y[:, 0]"
    if given.ndim > 1 and given.size == n:
        return "; take y.ravel()"
    return "; of one-hot rows take y.argmax(axis=1)" if given.shape == (n, classes) else ""


def _integers_of(given: np.ndarray) -> str:
    """How to get integers out of labels of another dtype, for an error."""
    if given.dtype.kind == "b" or (given.dtype.kind == "f" and (given == np.floor(given)).all()):
        return "; take y.astype(int)"
    return "; np.unique(y, return_inverse=True)[1] numbers them" if given.dtype.kind in "OSU" else ""


def _range_of(given: np.ndarray, classes: int) -> str:
    """What the labels are that do not fit, and what that may mean, for an error."""
    low, high = int(given.min()), int(given.max())
    said = f" (the smallest is {low}, the largest {high})"
    if low >= 1 and high == classes > 1:
        return f"{said}: do your labels begin at 1? Then take y - 1"
    if classes == 1 and (low, high) == (0, 1):
        return f"{said}: two classes need two scores, a last layer Affine(2), or SigmoidLoss"
    return said


def as_rows(who: str, target: Any, n: int, classes: int, first: int = 0) -> np.ndarray:
    """Give probability rows (N, C) as new float64: each at least 0, its sum 1 (within 0.001, then as it came).

    `first` is the number of the first row, for errors.
    """
    rows = np.asarray(target)
    if rows.shape != (n, classes):
        raise ValueError(
            f"{who}: scores of shape ({n}, {classes}) need integer labels ({n},) or probability rows "
            f"({n}, {classes}); got shape {rows.shape}{_labels_within(rows, n, classes)}"
        )
    if rows.dtype.kind not in REAL:
        raise TypeError(f"{who}: probability rows must be real numbers; got dtype {rows.dtype}")
    rows = rows.astype(np.float64, order="C")
    proper = np.isfinite(rows).all(axis=1) & (rows >= 0).all(axis=1)
    if not proper.all():
        at = int(proper.argmin())
        raise ValueError(
            f"{who}: probability rows must be finite and at least 0; got {rows[at].tolist()} in row {first + at}"
        )
    sums = rows.sum(axis=1)
    off = np.abs(sums - 1) > 1e-3
    if off.any():
        at = int(off.argmax())
        raise ValueError(f"{who}: probability rows must sum to 1; got {sums[at]:g} in row {first + at}")
    return rows


def as_weights(who: str, weights: Any, n: int, some: bool = True) -> np.ndarray:
    """Give the weights of n samples as new float64 (N,): finite, at least 0, and with `some` not all 0."""
    given = np.asarray(weights)
    if given.dtype.kind not in REAL:
        raise TypeError(f"{who}: weights must be real numbers; got dtype {given.dtype}")
    if given.shape != (n,):
        hint = "; take weights[:, 0]" if given.shape == (n, 1) else ""
        raise ValueError(f"{who}: {n} samples need weights of shape ({n},); got shape {given.shape}{hint}")
    w = given.astype(np.float64, order="C")
    good = np.isfinite(w) & (w >= 0)
    if not good.all():
        at = int(good.argmin())
        raise ValueError(f"{who}: weights must be finite and at least 0; got {given[at]} at position {at}")
    with np.errstate(over="ignore"):
        total = w.sum()
    if total == np.inf:
        raise ValueError(f"{who}: the sum of the weights must be finite; the largest is {w.max()}")
    if some and total == 0:
        raise ValueError(f"{who} needs a sample of positive weight; all {n} have weight 0")
    return w


def check_rows(who: str, target: Any, classes: int) -> None:
    """Refuse what `as_rows` refuses, without a copy of all rows, which may be many."""
    rows = np.asarray(target)
    step = PART if rows.shape[1:] == (classes,) else len(rows)  # rows of another shape are refused as a whole
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        as_rows(who, part, len(part), classes, start)

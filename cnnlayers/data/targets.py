"""Scores and targets as losses and metrics take them: checked, and in one form."""

from typing import Any

import numpy as np

from .. import kernels

__all__ = ["as_labels", "as_rows", "as_scores"]

REAL = "biuf"  # the kinds of dtype that are real numbers: bool, int, unsigned int, float
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


def as_labels(who: str, target: Any, n: int, classes: int, ignore_label: int | None = None) -> np.ndarray:
    """Give integer labels (N,) as a new array of int64; ignored ones come back as -1."""
    given = np.asarray(target)
    if given.shape != (n,):
        raise ValueError(f"{who}: {n} rows of scores need labels of shape ({n},); got shape {given.shape}")
    if given.dtype.kind not in "iu":
        raise TypeError(f"{who}: labels must be integers in 0..{classes - 1}; got dtype {given.dtype}")
    labels = given.astype(np.int64, order="C")  # what wraps around is out of range, before and after
    ignored = None if ignore_label is None else given == ignore_label
    counted = labels if ignored is None else labels[~ignored]
    if not kernels.indices_fit(counted, classes):
        bad = (labels < 0) | (labels >= classes)
        at = int((bad if ignored is None else bad & ~ignored).argmax())
        raise ValueError(f"{who}: labels must be integers in 0..{classes - 1}; got {given[at]} at position {at}")
    if len(counted) == 0:
        raise ValueError(f"{who} needs at least one label that counts; all {n} are ignore_label={ignore_label}")
    if ignored is not None:
        labels[ignored] = -1
    return labels


def as_rows(who: str, target: Any, n: int, classes: int) -> np.ndarray:
    """Give probability rows (N, C) as new float64: each at least 0, its sum 1 (within 0.001, then as it came)."""
    rows = np.asarray(target)
    if rows.shape != (n, classes):
        raise ValueError(
            f"{who}: scores of shape ({n}, {classes}) need integer labels ({n},) or probability rows "
            f"({n}, {classes}); got shape {rows.shape}"
        )
    if rows.dtype.kind not in REAL:
        raise TypeError(f"{who}: probability rows must be real numbers; got dtype {rows.dtype}")
    rows = rows.astype(np.float64, order="C")
    proper = np.isfinite(rows).all(axis=1) & (rows >= 0).all(axis=1)
    if not proper.all():
        at = int(proper.argmin())
        raise ValueError(f"{who}: probability rows must be finite and at least 0; got {rows[at].tolist()} in row {at}")
    sums = rows.sum(axis=1)
    off = np.abs(sums - 1) > 1e-3
    if off.any():
        at = int(off.argmax())
        raise ValueError(f"{who}: probability rows must sum to 1; got {sums[at]:g} in row {at}")
    return rows

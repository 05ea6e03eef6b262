"""The losses, and those of classes: of scores (N, C), of which the highest is the answer."""

from functools import partial
from typing import Any

import numpy as np

from .. import kernels
from ..arrays import clean
from ..checks import as_integer, as_number
from ..data.targets import REAL, as_labels, as_rows, as_scores, as_weights, check_rows
from .elementwise import MSELoss, SigmoidLoss
from .loss import Loss, Metric
from .metrics import accuracy

__all__ = ["HingeLoss", "Loss", "MSELoss", "SigmoidLoss", "SoftmaxLoss"]


class SoftmaxLoss(Loss):
    """L = - mean over the batch of sum_c p_c log q_c, with q = softmax(z): the negative log-likelihood of the labels.

    Forward     q = softmax(z),  L = -(1/N) sum_n log q_y
    Backward    dL/dz = (q - e_y) / N

    where e_y is the one-hot row of label y. In full, with targets p (e_y for a label), `label_smoothing` e and class
    weights w:

        p' = (1 - e) p + e / C
        L  = sum_n sum_c w_c p'_nc (-log q_nc) / Z
        Z  = sum_n sum_c w_c p_nc            (N without weights; the sum of w_y for labels)

    With weights of the samples, both sums over n are weighted.

    Shapes      z (N, C);  target (N,) integers, or (N, C) probability rows;  weights (N,);  dL/dz (N, C)
    Errors      ValueError or TypeError for labels that are not integers in 0..C-1, one per row; for rows that are not
                probabilities; for an empty or wholly ignored batch; for labels that all have weight 0; for weights
                that are negative, not finite or all 0
    Source      UC Berkeley CS W182 discussion sheet, Problem 1
    Twin        reference.loss.softmax_loss

    Scores that are NaN or +Inf give a loss of NaN or Inf, without a warning. A score of -Inf rules its class out.

    Parameters
    ----------
    label_smoothing : float
        e in 0..1: the share of each target that is spread evenly over the classes.
    class_weights : sequence of C floats, optional
        The weight w of each class, at least 0. A probability row counts by the same rule as a label, so a one-hot row
        gives exactly what its label gives (PyTorch divides by N for rows).
    ignore_label : int, optional
        Samples with this integer label leave both sums, and their gradient is 0. It may be negative.
    reduction : {"mean", "sum"}
        "sum": without the division by Z.

    Examples
    --------
    >>> loss = SoftmaxLoss()
    >>> round(loss.forward(np.log([[0.25, 0.75]]), [1]), 4)  # - log 0.75
    0.2877
    >>> loss.backward()
    array([[ 0.25, -0.25]])
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        class_weights: Any = None,
        ignore_label: int | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        who = "SoftmaxLoss"
        self.label_smoothing = as_number(who, "label_smoothing", label_smoothing, low=0, high=1)
        self.class_weights = None if class_weights is None else _as_class_weights(who, class_weights)
        self.ignore_label = None if ignore_label is None else as_integer(who, "ignore_label", ignore_label)

    def forward(self, scores: Any, target: Any, weights: Any = None) -> float:
        """Give the loss.

        Parameters
        ----------
        scores : array (N, C)
            z, real numbers.
        target : array (N,) of integers, or (N, C) of probabilities
            Labels, or rows that sum to 1.
        weights : array (N,), optional
            The weights of the samples: finite, at least 0 and not all 0.
        """
        self._saved = None
        z = as_scores("SoftmaxLoss", scores)
        z, p = clean(z, z.dtype), self._target(target, *z.shape)
        w = None if self.class_weights is None else self._weights(z.shape[1])
        if weights is None:
            self.weight = self._normaliser(p, w)
            loss, dz = kernels.softmax_loss(z, p, self._divisor(), self.label_smoothing, w)
        else:
            each = as_weights("SoftmaxLoss", weights, len(z))
            self.weight = self._normaliser(p, w, each)
            rows = each[:, np.newaxis] * _one_hot(p, z.shape[1])  # each term of a row is proportional to it
            loss, dz = kernels.softmax_loss(z, rows, self._divisor(), self.label_smoothing, w)
            dz[each == 0] = 0  # where z is NaN too
        self._saved = dz  # dz = q - e_y: one pass over z gives both
        return loss

    def backward(self) -> np.ndarray:
        """Give dL/dz (N, C), in the dtype of the scores."""
        return self._take().copy()

    def metrics(self) -> dict[str, Metric]:
        """Give `{"accuracy": ...}`, over the labels that are not ignored."""
        return {"accuracy": partial(accuracy, ignore_label=self.ignore_label)}

    def _target(self, target: Any, n: int, classes: int) -> np.ndarray:
        """Labels (N,), -1 where ignored; or probability rows (N, C)."""
        target = np.asarray(target)
        if target.ndim != 1:
            return as_rows("SoftmaxLoss", target, n, classes)
        return as_labels("SoftmaxLoss", target, n, classes, self.ignore_label)

    def _weights(self, classes: int) -> np.ndarray:
        w = np.array(self.class_weights)
        if len(w) != classes:
            raise ValueError(f"SoftmaxLoss: {classes} classes need {classes} class_weights; got {len(w)}")
        return w

    def _normaliser(self, p: np.ndarray, w: np.ndarray | None, each: np.ndarray | None = None) -> float:
        """Z: the samples that count, or the sum of their weights; `each` are those of the samples."""
        counted = np.ones(len(p), bool) if p.ndim == 2 else p >= 0
        if w is None and each is None:
            return float(len(p) if self.ignore_label is None or p.ndim == 2 else np.count_nonzero(counted))
        of_class = 1.0 if w is None else p @ w if p.ndim == 2 else w[p[counted]]
        total = float(np.sum(of_class if each is None else of_class * each[counted]))
        if total == 0:
            raise ValueError("SoftmaxLoss needs a label of positive class weight; all in this batch have weight 0")
        return total

    def check_targets(self, target: Any, output_shape: tuple[int, ...], who: str = "") -> None:
        """Refuse labels and rows that do not go with C scores, and those of which none counts."""
        if len(output_shape) != 1:
            return  # forward refuses such scores
        who, classes, target = who or "SoftmaxLoss", output_shape[0], np.asarray(target)
        if self.class_weights is not None:
            self._weights(classes)
        if target.ndim == 1:
            as_labels(who, target, len(target), classes, self.ignore_label)
        else:
            check_rows(who, target, classes)
        if not self.counts(target):
            raise ValueError(f"{who} needs a label of positive class weight; all {len(target)} have weight 0")

    def counts(self, target: Any) -> bool:
        """Whether any label is not ignored and has a class of positive weight; of rows, any number of such a class."""
        target = np.asarray(target)
        w = None if self.class_weights is None else np.array(self.class_weights)
        if target.ndim == 2 and w is not None and target.shape[1] == len(w):
            return bool((target[:, w > 0] != 0).any())
        if target.ndim != 1 or target.dtype.kind not in "iu":
            return True  # forward takes it, or says what is wrong with it
        counted = target if self.ignore_label is None else target[target != self.ignore_label]
        if w is None:
            return len(counted) > 0
        known = (counted >= 0) & (counted < len(w))
        return not known.all() or bool(w[counted[known]].any())


class HingeLoss(Loss):
    """L = mean over the batch of sum_{j != y} max(0, z_j - z_y + 1): the multi-class SVM.

    Forward     L = (1/N) sum_n sum_{j != y} max(0, z_j - z_y + 1)
    Backward    dL/dz_j = 1[z_j - z_y + 1 > 0] / N  for j != y,   dL/dz_y = - sum of these      (0 at the kink)

    Shapes      z (N, C);  target (N,) integers;  weights (N,);  dL/dz (N, C)
    Errors      ValueError or TypeError for labels that are not integers in 0..C-1, one per row, and an empty batch; for
                weights that are negative, not finite or all 0
    Source      Weston and Watkins, "Support Vector Machines for Multi-Class Pattern Recognition", 1999
    Twin        reference.loss.hinge_loss

    Parameters
    ----------
    reduction : {"mean", "sum"}
        "sum": without the division by N.

    Examples
    --------
    >>> loss = HingeLoss()
    >>> loss.forward([[3.0, 2.5, -1.0]], [0])
    0.5
    >>> loss.backward()
    array([[-1.,  1.,  0.]])
    """

    def forward(self, scores: Any, target: Any, weights: Any = None) -> float:
        """Give the loss of scores (N, C) for integer labels (N,) of samples with these weights."""
        self._saved = None
        z = as_scores("HingeLoss", scores)
        labels = as_labels("HingeLoss", target, *z.shape)
        rows = np.arange(len(z))
        w = None if weights is None else as_weights("HingeLoss", weights, len(z))
        self.weight = float(len(z) if w is None else w.sum())
        with np.errstate(invalid="ignore", over="ignore"):  # NaN and Inf pass into the loss
            margin = z - z[rows, labels].astype(np.float64)[:, None] + 1  # z_j - z_y + 1
            margin[rows, labels] = 0
            self._saved = margin, labels, w, self._divisor(), z.dtype
            if w is None:
                return float(np.maximum(margin, 0).sum()) / self._divisor()
            margin[w == 0] = 0  # NaN among them
            return float((w[:, np.newaxis] * np.maximum(margin, 0)).sum()) / self._divisor()

    def backward(self) -> np.ndarray:
        """Give dL/dz (N, C), in the dtype of the scores."""
        margin, labels, w, divisor, dtype = self._take()
        dz = (margin > 0).astype(np.float64)  # 1[z_j - z_y + 1 > 0]
        dz[np.arange(len(dz)), labels] = -dz.sum(axis=1)  # minus the sum of these
        if w is not None:
            dz *= w[:, np.newaxis]
        return (dz / divisor).astype(dtype)

    def metrics(self) -> dict[str, Metric]:
        """Give `{"accuracy": ...}`."""
        return {"accuracy": accuracy}

    def check_targets(self, target: Any, output_shape: tuple[int, ...], who: str = "") -> None:
        """Refuse what is no label of C scores."""
        if len(output_shape) == 1:
            as_labels(who or "HingeLoss", target, len(target), output_shape[0])


def _one_hot(p: np.ndarray, classes: int) -> np.ndarray:
    """Labels (N,) as rows e_y, of zeros where the label is negative; rows as they are."""
    if p.ndim == 2:
        return p
    rows = np.zeros((len(p), classes))
    there = np.flatnonzero(p >= 0)
    rows[there, p[there]] = 1
    return rows


def _as_class_weights(who: str, weights: Any) -> tuple[float, ...]:
    w = np.asarray(weights)
    if w.dtype.kind not in REAL:
        raise TypeError(f"{who}: class_weights must be real numbers; got dtype {w.dtype}")
    if w.ndim != 1 or w.size == 0:
        raise ValueError(f"{who}: class_weights must be one number per class, (C,); got shape {w.shape}")
    if not (np.isfinite(w) & (w >= 0)).all():
        raise ValueError(f"{who}: class_weights must be finite and at least 0; got {w.tolist()}")
    if not w.any():
        raise ValueError(f"{who}: class_weights must not all be 0; got {w.tolist()}")
    return tuple(float(v) for v in w)

"""Losses of each element by itself, whatever the shape: the squared error, and the cross-entropy of yes and no."""

from typing import Any

import numpy as np

from ..checks import as_number
from ..data.targets import as_float, as_reals, as_truths, as_weights
from .loss import Loss, Metric
from .metrics import label_accuracy

__all__ = ["MSELoss", "SigmoidLoss"]


class MSELoss(Loss):
    """L = mean over all elements of (z - t)^2.

    Forward     L = (1/n) sum (z - t)^2
    Backward    dL/dz = 2 (z - t) / n                     (n: the number of elements, N * D for rows (N, D))

    With weights w of the samples, both have w_n before each (z - t), and n is D times the sum of the weights.

    Shapes      z and t: any shape, the same for both;  weights (N,);  dL/dz as z
    Errors      ValueError if the shapes differ (nothing is broadcast) or hold no element; TypeError for dtypes that are
                not real numbers. Integer targets, images in uint8 among them, are cast, never scaled. ValueError for
                weights that are negative, not finite or all 0
    Twin        reference.loss.mse_loss

    Parameters
    ----------
    reduction : {"mean", "sum"}
        "sum": without the division by n.

    Examples
    --------
    >>> loss = MSELoss()
    >>> loss.forward([[1.0, 2.0]], [[1.0, 4.0]])
    2.0
    >>> loss.backward()
    array([[ 0., -2.]])
    """

    def forward(self, scores: Any, target: Any, weights: Any = None) -> float:
        """Give the loss of `scores` for `target`, two arrays of one shape, of samples with these weights."""
        self._saved = None
        z = as_float("MSELoss", "scores", scores)
        t = self._target("MSELoss", target, z.shape)
        if z.size == 0:
            raise ValueError(f"MSELoss needs at least one element; got an empty batch of shape {z.shape}")
        with np.errstate(invalid="ignore", over="ignore"):  # NaN and Inf pass into the loss
            diff = np.subtract(z, t, dtype=np.float64)  # z - t
            if weights is None:
                self.weight = float(z.size)
                self._saved = diff, self._divisor(), z.dtype
                return float(np.square(diff).sum()) / self._divisor()
            w = beside("MSELoss", weights, z.shape)
            diff = np.where(w > 0, diff, 0)  # NaN where the weight is 0 is not there
            self.weight = float(w.sum()) * (z.size / len(z))
            self._saved = w * diff, self._divisor(), z.dtype
            return float((w * np.square(diff)).sum()) / self._divisor()

    def backward(self) -> np.ndarray:
        """Give dL/dz, of the scores' shape and dtype."""
        diff, divisor, dtype = self._take()
        with np.errstate(over="ignore"):
            return np.asarray(2 * diff / divisor).astype(dtype)  # 2 (z - t) / n

    def check_targets(self, target: Any, output_shape: tuple[int, ...], who: str = "") -> None:
        """Refuse targets that have not the scores' shape, or are not numbers."""
        self._target(who or "MSELoss", target, (len(target), *output_shape))

    def _target(self, who: str, target: Any, shape: tuple[int, ...]) -> np.ndarray:
        t = as_reals(who, target)
        if t.shape != shape:
            hint = ""
            if (*t.shape, 1) == shape:
                hint = "; take y[..., None]"
            elif t.shape == (*shape, 1):
                hint = "; take y[..., 0]"
            raise ValueError(f"{who} needs a target of the scores' shape {shape}; got shape {t.shape}{hint}")
        return t


class SigmoidLoss(Loss):
    """L = - mean over samples and labels of t log q + (1 - t) log(1 - q), with q = sigmoid(z).

    The binary cross-entropy of scores: of one question (N, 1), or of L labels of which any number may hold.

    Forward     q = 1 / (1 + exp(-z)),  L = - (1/n) sum (a t log q + (1 - t) log(1 - q))
    Backward    dL/dz = ((1 - t) q - a t (1 - q)) / n          ((q - t) / n where a is 1)

    with a, the weight of what holds, and n, the number of elements, N L for rows (N, L). `label_smoothing` e makes t
    (1 - e) t + e / 2. With weights w of the samples, both sums have w_n before each term, and n is L times the sum of
    the weights. No score is too large: log q and log(1 - q) are computed from z.

    Shapes      z (N, L), or maps (N, H, W, L);  t the same;  where L is 1, either may lack that axis;  weights (N,);
                dL/dz as z
    Errors      ValueError if the shapes differ otherwise or hold no element, for targets outside of 0..1, for weights
                that are negative, not finite or all 0; TypeError for dtypes that are not real numbers
    Source      C. Bishop, "Pattern Recognition and Machine Learning", 2006, section 4.3.2
    Twin        reference.sigmoid_loss.sigmoid_loss

    A net for it ends without Sigmoid; once it is trained, `cl.Sequential([net, cl.Sigmoid()],
    input_shape=net.input_shape)` gives probabilities.

    Parameters
    ----------
    pos_weight : float or sequence of L floats, optional
        The weight a of what holds, at least 0: above 1 where it is rare. One number, or one for each label.
    label_smoothing : float
        e in 0..1: the share of each target that is spread evenly over yes and no.
    reduction : {"mean", "sum"}
        "sum": without the division by n.

    Examples
    --------
    >>> loss = SigmoidLoss()
    >>> round(loss.forward([[0.0, np.log(3.0)]], [[1, 0]]), 4)  # q = 1/2, 3/4: the mean of log 2 and log 4
    1.0397
    >>> loss.backward()
    array([[-0.25 ,  0.375]])
    """

    def __init__(self, pos_weight: Any = None, label_smoothing: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.pos_weight = None if pos_weight is None else _as_pos_weight(pos_weight)
        self.label_smoothing = as_number("SigmoidLoss", "label_smoothing", label_smoothing, low=0, high=1)

    def forward(self, scores: Any, target: Any, weights: Any = None) -> float:
        """Give the loss of `scores` for `target`, 0 or 1 or probabilities, of samples with these weights."""
        self._saved = None
        given = as_float("SigmoidLoss", "scores", scores)
        t = self._target("SigmoidLoss", target, given.shape)
        if given.size == 0:
            raise ValueError(f"SigmoidLoss needs at least one element; got an empty batch of shape {given.shape}")
        z, t = given.astype(np.float64), (1 - self.label_smoothing) * t + self.label_smoothing / 2
        a = 1.0 if self.pos_weight is None else np.asarray(self.pos_weight)
        yes, no = a * t, 1 - t
        with np.errstate(invalid="ignore", over="ignore"):  # NaN and Inf pass into the loss
            e = np.exp(-np.abs(z))
            rest = np.log1p(e)  # -log q = max(-z, 0) + log(1 + e), and with z for -z it is -log(1 - q)
            each = np.where(yes > 0, yes * (np.maximum(-z, 0) + rest), 0)  # 0 log 0 is 0
            each += np.where(no > 0, no * (np.maximum(z, 0) + rest), 0)
            slope = (no * np.where(z < 0, e, 1) - yes * np.where(z < 0, 1, e)) / (1 + e)  # (1 - t) q - a t (1 - q)
            self.weight = float(z.size)
            if weights is not None:
                w = beside("SigmoidLoss", weights, z.shape)
                self.weight = float(w.sum()) * (z.size / len(z))
                each, slope = (np.where(w > 0, w * part, 0) for part in (each, slope))  # without NaN of weight 0
            self._saved = (slope / self._divisor()).astype(given.dtype)
            return float(each.sum()) / self._divisor()

    def backward(self) -> np.ndarray:
        """Give dL/dz, of the scores' shape and dtype."""
        return self._take().copy()

    def metrics(self) -> dict[str, Metric]:
        """Give `{"accuracy": ...}`: the share of all labels of all samples that are right."""
        return {"accuracy": label_accuracy}

    def check_targets(self, target: Any, output_shape: tuple[int, ...], who: str = "") -> None:
        """Refuse targets that have not the scores' shape, or are not in 0..1."""
        self._target(who or "SigmoidLoss", target, (len(target), *output_shape))

    def _target(self, who: str, target: Any, shape: tuple[int, ...]) -> np.ndarray:
        labels = shape[-1] if len(shape) > 1 else 1
        if isinstance(self.pos_weight, tuple) and len(self.pos_weight) != labels:
            raise ValueError(f"SigmoidLoss: {labels} labels need {labels} pos_weight; got {len(self.pos_weight)}")
        return as_truths(who, target, shape)


def beside(who: str, weights: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Give the weights of samples (N, 1, ..., 1), beside scores of this shape."""
    if not shape:
        raise ValueError(f"{who}: weights need scores (N, ...), of samples; got a single number")
    return as_weights(who, weights, shape[0]).reshape(-1, *[1] * (len(shape) - 1))


def _as_pos_weight(given: Any) -> float | tuple[float, ...]:
    """One weight, or one for each label: finite, at least 0."""
    values = np.asarray(given)
    if values.ndim == 0:
        return as_number("SigmoidLoss", "pos_weight", given, low=0)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"SigmoidLoss: pos_weight must be a number, or one per label, (L,); got shape {values.shape}")
    return tuple(as_number("SigmoidLoss", "pos_weight", value, low=0) for value in values)

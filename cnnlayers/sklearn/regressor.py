"""CNNRegressor."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin

from ..training.losses import MSELoss
from .base import CNNEstimator
from .samples import mean_and_std


class CNNRegressor(RegressorMixin, CNNEstimator):
    """A net that gives numbers, one or several for each sample, trained by MSELoss.

    Its parameters are those of `CNNClassifier`, but for `class_weight`; what is said there of samples, weights, Ctrl-C
    and pickles holds here too. With `normalize` the targets are scaled as well: the net learns (y - mean) / deviation,
    of each output, and `predict` undoes it.

    Attributes
    ----------
    net_ : Sequential
        The net. It gives scaled targets, (N, T): y = net_.predict(x) * target_scale_ + target_mean_.
    target_mean_, target_scale_ : arrays (T,)
        Of the first training data; 0 and 1 without `normalize`.
    n_features_in_, feature_names_in_, input_shape_, loss_curve_, n_iter_, history_
        As for `CNNClassifier`; losses are those of scaled targets.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> regressor = CNNRegressor(epochs=10, random_state=0).fit(X[:300], y[:300])
    >>> regressor.score(X[300:], y[300:]) > 0.3
    True
    """

    _y_options = {"multi_output": True, "y_numeric": True}  # noqa: RUF012
    _loss = MSELoss

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a new net, or with `warm_start` the one that is there, for `epochs` epochs.

        Parameters
        ----------
        X : array (N, D), (N, H, W, C) or (N, L, C)
        y : array (N,) or (N, T)
        sample_weight : array (N,), optional
            At least 0.

        Raises
        ------
        ValueError, TypeError
            If an option, X, y or sample_weight is not as said.
        NonFiniteError
            If the training meets NaN or infinity: says where.
        """
        return self._fit(X, y, sample_weight, first=not (self.warm_start and hasattr(self, "net_")))

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch on these samples, going on with what there is: weights, optimiser, random numbers.

        Weights count among the samples of one call. Samples and targets are scaled by those of the first call;
        `schedule` and `early_stopping` have no part in it.
        """
        return self._fit(X, y, sample_weight, first=not hasattr(self, "net_"), partial=True)

    def predict(self, X: Any) -> np.ndarray:
        """Give the numbers for each sample, (N,) or (N, T) as y was, in float64."""
        x = self._inputs(X)
        y = self.net_.predict(x) * self.target_scale_ + self.target_mean_
        return y[:, 0] if self._one else y

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _targets(self, y: np.ndarray, first: bool, partial: bool) -> np.ndarray:
        one, rows = y.ndim == 1, y.reshape(len(y), -1).astype(np.float64)
        if first:
            self._one = one
        elif (one, rows.shape[1]) != (self._one, len(self.target_mean_)):
            needed = "(N,)" if self._one else f"(N, {len(self.target_mean_)})"
            raise ValueError(f"CNNRegressor needs y of shape {needed}, as in the first training; got {y.shape}")
        return rows

    def _begin_targets(self, targets: np.ndarray, weights: np.ndarray) -> int:
        outputs = targets.shape[1]
        self.target_mean_, self.target_scale_ = np.zeros(outputs), np.ones(outputs)
        if self.normalize:
            self.target_mean_, self.target_scale_ = mean_and_std(targets, weights, float(np.finfo(float).eps))
        return outputs

    def _learnt(self, targets: np.ndarray) -> np.ndarray:
        return (targets - self.target_mean_) / self.target_scale_

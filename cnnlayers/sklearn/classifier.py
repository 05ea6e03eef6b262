"""CNNClassifier."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import _check_partial_fit_first_call, check_classification_targets

from ..training.losses import SoftmaxLoss
from .base import CNNEstimator


class CNNClassifier(ClassifierMixin, CNNEstimator):
    """A net that tells classes apart, trained by SoftmaxLoss.

    Samples are flat rows (N, D), as everywhere in scikit-learn; with `image_shape` the net sees them as images. An
    array of images (N, H, W, C) or signals (N, L, C) is taken too. Training depends on the samples as a set: a weight
    of 3 is as good as three copies, to the bit, a weight of 0 as good as none, and their order does not matter.

    Parameters
    ----------
    architecture : str or function
        A name: "mlp" (a hidden layer of 100), or a function of `cl.models`, such as "lenet" or "resnet8". By default
        "auto": "mlp" for rows, "conv1d_classifier" for signals; for images "digits_resnet" below 16 pixels, else
        "lenet" if they are gray and "resnet8" if not. Or a function f(input_shape, outputs) that gives a net, or a list
        of layers, which is built here. If it takes `rng` or `dtype`, it gets them by name.
    image_shape : tuple of int, optional
        The shape of the samples that come as flat rows: (H, W, C) for images, (L, C) for signals.
    normalize : bool
        Begin the net with a Normalize that has the mean and deviation of each feature, or channel, of the first
        training data. One that begins a net of `cl.models` gives way to it; one that begins yours stays alone.
    optimizer : str or Optimizer
        "sgd", "rmsprop", "adagrad", "adam", "adamw", or an object such as `cl.SGD(lr=0.1, momentum=0.9)`.
    learning_rate : float, optional
        Of an optimizer given by name; what suits it by default (3e-3 for Adam).
    schedule : callable, optional
        As `cl.Cosine()`: a factor on the learning rate, over the steps of one `fit`.
    epochs, batch_size : int
    augment : callable, optional
        Changes the training batches, as in `cl.Solver`.
    class_weight : dict of class to float, "balanced" or None
        Times the weights of the samples. "balanced" gives all classes the same sum of weights.
    early_stopping : bool
        Put `validation_fraction` of the samples aside, with the classes in the same proportions; stop when the loss on
        them has not improved for `n_iter_no_change` epochs, and keep the net that was best.
    validation_fraction : float
    n_iter_no_change : int
    warm_start : bool
        Whether `fit` goes on with the net that is there: weights, optimiser, random numbers.
    random_state : int, numpy.random.RandomState, numpy.random.Generator or None
        Draws the initial weights and the order of the samples. The same int gives the same bits. With None, each `fit`
        has others: NumPy's global state is not asked.
    dtype : "float32" or "float64"
        In which the net computes.
    verbose : bool
        A line per epoch.

    Attributes
    ----------
    net_ : Sequential
        The net, one like any other: `net_.save(path)`, `cl.to_onnx(net_, path)`. It gives scores.
    classes_ : array of the labels, in order
    n_features_in_, feature_names_in_
        As in every estimator of scikit-learn.
    input_shape_ : tuple of int
        The shape of a sample as the net takes it.
    loss_curve_ : list of float
        The loss of each epoch so far.
    n_iter_ : int
        How many epochs there were.
    history_ : History
        Of the last `fit` or `partial_fit`, with "train_accuracy" and all that `cl.Solver` records.

    Notes
    -----
    A step's loss is the sum of w l over its batch, divided by the number of samples in it; the weights are scaled so
    that their mean is 1. Equal samples are merged to one with the sum of their weights.

    Ctrl-C ends `fit` after the step under way: the estimator has what was learnt until then, and KeyboardInterrupt is
    raised, so that a search that has called it ends too.

    A pickle holds the net as the file that `net_.save` writes, and of layers of your own the class, by its name.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> classifier = CNNClassifier("digits_cnn", image_shape=(8, 8, 1), epochs=5, random_state=0)
    >>> classifier.fit(X[:1200], y[:1200]).score(X[1200:], y[1200:]) > 0.9
    True
    """

    _y_options = {"multi_output": False}  # noqa: RUF012
    _loss = SoftmaxLoss

    def __init__(
        self,
        architecture: Any = "auto",
        *,
        image_shape: Any = None,
        normalize: bool = True,
        optimizer: Any = "adam",
        learning_rate: float | None = None,
        schedule: Any = None,
        epochs: int = 30,
        batch_size: int = 32,
        augment: Any = None,
        class_weight: Any = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        warm_start: bool = False,
        random_state: Any = None,
        dtype: Any = "float32",
        verbose: bool = False,
    ) -> None:
        super().__init__(
            architecture,
            image_shape=image_shape,
            normalize=normalize,
            optimizer=optimizer,
            learning_rate=learning_rate,
            schedule=schedule,
            epochs=epochs,
            batch_size=batch_size,
            augment=augment,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            warm_start=warm_start,
            random_state=random_state,
            dtype=dtype,
            verbose=verbose,
        )
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a new net, or with `warm_start` the one that is there, for `epochs` epochs.

        Parameters
        ----------
        X : array (N, D), (N, H, W, C) or (N, L, C)
        y : array (N,)
            Labels of any kind: numbers, str.
        sample_weight : array (N,), optional
            At least 0.

        Raises
        ------
        ValueError, TypeError
            If an option, X, y or sample_weight is not as said above; if there is one class alone.
        NonFiniteError
            If the training meets NaN or infinity: says where.
        """
        return self._fit(X, y, sample_weight, first=not (self.warm_start and hasattr(self, "net_")))

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train for one epoch on these samples, going on with what there is: weights, optimiser, random numbers.

        Weights count among the samples of one call. The Normalize is that of the first call's samples; `schedule` and
        `early_stopping` have no part in it.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        classes : array, optional
            All labels that may ever come; the first call needs them.
        """
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            raise ValueError(
                'CNNClassifier: class_weight="balanced" needs all samples at once, which partial_fit has not: hand '
                "over a dict; the numbers are those of compute_class_weight('balanced', classes=classes, y=y)"
            )
        _check_partial_fit_first_call(self, classes)
        return self._fit(X, y, sample_weight, first=not hasattr(self, "net_"), partial=True)

    def predict(self, X: Any) -> np.ndarray:
        """Give the likeliest class of each sample."""
        likeliest = self.predict_proba(X).argmax(axis=1)
        return self.classes_[likeliest]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Give the probability of each class, (N, C), in the order of `classes_`."""
        x = self._inputs(X)
        return self.net_.predict_proba(x)

    def _targets(self, y: np.ndarray, first: bool, partial: bool) -> np.ndarray:
        check_classification_targets(y)
        if first and not partial:
            self.classes_ = np.unique(y)
        known = np.isin(y, self.classes_)
        if not known.all():
            raise ValueError(
                f"CNNClassifier: y must hold the classes {self.classes_.tolist()}, those of the first training; got "
                f"{y[~known].tolist()[0]!r}"
            )
        return np.searchsorted(self.classes_, y)

    def _begin_targets(self, targets: np.ndarray, weights: np.ndarray) -> int:
        if len(self.classes_) < 2:
            raise ValueError(
                f"CNNClassifier needs samples of two classes or more; got one class: {self.classes_.tolist()[0]!r}"
            )
        return len(self.classes_)

    def _class_names(self) -> tuple[str, ...]:
        return tuple(map(str, self.classes_.tolist()))

    def _class_weights(self, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
        if self.class_weight is None:
            return weights
        balanced = isinstance(self.class_weight, str) and self.class_weight == "balanced"
        if not (balanced or isinstance(self.class_weight, dict)):
            raise ValueError(
                f'CNNClassifier: class_weight must be a dict, "balanced" or None; got {self.class_weight!r}'
            )
        if balanced:
            sums = np.bincount(targets, weights, len(self.classes_))
            factors = sums.sum() / (len(sums) * sums)
        else:
            factors = compute_class_weight(self.class_weight, classes=self.classes_, y=self.classes_)
            if not (np.isfinite(factors) & (factors >= 0)).all():
                raise ValueError(f"CNNClassifier: class_weight must be finite and at least 0; got {self.class_weight}")
        return weights * factors[targets]

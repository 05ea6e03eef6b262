"""What both estimators share: their options, and the way from rows to a trained net."""

from __future__ import annotations

import copy
import warnings
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from ..arrays import float_dtype
from ..checks import as_flag, as_integer, as_number
from ..command.factories import OPTIMIZERS, SUITABLE
from ..config import REGISTRY
from ..files.checkpoint import from_bytes, to_bytes
from ..randomness import random_generator
from ..training.callbacks import EarlyStopping
from ..training.last_layer import mistake
from ..training.optimizer import Optimizer
from ..training.solver import Solver
from . import rows
from .nets import make_net
from .samples import WeightedSum, as_set, mean_and_std

__all__ = ["CNNEstimator"]

# By the name of an optimizer, what it is made with. For SGD the command has a rate that suits nets with BatchNorm; of
# nets without, and of regressions, many do not stand it.
OPTIONS: dict[str, dict[str, float]] = SUITABLE | {"sgd": SUITABLE["sgd"] | {"lr": 0.01}}


class CNNEstimator(BaseEstimator):
    """Base of the two estimators. A subclass says what its targets are."""

    _y_options: dict[str, Any]  # how y is checked
    _loss: Any  # the class of the loss
    net_: Any
    loss_curve_: list[float]
    _optimizer_state: dict[str, Any]

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
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        warm_start: bool = False,
        random_state: Any = None,
        dtype: Any = "float32",
        verbose: bool = False,
    ) -> None:
        self.architecture = architecture
        self.image_shape = image_shape
        self.normalize = normalize
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.epochs = epochs
        self.batch_size = batch_size
        self.augment = augment
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.random_state = random_state
        self.dtype = dtype
        self.verbose = verbose

    # What a subclass says

    def _targets(self, y: np.ndarray, first: bool, partial: bool) -> np.ndarray:
        """Give the targets as numbers; in the first `fit`, find out which there are."""
        raise NotImplementedError

    def _begin_targets(self, targets: np.ndarray, weights: np.ndarray) -> int:
        """Before the first training: find out what there is to know of all targets; give how many outputs they need."""
        raise NotImplementedError

    def _learnt(self, targets: np.ndarray) -> np.ndarray:
        """Give the targets as the net learns them."""
        return targets

    def _class_names(self) -> tuple[str, ...] | None:
        """Give the names of the classes, which are saved with the net."""
        return None

    def _class_weights(self, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Give the weights, times those of the classes."""
        return weights

    # Training

    def _fit(self, X: Any, y: Any, sample_weight: Any, *, first: bool, partial: bool = False) -> Self:
        """Train: from a new net if it is the `first` time, and for one epoch if it is `partial`."""
        who = type(self).__name__
        epochs = 1 if partial else as_integer(who, "epochs", self.epochs, low=1)
        batch_size = as_integer(who, "batch_size", self.batch_size, low=1)
        optimizer = self._make_optimizer(who)
        stops = as_flag(who, "early_stopping", self.early_stopping) and not partial
        x, targets, weights = self._samples(X, y, sample_weight, first, partial)
        net = self._begin(who, x, targets, weights) if first else self.net_
        x, targets, weights = _counting(who, x, targets, self._class_weights(targets, weights))
        train, val = (x, self._learnt(targets), weights / weights.mean()), None  # WeightedSum wants a mean of 1
        if stops:
            train, val = self._split(who, train)
        optimizer.bind(net)
        if set(optimizer.state) == set(self._optimizer_state):
            optimizer.load_state(net, self._optimizer_state)
        if wrong := mistake(net, self._loss()):
            warnings.warn(f"{who}: {wrong}", UserWarning, stacklevel=3)
        solver = Solver(
            net,
            train,
            val,
            loss=WeightedSum(self._loss()),
            optimizer=optimizer,
            schedule=None if partial else copy.deepcopy(self.schedule),
            batch_size=batch_size,
            augment=self.augment,
            callbacks=[EarlyStopping(as_integer(who, "n_iter_no_change", self.n_iter_no_change, low=1))] * stops,
            rng=self._rng,
            progress=bool(self.verbose),
        )
        self.history_ = solver.train(epochs)
        self.net_ = net  # only now is there something to predict with
        self._optimizer_state = optimizer.state
        self.loss_curve_ = [*self.loss_curve_, *self.history_.epochs.get("train_loss", [])]
        self.n_iter_ = len(self.loss_curve_)
        if self.history_.interrupted:  # the net keeps what it has learnt, but whoever called shall end too
            raise KeyboardInterrupt(f"{who}: {self.history_.stopped}")
        return self

    def _samples(
        self, X: Any, y: Any, sample_weight: Any, first: bool, partial: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Check what came, and give it as a set: x in the shape that the net takes, targets, weights."""
        who = type(self).__name__
        X, given = rows.flat(X)
        X, y = validate_data(self, X, y, reset=first, dtype=self._dtypes(), **self._y_options)
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        if first:
            self.input_shape_ = rows.input_shape(who, self.image_shape, given, X.shape[1])
        x = rows.shaped(who, X, given, self.input_shape_)
        x, y, weights = _counting(who, x, y, weights)
        return as_set(x, self._targets(y, first, partial), weights)

    def _begin(self, who: str, x: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> Any:
        """Make a net, and forget the one that there was and what it has learnt."""
        if hasattr(self, "net_"):
            del self.net_
        outputs = self._begin_targets(targets, weights)
        dtype, self._rng = float_dtype(self.dtype, who), _generator(self.random_state)
        scaled = as_flag(who, "normalize", self.normalize)
        scale = mean_and_std(x, weights, float(np.finfo(dtype).eps)) if scaled else None
        self._optimizer_state = {}
        self.loss_curve_ = []
        self.n_iter_ = 0
        net = make_net(who, self.architecture, self.input_shape_, outputs, scale, self._rng, dtype)
        net.classes = self._class_names()
        return net

    def _split(self, who: str, data: tuple[np.ndarray, ...]) -> tuple[Any, Any]:
        """Put samples aside; when the net no longer gets better on them, training stops."""
        share = as_number(who, "validation_fraction", self.validation_fraction, low=0, high=1, open_low=True)
        stratify = data[1] if data[1].ndim == 1 else None
        parts = train_test_split(*data, test_size=share, random_state=int(self._rng.integers(2**31)), stratify=stratify)
        return tuple(parts[0::2]), tuple(parts[1::2])

    def _make_optimizer(self, who: str) -> Optimizer:
        if isinstance(self.optimizer, Optimizer):
            if self.learning_rate is not None:
                raise ValueError(f"{who}: {self.optimizer!r} has a rate of its own, so learning_rate must be None")
            return self.optimizer.fresh()
        if not isinstance(self.optimizer, str) or self.optimizer not in OPTIMIZERS:
            names = ", ".join(map(repr, OPTIMIZERS))
            raise ValueError(
                f"{who}: optimizer must be {names} or an object such as cl.SGD(lr=0.1); got {self.optimizer!r}"
            )
        options: dict[str, Any] = dict(OPTIONS.get(self.optimizer, {}))
        if self.learning_rate is not None:
            options["lr"] = as_number(who, "learning_rate", self.learning_rate, low=0, open_low=True)
        return OPTIMIZERS[self.optimizer](**options)

    def _dtypes(self) -> list[np.dtype]:
        """What X is checked as: bytes stay bytes, all else comes in the net's dtype."""
        return [np.dtype(float_dtype(self.dtype, type(self).__name__)), np.dtype(np.uint8)]

    # Prediction

    def _inputs(self, X: Any) -> np.ndarray:
        """Check samples for a trained net."""
        check_is_fitted(self, "net_")
        X, given = rows.flat(X)
        X = validate_data(self, X, reset=False, dtype=self._dtypes())
        return rows.shaped(type(self).__name__, X, given, self.input_shape_)

    # Files

    def __getstate__(self) -> dict[str, Any]:
        """The net goes into a pickle as the file that `net_.save` writes; of own layers there is the class besides."""
        state = dict(super().__getstate__())
        if "net_" in state:
            kinds = {type(layer) for _, layer in self.net_.walk()}
            own = [kind for kind in kinds if REGISTRY.get(kind.__name__) is not kind]
            state["net_"] = to_bytes(self.net_), sorted(own, key=lambda kind: kind.__qualname__)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "net_" in state:
            self.net_ = from_bytes(*state["net_"])


def _counting(who: str, x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, ...]:
    """Leave out samples of weight 0, as if they were not there."""
    kept = np.flatnonzero(weights)
    if kept.size == 0:
        raise ValueError(f"{who}: the weights of the samples must not all be zero")
    return (x, y, weights) if kept.size == len(weights) else (x[kept], y[kept], weights[kept])


def _generator(random_state: Any) -> np.random.Generator:
    """Give the Generator that a `random_state` stands for; one of NumPy's older kind draws its seed."""
    if isinstance(random_state, np.random.RandomState):
        random_state = int(random_state.randint(2**31 - 1))
    return random_generator(random_state)

"""The Solver: trains a net by stochastic gradient descent."""

from __future__ import annotations

import copy
import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tqdm import tqdm

from .checks import as_flag, as_integer, as_number
from .data.loader import batches_of
from .diagnosis import first_bad
from .errors import NonFiniteError
from .history import History
from .interrupt import Interruptible
from .layers.base import Layer
from .randomness import random_generator


class Solver:
    """Train a net: epochs of shuffled batches, each a forward pass, a backward pass and a step of the optimiser.

    Parameters
    ----------
    model : Layer
        A built net, or one that builds itself from the first batch.
    train, val : (x, y), or an iterable of batches (x, y)
        A tuple of two arrays is a data set, shuffled each epoch. Anything else is iterated afresh each epoch.
    loss : Loss
        An object with forward(scores, target) and backward().
    optimizer : Optimizer
    schedule : callable (step, total_steps) -> factor on lr, optional
    batch_size, epochs : int
    metrics : dict of functions (scores, target) -> float, optional
        Accuracy by default for classification losses.
    clip_norm : float, optional
        Scale the gradient down where its Euclidean norm is larger.
    keep : {"best", "last"}
        On every way out of `train` the net has the weights that were best on `monitor`, or the last finite ones;
        without `val` the last finite ones.
    monitor : str
        A name in the history. Losses and errors are better when lower, all else when higher.
    rng : int or numpy.random.Generator
        Draws the order of the samples.
    progress : bool
        A bar in a terminal, a line per epoch elsewhere.

    Attributes
    ----------
    history : History
    epoch, step : int
        How many are done.

    Examples
    --------
    >>> import cnnlayers as cl
    >>> data = cl.datasets.digits()
    >>> net = cl.Sequential([cl.Normalize(8, 8), cl.Flatten(), cl.Affine(10)], input_shape=(8, 8, 1), rng=0)
    >>> solver = Solver(net, data.train, data.val, loss=cl.SoftmaxLoss(), optimizer=cl.SGD(lr=0.1), progress=False)
    >>> history = solver.train(epochs=10)
    >>> solver.evaluate(*data.test)["accuracy"] > 0.9
    True
    """

    def __init__(
        self,
        model: Layer,
        train: Any,
        val: Any = None,
        *,
        loss: Any,
        optimizer: Any,
        schedule: Callable[[int, int], float] | None = None,
        batch_size: int = 128,
        epochs: int = 20,
        metrics: dict[str, Callable[[Any, Any], float]] | None = None,
        clip_norm: float | None = None,
        keep: str = "best",
        monitor: str = "val_loss",
        rng: Any = 0,
        progress: bool = True,
    ):
        if not isinstance(model, Layer):
            raise TypeError(f"Solver: model must be a Layer; got {model!r}")
        if keep not in ("best", "last"):
            raise ValueError(f'Solver: keep must be "best" or "last"; got {keep!r}')
        if isinstance(loss, type) or not (hasattr(loss, "forward") and hasattr(loss, "backward")):
            raise TypeError(f"Solver: loss must have forward(scores, target) and backward(); got {loss!r}")
        if isinstance(optimizer, type) or not (hasattr(optimizer, "step") and hasattr(optimizer, "lr")):
            raise TypeError(f"Solver: optimizer must have step(net, factor) and lr, as SGD(lr=0.1); got {optimizer!r}")
        if schedule is not None and (isinstance(schedule, type) or not callable(schedule)):
            raise TypeError(f"Solver: schedule must be a function (step, total_steps) -> factor; got {schedule!r}")
        self.model, self.loss, self.optimizer, self.schedule = model, loss, optimizer, schedule
        self.batch_size = as_integer("Solver", "batch_size", batch_size, low=1)
        self.epochs = as_integer("Solver", "epochs", epochs, low=0)
        self.train_data = batches_of(train, self.batch_size, "train")
        self.val_data = None if val is None else batches_of(val, self.batch_size, "val")
        self.metrics = getattr(loss, "metrics", dict)() if metrics is None else _as_dict(metrics)
        self.clip_norm = (
            None if clip_norm is None else as_number("Solver", "clip_norm", clip_norm, low=0, open_low=True)
        )
        if not all(isinstance(name, str) and callable(metric) for name, metric in self.metrics.items()):
            raise TypeError(
                f"Solver: metrics must be functions (scores, target) -> float by name; got {self.metrics!r}"
            )
        self.keep, self.monitor = keep, monitor
        self.progress = as_flag("Solver", "progress", progress)
        self.rng = random_generator(rng)
        watched = [f"{part}_{name}" for part in ("train", "val") for name in ("loss", *self.metrics)]
        if monitor not in watched:
            raise ValueError(f"Solver: monitor must be one of {', '.join(watched)}; got {monitor!r}")
        self.history = History()
        self.epoch = self.step = 0
        self.best: float | None = None  # the best value of `monitor`
        self._best_weights: tuple[np.ndarray, np.ndarray] | None = None
        self._last_weights: tuple[np.ndarray, np.ndarray] | None = None  # where train ended, if it gave back the best
        self._undo: tuple[np.ndarray, np.ndarray, dict, dict] | None = None  # what there was before the step

    def train(self, epochs: int | None = None) -> History:
        """Train for `epochs` more epochs (as many as the constructor says, by default).

        It goes on from where the last `train` ended, also where that gave back better weights of an earlier epoch; if
        the weights have been changed since, from those.

        Returns
        -------
        history : History
            Of all epochs so far. After Ctrl-C, `history.stopped` says where it stopped.

        Raises
        ------
        NonFiniteError
            If a loss, gradient or weight becomes NaN or infinite: names the step and the layer. That step is undone.
        """
        last = self.epoch + (self.epochs if epochs is None else as_integer("Solver.train", "epochs", epochs, low=0))
        total = self._total_steps(last - self.epoch)
        self.history.stopped = None
        self._go_on()
        try:
            with Interruptible() as interrupt:
                while self.epoch < last:
                    self._train_epoch(last, total, interrupt)
        except KeyboardInterrupt:
            self.history.stopped = f"interrupted in epoch {self.epoch + 1}, after step {self.step}"
        except NonFiniteError as error:
            self.history.stopped = str(error)
            raise
        finally:
            self._end()
        return self.history

    def evaluate(self, x: Any, y: Any) -> dict[str, float]:
        """Loss and metrics of the net on a data set: {"loss": ..., "accuracy": ...}."""
        return self._measure(batches_of((x, y), self.batch_size, "evaluate"))

    def _train_epoch(self, last: int, total: int, interrupt: Interruptible) -> None:
        """One epoch, its validation, and its line in the history."""
        start = time.perf_counter()
        sums: dict[str, float] = defaultdict(float)
        lr = 0.0
        with self._bar(f"epoch {self.epoch + 1}/{last}") as bar:
            for x, y in self.train_data.batches(self.rng, self.model.dtype):
                interrupt.check()
                factor = self.schedule(self.step, total) if self.schedule is not None else 1.0
                lr = self.optimizer.lr * factor
                interrupt.holding = True
                scores, loss = self._train_step(x, y, factor)
                interrupt.holding = False
                n = len(x)
                weight = float(getattr(self.loss, "weight", 0)) or n  # a loss of the user's own may not set it
                self._add(sums, "loss", loss, weight)
                for name, metric in self.metrics.items():
                    self._add(sums, name, metric(scores, y), n)
                bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
                bar.update()
        if not sums:
            raise ValueError("Solver: train gave no batches")
        numbers = {f"train_{name}": sums[name] / sums[f"{name} weight"] for name in ("loss", *self.metrics)}
        if self.val_data is not None:
            interrupt.check()
            numbers |= {f"val_{name}": value for name, value in self._measure(self.val_data).items()}
        self.epoch += 1
        self.history.append(**numbers, lr=lr, seconds=time.perf_counter() - start)
        self._keep_best(numbers)
        self._report(last)

    @np.errstate(over="ignore", invalid="ignore")  # the check below says more than NumPy's warnings
    def _train_step(self, x: Any, y: Any, factor: float) -> tuple[np.ndarray, float]:
        """One step of gradient descent; it is undone if anything in it is not finite."""
        self._build(x)
        self._remember()
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # what comes of it is an error below
            return self._checked_step(x, y, factor)

    def _checked_step(self, x: Any, y: Any, factor: float) -> tuple[np.ndarray, float]:
        """Take the step, unless the loss, a gradient or a new weight is not finite."""
        model = self.model
        scores = model.forward(x)
        loss = self.loss.forward(scores, y)
        model.backward(self.loss.backward(), input_grad=False)
        if not math.isfinite(loss) or not _all_finite(model.flat_grads):
            raise self._not_finite(
                x, y, f"the loss is {loss}" if not math.isfinite(loss) else "a gradient is not finite"
            )
        if self.clip_norm is not None:
            self._clip(self.clip_norm)
        self.optimizer.step(model, factor)
        if not _all_finite(model.flat_params):
            raise self._not_finite(x, y, "the step took a weight out of range (is lr too large?)")
        self.step += 1
        self.history.steps["loss"].append(loss)
        return scores, loss

    def _clip(self, largest: float) -> None:
        """Scale the gradients of what is trained down to this Euclidean norm, if theirs is larger."""
        grads = [self.model.flat_grads[run] for run, _ in self.model.param_runs()]
        norm = math.hypot(*(float(np.linalg.norm(g.astype(np.float64))) for g in grads))
        if norm > largest:
            for g in grads:
                g *= largest / norm

    def _measure(self, data: Any) -> dict[str, float]:
        """Loss and metrics over all batches of `data`."""
        scores, targets = [], []
        for x, y in data.batches():
            self._build(x)
            scores.append(self.model.predict(x))
            targets.append(np.asarray(y))
        if not scores:
            raise ValueError("Solver: there are no batches to evaluate")
        z, t = np.concatenate(scores), np.concatenate(targets)
        loss = copy.copy(self.loss).forward(z, t)  # a copy: a pending loss.backward() stays valid
        return {"loss": float(loss)} | {name: float(metric(z, t)) for name, metric in self.metrics.items()}

    def _build(self, x: Any) -> None:
        """Build the model from its first batch, if it is not built."""
        if not self.model.built:
            self.model.build(np.shape(x)[1:], rng=self.rng)

    def _total_steps(self, epochs: int) -> int:
        """How many steps there will have been after `epochs` more epochs, which only a schedule must know."""
        if self.schedule is None:
            return 0
        per_epoch = len(self.train_data)
        if hasattr(self.schedule, "prepare"):
            self.schedule.prepare(per_epoch)
        return self.step + epochs * per_epoch

    def _remember(self) -> None:
        """Copy what a step changes, so that it can be undone: weights, state, random states, the optimiser's memory."""
        model = self.model
        if hasattr(self.optimizer, "bind"):
            self.optimizer.bind(model)  # the first step would
        states = {name: copy.deepcopy(layer.rng.bit_generator.state) for name, layer in model.walk() if layer.random}
        memory = copy.deepcopy(getattr(self.optimizer, "state", {}))
        self._undo = (*self._weights(), states, memory)

    def _not_finite(self, x: Any, y: Any, what: str) -> NonFiniteError:
        """Undo the step, replay it to find where the trouble began, undo it again."""
        params, state, states, memory = self._undo  # type: ignore[misc]
        layers = dict(self.model.walk())

        def undo() -> None:
            self._set_weights(params, state)
            for name, drawn in states.items():
                layers[name].rng.bit_generator.state = drawn

        undo()
        if memory:
            self.optimizer.state = memory
        where = first_bad(self.model, copy.copy(self.loss), x, y)
        undo()
        return NonFiniteError(f"step {self.step + 1}: {what}; {where}")

    def _end(self) -> None:
        """Give back the best weights, and put aside those that training ended with."""
        if self._best_weights is not None:
            self._last_weights = self._weights()
            self._set_weights(*self._best_weights)

    def _go_on(self) -> None:
        """Take up the weights that the last `train` ended with, if the net still has what it gave back."""
        if self._last_weights is not None and self._best_weights is not None:
            pairs = zip(self._weights(), self._best_weights, strict=True)
            if all(np.array_equal(now, best) for now, best in pairs):
                self._set_weights(*self._last_weights)
        self._last_weights = None

    def _weights(self) -> tuple[np.ndarray, np.ndarray]:
        """Copies of all parameters and of the state."""
        return self.model.flat_params.copy(), self.model.flat_state.copy()

    def _set_weights(self, params: np.ndarray, state: np.ndarray) -> None:
        self.model.flat_params[...] = params
        self.model.flat_state[...] = state

    def _keep_best(self, numbers: dict[str, float]) -> None:
        """Copy the weights if they are the best so far."""
        if self.keep == "last" or self.val_data is None or not math.isfinite(numbers[self.monitor]):
            return
        value = numbers[self.monitor]
        sign = 1 if self.monitor.endswith(("loss", "error")) else -1
        if self.best is None or sign * value < sign * self.best:
            self.best = value
            self._best_weights = self._weights()

    @staticmethod
    def _add(sums: dict[str, float], name: str, value: float, weight: float) -> None:
        sums[name] += value * weight
        sums[f"{name} weight"] += weight

    def _bar(self, title: str) -> tqdm:
        """A progress bar, silent where there is no terminal."""
        try:
            steps = len(self.train_data)
        except TypeError:
            steps = None
        shown = self.progress and sys.stderr.isatty()
        return tqdm(total=steps, desc=title, unit="step", leave=False, disable=not shown)

    def _report(self, last: int) -> None:
        """The line of the epoch that just ended."""
        if self.progress:
            width = len(str(last))
            parts = [f"epoch {self.epoch:{width}d}/{last}"]
            for name, value in self.history.row().items():
                shown = f"{value:.1%}" if name.endswith("accuracy") else f"{value:.4g}"
                parts.append(f"{name.replace('_', ' ')} {shown}" if name != "seconds" else f"{value:.1f} s")
            print("  ".join(parts), flush=True)


def _as_dict(metrics: Any) -> dict[str, Callable[[Any, Any], float]]:
    if not isinstance(metrics, Mapping):
        raise TypeError(f"Solver: metrics must be functions (scores, target) -> float by name; got {metrics!r}")
    return dict(metrics)


def _all_finite(a: np.ndarray) -> bool:
    """Whether no entry is NaN or infinite; the sum tells it cheaply, save that it may overflow."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(a.sum())) or bool(np.isfinite(a).all())

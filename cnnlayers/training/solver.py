"""The Solver: trains a net by stochastic gradient descent."""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from tqdm import tqdm

from ..checks import as_flag, as_integer, as_number
from ..data.augmenting import Augmenting
from ..data.loader import batches_of
from ..errors import NonFiniteError
from ..files.checkpoint import remove_leftovers
from ..layers.layer import Layer
from ..randomness import random_generator
from . import trials
from .better import improves
from .callbacks import Callback
from .diagnosis import first_bad
from .history import History
from .interrupt import Interruptible
from .resume import Call, Epoch, Weights, generator_at, resume_run, save_run
from .schedules import Schedule


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
        It runs over the steps of one call of `train`; the warm-up of those of the package is not run again by a call
        that comes after it.
    batch_size, epochs : int
    augment : callable, optional
        Changes the training batches: a function `f(x, rng) -> x`, whose `rng` is a Generator made from the seed, the
        epoch and the number of the batch; or one that takes `augment(x, *, seed, epoch, indices)`, as those of the
        package do, whose draws belong to each sample.
    metrics : dict of functions (scores, target) -> float, optional
        Accuracy by default for classification losses.
    clip_norm : float, optional
        Scale the gradient down where its Euclidean norm is larger.
    accumulate : int
        Batches per step: their gradients are averaged, weighted as their losses are, so that a step is that of one
        large batch, up to rounding (and to BatchNorm, which sees the parts).
    callbacks : iterable of Callback
    checkpoint : path, optional
        A folder for `last.safetensors` (after each epoch and on every way out) and `best.safetensors` (the best on
        `monitor`), from either of which `Solver.resume` goes on. It is made if it is missing.
    keep : {"best", "last"}
        On every way out of `train` the net has the weights that were best on `monitor`, or the last finite ones;
        without `val` the last finite ones.
    monitor : str
        A name in the history. Losses and errors are better when lower, all else when higher.
    rng : int or numpy.random.Generator
        Draws the order of the samples, and the seed of `augment`.
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
        augment: Callable[..., Any] | None = None,
        metrics: dict[str, Callable[[Any, Any], float]] | None = None,
        callbacks: Iterable[Callback] = (),
        clip_norm: float | None = None,
        accumulate: int = 1,
        checkpoint: str | os.PathLike | None = None,
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
        self.accumulate = as_integer("Solver", "accumulate", accumulate, low=1)
        self.train_data = batches_of(train, self.batch_size, "train")
        self.val_data = None if val is None else batches_of(val, self.batch_size, "val")
        self.metrics_of_the_loss = metrics is None
        self.metrics = getattr(loss, "metrics", dict)() if metrics is None else _as_dict(metrics)
        self.clip_norm = (
            None if clip_norm is None else as_number("Solver", "clip_norm", clip_norm, low=0, open_low=True)
        )
        if not all(isinstance(name, str) and callable(metric) for name, metric in self.metrics.items()):
            raise TypeError(
                f"Solver: metrics must be functions (scores, target) -> float by name; got {self.metrics!r}"
            )
        self.callbacks = _as_callbacks(callbacks)
        self.checkpoint = None if checkpoint is None else Path(os.fspath(checkpoint))
        self.keep, self.monitor = keep, monitor
        self.progress = as_flag("Solver", "progress", progress)
        self._check_monitors()
        self.rng = random_generator(rng)
        self.augmenting = None if augment is None else Augmenting(augment, int(self.rng.integers(2**63)))
        self.history = History()
        self.epoch = self.step = 0
        self.best: float | None = None  # the best value of `monitor`
        self.best_weights: Weights | None = None
        self.call: Call | None = None  # the `train` under way, or that was left before its end
        self.partial: Epoch | None = None  # the epoch under way
        self._running = False
        self._stopping = False  # whether a callback called `stop`
        self._saved_at: tuple | None = None  # where last.safetensors stands
        self._given: tuple[Weights, Weights] | None = None  # what train gave back, and what it ended with
        self._undo: tuple[np.ndarray, np.ndarray, dict, dict] | None = None  # what there was before the step

    @classmethod
    def resume(
        cls,
        path: str | os.PathLike,
        train: Any,
        val: Any = None,
        *,
        loss: Any = None,
        optimizer: Any = None,
        schedule: Any = None,
        augment: Any = None,
        metrics: dict[str, Callable[[Any, Any], float]] | None = None,
        callbacks: Iterable[Callback] | None = None,
        checkpoint: str | os.PathLike | None = None,
        custom: Iterable[type[Layer]] = (),
        progress: bool = True,
    ) -> Self:
        """Make the Solver that wrote a checkpoint; its `train()` goes on to the bits of the run never interrupted.

        Parameters
        ----------
        path : path
            `last.safetensors` or `best.safetensors` of a `checkpoint=` folder, or what the callback `Checkpoint` wrote.
            The folder itself stands for its `last.safetensors`.
        train, val
            The same data again: of arrays, the shapes, dtypes and a sample of the values are compared.
        loss, optimizer, schedule, augment, metrics, callbacks
            What the file cannot hold: functions, and objects of your own classes. Those of the package are in the file;
            one given here takes the place of the one of its class.
        checkpoint : path, optional
            The folder to go on writing to: that of the file by default, if the run had one.
        custom : iterable of Layer classes
            Your own layers that the net uses.
        progress : bool

        Raises
        ------
        CheckpointError
            If the file is damaged, or that of a net alone.
        ValueError
            If something the file cannot hold was not given, by its name; if the data are others.
        FileNotFoundError
            If there is no such file, or no `last.safetensors` in the folder.
        """
        return resume_run(
            cls,
            path,
            train,
            val,
            custom,
            loss=loss,
            optimizer=optimizer,
            schedule=schedule,
            augment=augment,
            metrics=metrics,
            callbacks=callbacks,
            checkpoint=checkpoint,
            progress=progress,
        )

    def train(self, epochs: int | None = None) -> History:
        """Train for `epochs` more epochs.

        It goes on from where the last `train` ended, within the epoch if that was left there, and also where that gave
        back better weights of an earlier epoch; if the weights have been changed since, from those.

        Parameters
        ----------
        epochs : int, optional
            By default as many as an interrupted or resumed `train` had left (none, if a checkpoint holds the end of
            one); otherwise as many as the constructor says. The schedule runs over the steps of this call; finishing an
            interrupted one, over the steps of that.

        Returns
        -------
        history : History
            Of all epochs so far. After Ctrl-C, or if a callback stopped it, `history.stopped` says where and why.

        Raises
        ------
        NonFiniteError
            If a loss, gradient or weight becomes NaN or infinite: names the step and the layer. That step is undone,
            and the epoch given up: the next `train` begins a new one.
        """
        if epochs is not None:
            epochs = as_integer("Solver.train", "epochs", epochs, low=0)
        self._begin(epochs)
        try:
            with Interruptible() as interrupt:
                self._tell("on_train_begin")
                while self.call and self.epoch < self.call.last and not self._stopping:
                    self._train_epoch(self.call, interrupt)
        except KeyboardInterrupt:
            self.history.stopped = f"interrupted in epoch {self.epoch + 1}, after step {self.step}"
        except BaseException as error:
            if isinstance(error, NonFiniteError):
                self.history.stopped, self.partial = str(error), None
            self._leave(error)
            raise
        self._leave()
        return self.history

    def stop(self, why: str) -> None:
        """End `train` after the step or epoch that is under way; `history.stopped` will say why. For callbacks."""
        self._stopping = True
        self.history.stopped = str(why)
        if self.call is not None:
            self.call.last = self.epoch

    def evaluate(self, x: Any, y: Any) -> dict[str, float]:
        """Loss and metrics of the net on a data set: {"loss": ..., "accuracy": ...}."""
        with self._kept_weights() if self._running else contextlib.nullcontext():
            return self._measure(batches_of((x, y), self.batch_size, "evaluate"))

    def save(self, path: str | os.PathLike) -> None:
        """Write a checkpoint of the run as it stands, for `Solver.resume`; `cl.load` reads the net in it."""
        save_run(self, path)

    def lr_find(self, lowest: float = 1e-6, highest: float = 10.0, steps: int = 100) -> trials.LearningRates:
        """Try learning rates: one step with each, from `lowest` to `highest`, on a copy.

        Nothing of the Solver or the net is changed.

        Returns
        -------
        found : LearningRates
            `rates` and `losses`, `suggestion` (where the loss falls fastest; None, with a warning, where it does not
            fall beyond its noise), `plot()`.
        """
        return trials.lr_find(self, lowest, highest, steps)

    def overfit_batch(self, steps: int = 200, lr: float | None = None) -> trials.Overfit:
        """Train a copy on one batch: a net, loss and labels that fit together bring its loss to about 0.

        The first check of a new net. Without augmentation, schedule, weight decay, label smoothing and dropout, which
        keep a loss from 0. Nothing of the Solver or the net is changed.

        Parameters
        ----------
        steps : int
        lr : float, optional
            Of the optimiser, if another than its own.

        Returns
        -------
        report : Overfit
            `losses` by step; `ok`: whether the last is below a tenth of the first; it prints as a line.
        """
        return trials.overfit_batch(self, steps, lr)

    # One call of train

    def _begin(self, epochs: int | None) -> None:
        """Find out how far to train, and from where."""
        if epochs is not None or self.call is None:
            count = self.epochs if epochs is None else epochs
            self.call = Call(self.step, self._steps_of(count), self.epoch + count)
        else:
            self._steps_of(0)
        if self.checkpoint is not None:
            self.checkpoint.mkdir(parents=True, exist_ok=True)
            for name in ("last.safetensors", "best.safetensors"):
                remove_leftovers(self.checkpoint, name)
        self.history.stopped = None
        self._stopping, self._saved_at = False, None
        self._go_on()
        self._running = True

    def _steps_of(self, epochs: int) -> int:
        """How many steps `epochs` more epochs have, which only a schedule must know."""
        if self.schedule is None:
            return 0
        per_epoch = -(-len(self.train_data) // self.accumulate)
        if hasattr(self.schedule, "prepare"):
            self.schedule.prepare(per_epoch)
        done = 0 if self.partial is None else -(-self.partial.batch // self.accumulate)
        return max(epochs * per_epoch - done, 0)

    def _leave(self, error: BaseException | None = None) -> None:
        """End a call of train, on every way out: write the last state, give back the best weights, tell callbacks.

        What fails here is raised after the rest is done; beside an error under way it is only noted.
        """
        if self.partial is not None and self.partial.batch == 0:  # nothing was done: the order is drawn anew
            self.rng.bit_generator.state = self.partial.order
            self.partial = None
        for act in (self._write_last, self._end, lambda: self._tell("on_train_end")):
            try:
                act()
            except BaseException as trouble:
                if error is None:
                    error = trouble
                    continue
                error.add_note(f"and then {type(trouble).__name__}: {trouble}")
        self._running = False
        if self.call is not None and self.epoch >= self.call.last:
            self.call = None
        if error is not None and sys.exception() is not error:
            raise error

    def _tell(self, hook: str) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(self)

    def _write_last(self) -> None:
        """Write last.safetensors, if it does not hold this very state."""
        now = self.epoch, self.step, self.partial and self.partial.batch
        if self.checkpoint is not None and self.model.built and now != self._saved_at:
            save_run(self, self.checkpoint / "last.safetensors")
            self._saved_at = now

    # One epoch

    def _train_epoch(self, call: Call, interrupt: Interruptible) -> None:
        """One epoch, its validation, and its line in the history."""
        now, self.partial = self.partial, self.partial or Epoch(copy.deepcopy(dict(self.rng.bit_generator.state)))
        epoch = self.partial
        rng = self.rng if now is None else generator_at(epoch.order)  # which draws the same order once more
        start = time.perf_counter() - epoch.seconds
        with self._bar(f"epoch {self.epoch + 1}/{call.last}", epoch.batch) as bar:
            for group in self._groups(rng, epoch.batch):
                interrupt.check()
                self._train_group(group, call, epoch, interrupt)
                epoch.seconds = time.perf_counter() - start
                bar.set_postfix(loss=f"{self.history.steps['loss'][-1]:.4f}", refresh=False)
                bar.update(len(group))
                self._tell("on_step")
                if self._stopping:
                    return
        if epoch.batch == 0:
            raise ValueError("Solver: train gave no batches")
        sums = epoch.sums
        numbers = {f"train_{name}": sums[name] / sums[f"{name} weight"] for name in ("loss", *self.metrics)}
        with self._kept_weights() as kept:
            if self.val_data is not None:
                interrupt.check()
                numbers |= {f"val_{name}": value for name, value in self._measure(self.val_data).items()}
            interrupt.holding = True
            self.epoch, self.partial = self.epoch + 1, None
            self.history.append(**numbers, lr=epoch.lr, seconds=time.perf_counter() - start)
            best = self._keep_best(numbers)
        if self.schedule is not None and hasattr(self.schedule, "update"):
            self.schedule.update(numbers, self.monitor)
        interrupt.holding = False
        self._report(call.last)
        try:
            self._tell("on_epoch_end")
        finally:
            if self.checkpoint is not None and best:
                save_run(self, self.checkpoint / "best.safetensors", best=kept)
        self._write_last()

    def _groups(self, rng: np.random.Generator, skip: int) -> Iterator[list[tuple[Any, Any]]]:
        """The batches of each step that is left of the epoch."""
        numbers = itertools.count(skip)
        augmenting = self.augmenting

        def augment(x: Any, y: Any, indices: np.ndarray) -> tuple[Any, Any]:
            return augmenting(  # type: ignore[misc]
                x, y, indices, epoch=self.epoch, batch=next(numbers), classes=lambda: self._classes(x)
            )

        if augmenting is None:
            batches = self.train_data.batches(rng, self.model.dtype, skip)
        else:  # which gets the data as they are
            batches = self.train_data.batches(rng, None, skip, augment)
        while group := list(itertools.islice(batches, self.accumulate)):
            yield group

    def _classes(self, x: Any) -> int:
        """How many scores the net gives for a sample."""
        self._build(x)
        return self.model.output_shape(np.shape(x)[1:])[-1]

    def _train_group(self, group: list[tuple[Any, Any]], call: Call, epoch: Epoch, interrupt: Interruptible) -> None:
        """One step, and its part of the numbers of the epoch."""
        factor = self._factor(call)
        epoch.lr = self.optimizer.lr * factor
        interrupt.holding = True
        scores, losses, weights = self._train_step(group, factor)
        epoch.batch += len(group)
        for loss, weight in zip(losses, weights, strict=True):
            _add(epoch.sums, "loss", loss, weight)
        for z, (x, y) in zip(scores, group, strict=True):
            for name, value in [(name, metric(z, y)) for name, metric in self.metrics.items()]:
                _add(epoch.sums, name, value, len(x))
        interrupt.holding = False

    def _factor(self, call: Call) -> float:
        """What the schedule says: anew for each call of train, but once the net is warm, without the warm-up."""
        if self.schedule is None:
            return 1.0
        step = self.step - call.first
        if isinstance(self.schedule, Schedule) and 0 < self.schedule.warmup_steps <= call.first:
            return self.schedule.curve(step, call.steps)
        return self.schedule(step, call.steps)

    @contextlib.contextmanager
    def _kept_weights(self) -> Iterator[Weights | None]:
        """Put the weights that a callback averages in place of the net's own for a while; give what the net has."""
        given = self._averages()
        now = self.weights()
        try:
            if given is not None:
                self.set_weights(*given)
            yield now if given is None else (given[0].copy(), given[1].copy())
        finally:
            if given is not None:
                self.set_weights(*now)

    def _averages(self) -> Weights | None:
        return next((w for w in (callback.weights() for callback in self.callbacks) if w is not None), None)

    # One step

    def _train_step(self, group: list[tuple[Any, Any]], factor: float) -> tuple[list, list[float], list[float]]:
        """One step of gradient descent; it is undone if anything in it is not finite, or fails."""
        self._build(group[0][0])
        self._remember()
        try:
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # what comes of it is an error below
                return self._checked_step(group, factor)
        except NonFiniteError:
            raise
        except BaseException:
            self._undo_step()
            raise

    def _checked_step(self, group: list[tuple[Any, Any]], factor: float) -> tuple[list, list[float], list[float]]:
        """Take the step, unless the loss, a gradient or a new weight is not finite: the scores, losses and weights."""
        model = self.model
        scores, losses, weights = [], [], []
        total: Any = 0.0
        for i, (x, y) in enumerate(group):
            scores.append(model.forward(x))
            losses.append(self.loss.forward(scores[-1], y))
            weights.append(float(getattr(self.loss, "weight", 0)) or len(x))  # a loss of the user's own may not set it
            model.backward(self.loss.backward(), input_grad=False)
            if not math.isfinite(losses[-1]) or not _all_finite(model.flat_grads):
                bad = f"the loss is {losses[-1]}" if not math.isfinite(losses[-1]) else "a gradient is not finite"
                raise self._not_finite(group[: i + 1], bad)
            if len(group) > 1:
                total = total + model.dtype.type(weights[-1]) * model.flat_grads
        if len(group) > 1:
            model.flat_grads[...] = total / model.dtype.type(sum(weights))
        if self.clip_norm is not None:
            self._clip(self.clip_norm)
        self.optimizer.step(model, factor)
        if not (_all_finite(model.flat_params) and _all_finite(model.flat_state)):
            raise self._not_finite(group, "the step took a weight out of range (is lr too large?)")
        self.step += 1
        self.history.steps["loss"].append(losses[0] if len(group) == 1 else _mean(losses, weights))
        return scores, losses, weights

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

    def _remember(self) -> None:
        """Copy what a step changes, so that it can be undone: weights, state, random states, the optimiser's memory."""
        model = self.model
        if hasattr(self.optimizer, "bind"):
            self.optimizer.bind(model)  # the first step would
        states = {name: copy.deepcopy(layer.rng.bit_generator.state) for name, layer in model.walk() if layer.random}
        memory = copy.deepcopy(getattr(self.optimizer, "state", {}))
        self._undo = (*self.weights(), states, memory)

    def _undo_step(self) -> None:
        """Put back what `_remember` copied."""
        if self._undo is None:
            return
        params, state, states, memory = self._undo
        self.set_weights(params, state)
        layers = dict(self.model.walk())
        for name, drawn in states.items():
            layers[name].rng.bit_generator.state = drawn
        if memory:
            self.optimizer.state = memory

    def _not_finite(self, group: list[tuple[Any, Any]], what: str) -> NonFiniteError:
        """Undo the step, replay it to find where the trouble began (in the last batch), undo it again."""
        self._undo_step()
        loss = copy.copy(self.loss)
        for x, y in group[:-1]:
            loss.forward(self.model.forward(x), y)
        where = first_bad(self.model, loss, *group[-1])
        self._undo_step()
        return NonFiniteError(f"step {self.step + 1}: {what}; {where}")

    # The weights to keep

    def _end(self) -> None:
        """Give back the best weights, or the averaged ones, and put aside those that training ended with."""
        kept = self.best_weights or self._averages()
        if kept is not None:
            self._given = (kept[0].copy(), kept[1].copy()), self.weights()
            self.set_weights(*kept)

    def _go_on(self) -> None:
        """Take up the weights that the last `train` ended with, if the net still has what it gave back."""
        if self._given is not None:
            self.set_weights(*self.training_weights())
        self._given = None

    def training_weights(self) -> Weights:
        """Those that training goes on from; the net may have others, which the last `train` gave back."""
        now = self.weights()
        if self._given is not None:
            given, last = self._given
            if all(np.array_equal(a, b) for a, b in zip(now, given, strict=True)):
                return last
        return now

    def weights(self) -> Weights:
        """Copies of all parameters and of the state."""
        return self.model.flat_params.copy(), self.model.flat_state.copy()

    def set_weights(self, params: np.ndarray, state: np.ndarray) -> None:
        """Copy these into the net."""
        self.model.flat_params[...] = params
        self.model.flat_state[...] = state

    def _keep_best(self, numbers: dict[str, float]) -> bool:
        """Whether the weights are the best so far; they are copied then, if they are to come back."""
        if self.val_data is None or not math.isfinite(numbers[self.monitor]):
            return False
        if not improves(self.monitor, numbers[self.monitor], self.best):
            return False
        self.best = float(numbers[self.monitor])
        if self.keep == "best":
            self.best_weights = self.weights()
        return True

    def _check_monitors(self) -> None:
        """Refuse names to watch that the history will not have."""
        watched = [f"{part}_{name}" for part in ("train", "val") for name in ("loss", *self.metrics)]
        if self.monitor not in watched:
            raise ValueError(f"Solver: monitor must be one of {', '.join(watched)}; got {self.monitor!r}")
        there = [name for name in watched if self.val_data is not None or name.startswith("train_")]
        for part in (self.schedule, *self.callbacks):
            name = getattr(part, "monitor", self.monitor) or self.monitor
            if hasattr(part, "monitor") and name not in there:
                who = type(part).__name__
                raise ValueError(f"{who}: monitor must be one of {', '.join(there)} in this run; got {name!r}")

    # What is printed

    def _bar(self, title: str, done: int) -> tqdm:
        """A progress bar, silent where there is no terminal."""
        try:
            steps = len(self.train_data)
        except TypeError:
            steps = None
        shown = self.progress and sys.stderr.isatty()
        return tqdm(total=steps, initial=done, desc=title, unit="batch", leave=False, disable=not shown)

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


def _as_callbacks(callbacks: Any) -> list[Callback]:
    """Callbacks in the order they are called in."""
    if isinstance(callbacks, Callback) or not isinstance(callbacks, Iterable):
        raise TypeError(f"Solver: callbacks must be a list of Callback objects; got {callbacks!r}")
    given = list(callbacks)
    for callback in given:
        if not isinstance(callback, Callback):
            raise TypeError(f"Solver: callbacks must hold Callback objects; got {callback!r}")
    if sum(type(callback).weights is not Callback.weights for callback in given) > 1:
        raise ValueError("Solver: callbacks must have at most one that averages weights; got two")
    return sorted(given, key=lambda callback: callback.order)


def _add(sums: dict[str, float], name: str, value: float, weight: float) -> None:
    sums[name] = sums.get(name, 0.0) + float(value) * weight
    sums[f"{name} weight"] = sums.get(f"{name} weight", 0.0) + weight


def _mean(values: list[float], weights: list[float]) -> float:
    return sum(value * weight for value, weight in zip(values, weights, strict=True)) / sum(weights)


def _all_finite(a: np.ndarray) -> bool:
    """Whether no entry is NaN or infinite; the sum tells it cheaply, save that it may overflow."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(a.sum())) or bool(np.isfinite(a).all())

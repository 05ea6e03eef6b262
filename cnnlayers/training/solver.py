"""The Solver: trains a net by stochastic gradient descent."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

from ..checks import as_flag, as_integer, as_number
from ..data.feed import Feed
from ..data.loader import batches_of
from ..errors import NonFiniteError
from ..layers.inference import InferenceNet
from ..layers.layer import Layer
from ..randomness import random_generator
from ..terminal import print_line
from . import trials
from .agreement import checked
from .arguments import as_callbacks, as_metrics, check_kinds, check_monitors
from .callbacks import Callback, averaged_weights
from .evaluation import measure
from .history import History
from .interrupt import Interruptible
from .last_layer import mistake
from .loop import check, ends, train_epoch
from .meeting import meet
from .optimizer import own_schedules
from .ranks import Ranks
from .resume import LAST, check_savable, prepare_folder, resume_run, save_run
from .run import Run
from .weights import weights_in


class Solver:
    """Train a net: epochs of shuffled batches, each a forward pass, a backward pass and a step of the optimiser.

    Parameters
    ----------
    model : Layer
        A built net, or one that builds itself from the first batch. Its scores go to the loss, so for SoftmaxLoss it
        ends without Softmax, Sigmoid, Tanh or ReLU: there is a warning if it does not.
    train, val : (x, y) or (x, y, weights), or an iterable of such batches
        A tuple of two or three arrays is a data set, shuffled each epoch. Anything else is iterated afresh each epoch.
        An x that is not in memory (of HDF5, Zarr, or anything with shape, dtype and slicing) is read batch by batch.
        `weights` (N,) says how much each sample counts in the loss and in metrics. Targets that do not go with the loss
        and the net are refused here, if they are arrays, else with their batch. A batch that is empty, or of which
        nothing counts (ignored labels, classes or samples of weight 0), counts as nothing: the net does not see it, and
        the step is taken over the others of its group, or not at all.
    loss : Loss
        An object with forward(scores, target) and backward(); forward(scores, target, weights=None) where samples have
        weights. What it says of targets (`check_targets`, `counts`) is asked, if it does.
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
        Accuracy by default for classification losses. Each is computed once per epoch, over all its scores and targets
        (in training, of each step as it met them), which are kept in memory until then: where they are large, as maps
        are, `metrics={}` keeps none. One with a parameter `weights` gets those of the samples, if they have any.
    clip_norm : float, optional
        Scale the gradient down where its Euclidean norm is larger.
    accumulate : int
        Batches per step: their gradients are averaged, weighted as their losses are (added up, where the loss is a
        sum), so that a step is that of one large batch, up to rounding (and to BatchNorm, which sees the parts).
    callbacks : iterable of Callback
    checkpoint : path, optional
        A folder for `last.safetensors` (after each epoch and on every way out) and `best.safetensors` (the best on
        `monitor`), from either of which `Solver.resume` goes on. It is made if it is missing; whether it can be written
        to is tried before the first step.
    keep : {"best", "last"}
        On every way out of `train` the net has the weights that were best on `monitor`, or the last finite ones;
        without `val` the last finite ones.
    monitor : str
        A name in the history. Losses and errors are better when lower, all else when higher.
    rng : int or numpy.random.Generator
        Draws the order of the samples, and the seed of `augment`.
    comm : mpi4py.MPI.Comm, optional
        The processes that train together, as `cl.distributed.world()`: the batches of a step (`accumulate`, at least as
        many as there are ranks) are spread over them, and every rank ends with the bits that one process would have.
        Each calls this with the same arguments. Rank 0 alone prints, writes files and calls callbacks that write.
    progress : bool
        A bar in a terminal, a line per epoch elsewhere. Where neither can be printed (no standard output, a pipe that
        nobody reads from), training goes on without.

    Attributes
    ----------
    history : History
    epoch, step : int
        How many are done.
    run : Run
        Where the training is: all that a checkpoint holds of it.

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
        comm: Any = None,
        progress: bool = True,
    ):
        check_kinds(model, loss, optimizer, schedule, keep)
        self.model, self.loss, self.optimizer, self.schedule = model, loss, optimizer, schedule
        self.batch_size = as_integer("Solver", "batch_size", batch_size, low=1)
        self.epochs = as_integer("Solver", "epochs", epochs, low=0)
        self.accumulate = as_integer("Solver", "accumulate", accumulate, low=1)
        self.ranks = Ranks(comm, self.accumulate)
        self.train_data = batches_of(train, self.batch_size, "train")
        self.val_data = None if val is None else batches_of(val, self.batch_size, "val")
        self.default_metrics = metrics is None
        self.metrics = as_metrics(getattr(loss, "metrics", dict)() if metrics is None else metrics)
        self.clip_norm = (
            clip_norm if clip_norm is None else as_number("Solver", "clip_norm", clip_norm, low=0, open_low=True)
        )
        self.augment, self.callbacks = augment, as_callbacks(callbacks)
        self.checkpoint = None if checkpoint is None else Path(os.fspath(checkpoint))
        self.keep, self.monitor = keep, monitor
        self.progress = as_flag("Solver", "progress", progress) and self.ranks.is_first
        check_monitors(monitor, [schedule, *self.callbacks], list(self.metrics), val is not None)
        self.run = Run(random_generator(rng))
        if augment is not None:
            self.run.augment_seed = int(self.run.rng.integers(2**63))
        if self.ranks.is_first and (wrong := mistake(model, loss)):
            warnings.warn(f"Solver: {wrong}", UserWarning, stacklevel=2)
        self._feed()  # refuses what is not an augmentation
        self._check_train = checked(self.train_data, model, loss, augment)  # these refuse a batch that comes unseen
        self._check_val = checked(self.val_data, model, loss)
        self._running = self._stopping = False  # whether `train` is under way, and whether a callback called `stop`
        self._saved_at: tuple | None = None  # the epoch, step and batch that last.safetensors holds

    @property
    def history(self) -> History:
        """The losses and metrics of all epochs so far."""
        return self.run.history

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return self.run.epoch

    @property
    def step(self) -> int:
        """How many steps are done."""
        return self.run.step

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
        comm: Any = None,
        progress: bool = True,
    ) -> Self:
        """Make the Solver that wrote a checkpoint; its `train()` ends with the bits of a run never interrupted.

        Parameters
        ----------
        path : path
            `last.safetensors` or `best.safetensors` of a `checkpoint=` folder, or what the callback `Checkpoint` wrote.
            A folder means the `last.safetensors` in it.
        train, val
            The same data again: of arrays, the shapes, dtypes and a sample of the values are compared.
        loss, optimizer, schedule, augment, metrics, callbacks
            What the file cannot hold: functions, and objects of your own classes. Those of the package are in the file;
            one given here takes the place of the one of its class.
        checkpoint : path, optional
            The folder to go on writing to: that of the file by default, if the run had one.
        custom : iterable of Layer classes
            Your own layers that the net uses.
        comm : mpi4py.MPI.Comm, optional
            The processes that go on with the run: any number of them, whatever number there was.
        progress : bool

        Raises
        ------
        CheckpointError
            If the file is damaged, or that of a net alone.
        ValueError
            If something the file cannot hold was not given, by its name; if the data are others; if an optimizer that
            was given cannot go on from the state of the run's.
        FileNotFoundError
            If there is no such file, or no `last.safetensors` in the folder.
        """
        given = {"loss": loss, "optimizer": optimizer, "schedule": schedule, "augment": augment, "metrics": metrics}
        given |= {"callbacks": callbacks, "checkpoint": checkpoint, "comm": comm, "progress": progress}
        return resume_run(cls, path, train, val, custom, **given)

    def train(self, epochs: int | None = None, *, stop_on_sigterm: bool = False) -> History:
        """Train for `epochs` more epochs.

        It goes on from where the last `train` ended, within the epoch if that was left there, and also where that gave
        back better weights of an earlier epoch; if the weights have been changed since, from those.

        Parameters
        ----------
        epochs : int, optional
            By default as many as an interrupted, stopped or resumed `train` had left (none, and a line says so, if a
            checkpoint holds the end of one); otherwise as many as the constructor says. The schedule runs over the
            steps of this call; finishing an interrupted one, over the steps of that.
        stop_on_sigterm : bool
            End on SIGTERM as on Ctrl-C, in the main thread: schedulers and containers send it some seconds before they
            kill. A second one ends the process, and so does one outside `train`.

        Returns
        -------
        history : History
            Of all epochs so far. After Ctrl-C or SIGTERM, or if a callback stopped it, `history.stopped` says where and
            why; a loop over several runs should look at it (`if history.interrupted: break`).

        Raises
        ------
        NonFiniteError
            If a loss, gradient or weight becomes NaN or infinite: names the step and the layer. That step is undone,
            and the epoch given up: the next `train` begins a new one.
        KeyboardInterrupt
            If Ctrl-C comes a second time. The step and the file under way are finished before, and the state is saved
            (a third one does not wait for a file).
        """
        if epochs is not None:
            epochs = as_integer("Solver.train", "epochs", epochs, low=0)
        stop_on_sigterm = as_flag("Solver.train", "stop_on_sigterm", stop_on_sigterm)
        self._begin(epochs)
        run = self.run
        with Interruptible(stop_on_sigterm) as interrupt:
            try:
                self._tell("on_train_begin")
                ends(self, interrupt)
                while run.call and run.epoch < run.call.last and not self._stopping:
                    train_epoch(self, run.call, interrupt)
                check(self, interrupt)
            except KeyboardInterrupt as error:
                if self.ranks.size > 1 and not interrupt.agreed:  # the others go on, and would wait for this rank
                    self._leave(interrupt, error)
                    raise
                self._note_interrupt(interrupt)
            except BaseException as error:
                if isinstance(error, NonFiniteError):
                    run.history.stopped, run.partial = str(error), None
                self._leave(interrupt, error)
                raise
            self._leave(interrupt)
        if interrupt.insisted:
            raise KeyboardInterrupt
        return run.history

    def stop(self, why: str, *, final: bool = False) -> None:
        """End `train` after the step or epoch that is under way; `history.stopped` will say why. For callbacks.

        What is left of it is left, as after Ctrl-C: the next `train()`, also that of `Solver.resume`, goes on with it,
        to the bits of a run never stopped. With `final` the run is over, as it is after EarlyStopping: nothing is left,
        and only `train(epochs=N)` trains more.

        Examples
        --------
        A limit on the time of a `train`:

        >>> class TimeLimit(Callback):
        ...     def __init__(self, seconds):
        ...         self.seconds = seconds
        ...
        ...     def on_train_begin(self, solver):
        ...         self.end = time.monotonic() + self.seconds
        ...
        ...     def on_step(self, solver):
        ...         if time.monotonic() > self.end:
        ...             solver.stop(f"{self.seconds} seconds are over")
        """
        self._stopping = True
        self.run.history.stopped = str(why)
        if final and self.run.call is not None:
            self.run.call.last = self.run.epoch

    def evaluate(self, x: Any, y: Any, weights: Any = None, views: Any = None) -> dict[str, float]:
        """Loss and metrics of the net on a data set, of samples with these weights: {"loss": ..., "accuracy": ...}.

        With `views`, as `cl.augment.mirror`, those of the mean of its scores over views of each batch (`net.predict`).
        """
        data = batches_of((x, y, weights), self.batch_size, "evaluate")
        checked(data, self.model, self.loss)
        with weights_in(self.model, averaged_weights(self.callbacks) if self._running else None):
            return measure(self.model, self.loss, self.metrics, data, self.run.rng, ranks=self.ranks, views=views)

    def save(self, path: str | os.PathLike) -> None:
        """Write a checkpoint of the run as it is now, for `Solver.resume`; `cl.load` reads the net in it.

        Of several ranks rank 0 writes it.
        """
        if self.ranks.is_first:
            save_run(self, path)

    def lr_find(self, lowest: float = 1e-6, highest: float = 10.0, steps: int = 100) -> trials.LearningRates:
        """Try learning rates: one step with each, from `lowest` to `highest`, on a copy.

        Nothing of the Solver or the net is changed. The result has `rates` and `losses`, `suggestion` (where the loss
        falls fastest; None, with a warning, where it does not fall beyond its noise) and `plot()`.
        """
        return trials.lr_find(self, lowest, highest, steps)

    def overfit_batch(self, steps: int = 200, lr: float | None = None) -> trials.Overfit:
        """Train a copy on one batch: a net, loss and labels that fit together bring its loss to about 0.

        The first check of a new net. Without augmentation, schedule, weight decay, label smoothing and dropout, which
        keep a loss from 0; `lr` is that of the optimiser by default. Nothing of the Solver or the net is changed. The
        result has `losses` by step, `ok` (whether the last is below a tenth of the first) and `mistake` (a last layer
        that does not go with the loss); it prints as a line.
        """
        return trials.overfit_batch(self, steps, lr)

    # One call of train

    def _begin(self, epochs: int | None) -> None:
        """Find out how far to train, and from where."""
        if isinstance(self.model, InferenceNet):
            raise RuntimeError("Solver: model was made by for_inference(): it can predict(), not train")
        run, steps_per_epoch = self.run, 0
        schedules = [*([] if self.schedule is None else [self.schedule]), *own_schedules(self.optimizer)]
        if schedules or any(callback.counts_steps for callback in self.callbacks):  # which must know it
            steps_per_epoch = len(self._feed())
        for schedule in schedules:
            if hasattr(schedule, "prepare"):
                schedule.prepare(steps_per_epoch)
        if epochs is not None or run.call is None:
            run.begin_call(self.epochs if epochs is None else epochs, steps_per_epoch, self.accumulate)
        elif run.epoch >= run.call.last:
            self._say_that_it_is_over()
        if self.checkpoint is not None:
            check_savable(self)
            if self.ranks.is_first:
                prepare_folder(self.checkpoint)
        if run.call is not None and run.epoch < run.call.last:
            run.history.stopped = None
        self._stopping, self._saved_at = False, None
        run.take_up(self.model)
        if self.ranks.size > 1:
            meet(self)
        self._running = True

    def _say_that_it_is_over(self) -> None:
        why = f" ({self.history.stopped})" if self.history.stopped else ""
        if self.progress:
            text = f"nothing is left of this run, which ended at epoch {self.epoch}{why}: train(epochs=N) trains more"
            print_line(text, sys.stdout)

    def _note_interrupt(self, interrupt: Interruptible) -> None:
        """Say in the history where Ctrl-C or SIGTERM came."""
        run = self.run
        epoch = run.epoch + 1 if run.call is None else min(run.epoch + 1, run.call.last)
        what = "terminated by SIGTERM" if interrupt.terminated else "interrupted"
        run.history.stopped = f"{what} in epoch {epoch}, after step {run.step}"

    def _leave(self, interrupt: Interruptible, error: BaseException | None = None) -> None:
        """End a call of train, on every way out: write the last state, give back the best weights, tell callbacks.

        What fails here is raised after the rest is done; if there is an error already, it is only noted there.
        """
        interrupt.holding, self.ranks.failed = True, not (error is None or isinstance(error, NonFiniteError))
        self.run.forget_untouched_epoch()

        def tell() -> None:
            interrupt.holding = False
            self._tell("on_train_end")

        for act in (lambda: self._write_last(interrupt), self._give_back, tell):
            try:
                act()
            except BaseException as trouble:
                if error is None:
                    error = trouble
                    continue
                error.add_note(f"and then {type(trouble).__name__}: {trouble}")
            finally:
                interrupt.holding = True
        self._running = self.ranks.failed = False
        if error is None or isinstance(error, NonFiniteError):  # all are here; none may go on while rank 0 writes
            interrupt.agree(self.ranks)
        if interrupt.asked:  # it may have come here
            self._note_interrupt(interrupt)
        if self.run.call is not None and self.run.epoch >= self.run.call.last:
            self.run.call = None
        self.ranks.heed_exit(error)
        if error is not None and sys.exception() is not error:
            raise error

    def _give_back(self) -> None:
        """Give the net the best weights, or the averaged ones."""
        kept = self.run.best_weights or averaged_weights(self.callbacks)
        if kept is not None:
            self.run.give_back(self.model, kept)

    def _write_last(self, interrupt: Interruptible) -> None:
        """Write last.safetensors, if it does not hold this very state."""
        run = self.run
        now = run.epoch, run.step, run.partial and run.partial.batch
        if self.ranks.is_first and self.checkpoint is not None and self.model.built and now != self._saved_at:
            with interrupt.saving():
                save_run(self, self.checkpoint / LAST)
            self._saved_at = now

    def _tell(self, hook: str) -> None:
        for callback in self.callbacks:
            if self.ranks.is_first or not callback.writes:
                getattr(callback, hook)(self)

    def _feed(self) -> Feed:
        return Feed(self.train_data, self.augment, self.run.augment_seed, self.accumulate)

    def _report(self, last: int) -> None:
        """The line of the epoch that just ended."""
        if self.progress:
            print_line(f"epoch {self.epoch:{len(str(last))}d}/{last}  {self.history.line()}", sys.stdout)

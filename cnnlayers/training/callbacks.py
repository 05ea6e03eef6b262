"""Callbacks: what happens between the steps and epochs of a training run.

    solver = cl.Solver(net, ..., callbacks=[cl.EarlyStopping(patience=5), cl.CSVLogger("run.csv")])

The Solver calls them in the order given, but those that change or average weights first and checkpoints last, so that a
checkpoint holds what the others changed in the step. An error in a callback ends the training and propagates as it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import as_integer, as_number
from ..writing import check_writable, remove_leftovers
from .better import improves
from .callback import Callback
from .freezing import Freeze
from .weights import weights_of

__all__ = [
    "EMA",
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "Freeze",
    "LambdaCallback",
    "Lookahead",
    "TensorBoard",
]


class LambdaCallback(Callback):
    """Functions of the Solver as a callback.

    A file cannot hold functions: pass the callback again to `Solver.resume`.

    Examples
    --------
    >>> LambdaCallback(on_epoch_end=lambda solver: print(solver.history["train_loss"][-1]))
    LambdaCallback(on_epoch_end=<function ...>)
    """

    def __init__(
        self,
        on_train_begin: Callable[[Any], object] | None = None,
        on_step: Callable[[Any], object] | None = None,
        on_epoch_end: Callable[[Any], object] | None = None,
        on_train_end: Callable[[Any], object] | None = None,
    ) -> None:
        given = {
            "on_train_begin": on_train_begin,
            "on_step": on_step,
            "on_epoch_end": on_epoch_end,
            "on_train_end": on_train_end,
        }
        for name, function in given.items():
            if function is not None:
                if not callable(function):
                    raise TypeError(f"LambdaCallback: {name} must be a function of the Solver; got {function!r}")
                setattr(self, name, function)
        self._given = given

    def config(self) -> dict[str, Any]:
        """Give the functions."""
        return dict(self._given)


class EarlyStopping(Callback):
    """Stop when `monitor` has not improved for `patience` epochs in a row: the run is over, nothing of it is left.

    Parameters
    ----------
    patience : int
        At least 1.
    monitor : str, optional
        A name in the history; that of the Solver by default. Losses and errors improve when lower, all else when
        higher.
    min_delta : float
        What counts as an improvement: more than this.
    """

    def __init__(self, patience: int = 5, monitor: str | None = None, min_delta: float = 0.0) -> None:
        self.patience = as_integer("EarlyStopping", "patience", patience, low=1)
        self.monitor = monitor
        self.min_delta = as_number("EarlyStopping", "min_delta", min_delta, low=0)
        self.best: float | None = None
        self.waited = 0

    def on_epoch_end(self, solver: Any) -> None:
        """Compare, and stop the Solver if it is time."""
        name = self.monitor or solver.monitor
        value = solver.history[name][-1]
        if improves(name, value, self.best, self.min_delta):
            self.best, self.waited = float(value), 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            self.waited = 0
            solver.stop(f"{name} has not improved for {self.patience} epochs, at epoch {solver.epoch}", final=True)

    def state_dict(self) -> dict[str, Any]:
        """Give the best value and how long ago it was."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take them over."""
        self.best = None if state["best"] is None else float(state["best"])
        self.waited = as_integer("EarlyStopping", "state 'waited'", state["waited"], low=0)


class EMA(Callback):
    """Exponential moving average of the weights: evaluated and kept in place of the weights themselves.

    average = d average + (1 - d) weights   after each step t (from 1), with d = min(decay, t / (t + 9))

    so that the first weights do not dominate the average for long. Running statistics are averaged like parameters.
    Training goes on with the plain weights.

    Source      Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992; the exponential form
                with its start is that of TensorFlow's ExponentialMovingAverage

    Parameters
    ----------
    decay : float
        In 0 <= decay < 1.
    """

    order = -1

    def __init__(self, decay: float = 0.999) -> None:
        self.decay = as_number("EMA", "decay", decay, low=0, high=1, open_high=True)
        self.count = 0
        self.average: tuple[np.ndarray, np.ndarray] | None = None

    def on_step(self, solver: Any) -> None:
        """Take the new weights into the average."""
        model = solver.model
        self.count += 1
        if self.average is None:
            self.average = model.flat_params.copy(), model.flat_state.copy()
            return
        rate = 1 - min(self.decay, self.count / (self.count + 9))
        for average, now in zip(self.average, (model.flat_params, model.flat_state), strict=True):
            average += average.dtype.type(rate) * (now - average)

    def weights(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Give the average, if there was a step."""
        return self.average

    def state_dict(self) -> dict[str, Any]:
        """Give the average and the number of steps in it."""
        if self.average is None:
            return {}
        return {"count": self.count, "params": self.average[0], "state": self.average[1]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take them over."""
        if state:
            self.count = as_integer("EMA", "state 'count'", state["count"], low=0)
            self.average = np.array(state["params"]), np.array(state["state"])


class Lookahead(Callback):
    """Slow weights that follow the trained ones, which go on from them: k steps forward, one step back.

    slow = slow + alpha (fast - slow),  fast = slow      after every k-th step

    where fast are the weights of the net, and slow those with which training began (of a net that is built by its first
    batch, those after its first step). Running statistics are treated like parameters; what is frozen stays. The
    optimiser keeps its memory. Weights that were set by hand between two calls of `train` are fast ones.
    The net has the fast weights throughout, so it ends with the slow ones where k divides the number of steps; they are
    evaluated and kept, if no `EMA` comes after, which averages what this leaves.

    Source      M. Zhang, J. Lucas, G. Hinton, J. Ba, "Lookahead Optimizer: k steps forward, 1 step back", 2019

    Parameters
    ----------
    every : int
        k, at least 1.
    alpha : float or function (step, total_steps) -> float
        In 0 < alpha <= 1. A function is given how many steps of this call of `train` are done, from 1, and how many it
        takes in all. A file cannot hold one: pass the callback again to `Solver.resume`.

    Attributes
    ----------
    slow : (parameters, state) or None
        Two flat arrays.

    Examples
    --------
    Ever more of the slow weights is kept:

    >>> lookahead = Lookahead(every=5, alpha=lambda step, total_steps: 1 - 0.95**5 * (step / total_steps) ** 3)
    """

    order = -2  # so that an average takes in what it leaves

    def __init__(self, every: int = 5, alpha: float | Callable[[int, int], float] = 0.5) -> None:
        self.every = as_integer("Lookahead", "every", every, low=1)
        self.alpha = alpha if callable(alpha) else _share(alpha)
        self.counts_steps = callable(alpha)
        self.count = 0
        self.slow: tuple[np.ndarray, np.ndarray] | None = None

    def on_train_begin(self, solver: Any) -> None:
        """Take the slow weights from the net, unless this goes on with a run."""
        if solver.model.built and (self.slow is None or solver.step == 0):
            self.count, self.slow = 0, weights_of(solver.model)

    def on_step(self, solver: Any) -> None:
        """Bring fast and slow weights together, if it is time."""
        model = solver.model
        self.count += 1
        self.slow = self.slow or weights_of(model)
        if self.count % self.every:
            return
        back = 1 - self._alpha_now(solver.step, solver.run.call)
        params, state = self.slow
        for part, _ in model.param_runs(decay_all=True):
            _draw_back(model.flat_params[part], params[part], back)
        params[...] = model.flat_params  # those that are frozen, too: where they were when they were frozen
        _draw_back(model.flat_state, state, back)

    def _alpha_now(self, step: int, call: Any) -> float:
        if not callable(self.alpha):
            return self.alpha
        if call.steps == 0:  # it was begun without this callback, and is gone on with
            raise ValueError(
                "Lookahead: alpha is a function of the number of steps, which this training did not count as it began: "
                "begin another, train(epochs=N), or take a number"
            )
        return _share(self.alpha(step - call.first, call.steps))

    def state_dict(self) -> dict[str, Any]:
        """Give the slow weights and the number of steps so far."""
        return {} if self.slow is None else {"count": self.count, "params": self.slow[0], "state": self.slow[1]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take them over."""
        if state:
            self.count = as_integer("Lookahead", "state 'count'", state["count"], low=0)
            self.slow = np.array(state["params"]), np.array(state["state"])


def _draw_back(fast: np.ndarray, slow: np.ndarray, back: float) -> None:
    """slow + alpha (fast - slow) = fast + (1 - alpha) (slow - fast): exact where alpha is 1, or nothing has moved."""
    slow -= fast
    slow *= slow.dtype.type(back)
    slow += fast
    fast[...] = slow


def _share(alpha: Any) -> float:
    return as_number("Lookahead", "alpha", alpha, low=0, high=1, open_low=True)


class Checkpoint(Callback):
    """Write a checkpoint every few epochs or steps: `step-00000042.safetensors`, which `Solver.resume` takes.

    The Solver's own `checkpoint=` folder has `last.safetensors` and `best.safetensors` anyway; this adds a trail.

    Parameters
    ----------
    every : int
        How many epochs (or steps) lie between two files.
    keep : int, optional
        How many files to keep: the newest of this run; all by default. An old one is deleted after the new one is
        written.
    unit : {"epochs", "steps"}
    folder : path, optional
        The Solver's `checkpoint=` by default. It is made if it is missing.
    """

    order = 1
    writes = True

    def __init__(
        self, every: int = 1, keep: int | None = None, unit: str = "epochs", folder: str | os.PathLike | None = None
    ) -> None:
        self.every = as_integer("Checkpoint", "every", every, low=1)
        self.keep = None if keep is None else as_integer("Checkpoint", "keep", keep, low=1)
        if unit not in ("epochs", "steps"):
            raise ValueError(f'Checkpoint: unit must be "epochs" or "steps"; got {unit!r}')
        self.unit = unit
        self.folder = folder
        self.written: list[str] = []

    def on_train_begin(self, solver: Any) -> None:
        """Make the folder, and try whether it can be written to."""
        if self.folder is None and solver.checkpoint is None:
            raise ValueError("Checkpoint needs a folder, its own or the Solver's checkpoint=")
        self._path(solver).mkdir(parents=True, exist_ok=True)
        remove_leftovers(self._path(solver), "step-*.safetensors")
        check_writable(self._path(solver) / _step_name(solver.step))

    def on_step(self, solver: Any) -> None:
        """Write, if it is time."""
        if self.unit == "steps" and solver.step % self.every == 0:
            self._write(solver)

    def on_epoch_end(self, solver: Any) -> None:
        """Write, if it is time."""
        if self.unit == "epochs" and solver.epoch % self.every == 0:
            self._write(solver)

    def state_dict(self) -> dict[str, Any]:
        """Give the names of the files written."""
        return {"written": self.written}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take them over."""
        self.written = [str(Path(str(name)).name) for name in state["written"]]  # never outside the folder

    def _path(self, solver: Any) -> Path:
        return Path(solver.checkpoint if self.folder is None else self.folder)

    def _write(self, solver: Any) -> None:
        name = _step_name(solver.step)
        before = [other for other in self.written if other != name]
        cut = 0 if self.keep is None else max(len(before) + 1 - self.keep, 0)
        old, self.written = before[:cut], [*before[cut:], name]
        try:
            solver.save(self._path(solver) / name)
        except BaseException:
            self.written = [*old, *self.written[:-1]]
            raise
        for gone in reversed(old):
            try:
                (self._path(solver) / gone).unlink(missing_ok=True)
            except PermissionError:  # on Windows, while somebody reads it; it goes the next time
                self.written.insert(0, gone)


def _step_name(step: int) -> str:
    return f"step-{step:08d}.safetensors"


class CSVLogger(Callback):
    """Write the history as CSV after each epoch: a row for every epoch so far, also those before a resume.

    Parameters
    ----------
    path : path
        Its folder is made if it is missing, as training begins.
    """

    writes = True

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = path

    def on_train_begin(self, solver: Any) -> None:
        """Make the folder; refuse a path that is a folder itself, or cannot be written."""
        path = Path(self.path)
        if path.is_dir():
            raise IsADirectoryError(f"CSVLogger: path must be that of a file; {path} is a folder")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise type(error)(f"CSVLogger: the folder of {path} cannot be made: {error}") from error
        check_writable(path)

    def on_epoch_end(self, solver: Any) -> None:
        """Write the whole file again, atomically."""
        solver.history.save(self.path)


class TensorBoard(Callback):
    """Write the losses, metrics and learning rates for TensorBoard. It needs tensorboardX.

    Parameters
    ----------
    folder : path

    Raises
    ------
    ImportError
        If tensorboardX is missing: `pip install tensorboardX`.
    """

    writes = True

    def __init__(self, folder: str | os.PathLike) -> None:
        try:
            import tensorboardX  # noqa: F401
        except ImportError:
            raise ImportError("TensorBoard needs tensorboardX: pip install tensorboardX") from None
        self.folder = folder
        self._writer: Any = None

    def on_train_begin(self, solver: Any) -> None:
        """Open a file of events; what an interrupted run wrote after this step is discarded."""
        import tensorboardX

        self._writer = tensorboardX.SummaryWriter(os.fspath(self.folder), purge_step=solver.step or None)

    def on_step(self, solver: Any) -> None:
        """Write the loss of the step."""
        self._writer.add_scalar("step/loss", solver.history.steps["loss"][-1], solver.step)

    def on_epoch_end(self, solver: Any) -> None:
        """Write the losses and metrics of the epoch, at the step that ended it."""
        for name, value in solver.history.row().items():
            part, _, rest = name.partition("_")
            self._writer.add_scalar(f"{rest}/{part}" if rest else name, value, solver.step)

    def on_train_end(self, solver: Any) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def averaged_weights(callbacks: Iterable[Callback]) -> tuple[np.ndarray, np.ndarray] | None:
    """Give the weights that a callback wants evaluated and kept in place of the net's own, or None."""
    return next((weights for weights in (callback.weights() for callback in callbacks) if weights is not None), None)

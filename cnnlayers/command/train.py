"""`cnnlayers train` and `cnnlayers resume`."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from typing import Any

from .. import threads
from ..data.parts import Dataset
from ..distributed import launched
from ..layers.scores import same_names
from ..look.plot.style import matplotlib_for
from ..names import path_as_text
from ..terminal import print_line
from ..training.callbacks import EMA, Callback, Checkpoint, EarlyStopping
from ..training.history import History
from ..training.interrupt import Interruptible
from ..training.losses import SoftmaxLoss
from ..training.optimizer import Optimizer
from ..training.resume import LAST
from ..training.schedules import Schedule
from ..training.solver import Solver
from . import config_file
from .factories import make_augmentation, make_model, make_optimizer, make_schedule, model_for
from .folder import CONFIG, REPLACED, Output, is_run, new_output, output
from .report import write_report
from .sources import check_apart, check_download, held_out, open_data
from .stderr import saying_warnings
from .together import Together

INTERRUPTED, TERMINATED = 130, 143  # 128 and the number of the signal, as shells say it


def check(options: argparse.Namespace) -> None:
    """Raise ValueError if options of `train` do not go together; nothing is read or written for it."""
    if options.download:
        check_download(options.data)
    _optimizer(options)
    _schedule(options)
    if options.checkpoint_every is not None and Path(options.out or "").suffix == ".safetensors":
        raise ValueError(f"--checkpoint-every needs a folder for the run; --out {options.out} is a file")
    _, ranks = launched()
    if ranks is not None and ranks > options.accumulate:
        raise ValueError(
            f"mpiexec started {ranks} processes, which share the batches of a step: --accumulate {ranks} or more is "
            f"needed; got {options.accumulate}"
        )


def train(options: argparse.Namespace, names: list[str]) -> int:
    """Train, test, and save; `names` are the options that the run's config.toml will hold."""
    together: Together = options.together
    out = together.first(lambda: _claim(options))
    try:
        data = _read_by(together, options)
        solver = together.all(lambda: _solver(options, data, out.folder))
    except BaseException:
        if together.is_first:
            out.leave_if_empty()
        raise
    replaces = options.overwrite and out.folder is not None and is_run(out.folder)
    with out.replacing(lambda: solver.epoch > 0) if together.is_first else contextlib.nullcontext():
        if together.is_first and out.config is not None:
            config_file.write(out.config, {name: _kept(name, getattr(options, name)) for name in names})
        _announce(options, solver, data)
        solver.train(stop_on_sigterm=True)
    return finish(solver, data, out, report=options.report, replaces=replaces, together=together)


def _claim(options: argparse.Namespace) -> Output:
    """Make the folder of a new run, if all can be written there."""
    out = new_output(options.out, options.data, options.overwrite)
    try:
        _try_to_write(out, options.report)
        check_apart(options.data, out.net)
    except BaseException:
        out.leave_if_empty()
        raise
    return out


def _read_by(together: Together, options: argparse.Namespace) -> Dataset:
    """Read the data on each rank; what is fetched or kept for it, rank 0 fetches and keeps before."""
    act = together.first_then_all if options.download or options.cache else together.all
    return act(lambda: data_of(options))


def _solver(options: argparse.Namespace, data: Dataset, folder: Path | None) -> Solver:
    """The Solver that the options of `train` describe."""
    options.model = options.model or model_for(data.train[0].shape[1:])
    with saying_warnings(lambda text: f"{options.data}: {text}"):
        net = make_model(options.model, data, digits=options.data == "digits", rng=options.seed, dtype=options.dtype)
    return Solver(
        net,
        data.train,
        data.val,
        loss=SoftmaxLoss(label_smoothing=options.label_smoothing),
        optimizer=_optimizer(options),
        schedule=_schedule(options),
        batch_size=options.batch_size,
        epochs=options.epochs,
        augment=make_augmentation(options.augment, data.train[0].shape[1:], options.mixup),
        callbacks=_callbacks(options),
        clip_norm=options.clip_norm,
        accumulate=options.accumulate,
        checkpoint=folder,
        keep=options.keep,
        monitor=options.monitor,
        rng=options.seed,
        comm=options.together.comm,
    )


def _try_to_write(out: Output, report: bool) -> None:
    """Find out before anything is read or trained whether its results can be written."""
    report = report and out.folder is not None
    out.check_writable(report)
    if report:
        try:
            matplotlib_for("report.write")
        except ImportError as error:
            _tell(f"there will be no report: {error}")


def _announce(options: argparse.Namespace, solver: Solver, data: Dataset) -> None:
    """Print what is about to be trained."""
    net: Any = solver.model
    _tell(f"{net.summary()}\n")
    if options.data != "digits":
        _tell(f"{options.data}: {data!r}")
    if solver.augment is not None:
        _tell(f"{solver.augment!r}")
    ranks = options.together.size
    together = "" if solver.accumulate == 1 else f"{solver.accumulate} in a step, "
    each = "" if ranks == 1 else f"{ranks} processes, each of "
    n = threads.get_num_threads()
    by = f"{together}{each}{n} thread{'' if n == 1 else 's'}"
    _tell(f"{solver.optimizer!r}, batches of {solver.batch_size}, {by}")


def resume(options: argparse.Namespace, train_options: dict[str, argparse.Action]) -> int:
    """Go on with an interrupted run, or with `--epochs` for more epochs."""
    together: Together = options.together
    folder = Path(options.run_folder)
    given, out = together.first(lambda: _found(folder, train_options, together.size))
    if options.threads is None and given["threads"] is not None:
        threads.set_num_threads(given["threads"])
    data = _read_by(together, argparse.Namespace(**given))
    solver = together.all(lambda: _resumed(folder, data, given["data"], together))
    _tell(f"{folder}: {solver.epoch} epochs, {solver.step} steps are done")
    if options.lr is not None:
        solver.optimizer.lr = options.lr
        _tell(f"{solver.optimizer!r} from here on")
    if options.epochs is not None:
        _tell(_what_the_rate_does(solver.schedule, options.epochs))
    elif solver.run.call is not None and solver.run.call.last <= solver.epoch:
        _tell("nothing is left to train: --epochs N trains N more")
        options.epochs = 0
    solver.train(options.epochs, stop_on_sigterm=True)
    return finish(solver, data, out, report=given["report"], together=together)


def _found(folder: Path, train_options: dict[str, argparse.Action], ranks: int) -> tuple[dict[str, Any], Output]:
    """Give the options of the run in a folder, and where to write, if so many processes can go on with it."""
    checkpoint, config = folder / LAST, folder / CONFIG
    if not checkpoint.exists() or not config.exists():
        left = folder / REPLACED
        hint = f"; the run that was to be replaced is in {left}" if is_run(left) else ""
        raise FileNotFoundError(f"{folder} is not the folder of a run: it needs {LAST} and {CONFIG}{hint}")
    given = {name: action.default for name, action in train_options.items()} | config_file.read(config, train_options)
    if ranks > given["accumulate"]:
        raise ValueError(
            f"{folder}: mpiexec started {ranks} processes, which share the batches of a step; the run has "
            f"--accumulate {given['accumulate']}, so no more than that can go on with it"
        )
    out = output(str(folder))
    _try_to_write(out, given["report"])
    return given, out


def _resumed(folder: Path, data: Dataset, source: str, together: Together) -> Solver:
    """The Solver of the run in a folder."""
    solver = Solver.resume(folder / LAST, data.train, data.val, comm=together.comm)
    net: Any = solver.model
    if not same_names(net.classes, data.classes):
        raise ValueError(f"{folder / LAST}: the net's classes are not those of {source}")
    return solver


def _what_the_rate_does(schedule: Any, epochs: int) -> str:
    """How the learning rate goes in more epochs than were planned."""
    if hasattr(schedule, "load_state_dict"):
        return f"{schedule!r} goes on with what it remembers"
    again = "; a warm-up that is over is not repeated" if getattr(schedule, "warmup", 0) else ""
    return f"{schedule!r} begins anew over the {epochs} epochs{again}"


def finish(
    solver: Solver, data: Dataset, out: Output, *, report: bool, together: Together, replaces: bool = False
) -> int:
    """Save what was trained, and test it: the exit code.

    With `replaces` a run is there that this one was to take the place of, so nothing is saved before its first epoch.
    """
    with contextlib.nullcontext() if together.is_first else Interruptible(sigterm=True):  # they end when rank 0 does
        code, is_tested = together.first(lambda: _save(solver, data, out, report, replaces))
    if is_tested:
        name, part = held_out(data)
        _tell(f"{name} accuracy: {solver.evaluate(*part)['accuracy']:.1%}")
    return code


def _save(solver: Solver, data: Dataset, out: Output, report: bool, replaces: bool) -> tuple[int, bool]:
    """Save the net and its history, and write the report: the exit code, and whether the net is to be tested.

    A first Ctrl-C or SIGTERM that comes while it is saved ends the command when that is done.
    """
    net: Any = solver.model
    history = solver.history
    if replaces and solver.epoch == 0:  # Ctrl-C or SIGTERM
        _tell(f"stopped: {history.stopped}; the run that was in {out.folder} is there as it was")
        return _exit_code(history), False
    if history.stopped:
        _tell(f"stopped: {history.stopped}")
    with Interruptible(sigterm=True) as interrupt:
        net.save(out.net, classes=data.classes)
        history.save(out.history)
        _tell(f"\nsaved {out.net} and {out.history}")
    if interrupt.asked:
        return TERMINATED if interrupt.terminated else INTERRUPTED, False
    if out.folder is not None and history.interrupted:
        _tell(f"to go on: cnnlayers resume {out.folder}")
    elif out.folder is not None and report:
        _leave_report(out.folder, solver, data)
    return _exit_code(history), _exit_code(history) != TERMINATED  # which leaves no time for it


def _exit_code(history: History) -> int:
    """Give the exit code of a training: 0, or that of a process which Ctrl-C or SIGTERM ended."""
    if not history.interrupted:
        return 0
    return TERMINATED if str(history.stopped).startswith("terminated") else INTERRUPTED


def data_of(options: argparse.Namespace) -> Dataset:
    """Read the data that the options of `train` name; what was guessed of them is said, and set in the options."""

    def worded(text: str) -> str:
        if "signals=False" in text:
            options.signals = False
        return text.replace("signals=False", "--no-signals").replace("signals=True", "--signals")

    with saying_warnings(worded):
        return open_data(
            options.data,
            size=options.size,
            channels=options.channels,
            background=options.background,
            val=options.val,
            test=options.test,
            seed=options.seed,
            signals=options.signals,
            skip_damaged=options.skip_damaged,
            truncated=options.truncated,
            cache=options.cache,
            split=options.split,
            download=options.download,
        )


def run_of(file: Path, train_options: dict[str, argparse.Action]) -> argparse.Namespace | None:
    """Give the options of the run in whose folder a net lies, or None."""
    config = file.parent / CONFIG
    if not config.exists():
        return None
    defaults = {name: action.default for name, action in train_options.items()}
    return argparse.Namespace(**defaults | config_file.read(config, train_options))


def _tell(text: str) -> None:
    """Print a line of what a training says: it goes on whether it is heard or not."""
    print_line(text, sys.stdout)


def _optimizer(options: argparse.Namespace) -> Optimizer:
    return make_optimizer(options.optimizer, options.lr, options.momentum, options.weight_decay)


def _schedule(options: argparse.Namespace) -> Schedule:
    return make_schedule(options.schedule, options.epochs, options.warmup)


def _callbacks(options: argparse.Namespace) -> list[Callback]:
    callbacks: list[Callback] = []
    if options.ema is not None:
        callbacks.append(EMA(options.ema))
    if options.early_stopping is not None:
        callbacks.append(EarlyStopping(options.early_stopping))
    if options.checkpoint_every is not None:
        callbacks.append(Checkpoint(every=options.checkpoint_every))
    return callbacks


def _kept(name: str, value: Any) -> Any:
    """An option as config.toml has it: data found from any folder; no --out, so that repeating a run spares it."""
    if name in ("out", "overwrite", "download"):
        return None
    is_path = (name == "data" and value != "digits") or (name == "cache" and value is not None)
    return path_as_text(value) if is_path else value


def _leave_report(folder: Path, solver: Solver, data: Dataset) -> None:
    """Write the report page and say where it is; without matplotlib, how to get one: the run itself went well."""
    try:
        page = write_report(folder, solver.model, solver.history, data, {"optimizer": repr(solver.optimizer)})
        _tell(f"report: {page}")
    except ImportError as error:
        _tell(f"no report: {error}")

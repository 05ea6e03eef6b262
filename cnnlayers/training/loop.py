"""The loop of a training: one epoch of steps, its validation, and its line in the history."""

from __future__ import annotations

import sys
import time
from operator import length_hint
from typing import Any

from ..data.loader import Batch
from ..terminal import Unfailing, is_terminal
from .agreement import counts
from .callbacks import averaged_weights
from .epoch import Epoch
from .evaluation import measure
from .interrupt import Interruptible
from .optimizer import own_schedules
from .resume import BEST, save_run
from .run import Call
from .step import Step
from .weights import weights_in

__all__ = ["check", "ends", "train_epoch"]


def train_epoch(solver: Any, call: Call, interrupt: Interruptible) -> None:
    """Train a Solver for an epoch, or for what is left of one; it returns early if a callback stops the training."""
    run = solver.run
    epoch, rng = run.enter_epoch()
    start = time.perf_counter() - epoch.seconds
    with _bar(solver, f"epoch {run.epoch + 1}/{call.last}", epoch.batch) as bar:
        places = solver.ranks.share(solver.accumulate)
        for group in solver._feed().groups(solver.model, rng, run.epoch, epoch.batch, places):
            check(solver, interrupt)
            stepped = _step(solver, group, call, epoch, interrupt)
            epoch.seconds = time.perf_counter() - start
            if stepped:
                bar.set_postfix(loss=f"{run.history.steps['loss'][-1]:.4f}", refresh=False)
            bar.update(len(group))
            if stepped:
                solver._tell("on_step")
            if ends(solver, interrupt):
                return
    _refuse_nothing(epoch)
    check(solver, interrupt)
    row = {f"train_{name}": value for name, value in epoch.values(solver.metrics).items()}
    with weights_in(solver.model, averaged_weights(solver.callbacks)):
        if solver.val_data is not None:

            def check_val(x: Any, y: Any, number: int) -> None:
                check(solver, interrupt)
                solver._check_val(x, y, number)

            values = measure(
                solver.model, solver.loss, solver.metrics, solver.val_data, run.rng, check_val, solver.ranks
            )
            row |= {f"val_{name}": value for name, value in values.items()}
        interrupt.holding = True
        run.epoch, run.partial = run.epoch + 1, None
        run.history.append(**row, lr=epoch.lr, seconds=time.perf_counter() - start)
        best = None if solver.val_data is None else run.best_so_far(solver.model, solver.monitor, row, solver.keep)
    if solver.schedule is not None and hasattr(solver.schedule, "update"):
        solver.schedule.update(row, solver.monitor)
    interrupt.holding = False
    solver._report(call.last)
    try:
        solver._tell("on_epoch_end")
    finally:
        if solver.checkpoint is not None and best is not None and solver.ranks.is_first:
            with interrupt.saving():
                save_run(solver, solver.checkpoint / BEST, best)
    solver._write_last(interrupt)
    ends(solver, interrupt)


def check(solver: Any, interrupt: Interruptible) -> None:
    """Heed Ctrl-C, if this is the only rank; several heed it where they meet (`ends`)."""
    if solver.ranks.size == 1:
        interrupt.check()


def ends(solver: Any, interrupt: Interruptible) -> bool:
    """Whether the training ends here, since a callback or Ctrl-C on any rank says so: then it does on all of them."""
    ranks, run = solver.ranks, solver.run
    if ranks.size > 1:
        last = None if run.call is None else run.call.last
        told = ranks.gather((interrupt.asked, interrupt.terminated, solver._stopping, run.history.stopped, last))
        interrupt.heed((asked, terminated) for asked, terminated, *_ in told)
        if interrupt.agreed:
            raise KeyboardInterrupt
        if reasons := [(why, last) for *_, stopping, why, last in told if stopping]:
            solver._stopping, (run.history.stopped, last) = True, reasons[0]
            if last is not None:
                run.call.last = last
    return solver._stopping


def _step(solver: Any, given: list[Batch], call: Call, epoch: Epoch, interrupt: Interruptible) -> bool:
    """One step over those of the batches in which anything counts, and its part of the epoch: whether there was one."""
    run = solver.run
    group: list[Batch] = []
    for number, batch in enumerate(given, epoch.batch + 1):
        if batch and counts(solver.loss, *batch):
            solver._check_train(*batch[:2], number)
            group.append(batch)
        else:
            group.append(())
    factor, group_factor = call.factor(solver.schedule, run.step), None
    if own_schedules(solver.optimizer):

        def group_factor(schedule: Any) -> float:
            return call.factor(schedule, run.step)

    interrupt.holding = True
    step = Step(
        solver.model, solver.loss, solver.optimizer, solver.clip_norm, run.rng, solver.ranks, bool(solver.metrics)
    )
    taken = step.take(group, factor, run.step + 1, group_factor)
    if taken.met:
        run.step += 1
        run.history.steps["loss"].append(taken.loss)
        epoch.lr = solver.optimizer.lr * factor
        epoch.add_step(taken, solver.metrics)
    epoch.batch += len(given)
    interrupt.holding = False
    return bool(taken.met)


def _refuse_nothing(epoch: Epoch) -> None:
    """Refuse an epoch without a step."""
    if epoch.batch == 0:
        raise ValueError("Solver: train gave no batches")
    if not epoch.sums:
        what = "each is empty, or its labels are all ignored, or of classes or samples of weight 0"
        raise ValueError(f"Solver: nothing counts in the {epoch.batch} batches of train: {what}")


def _bar(solver: Any, title: str, done: int) -> Any:
    """A progress bar, silent where there is no terminal."""
    from tqdm import tqdm  # here: it takes a tenth of the time that the package takes to import

    shown, steps = solver.progress and is_terminal(sys.stderr), length_hint(solver.train_data) or None
    file: Any = Unfailing(sys.stderr)
    return tqdm(total=steps, initial=done, desc=title, unit="batch", leave=False, file=file, disable=not shown)

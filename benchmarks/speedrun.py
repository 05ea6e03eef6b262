"""python -m benchmarks speedrun: the recipe of examples/cifar10_speedrun.py, measured, beside the same in PyTorch.

    python -m benchmarks speedrun --data FOLDER --json record.json

Both sides have the same net, first weights, batches and rates (`sides/torch_speedrun.py`). First the time: blocks of
steps in turn, ours and PyTorch's, each step whole: forward, backward, optimiser; the batches are there beforehand.
Then whole trainings, seed after seed: the accuracy after each epoch, and after the last also as the mean over mirrored
and shifted views; the seconds of each epoch, batches and steps, without the evaluation; the SHA-256 of the weights that
a training ends with. cnnlayers evaluates both sides, with PyTorch's weights copied into its net.

With `--json` each result is written as it comes, and a record that was interrupted goes on with the seeds that it
lacks. `--seeds 0 --torch-seeds 0` takes the time alone. What each part of the recipe buys is a suite of its own,
`speedrun-parts`, which may write into the same record.

The data: CIFAR-10's binary or Python version in the folder `--data`, or in that which CNNLAYERS_DATA names. They are
never fetched.
"""

import argparse
import dataclasses
import hashlib
import importlib.util
import itertools
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import cnnlayers as cl
from cnnlayers.data.feed import Feed
from cnnlayers.training.step import Step
from cnnlayers.writing import check_writable, write_atomically

from . import command, environment, runner
from .cases import OURS
from .sides import torch_speedrun

TORCH = "PyTorch"
EPOCHS, SEEDS, TORCH_SEEDS = 8, 10, 2
QUICK = {"batch_size": 32}
BLOCK, QUICK_BLOCK = 5, 1  # steps of a turn
PREPARED = 8  # batches that the timed steps have, in turn
GOALS = (0.80, 0.85, 0.90)
CLOSE = 1e-3  # how far the losses of the first steps may be from each other
EXAMPLE = Path(__file__).parents[1] / "examples" / "cifar10_speedrun.py"


def run(options: argparse.Namespace) -> None:
    """Measure, and print as it comes."""
    maker, record = begin(options, 2 if options.quick else EPOCHS)
    record.agree({"epochs": maker.epochs})
    sides = {OURS, TORCH} if environment.has_torch() else {OURS}
    if not sides <= record.found.get("time", {}).keys():
        record.found["time"] = times(maker, options.repeats, QUICK_BLOCK if options.quick else BLOCK)
        record.write()
    print("\n".join(time_lines(record.found["time"], maker.batch)), flush=True)
    seeds = given_or(options.seeds, 1 if options.quick else SEEDS)
    torch_seeds = given_or(options.torch_seeds, 1 if options.quick else TORCH_SEEDS)
    for side, seed in turns(seeds, torch_seeds if environment.has_torch() else 0):
        done = record.of(side, seed)
        if done is None:
            done = (train if side == OURS else train_torch)(maker, seed)
            record.found["runs"].append(done)
            record.write()
        print(run_line(done), flush=True)
    for line in summary(record.found["runs"]):
        print(line)


def begin(options: argparse.Namespace, usual_epochs: int) -> tuple["Maker", "Record"]:
    """Make ready what all trainings of the recipe need; say on which machine they are."""
    data = painted_digits() if options.quick else photographs(options.data)
    environment.set_threads(options.threads)
    where = environment.describe()
    print("\n".join(command.machine_lines(where)))
    maker = Maker(
        example().make_solver, data, given_or(options.epochs, usual_epochs), **(QUICK if options.quick else {})
    )
    machine = {name: where[name] for name in ("processor", "kernels")}
    record = Record(options.json, where)
    record.agree({"quick": options.quick, "threads": options.threads} | machine | maker.described())
    return maker, record


def given_or(number: int | None, usual: int) -> int:
    """A number that may be 0, if it was given."""
    return usual if number is None else number


def example() -> Any:
    """The example, whose `make_solver` is the recipe."""
    spec = importlib.util.spec_from_file_location(EXAMPLE.stem, EXAMPLE)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"speedrun: {EXAMPLE} cannot be read")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def photographs(folder: str | None) -> Any:
    """CIFAR-10 from its folder, or from that of CNNLAYERS_DATA."""
    folder = folder or os.environ.get("CNNLAYERS_DATA")
    if not folder:
        raise ValueError(
            "speedrun: --data must name the folder of CIFAR-10; python examples/cifar10_speedrun.py FOLDER --download "
            "fetches it, and --quick needs none"
        )
    return cl.datasets.cifar10(folder, val=0)


def painted_digits(n: int = 64) -> Any:
    """Small digits as 32 x 32 colour images: noisy ones, since no patch of a photograph is flat."""
    small, rng = cl.datasets.digits(), np.random.default_rng(0)

    def painted(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        large = x[:n].repeat(4, axis=1).repeat(4, axis=2) * np.uint8(10)
        return large + rng.integers(0, 80, (len(large), 32, 32, 3), np.uint8), y[:n]

    return cl.datasets.arrays(painted(*small.train), None, painted(*small.test))


def turns(seeds: int, torch_seeds: int) -> Iterator[tuple[str, int]]:
    """The sides in turn, seed after seed, while they have seeds."""
    for seed in range(max(seeds, torch_seeds)):
        if seed < seeds:
            yield OURS, seed
        if seed < torch_seeds:
            yield TORCH, seed


class Maker:
    """Makes the recipe's Solver, with other options if any; without data to evaluate within the time that is taken."""

    def __init__(self, make_solver: Callable[..., cl.Solver], data: Any, epochs: int, **options: Any) -> None:
        self.make_solver, self.test, self.epochs, self.options = make_solver, data.test, epochs, options
        self.data = dataclasses.replace(data, test=None)
        self.batch = self.solver(0).batch_size

    def solver(self, seed: int, **options: Any) -> cl.Solver:
        return self.make_solver(self.data, seed, self.epochs, progress=False, **self.options, **options)

    def accuracy(self, solver: cl.Solver, **options: Any) -> float:
        return solver.evaluate(*self.test, **options)["accuracy"]

    def described(self) -> dict[str, Any]:
        """What a record must have been made with, to go on with it."""
        solver = self.solver(0)
        names = ("loss", "optimizer", "schedule", "augment", "callbacks")
        parts = {name: repr(getattr(solver, name)) for name in names}
        images = hashlib.sha256()
        for array in (*self.data.train, *self.test):
            images.update(np.ascontiguousarray(array).tobytes())
        about = {"batch": self.batch, "data": images.hexdigest(), "recipe": parts, "net": repr(solver.model)}
        return about | {"parameters": solver.model.flat_params.size}


class Record:
    """The results so far, in a file if it has one.

    Attributes
    ----------
    found : dict
        `environment`, `settings`, `time` (seconds of each step by side), `runs` (a dict for each training), `parts` (a
        dict for each of `speedrun-parts`).
    """

    def __init__(self, path: str | None, where: dict[str, Any]) -> None:
        self.path = path
        self.found: dict[str, Any] = {"environment": where, "settings": {}, "runs": [], "parts": []}
        if path is None:
            return
        if Path(path).exists():
            self.found |= load(path)
        else:
            check_writable(path)

    def agree(self, settings: dict[str, Any]) -> None:
        """Refuse to go on with a record of another recipe, net, data set, machine or number of threads."""
        before = self.found["settings"]
        if differs := [name for name, value in settings.items() if before.get(name, value) != value]:
            names = ", ".join(sorted(differs))
            raise ValueError(f"speedrun: the record in {self.path} had other {names}; name another file")
        self.found["settings"] = before | settings

    def of(self, side: str, seed: int) -> dict[str, Any] | None:
        """The training of this side and seed, if it is done."""
        return next((run for run in self.found["runs"] if (run["side"], run["seed"]) == (side, seed)), None)

    def write(self) -> None:
        if self.path is not None:
            write_atomically(self.path, (json.dumps(self.found, indent=1) + "\n").encode())


def load(path: str | os.PathLike) -> dict[str, Any]:
    """Give the record in a file."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        found["settings"], found["runs"], found["environment"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"speedrun: {path} is no record of this suite ({error})") from None
    return found


# The time of a step


class Own:
    """Steps as the Solver takes them."""

    def __init__(self, solver: cl.Solver) -> None:
        self.taking = Step(solver.model, solver.loss, solver.optimizer, keep_scores=False)

    def take(self, x: np.ndarray, y: np.ndarray) -> tuple[Any, Any]:
        return x, y

    def step(self, x: Any, y: Any, factor: float, group_factor: Callable[[Any], float]) -> float:
        return self.taking.take([(x, y)], factor, group_factor=group_factor).loss


class Steps:
    """One step after another of a training, on a few batches in turn; a call takes one, and gives its loss."""

    def __init__(self, side: Any, solver: cl.Solver, epochs: int, batches: Any) -> None:
        self.side, self.schedule = side, solver.schedule
        self.total = prepare(solver, epochs)
        self.batches = itertools.cycle([side.take(*batch) for batch in batches])
        self.number = 0

    def __call__(self) -> float:
        at, self.number = min(self.number, self.total - 1), self.number + 1
        return self.side.step(*next(self.batches), *factors(self.schedule, at, self.total))


def prepare(solver: cl.Solver, epochs: int) -> int:
    """Tell the schedules how long an epoch is; give the number of all steps."""
    each = len(solver.train_data)
    for schedule in (solver.schedule, *solver.optimizer.schedules):
        schedule.prepare(each)
    return epochs * each


def factors(schedule: Any, step: int, total: int) -> tuple[float, Callable[[Any], float]]:
    """The factor on all rates, and what gives that of a group with a schedule of its own."""
    return schedule(step, total), lambda own: own(step, total)


def times(maker: Maker, repeats: int, block: int) -> dict[str, list[float]]:
    """The seconds of each step, by side: blocks of steps in turn."""
    batches = list(itertools.islice(fed(maker.solver(0), epoch=0), PREPARED))
    makers = {OURS: Own} | ({TORCH: torch_speedrun.Training} if environment.has_torch() else {})
    runs = {}
    for name, make in makers.items():
        solver = maker.solver(0)
        runs[name] = Steps(make(solver), solver, maker.epochs, batches)
    compare_losses({name: [run() for _ in range(2)] for name, run in runs.items()})  # these warm up, too

    def turn(run: Callable[[], Any], clock: Callable[[], float]) -> list[float]:
        run()
        seconds = []
        for _ in range(block):
            start = clock()
            run()
            seconds.append(clock() - start)
        return seconds

    return runner.measure(runs, repeats, turn)


def compare_losses(losses: dict[str, list[float]]) -> None:
    """Refuse to time sides that do not compute the same."""
    for name, theirs in losses.items():
        if not np.allclose(theirs, losses[OURS], rtol=CLOSE, atol=0):
            raise runner.Disagreement(f"speedrun: the first losses of {name} are {theirs}, of {OURS} {losses[OURS]}")


def fed(solver: cl.Solver, epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The batches that the Solver would train on in its next epoch; it draws their order, as if it did."""
    feed = Feed(solver.train_data, solver.augment, solver.run.augment_seed)
    for (batch,) in feed.groups(solver.model, solver.run.rng, epoch):
        yield batch


# Whole trainings


def train(maker: Maker, seed: int) -> dict[str, Any]:
    """One of ours: by the Solver."""
    accuracies: list[float] = []
    start = time.perf_counter()
    note = cl.LambdaCallback(on_epoch_end=lambda solver: accuracies.append(maker.accuracy(solver)))
    solver = maker.solver(seed, callbacks=[note])
    setup = time.perf_counter() - start
    history = solver.train()
    if history.interrupted:
        raise KeyboardInterrupt
    return outcome(OURS, maker, seed, solver, accuracies, [setup, *history["seconds"]])


def train_torch(maker: Maker, seed: int) -> dict[str, Any]:
    """One of PyTorch's: the same batches, made in the same way, and steps."""
    accuracies: list[float] = []
    start = time.perf_counter()
    solver = maker.solver(seed)
    seconds = [time.perf_counter() - start]
    side = torch_speedrun.Training(solver)  # not timed, since it may have to import PyTorch
    total, step = prepare(solver, maker.epochs), 0
    for epoch in range(maker.epochs):
        start = time.perf_counter()
        for batch in fed(solver, epoch):
            side.step(*side.take(*batch), *factors(solver.schedule, step, total))
            step += 1
        seconds.append(time.perf_counter() - start)
        for callback in solver.callbacks:
            if isinstance(callback, cl.Freeze) and callback.after == epoch + 1:
                side.freeze(callback.names)
        side.give_back()
        accuracies.append(maker.accuracy(solver))
    return outcome(TORCH, maker, seed, solver, accuracies, seconds)


def outcome(
    side: str, maker: Maker, seed: int, solver: cl.Solver, accuracies: list[float], seconds: list[float]
) -> dict[str, Any]:
    """A training in numbers; the first of `seconds` are those before the first epoch, which count."""
    best = maker.accuracy(solver, views=cl.augment.mirror_and_shift)
    ends = list(itertools.accumulate(seconds))[1:]
    weights = solver.model.flat_params.tobytes() + solver.model.flat_state.tobytes()
    return {
        "side": side,
        "seed": seed,
        "accuracy": accuracies,  # by epoch
        "seconds": seconds[1:],  # by epoch
        "setup": seconds[0],
        "accuracy_of_views": best,
        "total": ends[-1],
        "reached": {f"{goal:.0%}": reached(goal, [*accuracies, best], [*ends, ends[-1]]) for goal in GOALS},
        "sha256": hashlib.sha256(weights).hexdigest(),
    }


def reached(goal: float, accuracies: list[float], ends: list[float]) -> float | None:
    """The seconds after which an accuracy was first at the goal: at the end of an epoch, or of the training."""
    return next((end for accuracy, end in zip(accuracies, ends, strict=True) if accuracy >= goal), None)


# What is printed


def time_lines(samples: dict[str, list[float]], batch: int) -> list[str]:
    """Minima and medians, and how many times ours the others are."""
    own = [min(samples[OURS]), statistics.median(samples[OURS])]
    lines = [f"a step with {batch} images, without making them: minimum, median"]
    for name, seconds in samples.items():
        least, middle = min(seconds), statistics.median(seconds)
        ratios = "" if name == OURS else f"   {least / own[0]:.2f}, {middle / own[1]:.2f} times"
        lines.append(f"{name:12} {least:8.4f} s {middle:8.4f} s{ratios}")
    return lines


def run_line(run: dict[str, Any]) -> str:
    curve = " ".join(f"{accuracy:.2%}" for accuracy in run["accuracy"])
    goals = ", ".join(f"{goal} {'never' if at is None else f'{at:.0f} s'}" for goal, at in run["reached"].items())
    return (
        f"{run['side']:12} seed {run['seed']}: {curve}; of views {run['accuracy_of_views']:.2%} "
        f"in {run['total']:.1f} s; {goals}; {run['sha256'][:16]}"
    )


def seeds_in_words(count: int) -> str:
    return f"{count} seed{'s' if count != 1 else ''}"


def summary(runs: list[dict[str, Any]]) -> list[str]:
    """A line for each side: accuracy and time over its seeds."""
    lines = []
    for side in dict.fromkeys(run["side"] for run in runs):
        mine = [run for run in runs if run["side"] == side]
        found = [run["accuracy_of_views"] for run in mine]
        spread = ""
        if len(found) > 1:
            spread = f" ({min(found):.2%} to {max(found):.2%}, standard deviation {statistics.stdev(found):.2%})"
        last = statistics.mean(run["accuracy"][-1] for run in mine)
        total = statistics.mean(run["total"] for run in mine)
        lines.append(
            f"{side:12} {seeds_in_words(len(found))}: {statistics.mean(found):.2%}{spread}"
            f", without views {last:.2%}; {total:.1f} s"
        )
    return lines

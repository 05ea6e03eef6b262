"""python -m benchmarks speedrun-parts: what each part of the recipe buys, left out of it one at a time.

    python -m benchmarks speedrun-parts --data FOLDER --json record.json

Short trainings, two epochs by default, of the whole recipe of examples/cifar10_speedrun.py and of the recipe without
one of its parts, each with the same three seeds. What takes a part's place is what is usual elsewhere: `PARTS` says it.
All other numbers stay as they are; they were chosen with the part in, so it may seem to be worth more than it is.

Seed after seed, so that the table is whole from the first on. With `--json` each training is written as it comes, into
the record of the suite speedrun, if that is the file; one that was interrupted goes on. `--cases PATTERN` takes the
parts whose name holds this, and `--list` prints the names.
"""

import argparse
import copy
import fnmatch
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import cnnlayers as cl

from . import speedrun

EPOCHS, SEEDS = 2, 3
WHOLE, VIEWS = "the whole recipe", "views"

# The rate of SGD for weights in the paper's own recipe, whose losses are summed, too, and whose batches have 1024
# images: 11.5 / (1024 (1 + 1 / (1 - 0.85))). It is a 64th of that of its biases.
SGD_LR = 11.5 / 1024 / (1 + 1 / (1 - 0.85))


@dataclass(frozen=True)
class Part:
    """A part of the recipe: its name, what takes its place, and the change of a new Solver that leaves it out."""

    name: str
    instead: str
    leave_out: Callable[[cl.Solver, np.random.Generator], None]


def run(options: argparse.Namespace) -> None:
    """Train, and print a line for each training, then a table."""
    parts = [part for part in PARTS if fnmatch.fnmatchcase(f"speedrun-parts/{part.name}", f"*{options.cases}*")]
    if not parts:
        raise ValueError(f"speedrun-parts: no part matches {options.cases!r}; --list prints their names")
    if options.list:
        print("\n".join(f"speedrun-parts/{part.name}" for part in parts))
        return
    maker, record = speedrun.begin(options, 1 if options.quick else EPOCHS)
    record.agree({"epochs of parts": maker.epochs})
    makers = {WHOLE: maker} | {part.name: without(part, maker) for part in parts}
    done = record.found["parts"]
    for seed in range(speedrun.given_or(options.seeds, 1 if options.quick else SEEDS)):
        for name, one in makers.items():
            if not any((run["part"], run["seed"]) == (name, seed) for run in done):
                done.append({"part": name} | speedrun.train(one, seed))
                record.write()
                print(f"{name:28} {speedrun.run_line(done[-1])}", flush=True)
    print("\n".join(lines(done)))


def without(part: Part, maker: speedrun.Maker) -> speedrun.Maker:
    """Give what makes the recipe's Solver without this part."""

    def make_solver(data: Any, seed: int, *arguments: Any, **options: Any) -> cl.Solver:
        solver = maker.make_solver(data, seed, *arguments, **options)
        part.leave_out(solver, np.random.default_rng([seed, 1]))  # for weights that are drawn anew
        return solver

    other = copy.copy(maker)
    other.make_solver = make_solver
    return other


# The net


def draw_whitening(solver: cl.Solver, rng: np.random.Generator) -> None:
    """As in `cl.models.speedrun` without images; its weights are Muon's then, as those of the other convolutions."""
    (name, first), *_ = layers(solver, cl.Conv)
    draw(first, "he_normal", rng)
    solver.model.unfreeze(f"{name}.W")


def freeze_bias(solver: cl.Solver, rng: np.random.Generator) -> None:
    (name, _), *_ = layers(solver, cl.Conv)
    solver.model.freeze(f"{name}.b")


def draw_dirac(solver: cl.Solver, rng: np.random.Generator) -> None:
    for _, conv in layers(solver, cl.Conv):
        if conv.init == "dirac":
            draw(conv, "torch_default", rng)


def enlarge_scores(solver: cl.Solver, rng: np.random.Generator) -> None:
    """The Scale stays, and with it the size of a step: only the first scores are larger."""
    (_, head), (_, scale) = layers(solver, cl.Affine)[-1], layers(solver, cl.Scale)[-1]
    draw(head, "lecun_normal", rng)
    head.params["W"] /= scale.factor


def layers(solver: cl.Solver, kind: type) -> list[tuple[str, Any]]:
    """Those of this kind, with their names, in order."""
    return [(name, layer) for name, layer in solver.model.walk() if isinstance(layer, kind)]


def draw(layer: Any, init: str, rng: np.random.Generator) -> None:
    w = layer.params["W"]
    w[...] = cl.initializers.get(init)(w.shape, rng, w.dtype)


# The optimiser


def without_muon(solver: cl.Solver, rng: np.random.Generator) -> None:
    """SGD takes the filters, too: at the paper's rate, and with the decay of a step that it has for the rest."""
    rest = solver.optimizer.rest
    filters = {"lr_factor": SGD_LR / rest.lr, "weight_decay": rest.weight_decay * rest.lr / SGD_LR}
    groups = {**rest.groups, "*.W": filters}  # the first that fits counts: the head keeps its own
    solver.optimizer = cl.SGD(rest.lr, rest.momentum, rest.nesterov, rest.weight_decay, rest.decay_all, groups)


def let_norms_go(solver: cl.Solver, rng: np.random.Generator) -> None:
    solver.optimizer.normalize = False


def slow_head(solver: cl.Solver, rng: np.random.Generator) -> None:
    """It is the only group with a rate of its own; its decay went with that."""
    rest = solver.optimizer.rest
    own = ("lr_factor", "weight_decay")
    rest.groups = {
        pattern: {key: value for key, value in rule.items() if key not in own} for pattern, rule in rest.groups.items()
    }


def keep_rate(solver: cl.Solver, rng: np.random.Generator) -> None:
    solver.schedule = cl.Constant()


# The images and the loss


def augmented(kind: type, instead: Callable[[Any], Sequence[Any]]) -> Callable[[cl.Solver, np.random.Generator], None]:
    """Change the steps of this kind in the augmentation."""

    def change(solver: cl.Solver, rng: np.random.Generator) -> None:
        old = solver.augment
        steps = [new for step in old.steps for new in (instead(step) if isinstance(step, kind) else [step])]
        solver.augment = cl.augment.Compose(steps, dtype=old.dtype)

    return change


def hard_labels(solver: cl.Solver, rng: np.random.Generator) -> None:
    solver.loss.label_smoothing = 0.0


FLIP, CROP = cl.augment.HorizontalFlip, cl.augment.RandomCrop
PARTS = (
    Part("whitening", "a first convolution that is drawn and trains, by Muon", draw_whitening),
    Part("bias of the whitening", "none: it stays at 0", freeze_bias),
    Part("dirac", "all filters drawn, as PyTorch draws them", draw_dirac),
    Part("small first scores", "scores that begin at the size of the features", enlarge_scores),
    Part("Muon", f"SGD with Nesterov's momentum for all weights, at the rate {SGD_LR:.2g}", without_muon),
    Part("filters of one norm", "Muon without it", let_norms_go),
    Part("rate of the head", "the rate of the biases", slow_head),
    Part("falling rate", "the first rate throughout", keep_rate),
    Part("alternating flip", "each image mirrored by chance, in each epoch", augmented(FLIP, lambda step: [FLIP()])),
    Part("flip", "none", augmented(FLIP, lambda step: [])),
    Part("crop", "none", augmented(CROP, lambda step: [])),
    Part("reflected border", "a black one", augmented(CROP, lambda step: [CROP(step.padding)])),
    Part("label smoothing", "none", hard_labels),
)
INSTEAD = {part.name: part.instead for part in PARTS} | {VIEWS: "each test image once, as it is"}


# What is printed


@dataclass(frozen=True)
class Row:
    """A line of the table; accuracies of the seeds, and the mean of their differences to the whole recipe's."""

    name: str
    accuracies: list[float]
    difference: float


def rows(runs: Sequence[dict[str, Any]]) -> list[Row]:
    """Give the whole recipe, then each part that was left out, by what it buys.

    Accuracies are means over views; without views they are those of the whole recipe's runs. A difference is over the
    seeds that both have.
    """
    found: dict[str, dict[int, float]] = {}
    for run in runs:
        found.setdefault(run["part"], {})[run["seed"]] = run["accuracy_of_views"]
        if run["part"] == WHOLE:
            found.setdefault(VIEWS, {})[run["seed"]] = run["accuracy"][-1]
    whole = found.get(WHOLE, {})
    made = []
    for name, by_seed in found.items():
        if both := by_seed.keys() & whole.keys():
            difference = statistics.mean(by_seed[seed] - whole[seed] for seed in both)
            made.append(Row(name, list(by_seed.values()), difference))
    return sorted(made, key=lambda row: (row.name != WHOLE, row.difference))


def uncertainty(found: Sequence[Row]) -> float | None:
    """The standard error of a difference of two means, with the spread that the seeds have in all rows."""
    several = [row.accuracies for row in found if len(row.accuracies) > 1]
    if not several:
        return None
    spread = math.sqrt(statistics.mean(statistics.variance(accuracies) for accuracies in several))
    return spread * math.sqrt(2 / min(map(len, several)))


def lines(runs: Sequence[dict[str, Any]]) -> list[str]:
    """The table, for a terminal."""
    found = rows(runs)
    made = [f"{'left out':28} {'accuracy':>8} {'difference':>10}   of the seeds"]
    for row in found:
        mean, difference, spread = cells(row)
        made.append(f"{row.name:28} {mean:>8} {difference:>10}   {spread}; instead: {INSTEAD.get(row.name, '-')}")
    return [*made, *notes(found)]


def cells(row: Row) -> tuple[str, str, str]:
    """Mean, difference in points, and from where to where."""
    low, high = min(row.accuracies), max(row.accuracies)
    difference = "" if row.name == WHOLE else f"{100 * row.difference:+.2f}"
    return f"{statistics.mean(row.accuracies):.2%}", difference, f"{low:.2%} to {high:.2%}"


def notes(found: Sequence[Row]) -> list[str]:
    error = uncertainty(found)
    return [] if error is None else [f"standard error of a difference: {100 * error:.2f} points"]

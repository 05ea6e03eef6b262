"""The tables of docs/speedrun.md, from a record of the suites speedrun and speedrun-parts.

A page says where, as for other suites: `<!-- benchmark: speedrun, time -->` and `<!-- end -->`. The tables are
`machine`, `time`, `accuracy` (ours, seed by seed), `torch` (PyTorch's seeds, and both sides beside each other),
`parts`, and `curve`, the picture. One for which the record has nothing stays as it is.
"""

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import command, speedrun, speedrun_parts
from .cases import OURS
from .speedrun import TORCH

DIGITS = 16  # of a SHA-256
PICTURE = "![Test accuracy over the seconds of training, a line for each seed of each side](speedrun.svg)"


@dataclass(frozen=True)
class Trainings:
    """A record, as `speedrun.Record` says."""

    environment: dict[str, Any]
    settings: dict[str, Any]
    runs: list[dict[str, Any]]
    time: dict[str, list[float]]
    parts: list[dict[str, Any]]

    def of(self, side: str) -> list[dict[str, Any]]:
        """The trainings of a side, by seed."""
        return sorted((run for run in self.runs if run["side"] == side), key=lambda run: run["seed"])

    def lines(self, name: str) -> list[str] | None:
        """Give the table of this name, or None if there is nothing for it."""
        return TABLES[name](self) if name in TABLES else None


def find(path: str | Path) -> Trainings | None:
    """Give the record in a file, or None if there is none in it."""
    try:
        found = speedrun.load(path)
    except (ValueError, OSError):
        return None
    named = {name: found[name] for name in ("environment", "settings", "runs")}
    return Trainings(**named, time=found.get("time", {}), parts=found.get("parts", []))


def ends(run: dict[str, Any]) -> list[float]:
    """The seconds at the end of each epoch."""
    return list(itertools.accumulate([run["setup"], *run["seconds"]]))[1:]


def machine(record: Trainings) -> list[str]:
    settings = record.settings
    how = [f"threads: {settings['threads']} on both sides", f"{settings['batch']} images a step"]
    if record.runs:
        how.append(f"{settings['epochs']} epochs")
    return ["```text", *command.machine_lines(record.environment), "; ".join(how), "```"]


def time(record: Trainings) -> list[str] | None:
    """Of a step, as `speedrun.times` takes it."""
    if not record.time:
        return None
    of_ours = [act(record.time[OURS]) for act in (min, statistics.median)]
    made = []
    for side, seconds in record.time.items():
        both = [act(seconds) for act in (min, statistics.median)]
        ratios = ["", ""] if side == OURS else [f"{a / b:.2f}" for a, b in zip(both, of_ours, strict=True)]
        made.append([side, *(f"{number:.3f}" for number in both), *ratios])
    title = f"a step of {record.settings['batch']} images"
    return table([title, "minimum, s", "median, s", f"times {OURS}', of minima", "of medians"], made)


def accuracy(record: Trainings) -> list[str] | None:
    runs = record.of(OURS)
    return [*seeds(runs, with_bits=True), "", *summary(runs)] if runs else None


def torch(record: Trainings) -> list[str] | None:
    """PyTorch's seeds, and how far ours are from them."""
    runs, ours = record.of(TORCH), {run["seed"]: run for run in record.of(OURS)}
    if not runs:
        return None
    lines = [*seeds(runs, with_bits=False), "", *summary(runs)]
    if pairs := [(ours[run["seed"]], run) for run in runs if run["seed"] in ours]:
        difference = statistics.mean(a["accuracy_of_views"] - b["accuracy_of_views"] for a, b in pairs)
        lines.append(f"- on the seeds of both, {len(pairs)}: {OURS} is {100 * difference:+.2f} points from {TORCH}")
    return lines


def seeds(runs: Sequence[dict[str, Any]], with_bits: bool) -> list[str]:
    """Give a line for each seed, and the mean."""
    goals = list(runs[0]["reached"])
    titles = ["seed", "accuracy", "of views", "seconds", *(f"to {goal}" for goal in goals)]
    made = []
    for run in runs:
        reached = [run["reached"][goal] for goal in goals]
        cells = [f"{run['accuracy'][-1]:.2%}", f"{run['accuracy_of_views']:.2%}", f"{run['total']:.0f}"]
        cells += ["never" if at is None else f"{at:.0f}" for at in reached]
        made.append([str(run["seed"]), *cells, *([f"`{run['sha256'][:DIGITS]}`"] if with_bits else [])])
    means = [
        statistics.mean(run["accuracy"][-1] for run in runs),
        statistics.mean(r["accuracy_of_views"] for r in runs),
    ]
    last = ["mean", *(f"{mean:.2%}" for mean in means), f"{statistics.mean(run['total'] for run in runs):.0f}"]
    last += [mean_time([run["reached"][goal] for run in runs]) for goal in goals]
    made.append([*last, *([""] if with_bits else [])])
    return table([*titles, *(["SHA-256 of the weights"] if with_bits else [])], made)


def mean_time(times: Sequence[float | None]) -> str:
    """Of those that got there; how many of them did, if not all."""
    there = [at for at in times if at is not None]
    if not there:
        return "never"
    return f"{statistics.mean(there):.0f}" + (f" ({len(there)} of {len(times)})" if len(there) < len(times) else "")


def summary(runs: Sequence[dict[str, Any]]) -> list[str]:
    return [f"- {' '.join(line.split())}" for line in speedrun.summary(list(runs))]


def parts(record: Trainings) -> list[str] | None:
    """What each part buys: the recipe without it."""
    found = speedrun_parts.rows(record.parts)
    if not found:
        return None
    made = []
    for row in found:
        mean, difference, spread = speedrun_parts.cells(row)
        made.append([row.name, speedrun_parts.INSTEAD.get(row.name, ""), mean, difference, spread])
    counts = sorted({len(row.accuracies) for row in found})
    several = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    notes = [f"epochs: {record.settings['epochs of parts']}; seeds: {several}", *speedrun_parts.notes(found)]
    titles = ["left out", "in its place", "accuracy", "difference, points", "of the seeds"]
    return [*table(titles, made, left=2), "", *(f"- {note}" for note in notes)]


def curve(record: Trainings) -> list[str] | None:
    return [PICTURE] if record.runs else None


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Give a table in Markdown, its first columns flush left."""
    rule = [":--" if k < left else "--:" for k in range(len(titles))]
    return [f"| {' | '.join(cells)} |" for cells in (titles, rule, *rows)]


TABLES = {
    "machine": machine,
    "time": time,
    "accuracy": accuracy,
    "torch": torch,
    "parts": parts,
    "curve": curve,
}

"""What a training run was: a value per epoch of each loss and metric, and the loss of every step."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, KeysView
from functools import partial
from typing import Any

from ..errors import DataError
from ..tables import columns
from ..writing import write_atomically


class History:
    """Values by epoch: `history["train_loss"]`, `["val_accuracy"]`, `["lr"]`, `["seconds"]`, ...; lists that grow.

    Attributes
    ----------
    epochs : dict of lists
        One entry per finished epoch.
    steps : dict of lists
        `steps["loss"]`: the loss of every step taken; a sum, if the loss has `reduction="sum"`. Those of `epochs` are
        means in any case.
    stopped : str or None
        Why training ended before its last epoch, or None.
    """

    def __init__(self) -> None:
        self.epochs: dict[str, list[float]] = {}
        self.steps: dict[str, list[float]] = {"loss": []}
        self.stopped: str | None = None

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C or SIGTERM ended it; then there may be something left to train."""
        return (self.stopped or "").startswith(("interrupted", "terminated"))

    def __getitem__(self, name: str) -> list[float]:
        if name not in self.epochs:
            raise KeyError(f"no history of {name!r}; there is {', '.join(map(repr, self.epochs)) or 'none yet'}")
        return self.epochs[name]

    def __contains__(self, name: object) -> bool:
        return name in self.epochs

    def __iter__(self) -> Iterator[str]:
        return iter(self.epochs)

    def keys(self) -> KeysView[str]:
        """Give the names of what is recorded by epoch."""
        return self.epochs.keys()

    def __len__(self) -> int:
        """How many epochs are finished."""
        return max(map(len, self.epochs.values()), default=0)

    def append(self, **numbers: float) -> None:
        """Add the values of one epoch."""
        for name, number in numbers.items():
            self.epochs.setdefault(name, []).append(number)

    def row(self, epoch: int = -1) -> dict[str, float]:
        """Give the values of one epoch, the last by default."""
        return {name: numbers[epoch] for name, numbers in self.epochs.items()}

    def line(self) -> str:
        """Give the values of the last epoch in a line: "train loss 0.1234  val accuracy 98.6%  lr 0.1  0.3 s"."""
        shown = {name: _short(name, value) for name, value in self.row().items()}
        return "  ".join(
            f"{v} s" if name == "seconds" else f"{name.replace('_', ' ')} {v}" for name, v in shown.items()
        )

    def save(self, path: str | os.PathLike) -> None:
        """Write a CSV file with a row per epoch, which spreadsheets and pandas read."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["epoch", *self.epochs])
        writer.writerows([epoch + 1, *self.row(epoch).values()] for epoch in range(len(self)))
        write_atomically(path, text.getvalue().encode())

    @classmethod
    def load(cls, path: str | os.PathLike) -> History:
        """Read the CSV file that `save` wrote; it has no losses by step.

        Raises
        ------
        DataError
            If the file is not such a table.
        """
        history = cls()
        try:
            with open(path, encoding="utf-8-sig", newline="") as file:  # as spreadsheets write it, too
                names, *rows = csv.reader(file)
            if names[0] != "epoch" or any(len(row) != len(names) for row in rows):
                raise ValueError("a column 'epoch' and rows of equal length are needed")
            for row in rows:
                history.append(**dict(zip(names[1:], map(float, row[1:]), strict=True)))
        except (ValueError, IndexError, csv.Error) as error:
            raise DataError(f"{os.fspath(path)}: not a history that History.save wrote: {error}") from error
        return history

    def _table(self) -> list[list[str]]:
        head = ["epoch", *(name.replace("_", " ") for name in self.epochs)]
        return [head, *([str(i + 1), *(_short(n, v) for n, v in self.row(i).items())] for i in range(len(self)))]

    def __str__(self) -> str:
        return columns(self._table(), left=0) + (f"\nstopped: {self.stopped}" if self.stopped else "")

    def _repr_html_(self) -> str:
        """What notebooks show: a curve of each loss and metric, and the table."""
        from .. import markup  # here, since few need it

        drawn = [name for name, values in self.epochs.items() if values and name.startswith(("train_", "val_"))]
        charts = []
        for metric in dict.fromkeys(name.partition("_")[2] for name in drawn):
            lines = {part: self[f"{part}_{metric}"] for part in ("train", "val") if f"{part}_{metric}" in drawn}
            charts.append(markup.chart(metric.replace("_", " "), lines, partial(_short, metric)))
        stopped = markup.note(f"stopped: {self.stopped}") if self.stopped else ""
        return markup.block(markup.side_by_side(*charts), markup.table(self._table(), left=0), stopped)

    def __repr__(self) -> str:
        return f"<History of {len(self)} epochs: {', '.join(self.epochs)}>"


def _short(name: str, value: Any) -> str:
    """A value as the table shows it."""
    if name.endswith("accuracy"):
        return f"{value:.1%}"
    return f"{value:.1f}" if name == "seconds" else f"{value:.4g}"

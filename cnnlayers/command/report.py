"""`cnnlayers report`: the page about a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..data.parts import Dataset
from ..look import report
from ..training.history import History
from .folder import net_file
from .sources import held_out


def write_report(folder: Path, net: Any, history: History, data: Dataset, about: Mapping[str, str]) -> Path:
    """Write report.html for a run; a net whose data has no test part is judged by what it has."""
    name, _ = held_out(data)
    config = folder / "config.toml"
    return report.write(
        folder,
        net=net,
        history=history,
        data=data,
        about=about,
        title=f"Training run {folder.resolve().name}",
        config=config.read_text(encoding="utf-8") if config.is_file() else None,
        part=name,
    )


def report_of(run: str, data: Dataset) -> Path:
    """Write the page of a run that is over, from what its folder holds."""
    return report.report_run(net_file(run), data=data, part=held_out(data)[0])

"""The page of a run: of what a program has at hand, or of the files that training left in a folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...data import datasets
from ...files import checkpoint
from ...layers.layer import Layer
from ...names import readable
from ...training.history import History
from ...writing import check_writable, write_atomically
from ..explain import NAME as EXPLAINED
from ..plot.style import matplotlib_for
from .page import Page, part_of

NAME = "report.html"


def write(
    folder: str | os.PathLike,
    *,
    net: Layer,
    history: History,
    data: Any,
    about: Mapping[str, Any] | None = None,
    title: str = "Training run",
    config: str | None = None,
    part: str = "test",
) -> Path:
    """Write `report.html` into a folder, atomically.

    Parameters
    ----------
    folder : str or path
        It must exist.
    net : Layer
        The trained net; it is left as it is.
    history : History
        What `solver.train()` returned.
    data : Dataset
        `classes` names the labels.
    about : dict, optional
        What else to say about the run, in a table: {"model": "resnet20", "optimizer": "SGD(lr=0.1)", ...}.
    title : str
        What the page is called.
    config : str, optional
        The text of the configuration that made the run.
    part : {"test", "val", "train"}
        The part of the data that the net is judged by.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    ImportError
        If matplotlib is missing.
    OSError
        If the page cannot be written there, before it is made.
    """
    matplotlib_for("report.write")
    path = Path(folder) / NAME
    check_writable(path)
    beside = EXPLAINED if path.with_name(EXPLAINED).is_file() else None
    page = Page(net, history, data, dict(about or {}), title, config, part, beside)
    write_atomically(path, readable(page.html()).encode())
    return path


def report_run(run: str | os.PathLike, *, data: Any = None, part: str = "test") -> Path:
    """Write `report.html` for what a run has left on disk.

    Parameters
    ----------
    run : str or path
        A folder with a net (`best.safetensors`, `net.safetensors` or the only `*.safetensors` in it), its history
        next to it (`history.csv`, or a CSV named like the net, or the checkpoint `last.safetensors`) and, if there is
        one, `config.toml`; or the net's file.
    data : Dataset, optional
        The digits, by default.
    part : {"test", "val", "train"}
        The part of the data that the net is judged by.

    Returns
    -------
    Path
        Of the page, in the run's folder.

    Raises
    ------
    FileNotFoundError
        If there is no such net or no history.
    ValueError
        If the folder holds several nets, or the net does not take the data's images.
    """
    file = _net_file(Path(run))
    folder = file.parent
    net = checkpoint.load(file)
    data = datasets.digits() if data is None else data
    shape = tuple(np.shape(part_of(data, part)[0])[1:])
    if net.input_shape != shape:
        raise ValueError(f"{file}: the net takes inputs of shape {net.input_shape}; the data has {shape}")
    config = folder / "config.toml"
    return write(
        folder,
        net=net,
        history=_history(file),
        data=data,
        about={"net": file.name},
        title=f"Training run {folder.resolve().name}",
        config=config.read_text(encoding="utf-8") if config.is_file() else None,
        part=part,
    )


def _net_file(run: Path) -> Path:
    """The net of a run."""
    if not run.is_dir():
        return run
    for name in ("best.safetensors", "net.safetensors"):
        if (run / name).is_file():
            return run / name
    found = sorted(run.glob("*.safetensors"))
    if not found:
        raise FileNotFoundError(f"{run}: no net in it (*.safetensors)")
    if len(found) > 1:
        raise ValueError(f"{run} holds several nets, {', '.join(path.name for path in found)}: name one of them")
    return found[0]


def _history(file: Path) -> History:
    """What the run of this net was: from its CSV file, and from its last checkpoint, which has the steps too."""
    folder = file.parent
    records = [path for path in (folder / "history.csv", file.with_suffix(".csv")) if path.is_file()]
    saved = folder / "last.safetensors"
    if not records and not saved.is_file():
        raise FileNotFoundError(f"{folder}: no history.csv or {file.stem}.csv, which training leaves beside the net")
    history = History.load(records[0]) if records else History()
    if saved.is_file():
        arrays = checkpoint.load_training(saved)[2]
        if not records:
            history.epochs = {name: arrays[f"history.{name}"].tolist() for name in _recorded(arrays)}
        history.steps["loss"] = arrays["steps.loss"].tolist()
    return history


def _recorded(arrays: Mapping[str, Any]) -> list[str]:
    return [key.removeprefix("history.") for key in arrays if key.startswith("history.")]

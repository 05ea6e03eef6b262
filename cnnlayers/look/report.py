"""One HTML page about a training run: what it reached, how it learned, where it errs and what the net has learned.

The page is one file that needs nothing else: pictures are inline SVG, style is inline CSS, there are no scripts and no
links. It follows the reader's choice of a light or a dark screen. Needs matplotlib (`pip install "cnnlayers[plot]"`).
"""

from __future__ import annotations

import datetime
import html
import io
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .._version import __version__
from ..data import datasets
from ..files import checkpoint
from ..layers.conv import Conv
from ..layers.flat import parameter_count
from ..layers.layer import Layer
from ..training.history import History
from ..training.losses import SoftmaxLoss
from . import insight, plot
from .plot.style import (
    BLUE,
    FAINT,
    FAMILY,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    PAPER,
    PURPLE,
    RULE,
    drawn_part,
    matplotlib_for,
)
from .plot.training import best_epoch

__all__ = ["report_run", "write"]

NAME = "report.html"
PARTS = {"train": "training", "val": "validation", "test": "test"}  # of the data, in words
LOOKED_AT = 8  # images whose evidence is shown
OF_THE_BATCH = 256  # training samples whose gradient is shown
MOST_PAIRS = 8  # of classes that are confused


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
    """
    matplotlib_for("report.write")
    path = Path(folder) / NAME
    run = _Run(net, history, data, dict(about or {}), title, config, part)
    checkpoint.write_atomically(path, run.page().encode())
    return path


def report_run(run: str | os.PathLike, *, data: Any = None, part: str = "test") -> Path:
    """Write `report.html` for what a run has left on disk.

    Parameters
    ----------
    run : str or path
        A folder with a net (`best.safetensors`, `net.safetensors` or the only `*.safetensors` in it), its history
        beside it (`history.csv`, or a CSV named like the net, or the checkpoint `last.safetensors`) and, if there is
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
    shape = tuple(np.shape(_part(data, part)[0])[1:])
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


def _part(data: Any, part: str) -> Any:
    """One part of the data."""
    if part not in PARTS:
        raise ValueError(f"report: part must be one of {', '.join(PARTS)}; got {part!r}")
    pair = getattr(data, part, None)
    if pair is None:
        raise ValueError(f"report: the data has no {part} part")
    return pair


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


class _Run:
    """What the sections of the page are made from; each method gives a section."""

    def __init__(
        self,
        net: Layer,
        history: History,
        data: Any,
        about: dict[str, Any],
        title: str,
        config: str | None,
        part: str,
    ):
        self.net, self.history, self.data, self.about = net, history, data, about
        self.title, self.config = title, config
        self.x, self.y = map(np.asarray, _part(data, part))
        self.part = PARTS[part]
        self.classes = list(map(str, data.classes))
        scores: Any = net.predict(self.x)
        self.classifies = scores.ndim == 2 and scores.shape[1] == len(self.classes) and self.y.dtype.kind in "iu"
        self.scores: Any = scores if self.classifies else None
        self.pictures = self.x.ndim == 4

    def page(self) -> str:
        """The whole page."""
        sections = "\n".join(self._sections())
        return PAGE.format(
            title=_text(self.title),
            css=CSS,
            head=self._head(),
            facts=self._facts(),
            sections=sections,
            foot=f"written by cnnlayers {_text(__version__)}, {datetime.datetime.now():%Y-%m-%d %H:%M}",
        )

    def _sections(self) -> Iterator[str]:
        if len(self.history):
            yield self._learning()
        if self.classifies:
            yield self._confusion()
            if self.pictures:
                yield self._mistakes()
                yield self._evidence()
        yield from self._learned()
        yield from self._weights()
        yield self._net()
        if self.config is not None:
            yield _section("Configuration", f"<pre>{_text(self.config)}</pre>", "What made this run, to run it again.")

    # Numbers

    def _accuracy(self) -> float:
        return float((self.scores.argmax(axis=1) == self.y).mean())

    def _head(self) -> str:
        if not self.classifies:
            return f"<h1>{_text(self.title)}</h1>"
        counts = insight.confusion(self.net, self.x, self.y, scores=self.scores)
        right, all_of_them = int(np.trace(counts)), f"{len(self.y):,} {self.part} samples"
        return (
            f'<p class="kicker">{_text(self.title)}</p>\n'
            f"<h1>{self.part.capitalize()} accuracy: {self._accuracy():.1%}</h1>\n"
            f'<p class="lead">{right:,} of {all_of_them} right, in {len(self.classes)} classes</p>'
        )

    def _facts(self) -> str:
        """The table of the run."""
        rows = {"data": self._data()} | {name: str(value) for name, value in self.about.items()} | self._measured()
        if self.history.stopped:
            rows["stopped"] = self.history.stopped
        cells = "\n".join(f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in rows.items())
        return f'<dl class="facts">\n{cells}\n</dl>'

    def _data(self) -> str:
        there = {name: getattr(self.data, name, None) for name in PARTS}
        sizes = [f"{len(pair[1]):,} {PARTS[name]}" for name, pair in there.items() if pair is not None]
        return f"{', '.join(sizes)} samples of {' x '.join(map(str, self.x.shape[1:]))}"

    def _measured(self) -> dict[str, str]:
        rows = {"parameters": f"{parameter_count(self.net):,}"}
        rows["multiply-adds per sample"] = f"{self.net.multiply_adds(self.net.input_shape):,}"
        if len(self.history):
            rows["epochs"] = f"{len(self.history)}"
        if "seconds" in self.history:
            rows["time"] = _duration(sum(self.history["seconds"]))
        best = best_epoch(self.history)
        if best is not None:
            rows["best epoch"] = f"{best} of {len(self.history)}"
            rows |= _parts("loss", self.history, best)
            rows |= _parts("accuracy", self.history, best)
        if self.classifies:
            p = insight.probabilities(self.net, self.x, self.scores)
            likelihood = np.maximum(p[np.arange(len(p)), self.y].astype(float), 1e-30)
            rows[f"{self.part} cross-entropy"] = f"{-np.log(likelihood).mean():.4f}"
        return rows

    # Sections

    def _learning(self) -> str:
        steps = len(self.history.steps.get("loss", ())) > len(self.history)
        said = "After each epoch, on the training part (blue) and on the validation part (orange)"
        said += "; the thin line is the loss of each step." if steps else "."
        best = best_epoch(self.history)
        if best is not None:
            said += f" The validation loss was lowest after epoch {best} of {len(self.history)}."
        return _section("How it learned", _svg(plot.curves(self.history), "curves", "loss and accuracy"), said)

    def _confusion(self) -> str:
        counts = insight.confusion(self.net, self.x, self.y, scores=self.scores)
        fig = plot.confusion(self.net, self.x, self.y, self.classes, scores=self.scores, titled=False)
        said = "Each row is a true class, each column what the net took it for: blue is right, orange is wrong. "
        wrong = np.argwhere(counts - np.diag(np.diag(counts)))
        pairs = sorted(wrong.tolist(), key=lambda pair: -counts[*pair])[:MOST_PAIRS]
        said += "The table has the most frequent mistakes." if pairs else "There is no mistake."
        shares = insight.row_shares(counts)
        rows = "".join(
            f"<tr><td>{_text(self.classes[i])}<td>{_text(self.classes[j])}<td>{counts[i, j]:,}<td>{shares[i, j]:.1%}"
            for i, j in pairs
        )
        table = f"<table>\n<tr><th>true class<th>taken for<th>times<th>of the class\n{rows}\n</table>" if pairs else ""
        body = f'<div class="beside">{_svg(fig, "confusion", "confusion matrix")}\n{table}</div>'
        return _section("Where it errs", body, said)

    def _mistakes(self) -> str:
        fig = plot.mistakes(self.net, self.x, self.y, self.classes, scores=self.scores, titled=False)
        wrong = int(np.count_nonzero(self.scores.argmax(axis=1) != self.y))
        said = (
            "Test images whose true class gets the least probability. Below each stands the net's answer, orange where "
        )
        said += f"it is wrong: {wrong:,} of {len(self.y):,} {'is' if wrong == 1 else 'are'}, the worst first."
        return _section("Its hardest images", _svg(fig, "mistakes", "the most wrong images"), said)

    def _evidence(self) -> str:
        x = self.x[self._chosen()]
        said = f"One {self.part} image of each of some classes, with the net's answer above. "
        if not any(isinstance(layer, Conv) for layer in self.net.leaves()):
            fig = plot.saliency(self.net, x, classes=self.classes, titled=False)
            said += "Bright pixels are those where a small change moves the score of that answer most (saliency)."
        else:
            fig = plot.evidence(self.net, x, classes=self.classes, titled=False)
            said += (
                "Bright pixels are those where a small change moves the score of that answer most (saliency); "
                "orange regions are those that raise it (Grad-CAM, at the last layer that still has positions)."
            )
        return _section("What it looks at", _svg(fig, "evidence", "where the net looks"), said)

    def _chosen(self) -> list[int]:
        """A sample of each class, spread over the classes, that the net has right if there is one."""
        right = self.scores.argmax(axis=1) == self.y
        chosen = []
        for label in np.unique(self.y):
            own = np.flatnonzero((self.y == label) & right)
            own = own if len(own) else np.flatnonzero(self.y == label)
            chosen.append(int(own[len(own) // 2]))
        picks = np.linspace(0, len(chosen) - 1, min(LOOKED_AT, len(chosen))).round().astype(int)
        return [chosen[i] for i in picks]

    def _learned(self) -> Iterator[str]:
        figures, said = [], []
        try:
            figures.append(_svg(plot.filters(self.net), "filters", "filters of the first layer"))
            said.append("The filters of the first layer with weights.")
        except ValueError:  # it begins with something else
            pass
        names = self._layers_to_show() if self.pictures else []
        index = self._chosen()[0] if self.classifies else 0
        for name in names:
            fig = plot.activations(self.net, self.x[index], name)
            figures.append(_svg(fig, f"activations-{name}", f"activations of layer {name}"))
        if names:
            layers = f"layer {names[0]}" if len(names) == 1 else f"layers {', '.join(names[:-1])} and {names[-1]}"
            image = "the first image above" if self.classifies else "an image"
            said.append(f"Below, what {layers} make{'s' if len(names) == 1 else ''} of {image}: a map per channel.")
        if figures:
            yield _section("What it has learned", "\n".join(figures), " ".join(said))

    def _layers_to_show(self) -> list[str]:
        """Up to three layers that give maps: the first behind weights, a middle one and the last."""
        seen = insight.outputs(self.net, self.x[:1])
        named = dict(self.net.walk())
        maps = [
            name
            for name, y in seen.items()
            if name
            and "." not in name
            and y.ndim == 4
            and y.shape[1] * y.shape[2] > 1
            and not _only_scales(named[name])
        ]
        rectified = [name for name in maps if not named[name].params and not named[name].children()]
        names = rectified or maps
        picks = dict.fromkeys(np.linspace(0, len(names) - 1, 3).round().astype(int)) if names else {}
        return [names[i] for i in picks]

    def _weights(self) -> Iterator[str]:
        if not any(array.ndim > 1 for array in self.net.params.values()):
            return
        grads, said = None, ""
        if self.classifies and getattr(self.data, "train", None) is not None:
            x, y = (np.asarray(part)[:OF_THE_BATCH] for part in self.data.train)
            with np.errstate(all="ignore"):
                grads = insight.gradients(self.net, x, y, SoftmaxLoss())
            said = f" Right, the sizes of their gradients, of {len(x)} training samples."
        fig = plot.weights(self.net, grads)
        said = f"How the weights of each layer are spread; the dark bar is the middle half.{said}"
        yield _section("Weights, layer by layer", _svg(fig, "weights", "distribution of the weights"), said)

    def _net(self) -> str:
        table = self.net.summary() if hasattr(self.net, "summary") else repr(self.net)
        return _section(
            "The net", f"<pre>{_text(table)}</pre>", "Multiply-adds and activation bytes are of one sample."
        )


def _only_scales(layer: Layer) -> bool:
    return type(layer).__name__ == "Normalize"


def _parts(name: str, history: History, epoch: int) -> dict[str, str]:
    """Train and validation numbers after an epoch."""
    both = {part: history[f"{part}_{name}"][epoch - 1] for part in ("train", "val") if f"{part}_{name}" in history}
    if not both:
        return {}
    shown = [f"{value:.1%}" if name == "accuracy" else f"{value:.4f}" for value in both.values()]
    return {f"its {name}, {' / '.join(both)}": " / ".join(shown)}


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


# HTML


def _text(text: str) -> str:
    return html.escape(text)


def _section(title: str, body: str, said: str) -> str:
    return f"<section>\n<h2>{_text(title)}</h2>\n<p>{_text(said)}</p>\n{body}\n</section>"


def _svg(fig: Any, key: str, label: str) -> str:
    """A figure as an <svg> element whose colours are the page's and whose ids are its own."""
    matplotlib = matplotlib_for("report.write")
    file = io.StringIO()
    settings = {"svg.fonttype": "none", "svg.hashsalt": "cnnlayers", "svg.image_inline": True}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # the browser's fonts have it
        box = drawn_part(fig)
        fig.savefig(file, format="svg", transparent=True, dpi=192, bbox_inches=box, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<style .*?</style>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"\bid=\"", f'id="{html.escape(key)}-', text)
    text = re.sub(r"url\(#", f"url(#{html.escape(key)}-", text)
    text = re.sub(r"xlink:href=\"#", f'href="#{html.escape(key)}-', text).replace("xlink:href=", "href=")
    text = text.replace(f"font-family: '{FAMILY}'", "font-family: var(--sans)")
    for colour, name in COLOURS.items():
        text = text.replace(colour, f"var(--{name})")
    width, height = (float(points) for points in re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text)[0])
    opening = (
        f'<svg viewBox="0 0 {width:g} {height:g}" style="max-width: {width * 96 / 72:.0f}px" role="img" '
        f'aria-label="{_text(label)}">'
    )
    return opening + text[text.index(">") + 1 :].strip()


COLOURS = {
    INK: "ink",
    MUTED: "muted",
    FAINT: "faint",
    RULE: "rule",
    PAPER: "paper",
    BLUE: "blue",
    ORANGE: "orange",
    GREEN: "green",
    PURPLE: "purple",
}

CSS = """
:root {
  color-scheme: light dark;
  --ink: #1f2933; --muted: #5f6b7a; --faint: #9aa5b1; --rule: #dde2e8; --paper: #ffffff; --desk: #f4f6f8;
  --blue: #0072b2; --orange: #d55e00; --green: #009e73; --purple: #aa4499;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
  --mono: ui-monospace, "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e6eaef; --muted: #a3aebb; --faint: #66727f; --rule: #363f4a; --paper: #1b2128; --desk: #12161b;
    --blue: #56b4e9; --orange: #f28e4b; --green: #3ecf9f; --purple: #d98cca;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--desk); color: var(--ink); font: 16px/1.5 var(--sans); }
main, header, footer { max-width: 1080px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 40px; padding-bottom: 8px; }
h1 { margin: 0; font-size: 40px; line-height: 1.15; letter-spacing: -0.02em; }
h2 { margin: 0 0 4px; font-size: 21px; letter-spacing: -0.01em; }
.kicker { margin: 0 0 6px; color: var(--blue); font-weight: 600; }
.lead { margin: 8px 0 0; color: var(--muted); font-size: 18px; }
section, .facts {
  margin: 20px 0; padding: 24px 28px; background: var(--paper); border: 1px solid var(--rule); border-radius: 10px;
}
section > p { margin: 0 0 20px; max-width: 72ch; color: var(--muted); }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(220px, 1fr)); gap: 16px 28px; }
.facts div { min-width: 0; }
dt { color: var(--muted); font-size: 13px; }
dd { margin: 0; font-weight: 600; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.beside { display: grid; grid-template-columns: minmax(0, 580px) minmax(0, 1fr); gap: 32px; align-items: start; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th { color: var(--muted); font-weight: 400; font-size: 13px; text-align: left; }
th, td { padding: 5px 16px 5px 0; border-bottom: 1px solid var(--rule); }
th:nth-child(n + 3), td:nth-child(n + 3) { text-align: right; }
svg { display: block; width: 100%; height: auto; }
svg + svg { margin-top: 28px; }
svg * { stroke-linejoin: round; stroke-linecap: butt; }
pre { margin: 0; overflow-x: auto; font: 12.5px/1.5 var(--mono); }
footer { padding-top: 4px; padding-bottom: 40px; color: var(--muted); font-size: 13px; }
@media (max-width: 800px) { .beside { grid-template-columns: 1fr; } }
@media (max-width: 600px) { h1 { font-size: 30px; } section, .facts { padding: 18px 16px; } }
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{css}</style>
</head>
<body>
<header>
{head}
</header>
<main>
{facts}
{sections}
</main>
<footer>{foot}</footer>
</body>
</html>
"""

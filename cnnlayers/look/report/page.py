"""What the page says, a section for each question."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from html import escape
from typing import Any

import numpy as np

from ..._version import __version__
from ...data.parts import blocks
from ...layers.conv import Conv
from ...layers.flat import parameter_count
from ...layers.layer import Layer
from ...layers.scores import class_scores, what_scores_are
from ...names import readable
from ...stored import rows_of
from ...training import metrics
from ...training.history import History
from ...training.losses import SoftmaxLoss
from .. import insight, plot
from ..palette import PALETTE
from ..plot.training import best_epoch
from .html import CSS, PAGE, section, svg

PARTS = {"train": "training", "val": "validation", "test": "test"}  # of the data, in words
LOOKED_AT = 8  # images whose evidence is shown
AT_A_TIME = 64  # samples, as the command trains: more would take more memory than training does;
ELEMENTS = 2**19  # or fewer, where so many have more elements than this
MOST_PAIRS = 8  # of classes that are confused


class Page:
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
        explained: str | None,
    ):
        self.net, self.history, self.data, self.about = net, history, data, about
        self.title, self.config, self.explained = title, config, explained
        x, y, *_ = part_of(data, part)  # a third is weights
        self.x, self.y = rows_of(x, "report"), np.asarray(y)
        self.part = PARTS[part]
        self.classes = [readable(str(name)) for name in data.classes]
        self.at_a_time = min(AT_A_TIME, max(1, ELEMENTS * len(self.x) // self.x.size))
        self.scores: Any = np.concatenate([net.predict(some) for some in blocks(self.x, self.at_a_time)])
        labelled = self.y.ndim == 1 and self.y.dtype.kind in "iu"
        self.answers: Any = _answers(net, self.scores, len(self.classes)) if labelled else None
        self.classifies = self.answers is not None
        self.pictures = self.x.ndim == 4

    def html(self) -> str:
        """The whole page."""
        sections = "\n".join(self._sections())
        return PAGE.format(
            title=escape(self.title),
            css=PALETTE + CSS,
            head=self._head(),
            facts=self._facts(),
            sections=sections,
            foot=f"{self._way_on()}<br>\nwritten by cnnlayers {escape(__version__)}, "
            f"{datetime.datetime.now():%Y-%m-%d %H:%M}",
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
            yield section("Configuration", f"<pre>{escape(self.config)}</pre>", "What made this run, to run it again.")

    def _way_on(self) -> str:
        """Where each number of a net can be picked: on the page that lies beside this one, or how to get it."""
        if self.explained is None:
            return "<code>cnnlayers explain RUN</code> writes a page on which each number of this net can be picked."
        return f'<a href="{escape(self.explained)}">Each number of this net on one image</a>, and what it is the sum of'

    # Numbers

    def _accuracy(self) -> float:
        return float((self.answers == self.y).mean())

    def _head(self) -> str:
        if not self.classifies:
            return f"<h1>{escape(self.title)}</h1>"
        counts = insight.confusion(self.net, self.x, self.y, scores=self.scores)
        right, all_of_them = int(np.trace(counts)), f"{len(self.y):,} {self.part} samples"
        return (
            f'<p class="kicker">{escape(self.title)}</p>\n'
            f"<h1>{self.part.capitalize()} accuracy: {self._accuracy():.1%}</h1>\n"
            f'<p class="lead">{right:,} of {all_of_them} right, in {len(self.classes)} classes</p>'
        )

    def _facts(self) -> str:
        """The table of the run."""
        rows = {"data": self._data()} | {name: str(value) for name, value in self.about.items()} | self._measured()
        if self.history.stopped:
            rows["stopped"] = self.history.stopped
        cells = "\n".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in rows.items())
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
            entropy = insight.cross_entropy(self.net, self.x, self.y, scores=self.scores)
            rows[f"{self.part} cross-entropy"] = f"{entropy:.4f}"
        elif self.y.ndim == 2 and self.y.shape == self.scores.shape and np.isin(self.y, (0, 1)).all():  # labels
            z = self.scores - 0.5 if what_scores_are(self.net) == "sigmoid" else self.scores
            rows[f"{self.part} accuracy of all labels"] = f"{metrics.label_accuracy(z, self.y):.1%}"
            rows[f"{self.part} F1, mean over the labels"] = f"{metrics.f1(z, self.y):.4f}"
        return rows

    # Sections

    def _learning(self) -> str:
        steps = len(self.history.steps.get("loss", ())) > len(self.history)
        said = "After each epoch, on the training part (blue) and on the validation part (orange)"
        said += "; the thin line is the loss of each step." if steps else "."
        best = best_epoch(self.history)
        if best is not None:
            said += f" The validation loss was lowest after epoch {best} of {len(self.history)}."
        return section("How it learned", svg(plot.curves(self.history), "curves", "loss and accuracy"), said)

    def _confusion(self) -> str:
        counts = insight.confusion(self.net, self.x, self.y, scores=self.scores)
        fig = plot.confusion(self.net, self.x, self.y, self.classes, scores=self.scores, titled=False)
        said = "Each row is a true class, each column what the net took it for: blue is right, orange is wrong. "
        wrong = np.argwhere(counts - np.diag(np.diag(counts)))
        pairs = sorted(wrong.tolist(), key=lambda pair: -counts[*pair])[:MOST_PAIRS]
        said += "The table has the most frequent mistakes." if pairs else "There is no mistake."
        shares = insight.row_shares(counts)
        rows = "".join(
            f"<tr><td>{escape(self.classes[i])}<td>{escape(self.classes[j])}<td>{counts[i, j]:,}<td>{shares[i, j]:.1%}"
            for i, j in pairs
        )
        table = f"<table>\n<tr><th>true class<th>taken for<th>times<th>of the class\n{rows}\n</table>" if pairs else ""
        body = f'<div class="beside">{svg(fig, "confusion", "confusion matrix")}\n{table}</div>'
        return section("Where it errs", body, said)

    def _mistakes(self) -> str:
        hardest = insight.hardest(self.net, self.x, self.y, scores=self.scores).index
        shown = (self.x[hardest], self.y[hardest], self.classes)  # the others need not be in memory
        fig = plot.mistakes(self.net, *shown, scores=self.scores[hardest], titled=False)
        wrong = int(np.count_nonzero(self.answers != self.y))
        said = (
            "Test images whose true class gets the least probability. Below each stands the net's answer, orange where "
        )
        said += f"it is wrong: {wrong:,} of {len(self.y):,} {'is' if wrong == 1 else 'are'}, the worst first."
        return section("Its hardest images", svg(fig, "mistakes", "the most wrong images"), said)

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
        return section("What it looks at", svg(fig, "evidence", "where the net looks"), said)

    def _chosen(self) -> list[int]:
        """A sample of each class, spread over the classes, that the net has right if there is one."""
        right = self.answers == self.y
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
            figures.append(svg(plot.filters(self.net), "filters", "filters of the first layer"))
            said.append("The filters of the first layer with weights.")
        except ValueError:  # it begins with something else
            pass
        names = self._layers_to_show() if self.pictures else []
        index = self._chosen()[0] if self.classifies else 0
        for name in names:
            fig = plot.activations(self.net, self.x[index : index + 1], name)
            figures.append(svg(fig, f"activations-{name}", f"activations of layer {name}"))
        if names:
            layers = f"layer {names[0]}" if len(names) == 1 else f"layers {', '.join(names[:-1])} and {names[-1]}"
            image = "the first image above" if self.classifies else "an image"
            said.append(f"Below, what {layers} make{'s' if len(names) == 1 else ''} of {image}: a map per channel.")
        if figures:
            yield section("What it has learned", "\n".join(figures), " ".join(said))

    def _layers_to_show(self) -> list[str]:
        """Up to three layers that give maps: the first after weights, a middle one and the last."""
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
        trains_on_scores = self.classifies and what_scores_are(self.net) == "raw"  # SoftmaxLoss wants those
        if trains_on_scores and getattr(self.data, "train", None) is not None:
            x, y = (np.asarray(part[: self.at_a_time]) for part in self.data.train[:2])
            with np.errstate(all="ignore"):
                grads = insight.gradients(self.net, x, y, SoftmaxLoss())
            said = f" Right, the sizes of their gradients, of {len(x)} training samples."
        fig = plot.weights(self.net, grads)
        said = f"How the weights of each layer are spread; the dark bar is the middle half.{said}"
        yield section("Weights, layer by layer", svg(fig, "weights", "distribution of the weights"), said)

    def _net(self) -> str:
        table = self.net.summary() if hasattr(self.net, "summary") else repr(self.net)
        return section(
            "The net", f"<pre>{escape(table)}</pre>", "Multiply-adds and activation bytes are of one sample."
        )


def _answers(net: Layer, scores: np.ndarray, classes: int) -> np.ndarray | None:
    """The class that the net takes each sample for; None if it does not tell so many classes apart."""
    if scores.ndim != 2 or (scores.shape[1] == 1 and what_scores_are(net) != "sigmoid"):
        return None
    scores = class_scores(net, scores)
    return scores.argmax(axis=1) if scores.shape[1] == classes else None


def _only_scales(layer: Layer) -> bool:
    return type(layer).__name__ == "Normalize"


def _parts(name: str, history: History, epoch: int) -> dict[str, str]:
    """Training and validation values after an epoch."""
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


def part_of(data: Any, part: str) -> Any:
    """Give one part of the data, (x, y)."""
    if part not in PARTS:
        raise ValueError(f"report: part must be one of {', '.join(PARTS)}; got {part!r}")
    pair = getattr(data, part, None)
    if pair is None:
        raise ValueError(f"report: the data has no {part} part")
    return pair

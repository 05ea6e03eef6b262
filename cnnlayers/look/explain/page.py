"""The page as one HTML file: graphs as JSON, and the scripts and the style beside this file put into its frame."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from ..._version import __version__
from ..palette import PALETTE
from .graph import Graph, Map, Node

FOLDER = Path(__file__).parent / "page"
SCRIPTS = ("numbers.js", "layers.js", "sums.js", "sheets.js", "panels.js", "maps.js", "main.js")


@dataclasses.dataclass
class Shown:
    """A net on the page: its graph, what it is called, and the names of its classes."""

    graph: Graph
    title: str
    classes: Sequence[str]


def page(title: str, nets: Sequence[Shown], tour: Sequence[dict[str, Any]] = ()) -> str:
    """Give the HTML of a page about these nets.

    Each step of a tour has a `title`; `text`, paragraphs in HTML; `net`, which of the nets; `map`, a layer's name or
    "x", and `place`, a number of what it gives; or in its place `weight`, [name, place]. With `gradients` the maps show
    these; `open` is the panel that is open: im2col, matrix, winograd, check or change.
    """
    data = {
        "nets": [_net(shown) for shown in nets],
        "tour": [_stop(stop, nets[stop["net"]].graph) for stop in tour],
    }
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    parts = {
        "title": escape(title),
        "css": PALETTE + (FOLDER / "style.css").read_text(encoding="utf-8"),
        "foot": f"written by cnnlayers {escape(__version__)}; all numbers in float64",
        "data": text,
        "script": "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in SCRIPTS),
    }
    return Template((FOLDER / "page.html").read_text(encoding="utf-8")).substitute(parts)


def _net(shown: Shown) -> dict[str, Any]:
    graph = shown.graph
    return {
        "title": shown.title,
        "classes": list(shown.classes),
        "batch": len(graph.maps[0].values),
        "train": graph.train,
        "maps": [_map(each) for each in graph.maps],
        "nodes": [_node(node) for node in graph.nodes],
        "loss": {name: _encoded(value) for name, value in graph.loss.items()},
        "checks": graph.checks,
    }


def _map(each: Map) -> dict[str, Any]:
    shape = each.values.shape[1:]
    return {"shape": list(shape), "values": _encoded(each.values), "grads": _encoded(each.grads)}


def _node(node: Node) -> dict[str, Any]:
    params = {
        name: {"shape": list(values.shape), "values": _encoded(values), "grads": _encoded(grads)}
        | ({"frozen": True} if name in node.frozen else {})
        for name, (values, grads) in node.params.items()
    }
    described = {name: _encoded(value) for name, value in node.described.items() if value is not None}
    return {
        "name": node.name,
        "text": node.text,
        "kindName": node.kind,
        "inputs": node.inputs,
        "output": node.output,
        "params": params,
        "described": described,
    }


def _encoded(value: Any) -> Any:
    """An array by its bytes, exactly; anything else as it is."""
    if not isinstance(value, np.ndarray):
        return value
    kind = "i4" if value.dtype.kind == "i" else "f8"
    raw = np.ascontiguousarray(value, f"<{kind}").tobytes()
    return {"type": kind, "data": base64.b64encode(raw).decode("ascii")}


def _stop(stop: dict[str, Any], graph: Graph) -> dict[str, Any]:
    """A step with places in the page's lists in place of names."""
    at = next(i for i, each in enumerate(graph.maps) if each.name == stop["map"])
    found: dict[str, Any] = {"weight": None, "gradients": False, "open": None} | stop | {"map": at}
    if found["weight"] is not None:  # of the layer that gives this map: the input alone has none
        name, place = found["weight"]
        found["weight"] = {"node": at - 1, "name": name, "j": place}
    return found

"""A net as the page shows it: maps of numbers and what is between them, after one forward and one backward pass."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np

from ...arrays import as_array
from ...checks import with_batch
from ...layers import Concat, Multiply, Residual, Sequential
from ...layers.container import Container
from ...layers.layer import Layer
from ...layers.scores import what_scores_are
from ...plan import watching
from ...training.losses import Loss, MSELoss, SoftmaxLoss
from .kinds import Described, describe

JOINS = {Residual: "add", Concat: "concat", Multiply: "multiply"}
MOST_NUMBERS = 2_000_000  # in maps and parameters, with their gradients: a browser still opens the page
MOST_WORK = 20_000_000  # multiply-adds of the net, which the page does in plain loops
SMALL, CHECKED = 40, 12  # of arrays up to the first, all gradients are checked by finite differences, else so many
STEP = 1e-5  # of a finite difference, in float64


@dataclasses.dataclass
class Map:
    """What a layer gives, or the input: values and gradients δ = dL/dy, both (N, ...)."""

    name: str
    values: np.ndarray
    grads: np.ndarray


@dataclasses.dataclass
class Node:
    """A layer between maps.

    Attributes
    ----------
    name, text, kind : str
        The layer's dotted name in the net, its repr, and its class.
    inputs, output
        Which maps it reads and gives.
    params : dict of (values, gradients)
    frozen : set of str
        Names of those that do not train; they have gradients all the same.
    described : dict
        How one number of its output is computed: see `kinds`.
    """

    name: str
    text: str
    kind: str
    inputs: list[int]
    output: int
    params: dict[str, tuple[np.ndarray, np.ndarray]]
    frozen: set[str]
    described: Described


@dataclasses.dataclass
class Graph:
    """A net on one batch: its maps in the order of their computation, the nodes between them, and the loss."""

    maps: list[Map]
    nodes: list[Node]
    loss: dict[str, Any]
    checks: dict[str, dict[int, float]]  # finite differences, by the name of the array and the place in it
    train: bool


class _Walk:
    """Goes through a net as its forward pass does, and finds the maps."""

    def __init__(self, x: np.ndarray):
        self.maps: list[tuple[str, np.ndarray, Layer | None]] = [("x", x, None)]
        self.nodes: list[tuple[str, Layer, list[int], int, str | None]] = []
        self.outputs: dict[int, np.ndarray] = {}  # by the layer's id

    def through(self, layer: Layer, name: str, at: int) -> int:
        """Give the map that a layer makes of the map `at`."""
        own = isinstance(layer, Container) and layer._has_own_pass  # a user's: what is within runs as that says
        if isinstance(layer, Sequential) and not own:
            for key, child in layer.children().items():
                at = self.through(child, _joined(name, key), at)
            return at
        join = None if own else next((kind for base, kind in JOINS.items() if isinstance(layer, base)), None)
        inputs = [at]
        if join is not None:
            inputs = [self.through(child, _joined(name, key), at) for key, child in layer.children().items()]
            inputs += [at] if join == "add" and len(inputs) == 1 else []  # past a body
        self.maps.append((name, self.outputs[id(layer)], layer))
        self.nodes.append((name, layer, inputs, len(self.maps) - 1, join))
        return len(self.maps) - 1


def _joined(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def as_batch(net: Layer, x: Any, who: str) -> np.ndarray:
    """Give a sample, or a few, as a batch in float64; ValueError if it does not fit the net."""
    net.require_built()
    batch = as_array(x, who).astype(np.float64)
    if batch.shape == net.input_shape:
        batch = batch[np.newaxis]
    if batch.shape[1:] != net.input_shape or len(batch) == 0:
        raise ValueError(
            f"{who} needs x of shape {net.input_shape} or {with_batch(net.input_shape)}; got {batch.shape}"
        )
    return batch


def graph_of(net: Layer, x: np.ndarray, y: Any, loss: Loss, train: bool, who: str) -> Graph:
    """Run a net forward and backward, and give all its numbers; the net is left as it is.

    Everything is computed in float64, so that what the page sums up agrees to many digits.

    Parameters
    ----------
    net : Layer
        Built.
    x : array (N, ...)
    y : array
        The target of the loss.
    loss : SoftmaxLoss or MSELoss
    train : bool
        As in a step of training (norms over the batch, dropout), or as the net predicts.

    Raises
    ------
    ValueError
        If the net is too large to be looked at number by number, or the loss does not fit.
    """
    work = net.multiply_adds(net.input_shape) * len(x)
    if work > MOST_WORK:
        raise ValueError(
            f"{who} is for small nets: this one has {work:,} multiply-adds on {len(x)} of shape {net.input_shape}; "
            f"the page takes up to {MOST_WORK:,}"
        )
    twin = net.astype("float64")
    for leaf in twin.leaves():
        leaf._frozen = frozenset()  # by name: their gradients are shown, too
    walk, scores = _forward(twin, x, train)
    total = 2 * sum(values.size for _, values, _ in walk.maps) + 2 * twin.flat_params.size
    if total > MOST_NUMBERS:
        raise ValueError(
            f"{who} is for small nets: this one has {total:,} numbers to show on x of shape {x.shape}; "
            f"the page takes up to {MOST_NUMBERS:,}"
        )
    if not all(np.isfinite(values).all() for _, values, _ in walk.maps):
        raise ValueError(f"{who} needs numbers that are finite; x, or what a layer makes of it, has NaN or infinity")
    described = [
        describe(layer, walk.maps[inputs[0]][1], train) if join is None else {"kind": join}
        for _, layer, inputs, _, join in walk.nodes
    ]
    loss = copy.copy(loss)
    value = loss.forward(scores, y)
    dx, deltas = _backward(twin, loss.backward())
    maps = [Map(name, values, dx if layer is None else deltas[id(layer)]) for name, values, layer in walk.maps]
    originals = dict(net.walk())
    nodes = [
        Node(
            name,
            repr(layer),
            type(layer).__name__,
            inputs,
            output,
            _parameters(layer),
            set(originals[name].frozen),
            told,
        )
        for (name, layer, inputs, output, _), told in zip(walk.nodes, described, strict=True)
    ]
    return Graph(maps, nodes, _loss(loss, scores, y, value), _differences(net, x, y, loss, train), train)


def _forward(twin: Layer, x: np.ndarray, train: bool) -> tuple[_Walk, np.ndarray]:
    walk = _Walk(x)

    def see(layer: Layer, what: str, values: np.ndarray) -> None:
        walk.outputs[id(layer)] = values.copy()

    with watching((layer for _, layer in twin.walk()), see):
        scores = twin.forward(x, train)
    walk.through(twin, "", 0)
    return walk, scores


def _backward(twin: Layer, dscores: np.ndarray) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """dx, and the gradient that reached each layer's output, by the layer's id."""
    deltas: dict[int, np.ndarray] = {}

    def see(layer: Layer, what: str, values: np.ndarray) -> None:
        if what == "gradient of the output":
            deltas[id(layer)] = values.copy()

    with watching((layer for _, layer in twin.walk()), see):
        dx: Any = twin.backward(dscores)
    return dx, deltas


def _parameters(layer: Layer) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    if layer.children():
        return {}
    return {name: (values.copy(), layer.grads[name].copy()) for name, values in layer.params.items()}


def check_loss(net: Layer, loss: Any, who: str) -> None:
    """Refuse a loss that the page has no rule for."""
    shape = net.output_shape(net.input_shape)
    plain = type(loss) is SoftmaxLoss and loss.class_weights is None and loss.ignore_label is None and len(shape) == 1
    if not plain and type(loss) is not MSELoss:
        raise ValueError(
            f"{who} explains SoftmaxLoss without weights on scores (N, C), and MSELoss; got {loss!r} on "
            f"{with_batch(shape)}"
        )
    if plain and (ends := what_scores_are(net)) != "raw":
        raise ValueError(
            f"{who}: SoftmaxLoss takes scores, and the net ends in {ends.capitalize()}: give the net without it, or "
            "loss=MSELoss() and a target"
        )


def _loss(loss: Any, scores: np.ndarray, y: Any, value: float) -> dict[str, Any]:
    """What the page must know of the loss: its kind, the targets as rows, and what the sum is divided by."""
    if type(loss) is SoftmaxLoss:
        n, classes = scores.shape
        rows = np.asarray(y, float) if np.ndim(y) == 2 else np.eye(classes)[np.asarray(y)]
        smooth = loss.label_smoothing
        target = (1 - smooth) * rows + smooth / classes
        return {"kind": "softmax", "target": target, "divisor": n if loss.reduction == "mean" else 1, "value": value}
    divisor = scores.size if loss.reduction == "mean" else 1
    return {"kind": "mse", "target": np.asarray(y, float), "divisor": divisor, "value": value}


def _differences(net: Layer, x: np.ndarray, y: Any, loss: Loss, train: bool) -> dict[str, dict[int, float]]:
    """(L(w + h) - L(w - h)) / 2h for some numbers of the input and of each parameter."""
    base = net.astype("float64")

    def loss_at(name: str, place: int, step: float) -> float:
        twin = base.copy()  # with generators in the same state, so that dropout draws the same
        moved = x.copy() if name == "x" else x
        (moved if name == "x" else twin.params[name]).reshape(-1)[place] += step
        return copy.copy(loss).forward(twin.forward(moved, train), y)

    arrays = {"x": x} | dict(base.params)
    found: dict[str, dict[int, float]] = {}
    for name, array in arrays.items():
        count = array.size if array.size <= SMALL else CHECKED
        places = np.linspace(0, array.size - 1, count).astype(int)
        found[name] = {int(i): (loss_at(name, i, STEP) - loss_at(name, i, -STEP)) / (2 * STEP) for i in places}
    return found

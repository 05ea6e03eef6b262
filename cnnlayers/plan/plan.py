"""A plan: how a net runs, worked out once and then gone through by every pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..layers.layer import Layer
from .join import joined
from .show import html, table
from .step import Chain, Step


class Plan:
    """The steps that run a built net, in order; `print(plan)` shows them.

    Attributes
    ----------
    net : Container
        A twin of it, which has the same layers.
    chain : Chain
        The steps.
    trains : bool
        False for the plan of a net that only predicts and never changes.
    revision : int
        `Layer.revision` when the plan was made. It holds as long as nobody puts methods on layers, watches
        them, or gives a container others.
    """

    def __init__(self, net: Any, trains: bool = True):
        self.net = net.twin()  # the net holds its plan: a plan that held the net would keep both in memory
        self.trains = trains
        self.revision = Layer.revision
        self.chain = Chain(joined(self.net._steps(list)))

    def forward(self, x: np.ndarray, train: bool) -> np.ndarray:
        """Compute y, each step keeping what its backward pass needs."""
        return self.chain.forward(x, train)

    def backward(self, dy: np.ndarray, input_grad: bool) -> np.ndarray | None:
        """Compute dx and fill all grads."""
        return self.chain.backward(dy, input_grad)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Compute y at inference; writes on nothing, so several threads may call it."""
        return self.chain.predict(x)

    def walk(self) -> Iterator[Step]:
        """Yield each step; those within a step come after it."""
        yield from self.chain.walk()

    def __str__(self) -> str:
        return table(self)

    def _repr_html_(self) -> str:
        return html(self)

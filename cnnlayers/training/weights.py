"""The weights of a net as two arrays, its parameters and its state: copied, put back, or lent for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np

from ..layers.layer import Layer

__all__ = ["Weights", "set_weights", "weights_in", "weights_of"]

Weights = tuple[np.ndarray, np.ndarray]


def weights_of(net: Layer) -> Weights:
    """Give copies of all parameters and of the state."""
    return net.flat_params.copy(), net.flat_state.copy()


def set_weights(net: Layer, weights: Weights) -> None:
    """Copy parameters and state into the net."""
    net.flat_params[...], net.flat_state[...] = weights


@contextlib.contextmanager
def weights_in(net: Layer, weights: Weights | None) -> Iterator[None]:
    """Put weights into the net for a while, if there are any; then it has its own again."""
    if weights is None:
        yield
        return
    now = weights_of(net)
    set_weights(net, weights)
    try:
        yield
    finally:
        set_weights(net, now)

"""Looking at what each layer gives while a net runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from ..layers.layer import Layer


@contextlib.contextmanager
def watching(layers: Iterable[Layer], see: Callable[[Layer, str, np.ndarray], None]) -> Iterator[None]:
    """Call `see(layer, what, values)` for each of these layers, as long as the block lasts.

    `what` is "output" in a forward pass; in a backward pass "gradient of the output", then "gradient of 'W'" for each
    parameter, then "gradient of the input". A layer that is watched runs alone: its output is its own, before the ReLU
    after it and before any sum.
    """
    layers = list(layers)
    for layer in layers:
        layer._watch = see
    try:
        yield
    finally:
        for layer in layers:
            del layer._watch

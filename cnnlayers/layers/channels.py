"""What the layers that work channel by channel ask of an input."""

from __future__ import annotations

from ..checks import with_batch
from .layer import Layer


def same_with_channels(layer: Layer, input_shape: tuple[int, ...]) -> tuple[int, ...]:
    """The output shape of a layer that keeps the shape and works channel by channel: there must be a channel."""
    if input_shape[-1:] in ((), (0,)):
        raise ValueError(f"{layer!r} needs at least one channel; got shape {with_batch(input_shape)}")
    return tuple(input_shape)

"""Inputs that a net would misread without an error: images with their channels first, gray ones without a channel."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..checks import CHANNELS_FIRST, NO_CHANNELS, with_batch
from .affine import Affine
from .conv import Conv
from .conv_transpose import ConvTranspose
from .layer import Layer
from .pool import GlobalAvgPool, GlobalMaxPool, Pool
from .shape import Flatten, Permute, Reshape

SPATIAL = (Conv, ConvTranspose, Pool, GlobalAvgPool, GlobalMaxPool)
SHAPELESS = (Affine, Flatten, Permute, Reshape)  # what comes after these knows nothing of the input's axes
CHANNELS = (1, 3, 4)  # of images as files hold them
LARGE = 8  # the least side by which two equal axes are taken for those of an image


def warn_if_odd(net: Layer, shape: Sequence[int], dtype: Any = None) -> None:
    """Warn if a net that is about to be built for this input (without the batch axis) would misread it.

    Three axes whose first is 1, 3 or 4 and the others equal and large are images with channels first; two that are
    equal and large are gray images, and any two of uint8 (told by `dtype`, which the shape alone does not say) of which
    the last is longer than channels of a signal are. Only nets that look at the axes are asked.
    """
    square = len(shape) > 1 and shape[-1] == shape[-2] >= LARGE
    if len(shape) == 3 and square and shape[0] in CHANNELS and shape[0] != shape[1]:
        read, meant = f"images of {shape[0]} x {shape[1]} pixels with {shape[2]} channels", CHANNELS_FIRST
    elif len(shape) == 2 and (square or (dtype == np.uint8 and shape[1] > max(CHANNELS))):
        read, meant = f"signals of length {shape[0]} with {shape[1]} channels", NO_CHANNELS
    else:
        return
    if _looks_at_axes(net):
        who = f"{net.who} is built for {with_batch(shape)}"
        warnings.warn(f"{who}, {read}; if that is not what x holds: {meant}", stacklevel=2)


def _looks_at_axes(net: Layer) -> bool:
    """Whether the first layer to which the axes matter, or not at all, is one of images and signals."""
    for _, layer in net.walk():
        if isinstance(layer, SPATIAL + SHAPELESS):
            return isinstance(layer, SPATIAL)
    return False

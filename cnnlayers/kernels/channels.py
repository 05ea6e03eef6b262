"""Arrays side by side along the channels."""

from collections.abc import Iterator, Sequence

import numpy as np

from .._kernels import empty


def concatenate(parts: Sequence[np.ndarray]) -> np.ndarray:
    """y[..., c_1 + ... + c_{i-1} + j] = part_i[..., j]: the channels of each part after those of the one before it."""
    shape = (*parts[0].shape[:-1], sum(part.shape[-1] for part in parts))
    return np.concatenate(parts, axis=-1, out=empty(shape, parts[0].dtype))


def split_channels(y: np.ndarray, channels: Sequence[int]) -> Iterator[np.ndarray]:
    """Undo `concatenate` of parts with these numbers of channels; each part is a new array."""
    for count, end in zip(channels, np.cumsum(channels), strict=True):
        part = empty((*y.shape[:-1], count), y.dtype)
        part[...] = y[..., end - count : end]
        yield part

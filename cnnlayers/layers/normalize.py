"""Normalisation by a mean and a deviation that are known before training."""

import numpy as np

from ..checks import as_number, with_batch
from .layer import Layer


class Normalize(Layer):
    """y = (x - mean) / std, with known mean and std: the scaling of raw images, saved with the net.

    Forward     y = (x - mean) / std
    Backward    dL/dx = δ / std

    Shapes      x (N, ..., C);  mean, std a number or one per channel;  y as x
    Errors      ValueError if std holds 0 or the number of channels differs
    Twin        reference.fixed_norm.normalize_backward

    Parameters
    ----------
    mean, std : float or one per channel
        In the units of x: for uint8 photographs about 128 and 64.

    Examples
    --------
    >>> Normalize(mean=8, std=4).forward(np.array([[0, 8, 16]], np.uint8))
    array([[-2.,  0.,  2.]], dtype=float32)
    """

    resizable = True

    def __init__(self, mean, std):
        self.mean = _numbers("mean", mean)
        self.std = _numbers("std", std)
        if np.any(np.equal(self.std, 0)):
            raise ValueError(f"Normalize: std must not be 0; got {self.std}")

    @property
    def who(self):
        """Its repr; of many channels, such as the features of flat rows, only how many they are."""
        most = max(len(value) if isinstance(value, tuple) else 1 for value in (self.mean, self.std))
        return super().who if most <= 4 else f"Normalize({most} channels)"

    def forward(self, x, train=True):
        return (x - np.asarray(self.mean, x.dtype)) / np.asarray(self.std, x.dtype)

    def backward(self, dy, input_grad=True):
        return dy / np.asarray(self.std, dy.dtype)

    def output_shape(self, input_shape):
        for name, value in (("mean", self.mean), ("std", self.std)):
            channels = input_shape[-1] if input_shape else 0
            if isinstance(value, tuple) and len(value) not in (1, channels):
                raise ValueError(
                    f"Normalize: {name} has {len(value)} numbers; it needs one, or one for each of the "
                    f"{channels} channels of {with_batch(input_shape)}"
                )
        return tuple(input_shape)


def _numbers(name, value):
    """A number, or a tuple of numbers, one per channel."""
    try:
        values = np.asarray(value)
    except ValueError:  # of lists of several lengths
        raise ValueError(f"Normalize: {name} must be a number or one per channel; got {value!r}") from None
    if values.ndim == 0:
        return as_number("Normalize", name, values.item())
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"Normalize: {name} must be a number or one per channel; got shape {values.shape}")
    return tuple(as_number("Normalize", name, v) for v in values.tolist())

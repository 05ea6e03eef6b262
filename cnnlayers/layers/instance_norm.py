"""Normalisation of each channel within a sample."""

from ..checks import as_number, with_batch
from .group_norm import GroupNorm


class InstanceNorm(GroupNorm):
    """y = gamma (x - mean) / sqrt(var + eps) + beta, with the mean and variance of each channel of one sample.

    Forward     x̂ = (x - mean) / sqrt(var + eps),  y = gamma x̂ + beta
    Backward    dL/dgamma = sum of δ x̂,  dL/dbeta = sum of δ over samples and positions
                dL/dx = (g - mean of g - x̂ mean of g x̂) / sqrt(var + eps),  g = gamma δ       (δ = dL/dy)

    The means are over all positions of one channel of one sample. It is a GroupNorm of as many groups as channels,
    which it counts when it is built, and works alike in training and at inference.

    Shapes      x (N, ..., C), with at least one axis of positions;  gamma, beta (C,);  y as x
    Errors      ValueError if x has no positions, as rows have none, or no channels
    Source      D. Ulyanov, A. Vedaldi, V. Lempitsky, "Instance Normalization: The Missing Ingredient for Fast
                Stylization", 2016
    Twin        reference.instance_norm.instance_norm_backward

    Parameters
    ----------
    eps : float
        Added to the variance.

    Examples
    --------
    >>> InstanceNorm().forward([[[1.0, 30.0], [3.0, 10.0]]]).round(3)
    array([[[-1.,  1.],
            [ 1., -1.]]], dtype=float32)
    """

    def __init__(self, eps: float = 1e-5):
        self.eps = as_number("InstanceNorm", "eps", eps, low=0, open_low=True)

    def allocate(self, input_shape):
        self.groups = input_shape[-1]
        super().allocate(input_shape)

    def output_shape(self, input_shape):
        if len(input_shape) < 2 or input_shape[-1] == 0:
            raise ValueError(
                f"{self!r} needs channels, and an axis of positions before them; got shape {with_batch(input_shape)}"
            )
        return tuple(input_shape)

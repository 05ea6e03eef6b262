"""Training samples as a set with weights, and sums in which the weights count."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np

__all__ = ["WeightedSum", "as_set", "mean_and_std"]

BLOCK = 1 << 20  # numbers that are converted to float64 at a time


def as_set(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give the samples as a set: each (x, y) once, with the sum of its weights, in an order of their own.

    So nothing that follows can depend on the order in which the samples came, nor on whether one came three times or
    once with the weight 3. The order is that of a hash of each sample: it says nothing about the values.
    """
    x, y = np.ascontiguousarray(x), np.ascontiguousarray(y)
    hashes = b"".join(blake2b(a.tobytes() + b.tobytes(), digest_size=16).digest() for a, b in zip(x, y, strict=True))
    _, first, which = np.unique(np.frombuffer(hashes, "V16"), return_index=True, return_inverse=True)
    return x[first], y[first], np.bincount(which, weights)


def mean_and_std(x: np.ndarray, weights: np.ndarray, eps: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Give the weighted mean and standard deviation of each channel of x (N, ..., C), over all samples and pixels.

    A channel that varies by no more than `eps` times its mean, which is how numbers are rounded, has the deviation 1.
    """
    step = max(1, BLOCK // (x.size // len(x)))
    blocks = [slice(start, start + step) for start in range(0, len(x), step)]

    def mean(f: Any) -> np.ndarray:
        by_sample = [f(x[b].astype(np.float64)).reshape(len(x[b]), -1, x.shape[-1]).mean(axis=1) for b in blocks]
        return np.average(np.concatenate(by_sample), axis=0, weights=weights)

    center = mean(lambda part: part)
    std = np.sqrt(mean(lambda part: np.square(part - center)))
    return center, np.where(std <= eps * np.abs(center), 1.0, std)


class WeightedSum:
    """L = (1/N) sum_n w_n l_n: the mean of a loss over a batch of N samples, in which a sample counts by its weight.

    The loss divides by the sum of the batch's weights. Here the divisor is N, so that all samples of an epoch have
    their weight, whichever batch they are in: else a batch without a sample of a heavy class would count as much as one
    with such samples. Weights whose mean is 1 over all samples keep L in the loss's scale.
    """

    def __init__(self, loss: Any) -> None:
        self.loss, self.weight, self.factor = loss, 0.0, 1.0

    def forward(self, scores: Any, target: Any, weights: Any = None) -> float:
        """Give L, and keep what `backward` needs."""
        value = self.loss.forward(scores, target, weights)
        self.weight, self.factor = float(len(scores)), 1.0 if weights is None else float(np.mean(weights))
        return value * self.factor

    def backward(self) -> np.ndarray:
        """Give dL/dz."""
        return self.loss.backward() * self.factor

    def metrics(self) -> dict[str, Any]:
        """Give the metrics that go with the loss."""
        return self.loss.metrics()

"""Random numbers that depend on (seed, epoch, sample) alone: computed by index, not drawn one after another.

The generator is SplitMix64: number k of a stream with the start s is mix(s + (k + 1) * GAMMA), so any of them can be
computed without those before it. The start of a sample's stream is mixed from the seed, the epoch and the sample's
index.

Source: G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom Number Generators", 2014; the constants of mix are
those of D. Stafford's variant 13, which the paper names.
"""

from __future__ import annotations

import numpy as np

__all__ = ["Draws", "child_seed"]

MASK = (1 << 64) - 1
GAMMA = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio, odd
FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
SHIFTS = (30, 27, 31)


class Draws:
    """A stream of numbers for each sample.

    Parameters
    ----------
    seed, epoch : int
    indices : (N,) int64

    Examples
    --------
    >>> draws = Draws(seed=0, epoch=3, indices=np.array([7, 8, 7]))
    >>> first, second = draws.uniform(0), draws.uniform(1)
    >>> first[0] == first[2], first[0] == first[1], first[0] == second[0]
    (np.True_, np.False_, np.False_)
    """

    def __init__(self, seed: int, epoch: int, indices: np.ndarray):
        self.seed, self.epoch, self.indices = seed, epoch, indices
        both = mix_int(mix_int(seed & MASK) + epoch & MASK)
        self.starts = mix(indices.astype(np.uint64) + np.uint64(both))

    def of_epoch(self, epoch: int) -> Draws:
        """Give the streams of the same samples in another epoch: in a fixed one, draws that all epochs share."""
        return Draws(self.seed, epoch, self.indices)

    def uniform(self, k: int) -> np.ndarray:
        """Number k of each sample, uniform in [0, 1): the upper 53 bits, as a float64 holds them."""
        bits = mix(self.starts + np.uint64((k + 1) * GAMMA & MASK))
        return (bits >> np.uint64(11)) * 2.0**-53

    def between(self, k: int, low: float, high: float) -> np.ndarray:
        """Number k of each sample, uniform in [low, high)."""
        return low + (high - low) * self.uniform(k)

    def integers(self, k: int, n: int) -> np.ndarray:
        """Number k of each sample, an integer of 0..n-1."""
        return np.minimum((self.uniform(k) * n).astype(np.int64), n - 1)


def child_seed(seed: int, k: int) -> int:
    """Seed k of those that come from `seed`: so that several steps have independent draws."""
    return mix_int((mix_int(seed & MASK) ^ GAMMA) + (k + 1) * GAMMA & MASK)


def mix(z: np.ndarray) -> np.ndarray:
    """Map numbers of 64 bits one to one to numbers that look random."""
    z = (z ^ (z >> np.uint64(SHIFTS[0]))) * np.uint64(FACTORS[0])
    z = (z ^ (z >> np.uint64(SHIFTS[1]))) * np.uint64(FACTORS[1])
    return z ^ (z >> np.uint64(SHIFTS[2]))


def mix_int(z: int) -> int:
    """Do the same for one number."""
    z = (z ^ z >> SHIFTS[0]) * FACTORS[0] & MASK
    z = (z ^ z >> SHIFTS[1]) * FACTORS[1] & MASK
    return z ^ z >> SHIFTS[2]

"""The sum of the gradients of a step's batches, added in one order whoever computes them: a binary tree.

A step of `Solver(accumulate=S)` has the places 0 .. S-1, a batch in each. Their weighted gradients are added as the
tree over 0 .. S-1 says: its left half is the largest power of two that is smaller, so with S = 6

    ((g0 + g1) + (g2 + g3)) + (g4 + g5)

A rounded sum depends on the order of its additions, and this order on S alone. So it does not matter where a subtree is
added up: the bits are the same for a process that adds all of it, and for many that add a part each.

A place in which nothing counts has no gradient, and adds nothing. A weight may be of any size, as those of samples are,
but the gradients are float32: so each gradient is multiplied by its weight over 2^e, where 2^e is the power of two at
or below the weight. Two parts of different e are brought to the larger one, which rounds nothing.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

__all__ = ["EMPTY", "Part", "TreeSum", "halves", "mantissa_and_exponent", "parts_of"]

EMPTY = -(1 << 30)  # the exponent of a part in which nothing counts


class Part(NamedTuple):
    """The sum over a subtree, of the places `first` .. `stop` - 1: 2^-exponent times the weighted gradients."""

    first: int
    stop: int
    exponent: int = EMPTY
    sum: Any = None


def halves(first: int, stop: int) -> int:
    """Give the place where the subtree over first .. stop - 1 is halved; it has two places or more."""
    return first + (1 << (stop - first - 1).bit_length() - 1)


def is_subtree(first: int, middle: int, stop: int, places: int) -> bool:
    """Whether the tree over 0 .. places - 1 has the subtree first .. stop - 1, halved at `middle`."""
    low, high = 0, places
    while high - low > 1:
        half = halves(low, high)
        if (low, high) == (first, stop):
            return half == middle
        if stop <= half:
            high = half
        elif first >= half:
            low = half
        else:
            return False
    return False


def mantissa_and_exponent(weight: float) -> tuple[float, int]:
    """Give m and e with weight = m 2^e and 1 <= m < 2; (0, 0) of 0."""
    m, e = math.frexp(weight)
    return 2 * m, e - (m != 0)


class TreeSum:
    """Adds up parts that come one after the other; holds as few arrays at a time as the tree allows.

    Parameters
    ----------
    places : int
        Of the whole tree.
    """

    def __init__(self, places: int):
        self.places = places
        self.parts: list[Part] = []  # that have no sibling yet, in order

    def add(self, part: Part) -> None:
        """Add a part that begins where the last one ends; its array may be used for other things afterwards."""
        borrowed = part.sum
        while self.parts and is_subtree(self.parts[-1].first, part.first, part.stop, self.places):
            part = _sum(self.parts.pop(), part)
        self.parts.append(part._replace(sum=part.sum.copy()) if part.sum is not None and part.sum is borrowed else part)


def parts_of(first: int, stop: int, places: int) -> list[tuple[int, int]]:
    """Give the fewest subtrees of the tree over 0 .. places - 1 that are the places first .. stop - 1."""
    tree = TreeSum(places)
    for place in range(first, stop):
        tree.add(Part(place, place + 1))
    return [(part.first, part.stop) for part in tree.parts]


def _sum(a: Part, b: Part) -> Part:
    """The sum of two siblings, in the array of `a`; that of b alone, if nothing counts in `a`."""
    if a.sum is None or b.sum is None:
        kept = b if a.sum is None else a
        return Part(a.first, b.stop, kept.exponent, kept.sum)
    exponent = max(a.exponent, b.exponent)
    total = a.sum
    if a.exponent != exponent:
        total[...] = scaled(a, exponent)
    total += scaled(b, exponent)
    return Part(a.first, b.stop, exponent, total)


def scaled(part: Part, exponent: int) -> np.ndarray:
    """Its sum for another exponent, which is not smaller."""
    if part.exponent == exponent:
        return part.sum
    return np.ldexp(part.sum, max(part.exponent - exponent, -(1 << 14)))

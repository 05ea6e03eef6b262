"""Prediction part by part of the batch: what a part of some samples needs on its way stays in a processor's cache.

Layer after layer, a large batch is written to memory and read again for each. Where a few samples with all that is
between their layers fit in the L2 cache, a thread takes them through all layers before it takes the next few. Layers
with weights for each pixel (Affine) come after the parts, for the whole batch: their weights are read once.

The parts are computed by the kernels that the whole batch would be, so to the same bits: all that a sample's results
depend on is which kernel computes them.
"""

from __future__ import annotations

from math import ceil
from typing import Any

from .. import kernels, threads
from ..layers.affine import Affine
from .step import Chain, Recording

REREAD = 2  # bytes of weights, at most, that a part reads again for each byte that its layers write


def recorded(chain: Chain, shape: tuple[int, ...], dtype: Any, n_threads: int | None = None) -> Recording | None:
    """The program of these steps, layer after layer; None if there is no kernel in it, or no number."""
    program = Recording(dtype, n_threads)
    try:
        y = chain.lower(program, program.input(shape))
    except kernels.NothingToCompute:
        return None
    return program if program.finish(y) else None


def in_parts(chain: Chain, shape: tuple[int, ...], dtype: Any, whole: Recording) -> Recording | None:
    """The program that computes the first steps by parts of the batch; None if `whole`, without parts, is to be had."""
    n, *sample = shape
    first = next((i for i, step in enumerate(chain.steps) if isinstance(step.layer, Affine)), len(chain.steps))
    head, tail = Chain(chain.steps[:first], chain.where), Chain(chain.steps[first:], chain.where)
    count = _count(recorded(head, (1, *sample), dtype, 1), n)
    if count is None:
        return None
    larger = recorded(head, (ceil(n / count), *sample), dtype, 1)
    smaller = recorded(head, (n // count, *sample), dtype, 1) if n % count else larger
    if larger is None or smaller is None or not (whole.begins_as(larger) and whole.begins_as(smaller)):
        return None
    program = Recording(dtype)
    y = tail.lower(program, program.in_parts(program.input(shape), count, [larger, smaller]))
    return program if program.finish(y) else None


def _count(one: Recording | None, n: int) -> int | None:
    """How many parts n samples make; None for a single one. one: the program of one sample."""
    if one is None or len(one) < 2 or not one.only_kernels:
        return None
    n_threads = threads.get_num_threads()
    most = max(1, kernels.cache_bytes() // max(1, one.arena))
    count = max(ceil(n / most), n_threads)
    if count < 8 * n_threads:  # else some threads would have a part more than others
        count = ceil(count / n_threads) * n_threads
    idle = -(n % count) % n_threads  # samples that could be computed while other threads have one more
    if not 1 < count <= n or 10 * idle > n or one.constants > REREAD * one.written * (n // count):
        return None
    return count

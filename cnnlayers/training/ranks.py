"""The processes that train one net together: who computes what, and what they tell each other.

Every rank holds the whole net, optimiser and run, and all take the same steps. Of the S batches of a step each rank
computes its own; then all learn the sum of the gradients, by the tree of `tree`, and everything small that the others
met. What is done with that is done by every rank alike, so they stay the same to the bit.

The gradient is exchanged in two rounds, as one flat array that is cut into R slices: each rank sends the slices of its
parts of the tree to their owners, an owner adds up its slice as the tree says, and sends the sum to all. About
2 (R - 1) / R of the gradient goes out from each rank, and as much comes in, whatever R is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from ..distributed import end_all_on_error, exit_all
from .tree import EMPTY, Part, TreeSum, parts_of

__all__ = ["Ranks", "as_communicator"]

T = TypeVar("T")
SPREAD = 32767  # the tag of the second round; in the first it is a part's first place


def as_communicator(comm: Any) -> Any:
    """Give a communicator, or None; refuse what is neither."""
    if comm is not None and not all(hasattr(comm, name) for name in ("Get_rank", "allgather", "Isend")):
        raise TypeError(f"Solver: comm must be an mpi4py communicator, as cl.distributed.world(); got {comm!r}")
    return comm


class Ranks:
    """All processes of a communicator; without one, this process alone.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm, optional
    accumulate : int
        How many batches a step has; no fewer than there are ranks.

    Attributes
    ----------
    rank, size : int
        The number of this process, and how many there are.
    failed : bool
        Whether this rank is ending a training for an error of which the others may not know. What it told them now,
        they would take for something else.
    """

    def __init__(self, comm: Any = None, accumulate: int = 1):
        self.comm = as_communicator(comm)
        self.rank: int = 0 if comm is None else comm.Get_rank()
        self.size: int = 1 if comm is None else comm.Get_size()
        self.accumulate, self.failed = accumulate, False
        if self.size > 1:
            end_all_on_error(comm)
        if self.size > max(accumulate, 1):
            raise ValueError(
                f"Solver: {self.size} ranks need as many batches in a step, accumulate={self.size} or more; got "
                f"accumulate={accumulate}"
            )

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that prints and writes."""
        return self.rank == 0

    def share(self, n: int, rank: int | None = None) -> range:
        """Which of n things in a row a rank does, this one by default."""
        at = self.rank if rank is None else rank
        return range(n * at // self.size, n * (at + 1) // self.size)

    def places(self, n: int, rank: int | None = None) -> range:
        """Which batches of a step of n a rank has: if the step is shorter, as an epoch's last may be, what is left."""
        if self.size == 1:
            return range(n)
        share = self.share(self.accumulate, rank)
        return range(min(share.start, n), min(share.stop, n))

    def gather(self, thing: T) -> list[T]:
        """What each rank gives, in the order of the ranks; all must call it."""
        if self.size == 1:
            return [thing]
        if self.failed:
            raise RuntimeError("the other ranks are not told of what a rank does that has failed")
        return self.comm.allgather(thing)

    def heed_exit(self, error: BaseException | None) -> None:
        """End all ranks if this one is to exit."""
        if self.size > 1 and isinstance(error, SystemExit):
            exit_all(self.comm, error.code)

    def add_up(self, mine: Sequence[Part], exponents: Sequence[int], into: np.ndarray) -> int:
        """Write the sum over the whole tree to `into`, on every rank; give its exponent.

        Parameters
        ----------
        mine : sequence of Part
            The subtrees of this rank's share of the places.
        exponents : sequence of int
            Of each place of the tree.
        into : (P,) array
        """
        places = len(exponents)
        if self.size == 1:
            return self._write(mine, places, into)
        slices = [slice(r.start, r.stop) for r in (self.share(len(into), rank) for rank in range(self.size))]
        own = slices[self.rank]
        parts: list[Part] = []
        requests = []
        for rank in range(self.size):
            share = self.places(places, rank)
            for number, (first, stop) in enumerate(parts_of(share.start, share.stop, places)):
                exponent = max(exponents[first:stop])
                if rank == self.rank:
                    part = mine[number]
                    parts.append(part if part.sum is None else part._replace(sum=part.sum[own]))
                    requests += self._send(part, slices)
                elif exponent == EMPTY:
                    parts.append(Part(first, stop))
                else:
                    parts.append(Part(first, stop, exponent, np.empty(own.stop - own.start, into.dtype)))
                    requests.append(self.comm.Irecv(parts[-1].sum, source=rank, tag=first))
        for request in requests:
            request.Wait()
        exponent = self._write(parts, places, into[own])
        self._spread(into, slices)
        return exponent

    def _send(self, part: Part, slices: Sequence[slice]) -> list[Any]:
        """Send the slices of a part to their owners."""
        if part.sum is None:
            return []
        others = [rank for rank in range(self.size) if rank != self.rank]
        return [self.comm.Isend(part.sum[slices[rank]], dest=rank, tag=part.first) for rank in others]

    def _spread(self, into: np.ndarray, slices: Sequence[slice]) -> None:
        """Have every slice come from its owner."""
        others = [rank for rank in range(self.size) if rank != self.rank]
        requests = [self.comm.Irecv(into[slices[rank]], source=rank, tag=SPREAD) for rank in others]
        requests += [self.comm.Isend(into[slices[self.rank]], dest=rank, tag=SPREAD) for rank in others]
        for request in requests:
            request.Wait()

    @staticmethod
    def _write(parts: Sequence[Part], places: int, into: np.ndarray) -> int:
        tree = TreeSum(places)
        for part in parts:
            tree.add(part)
        (whole,) = tree.parts
        into[...] = 0 if whole.sum is None else whole.sum
        return whole.exponent

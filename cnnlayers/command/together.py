"""The command on several ranks, as `mpiexec` starts it: rank 0 alone speaks and writes, and all end together."""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from .. import threads
from ..distributed import abort, launched, ranks_on_these_cpus, started_by_mpiexec, world
from .stderr import complain

__all__ = ["ElsewhereError", "Together", "as_started"]

T = TypeVar("T")
LOOK = 0.005  # seconds from one look at what the others do to the next, while a rank waits
LIMIT = 2.0  # seconds that a rank which fails waits for the others to fail as well, before it ends them


class ElsewhereError(Exception):
    """Another rank has failed, and tells it; `code` is the exit code."""

    def __init__(self, code: int):
        super().__init__("another rank has failed")
        self.code = code


class Together:
    """All processes that do one command; without a communicator this one alone.

    What ranks wait for may take long (a download, a page with pictures), so they wait asleep: MPI itself keeps a
    processor busy, and hears no Ctrl-C.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm, optional

    Attributes
    ----------
    rank, size : int
    """

    def __init__(self, comm: Any = None):
        self.comm = comm
        self.rank: int = launched()[0] if comm is None else comm.Get_rank()
        self.size: int = 1 if comm is None else comm.Get_size()
        self._talk: Any = None if comm is None else comm.Dup()  # apart from what the training sends
        self._ending: Any = None if comm is None else comm.Dup()  # and apart from what goes on while a rank ends

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that speaks and writes."""
        return self.rank == 0

    def silent(self) -> contextlib.AbstractContextManager[None]:
        """Within it, nothing is heard of a rank that is not the first."""
        return contextlib.nullcontext() if self.is_first else _silent()

    def first(self, act: Callable[[], T]) -> T:
        """Have rank 0 do something, and give what comes of it on every rank; if it fails, all fail."""
        if self._talk is None:
            return act()
        if not self.is_first:
            self._wait(lambda: self._talk.iprobe(source=0))
            failed, result = self._talk.recv(source=0)
            if failed:
                raise ElsewhereError(result)
            return result
        try:
            said = (False, act())
        except BaseException as error:
            self._tell_others((True, 130 if isinstance(error, KeyboardInterrupt) else 1))
            raise
        self._tell_others(said)
        return said[1]

    def all(self, act: Callable[[], T]) -> T:
        """Do something on every rank; if it fails on one, all fail."""
        if self._talk is None:
            return act()
        error: Exception | None = None
        try:
            result = act()
        except Exception as failure:
            error = failure
        self._wait(self._talk.Ibarrier().Test)
        failed = any(self._talk.allgather(error is not None))
        if error is not None:
            raise error
        if failed:
            raise ElsewhereError(1)
        return result

    def first_then_all(self, act: Callable[[], T]) -> T:
        """Do something on rank 0 and then on the others, which find there what it leaves, as files in a cache."""
        mine: list[T] = []
        self.first(lambda: mine.append(act()))
        return self.all(lambda: mine[0] if mine else act())

    def end(self, code: int, error: BaseException | None = None) -> int:
        """End this rank, which has failed, and with it all others: its exit code.

        If all have failed, the first that has an error of its own tells it. Else the others are ended, at once.
        """
        if self._talk is None:
            if error is not None and self.is_first:
                complain(error)
            return code if self.is_first else 0  # an MPI may end all when one fails, and the first has to tell why
        where = f"rank {self.rank} of {self.size}: "
        own = error is not None and not isinstance(error, ElsewhereError)
        try:
            self._wait(self._ending.Ibarrier().Test, LIMIT * (1 + 0.1 * min(self.rank, 10)))
        except (TimeoutError, KeyboardInterrupt):
            if error is not None and own:
                complain(error, where)
            abort(self.comm, code)
        tellers = [rank for rank, has_one in enumerate(self._ending.allgather(own)) if has_one]
        if error is not None and tellers[:1] == [self.rank]:
            complain(error, "" if self.is_first else where)
        return code

    def _tell_others(self, what: Any) -> None:
        for rank in range(1, self.size):
            self._talk.send(what, dest=rank)

    @staticmethod
    def _wait(ready: Callable[[], bool], limit: float = float("inf")) -> None:
        end = time.monotonic() + limit
        while not ready():
            if time.monotonic() > end:
                raise TimeoutError
            time.sleep(LOOK)


def as_started() -> Together:
    """Give all processes that mpiexec started; each takes its share of the processors, unless that is said.

    Raises
    ------
    ImportError
        If mpi4py, or the MPI library that goes with mpiexec, is not there.
    """
    if not started_by_mpiexec():
        return Together()
    together = Together(world())
    if not any(os.environ.get(name) for name in ("CNNLAYERS_NUM_THREADS", "OMP_NUM_THREADS")):
        threads.set_num_threads(max(1, threads.get_num_threads() // ranks_on_these_cpus(together.comm)))
    return together


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield

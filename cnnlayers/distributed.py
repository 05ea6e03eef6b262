"""Training on several processes, of one machine or of many, which talk by MPI (the library mpi4py).

    mpiexec -n 4 python -m mpi4py script.py

runs a script four times, and in each `cl.Solver(..., accumulate=8, comm=cl.distributed.world())` does its part of the
work. docs/scaling.md tells how.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import traceback
from types import TracebackType
from typing import Any

__all__ = ["world"]

VARIABLES = ("PMI_SIZE", "PMIX_RANK", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS")  # which mpiexec sets, of some MPI
FIRST, NEXT, READ = (
    0.5,
    0.02,
    0.05,
)  # seconds: what rank 0 has to tell an error, each other rank; and mpiexec to read it


def world() -> Any:
    """Give the communicator of all processes that `mpiexec` started: for `Solver(comm=)`.

    From then on an error that nobody catches ends all of them, at once: on one rank alone the others would wait for it.

    Returns
    -------
    comm : mpi4py.MPI.Intracomm

    Raises
    ------
    ImportError
        If mpi4py, or an MPI library, is not there.
    """
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py is there, and no MPI library
        raise ImportError(
            f"training on several processes needs mpi4py and an MPI library: pip install 'cnnlayers[mpi]' ({error})"
        ) from error
    end_all_on_error(MPI.COMM_WORLD)
    return MPI.COMM_WORLD


def started_by_mpiexec() -> bool:
    """Whether this process is one of several of an MPI run, as the environment says."""
    return any(name in os.environ for name in VARIABLES)


def end_all_on_error(comm: Any) -> None:
    """Have an error that nobody catches end all ranks, and one rank tell it: the first that can."""
    if comm.Get_size() == 1 or sys.excepthook is not sys.__excepthook__:  # it is there already, or another one is
        return

    def tell(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
        if comm.Get_rank() > 0:  # an error of all ranks is told by the first of them
            time.sleep(FIRST + NEXT * min(comm.Get_rank(), 50))
        lines = traceback.format_exception(kind, error, where)
        sys.stderr.write("".join(lines[:-1]) + f"rank {comm.Get_rank()} of {comm.Get_size()}: {lines[-1]}")
        sys.stderr.flush()
        with contextlib.suppress(OSError):  # what MPI says of it would come last
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        time.sleep(READ)
        comm.Abort(1)

    sys.excepthook = tell
    threading.excepthook = lambda args: tell(args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback)

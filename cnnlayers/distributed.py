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
import warnings
from types import TracebackType
from typing import Any

from .terminal import settle

__all__ = ["world"]

# What mpiexec sets in the environment: MPICH and those like it PMI, Open MPI and Slurm PMIx, which has no size.
RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK")
SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")
FIRST, NEXT = 0.5, 0.02  # seconds that rank 0 has to tell an error, and each other rank
READ = 0.05  # seconds that mpiexec has to read it


def world() -> Any:
    """Give the communicator of all processes that `mpiexec` started: for `Solver(comm=)`.

    From then on an error that nobody catches ends all of them, at once: on one rank alone the others would wait for it.

    Returns
    -------
    comm : mpi4py.MPI.Intracomm

    Raises
    ------
    ImportError
        If mpi4py, or an MPI library, is not there, or the library does not know of the processes that mpiexec started.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "suspicious MPI", RuntimeWarning)  # it is looked into below
            from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py is there, and no MPI library
        raise ImportError(
            f"training on several processes needs mpi4py and an MPI library: pip install 'cnnlayers[mpi]' ({error})"
        ) from error
    _, started = launched()
    if MPI.COMM_WORLD.Get_size() == 1 and started is not None and started > 1:
        raise ImportError(
            f"mpiexec started {started} processes, but the MPI library that mpi4py uses sees one; it is "
            f"{_brief(MPI.Get_library_version())}, and mpiexec must be that of the same MPI: try the one "
            f"beside Python, in {os.path.dirname(sys.executable)}"
        )
    end_all_on_error(MPI.COMM_WORLD)
    return MPI.COMM_WORLD


def launched() -> tuple[int, int | None]:
    """Give the rank of this process, and how many mpiexec started, as it says in the environment.

    0 and 1 of a process that it has not started; None where it does not say how many. Nothing of MPI is imported.
    """
    rank, size = (next((os.environ[name] for name in names if name in os.environ), "") for names in (RANKS, SIZES))
    if not rank.isdigit():
        return 0, 1
    return int(rank), int(size) if size.isdigit() else None


def started_by_mpiexec() -> bool:
    """Whether this process is one of several of an MPI run, as the environment says."""
    return launched()[1] != 1


def ranks_on_these_cpus(comm: Any) -> int:
    """How many ranks, this one too, may run on the processors of this one: all of a machine, if none is bound."""
    from mpi4py import MPI

    machine = comm.Split_type(MPI.COMM_TYPE_SHARED)
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    count = machine.allgather(cpus).count(cpus)
    machine.Free()
    return count


def library() -> str:
    """Say which MPI there is. A process of its own asks the library, since MPI must not be initialised for that."""
    import subprocess  # here, since few need it

    try:
        import mpi4py
    except ImportError:
        return "not installed"
    ask = "mpi4py.rc.initialize = False; from mpi4py import MPI; print(MPI.Get_library_version())"
    command = [sys.executable, "-c", f"import mpi4py; {ask}"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        told = ""
    return f"{_brief(told) or 'no library that can be loaded'}, mpi4py {mpi4py.__version__}"


def _brief(told: str) -> str:
    """The name and the version, of all that an MPI library tells of itself."""
    return " ".join(told.partition("\n")[0].partition(",")[0].replace("Version:", "").split())


def abort(comm: Any, code: int) -> None:
    """End all ranks at once, when mpiexec has read what this one has printed."""
    settle(sys.stdout)
    settle(sys.stderr)
    with contextlib.suppress(OSError):  # what MPI says of it would come last
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    time.sleep(READ)
    comm.Abort(code)


def end_all_on_error(comm: Any) -> None:
    """Have an error that nobody catches end all ranks, and one rank tell it: the first that can."""
    if comm.Get_size() == 1 or sys.excepthook is not sys.__excepthook__:  # it is there already, or another one is
        return

    def tell(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
        _await_turn(comm)
        lines, itself = traceback.format_exception(kind, error, where), traceback.format_exception_only(error)
        lines[-len(itself)] = f"rank {comm.Get_rank()} of {comm.Get_size()}: {lines[-len(itself)]}"  # its notes follow
        sys.stderr.write("".join(lines))
        abort(comm, 1)

    sys.excepthook = tell
    threading.excepthook = lambda args: tell(args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback)


def exit_all(comm: Any, code: Any) -> None:
    """End all ranks as sys.exit(code) ends one process; one of them that leaves alone, the others would wait for."""
    _await_turn(comm)
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    abort(comm, code or 0)


def _await_turn(comm: Any) -> None:
    """What ends all ranks alike, the first of them tells."""
    if comm.Get_rank() > 0:
        time.sleep(FIRST + NEXT * min(comm.Get_rank(), 50))

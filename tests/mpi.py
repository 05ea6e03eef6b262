"""Processes that MPI starts, for tests; with a time limit, since ranks may wait for each other for ever."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIMIT = 100  # seconds


def mpiexec():
    """The program of the MPI library that mpi4py came with."""
    beside = Path(sys.executable).parent / "mpiexec"
    return str(beside) if beside.exists() else shutil.which("mpiexec")


def on_ranks(size, *command, **variables):
    """Run Python with these arguments on `size` ranks."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CNNLAYERS_DATA")}
    environment |= {"PYTHONPATH": str(ROOT), "CNNLAYERS_NUM_THREADS": "1"} | variables
    return subprocess.run(
        [mpiexec(), "-n", str(size), sys.executable, *map(str, command)],
        capture_output=True, text=True, timeout=LIMIT, env=environment, cwd=ROOT, check=False,
    )  # fmt: skip

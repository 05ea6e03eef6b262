"""Processes that MPI starts, for tests; with a time limit, since ranks may wait for each other for ever."""

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.environment import ROOT_AND_CROWD, mpiexec

ROOT = Path(__file__).parents[1]
LIMIT = 100  # seconds


def on_ranks(size, *command, cwd=ROOT, **variables):
    """Run Python with these arguments on `size` ranks."""
    command, about = _started(size, command, cwd, variables)
    return subprocess.run(command, capture_output=True, timeout=LIMIT, check=False, **about)


def begun_on_ranks(size, *command, cwd=ROOT, **variables):
    """Begin it, and give the process of mpiexec."""
    command, about = _started(size, command, cwd, variables)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **about)


def _started(size, command, cwd, variables):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CNNLAYERS_DATA")}
    environment |= ROOT_AND_CROWD | {"PYTHONPATH": str(ROOT), "CNNLAYERS_NUM_THREADS": "1"} | variables
    command = [str(mpiexec()), "-n", str(size), sys.executable, *map(str, command)]
    return command, {"text": True, "env": environment, "cwd": cwd}

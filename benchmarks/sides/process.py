"""What only a process of its own can show: its peak memory, and the time of an import."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import cnnlayers as cl

from ..cases import Unavailable
from ..environment import THREAD_VARIABLES

ROOT = Path(__file__).parents[2]
SOURCES = (".pyx", ".pxi", ".c", ".h", ".def")  # in a checkout; not in what is installed

IMPORT = """
import time, numpy
start = time.perf_counter()
import {name}
print(time.perf_counter() - start)
"""


class PeakMemory:
    """A process that trains a net for some steps."""

    def __init__(self, problem: tuple[str, int, int], side: str) -> None:
        find(side.split(":")[0])
        self.arguments = ["-m", "benchmarks.peak_memory", side, *map(str, problem)]

    def peak(self) -> float:
        return output(self.arguments)


class Package:
    """A package to import and to weigh."""

    def __init__(self, problem: None, name: str) -> None:
        self.name = name
        self.folder = find(name)

    def import_time(self) -> float:
        """Seconds beyond NumPy's own import."""
        return output(["-c", IMPORT.format(name=self.name)])

    def size(self) -> float:
        """Megabytes of the package's folder, without what Python caches there."""
        files = (file for file in self.folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
        sources = SOURCES if self.name == "cnnlayers" else ()
        return sum(file.stat().st_size for file in files if file.suffix not in sources) / 1e6


def find(package: str) -> Path:
    """Give the folder of a package, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise Unavailable(f"{package} is not installed")
    return Path(spec.origin).parent


def output(arguments: list[str]) -> float:
    """Give the number that a Python process prints; it has as many threads as this one."""
    environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(cl.get_num_threads()))}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return float(done.stdout)

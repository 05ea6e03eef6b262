"""The machine's limits, measured in the same run: what `peak.c` reaches on as many threads as the benchmark has."""

import ctypes
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from cnnlayers import _kernels

SOURCE = Path(__file__).with_name("peak.c")
FLAGS = ["-O3", "-ffp-contract=fast", "-shared", "-fPIC"]
LEVELS = {
    "avx512": ["-mavx512f", "-mfma"],
    "avx2": ["-mavx2", "-mfma"],
    "baseline": [],
}  # as the kernels that are timed
C_TYPES = {"float32": ("float", np.float32), "float64": ("double", np.float64)}
TURNS = 1_000_000  # about 0.01 seconds
NUMBERS = 1 << 24  # 64 MB in each array: more than caches hold


class Machine:
    """The limits of this machine on so many threads: what was best so far.

    Attributes
    ----------
    limits : dict or None
        GFLOP/s by the name of a dtype, GB/s as "memory"; None where no compiler is found.
    """

    def __init__(self, threads: int, quick: bool = False) -> None:
        self.threads = threads
        self.scale = 1000 if quick else 1
        self.limits: dict[str, float] | None = None
        with tempfile.TemporaryDirectory() as folder:
            self.library = build(Path(folder, "peak.so"))
        if self.library is not None:
            self.limits = dict.fromkeys([*C_TYPES, "memory"], 0.0)
            self.measure(repeats=20)

    def measure(self, repeats: int = 3) -> None:
        """Measure again: a processor's clock is not the same all the time."""
        if self.library is None or self.limits is None:
            return
        for dtype in C_TYPES:
            found = multiply_adds(self.library, dtype, self.threads, TURNS // self.scale, repeats)
            self.limits[dtype] = max(self.limits[dtype], found)
        found = bandwidth(self.library, self.threads, NUMBERS // self.scale, repeats)
        self.limits["memory"] = max(self.limits["memory"], found)


def build(target: Path) -> ctypes.CDLL | None:
    """Compile for the instruction set that the kernels use, with the system's compiler."""
    compiler = next(filter(None, map(shutil.which, [os.environ.get("CC", "cc"), "gcc", "clang"])), None)
    if compiler is None:
        return None
    done = subprocess.run(
        [compiler, *FLAGS, *LEVELS[_kernels.level()], str(SOURCE), "-o", str(target)], capture_output=True
    )
    return ctypes.CDLL(str(target)) if done.returncode == 0 else None


def multiply_adds(library: ctypes.CDLL, dtype: str, threads: int, turns: int, repeats: int) -> float:
    """Give GFLOP/s of all threads together."""
    name, numpy_type = C_TYPES[dtype]
    function = getattr(library, f"fma_{name}")
    function.argtypes, function.restype = [ctypes.c_long, ctypes.c_void_p], ctypes.c_double
    operands = [np.array([0.5, 1.0, 0.0], numpy_type) for _ in range(threads)]
    return rate([partial(function, turns, out.ctypes.data) for out in operands], repeats) / 1e9


def bandwidth(library: ctypes.CDLL, threads: int, numbers: int, repeats: int) -> float:
    """Give GB/s of all threads together: a triad reads two numbers and writes one."""
    function = library.triad
    function.argtypes = [ctypes.c_long, ctypes.c_float, ctypes.c_void_p, ctypes.c_void_p]
    function.restype = None
    share = numbers // threads
    arrays = [np.ones((2, share), np.float32) for _ in range(threads)]

    def task(x: np.ndarray, y: np.ndarray) -> float:
        function(share, 0.5, x.ctypes.data, y.ctypes.data)
        return 3.0 * x.nbytes

    return rate([partial(task, x, y) for x, y in arrays], repeats) / 1e9


def rate(tasks: list[Callable[[], float]], repeats: int) -> float:
    """Run the tasks at the same time (ctypes releases the GIL), repeatedly; give what they did per second at best."""
    best = 0.0
    with ThreadPoolExecutor(len(tasks)) as pool:
        for _ in range(repeats):
            start = time.perf_counter()
            done = sum(future.result() for future in [pool.submit(task) for task in tasks])
            best = max(best, done / (time.perf_counter() - start))
    return best

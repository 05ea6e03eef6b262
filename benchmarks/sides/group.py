"""Processes that are measured together: ranks of MPI, one process alone, and those of PyTorch."""

import contextlib
import json
import math
import os
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from ..cases import Unavailable
from ..environment import ROOT_AND_CROWD, THREAD_VARIABLES, missing, mpiexec
from ..runner import CALLS, MOST, SPAN, WARM_UPS

ROOT = Path(__file__).parents[2]
START = 120  # seconds that processes may take to begin,
ANSWER = 600  # to answer,
LAST_WORDS = 5  # and to say what went wrong


class Group:
    """Processes of `benchmarks.worker`, which live as long as this object; between turns they wait without computing.

    An operation is a turn: untimed calls, then timed ones, as `runner.repeat` makes them. Each process takes the time
    of its own calls, from a barrier on; of each call that of the slowest counts.
    """

    side = ""

    def __init__(self, problem: Any, side: str = "") -> None:
        self.problem, self.side = problem, side or self.side
        self.calls = CALLS
        self.folder = tempfile.TemporaryDirectory()
        self.log = Path(self.folder.name, "log")
        self.processes: list[subprocess.Popen] = []
        self.lines: list[Any] = []
        self.close = weakref.finalize(self, close, self.lines, self.processes, self.folder)
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Start the processes, and wait until all have come."""
        with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
            server.settimeout(0.2)
            port = server.getsockname()[1]
            for launcher, rank in self.launches():
                command = [*launcher, sys.executable, "-m", "benchmarks.worker", str(port), self.side, str(rank)]
                command += [json.dumps(self.problem), self.folder.name]
                with self.log.open("ab") as log:
                    process = subprocess.Popen(
                        command, cwd=ROOT, env=self.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
                    )
                self.processes.append(process)
            end = time.monotonic() + START
            while len(self.lines) < self.count():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    if time.monotonic() > end or any(process.poll() is not None for process in self.processes):
                        raise self.failed() from None
                    continue
                connection.settimeout(ANSWER)
                self.lines.append(connection.makefile("rw"))
                connection.close()  # the file keeps it open
        for lines in self.lines:
            lines.readline()

    def launches(self) -> list[tuple[list[str], int]]:
        """Give what each command begins with, and the rank it is for."""
        return [([], rank) for rank in range(self.count())]

    def count(self) -> int:
        return self.problem.ranks

    def threads(self) -> int:
        return 1

    def environment(self) -> dict[str, str]:
        return {**os.environ, **ROOT_AND_CROWD, **dict.fromkeys(THREAD_VARIABLES, str(self.threads()))}

    def ask(self, command: str) -> list[Any]:
        """Tell all the same, and give what each answers."""
        try:
            for lines in self.lines:
                print(command, file=lines, flush=True)
            answers = [lines.readline() for lines in self.lines]
        except OSError:
            raise self.failed() from None
        if not all(answers):
            raise self.failed()
        return [json.loads(answer) for answer in answers]

    def failed(self) -> RuntimeError:
        """End the processes and give an error with what they wrote, which the one that failed may still be doing."""
        end = time.monotonic() + LAST_WORDS
        while all(process.poll() is None for process in self.processes) and time.monotonic() < end:
            time.sleep(0.02)
        for process in self.processes:
            process.kill()
        told = self.log.read_text(encoding="utf-8", errors="replace")
        return RuntimeError(f"processes of the side {self.side!r} ended, or did not answer:\n{told}")

    def turn(self, operation: str) -> list[float]:
        """Give the seconds of the timed calls of a turn."""
        seconds = np.max(self.ask(f"turn {operation} {max(WARM_UPS, self.calls - 1)} {self.calls}"), axis=0).tolist()
        self.calls = min(MOST, max(CALLS, math.ceil(SPAN / min(seconds))))
        return seconds

    def step(self) -> list[float]:
        return self.turn("step")

    def exchange(self) -> list[float]:
        return self.turn("exchange")

    def gather(self) -> list[float]:
        return self.turn("gather")

    def message(self) -> list[float]:
        return self.turn("message")

    def arrays(self, operation: str, result: Any) -> list[np.ndarray]:
        """What the first call gave."""
        path = Path(self.folder.name, "first.npz")
        self.ask(f"arrays {operation} {path}")
        with np.load(path) as file:
            return list(file.values())


class Ranks(Group):
    """This library on several ranks, of one thread each."""

    side = "ranks"

    def __init__(self, problem: Any) -> None:
        if absent := missing("mpi"):
            raise Unavailable(f"not installed: {', '.join(absent)}")
        super().__init__(problem)

    def launches(self) -> list[tuple[list[str], int]]:
        return [([str(mpiexec()), "-n", str(self.problem.ranks)], -1)]


class OneProcess(Group):
    """This library without MPI, on as many threads as there are ranks."""

    side = "one process"

    def count(self) -> int:
        return 1

    def threads(self) -> int:
        return self.problem.ranks


class Torch(Group):
    """PyTorch on several processes of one thread each."""

    def __init__(self, problem: Any, side: str) -> None:
        if absent := missing("torch"):
            raise Unavailable(f"not installed: {', '.join(absent)}")
        super().__init__(problem, side)


def close(lines: list[Any], processes: list[subprocess.Popen], folder: tempfile.TemporaryDirectory) -> None:
    """End the processes: they do when their connection does."""
    for one in lines:
        with contextlib.suppress(OSError):  # it was broken
            one.close()
    for process in processes:
        try:
            process.wait(10 if lines else 0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    folder.cleanup()

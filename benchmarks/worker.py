"""python -m benchmarks.worker PORT SIDE RANK PROBLEM FOLDER: one of several processes that are measured together.

`sides/group.py` starts it. It connects to the port, does what it is told there, a line each, and answers with a line;
it ends when nobody is there any more.

    turn OPERATION UNTIMED TIMED      call it so many times, each after a barrier: the seconds of the timed calls
    arrays OPERATION FILE             write what its first call gave, of rank 0 alone
"""

import json
import socket
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from .sides import ranked
from .suites.ranks import Problem


def main(port: str, side: str, rank: str, problem: str, folder: str) -> None:
    worker = Worker(ranked.make(side, int(rank), Problem(*json.loads(problem)), Path(folder)))
    with socket.create_connection(("127.0.0.1", int(port))) as connection, connection.makefile("rw") as lines:
        print(worker.side.rank, file=lines, flush=True)
        for line in lines:
            command, *arguments = line.split()
            print(json.dumps(getattr(worker, command)(*arguments)), file=lines, flush=True)
    worker.side.end()


class Worker:
    """Calls a side, and keeps what each operation gave first, for the comparison with the other sides."""

    def __init__(self, side: Any) -> None:
        self.side = side
        self.first: dict[str, list[np.ndarray]] = {}

    def turn(self, operation: str, untimed: str, timed: str) -> list[float]:
        seconds = []
        run = getattr(self.side, operation)
        for _ in range(int(untimed) + int(timed)):
            self.side.barrier()
            start = time.perf_counter()
            result = run()
            seconds.append(time.perf_counter() - start)
            if operation not in self.first:
                self.first[operation] = [np.array(a) for a in self.side.arrays(operation, result)]
        return seconds[int(untimed) :]

    def arrays(self, operation: str, path: str) -> None:
        if self.side.rank == 0:
            np.savez(path, *self.first[operation])


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Ranks that are threads of one process: as much of an mpi4py communicator as `Ranks` needs, for tests of its sums."""

import queue
import sys
import threading
from collections import defaultdict


class Request:
    def __init__(self, wait=lambda: None):
        self.Wait = wait


class Comm:
    """What one rank sees; `boxes` and `barrier` are those of all."""

    def __init__(self, rank, size, boxes, everyone, barrier):
        self.rank, self.size, self.boxes, self.everyone, self.barrier = rank, size, boxes, everyone, barrier

    def Get_rank(self):
        return self.rank

    def Get_size(self):
        return self.size

    def allgather(self, thing):
        self.everyone[self.rank] = thing
        self.barrier.wait(60)
        gathered = list(self.everyone)
        self.barrier.wait(60)
        return gathered

    def Isend(self, array, dest, tag):
        self.boxes[self.rank, dest, tag].put(array.copy())
        return Request()

    def Irecv(self, array, source, tag):
        def wait():
            array[...] = self.boxes[source, self.rank, tag].get(timeout=60)

        return Request(wait)


def in_threads(size, act):
    """Give act(comm) of each rank."""
    boxes, everyone, barrier = defaultdict(queue.Queue), [None] * size, threading.Barrier(size)
    for source in range(size):
        for dest in range(size):
            for tag in (*range(32), 32767):
                boxes[source, dest, tag]  # made before any thread asks for it
    results = [None] * size

    def run(rank):
        try:
            results[rank] = act(Comm(rank, size, boxes, everyone, barrier))
        except BaseException as error:
            barrier.abort()
            results[rank] = error

    hooks = sys.excepthook, threading.excepthook  # which Ranks sets, for processes
    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.excepthook, threading.excepthook = hooks
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results

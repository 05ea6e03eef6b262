"""What one of several processes computes: its part of a training step, of an exchange, of a message."""

import os
import sys
from functools import partial
from pathlib import Path

import numpy as np

import cnnlayers as cl
from cnnlayers.training.ranks import Ranks
from cnnlayers.training.step import Met, Step
from cnnlayers.training.tree import Part, TreeSum, mantissa_and_exponent

from .torch_conv import load, tensor
from .torch_translation import translate


def make(side: str, rank: int, problem, folder: Path):
    """Make a side in its process, for a problem of `suites/ranks.py`; of MPI's processes MPI knows the rank."""
    return SIDES[side](problem=problem, rank=rank, folder=folder)


def gradient(net, place: int) -> np.ndarray:
    """Give numbers for the gradient of a place."""
    return np.random.default_rng(place).standard_normal(net.flat_params.size, net.dtype.type)


def told(rank: int, places: range, batch: int) -> list[Met]:
    """What a rank tells the others of its batches, as a training step does."""
    scores, y = np.zeros((batch, 10), np.float32), np.zeros(batch, np.int64)
    return [Met(place, float(place), float(batch), scores, (y,)) for place in places]


class Ours:
    """The step of `Solver`, and its exchange."""

    def __init__(self, problem, rank: int, folder: Path, comm=None) -> None:
        self.comm, self.ranks = comm, Ranks(comm, problem.places)
        self.rank = self.ranks.rank
        made, mine = problem.made(), self.ranks.places(problem.places)
        self.net = made.net
        parts = zip(np.split(made.x, problem.places), np.split(made.y, problem.places), strict=True)
        self.batches = [batch if place in mine else () for place, batch in enumerate(parts)]
        optimizer = cl.SGD(lr=made.lr, momentum=made.momentum)
        self.taker = Step(made.net, cl.SoftmaxLoss(), optimizer, ranks=self.ranks)
        self.told = told(self.rank, mine, problem.batch)
        weight, exponent = mantissa_and_exponent(problem.batch)
        tree = TreeSum(problem.places)
        for place in mine:
            tree.add(Part(place, place + 1, exponent, gradient(made.net, place) * made.net.dtype.type(weight)))
        self.parts, self.exponents = tree.parts, [exponent] * problem.places
        self.sum, self.word = np.zeros_like(made.net.flat_params), np.zeros(1)
        self.scale = 2.0**exponent / (problem.places * problem.batch)

    def barrier(self):
        if self.comm is not None:
            self.comm.Barrier()

    def end(self):
        pass

    def step(self):
        return self.taker.take(self.batches)

    def exchange(self):
        """Both exchanges of a step: what each batch met, and the sum of the gradients."""
        self.ranks.gather(self.told)
        self.ranks.add_up(self.parts, self.exponents, self.sum)

    def gather(self):
        return [met.loss for theirs in self.ranks.gather(self.told) for met in theirs]

    def message(self):
        """A number from rank 0 to rank 1, and back."""
        for source in (0, 1):
            if self.rank == source:
                self.comm.Isend(self.word, dest=1 - source).Wait()
            elif self.rank == 1 - source:
                self.comm.Irecv(self.word, source=source).Wait()

    def arrays(self, operation, result):
        if operation == "step":
            return list(self.net.params.values())
        return [self.sum * self.scale] if operation == "exchange" else [result or 0]


def on_ranks(**arguments):
    return Ours(comm=cl.distributed.world(), **arguments)


class Torch:
    """DistributedDataParallel over gloo: the ranks meet after the last of their batches (`no_sync` before)."""

    def __init__(self, problem, rank: int, folder: Path, channels_last=False) -> None:
        if sys.platform == "linux":
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # it would look for the machine's name in the network
        self.torch = torch = load()
        import torch.distributed as dist

        dist.init_process_group("gloo", f"file://{folder / 'meeting'}", rank=rank, world_size=problem.ranks)
        self.dist, self.rank = dist, rank
        made = problem.made()
        self.twin = made.net
        layout = torch.channels_last if channels_last else torch.contiguous_format
        net = translate(made.net).to(memory_format=layout)
        self.net = torch.nn.parallel.DistributedDataParallel(net, gradient_as_bucket_view=True)
        self.optimizer = torch.optim.SGD(self.net.parameters(), made.lr, made.momentum, fused=True)
        mine = range(problem.places * rank // problem.ranks, problem.places * (rank + 1) // problem.ranks)
        self.x = [tensor(np.split(made.x, problem.places)[place], channels_last) for place in mine]
        self.y = [torch.from_numpy(np.split(made.y, problem.places)[place]) for place in mine]
        self.told, self.word = told(rank, mine, problem.batch), torch.zeros(1)
        self.mean = torch.from_numpy(np.sum([gradient(made.net, place) for place in mine], axis=0) / problem.places)
        self.sum = torch.empty_like(self.mean)

    def barrier(self):
        self.dist.barrier()

    def end(self):
        os._exit(0)  # an orderly end takes seconds

    def step(self):
        self.optimizer.zero_grad(set_to_none=True)
        with self.net.no_sync():
            for x, y in zip(self.x[:-1], self.y[:-1], strict=True):
                self.backward(x, y)
        self.backward(self.x[-1], self.y[-1])
        self.optimizer.step()

    def backward(self, x, y):
        """Add this batch's part of the mean over the process's own batches; the mean over processes is DDP's."""
        (self.torch.nn.functional.cross_entropy(self.net(x), y) / len(self.x)).backward()

    def exchange(self):
        """The sum of the gradients, in one piece; DDP has nothing else to tell."""
        self.sum.copy_(self.mean)
        self.dist.all_reduce(self.sum)

    def gather(self):
        everyone = [None] * self.dist.get_world_size()
        self.dist.all_gather_object(everyone, self.told)
        return [met.loss for theirs in everyone for met in theirs]

    def message(self):
        for source in (0, 1):
            if self.rank == source:
                self.dist.send(self.word, 1 - source)
            elif self.rank == 1 - source:
                self.dist.recv(self.word, source)

    def arrays(self, operation, result):
        if operation == "step":
            cl.from_torch(self.twin, self.net.module.state_dict())
            return list(self.twin.params.values())
        return [self.sum.numpy()] if operation == "exchange" else [result or 0]


SIDES = {
    "ranks": on_ranks,
    "one process": Ours,
    "torch:nchw": Torch,
    "torch:channels_last": partial(Torch, channels_last=True),
}

"""The page about several processes: its script, its numbers of messages and bytes, its picture."""

import json
import re
from pathlib import Path

import pytest

from benchmarks import environment
from cnnlayers.training.tree import parts_of
from tests import mpi

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")

COUNT = """
import json
import pickle

import numpy as np

import cnnlayers as cl

class Counting:
    '''A communicator that counts what goes out.'''

    def __init__(self, comm):
        self.comm, self.messages, self.bytes, self.gathered = comm, 0, 0, []

    def __getattr__(self, name):
        return getattr(self.comm, name)

    def Isend(self, array, dest, tag=0):
        self.messages, self.bytes = self.messages + 1, self.bytes + array.nbytes
        return self.comm.Isend(array, dest=dest, tag=tag)

    def allgather(self, thing):
        self.gathered.append(len(pickle.dumps(thing)))
        return self.comm.allgather(thing)

comm = Counting(cl.distributed.world())
rng = np.random.default_rng(0)
x, y = rng.random((32, 8, 8, 1), np.float32), rng.integers(10, size=32)
net = cl.models.digits_resnet(rng=0)
solver = cl.Solver(net, (x, y), loss=cl.SoftmaxLoss(), optimizer=cl.SGD(lr=0.05), batch_size=4, accumulate=8,
                   epochs=1, comm=comm, progress=False)
solver.train()
norms = [layer.params["gamma"].size for _, layer in net.walk() if isinstance(layer, cl.BatchNorm)]
everyone = comm.comm.allgather((comm.messages, comm.bytes, comm.gathered))
if solver.ranks.is_first:
    print(json.dumps([net.flat_params.nbytes, norms, everyone]))
"""


def on_ranks(size, script):
    """What rank 0 prints."""
    if absent := environment.missing("mpi"):
        pytest.skip(f"needs {' and '.join(absent)}: {environment.MPI.install}")
    done = mpi.on_ranks(size, "-m", "mpi4py", script)
    done.check_returncode()
    return done.stdout


def test_the_script_prints_the_same_for_any_number_of_ranks(tmp_path):
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "bits.py").write_text(program)
    (line,) = {on_ranks(size, tmp_path / "bits.py") for size in (1, 2, 3, 4)}
    assert re.fullmatch(r"[0-9a-f]{64}\n", line)


def test_messages_and_bytes_are_those_of_the_table(tmp_path):
    (tmp_path / "count.py").write_text(COUNT)
    size, places = 3, 8
    nbytes, norms, everyone = json.loads(on_ranks(size, tmp_path / "count.py"))
    for rank, (messages, sent, gathered) in enumerate(everyone):
        m = len(subtrees(places, rank, size))
        assert messages == (m + 1) * (size - 1)
        assert sent == pytest.approx((m + 1) * nbytes * (size - 1) / size, rel=0.01)
        beginning, begun, step, ends, *_ = gathered
        assert 1000 < beginning < 3000
        batches = places * (rank + 1) // size - places * rank // size
        each = 200 + 8 * sum(norms) + 50 * len(norms) + 4 * 10 * 4 + 8 * 4  # batches of four samples, ten classes
        assert step == pytest.approx(batches * each, rel=0.1)
        assert begun == ends == pytest.approx(20, abs=3)


def test_the_picture_is_that_of_the_tree():
    pyplot = pytest.importorskip("matplotlib.pyplot", reason="needs matplotlib: pip install matplotlib")
    from benchmarks import pictures

    figure = pictures.rank_tree(pyplot)
    for axes, size in zip(figure.axes, (4, 3), strict=True):
        texts = [text.get_text() for text in axes.texts]
        assert texts.count("+") == 7
        assert [f"$g_{place}$" in texts for place in range(8)] == [True] * 8
        assert sum(text.startswith("rank ") for text in texts) == size
        alone = sum(stop - first - 1 for rank in range(size) for first, stop in subtrees(8, rank, size))
        assert sum(line.get_linestyle() == "-" for line in axes.lines) == 2 * alone
    pyplot.close(figure)


def subtrees(places, rank, size):
    return parts_of(places * rank // size, places * (rank + 1) // size, places)

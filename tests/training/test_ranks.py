"""Training on several ranks: the bits of one process, whatever happens on the way.

The trainings are those of ranks_worker.py, in processes that mpiexec starts; there may be more of them than processors.
"""

import json
import os
import re
import subprocess
import sys
import time

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.training.ranks import Ranks
from tests.mpi import ROOT, mpiexec, on_ranks
from tests.training.ranks_in_threads import in_threads

DATA = os.environ.get("CNNLAYERS_DATA")
WORKER = "tests.training.ranks_worker"


def came_to(done):
    """What a worker printed last."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def alone(**options):
    """The same training in one process, without MPI."""
    command = [sys.executable, "-m", WORKER, json.dumps(options)]
    return came_to(subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=ROOT, check=False))


def together(size, **options):
    return on_ranks(size, "-m", "mpi4py", "-m", WORKER, json.dumps({"ranks": True, **options}))


@pytest.fixture(scope="module")
def expected():
    return alone()


def test_mpi_is_there():
    """The tests below need mpi4py and an MPI, which the extra `mpi` brings."""
    assert mpiexec() is not None
    assert cl.distributed.world().Get_size() == 1


@pytest.mark.parametrize(("size", "threads"), [(1, 2), (2, 1), (2, 2), (3, 1), (4, 1), (8, 1)])
def test_the_bits_are_those_of_one_process(size, threads, expected):
    assert came_to(together(size, threads=threads)) == expected


def test_threads_do_not_matter_for_one_process(expected):
    assert alone(threads=3) == expected


@pytest.mark.parametrize("options", [{"weights": True}, {"batches": True}], ids=["weights of samples", "batches"])
def test_other_kinds_of_data(options, expected):
    one = alone(**options)
    assert came_to(together(3, **options)) == one
    assert one["bits"] != expected["bits"]


@pytest.mark.parametrize(("killed_on", "resumed_on", "step"), [(4, 1, 2), (4, 1, 3), (4, 1, 4), (1, 3, 2), (3, 2, 5)])
def test_a_run_that_was_killed_goes_on_with_another_number_of_ranks(killed_on, resumed_on, step, tmp_path, expected):
    """Step 3 is the last of an epoch."""
    if killed_on == 1:
        options = json.dumps({"folder": str(tmp_path), "dies": step})
        killed = subprocess.run([sys.executable, "-m", WORKER, options], capture_output=True, cwd=ROOT, check=False)
    else:
        killed = together(killed_on, folder=str(tmp_path), dies=step)
    assert killed.returncode != 0
    go_on = {"resume": str(tmp_path / f"step-{step:08d}.safetensors")}
    assert (alone(**go_on) if resumed_on == 1 else came_to(together(resumed_on, **go_on))) == expected


def test_early_stopping_is_the_same_on_all():
    one = alone(min_delta=1e9)
    assert one["stopped"] == "val_loss has not improved for 2 epochs, at epoch 3"
    assert came_to(together(2, min_delta=1e9)) == one


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("stop", "rank 1 wants it"),
        ("interrupt", "interrupted in epoch 1, after step 2"),
        ("terminate", "terminated by SIGTERM in epoch 1, after step 2"),
    ],
)
def test_one_rank_ends_all_after_the_step_and_the_run_can_go_on(what, why, tmp_path, expected):
    result = came_to(together(3, what=what, folder=str(tmp_path)))
    assert (result["stopped"], len(result["losses"])) == (why, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.safetensors"]
    assert came_to(together(2, resume=str(tmp_path))) == expected


def test_one_rank_ends_all_before_the_first_step_and_after_the_last(expected):
    assert came_to(together(3, what="stop at once"))["losses"] == []
    result = came_to(together(3, what="interrupt at the end"))
    assert (result["stopped"], result["bits"]) == ("interrupted in epoch 3, after step 9", expected["bits"])


def test_an_interrupt_that_one_rank_has_raised_itself_ends_all():
    """The others do not know of it, and would wait for its next step."""
    done = together(3, what="own interrupt")
    assert done.returncode != 0
    assert "rank 1 of 3: KeyboardInterrupt: of one's own" in done.stderr.splitlines()


def test_a_slow_rank_is_waited_for(expected):
    assert came_to(together(2, what="slow")) == expected


def test_a_rank_that_raises_ends_all_with_its_error():
    done = together(4, what="raise")
    assert done.returncode != 0
    told, noted = done.stderr.splitlines()[-2:]
    assert told == "rank 1 of 4: RuntimeError: something went wrong here"
    assert noted == "and then RuntimeError: the other ranks are not told of what a rank does that has failed"
    assert done.stderr.count("Traceback") == 1


def test_the_rank_stands_before_its_error_and_what_is_noted_of_it_after():
    done = together(3, what="bad metric")
    assert done.stderr.endswith(
        "rank 1 of 3: RuntimeError: it fails here\nin the metric 'own', which must give a number\n"
    )


def test_a_rank_that_leaves_ends_all():
    done = together(3, what="exit")
    assert done.returncode != 0
    assert "that is all" in done.stderr


def test_a_rank_that_leaves_without_an_error_ends_all():
    """Also without `-m mpi4py`."""
    done = on_ranks(3, "-m", WORKER, json.dumps({"ranks": True, "what": "exit with 0"}))
    assert done.stdout == ""


def test_a_rank_that_is_killed_ends_all():
    done = together(3, what="kill")
    assert done.returncode != 0
    assert "Killed" in done.stdout + done.stderr


def test_all_ranks_stop_at_a_number_that_is_not_finite_with_the_error_of_one_process():
    command = [sys.executable, "-m", WORKER, json.dumps({"what": "nan"})]
    one = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    done = together(3, what="nan")
    assert done.returncode != 0
    assert done.stderr.count("Traceback") == 1
    assert done.stderr.splitlines()[-1].split(": ", 1)[1] == one.stderr.splitlines()[-1]
    assert "NonFiniteError: step 1: the loss is nan; the batch itself holds a NaN" in one.stderr.splitlines()[-1]


@pytest.mark.parametrize(("what", "name"), [("other data", "train data"), ("other weights", "weights")])
def test_ranks_that_are_not_about_to_do_the_same_are_found_at_the_start(what, name):
    done = together(3, what=what)
    assert done.returncode != 0
    told = done.stderr.splitlines()[-1]
    assert re.fullmatch(
        rf"rank . of 3: ValueError: Solver: all ranks must have the same {name}; rank 0 has .*, but rank 1 .*", told
    )


def test_another_version(monkeypatch):
    def act(comm):
        from cnnlayers.training import meeting

        solver = small(comm, accumulate=2)
        facts = meeting.facts(solver)
        theirs = facts | ({"version of cnnlayers": "9.9"} if comm.Get_rank() == 1 else {})
        with pytest.raises(ValueError, match=r"the same version of cnnlayers; rank 0 has .*, but rank 1 9\.9"):
            meeting.compare(solver.ranks.gather(theirs))

    in_threads(2, act)


def test_a_layer_whose_state_the_ranks_cannot_bring_together():
    done = together(2, what="own state")
    assert done.returncode != 0
    assert "has a layer whose forward changes its state" in done.stderr.splitlines()[-1]


def test_rank_0_alone_prints_and_writes(tmp_path):
    done = together(3, csv=str(tmp_path / "run.csv"), folder=str(tmp_path / "run"))
    came_to(done)
    assert sum(line.startswith("epoch") for line in done.stdout.splitlines()) == 3
    assert len((tmp_path / "run.csv").read_text().splitlines()) == 4
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["best.safetensors", "last.safetensors"]


@pytest.mark.skipif(not DATA, reason="CNNLAYERS_DATA is unset: the folder with cifar-10-batches-bin/")
def test_a_residual_net_on_photographs(tmp_path):
    def run(size, name, *options):
        command = "-m", "tests.training.cifar_worker", DATA, tmp_path / name, *options
        return on_ranks(size, "-m", "mpi4py", *command, "--ranks") if size else on_ranks(1, *command)

    expected = run(0, "alone").stdout.splitlines()[-1]
    assert re.fullmatch("[0-9a-f]{64}", expected)
    for size in (2, 3, 4, 8):
        assert run(size, str(size)).stdout.splitlines()[-1] == expected
    assert run(4, "killed", "--kill", "8").returncode != 0
    assert run(0, "killed", "--resume").stdout.splitlines()[-1] == expected


# Within a process


def small(comm=None, **options):
    net = cl.Sequential([cl.Affine(2)], input_shape=(3,), rng=0)
    data = np.ones((8, 3)), np.zeros(8, int)
    return cl.Solver(
        net,
        data,
        data,
        loss=cl.SoftmaxLoss(),
        optimizer=cl.SGD(lr=0.1),
        batch_size=2,
        comm=comm,
        progress=False,
        **options,
    )


def blocks(net, comm=None, **options):
    """Train a net on noise, and evaluate it before and after: all that it came to."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(22, 4, 4, 1)), rng.integers(0, 3, 22)
    kept = {"train": (x, y), "loss": cl.SoftmaxLoss(ignore_label=-1), "epochs": 2} | options
    solver = cl.Solver(
        *(net, kept.pop("train"), (x[:5, :2], y[:5])),
        optimizer=cl.Adam(),
        batch_size=2,
        accumulate=3,
        comm=comm,
        progress=False,
        **kept,
    )
    solver.train()
    return net.flat_params.tobytes(), net.flat_state.tobytes(), solver.evaluate(x[:1, :2], y[:1])


def unbuilt(**options):
    return cl.Sequential([cl.Conv(2, 3, **options), cl.BatchNorm(), cl.Dropout(0.5), cl.GlobalAvgPool(), cl.Affine(3)])


def half(x, rng):
    return x[:, : 2 + int(rng.integers(1))]


def first_labels_ignored():
    rng = np.random.default_rng(1)
    labels = [np.full(2, -1)] * 4 + [np.array([0, 2])] * 4
    return [(rng.normal(size=(2, 4, 4, 1)), y) for y in labels]


@pytest.mark.parametrize(
    "options",
    [{}, {"augment": half}, {"augment": cl.augment.Mixup(0.4)}, {"train": first_labels_ignored()}],
    ids=["plain", "smaller images", "mixup", "nothing counts in the first step"],
)
def test_a_net_that_is_not_built_is_built_as_by_one_process(options):
    expected = blocks(unbuilt(padding=1), **options)
    for size in (2, 3):
        assert in_threads(size, lambda comm: blocks(unbuilt(padding=1), comm, **options)) == [expected] * size


def test_views_are_evaluated_alike_by_any_number_of_ranks():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(11, 5, 4, 2)).astype(np.float32), np.arange(11) % 3

    def evaluated(comm=None):
        net = cl.Sequential([cl.Conv(4, 3), cl.ReLU(), cl.Flatten(), cl.Affine(3)], input_shape=(5, 4, 2), rng=0)
        options = {"loss": cl.SoftmaxLoss(), "optimizer": cl.SGD(lr=0.1), "batch_size": 2, "progress": False}
        solver = cl.Solver(net, (x, y), accumulate=3, comm=comm, **options)
        return solver.evaluate(x, y, views=cl.augment.mirror_and_shift)

    assert in_threads(3, evaluated) == [evaluated()] * 3


def test_a_net_that_is_not_built_is_evaluated_alike_by_a_rank_without_a_batch():
    x, y = np.random.default_rng(0).normal(size=(2, 4, 4, 1)), np.zeros(2, int)

    def act(comm):
        net = unbuilt()
        solver = cl.Solver(
            net, (x, y), loss=cl.SoftmaxLoss(), optimizer=cl.Adam(), accumulate=2, comm=comm, progress=False
        )
        return solver.evaluate(x, y), net.flat_params.tobytes(), str(solver.run.rng.bit_generator.state)

    one, other = in_threads(2, act)
    assert one == other == act(None)


def test_an_object_of_ones_own_in_a_net_has_another_address_on_each_rank():
    class Small:
        def __call__(self, shape, rng, dtype):
            return rng.normal(size=shape).astype(dtype) / 10

    kept = [Small() for _ in range(2)]

    def act(comm):
        return blocks(unbuilt(padding=1, init=kept[comm.Get_rank()]), comm)

    one, other = in_threads(2, act)
    assert one == other


def test_what_rank_0_writes_is_there_when_all_go_on_with_it(tmp_path):
    def act(comm):
        solver = small(comm, accumulate=2, epochs=1)
        solver.train()
        if comm.Get_rank() == 0:
            time.sleep(0.2)
        solver.save(tmp_path / "run.safetensors")
        return cl.Solver.resume(
            tmp_path / "run.safetensors", *[(np.ones((8, 3)), np.zeros(8, int))] * 2, comm=comm
        ).step

    assert in_threads(2, act) == [2, 2]


def test_more_ranks_than_batches_in_a_step():
    def act(comm):
        with pytest.raises(ValueError, match=r"3 ranks need as many batches in a step, accumulate=3 or more; got .*=2"):
            small(comm, accumulate=2)

    in_threads(3, act)


@pytest.mark.parametrize("comm", [2, "world", object()])
def test_what_is_no_communicator(comm):
    with pytest.raises(TypeError, match=r"Solver: comm must be an mpi4py communicator, as cl.distributed.world"):
        small(comm)


def test_each_rank_has_as_many_places_as_the_others_or_one_more():
    for size in range(1, 9):
        for accumulate in range(size, 20):
            shares = in_threads(size, lambda comm, a=accumulate: Ranks(comm, a).places(a))
            assert [place for share in shares for place in share] == list(range(accumulate))
            assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_only_the_rows_of_a_ranks_own_batches_are_touched():
    class Watched:
        """Samples in a file: an array that tells which rows were read."""

        def __init__(self):
            self.array, self.rows = np.arange(48.0).reshape(16, 3), set()
            self.shape, self.dtype = self.array.shape, self.array.dtype

        def __getitem__(self, rows):
            self.rows |= set(np.arange(16)[rows].tolist())
            return self.array[rows]

    def act(comm):
        x = Watched()
        net = cl.Sequential([cl.Affine(2)], input_shape=(3,), rng=0)
        solver = cl.Solver(
            *(net, (x, np.arange(16) % 2)),
            loss=cl.SoftmaxLoss(),
            optimizer=cl.SGD(lr=0.1),
            batch_size=2,
            accumulate=4,
            comm=comm,
            progress=False,
        )
        order = np.random.default_rng(0).permutation(16).reshape(2, 4, 2)
        before = set(x.rows)
        for _ in solver._feed().groups(net, np.random.default_rng(0), 0, 0, solver.ranks.places(4)):
            pass
        mine = order[:, solver.ranks.places(4)].ravel().tolist()
        return before <= x.rows and x.rows - before == set(mine)

    assert all(in_threads(2, act))


def test_nothing_of_mpi_is_imported_without_it():
    code = "import sys, cnnlayers as cl; print([name for name in sys.modules if 'mpi4py' in name])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "[]\n"


def test_mpi4py_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(ImportError, match=r"needs mpi4py and an MPI library: pip install 'cnnlayers\[mpi\]'"):
        cl.distributed.world()

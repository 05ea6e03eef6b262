"""The command under mpiexec: one run of all processes, which speaks once; there may be more of them than processors."""

import ast
import os
import re
import signal
import subprocess
import sys

import pytest

import cnnlayers as cl
from cnnlayers import distributed
from cnnlayers.command.main import main
from tests.command.common import image_folder, npz_file, refused, run
from tests.mpi import LIMIT, ROOT, begun_on_ranks, on_ranks

COMMAND = ("-m", "cnnlayers")
QUICK = (
    "--model",
    "linear",
    "--epochs",
    3,
    "--batch-size",
    8,
    "--accumulate",
    4,
    "--augment",
    "standard",
    "--ema",
    0.9,
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return npz_file(tmp_path_factory.mktemp("data") / "rows.npz")


@pytest.fixture(scope="module")
def expected(rows, tmp_path_factory):
    """The folder of the same run on one process."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    assert main([str(a) for a in ("train", rows, *QUICK, "--no-report", "--out", folder)]) == 0
    return folder


def command(size, *arguments, **about):
    """Call the command on some ranks: exit code, standard output, standard error."""
    done = on_ranks(size, *COMMAND, *arguments, **about)
    return done.returncode, done.stdout, done.stderr


def same_net(folder, expected):
    one, other = (cl.load(path / "net.safetensors").flat_params.tobytes() for path in (folder, expected))
    return one == other


def history(folder):
    """The rows of the history, without the seconds."""
    return [line.rpartition(",")[0] for line in (folder / "history.csv").read_text().splitlines()]


def test_a_run_on_ranks_is_that_of_one_process(rows, expected, tmp_path):
    code, told, said = command(3, "train", rows, *QUICK, cwd=tmp_path)
    assert (code, said) == (0, "")
    out = tmp_path / "runs" / "rows"  # one folder, not three
    assert [path.name for path in out.parent.iterdir()] == ["rows"]
    assert same_net(out, expected)
    assert {path.name for path in out.iterdir()} == {path.name for path in expected.iterdir()} | {"report.html"}
    lines = told.splitlines()
    assert sum(line.startswith("epoch ") for line in lines) == 3
    assert "batches of 8, 4 in a step, 3 processes, each of 1 thread" in told
    assert lines[-3:-1] == [
        "saved runs/rows/net.safetensors and runs/rows/history.csv",
        "report: runs/rows/report.html",
    ]
    assert re.fullmatch(r"test accuracy: [\d.]+%", lines[-1])
    assert history(out) == history(expected)


def test_it_goes_on_with_another_number_of_ranks(rows, expected, tmp_path):
    stop = "import cnnlayers as cl, cnnlayers.command.main as m, sys\n"
    stop += "from cnnlayers.training.callbacks import Callback, EMA\n"
    stop += "EMA.on_epoch_end = lambda self, solver: solver.stop('interrupted here')\n"
    stop += "sys.exit(m.main())\n"
    out = tmp_path / "run"
    done = on_ranks(4, "-c", stop, "train", rows, *QUICK, "--no-report", "--out", out)
    assert done.returncode == 130, done.stderr
    assert done.stdout.count(f"to go on: cnnlayers resume {out}\n") == 1
    done = subprocess.run(
        [sys.executable, "-c", stop, "resume", out],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 130, done.stderr
    code, told, said = command(2, "resume", out)
    assert (code, said) == (0, "")
    assert told.startswith(f"{out}: 2 epochs, ")
    assert same_net(out, expected)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_mpiexec_ends_all_after_the_step(rows, tmp_path, number, code):
    out = tmp_path / "run"
    options = ("--model", "linear", "--epochs", 100_000, "--accumulate", 3, "--no-report", "--out", out)
    process = begun_on_ranks(3, *COMMAND, "train", rows, *options)
    lines = iter(process.stdout.readline, "")
    assert any(line.startswith("epoch ") for line in lines)
    process.send_signal(number)
    told, said = process.communicate(timeout=LIMIT)
    assert process.returncode == code
    assert told.count("stopped: ") == 1
    assert told.count(f"to go on: cnnlayers resume {out}\n") == 1
    assert "Traceback" not in said
    assert (out / "last.safetensors").exists()
    assert main(["summary", str(out)]) == 0


def test_what_several_ranks_read_the_first_has_cached(tmp_path):
    images, cache = image_folder(tmp_path / "images"), tmp_path / "cache"
    options = ("--size", 8, "--model", "linear", "--epochs", 1, "--accumulate", 2, "--no-report", "--cache", cache)
    code, told, said = command(2, "train", images, *options, "--out", tmp_path / "run")
    assert (code, said) == (0, "")
    assert "test accuracy" in told
    assert any(cache.iterdir())


# Mistakes


def test_fewer_batches_than_ranks_are_refused(tmp_path):
    code, told, said = command(3, "train", "--accumulate", 2, cwd=tmp_path)
    assert (code, told) == (2, "")
    assert said.count("usage:") == 1
    assert said.endswith(
        "cnnlayers train: error: mpiexec started 3 processes, which share the batches of a step: --accumulate 3 or "
        "more is needed; got 2\n"
    )
    assert not any(tmp_path.iterdir())


def test_a_run_does_not_go_on_with_more_ranks_than_batches(expected):
    code, told, said = command(5, "resume", expected)
    assert (code, told) == (1, "")
    assert said.startswith(f"cnnlayers: {expected}: mpiexec started 5 processes")
    assert said.endswith("the run has --accumulate 4, so no more than that can go on with it\n")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("train", "nowhere", "--accumulate", 3), 1, "cnnlayers: there is no data at nowhere; "),
        (("train", "--accumulate", 3, "--monitor", "val_nothing"), 1, "cnnlayers: "),
        (("train", "--accumulate", 3, "--out", "file.txt"), 1, "cnnlayers: --out needs a folder, or a file"),
        (("train", "--accumulate", 3, "--model", "linear", "--lr", "1e38"), 1, "cnnlayers: step "),
        (("resume", "nowhere"), 1, "cnnlayers: nowhere is not the folder of a run"),
        (("evaluate", "nowhere"), 1, "cnnlayers: "),
        (("train", "--epochs", 0), 2, "usage: "),
        (("trian",), 2, "usage: "),
    ],
)
def test_a_mistake_is_told_once(tmp_path, arguments, code, message):
    (tmp_path / "file.txt").write_text("text")
    status, _, said = command(3, *arguments, cwd=tmp_path)
    assert status == code
    assert said.startswith(message)
    assert "Traceback" not in said
    if code == 1:
        assert len(said.splitlines()) == 1
    else:
        assert said.count("error: ") == 1


def test_a_failure_of_one_rank_ends_all(tmp_path):
    """Rank 2 reads other data than the others, or none."""
    npz_file(tmp_path / "0.npz")
    name = "import os, sys; from cnnlayers.command.main import main; sys.exit(main(['train', {}, *sys.argv[1:]]))"
    options = ("--model", "linear", "--accumulate", 3, "--no-report", "--out", "run")
    missing = on_ranks(3, "-c", name.format("f\"{os.environ['PMI_RANK'] == '2':d}.npz\""), *options, cwd=tmp_path)
    assert missing.returncode == 1
    assert missing.stderr.startswith("cnnlayers: rank 2 of 3: there is no data at 1.npz")
    assert len(missing.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()
    npz_file(tmp_path / "1.npz", train=63)
    other = on_ranks(3, "-c", name.format("f\"{os.environ['PMI_RANK'] == '2':d}.npz\""), *options, cwd=tmp_path)
    assert other.returncode == 1
    assert other.stderr.startswith("cnnlayers: Solver: all ranks must have the same ")
    assert len(other.stderr.splitlines()) == 1


def test_a_failure_amid_the_training_ends_all(rows, tmp_path):
    gone = "import shutil, sys; from cnnlayers.command.main import main\n"
    gone += "from cnnlayers.training.callbacks import EMA\n"
    gone += "EMA.on_epoch_end = lambda self, solver: solver.ranks.is_first and shutil.rmtree('run')\n"
    gone += "sys.exit(main())\n"
    done = on_ranks(3, "-c", gone, "train", rows, *QUICK, "--no-report", "--out", "run", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("cnnlayers: rank 0 of 3: [Errno 2] No such file or directory: 'run/")
    assert len(done.stderr.splitlines()) == 1


# The other commands


def test_the_first_rank_does_the_other_commands(expected):
    code, told, said = command(3, "evaluate", expected)
    assert (code, said) == (0, "")
    assert re.fullmatch(r"test loss: [\d.]+\ntest accuracy: [\d.]+%\n", told)
    code, told, said = command(2, "info")
    assert (code, said) == (0, "")
    assert told.count("MPI: ") == 1
    assert command(2, "--version") == (0, f"cnnlayers {cl.__version__}\n", "")


# Without mpiexec, and with that of another MPI


def test_without_mpiexec_nothing_of_mpi_is_imported(tmp_path, rows):
    program = "import sys; from cnnlayers.command.main import main; main(); print('mpi4py' in sys.modules)"
    for variables in ({}, {"PMI_RANK": "0", "PMI_SIZE": "1"}):
        done = subprocess.run(
            [sys.executable, "-c", program, "train", rows, "--model", "linear", "--epochs", "1", "--no-report"],
            env=os.environ | {"PYTHONPATH": str(ROOT)} | variables,
            capture_output=True, text=True, timeout=LIMIT, cwd=tmp_path, check=False,
        )  # fmt: skip
        assert done.stdout.splitlines()[-1] == "False", done.stderr


def test_mpiexec_of_another_mpi_is_found_out(tmp_path):
    """Each process would be alone, and train the whole."""
    said = []
    for rank in ("0", "1"):
        done = subprocess.run(
            [sys.executable, *COMMAND, "train", "--accumulate", "2"],
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMPI_COMM_WORLD_RANK": rank, "OMPI_COMM_WORLD_SIZE": "2"},
            capture_output=True, text=True, timeout=LIMIT, cwd=tmp_path, check=False,
        )  # fmt: skip
        assert done.returncode == (rank == "0")
        said.append(done.stderr)
    assert said[0].startswith("cnnlayers: mpiexec started 2 processes, but the MPI library that mpi4py uses sees one")
    assert said[1] == ""
    assert not any(tmp_path.iterdir())


def test_without_mpi4py_mpiexec_is_told_how_to_get_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PMI_SIZE", "2")
    for rank, said in (("0", "cnnlayers: training on several processes needs mpi4py and an MPI library: "), ("1", "")):
        monkeypatch.setenv("PMI_RANK", rank)
        code, told, complaint = run(capsys, "train", "--accumulate", 2)
        assert (code, told) == (rank == "0", "")
        assert complaint.startswith(said)
        assert bool(complaint) == bool(said)
    monkeypatch.setenv("PMI_RANK", "0")
    assert "--accumulate 2 or more is needed; got 1" in refused(capsys, "train")


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({}, (0, 1)),
        ({"SLURM_STEP_NUM_TASKS": "4"}, (0, 1)),  # of Slurm, and not of MPI
        ({"PMI_RANK": "3", "PMI_SIZE": "4"}, (3, 4)),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "PMIX_RANK": "1"}, (1, 2)),
        ({"PMIX_RANK": "5", "SLURM_STEP_NUM_TASKS": "8"}, (5, 8)),
        ({"PMIX_RANK": "5"}, (5, None)),
    ],
)
def test_what_mpiexec_says(variables, place, monkeypatch):
    for name in (*distributed.RANKS, *distributed.SIZES):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert distributed.launched() == place
    assert distributed.started_by_mpiexec() == (place[1] != 1)


def test_processes_share_the_processors():
    program = "import os\nfor name in ('CNNLAYERS_NUM_THREADS', 'OMP_NUM_THREADS'): os.environ.pop(name, None)\n"
    program += "import cnnlayers as cl; from cnnlayers.command.together import as_started\n"
    program += "before = cl.get_num_threads(); together = as_started()\n"
    program += "told = together.comm.gather((before, cl.get_num_threads()))\n"
    program += "if together.is_first: print(told)\n"
    done = on_ranks(2, "-c", program)
    assert done.returncode == 0, done.stderr
    told = ast.literal_eval(done.stdout)
    assert told == [(before, max(before // 2, 1)) for before, _ in told]
    assert len(told) == 2

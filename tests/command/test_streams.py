"""The command, and a training, where nobody listens: standard output or error closed, full, or of ASCII alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import cnnlayers as cl
from tests.streams import STREAMS

ROOT = Path(__file__).parents[2]
COMMAND = f"{sys.executable} -W error -m cnnlayers"


def shell(line, **environment):
    """Run a line in a shell: exit code, standard output, standard error."""
    given = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    done = subprocess.run(["bash", "-c", line], capture_output=True, env=given)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("progress", [True, False])
@pytest.mark.parametrize("name", STREAMS)
def test_a_training_goes_on_unheard(name, progress, monkeypatch):
    x, y = cl.datasets.digits().test
    net = cl.models.linear(rng=0)
    solver = cl.Solver(net, (x, y), loss=cl.SoftmaxLoss(), optimizer=cl.SGD(lr=0.01), epochs=2, progress=progress)
    monkeypatch.setattr(sys, "stdout", STREAMS[name]())
    monkeypatch.setattr(sys, "stderr", STREAMS[name]())
    history = solver.train()
    monkeypatch.undo()
    assert len(history) == 2


@pytest.mark.parametrize("streams", ["2>&-", ">&-", ">&- 2>&-", ">/dev/full", ">/dev/full 2>/dev/full", "| true"])
def test_what_writes_files_leaves_them_unheard(streams, tmp_path):
    for arguments in (
        f"train --model linear --epochs 1 --no-report --out {tmp_path}/r",
        f"resume {tmp_path}/r --epochs 1",
        f"report {tmp_path}/r",
    ):
        code, _, said = shell(f"set -o pipefail; {COMMAND} {arguments} {streams}")
        assert (code, said) == (0, b"")
    assert len(cl.History.load(tmp_path / "r" / "history.csv")) == 2
    assert (tmp_path / "r" / "report.html").exists()
    assert cl.load(tmp_path / "r" / "net.safetensors").classes == tuple("0123456789")


def test_a_reader_that_leaves_in_the_middle_loses_nothing(tmp_path):
    line = f"set -o pipefail; {COMMAND} train --model linear --epochs 30 --no-report --out {tmp_path}/r | head -n 1"
    assert shell(line)[::2] == (0, b"")
    assert len(cl.History.load(tmp_path / "r" / "history.csv")) == 30


def test_what_only_prints_fails_where_it_cannot():
    assert shell(f"{COMMAND} summary linear >/dev/full")[::2] == (
        1,
        b"cnnlayers: [Errno 28] No space left on device\n",
    )
    assert shell(f"set -o pipefail; {COMMAND} summary linear | true")[0] in (0, 1)  # as the pipe held it or not
    assert shell(f"{COMMAND} summary linear >&-") == (0, b"", b"")  # what Python's own print does


def test_the_encoding_of_western_windows(tmp_path):
    environment = {"PYTHONUTF8": "0", "PYTHONIOENCODING": "cp1252"}
    net = cl.Sequential([cl.Flatten(), cl.Affine(2)], input_shape=(8, 8, 1), rng=0)
    net.save(tmp_path / "net.safetensors", classes=("猫", "é"))
    code, told, said = shell(f"{COMMAND} summary {tmp_path}/net.safetensors", **environment)
    assert (code, said) == (0, b"")
    assert told.splitlines()[-1] == b"classes: \\u732b, \xe9"
    for arguments in ("--help", "train --help", "bench --help", "info", "explain", "gradcheck linear --samples 2"):
        code, told, said = shell(f"cd {tmp_path} && {COMMAND} {arguments}", **environment)
        assert (code, said) == (0, b"")
        assert b"\\u" not in told


def test_a_complaint_stays_out_of_standard_output():
    assert shell(f"{COMMAND} summary none.safetensors 2>&-") == (1, b"", b"")
    assert shell(f"{COMMAND} summary none.safetensors 2>/dev/full") == (1, b"", b"")
    assert shell(f"{COMMAND} nonsense 2>&- >&-")[0] == 2

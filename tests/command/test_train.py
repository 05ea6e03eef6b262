"""`train` and `resume`: the folder of a run, options in files, and going on."""

import csv
import gzip
import hashlib
import http.server
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import tomllib
import warnings
from pathlib import Path

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.command import folder, train
from cnnlayers.command.main import main
from cnnlayers.command.sources import open_data
from cnnlayers.data import mnist
from cnnlayers.data.download import Remote
from tests.command.common import failure, image_folder, npz_file, refused, run
from tests.data.test_idx import encode
from tests.windows import files_as_on_windows

ROOT = Path(__file__).parents[2]
QUICK = ("--model", "linear", "--no-report")


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_run_has_a_folder(tmp_path, capsys):
    out = tmp_path / "new" / "run"
    code, told, said = run(capsys, "train", *QUICK, "--epochs", 2, "--checkpoint-every", 1, "--out", out)
    assert (code, said) == (0, "")
    steps = [f"step-{17 * epoch:08d}.safetensors" for epoch in (1, 2)]
    assert files(out) == sorted(
        ["best.safetensors", "config.toml", "history.csv", "last.safetensors", "net.safetensors", *steps]
    )
    assert told.splitlines()[-2] == f"saved {out / 'net.safetensors'} and {out / 'history.csv'}"
    assert len(list(csv.DictReader((out / "history.csv").read_text().splitlines()))) == 2
    for name in ("net", "best", "last"):
        assert cl.load(out / f"{name}.safetensors").classes == tuple("0123456789")


def test_the_default_folder_is_named_after_the_data(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    npz_file(tmp_path / "rows.npz")
    assert run(capsys, "train", "rows.npz", *QUICK, "--epochs", 1)[0] == 0
    assert run(capsys, "train", *QUICK, "--epochs", 1)[0] == 0
    assert files(tmp_path / "runs") == ["digits", "rows"]


def test_config_repeats_a_run(tmp_path, capsys):
    npz_file(tmp_path / "rows.npz")
    options = ["--epochs", 3, "--seed", 5, "--optimizer", "adam", "--lr", 0.01, "--augment", "affine", "--val", 10]
    more = ["--schedule", "onecycle", "--clip-norm", 1, "--ema", 0.9, "--accumulate", 2, "--dtype", "float64"]
    first, again, other = (tmp_path / name for name in ("first", "again", "other"))
    assert run(capsys, "train", tmp_path / "rows.npz", *QUICK, *options, *more, "--out", first)[0] == 0
    config = first / "config.toml"
    assert run(capsys, "train", "--config", config, "--out", again)[0] == 0
    assert run(capsys, "train", "--config", config, "--seed", 6, "--out", other)[0] == 0
    nets = [cl.load(folder / "net.safetensors").flat_params for folder in (first, again, other)]
    np.testing.assert_array_equal(nets[0], nets[1])
    assert not np.array_equal(nets[0], nets[2])  # the command line wins
    assert config.read_text() == (again / "config.toml").read_text()
    assert config.read_text() == (other / "config.toml").read_text().replace("seed = 6", "seed = 5")
    table = tomllib.loads(config.read_text())
    assert table["data"] == str(tmp_path / "rows.npz")
    assert (table["clip-norm"], table["report"], table["val"]) == (1, False, 10)
    assert "out" not in table  # else a repetition would write over what it repeats


def test_no_run_is_lost_to_another(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("digits", "digits-2", "digits-3"):
        assert run(capsys, "train", *QUICK, "--epochs", 1)[0] == 0
        assert "config.toml" in files(tmp_path / "runs" / name)
    before = {path.name: path.read_bytes() for path in Path("runs/digits-2").iterdir()}
    said = failure(capsys, "train", *QUICK, "--out", "runs/digits-2")
    assert "there is a run in runs/digits-2: go on with `cnnlayers resume runs/digits-2`, name another" in said
    assert {path.name: path.read_bytes() for path in Path("runs/digits-2").iterdir()} == before


def test_a_run_that_overwrites_leaves_nothing_of_the_first(tmp_path, capsys):
    options = [*QUICK, "--epochs", 1, "--out", tmp_path]
    assert run(capsys, "train", *options, "--checkpoint-every", 1)[0] == 0
    assert run(capsys, "train", *options, "--seed", 1, "--overwrite")[0] == 0
    assert files(tmp_path) == ["best.safetensors", "config.toml", "history.csv", "last.safetensors", "net.safetensors"]
    assert tomllib.loads((tmp_path / "config.toml").read_text())["seed"] == 1


def test_a_system_that_keeps_files_that_are_open(tmp_path, capsys, monkeypatch):
    """As Windows does: no command holds a file open that it, or the next one, writes."""
    files_as_on_windows(monkeypatch)
    options = [*QUICK, "--checkpoint-every", 1, "--out", tmp_path / "run"]
    assert run(capsys, "train", *options, "--epochs", 1)[0] == 0
    assert run(capsys, "resume", tmp_path / "run", "--epochs", 1)[0] == 0
    assert len(cl.History.load(tmp_path / "run" / "history.csv")) == 2
    assert run(capsys, "train", *options, "--epochs", 1, "--overwrite")[0] == 0
    assert len(cl.History.load(tmp_path / "run" / "history.csv")) == 1
    for command in ("evaluate", "explain"):
        assert run(capsys, command, tmp_path / "run")[0] == 0
    assert "replaced" not in files(tmp_path / "run")


def test_a_run_that_was_replaced_and_is_open_stays_beside_the_new_one(tmp_path, capsys, monkeypatch):
    files_as_on_windows(monkeypatch)
    options = [*QUICK, "--epochs", 1, "--out", tmp_path]
    assert run(capsys, "train", *options)[0] == 0
    delete = folder._delete_run

    def while_it_is_read(aside):
        with open(aside / "history.csv", encoding="utf-8"):
            delete(aside)

    monkeypatch.setattr(folder, "_delete_run", while_it_is_read)
    assert run(capsys, "train", *options, "--overwrite")[0] == 0
    assert files(tmp_path / "replaced") == ["history.csv"]
    assert (tmp_path / "net.safetensors").exists()


def test_a_mistake_leaves_the_earlier_run_alone(tmp_path, capsys):
    assert run(capsys, "train", *QUICK, "--epochs", 1, "--out", tmp_path)[0] == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    again = ("--out", tmp_path, "--overwrite")
    assert "monitor must be one of" in failure(capsys, "train", "--monitor", "loss", *again)
    assert "--momentum is for" in refused(capsys, "train", "--optimizer", "adam", "--momentum", 1, *again)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_config_of_ones_own(tmp_path, capsys):
    (tmp_path / "my.toml").write_text('model = "linear"\nepochs = 3\nbatch-size = 500\nreport = false\nthreads = 1\n')
    code, told, _ = run(capsys, "train", "--config", tmp_path / "my.toml", "--epochs", 1, "--out", tmp_path / "run")
    assert code == 0
    assert "batches of 500, 1 thread" in told
    assert "epoch 1/1 " in told
    assert "my.toml: there is no option 'batchsize'" in refused(
        capsys, "train", "--config", _written(tmp_path / "my.toml", "batchsize = 3")
    )
    assert "No such file" in failure(capsys, "train", "--config", tmp_path / "none.toml")


def _written(path, text):
    path.write_text(text)
    return path


def test_training_on_a_folder_of_images(tmp_path, capsys):
    photos = image_folder(tmp_path / "photos")
    options = [*QUICK, "--size", "8x10", "--test", 6, "--val", 4, "--epochs", 4, "--augment", "standard"]
    code, told, said = run(capsys, "train", photos, *options, "--out", tmp_path / "run")
    assert (code, said) == (0, "")
    assert f"{photos}: Dataset(train=14, val=4, test=6 images of 8 x 10 x 3, 2 classes)" in told
    assert "Compose(steps=(RandomCrop(padding=1), HorizontalFlip()), dtype='float32')" in told
    assert told.splitlines()[-1] == "test accuracy: 100.0%"  # dark and bright: a line tells them apart
    net = cl.load(tmp_path / "run" / "net.safetensors")
    assert net.input_shape == (8, 10, 3)
    assert net.classes == ("bright", "dark")


def test_training_on_damaged_images(tmp_path, capsys):
    photos = image_folder(tmp_path / "photos")
    for name in ("bright/3.png", "dark/5.png"):
        (photos / name).write_bytes(b"none")
    options = [*QUICK, "--size", 8, "--epochs", 1]
    said = failure(capsys, "train", photos, *options, "--out", tmp_path / "run")
    assert "--skip-damaged leaves such files out; 1 more of 24 files are damaged" in said
    options += ["--skip-damaged", "--truncated", "--background", "1,2,3", "--out", tmp_path / "run"]
    code, _, said = run(capsys, "train", photos, *options)
    assert code == 0
    assert "left out 2 of 24 files, which are damaged" in said
    config = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert (config["skip-damaged"], config["truncated"], config["background"]) == (True, True, [1, 2, 3])
    code, _, said = run(capsys, "resume", tmp_path / "run", "--epochs", 1)
    assert code == 0
    assert "left out 2 of 24 files" in said


def test_training_with_a_cache(tmp_path, capsys, monkeypatch):
    """The run's config.toml names it, from wherever the run goes on."""
    photos, runs = image_folder(tmp_path / "photos"), []
    monkeypatch.chdir(tmp_path)
    for options in ([], ["--cache", "kept"], ["--cache", "kept"]):
        out = tmp_path / f"run{len(runs)}"
        assert run(capsys, "train", photos, *QUICK, "--size", 8, "--epochs", 1, *options, "--out", out)[0] == 0
        runs.append(cl.load(out / "net.safetensors").flat_params.tobytes())
        assert len(list(tmp_path.glob("kept/images-*.npy"))) == bool(options)
    assert runs[0] == runs[1] == runs[2]
    config = tomllib.loads((tmp_path / "run1" / "config.toml").read_text())
    assert config["cache"] == str(tmp_path / "kept")
    assert "cache" not in tomllib.loads((tmp_path / "run0" / "config.toml").read_text())
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run(capsys, "resume", tmp_path / "run1", "--epochs", 1)[0] == 0
    assert list(Path.cwd().iterdir()) == []


def test_data_without_other_parts(tmp_path, capsys):
    x, y = np.zeros((30, 8, 8, 1), np.uint8), np.arange(30) % 3
    np.savez(tmp_path / "a.npz", x=x, y=y)
    code, told, _ = run(capsys, "train", tmp_path / "a.npz", *QUICK, "--epochs", 1, "--out", tmp_path / "run")
    assert code == 0
    assert told.splitlines()[-1].startswith("val accuracy: ")
    arguments = ["--val", 0, "--epochs", 1, "--out", tmp_path / "another"]
    code, told, _ = run(capsys, "train", tmp_path / "a.npz", *QUICK, *arguments)
    assert code == 0
    assert told.splitlines()[-1].startswith("train accuracy: ")


def test_early_stopping_is_no_failure(tmp_path, capsys):
    arguments = ["--lr", 0, "--early-stopping", 2, "--epochs", 50, "--out", tmp_path]
    code, told, _ = run(capsys, "train", *QUICK, *arguments)
    assert code == 0
    assert "stopped: val_loss has not improved for 2 epochs, at epoch 3\n" in told
    assert "epoch  4/50" not in told


def test_more_epochs_of_a_finished_run(tmp_path, capsys):
    assert run(capsys, "train", *QUICK, "--epochs", 2, "--threads", 1, "--out", tmp_path)[0] == 0
    before = cl.load(tmp_path / "net.safetensors").flat_params.copy()
    code, told, _ = run(capsys, "resume", tmp_path)
    assert code == 0
    assert f"{tmp_path}: 2 epochs, 34 steps are done" in told
    assert "nothing is left to train: --epochs N trains N more\n" in told
    np.testing.assert_array_equal(cl.load(tmp_path / "net.safetensors").flat_params, before)
    code, told, _ = run(capsys, "resume", tmp_path, "--epochs", 3)
    assert code == 0
    assert "epoch 5/5 " in told
    assert "Cosine(warmup=1.0) begins anew over the 3 epochs; a warm-up that is over is not repeated\n" in told
    rates = [float(row["lr"]) for row in csv.DictReader((tmp_path / "history.csv").read_text().splitlines())]
    cosine = [0.1 * cl.Cosine()(17 * epoch + 16, 51) for epoch in range(3)]  # at the last step of each epoch
    assert rates[2:] == pytest.approx(cosine, rel=1e-5)
    assert len(list(csv.DictReader((tmp_path / "history.csv").read_text().splitlines()))) == 5


def rates_of(run):
    return [float(row["lr"]) for row in csv.DictReader((run / "history.csv").read_text().splitlines())]


def test_resumed_with_another_learning_rate(tmp_path, capsys):
    arguments = [*QUICK, "--epochs", 1, "--schedule", "constant", "--lr", 0.1, "--out", tmp_path]
    assert run(capsys, "train", *arguments)[0] == 0
    told = run(capsys, "resume", tmp_path, "--epochs", 1, "--lr", 0.02)[1]
    assert re.search(r"^SGD\(lr=0.02, .*\) from here on$", told, flags=re.MULTILINE)
    run(capsys, "resume", tmp_path, "--epochs", 1)  # the rate stays
    assert rates_of(tmp_path) == pytest.approx([0.1, 0.02, 0.02])


def interrupt(folder, *arguments):
    """Start a run in a new process and press Ctrl-C during it: what it told."""
    # A shell gives what it starts in the background no Ctrl-C; so the handler is set as in the foreground.
    program = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program += "from cnnlayers.command.main import main; sys.exit(main())"
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program, "train", *map(str, arguments), "--out", str(folder)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while not process.stdout.readline().startswith("epoch"):
            assert process.poll() is None, process.stderr.read()
        process.send_signal(signal.SIGINT)
        told, said = process.communicate(timeout=120)
    assert (process.returncode, said) == (130, "")
    return told


def test_a_run_that_was_interrupted_ends_as_one_that_was_not(tmp_path, capsys):
    arguments = ["--model", "cnn", "--no-report", "--epochs", 4, "--augment", "affine", "--early-stopping", 100]
    told = interrupt(tmp_path / "cut", *arguments)
    assert f"to go on: cnnlayers resume {tmp_path / 'cut'}\n" in told
    assert told.splitlines()[-1].startswith("test accuracy: ")
    assert "stopped: interrupted in epoch" in told
    assert run(capsys, "resume", tmp_path / "cut")[0] == 0
    assert run(capsys, "train", *arguments, "--out", tmp_path / "whole")[0] == 0
    cut, whole = (cl.load(tmp_path / name / "net.safetensors") for name in ("cut", "whole"))
    np.testing.assert_array_equal(cut.flat_params, whole.flat_params)
    np.testing.assert_array_equal(cut.flat_state, whole.flat_state)


TERMINATED = """
import os, signal, sys
import cnnlayers as cl
from cnnlayers.command.main import main

def on_step(self, solver):
    if solver.step == 3:
        os.kill(os.getpid(), signal.SIGTERM)

cl.EarlyStopping.on_step = on_step
sys.exit(main())
"""


def test_sigterm_ends_a_run_as_ctrl_c_does_but_for_the_test(tmp_path, capsys):
    """Also in the first epoch, in which nothing would be saved otherwise."""
    arguments = [*map(str, QUICK), "--epochs", "1", "--early-stopping", "9"]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", TERMINATED, "train", *arguments, "--out", str(tmp_path / "cut")],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (143, "")
    assert "stopped: terminated by SIGTERM in epoch 1, after step 3\n" in done.stdout
    assert done.stdout.splitlines()[-1] == f"to go on: cnnlayers resume {tmp_path / 'cut'}"
    files = ["config.toml", "history.csv", "last.safetensors", "net.safetensors"]
    assert sorted(file.name for file in (tmp_path / "cut").iterdir()) == files
    assert run(capsys, "resume", tmp_path / "cut")[0] == 0
    assert run(capsys, "train", *arguments, "--out", tmp_path / "whole")[0] == 0
    cut, whole = (cl.load(tmp_path / name / "net.safetensors") for name in ("cut", "whole"))
    np.testing.assert_array_equal(cut.flat_params, whole.flat_params)


TERMINATED_WHILE_SAVING = """
import os, signal, sys
import cnnlayers as cl
from cnnlayers.command.main import main

end, save = sys.argv.pop(), cl.History.save

def interrupted(self, path):
    os.kill(os.getpid(), getattr(signal, end))
    save(self, path)

cl.History.save = interrupted
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored in the background
sys.exit(main())
"""


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_net_is_saved_also_if_the_end_comes_meanwhile(tmp_path, name, code):
    out = tmp_path / "net.safetensors"
    done = subprocess.run(
        [sys.executable, "-c", TERMINATED_WHILE_SAVING, "train", *QUICK, "--epochs", "1", "--out", str(out), name],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout.splitlines()[-1] == f"saved {out} and {out.with_suffix('.csv')}"
    assert files(tmp_path) == ["net.csv", "net.safetensors"]


def test_a_rate_that_is_too_high(tmp_path, capsys):
    said = failure(capsys, "train", *QUICK, "--lr", "1e40", "--epochs", 2, "--out", tmp_path)
    assert said.startswith("cnnlayers: step ")


def test_what_is_no_run(tmp_path, capsys):
    said = failure(capsys, "resume", tmp_path)
    assert f"{tmp_path} is not the folder of a run: it needs last.safetensors and config.toml" in said
    assert "is not the folder of a run" in failure(capsys, "resume", tmp_path / "none")


def test_data_that_has_changed(tmp_path, capsys):
    file = npz_file(tmp_path / "rows.npz")
    assert run(capsys, "train", file, *QUICK, "--epochs", 1, "--out", tmp_path / "run")[0] == 0
    npz_file(file, train=30)
    assert "the run had train data of shape" in failure(capsys, "resume", tmp_path / "run")
    file.unlink()
    assert "there is no data at" in failure(capsys, "resume", tmp_path / "run")


def test_options_are_found_by_main(tmp_path, capsys):
    """`main` is what the console script calls: without arguments it takes the process's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["cnnlayers", "summary", "linear"])
        assert main() == 0
    assert "Affine(10)" in capsys.readouterr().out


def test_a_file_is_not_overwritten_unasked(tmp_path, capsys):
    assert run(capsys, "train", *QUICK, "--epochs", 1, "--out", tmp_path / "a")[0] == 0
    for out in (tmp_path / "a" / "net.safetensors", tmp_path / "a" / "other.safetensors"):
        assert "would overwrite what is there" in failure(capsys, "train", *QUICK, "--out", out)
    assert run(capsys, "train", *QUICK, "--epochs", 1, "--out", tmp_path / "b.safetensors")[0] == 0
    assert "would overwrite what is there" in failure(capsys, "train", *QUICK, "--out", tmp_path / "b.safetensors")


@pytest.fixture
def nothing_is_read(monkeypatch):
    """An error for whoever reads data: what cannot be written is found before."""

    def read(*arguments, **options):
        raise AssertionError("the data were read")

    monkeypatch.setattr(train, "open_data", read)


@pytest.mark.parametrize(
    ("made", "out"),
    [
        ("net.csv/", "net.safetensors"),
        ("net.safetensors/", "net.safetensors"),
        ("file", "file/net.safetensors"),
        ("file", "file/run"),
        ("run/history.csv/", "run"),
        ("run/net.safetensors/", "run"),
        ("run/report.html/", "run"),
        ("run/best.safetensors/", "run"),
        ("", "x" * 256),
        ("", f"{'x' * 250}.safetensors"),
    ],
)
def test_what_cannot_be_written_is_found_before_the_data_are_read(made, out, nothing_is_read, tmp_path, capsys):
    if made.startswith("run/"):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "config.toml").touch()
    if made.endswith("/"):
        (tmp_path / made).mkdir()
    elif made:
        (tmp_path / made).touch()
    before = sorted(tmp_path.rglob("*"))
    said = failure(capsys, "train", "--overwrite", "--out", tmp_path / out)
    assert str(tmp_path / (made.rstrip("/") or out)) in said
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("out", ["run", "new/run", "net.safetensors", "new/net.safetensors"])
def test_a_folder_that_refuses_files_is_found_before_the_data_are_read(
    out, nothing_is_read, tmp_path, capsys, monkeypatch
):
    real = open

    def read_only(file, mode="r", *arguments, **options):
        if "r" not in mode:
            raise OSError(30, "Read-only file system", str(file))
        return real(file, mode, *arguments, **options)

    monkeypatch.setattr("builtins.open", read_only)
    name = out if out.endswith(".safetensors") else f"{out}/net.safetensors"
    said = failure(capsys, "train", "--out", tmp_path / out)
    assert said == f"cnnlayers: [Errno 30] Read-only file system: '{tmp_path / name}'\n"
    monkeypatch.undo()
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


def test_the_same_of_resume_and_report(tmp_path, capsys, monkeypatch):
    run(capsys, "train", "--model", "linear", "--epochs", 1, "--no-report", "--out", tmp_path / "run")
    before = {file: file.read_bytes() for file in (tmp_path / "run").iterdir()}
    (tmp_path / "run" / "history.csv").unlink()
    (tmp_path / "run" / "history.csv").mkdir()
    monkeypatch.setattr(train, "open_data", None)
    assert "Is a directory" in failure(capsys, "resume", tmp_path / "run", "--epochs", 1)
    (tmp_path / "run" / "history.csv").rmdir()
    (tmp_path / "run" / "report.html").mkdir()
    said = failure(capsys, "report", tmp_path / "run")
    assert said == f"cnnlayers: [Errno 21] Is a directory: '{tmp_path / 'run' / 'report.html'}'\n"
    for file in (tmp_path / "run").glob("*.safetensors"):
        assert file.read_bytes() == before[file]


def test_a_report_that_cannot_be_drawn_is_said_before_the_training(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    _, told, _ = run(capsys, "train", "--model", "linear", "--epochs", 1, "--out", tmp_path / "run")
    assert told.startswith("there will be no report: report.write needs matplotlib")
    _, told, _ = run(capsys, "train", "--model", "linear", "--epochs", 1, "--no-report", "--out", tmp_path / "other")
    assert "no report" not in told


def test_data_that_cannot_be_read_leave_no_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failure(capsys, "train", "none.npz")
    for out in ("runs/a", "new/deep/run", "new/deep/net.safetensors"):
        failure(capsys, "train", "none.npz", "--out", out)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()  # what was there before stays
    for out in ("mine", "mine/run"):
        failure(capsys, "train", "none.npz", "--out", out)
    assert files(tmp_path) == ["mine"]


def test_a_net_that_does_not_fit_leaves_no_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    npz_file(tmp_path / "rows.npz", train=6)
    assert "does not fit in" in failure(capsys, "train", "rows.npz", "--model", "lenet", "--no-report")
    assert files(tmp_path) == ["rows.npz"]


def test_a_folder_that_cannot_be_made_leaves_none(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    for out in ("file/run", "file/net.safetensors", f"new/{'n' * 256}", f"new/deep/{'n' * 256}/net.safetensors"):
        failure(capsys, "train", *QUICK, "--out", out)
    assert files(tmp_path) == ["file"]


def test_no_run_goes_where_it_would_be_a_class(tmp_path, capsys, monkeypatch):
    image_folder(tmp_path / "photos")
    monkeypatch.chdir(tmp_path / "photos")
    options = (*QUICK, "--epochs", 1, "--size", 8)
    for out in ((), ("--out", "run"), ("--out", tmp_path / "photos" / "deep" / "net.safetensors")):
        said = failure(capsys, "train", ".", *options, *out)
        assert "would lie in the folder of the images, where" in said
        assert said.endswith("is taken for a class: name a folder elsewhere with --out\n")
    assert files(tmp_path / "photos") == ["bright", "dark"]
    assert run(capsys, "train", ".", *options, "--out", "../run")[0] == 0
    assert run(capsys, "train", ".", *options, "--out", "net.safetensors")[0] == 0  # files there are no classes


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def old_run(tmp_path, capsys):
    """A finished run with a trail of checkpoints, and a note of its owner's."""
    folder = tmp_path / "run"
    assert run(capsys, "train", *QUICK, "--epochs", 1, "--checkpoint-every", 1, "--out", folder)[0] == 0
    (folder / "notes.txt").write_text("mine")
    return folder


def test_the_old_run_is_back_if_the_new_one_fails_in_its_first_epoch(old_run, capsys):
    before = contents(old_run)
    said = failure(capsys, "train", *QUICK, "--lr", "1e40", "--overwrite", "--out", old_run)
    assert said.startswith("cnnlayers: step ")
    assert said.endswith(f"; the run that was in {old_run} is there as it was\n")
    assert contents(old_run) == before
    assert files(old_run) == sorted(before)


@pytest.mark.parametrize("place", ["on_train_begin", "on_step"])
def test_the_old_run_is_back_after_ctrl_c_in_the_first_epoch(place, old_run, capsys, monkeypatch):
    before = contents(old_run)

    def press(self, solver):
        raise KeyboardInterrupt

    monkeypatch.setattr(cl.EarlyStopping, place, press)
    code, told, said = run(capsys, "train", *QUICK, "--early-stopping", 5, "--overwrite", "--out", old_run)
    assert (code, said) == (130, "")
    assert told.splitlines()[-1].startswith("stopped: interrupted in epoch 1, after step ")
    assert told.splitlines()[-1].endswith(f"; the run that was in {old_run} is there as it was")
    assert contents(old_run) == before


def test_the_new_run_stays_if_it_is_stopped_after_its_first_epoch(old_run, capsys, monkeypatch):
    def press(self, solver):
        if solver.epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(cl.EarlyStopping, "on_step", press)
    code, told, _ = run(capsys, "train", *QUICK, "--early-stopping", 5, "--overwrite", "--seed", 1, "--out", old_run)
    assert code == 130
    assert f"to go on: cnnlayers resume {old_run}" in told
    assert "step-00000017.safetensors" not in files(old_run)
    assert (old_run / "notes.txt").read_text() == "mine"
    assert not list(old_run.glob("replaced*"))
    assert tomllib.loads((old_run / "config.toml").read_text())["seed"] == 1


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_move_that_fails_halfway_is_undone(n, error, old_run, capsys, monkeypatch):
    before = contents(old_run)
    rename, moved = Path.rename, []

    def failing(self, target):
        moved.append(self)
        if len(moved) == n:
            raise error("no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    assert run(capsys, "train", *QUICK, "--overwrite", "--out", old_run)[0] in (1, 130)
    assert contents(old_run) == before
    assert files(old_run) == sorted(before)


def test_a_kill_in_the_first_epoch_leaves_the_old_run_under_a_name(old_run, capsys):
    before = contents(old_run)
    program = "import os, sys, cnnlayers as cl; cl.Solver.train = lambda *a, **k: os.kill(os.getpid(), 9); "
    program += "from cnnlayers.command.main import main; main(sys.argv[1:])"
    for name in ("replaced", "replaced-2"):  # a second run puts what the first one left aside too, and deletes nothing
        subprocess.run(
            [sys.executable, "-c", program, "train", *QUICK, "--overwrite", "--out", str(old_run)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            check=False,
        )
        assert (old_run / name).is_dir()
    kept = {f"replaced/{name}": content for name, content in before.items() if name != "notes.txt"}
    assert kept.items() <= contents(old_run).items()
    assert run(capsys, "evaluate", old_run / "replaced")[0] == 0
    assert f"the run that was to be replaced is in {old_run / 'replaced'}" in failure(capsys, "resume", old_run)
    assert run(capsys, "train", *QUICK, "--epochs", 1, "--overwrite", "--out", old_run)[0] == 0
    assert kept.items() <= contents(old_run).items()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"checkpoint-every": 2, "out": "net.safetensors"}, "--checkpoint-every needs a folder for the run; --out"),
        ({"momentum": 0.5, "optimizer": "adam"}, "--momentum is for --optimizer sgd or muon; got --optimizer adam"),
        (
            {"download": True},
            "--download needs DATA to be a folder named mnist, fashion-mnist, cifar10 or cifar100; got",
        ),
        ({"warmup": 2, "schedule": "onecycle"}, "--warmup is not for --schedule onecycle, which has a rise of its own"),
    ],
)
def test_options_that_do_not_go_together_are_refused_before_any_data_is_read(wrong, message, tmp_path, capsys):
    words = [word for name, value in wrong.items() for word in (f"--{name}", value) if word is not True]
    assert message in refused(capsys, "train", tmp_path / "none.npz", *words)
    lines = [
        f"{name} = {str(value).lower() if value is True else repr(value)}\n"
        for name, value in ({"data": "none.npz"} | wrong).items()
    ]
    file = _written(tmp_path / "c.toml", "".join(lines))
    assert message in refused(capsys, "train", "--config", file)


def test_a_mistake_in_a_file_is_one_as_on_the_command_line(tmp_path, capsys):
    for text in ("epochs = 0", "epochs = ", "model = 'alexnet'", "[train]\nepochs = 1"):
        said = refused(capsys, "train", "--config", _written(tmp_path / "c.toml", text))
        assert f"cnnlayers train: error: {tmp_path / 'c.toml'}: " in said
    assert run(capsys, "train", *QUICK, "--epochs", 1, "--out", tmp_path / "run")[0] == 0
    _written(tmp_path / "run" / "config.toml", "epochs = 0")  # nobody's call, but a damaged run
    for command in ("resume", "evaluate"):
        assert "config.toml: epochs: a whole number" in failure(capsys, command, tmp_path / "run")


def test_a_square_npz_is_said_to_be_read_as_images_once(tmp_path, capsys):
    x, y = np.random.default_rng(0).random((30, 8, 8), np.float32), np.arange(30) % 3
    np.savez(tmp_path / "a.npz", x=x, y=y)
    arguments = ["train", tmp_path / "a.npz", *QUICK, "--epochs", 1, "--out"]
    code, told, said = run(capsys, *arguments, tmp_path / "run")
    assert code == 0
    assert said == (
        f"cnnlayers: {tmp_path / 'a.npz'}: x, float32 of shape (30, 8, 8), is taken for gray images (N, H, W); "
        "--no-signals says so, --signals takes it for signals (N, L, C)\n"
    )
    assert "images of 8 x 8 x 1" in told
    for command in (["evaluate"], ["resume"], ["evaluate", tmp_path / "a.npz"]):
        assert run(capsys, command[0], tmp_path / "run", *command[1:])[::2] == (0, "")
    assert run(capsys, "evaluate", tmp_path / "run" / "net.safetensors", tmp_path / "a.npz")[::2] == (0, "")
    code, told, said = run(capsys, *arguments, tmp_path / "no", "--no-signals")
    assert (code, said) == (0, "")
    assert "images of 8 x 8 x 1" in told
    code, told, said = run(capsys, *arguments, tmp_path / "signals", "--signals")
    assert (code, said) == (0, "")
    assert "signals of 8 x 8, 3 classes" in told
    shutil.copy(tmp_path / "signals" / "net.safetensors", tmp_path / "net.safetensors")
    assert run(capsys, "evaluate", tmp_path / "net.safetensors", tmp_path / "a.npz")[::2] == (0, "")
    assert cl.load(tmp_path / "net.safetensors").input_shape == (8, 8)


def test_what_a_reader_says_again_and_again_is_said_once(tmp_path, capsys, monkeypatch):
    def noisy(*args, **options):
        for _ in range(3):
            warnings.warn("the palette of an image is odd", UserWarning, stacklevel=1)
            warnings.warn("of no use to who trains", DeprecationWarning, stacklevel=1)
        return open_data(*args, **options)

    monkeypatch.setattr(train, "open_data", noisy)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as Python does with those for developers
        code, _, said = run(capsys, "train", *QUICK, "--epochs", 1, "--out", tmp_path / "run")
    assert (code, said) == (0, "cnnlayers: the palette of an image is odd\n")


@pytest.mark.parametrize(("model", "code"), [("resnet8", 0), ("lenet", 1)])  # with a 5x5 kernel
def test_channels_that_come_first_are_said_once(model, code, tmp_path, capsys):
    file = tmp_path / "a.npz"
    np.savez(file, x=np.zeros((30, 3, 16, 16), np.uint8), y=np.arange(30) % 3)
    options = ["--epochs", 1, "--no-report", "--out", tmp_path / "run"]
    given, _, said = run(capsys, "train", file, "--model", model, *options)
    line, *error = said.splitlines()
    assert (given, len(error)) == (code, code)
    assert line.startswith(f"cnnlayers: {file}: Sequential is built for (N, 3, 16, 16), ")
    assert line.endswith("channels come last here, and cl.from_nchw(x) puts them there")


def test_numbers_that_are_not_finite_name_the_file(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", x=np.full((30, 8, 8, 1), np.nan), y=np.arange(30) % 3)
    said = failure(capsys, "train", tmp_path / "a.npz", *QUICK, "--out", tmp_path / "run")
    assert f"{tmp_path / 'a.npz'}: expected finite numbers in x; found nan in sample 0" in said
    assert not (tmp_path / "run").exists()


def test_a_schedule_with_a_memory_goes_on(tmp_path, capsys):
    arguments = [*QUICK, "--schedule", "plateau", "--epochs", 1, "--out", tmp_path]
    assert run(capsys, "train", *arguments)[0] == 0
    told = run(capsys, "resume", tmp_path, "--epochs", 1)[1]
    assert re.search(r"^ReduceOnPlateau\(.*\) goes on with what it remembers$", told, flags=re.MULTILINE)


def test_mixup(tmp_path, capsys):
    arguments = ["train", *QUICK, "--epochs", 3, "--mixup", 0.3, "--augment", "affine", "--out"]
    code, told, said = run(capsys, *arguments, tmp_path / "a")
    assert (code, said) == (0, "")
    assert re.search(r"^Compose\(steps=\(RandomAffine\(.*\), Mixup\(alpha=0.3\)\), dtype=", told, flags=re.MULTILINE)
    assert float(told.split()[-1].rstrip("%")) > 75
    assert run(capsys, "resume", tmp_path / "a", "--epochs", 1)[0] == 0
    assert tomllib.loads((tmp_path / "a" / "config.toml").read_text())["mixup"] == 0.3
    assert run(capsys, "train", "--config", tmp_path / "a" / "config.toml", "--out", tmp_path / "b")[0] == 0
    assert (tmp_path / "a" / "history.csv").read_text().splitlines()[1].rsplit(",", 1)[0] == (
        (tmp_path / "b" / "history.csv").read_text().splitlines()[1].rsplit(",", 1)[0]
    )


@pytest.fixture
def served(tmp_path, monkeypatch):
    """MNIST's files, small ones, on a server of this machine: the paths that are asked for."""
    source = tmp_path / "source"
    source.mkdir()
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(source))

        def log_message(self, *_):
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        for name in mnist.MNIST_FILES:
            n, shape = (60, (8, 8)) if name.startswith("train") else (20, (8, 8))
            a = np.random.default_rng(0).integers(0, 256, (n, *shape)) if "images" in name else np.arange(n) % 10
            (source / name).write_bytes(gzip.compress(encode(a.astype(np.uint8))))
        for files in (mnist.MNIST_FILES, mnist.FASHION_FILES):
            for name in files:
                content = (source / name).read_bytes()
                url = f"http://127.0.0.1:{server.server_port}/{name}"
                monkeypatch.setitem(files, name, Remote(url, len(content), hashlib.sha256(content).hexdigest()))
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield asked
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("folder", "name"), [("mnist", "0"), ("Fashion-MNIST", "T-shirt/top")])
def test_download(folder, name, served, tmp_path, capsys):
    data = tmp_path / "data" / folder
    said = failure(capsys, "train", data, "--out", tmp_path / "run")
    assert f"there is no data at {data}; --download fetches it" in said
    assert served == []
    arguments = ["train", data, *QUICK, "--epochs", 1, "--download", "--out"]
    code, told, said = run(capsys, *arguments, tmp_path / "run")
    assert (code, said) == (0, "")
    assert f"{data}: Dataset(train=54, val=6, test=20 images of 8 x 8 x 1, 10 classes)" in told
    assert len(served) == 4
    assert cl.load(tmp_path / "run" / "net.safetensors").classes[0] == name
    assert "download" not in tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    for command in ("resume", "evaluate"):
        assert run(capsys, command, tmp_path / "run")[::2] == (0, "")
    assert run(capsys, *arguments, tmp_path / "again")[0] == 0
    assert len(served) == 4  # it is there


def test_a_download_that_fails(served, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(mnist.MNIST_FILES, "t10k-labels-idx1-ubyte.gz", Remote("http://127.0.0.1:9/none", 9, "0" * 64))
    said = failure(capsys, "train", tmp_path / "mnist", "--download", "--out", tmp_path / "run")
    assert "http://127.0.0.1:9/none: the server cannot be reached" in said
    assert not (tmp_path / "run").exists()

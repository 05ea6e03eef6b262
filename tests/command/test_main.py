"""The command: what it prints, what it leaves behind, and how it fails."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import types
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.command.main import main
from cnnlayers.look import insight
from tests.command.common import failure, refused, run

ROOT = Path(__file__).parents[2]


def history(file):
    """The rows of a CSV file, as dicts."""
    return list(csv.DictReader(file.read_text().splitlines()))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A saved net, two epochs old."""
    file = tmp_path_factory.mktemp("runs") / "net.safetensors"
    assert main(["train", "--model", "linear", "--epochs", "2", "--out", str(file)]) == 0
    return file


# Help and information


COMMANDS = ["train", "resume", "evaluate", "predict", "explain", "report", "summary", "gradcheck", "bench", "info"]


@pytest.mark.parametrize("arguments", [["--help"], *([name, "-h"] for name in COMMANDS)])
def test_help(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("usage: cnnlayers")


def test_help_of_train_names_every_option(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    told = capsys.readouterr().out
    for option in ("epochs", "batch-size", "lr", "optimizer", "model", "out", "seed", "threads"):
        assert f"--{option}" in told


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"cnnlayers {cl.__version__}\n"


def test_info(capsys):
    code, told, _ = run(capsys, "info")
    assert code == 0
    assert re.search(rf"^cnnlayers: +{re.escape(cl.__version__)}$", told, flags=re.MULTILINE)
    assert re.search(rf"^NumPy: +{re.escape(np.__version__)}$", told, flags=re.MULTILINE)
    assert re.search(rf"^threads: +{cl.get_num_threads()}$", told, flags=re.MULTILINE)
    assert re.search(rf"^MPI: +\w.* \d+\.[\d.]+, mpi4py {re.escape(version('mpi4py'))}$", told, flags=re.MULTILINE)


def test_info_says_if_there_is_no_mpi(tmp_path, capsys, monkeypatch):
    (tmp_path / "mpi4py").mkdir()
    (tmp_path / "mpi4py" / "__init__.py").write_text("__version__ = '4.9'\nclass rc: pass\n")
    (tmp_path / "mpi4py" / "MPI.py").write_text("raise RuntimeError('cannot load MPI library')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "mpi4py", types.SimpleNamespace(__version__="4.9"))
    assert "MPI:        no library that can be loaded, mpi4py 4.9\n" in run(capsys, "info")[1]
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    assert "MPI:        not installed\n" in run(capsys, "info")[1]


# train


def test_train_prints_saves_and_tests(tmp_path, capsys):
    file = tmp_path / "new" / "folder" / "net.safetensors"
    code, told, _ = run(capsys, "train", "--epochs", 1, "--out", file)
    assert code == 0
    lines = told.splitlines()
    assert re.fullmatch(r"test accuracy: \d\d\.\d%", lines[-1])
    assert lines[-2] == f"saved {file} and {file.with_suffix('.csv')}"
    assert cl.models.digits_resnet(rng=0).summary() in told
    assert sum(line.startswith("epoch 1/1 ") for line in lines) == 1
    assert sorted(path.name for path in file.parent.iterdir()) == ["net.csv", "net.safetensors"]

    net = cl.load(file)
    x, y = cl.datasets.digits().test
    assert f"{cl.accuracy(net.predict(x), y):.1%}" == lines[-1].split()[-1]
    assert net.classes == tuple("0123456789")


def test_train_writes_the_history(trained):
    rows = history(trained.with_suffix(".csv"))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert {"train_loss", "val_loss", "train_accuracy", "val_accuracy", "lr", "seconds"} <= rows[0].keys()
    assert float(rows[1]["train_loss"]) < float(rows[0]["train_loss"])


def test_the_same_seed_gives_the_same_net(trained, tmp_path, capsys):
    for seed, name in ((0, "same"), (1, "other")):
        out = tmp_path / f"{name}.safetensors"
        assert run(capsys, "train", "--model", "linear", "--epochs", 2, "--seed", seed, "--out", out)[0] == 0
    first, same, other = (cl.load(f) for f in (trained, tmp_path / "same.safetensors", tmp_path / "other.safetensors"))
    np.testing.assert_array_equal(first.flat_params, same.flat_params)
    assert not np.array_equal(first.flat_params, other.flat_params)


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adagrad", "adam", "adamw"])
def test_every_optimizer_learns(optimizer, tmp_path, capsys):
    out = tmp_path / "net.safetensors"
    code, told, _ = run(
        capsys, "train", "--model", "linear", "--epochs", 5, "--optimizer", optimizer, "--lr", 0.03, "--out", out
    )
    assert code == 0
    assert float(told.split()[-1].rstrip("%")) > 75  # guessing gives 10
    assert "lr=0.03" in told


def test_options_reach_the_training(tmp_path, capsys):
    out = tmp_path / "net.safetensors"
    arguments = ["--model", "cnn", "--epochs", 1, "--batch-size", 500, "--threads", 1, "--out", out]
    code, told, _ = run(capsys, "train", *arguments)
    assert code == 0
    assert "batches of 500, 1 thread" in told
    assert cl.models.digits_cnn(rng=0).summary() in told
    assert cl.get_num_threads() == 1


def test_warnings_are_lines_of_the_command_each_once(capsys, monkeypatch):
    def noisy(self):
        for _ in range(2):
            warnings.warn("of use to who asks", UserWarning, stacklevel=1)
            warnings.warn("numbers overflow", RuntimeWarning, stacklevel=1)
            warnings.warn("of use to developers", DeprecationWarning, stacklevel=1)
        return "layers"

    monkeypatch.setattr(cl.Sequential, "summary", noisy)
    with warnings.catch_warnings(record=True) as others:
        warnings.simplefilter("always", DeprecationWarning)
        assert run(capsys, "summary", "linear") == (
            *(0, "layers\n"),
            "cnnlayers: of use to who asks\ncnnlayers: numbers overflow\n",
        )
    assert {other.category for other in others} == {DeprecationWarning}


@pytest.mark.parametrize("lr", ["1e20", "1e40"])
@pytest.mark.parametrize("model", ["linear", "cnn", "resnet"])
def test_a_rate_that_is_too_high_stops_with_the_step_and_saves_nothing(model, lr, tmp_path, capsys):
    out = tmp_path / "net.safetensors"
    code, _, said = run(capsys, "train", "--model", model, "--lr", lr, "--epochs", 2, "--out", out)
    assert code == 1
    assert re.match(r"cnnlayers: step \d+: ", said)
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("photos", "--out needs a folder of its own; there are other things in"),
        ("net.csv", "--out needs a folder, or a file FILE.safetensors for the net alone"),
        ("old.safetensors", "--out needs a file for the net"),
    ],
)
def test_an_out_that_cannot_be_is_refused_before_the_training(name, message, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").touch()
    (tmp_path / "net.csv").touch()
    (tmp_path / "old.safetensors").mkdir()
    code, told, said = run(capsys, "train", "--epochs", 1, "--out", tmp_path / name)
    assert (code, told) == (1, "")
    assert said.startswith(f"cnnlayers: {message}")


def test_a_folder_that_is_a_file(trained, capsys):
    assert "exists" in failure(capsys, "train", "--out", trained / "net.safetensors")


# evaluate and summary


def test_evaluate(trained, capsys):
    x, y = cl.datasets.digits().test
    net = cl.load(trained)
    code, told, _ = run(capsys, "evaluate", trained)
    assert code == 0
    assert told.splitlines() == [
        f"test loss: {cl.SoftmaxLoss().forward(net.predict(x), y):.4f}",
        f"test accuracy: {cl.accuracy(net.predict(x), y):.1%}",
    ]


@pytest.mark.parametrize("part", ["train", "val"])
def test_evaluate_another_part(part, trained, capsys):
    x, y = getattr(cl.datasets.digits(), part)
    code, told, _ = run(capsys, "evaluate", trained, "--part", part)
    assert code == 0
    assert told.splitlines()[-1] == f"{part} accuracy: {cl.accuracy(cl.load(trained).predict(x), y):.1%}"


@pytest.mark.parametrize("views", ["mirror", "mirror_and_shift"])
def test_evaluate_over_views(views, trained, capsys):
    x, y = cl.datasets.digits().test
    scores = cl.load(trained).predict(x, views=getattr(cl.augment, views))
    code, told, said = run(capsys, "evaluate", trained, "--views", views)
    assert (code, said) == (0, "")
    assert told.splitlines() == [
        f"test loss: {cl.SoftmaxLoss().forward(scores, y):.4f}",
        f"test accuracy: {cl.accuracy(scores, y):.1%}",
    ]
    assert told != run(capsys, "evaluate", trained)[1]


def test_summary(trained, capsys):
    code, told, _ = run(capsys, "summary", trained)
    assert code == 0
    assert told == f"{cl.load(trained).summary()}\nclasses: {', '.join('0123456789')}\n"


def test_summary_without_classes(tmp_path, capsys):
    net = cl.models.linear(rng=0)
    net.save(tmp_path / "net.safetensors")
    assert run(capsys, "summary", tmp_path / "net.safetensors")[:2] == (0, f"{net.summary()}\n")


# report


def test_report(trained, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    for name in ("net.safetensors", "net.csv"):
        shutil.copy(trained.with_name(name), tmp_path)
    page = tmp_path / "report.html"
    assert run(capsys, "report", tmp_path) == (0, f"report: {page}\n", "")
    assert "Test accuracy: " in page.read_text()
    page.unlink()
    assert run(capsys, "report", tmp_path / "net.safetensors")[0] == 0
    assert page.is_file()


def test_report_of_nothing(tmp_path, capsys):
    assert f"there is no net in {tmp_path}" in failure(capsys, "report", tmp_path)


def test_train_leaves_a_report(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    code, told, said = run(capsys, "train", "--model", "linear", "--epochs", 1, "--out", tmp_path)
    assert (code, said) == (0, "")
    assert told.splitlines()[-2] == f"report: {tmp_path / 'report.html'}"
    page = (tmp_path / "report.html").read_text()
    assert "Test accuracy: " in page
    assert "optimizer = &quot;sgd&quot;" in page  # its config.toml


def test_without_matplotlib_train_says_how_to_get_a_report(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, told, said = run(capsys, "train", "--model", "linear", "--epochs", 1, "--out", tmp_path)
    assert (code, said) == (0, "")
    assert told.splitlines()[-2] == 'no report: report.write needs matplotlib: pip install "cnnlayers[plot]"'
    said = failure(capsys, "report", tmp_path)
    assert said == 'cnnlayers: report.write needs matplotlib: pip install "cnnlayers[plot]"\n'
    assert not (tmp_path / "report.html").exists()


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: command"),
        (["trian"], "invalid choice: 'trian'"),
        (["evaluate"], "required: FILE"),
        (["summary"], "required: FILE"),
        (["resume"], "required: RUN"),
        (["predict", "file"], "required: IMAGE"),
        (["info", "file"], "usage: cnnlayers info"),
        (["report"], "required: RUN"),
        (["info", "file"], "unrecognized arguments: file"),
        (["train", "--learning-rate=1"], "unrecognized arguments: --learning-rate=1"),
        (["train", "a", "b"], "unrecognized arguments: b"),
        (["train", "--size", "32x"], "whole number of at least 1 is needed; got ''"),
        (["train", "--size", "8x8x3"], "a size such as 32 or 32x48 (height x width) is needed; got '8x8x3'"),
        (["train", "--channels", "2"], "invalid choice: 2"),
        (["train", "--val", "1.0"], "a number below 1 is needed; got '1.0'"),
        (["train", "--clip-norm", "0"], "a number above 0 is needed; got '0'"),
        (["train", "--epochs", "0"], "whole number of at least 1 is needed; got '0'"),
        (["train", "--epochs", "2.5"], "whole number of at least 1 is needed; got '2.5'"),
        (["train", "--epochs", "-3"], "whole number of at least 1 is needed; got '-3'"),
        (["train", "--batch-size", "many"], "whole number of at least 1 is needed; got 'many'"),
        (["train", "--threads", "0"], "whole number of at least 1 is needed; got '0'"),
        (["train", "--seed", "-1"], "whole number of at least 0 is needed; got '-1'"),
        (["train", "--lr", "fast"], "number of at least 0 is needed; got 'fast'"),
        (["train", "--lr", "nan"], "number of at least 0 is needed; got 'nan'"),
        (["train", "--lr", "inf"], "number of at least 0 is needed; got 'inf'"),
        (["train", "--lr=-0.1"], "number of at least 0 is needed; got '-0.1'"),
        (["train", "--model", "alexnet"], "invalid choice: 'alexnet'"),
        (["train", "--optimizer", "lion"], "invalid choice: 'lion'"),
        (["evaluate", "file", "--part", "all"], "invalid choice: 'all'"),
        (["evaluate", "file", "--views", "flip"], "argument --views: invalid choice: 'flip'"),
        (["predict", "file", "image", "--views", "shift"], "argument --views: invalid choice: 'shift'"),
    ],
)
def test_wrong_arguments(arguments, message, capsys):
    assert message in refused(capsys, *arguments)


def test_more_threads_than_there_can_be(capsys):
    assert "from 1 to 1024; got 5000" in failure(capsys, "train", "--threads", 5000)


@pytest.mark.parametrize("command", ["evaluate", "summary"])
def test_a_missing_file(command, tmp_path, capsys):
    said = failure(capsys, command, tmp_path / "none.safetensors")
    assert "No such file" in said
    assert "none.safetensors" in said


@pytest.mark.parametrize("command", ["evaluate", "summary"])
def test_a_folder_in_place_of_a_file(command, tmp_path, capsys):
    assert str(tmp_path) in failure(capsys, command, tmp_path)


@pytest.mark.parametrize("command", ["evaluate", "summary"])
@pytest.mark.parametrize("damage", ["empty", "cut", "changed", "text"])
def test_a_damaged_file(command, damage, trained, tmp_path, capsys):
    good = trained.read_bytes()
    bad = {
        "empty": b"",
        "cut": good[: len(good) // 2],
        "changed": good[:-1] + bytes([good[-1] ^ 1]),
        "text": b"not a net\n" * 100,
    }
    file = tmp_path / "bad.safetensors"
    file.write_bytes(bad[damage])
    assert "bad.safetensors" in failure(capsys, command, file)


def test_a_net_for_other_inputs(tmp_path, capsys):
    file = tmp_path / "lenet.safetensors"
    cl.models.lenet(rng=0).save(file)
    said = failure(capsys, "evaluate", file)
    assert "takes inputs of shape (28, 28, 1); the digits have (8, 8, 1)" in said


def test_a_net_with_too_few_classes(tmp_path, capsys):
    file = tmp_path / "five.safetensors"
    cl.models.linear(classes=5, rng=0).save(file)
    assert "labels must be integers in 0..4" in failure(capsys, "evaluate", file)


# Processes


def python(*arguments, **options):
    """A fresh interpreter that finds the package wherever it stands."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-W", "error", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_python_m(tmp_path):
    with python("-m", "cnnlayers", "train", "--model", "linear", "--epochs", "1", cwd=tmp_path) as process:
        told, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert re.fullmatch(r"test accuracy: \d\d\.\d%", told.splitlines()[-1])
    assert said == ""
    assert (tmp_path / "runs" / "digits" / "net.safetensors").is_file()


def test_python_m_gives_the_exit_code(tmp_path):
    with python("-m", "cnnlayers", "summary", "none", cwd=tmp_path) as process:
        _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert said == "cnnlayers: [Errno 2] No such file or directory: 'none'\n"


def test_ctrl_c_saves_the_net_and_says_where_it_stopped(tmp_path):
    # A shell gives what it starts in the background no Ctrl-C; so the handler is set as in the foreground.
    program = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program += "from cnnlayers.command.main import main; sys.exit(main())"
    arguments = ["train", "--model", "linear", "--epochs", "1000000", "--out", "net.safetensors"]
    with python("-c", program, *arguments, cwd=tmp_path) as process:
        while not process.stdout.readline().startswith("epoch"):
            assert process.poll() is None, process.stderr.read()
        process.send_signal(signal.SIGINT)
        told, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert said == ""
    assert re.search(r"^stopped: interrupted in epoch \d+, after step \d+$", told, flags=re.MULTILINE)
    assert re.fullmatch(r"test accuracy: \d\d\.\d%", told.splitlines()[-1])
    assert len(history(tmp_path / "net.csv")) >= 1
    assert cl.load(tmp_path / "net.safetensors").input_shape == (8, 8, 1)


def test_ctrl_c_outside_training_ends_without_a_traceback(trained, capsys, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(insight, "cross_entropy", interrupted)
    assert run(capsys, "evaluate", trained) == (130, "", "")

"""Writing a file: whole or not at all, by its own name, and tried beforehand."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import writing
from cnnlayers.command import config_file
from cnnlayers.writing import check_writable, remove_leftovers, write_atomically
from tests.windows import files_as_on_windows

ROOT = Path(__file__).parents[1]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


def small():
    return cl.Sequential([cl.Affine(2)], input_shape=(2,), rng=0)


def of_history():
    history = cl.History()
    history.append(train_loss=1.0)
    return history


WRITERS = {
    "write_atomically": lambda path: write_atomically(path, b"data"),
    "check_writable": check_writable,
    "a net": lambda path: small().save(path),
    "a history": lambda path: of_history().save(path),
    "a config": lambda path: config_file.write(path, {"lr": 0.1}),
    "a checkpoint": lambda path: cl.Solver(
        small(), (np.eye(2), [0, 1]), loss=cl.SoftmaxLoss(), optimizer=cl.SGD(lr=0.1)
    ).save(path),
}


def as_it_was(folder):
    return {str(file): file.is_file() and file.read_bytes() for file in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(
    ("to", "error"),
    [
        ("missing/net", FileNotFoundError),
        ("a file/net", NotADirectoryError),
        ("a folder", IsADirectoryError),
        ("a folder/", IsADirectoryError),
        ("new/", IsADirectoryError),
        ("x" * 256, OSError),
    ],
)
def test_an_error_names_the_file_that_was_asked_for(name, to, error, tmp_path):
    (tmp_path / "a file").write_text("old")
    (tmp_path / "a folder").mkdir()
    before, asked = as_it_was(tmp_path), f"{tmp_path}/{to}"
    with pytest.raises(error) as raised:
        WRITERS[name](asked)
    assert type(raised.value) is error
    assert raised.value.filename == asked
    assert raised.value.filename2 is None
    assert str(raised.value).endswith(f"{os.strerror(raised.value.errno)}: {asked!r}")
    if error is OSError:
        assert raised.value.errno == errno.ENAMETOOLONG
    assert as_it_was(tmp_path) == before


@pytest.mark.parametrize("name", WRITERS)
def test_a_name_of_any_legal_length(name, tmp_path):
    for file in ("a" * 255, "ä" * 127, "b" * 199, "b" * 200, "b" * 201, "c" * 250 + ".csv"):
        WRITERS[name](tmp_path / file)
        assert [left.name for left in tmp_path.iterdir()] == ([] if name == "check_writable" else [file])
        (tmp_path / file).unlink(missing_ok=True)


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_in_the_folder_that_is_at_hand(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    WRITERS[name]("net")
    assert os.listdir() == ([] if name == "check_writable" else ["net"])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
@pytest.mark.parametrize("name", WRITERS)
def test_a_pipe_or_a_device_is_not_replaced(name, path):
    os.mkfifo(path)
    for file in (path, path.with_name("link")):
        if file != path:
            file.symlink_to(path)
        with pytest.raises(OSError, match="There is a device or a pipe, which a file would replace") as raised:
            WRITERS[name](file)
        assert (raised.value.errno, raised.value.filename) == (errno.EINVAL, str(file))
    assert path.is_fifo()
    assert sorted(os.listdir(path.parent)) == ["file", "link"]


@pytest.mark.parametrize("fails", ["write", "flush", "fsync", "replace", "open"])
def test_an_error_in_the_middle_names_the_file_too(fails, path, monkeypatch):
    error = OSError(errno.ENOSPC, "No space left on device", *(["a hidden name"] if fails == "open" else []))

    def broken(*arguments, **options):
        raise error

    class Full:
        def __init__(self, name, mode):
            self.file = real(name, mode)
            setattr(self, fails, broken)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def __getattr__(self, name):
            return getattr(self.file, name)

    write_atomically(path, b"old")
    real = open
    with monkeypatch.context() as patch:
        if fails in ("fsync", "replace"):
            patch.setattr(os, fails, broken)
        else:
            patch.setattr("builtins.open", broken if fails == "open" else Full)
        with pytest.raises(OSError, match="No space left") as raised:
            write_atomically(path, b"new")
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(path))
    assert os.listdir(path.parent) == [path.name]
    assert path.read_bytes() == b"old"


def test_what_is_tried_leaves_nothing_and_changes_nothing(path):
    check_writable(path)
    assert os.listdir(path.parent) == []
    path.write_bytes(b"old")
    check_writable(path)
    assert os.listdir(path.parent) == [path.name]
    assert path.read_bytes() == b"old"


def test_what_a_killed_process_left_of_a_file_is_removed(tmp_path):
    names = (".last.safetensors.0123abcd.tmp", ".other.safetensors.0123abcd.tmp", ".last.safetensors.tmp", "last.tmp")
    for name in names:
        (tmp_path / name).touch()
    remove_leftovers(tmp_path, "last.safetensors")
    assert {file.name for file in tmp_path.iterdir()} == set(names[1:])


@pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0 or shutil.which("unshare") is None, reason="needs root")
@pytest.mark.parametrize("call", ["check_writable(path)", "write_atomically(path, b'')"])
def test_a_file_system_that_is_read_only(call, path):
    """Where permissions say nothing: root may write everywhere, but nobody can here."""
    program = (
        f"from cnnlayers.writing import *\npath = {str(path)!r}\n"
        f"try:\n    {call}\nexcept OSError as error:\n    print(error.errno, error.filename)"
    )
    folder = path.parent
    mount = f"mount --bind {folder} {folder} && mount -o remount,ro,bind {folder}"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f'{mount} || exit 77; exec "$0" -c "$1"', sys.executable, program],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    if done.returncode == 77:
        pytest.skip("this container may not mount")
    assert done.stdout == f"{errno.EROFS} {path}\n"


def test_a_write_that_fails_half_way_leaves_the_old_file(path, monkeypatch):
    write_atomically(path, b"old")
    real = open

    def full(name, mode):
        file = real(name, mode)
        write = file.write

        class Full:
            def __enter__(self):
                return self

            def __exit__(self, *error):
                file.close()

            def write(self, data):
                write(data[:2])
                raise OSError(28, "No space left on device")

        return Full()

    monkeypatch.setattr("builtins.open", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new and longer")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == [path.name]


def test_the_new_file_is_durable_before_the_old_one_goes(path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: calls.append("fsync") or fsync(fd))
    monkeypatch.setattr(os, "replace", lambda a, b: calls.append("replace") or replace(a, b))
    write_atomically(path, b"new")
    assert calls == ["fsync", "replace", "fsync"]
    assert path.read_bytes() == b"new"


# Windows: a file that a program has open is not replaced, no folder can be opened, and some names are not a file's.


@pytest.mark.parametrize("name", WRITERS)
def test_a_name_that_windows_keeps_for_a_device(name, tmp_path, monkeypatch):
    files_as_on_windows(monkeypatch)
    for file in ("nul", "CON", "aux.csv", "Lpt1.net.safetensors"):
        with pytest.raises(OSError, match="Windows keeps this name for a device") as raised:
            WRITERS[name](tmp_path / file)
        assert (raised.value.errno, raised.value.filename) == (errno.EINVAL, str(tmp_path / file))
    assert os.listdir(tmp_path) == []
    for file in ("auxiliary.csv", "null", "net.con"):
        WRITERS[name](tmp_path / file)


def test_a_file_that_somebody_closes_soon_is_replaced(path, monkeypatch):
    files_as_on_windows(monkeypatch)
    write_atomically(path, b"old")
    naps = []
    with open(path, "rb") as scanned:
        monkeypatch.setattr("time.sleep", lambda seconds: naps.append(seconds) or (len(naps) == 3 and scanned.close()))
        write_atomically(path, b"new")
    assert len(naps) == 3
    assert path.read_bytes() == b"new"


def test_a_file_that_somebody_looks_at_hinders_no_trial(path, monkeypatch):
    files_as_on_windows(monkeypatch)
    opened, naps = [], []

    def close(seconds):
        naps.append(seconds)
        opened[0].close()

    class Scanned:
        """A new file, which a scanner opens when it is closed."""

        def __init__(self, name, mode):
            self.name = name
            open(name, mode).close()

        def __enter__(self):
            return self

        def __exit__(self, *error):
            opened.append(open(self.name, "rb"))  # noqa: SIM115

    monkeypatch.setattr("time.sleep", close)
    monkeypatch.setattr(writing, "open", Scanned, raising=False)
    writing.check_writable(path)
    assert len(naps) == 1
    assert os.listdir(path.parent) == []


def test_a_temporary_name_is_no_longer_than_a_path_may_be(path, monkeypatch):
    assert writing._temporary(path).name.startswith(f".{path.name}.")
    monkeypatch.setattr(writing, "LONGEST_PATH", len(str(path)))
    assert len(writing._temporary(path).name) == len(".01234567.tmp")
    write_atomically(path, b"whole")
    assert path.read_bytes() == b"whole"


def test_a_file_that_stays_open_stays_as_it_is(path, monkeypatch):
    files_as_on_windows(monkeypatch)
    monkeypatch.setattr(writing, "PATIENCE", 0.01)
    write_atomically(path, b"old")
    with open(path, "rb"), pytest.raises(PermissionError) as raised:
        write_atomically(path, b"new")
    assert (raised.value.errno, raised.value.filename) == (errno.EACCES, str(path))
    assert os.listdir(path.parent) == [path.name]
    assert path.read_bytes() == b"old"

"""Every command where names are not UTF-8, or the terminal knows ASCII alone."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cnnlayers as cl

ROOT = Path(__file__).parents[2]
LATIN, UTF8 = b"caf\xe9", "döner".encode()  # two classes
PLAIN = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
PLACES = {
    "UTF-8": {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "utf-8:strict"},
    "ASCII": PLAIN,
    "a terminal of ASCII": {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "ascii"},
    "a terminal of Latin-1": {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "latin-1"},
}
PRINTED = {"UTF-8": "döner".encode(), "a terminal of Latin-1": "döner".encode("latin-1")}  # else with an escape


@pytest.fixture
def top(tmp_path):
    """A folder, as bytes, with a folder of images of two classes; all names in it are odd."""
    folder = os.fsencode(tmp_path)
    try:
        os.mkdir(folder + b"/" + LATIN)
    except OSError:
        pytest.skip("this file system has names in UTF-8 alone")
    for shade, name in ((0, LATIN), (120, UTF8)):
        os.makedirs(folder + b"/d\xe4ta/" + name)
        for i in range(10):
            image = Image.fromarray(np.full((8, 8, 3), shade + i, np.uint8))
            image.save(os.fsdecode(folder + b"/d\xe4ta/" + name + b"/\xfc%d.png" % i))
    return folder


def command(top, place, *arguments):
    """Call the command in that folder: exit code, standard output, standard error."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "cnnlayers", *arguments],
        capture_output=True,
        cwd=top,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | PLACES[place],
    )
    return done.returncode, done.stdout, done.stderr


def done(top, place, *arguments):
    code, told, said = command(top, place, *arguments)
    assert (code, said) == (0, b""), (told, said)
    return told


@pytest.mark.parametrize("place", PLACES)
def test_every_command(place, top):
    quick = ["--size", "8", "--model", "linear", "--epochs", "1", "--val", "4", "--test", "4", "--no-report"]
    run, image = b"r\xfcns/1", b"d\xe4ta/" + LATIN + b"/\xfc3.png"
    done(top, place, "train", b"d\xe4ta", *quick, "--out", run)
    done(top, place, "resume", run, "--epochs", "1", "--threads", "1")
    for arguments in (["evaluate", run, b"d\xe4ta"], ["summary", run], ["report", run]):
        assert b"Traceback" not in done(top, place, *arguments)
    told = done(top, place, "predict", run, image, "--top", "2")
    assert b"caf\\xe9 " in told
    assert PRINTED.get(place, b"d\\xf6ner") + b" " in told
    net = cl.load(os.fsdecode(top + b"/" + run + b"/net.safetensors"))
    assert net.classes == ("caf\\xe9", "döner")
    page = Path(os.fsdecode(top + b"/" + run + b"/report.html")).read_text(encoding="utf-8")
    assert "caf\\xe9" in page
    assert "döner" in page
    assert "file:///" in Path(os.fsdecode(top + b"/" + run + b"/config.toml")).read_text(encoding="utf-8")


@pytest.mark.parametrize("place", PLACES)
def test_every_complaint(place, top):
    for arguments in (
        ["train", b"n\xf6ne"],
        ["resume", b"n\xf6ne"],
        ["predict", b"n\xf6ne", "a"],
        ["report", b"n\xf6ne"],
    ):
        code, told, said = command(top, place, *arguments)
        assert (code, told) == (1, b"")
        assert said.startswith(b"cnnlayers: ")
        assert said.count(b"\n") == 1
        assert rb"n\xf6ne" in said or rb"n\udcf6ne" in said  # as Python shows a text, or the name of an OSError's file
    assert command(top, place, "train", "--out", "x", b"n\xf6ne", b"n\xf6ne")[0] == 2


def test_the_default_folder_of_a_run(top):
    quick = ["--size", "8", "--model", "linear", "--epochs", "1", "--no-report"]
    done(top, "UTF-8", "train", b"d\xe4ta", *quick)
    done(top, "UTF-8", "train", b"d\xe4ta", *quick)
    assert sorted(os.listdir(top + b"/runs")) == [b"d\xe4ta", b"d\xe4ta-2"]


@pytest.mark.parametrize(("one", "other"), [("UTF-8", "ASCII"), ("ASCII", "UTF-8")])
def test_a_run_goes_on_in_another_place(one, other, top):
    quick = ["--size", "8", "--model", "linear", "--epochs", "1", "--no-report"]
    for i, name in enumerate((b"d\xe4ta", "döner".encode())):
        os.makedirs(top + b"/" + name, exist_ok=True)
        if i:
            os.rename(top + b"/d\xe4ta", top + b"/" + name)
        done(top, one, "train", name, *quick, "--out", b"run%d" % i)
        done(top, other, "resume", b"run%d" % i, "--epochs", "1")


def test_names_of_a_net_of_long_ago(top):
    """Its classes were the folders' names as Python has them."""
    quick = ["--size", "8", "--model", "linear", "--epochs", "1", "--no-report", "--out", "run"]
    done(top, "UTF-8", "train", b"d\xe4ta", *quick)
    file = os.fsdecode(top + b"/run/net.safetensors")
    net = cl.load(file)
    net.save(file, classes=[os.fsdecode(LATIN), os.fsdecode(UTF8)])
    assert cl.load(file).classes == (os.fsdecode(LATIN), "döner")
    done(top, "UTF-8", "evaluate", "run")
    assert b"caf\\xe9" in done(top, "UTF-8", "summary", "run")
    assert b"caf\\xe9" in done(top, "UTF-8", "predict", "run", b"d\xe4ta/" + LATIN + b"/\xfc3.png", "--top", "2")

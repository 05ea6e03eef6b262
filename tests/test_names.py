"""Names of files that are no text: what people read of them, and the way back to the file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cnnlayers import writing
from cnnlayers.names import path_as_text, path_of_text, readable

ROOT = Path(__file__).parents[1]
FOLDERS = ("benchmarks", "cnnlayers", "docs", "examples", "tests")
NAMES = {
    "plain": b"a folder",
    "UTF-8": "café ✓ 猫".encode(),
    "Latin-1": b"caf\xe9",
    "neither": b"\xff\xfe\x80",
    "a percent sign": b"100% \xe9 %E9",
    "an escape that was there": b"caf\\xe9",
    "quotes and a line's end": b'a "b"\n\xe9',
}


def test_windows_takes_the_names_of_all_files():
    files = [file.relative_to(ROOT) for folder in FOLDERS for file in (ROOT / folder).rglob("*")]
    assert len(files) > 300
    for file in files:
        assert not writing._is_reserved(file)
        assert not set('<>:"|?*\\') & set(str(file))
    assert len({str(file).lower() for file in files}) == len(files)


def test_what_is_read():
    assert readable("café ✓ \\xe9") == "café ✓ \\xe9"
    assert readable(os.fsdecode(b"caf\xe9/\xff")) == "caf\\xe9/\\xff"
    assert readable("\ud800") == "\\ud800"  # a surrogate that stands for no byte
    assert readable("✓ \udce9 \ud800\udfff") == "✓ \\xe9 \\ud800\\udfff"
    assert readable("") == ""
    for name in NAMES.values():
        readable(os.fsdecode(name)).encode()


def test_utf8_that_python_took_for_ascii_is_read_as_what_it_is():
    assert readable("caf\udcc3\udca9 \udce9") == "café \\xe9"


@pytest.mark.parametrize("name", NAMES)
def test_a_path_comes_back_from_text(name):
    path = os.fsdecode(b"/data/" + NAMES[name])
    text = path_as_text(path)
    text.encode()
    assert path_of_text(text) == path
    assert path_as_text(path_of_text(text)) == text


def test_relative_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert path_as_text("a") == f"{tmp_path}/a"
    assert path_of_text(path_as_text("caf\udce9")) == f"{tmp_path}/caf\udce9"
    assert path_of_text("digits") == "digits"


def test_a_drive_of_windows_comes_back(monkeypatch):
    texts = ("file:///C:/data/caf%E9", "file:////server/caf%E9", "C:\\data")
    with monkeypatch.context() as patch:
        patch.setattr(os, "name", "nt")
        paths = [path_of_text(text) for text in texts]
    assert paths == ["C:/data/caf\udce9", "//server/caf\udce9", "C:\\data"]
    assert path_of_text(texts[0]) == "/C:/data/caf\udce9"


@pytest.mark.parametrize("name", NAMES)
def test_a_path_comes_back_where_python_takes_names_for_ascii(name):
    """And one that was written there, elsewhere."""
    program = (
        "import os, sys\nfrom cnnlayers.names import *\npath, text = map(os.fsencode, sys.argv[1:])\n"
        "assert os.fsencode(path_of_text(text.decode())) == path, path_of_text(text.decode())\n"
        "sys.stdout.buffer.write(path_as_text(os.fsdecode(path)).encode())"
    )
    path = b"/data/" + NAMES[name]
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-c", program, path, path_as_text(os.fsdecode(path))]
    done = subprocess.run(arguments, capture_output=True, env=os.environ | plain)
    assert done.stderr == b""
    assert os.fsencode(path_of_text(done.stdout.decode())) == path

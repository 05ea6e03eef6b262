"""Printing to whatever stands for a stream never fails."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tqdm import tqdm

from cnnlayers.terminal import Unfailing, is_terminal, print_line, settle
from tests.streams import STREAMS, Broken, Tee

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", STREAMS)
def test_nothing_fails(name):
    stream = STREAMS[name]()
    assert is_terminal(stream) == ("terminal" in name)
    print_line("döner \udce9 \u2713", stream)
    settle(stream)
    with tqdm(total=2, file=Unfailing(stream)) as bar:
        bar.update(2)


def test_a_line_comes_at_once():
    stream = io.TextIOWrapper(io.BufferedWriter(raw := io.BytesIO()), encoding="utf-8")
    print_line("one", stream)
    print_line("two\n", stream)
    assert raw.getvalue() == b"one\ntwo\n\n"
    tee = Tee()
    print_line("three", tee)
    assert tee.text == "three\n"


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [("ascii", b"caf\\xe9 \\u2713\n"), ("latin-1", b"caf\xe9 \\u2713\n"), ("utf-8", "café ✓\n".encode())],
)
def test_what_the_encoding_lacks_is_an_escape(encoding, printed):
    raw = io.BytesIO()
    print_line("café ✓", stream := io.TextIOWrapper(raw, encoding=encoding))
    assert stream.encoding == encoding
    assert raw.getvalue() == printed


def test_bytes_of_a_name_that_are_no_text_are_readable():
    raw = io.BytesIO()
    print_line(os.fsdecode(b"caf\xe9"), stream := io.TextIOWrapper(raw, encoding="utf-8"))
    assert (stream.encoding, raw.getvalue()) == ("utf-8", b"caf\\xe9\n")


def test_ctrl_c_comes_through():
    with pytest.raises(KeyboardInterrupt):
        print_line("a", Broken(KeyboardInterrupt()))


def test_what_is_settled_is_nobodys_trouble_at_the_end():
    """Python flushes standard output when it ends, and complains of a pipe that nobody reads from."""
    program = (
        "import sys, os\nfrom cnnlayers.terminal import print_line, settle\nos.read(0, 1)\n"
        "print_line('unheard', sys.stdout)\nsettle(sys.stdout)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as process:
        process.stdout.close()
        process.stdin.write(b"x")
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0

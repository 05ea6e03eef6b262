"""The examples: each runs, in its short form, and says what it shows."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = {path.stem: path for path in sorted((ROOT / "examples").glob("*.py"))}
ENDS = {  # what the last line printed reads
    "cifar10_resnet": r"test accuracy: \d+\.\d%",
    "cifar10_speedrun": r"\d+ s; test accuracy \d+\.\d\d%, as the mean over mirrored and shifted views",
    "digits": r"test accuracy: [5-9]\d\.\d%",
    "looking_inside": r"wrote runs/inside/report\.html",
    "mnist": r"test accuracy: [5-9]\d\.\d\d%",
    "mnist_speedrun": r"test accuracy: [5-9]\d\.\d\d% after \d+\.\d s of training",
    "own_folder": r"shapes/circle/0\.png: (circle|square) \d+\.\d%",
    "own_layer": r"test accuracy: [5-9]\d\.\d%",
    "resuming": r"the same bits: True",
    "signals": r"test accuracy: \d+\.\d%",
}


def test_there_is_one_for_each_task():
    assert set(EXAMPLES) == set(ENDS)


@pytest.mark.parametrize("name", ENDS)
def test_it_runs(name, tmp_path):
    if name == "looking_inside":
        pytest.importorskip("matplotlib")
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES[name], "--quick"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert re.fullmatch(ENDS[name], done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", ENDS)
def test_it_is_short_and_says_how_to_run_it(name):
    text = EXAMPLES[name].read_text(encoding="utf-8")
    assert len(text.splitlines()) < (100 if name == "cifar10_speedrun" else 60)
    said = ast.get_docstring(ast.parse(text))
    assert f"python examples/{name}.py" in said
    assert "--quick" in said

"""The record of the suites speedrun and speedrun-parts as the tables and the picture of docs/speedrun.md."""

import json
from pathlib import Path

import pytest

from benchmarks import environment, markdown, pictures, report, speedrun_page
from benchmarks.cases import OURS
from benchmarks.speedrun import TORCH
from benchmarks.speedrun_page import Trainings
from benchmarks.speedrun_parts import WHOLE

PAGE = Path(markdown.__file__).parents[1] / "docs" / "speedrun.md"
SETTINGS = {"quick": False, "threads": 2, "batch": 500, "epochs": 2, "epochs of parts": 1}


def run(side, seed, accuracy, seconds, at_90=None):
    """Of two epochs, after a second of making ready."""
    return {
        "side": side,
        "seed": seed,
        "accuracy": [accuracy - 0.1, accuracy],
        "accuracy_of_views": accuracy + 0.01,
        "setup": 1.0,
        "seconds": [seconds, seconds],
        "total": 1.0 + 2 * seconds,
        "reached": {"80%": 1.0 + seconds, "90%": at_90},
        "sha256": f"{seed}123456789abcdef{'0' * 48}",
    }


def record(**changes):
    runs = [run(OURS, 1, 0.91, 110.0, 221.0), run(OURS, 0, 0.89, 100.0), run(TORCH, 0, 0.90, 250.0, 501.0)]
    parts = [{"part": part} | run(OURS, 0, accuracy, 50.0) for part, accuracy in ((WHOLE, 0.7), ("crop", 0.65))]
    made = {"environment": environment.describe(), "settings": SETTINGS, "runs": runs, "parts": parts}
    return made | {"time": {OURS: [1.0, 1.2, 1.1], TORCH: [2.5, 2.4, 2.75]}} | changes


@pytest.fixture
def file(tmp_path):
    """A file with the record, and what writes one with changes."""

    def write(**changes):
        path = tmp_path / "record.json"
        path.write_text(json.dumps(record(**changes)))
        return path

    return write


# Tables


def test_the_time_of_a_step(file):
    assert speedrun_page.find(file()).lines("time") == [
        "| a step of 500 images | minimum, s | median, s | times cnnlayers', of minima | of medians |",
        "| :-- | --: | --: | --: | --: |",
        "| cnnlayers | 1.000 | 1.100 |  |  |",
        "| PyTorch | 2.400 | 2.500 | 2.40 | 2.27 |",
    ]


def test_ours_seed_by_seed(file):
    assert speedrun_page.find(file()).lines("accuracy") == [
        "| seed | accuracy | of views | seconds | to 80% | to 90% | SHA-256 of the weights |",
        "| :-- | --: | --: | --: | --: | --: | --: |",
        "| 0 | 89.00% | 90.00% | 201 | 101 | never | `0123456789abcdef` |",
        "| 1 | 91.00% | 92.00% | 221 | 111 | 221 | `1123456789abcdef` |",
        "| mean | 90.00% | 91.00% | 211 | 106 | 221 (1 of 2) |  |",
        "",
        "- cnnlayers 2 seeds: 91.00% (90.00% to 92.00%, standard deviation 1.41%), without views 90.00%; 211.0 s",
    ]


def test_pytorch_beside_ours(file):
    lines = speedrun_page.find(file()).lines("torch")
    assert lines[2] == "| 0 | 90.00% | 91.00% | 501 | 251 | 501 |"
    assert lines[-1] == "- on the seeds of both, 1: cnnlayers is -1.00 points from PyTorch"


def test_what_parts_buy(file):
    assert speedrun_page.find(file()).lines("parts") == [
        "| left out | in its place | accuracy | difference, points | of the seeds |",
        "| :-- | :-- | --: | --: | --: |",
        f"| {WHOLE} |  | 71.00% |  | 71.00% to 71.00% |",
        "| crop | none | 66.00% | -5.00 | 66.00% to 66.00% |",
        "| views | each test image once, as it is | 70.00% | -1.00 | 70.00% to 70.00% |",
        "",
        "- epochs: 1; seeds: 1",
    ]


def test_the_page_has_a_place_for_each_table_and_is_filled_twice_alike(file):
    text = PAGE.read_text(encoding="utf-8")
    assert {found[3] for found in markdown.BLOCK.finditer(text)} == set(speedrun_page.TABLES)
    assert {found[2] for found in markdown.BLOCK.finditer(text)} == {"speedrun"}
    filled = markdown.fill(text, speedrun_page.find(file()))
    assert "threads: 2 on both sides; 500 images a step; 2 epochs" in filled
    assert "](speedrun.svg)" in filled
    assert markdown.fill(filled, speedrun_page.find(file())) == filled


def test_what_is_not_there_yet_stays(file, tmp_path):
    page = tmp_path / "page.md"
    before = "<!-- benchmark: step -->\na\n<!-- end -->\n" + "".join(
        f"<!-- benchmark: speedrun, {name} -->\nb\n<!-- end -->\n" for name in speedrun_page.TABLES if name != "machine"
    )
    page.write_text(before)
    assert markdown.main([str(file(runs=[], parts=[], time={})), str(page)]) == 0
    assert page.read_text() == before
    other = report.Report({}, SETTINGS, [])  # and a run of timed suites leaves them, too
    assert markdown.fill(before, other) == before


def test_figures_that_mean_nothing_get_nowhere(file, tmp_path, capsys):
    path = str(file(settings=SETTINGS | {"quick": True}))
    assert markdown.main([path, str(PAGE)]) == 1
    assert "they are not for a page" in capsys.readouterr().err
    assert "they are not for a page" not in PAGE.read_text(encoding="utf-8")
    pytest.importorskip("matplotlib")
    assert pictures.main([path, str(tmp_path)]) == 1
    assert "they are not for a picture" in capsys.readouterr().err


def test_other_files_are_no_record(tmp_path):
    (tmp_path / "run.json").write_text('{"format": 2, "environment": {}, "settings": {}, "results": []}')
    assert speedrun_page.find(tmp_path / "run.json") is None
    assert speedrun_page.find(tmp_path / "none.json") is None


# The picture


def test_a_line_for_each_seed(file):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    figure = pictures.curves(pyplot, speedrun_page.find(file()))
    (axes,) = figure.axes
    drawn = [line.get_xydata().round(6).tolist() for line in axes.lines if len(line.get_xdata()) == 2]
    assert [[101.0, 79.0], [201.0, 89.0]] in drawn  # ours of seed 0: seconds, per cent
    assert [[251.0, 80.0], [501.0, 90.0]] in drawn
    views = [line.get_xydata().tolist() for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert views == [[[201.0, 90.0]], [[221.0, 92.0]], [[501.0, 91.0]]]
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["cnnlayers, 2 seeds", "PyTorch, 1 seed", "at the end, mean over views"]
    pyplot.close(figure)
    with pytest.raises(ValueError, match="no trainings yet"):
        pictures.curves(pyplot, Trainings({}, SETTINGS, [], {}, []))


def test_the_command_draws_it_alone(file, tmp_path):
    pytest.importorskip("matplotlib")
    assert pictures.main([str(file()), str(tmp_path)]) == 0
    assert [path.name for path in tmp_path.glob("*.svg")] == ["speedrun.svg"]
    assert ">cnnlayers, 2 seeds</text>" in (tmp_path / "speedrun.svg").read_text()

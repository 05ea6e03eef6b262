"""The notebook: it runs from top to bottom, shows what its text says, and is kept without outputs."""

import base64
import json
import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from tests.html import parsed, tables_of

ROOT = Path(__file__).parents[1]
PATH = ROOT / "examples" / "tour.ipynb"
NOTEBOOK = json.loads(PATH.read_text(encoding="utf-8"))
SOURCES = {cell["id"]: "".join(cell["source"]) for cell in NOTEBOOK["cells"]}
CODE = [cell["id"] for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
PROSE = "\n".join(SOURCES[cell["id"]] for cell in NOTEBOOK["cells"] if cell["cell_type"] == "markdown")


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """What each cell shows, by its id, run as Jupyter does, on one thread in a folder of its own."""
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    folder, profile = tmp_path_factory.mktemp("notebook"), tmp_path_factory.mktemp("profile")  # not the user's own
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CNNLAYERS_NUM_THREADS": "1", "IPYTHONDIR": str(profile)}
    environment.pop("MPLBACKEND", None)  # Jupyter's own is the one that shows pictures
    notebook = nbformat.read(PATH, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}})
    client.execute(env=environment)  # an error in a cell is an error here
    assert not list(folder.iterdir())  # nothing is left behind
    return {cell["id"]: cell["outputs"] for cell in notebook.cells if cell["cell_type"] == "code"}


def printed(outputs, name):
    return "".join(output["text"] for output in outputs[name] if output["output_type"] == "stream")


def shown(outputs, name, kind):
    """What a cell shows in this form."""
    (data,) = (output["data"][kind] for output in outputs[name] if kind in output.get("data", {}))
    return data


def numbers(text):
    return [float(number) for number in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", text)]


# As it lies in the folder


def test_it_is_valid():
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    nbformat.validate(nbformat.read(PATH, as_version=nbformat.NO_CONVERT))
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    assert len(SOURCES) == len(NOTEBOOK["cells"])


def test_it_is_kept_without_outputs_and_without_what_an_editor_adds():
    for cell in NOTEBOOK["cells"]:
        assert cell["metadata"] == {}
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None
    assert set(NOTEBOOK["metadata"]) == {"kernelspec", "language_info"}
    assert NOTEBOOK["metadata"]["language_info"] == {"name": "python"}
    assert NOTEBOOK["metadata"]["kernelspec"]["name"] == "python3"
    assert PATH.read_text(encoding="utf-8") == json.dumps(NOTEBOOK, indent=1, ensure_ascii=False) + "\n"


def test_it_names_no_place_on_a_machine():
    text = "\n".join(SOURCES.values())
    assert not re.search(r"(?:[\s\"'(`]|file://)(?:[A-Za-z]:\\|~?/)\w", text)


def test_its_code_is_in_short_cells_between_prose():
    assert len(PROSE.split()) > 500
    assert all(len(SOURCES[name].splitlines()) <= 16 for name in CODE)


@pytest.mark.parametrize("target", re.findall(r"\]\(((?!http)[^)]+)\)", PROSE))
def test_what_it_links_to_exists(target):
    assert (PATH.parent / target).is_file()


@pytest.mark.parametrize("problem", range(1, 7))
def test_it_goes_through_the_problems_of_the_sheet(problem):
    assert len(re.findall(rf"^## Problem {problem}: ", PROSE, flags=re.MULTILINE)) == 1


# As it runs


def test_no_cell_complains(outputs):
    assert list(outputs) == CODE
    assert not [output for shown in outputs.values() for output in shown if output.get("name") == "stderr"]


def test_problems_1_and_2(outputs):
    W, x, y = np.array([[1, 0], [0, 1], [1, -1]]), np.array([1, 2]), 1
    p = np.exp(W @ x) / np.exp(W @ x).sum()
    p_less = p - np.eye(3)[y]
    assert numbers(printed(outputs, "problem-1-forward"))[-1] == pytest.approx(-np.log(p[y]), abs=1e-4)
    said = printed(outputs, "problem-1-backward").splitlines()
    assert numbers(said[0]) == pytest.approx(p, abs=1e-4)
    for line in said[1:4]:
        assert numbers(line)[-3:] == pytest.approx(p_less, abs=1e-4)
    assert numbers("".join(said[5:])) == pytest.approx(np.outer(p_less, x).ravel(), abs=1e-4)
    for line in printed(outputs, "problem-2").splitlines():
        assert numbers(line)[-2:] == pytest.approx(W.T @ p_less, abs=1e-4)


def test_problem_3(outputs):
    assert numbers(printed(outputs, "problem-3-block").splitlines()[-1]) == [-4, 4]
    lines = printed(outputs, "problem-3-two-ways").splitlines()
    assert [numbers(line) for line in lines] == [[1, 0, 1], [-5, 1], [1, 3], [-4, 4]]


def test_problem_4(outputs):
    (table,) = tables_of(shown(outputs, "problem-4-ten-filters", "text/html"))
    assert table[2][1:3] == ["(32, 32, 10)", "750"]
    lines = printed(outputs, "problem-4-all").splitlines()
    assert [re.findall(r"\(.*?\)", line)[0] for line in lines] == [
        "(28, 28, 1)",
        "(32, 32, 1)",
        "(32, 32, 10)",
        "(32, 32, 10)",
    ]
    assert re.findall(r"(\d+) parameters", "".join(lines)) == ["76", "76", "760", "40"]


def test_problem_5(outputs):
    for name in ("problem-5-matrix", "problem-5-columns"):
        assert numbers(printed(outputs, name))[-4:] == [4, 5, 14, 9]
    assert numbers(printed(outputs, "problem-5-matrix"))[:12] == [1, 2, 3, 0, 0, 0, 0, 1, 2, 3, 0, 0]


def test_problem_6(outputs):
    # x = (2, 0, 1, 4), w = (1, 2, 3), delta = (1, 10)
    lines = [numbers(line) for line in printed(outputs, "problem-6-library").splitlines()]
    assert lines == [[1, 2 + 10, 3 + 20, 30], [2 + 0, 0 + 10, 1 + 40]]
    by_hand = [numbers(line) for line in printed(outputs, "problem-6-by-hand").splitlines()]
    assert by_hand == [lines[0], lines[0], lines[1]]


@pytest.mark.parametrize(
    ("name", "arrays"),
    [("gradcheck-affine", {"x", "W", "b"}), ("problem-6-gradcheck", {"x", "W", "b"}), ("gradcheck-net", {"x", "12.W"})],
)
def test_gradients_pass_their_check(outputs, name, arrays):
    ((head, *rows),) = tables_of(shown(outputs, name, "text/html"))
    assert head == ["array", "shape", "error", "kinks", "ok"]
    assert arrays <= {row[0] for row in rows}
    assert {row[-1] for row in rows} == {"yes"}


def test_a_mistake_is_found(outputs):
    (table,) = tables_of(shown(outputs, "gradcheck-mistake-found", "text/html"))
    assert [row[-1] for row in table] == ["ok", "NO"]
    assert "FAILED: x" in shown(outputs, "gradcheck-mistake-found", "text/plain")


def test_the_net_learns(outputs):
    (accuracy,) = re.findall(r"test accuracy: (\d+\.\d)%", printed(outputs, "test-accuracy"))
    assert 97 <= float(accuracy) <= 100
    html = shown(outputs, "train-history", "text/html")
    ((head, *rows),) = tables_of(html)
    assert head[:2] == ["epoch", "train loss"]
    assert [row[0] for row in rows] == [str(i + 1) for i in range(12)]
    assert float(rows[-1][1]) < float(rows[0][1]) / 4
    assert len(list(parsed(html).iter("svg"))) == 2


def test_nets_and_plans_are_tables(outputs):
    (table,) = tables_of(shown(outputs, "net-table", "text/html"))
    assert table[-1][0] == "total"
    (plan,) = tables_of(shown(outputs, "plan-table", "text/html"))
    assert plan[0][:2] == ["step", "joined"]
    assert "ReLU()" in {row[1] for row in plan}


def test_each_picture_is_there(outputs):
    drawn = [name for name in CODE if name.endswith("-picture")]
    assert len(drawn) == 6
    for name in [*drawn, "digits-data"]:
        png = base64.b64decode(shown(outputs, name, "image/png"))
        assert png.startswith(b"\x89PNG\r\n\x1a\n")
        width, height = struct.unpack(">II", png[16:24])
        assert width > 400
        assert height > 50
        assert len(png) > 2000


def test_files_and_forms_for_others_give_the_same_scores(outputs):
    for name in ("save-and-load", "exchange-torch"):
        assert "the same scores: True" in printed(outputs, name)
    assert numbers(printed(outputs, "for-inference"))[:2] == [13, 10]
    assert numbers(printed(outputs, "for-inference"))[-1] < 1e-3
    assert "(3, 3, 1, 16)" in printed(outputs, "exchange-torch")
    assert "(16, 1, 3, 3)" in printed(outputs, "exchange-torch")

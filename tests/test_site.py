"""The site: what its build says of docstrings, names, equations and links, asked here without building it."""

import base64
import importlib
import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import cnnlayers as cl
from docs.site import check, docstrings, equations, gallery, links, names, notebook, stage

ROOT = Path(__file__).parents[1]
ERRORS = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
PUBLIC = names.public()


def test_every_public_name_has_a_page():
    paths = {name.path for name in PUBLIC}
    for name in cl.__all__:
        value = getattr(cl, name)
        if inspect.ismodule(value):
            assert name in names.GROUPS
            assert {f"{name}.{x}" for x in names.names_of(value) if callable(getattr(value, x))} <= paths
        elif name != "__version__":
            assert name in paths
    assert {"plot.curves", "augment.RandomCrop", "models.lenet", "sklearn.CNNClassifier"} <= paths


def test_no_two_pages_have_one_name_where_capitals_do_not_count():
    pages = [name.page.lower() for name in PUBLIC] + list(names.GROUPS)
    assert len(set(pages)) == len(pages)


def test_every_page_of_the_repository_is_in_the_sidebar():
    listed = {page for part in stage.PARTS.values() for page in part}
    assert {page.removesuffix(".md") for page in stage.pages()} <= listed


def test_every_example_is_in_the_gallery():
    assert set(gallery.EXAMPLES) == set(gallery.TITLES) == {path.stem for path in (ROOT / "examples").glob("*.py")}


def test_every_layer_is_on_the_page_that_helps_to_choose():
    text = (ROOT / "docs" / "which-layer.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)(?:\([^`]*\))?`", text))
    assert set(cl.layers.__all__) <= named
    assert {loss for loss in cl.losses.__all__ if loss != "Loss"} <= named | set(re.findall(r"cl\.(\w+)", text))


@pytest.mark.parametrize("group", names.GROUPS)
def test_docstrings_say_shapes_and_errors(group):
    if group == "sklearn":
        pytest.importorskip("sklearn")
    assert [line for name in PUBLIC if name.group == group for line in check.problems(name)] == []


class Lacking(cl.Layer):
    """y = x.

    Forward     y = x ? 2

    Shapes      y as x
    Twin        reference.affine.nothing

    Parameters
    ----------
    size : int
    """

    def __init__(self, size, other=1):
        if size < other:
            raise ValueError("no")


def lacking(x):
    """Give nothing.

    Parameters
    ----------
    x : array
        Numbers.
    """
    raise ValueError(x)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            Lacking,
            [
                "Backward is missing",
                "Lacking.__init__ raises: say when, under Errors",
                "there is no twin reference.affine.nothing",
                "cannot read '?' in 'y = x ? 2'",
                "its parameters other are not listed",
            ],
        ),
        (lambda: 0, ["has no docstring"]),
    ],
)
def test_the_checker_finds_what_a_docstring_lacks(value, said):
    assert check.problems(names.Name("it", "layers", value)) == [f"it: {line}" for line in said]


def test_the_checker_wants_raises_and_shapes_of_functions():
    assert check.problems(names.Name("it", "base", lacking)) == [
        "it: it raises: say when, under Raises",
        "it: the shape of x is not said",
    ]


@pytest.mark.parametrize(
    ("plain", "latex"),
    [
        ("y = x W + b", r"y = x\, W + b"),
        ("dL/dx = δ Wᵀ", r"\frac{\partial L}{\partial x} = \delta\, W^{\mathsf{T}}"),
        ("dL/dW[kh, kw]", r"\frac{\partial L}{\partial W_{\mathrm{kh},\ \mathrm{kw}}}"),
        ("(x - mean) / sqrt(var + eps)", r"\frac{x - \mathrm{mean}}{\sqrt{\mathrm{var} + \varepsilon}}"),
        ("exp(x_i) / sum over j of exp(x_j)", None),
        ("L = -(1/N) sum_n log q_y", r"L = -\frac{1}{N}\, \sum_{n} \operatorname{log}\, q_{y}"),
        ("1[i = j] - p_j", r"\mathbf{1}_{i = j} - p_{j}"),
        ("(z - t)^2", r"\left(z - t\right)^{2}"),
        ("x where x > 0, else alpha x", r"x ~\text{where}~ x > 0,\ ~\text{else}~ \alpha\, x"),
    ],
)
def test_equations_become_latex(plain, latex):
    if latex is None:
        above, below = r"\operatorname{exp}\left(x_{i}\right)", r"\sum_{j} \operatorname{exp}\left(x_{j}\right)"
        latex = rf"\frac{{{above}}}{{{below}}}"
    assert equations.latex(plain) == latex


def test_a_line_is_cut_into_words_and_mathematics():
    assert equations.parts("dL/db = sum of δ over the batch,  y = x") == [
        ("math", r"\frac{\partial L}{\partial b} ="),
        ("words", "sum of"),
        ("math", r"\delta"),
        ("words", "over the batch,"),
        ("gap", ""),
        ("math", "y = x"),
    ]
    assert equations.parts("Z   = n      (N without them)") == [
        ("math", "Z = n"),
        ("gap", ""),
        ("words", "("),
        ("math", "N"),
        ("words", "without them)"),
    ]


@pytest.mark.parametrize("line", ["x ? 2", "(x", "x /", "x_"])
def test_what_is_no_equation_is_refused(line):
    with pytest.raises(equations.EquationError):
        equations.latex(line)


def test_every_equation_can_be_typeset():
    pytest.importorskip("latex2mathml", reason="latex2mathml, of the extra docs, is not installed")
    typeset = 0
    for name in PUBLIC:
        parts = docstrings.sections(inspect.getdoc(name.value) or "")
        for block in docstrings.EQUATIONS:
            for line in parts.get(block, "").splitlines():
                assert docstrings.mathml(line)
                typeset += 1
    assert typeset > 100


def test_a_docstring_becomes_restructuredtext():
    text = ["Say *what* |x| is, as `Conv` and `x[0]` and rows_ do.", "", "Twin        reference.affine.affine_backward"]
    made = docstrings.to_rst(text, {"Conv": "cnnlayers.Conv"}.get)
    assert made[0] == r"Say \*what\* \|x\| is, as :py:obj:`Conv <cnnlayers.Conv>` and ``x[0]`` and rows\_ do."
    assert [line for line in made if line][1:] == [":Twin:", "    ``reference.affine.affine_backward``"]


def test_broken_sites_are_found_out(tmp_path):
    (tmp_path / "index.html").write_text('<p id="top"><a href="a.html#here">a</a><a href="https://x.org">x</a></p>')
    (tmp_path / "a.html").write_text('<p id="here"><a href="index.html#top">up</a><img src="data:image/png;base64,">')
    assert links.problems(tmp_path) == []
    (tmp_path / "a.html").write_text('<a href="gone.html"></a><script src="https://x.org/x.js"></script>')
    (tmp_path / "alone.html").write_text("<p>")
    (tmp_path / "a.css").write_text('@import "https://x.org/x.css"; p { background: url(//x.org/x.png) }')
    assert links.problems(tmp_path) == [
        "a.html links to gone.html, which is not there",
        "a.html loads https://x.org/x.js from outside",
        "index.html links to a.html#here: that page has no 'here'",
        "a.css loads //x.org/x.css from outside",
        "a.css loads //x.org/x.png from outside",
        "no link leads to alone.html",
    ]


def test_a_notebook_becomes_a_page(tmp_path):
    png = base64.b64encode(b"a picture").decode()
    outputs = [
        {"output_type": "stream", "text": "printed\n"},
        {"output_type": "display_data", "data": {"image/png": png, "text/plain": "<Figure>"}},
        {"output_type": "execute_result", "data": {"text/html": "<b>rich</b>", "text/plain": "plain"}},
        {"output_type": "execute_result", "data": {"text/plain": "plain"}},
    ]
    cells = [
        {"cell_type": "markdown", "source": "# Title\n\n[digits](digits.py)"},
        {"cell_type": "code", "source": "print(1)", "outputs": outputs},
    ]
    page = notebook.page(cells, tmp_path / "pictures", "pictures", stage.to_examples)
    assert page.startswith("# Title\n\nThis page is a notebook, [tour.ipynb](tour.ipynb)")
    assert "[digits](digits.md)" in page
    code = ["```python\nprint(1)\n```", "```text\nprinted\n```", "(pictures/0-1.png)", "<b>rich</b>", "```text\nplain"]
    places = [page.index(part) for part in code]
    assert places == sorted(places)
    assert (tmp_path / "pictures" / "0-1.png").read_bytes() == b"a picture"


def quoted(heading):
    """The text block under a heading of the page of errors, in one line."""
    section = ERRORS[ERRORS.index(f"### {heading}") :]
    return " ".join(re.search(r"```text\n(.*?)```", section, re.DOTALL)[1].split())


def test_the_message_of_a_package_that_is_not_built(tmp_path):
    shutil.copytree(ROOT / "cnnlayers", tmp_path / "cnnlayers", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    command = [sys.executable, "-S", "-c", "import cnnlayers"]  # -S: not the one that is installed for editing
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    said = " ".join(done.stderr.split()).replace(str(tmp_path / "cnnlayers"), "FOLDER")
    assert quoted("the extension modules of cnnlayers are not built") in said


def test_the_messages_for_what_is_not_installed(monkeypatch, tmp_path):
    net = cl.Sequential([cl.Affine(2)], input_shape=(3,), rng=0)
    calls = {
        "matplotlib": lambda: cl.plot.filters(net),
        "PIL": lambda: cl.datasets.image_folder(tmp_path, 8),
        "onnx": lambda: cl.to_onnx(net, tmp_path / "net.onnx"),
        "sklearn": lambda: importlib.import_module("cnnlayers.sklearn"),
        "tensorboardX": lambda: cl.TensorBoard(tmp_path),
    }
    shown = quoted("needs matplotlib")
    monkeypatch.delitem(sys.modules, "cnnlayers.sklearn", raising=False)
    for module, call in calls.items():
        for loaded in [name for name in sys.modules if name.split(".")[0] == module]:
            monkeypatch.delitem(sys.modules, loaded)
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(ImportError) as raised:
            call()
        assert f"ImportError: {raised.value}" in shown
    assert shown.count("ImportError") == len(calls)


def test_the_message_for_a_run_that_is_there(tmp_path):
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "config.toml").write_text("")
    command = [sys.executable, "-m", "cnnlayers", "train", "--out", "runs/a", "--epochs", "1"]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert quoted("there is a run in RUN") in " ".join(done.stderr.split())

"""The README: its programs run and print what it shows, and the code that its table names exists."""

import argparse
import ast
import contextlib
import io
import re
from pathlib import Path

import pytest

import cnnlayers as cl
from cnnlayers.command import config_file
from cnnlayers.command import main as front
from cnnlayers.command.factories import make_optimizer
from cnnlayers.command.options import add_train_options

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

# (language, text) of every fenced block, in order
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
# (file, name) of every row of the table
CODE = re.findall(r"\| `([\w./]+)` \| `([\w.]+)` \|$", README, flags=re.MULTILINE)

EXAMPLES = [f"examples/{path.name}" for path in sorted((ROOT / "examples").glob("*.py"))]
PERCENT = re.compile(r"\d+\.\d%")


def programs():
    """Each python block with what it prints: the text block that comes next, if that comes before other code."""
    for (language, text), (following, shown) in zip(BLOCKS, [*BLOCKS[1:], ("", "")], strict=True):
        if language == "python":
            yield text, shown if following == "text" else ""


def defined_names(path):
    """Functions, classes and Class.method that a file defines."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".pyx":  # Cython is not Python, but its def lines are
        return set(re.findall(r"^def (\w+)\(", text, flags=re.MULTILINE))
    names = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names.update(f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef))
    return names


def without_rounding(text):
    """Errors of about 1e-16 differ from one processor to the next."""
    return re.sub(r"\d\.\de-\d\d\b", "_e-__", text)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """What the programs print, run in order in one session, as a reader would: [(printed, shown), ...]."""
    session: dict = {}
    results = []
    with contextlib.chdir(tmp_path_factory.mktemp("readme")):
        for program, shown in programs():
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(program, "README.md", "exec"), session)
            results.append((printed.getvalue(), shown))
    return results


def test_there_are_programs_and_a_table():
    assert len(list(programs())) == 8
    assert len(CODE) >= 20
    assert {language for language, _ in BLOCKS} == {"python", "pycon", "text", "toml"}


def test_programs_print_what_the_readme_shows(outputs):
    for printed, shown in outputs:
        assert PERCENT.sub("%", without_rounding(printed)) == PERCENT.sub("%", without_rounding(shown))


def test_accuracies_are_those_shown(outputs):
    """Another processor rounds otherwise, which moves a few of the 360 images."""
    found = 0
    for printed, shown in outputs:
        for got, said in zip(PERCENT.findall(printed), PERCENT.findall(shown), strict=True):
            found += 1
            assert float(got[:-1]) >= 97
            assert abs(float(got[:-1]) - float(said[:-1])) <= 1.5
    assert found == 3


def test_the_net_has_fifteen_lines_and_the_layer_fewer_than_twenty():
    sizes = [sum(bool(line.strip()) for line in program.splitlines()) for program, _ in programs()]
    layer = next(program for program, _ in programs() if "(cl.Layer)" in program)
    assert sizes[0] <= 15
    assert sum(bool(line.strip()) for line in layer.splitlines()) < 20


@pytest.mark.parametrize(("file", "name"), CODE)
def test_the_code_beside_an_equation_exists(file, name):
    assert name in defined_names(ROOT / "cnnlayers" / file)


@pytest.mark.parametrize("target", re.findall(r"\]\(((?!http)[^)]+)\)|`((?:tests|cnnlayers)/[\w./]+)`", README))
def test_files_that_are_named_exist(target):
    assert (ROOT / (target[0] or target[1])).exists()


def test_the_summary_shown_is_that_of_make_train():
    shown = next(text for language, text in BLOCKS if "total  " in text)
    summary, rest = shown.split("\n\n", 1)
    real = ["== making .venv", "== building cnnlayers (the first time takes a minute or two)", "..."]
    real += cl.models.digits_resnet(rng=0).summary().splitlines()
    assert [line for line in summary.splitlines() if line not in real] == []
    assert rest.splitlines()[0].startswith(repr(make_optimizer("sgd")))


def test_layers_that_the_readme_lists_are_those_of_the_package():
    (listed,) = re.findall(r"^- Layers: (.*?)\.$", README, flags=re.MULTILINE | re.DOTALL)
    assert sorted(re.split(r",\s+", listed)) == sorted(set(cl.layers.__all__) - {"Layer"})


def test_models_that_the_readme_lists_are_those_of_the_package():
    (listed,) = re.findall(r"^`cl\.models` has (.*?)\. Each", README, flags=re.MULTILINE | re.DOTALL)
    own = {name for name, value in vars(cl.models).items() if getattr(value, "__module__", "") == cl.models.__name__}
    parts = {"resnet", "basic_block"}
    assert set(re.findall(r"`(\w+)`", listed)) == {name for name in own if not name.startswith("_")} - parts


def test_the_command_lines_are_understood():
    parser = front._parser()
    lines = re.findall(r"^    cnnlayers (.*?)(?:  +#.*)?$", README, flags=re.MULTILINE)
    assert {line.split()[0] for line in lines} == set(commands(parser))  # each command is shown
    for line in lines:
        if "--config" in line:
            line = re.sub(r" --config \S+", "", line)  # a file that is not there
        _, rest = parser.parse_known_args(line.split())
        assert rest == (["step", "--quick"] if line.startswith("bench") else [])
    arguments = re.findall(r'ARGS="(.*?)"', README)
    assert arguments
    for text in arguments:
        parser.parse_args(["train", *text.split()])


def commands(parser):
    """The parsers of the commands, by name."""
    (action,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return action.choices


PAGES = [
    "README.md",
    "docs/coming-from.md",
    "docs/course.md",
    "docs/data.md",
    "docs/errors.md",
    "docs/onnx.md",
    "docs/recipes.md",
    "docs/scaling.md",
    "docs/sklearn.md",
    "docs/speedrun.md",
    "docs/tour.md",
    "docs/which-layer.md",
    "docs/winograd.md",
]


@pytest.mark.parametrize("page", [*PAGES, *EXAMPLES])
def test_options_that_are_named_exist(page):
    there = {option for sub in commands(front._parser()).values() for option in sub._option_string_actions}
    # of setup.py, the examples and the benchmarks
    elsewhere = {"--inplace", "--quick", "--resume", "--seconds", "--compare", "--compile", "--json"}
    elsewhere |= {"--data", "--seeds", "--torch-seeds"}
    named = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", (ROOT / page).read_text(encoding="utf-8")))
    assert named <= there | elsewhere


def test_the_options_in_a_file_exist(tmp_path):
    (text,) = (text for language, text in BLOCKS if language == "toml")
    (tmp_path / "config.toml").write_text(text)
    options = config_file.read(tmp_path / "config.toml", add_train_options(argparse.ArgumentParser()))
    assert options["size"] == (32, 32)


def test_names_that_the_pages_use_exist():
    for page in PAGES:
        for name in re.findall(r"\bcl\.([A-Za-z_]\w*(?:\.\w+)*)", (ROOT / page).read_text(encoding="utf-8")):
            found = cl
            for part in name.split("."):
                assert hasattr(found, part), f"{page} names cl.{name}"
                found = getattr(found, part)

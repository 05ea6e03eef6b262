"""The shape of the house: which module may import which, what the package needs, what its version is."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import cnnlayers
from cnnlayers import _kernels

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "cnnlayers"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

CONTAINERS = ("container", "sequential", "residual", "branches", "concat", "multiply", "inference")

# Each module imports from its own level and from those above it in this list, never from one below. Every module is
# placed, by its name or by its room: a file that no line places fails the test.
LEVELS = [
    (
        "ground",
        [
            *("_version", "arrays", "checks", "config", "cpus", "errors", "geometry"),
            *("markup", "names", "precision", "randomness", "stored", "tables", "terminal", "threads", "writing"),
        ],
    ),
    ("kernels", ["_im2col", "_kernels", "kernels", "kernels.*"]),
    ("first values", ["initializers"]),
    ("layers", ["layers.*"]),
    ("plan", ["plan", "plan.*"]),
    ("containers", [*(f"layers.{name}" for name in CONTAINERS), "layers", "models"]),
    ("data", ["data", "data.*"]),
    ("files", ["files", "files.*", "files.onnx.*", "files.onnx.reading.*"]),
    ("training", ["distributed", "training", "training.*"]),
    ("look", ["look", "look.*", "look.explain.*", "look.plot.*", "look.report.*"]),
    ("command", ["command", "command.*", "__main__", "later", ""]),
    ("sklearn", ["sklearn", "sklearn.*"]),
]

# Methods that need a later room, and import it when they are called.
CALLED_LATE = {
    ("layers.container", "files.checkpoint"),
    ("layers.container", "look.summary"),
    ("layers.layer", "look.summary"),
    ("training.trials", "look.plot.training"),
}

RUNTIME = {"numpy", "safetensors", "tqdm"}
EXTRAS = {  # imported only where they are used
    "distributed": {"mpi4py"},
    "training.callbacks": {"tensorboardX"},
    "data.image_file": {"PIL"},
    "training.trials": {"matplotlib"},
    **{f"files.onnx.{name}": {"onnx"} for name in ("agreement", "graph")},
    **{f"sklearn.{name}": {"sklearn"} for name in ("base", "classifier", "regressor")},
    "sklearn": {"sklearn"},
    **{f"look.plot.{name}": {"matplotlib"} for name in ("figure", "images", "numbers", "style", "training")},
}


def module_name(path):
    """The dotted name within the package: "layers.conv"; "" is the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted([*PACKAGE.rglob("*.py"), *PACKAGE.glob("*.pyx")])}

# Apart, each with what it may import of the package: anyone may check the package by them, so the oracle needs
# NumPy alone, and gradcheck on the base class of what it checks (and on `tables` and `markup`, which set its report).
ORACLE = {name for name in MODULES if name.split(".")[0] == "reference"}
APART = dict.fromkeys(ORACLE, ORACLE) | {"look.gradcheck": {"layers.layer", "markup", "randomness", "tables"}}


def level(name):
    """Index in LEVELS; a name beats a wildcard."""
    for wanted in (name, name.rpartition(".")[0] + ".*"):
        for index, (_, members) in enumerate(LEVELS):
            if wanted in members:
                return index
    raise LookupError(f"no line of LEVELS places cnnlayers.{name}: which room is it in?")


def imports(path):
    """Absolute dotted names that a file imports, anywhere in it: `cnnlayers.layers.base`, `numpy`."""
    package = ["cnnlayers", *path.relative_to(PACKAGE).parent.parts]
    text = path.read_text()
    if path.suffix == ".pyx":  # Cython is not Python, but its import lines are
        lines = re.findall(r"^ *((?:from +\S+ +)?import +(?:\([^)]*\)|\w.*))", text, flags=re.MULTILINE)
        text = "\n".join(lines)
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:  # `from .layers import base` is the module layers.base, if there is one
                inner = f"{base}.{alias.name}"
                found.add(inner if inner.removeprefix("cnnlayers.") in MODULES else base)
    return found


def within_package(path):
    """Modules of the package that a file imports, as in MODULES."""
    ours = {name for name in imports(path) if name == "cnnlayers" or name.startswith("cnnlayers.")}
    return {name.removeprefix("cnnlayers").removeprefix(".") for name in ours}


def third_party(path):
    roots = {name.split(".")[0] for name in imports(path)}
    return roots - set(sys.stdlib_module_names) - {"cnnlayers"}


def is_facade(name):
    """An __init__ of a subpackage only gathers names."""
    return name in ("layers", "data", "kernels", "plan", "look.plot", "look.report", "sklearn")


def test_the_reader_of_imports_sees_every_form(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    file = tmp_path / "layers" / "x.py"
    file.parent.mkdir()
    file.write_text(
        "import os.path\nimport numpy as np\nfrom . import base\nfrom .base import Layer\nfrom .. import geometry\n"
        "from ..solver import Solver\nfrom ..layers import base, Conv\ndef f():\n    import cnnlayers.losses\n"
    )
    assert imports(file) == {
        "os.path",
        "numpy",
        "cnnlayers.layers.base",
        "cnnlayers.geometry",
        "cnnlayers.solver",
        "cnnlayers.layers",
        "cnnlayers.losses",
    }


def test_arrows_never_turn_back():
    for name, path in MODULES.items():
        if name in APART or is_facade(name):
            continue
        allowed = level(name)
        for other in within_package(path) - set(APART):
            assert level(other) <= allowed or (name, other) in CALLED_LATE, (
                f"cnnlayers.{name} ({LEVELS[allowed][0]}) imports cnnlayers.{other} ({LEVELS[level(other)][0]})"
            )


def test_no_module_comes_back_to_itself():
    """Not within a room either; what a method of a net imports when it is called does not count."""
    late = CALLED_LATE | {("layers.container", "layers.inference")}
    graph = {name: {o for o in within_package(path) if (name, o) not in late} for name, path in MODULES.items()}
    while leaves := {name for name, others in graph.items() if not others & graph.keys() - {name}}:
        graph = {name: others for name, others in graph.items() if name not in leaves}
    assert not graph, f"a circle among {sorted(graph)}"


@pytest.mark.parametrize("name", [n for n in MODULES if is_facade(n)])
def test_a_subpackage_gathers_its_own_modules_and_what_is_above_them(name):
    allowed = level(name)
    assert all(level(other) <= allowed for other in within_package(MODULES[name]))


@pytest.mark.parametrize("name", sorted(APART))
def test_oracle_and_gradcheck_need_numpy_alone(name):
    path = MODULES[name]
    assert third_party(path) <= {"numpy"}
    assert within_package(path) <= APART[name]


def test_the_reader_of_imports_reads_cython(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    file = tmp_path / "_x.pyx"
    file.write_text(
        "from cython.parallel cimport prange\nimport numpy as np\nfrom . import geometry, threads\ncdef int i\n"
    )
    assert imports(file) == {"numpy", "cnnlayers.geometry", "cnnlayers.threads"}


def test_only_the_front_uses_gradcheck_and_nothing_computes_with_the_oracle():
    assert len(ORACLE) > 1
    for name, path in MODULES.items():
        used = within_package(path) & ((set() if name in ORACLE else ORACLE) | {"look.gradcheck"})
        assert used <= ({"look.gradcheck"} if name in ("", "later", "command.nets") else set()), (
            f"cnnlayers.{name} imports {used}"
        )


def test_each_room_of_the_oracle_is_short():
    """Anyone who doubts a number reads the room that it comes from."""
    for name in ORACLE:
        assert len(MODULES[name].read_text().splitlines()) < 150, f"cnnlayers.{name}"


def test_a_folder_without_its_extension_modules_says_so(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "cnnlayers", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    script = """if True:
        import sys  # and leave out what finds the package where it is installed as editable
        sys.meta_path = [finder for finder in sys.meta_path if "__editable__" not in finder.__module__]
        import cnnlayers
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert f"the extension modules of cnnlayers are not built in {tmp_path / 'cnnlayers'}" in done.stderr
    assert done.stderr.splitlines()[-1] == "    python setup.py build_ext --inplace"


def test_what_few_programs_need_is_imported_when_it_is_asked_for():
    later = ast.literal_eval(re.search(r"__all__ = (\[.*?\])", (PACKAGE / "later.py").read_text(), re.DOTALL)[1])
    script = f"""if True:
        import sys, cnnlayers as cl
        print([name for name in sys.modules if name.startswith(("cnnlayers.look", "cnnlayers.files.onnx", "tqdm"))])
        print(set({later}) <= set(dir(cl)) & set(cl.__all__))
        print(all(hasattr(cl, name) for name in {later}), hasattr(cl, "nothing"))
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split("\n") == ["[]", "True", "True False", ""]


def test_only_the_three_runtime_dependencies():
    for name, path in MODULES.items():
        assert third_party(path) <= RUNTIME | EXTRAS.get(name, set()), f"cnnlayers.{name}"


def test_no_layer_loss_or_kernel_knows_a_file_format():
    for name, path in MODULES.items():
        if name not in APART and level(name) <= level("models"):
            assert third_party(path) <= {"numpy"}, f"cnnlayers.{name}"
            assert not imports(path) & {"json", "pickle", "csv", "zipfile"}, f"cnnlayers.{name}"


def test_nothing_writes_pickles():
    """And one module reads them by Python's reader: those of CIFAR's Python version, of which it knows arrays alone.

    Those of torch.save are read by instructions of our own.
    """
    for name, path in MODULES.items():
        reads = {"pickle"} if name == "data.python_batch" else set()
        assert not imports(path) & {"pickle", "shelve", "marshal"} - reads, f"cnnlayers.{name}"
        assert not re.search(r"pickle\.(dump|load|Pickler|Unpickler)", path.read_text()), f"cnnlayers.{name}"


def test_importing_the_package_imports_nothing_that_only_some_need():
    script = "import sys, cnnlayers; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    slow = {"PIL", "urllib.request", "http.client", "ssl", "gzip", "tarfile", "onnx"}
    slow |= {"cnnlayers.data.python_batch", "cnnlayers.files.onnx.reading", "cnnlayers.markup"}
    assert not slow & set(loaded.stdout.split())


def test_pyproject_asks_for_the_three_runtime_dependencies():
    asked = {re.match(r"[A-Za-z0-9_-]+", requirement)[0] for requirement in PROJECT["project"]["dependencies"]}
    assert asked == RUNTIME


def test_the_tests_have_what_draws():
    extras = PROJECT["project"]["optional-dependencies"]
    asked = {re.match(r"[A-Za-z0-9_-]+", requirement)[0] for requirement in extras["dev"]}
    assert {
        "ipykernel",
        "matplotlib",
        "mpi4py",
        "mpich",
        "nbclient",
        "nbformat",
        "onnx",
        "pandas",
        "Pillow",
        "PyYAML",
        "scikit-learn",
    } <= asked  # no test is skipped for want of them
    assert [re.match(r"[a-z]+", requirement)[0] for requirement in extras["plot"]] == ["matplotlib"]


def test_the_package_imports_no_extra_by_itself():
    extras = {"matplotlib", "mpi4py", "onnx", "PIL", "sklearn", "torch"}
    program = f"import sys, cnnlayers.command.main; print(sorted({extras} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.stdout == "[]\n", done.stderr


def test_the_version_has_one_source():
    assert "version" in PROJECT["project"]["dynamic"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "cnnlayers._version.__version__"}
    installed = {found.version for found in importlib.metadata.distributions(name="cnnlayers")}
    assert installed <= {cnnlayers.__version__}
    assert f"## {cnnlayers.__version__} " in (ROOT / "CHANGELOG.md").read_text()


def test_the_command_exists():
    module, _, function = PROJECT["project"]["scripts"]["cnnlayers"].partition(":")
    tree = ast.parse(MODULES[module.removeprefix("cnnlayers.")].read_text())
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_package_is_typed():
    assert (PACKAGE / "py.typed").is_file()
    for extension in PACKAGE.glob("*.pyx"):
        assert extension.with_suffix(".pyi").is_file(), f"{extension.name} has no .pyi beside it"


def test_the_stub_of_the_kernels_lists_what_the_doors_offer():
    tree = ast.parse((PACKAGE / "_kernels.pyi").read_text())
    (names,) = [ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign)]
    assert sorted(_kernels.__all__) == names == sorted(set(names))

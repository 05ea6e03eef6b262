"""Linux on aarch64: what GCC and Clang cross-compile is tested under a Python that qemu-user emulates.

The Python is Debian's, of its arm64 packages, unpacked in a folder; apt fetches them into lists of its own, so that
nothing of this machine's changes. NumPy and the rest come as wheels. Needs Debian 12 or what has its Python 3.11.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from . import cross
from .inner_loops import table
from .row import Row

HERE = cross.BUILD / "aarch64"
SYSTEM = HERE / "root"  # of the arm64 packages
SITE = SYSTEM / "usr" / "lib" / "python3" / "dist-packages"  # of the wheels
PYTHON = HERE / "python"  # runs it
OBJDUMP = "aarch64-linux-gnu-objdump"

GCC = "aarch64-linux-gnu-gcc"
TOOLS = {"qemu-aarch64": "qemu-user", GCC: "gcc-aarch64-linux-gnu", OBJDUMP: "binutils-aarch64-linux-gnu"}
PACKAGES = ("python3", "libpython3-dev", "libstdc++6")
WHEELS = ("pytest", "pytest-xdist", "hypothesis")  # of the extra dev, besides the package's own dependencies
TILES = ("direct convolution", "weight gradient", "products of Winograd's method")  # whose sums stay in registers


def run() -> Iterator[Row]:
    for program, package in TOOLS.items():
        cross.need(program, package)
    _unpack_python()
    _install_wheels()
    emulated = f"emulated by qemu-user {_version('qemu-aarch64', '--version')}"
    clang = f"{cross.tools()} -m ziglang cc -target aarch64-linux-gnu.2.28"
    compilers = {f"GCC {_version(GCC, '--version')}": GCC, cross.clang_version(): clang}
    for name, compiler in compilers.items():
        tree = HERE / name.split()[0].lower()
        _build(tree, compiler)
        level = str(tree / "build/objects/baseline/f32/cnnlayers/kernels/c/level.o")
        for loop, _, counts in table({name: (OBJDUMP, level)}):
            if loop in TILES and counts.spills:
                raise RuntimeError(f"{name} keeps sums of the tile of {loop} on the stack: {counts}")
        yield Row("Linux, aarch64", f"{name}: the register tiles keep all sums in registers", "disassembled")
        tests = cross.KERNEL_TESTS if compiler == GCC else ["tests/kernels"]
        yield Row("Linux, aarch64", f"{name}: {_test(tree, tests)} of {', '.join(tests)}", emulated)


def _version(*command: str) -> str:
    return re.search(r"\d+\.\d+\.\d+", cross.output(*command))[0]


def _unpack_python() -> None:
    """Debian's Python for arm64 and all that it needs, by apt with a state of its own."""
    if PYTHON.exists():
        return
    apt = HERE / "apt"
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (apt / folder).mkdir(parents=True, exist_ok=True)
    (apt / "state/status").touch()  # nothing is installed
    settings = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "Dir::State": f"{apt}/state",
        "Dir::State::status": f"{apt}/state/status",
        "Dir::Cache": f"{apt}/cache",
    }
    (apt / "apt.conf").write_text("".join(f'{name} "{value}";\n' for name, value in settings.items()))
    get = ("apt-get", "-y", "--no-install-recommends")
    own = os.environ | {"APT_CONFIG": f"{apt}/apt.conf"}
    cross.output(*get, "update", environment=own)
    cross.output(*get, "install", "--download-only", *PACKAGES, environment=own)
    for package in sorted((apt / "cache/archives").glob("*.deb")):
        cross.output("dpkg-deb", "-x", package, SYSTEM)
    # It takes its own place for sys.executable, so that a process which it starts is emulated, too.
    PYTHON.write_text(
        f'#!/bin/sh\nPYTHONHOME={SYSTEM}/usr exec qemu-aarch64 -L {SYSTEM} -0 {PYTHON} {SYSTEM}/usr/bin/python3 "$@"\n'
    )
    PYTHON.chmod(0o755)


def _install_wheels() -> None:
    if (SITE / "numpy").exists():
        return
    tools = [one for one in cross.DEVELOPMENT if re.match(r"[\w-]+", one)[0] in WHEELS]
    platforms = [f"--platform=manylinux{version}_aarch64" for version in ("_2_28", "_2_27", "2014", "_2_17")]
    pip = [sys.executable, "-m", "pip", "install", "-q", f"--target={SITE}", "--only-binary=:all:"]
    cross.output(*pip, "--python-version=3.11", *platforms, *cross.DEPENDENCIES, *tools)


def _build(tree: Path, compiler: str) -> None:
    """The extension in a copy of the tree; objects are kept there, and files keep their dates."""
    unwanted = shutil.ignore_patterns("*.so", "__pycache__")
    for folder in ("cnnlayers", "tests"):
        shutil.rmtree(tree / folder, ignore_errors=True)
        shutil.copytree(cross.ROOT / folder, tree / folder, ignore=unwanted)
    for file in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy2(cross.ROOT / file, tree / file)
    headers = SYSTEM / "usr" / "include"
    own = {
        cross.PLATFORM: "linux-aarch64",
        "CNNLAYERS_ABI3": "1",  # else the modules' names would be this machine's
        "CC": compiler,
        "LDSHARED": f"{compiler} -shared",
        "CPPFLAGS": f"-I{headers / 'python3.11'} -idirafter {headers}",
        "ZIG_GLOBAL_CACHE_DIR": str(cross.BUILD / "zig-cache"),
    }
    cross.output(sys.executable, "setup.py", "build_ext", "--inplace", folder=tree, environment=os.environ | own)


def _test(tree: Path, tests: list[str]) -> str:
    """How many tests passed. NumPy's own threads would only take turns with the tests'."""
    own = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    return cross.passed(cross.output(PYTHON, *cross.PYTEST, *tests, folder=tree, environment=own))

"""Compile and link for other systems than this one: with Clang as the wheel of Zig brings it, which has their headers.

What is compiled, and with which flags and macros, is what setup.py says when it builds for the platform.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from types import ModuleType

from Cython.Build import cythonize

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "platforms"
TOOLS = ("ziglang==0.17.1", "abi3info==2026.9.25")
PLATFORM = "_PYTHON_HOST_PLATFORM"  # sysconfig.get_platform() gives it
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wno-psabi", "-Wno-unused-parameter"]
CYTHON_WARNINGS = ["-Wno-unused-function", "-Wno-unreachable-code", "-Wno-deprecated-declarations"]
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", "--dist", "loadfile")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
KERNEL_TESTS = re.findall(r"tests/\S+", PROJECT["tool"]["cibuildwheel"]["test-command"][0])
DEPENDENCIES, DEVELOPMENT = PROJECT["project"]["dependencies"], PROJECT["project"]["optional-dependencies"]["dev"]


def setup_for(platform: str) -> ModuleType:
    """setup.py as it is when it builds for this platform, such as "win-amd64", and the stable ABI."""
    spec = importlib.util.spec_from_file_location("setup", ROOT / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = os.environ.copy()
    os.environ.update({PLATFORM: platform, "CNNLAYERS_ABI3": "1"})
    try:
        spec.loader.exec_module(module)
    finally:
        os.environ.clear()
        os.environ.update(before)
    return module


def output(*command: object, folder: Path = ROOT, environment: Mapping[str, str] = os.environ) -> str:
    """Run a command, and give what it prints; that is shown, too, if the command fails."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        print(done.stdout, file=sys.stderr, flush=True)
        done.check_returncode()
    return done.stdout


def environment(name: str, python: Path | str, packages: tuple[str, ...]) -> Path:
    """The Python of a virtual environment of `python` that has these packages."""
    folder = BUILD / "environments" / name
    made = folder / "bin" / "python"
    ready = folder / "ready.txt"
    if not ready.exists() or ready.read_text() != "\n".join(packages):
        print(f"installing {', '.join(packages)}", flush=True)
        subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
        pip = [made, "-m", "pip", "--disable-pip-version-check", "-qq", "install"]
        subprocess.run([*pip, "--upgrade", "pip", *packages], check=True)
        ready.write_text("\n".join(packages))
    return made


@cache
def tools() -> Path:
    """The Python of an environment that has TOOLS."""
    return environment("tools", sys.executable, TOOLS)


def zig(*arguments: object) -> None:
    """Call Zig; what it compiled before it does not compile again."""
    folder = str(BUILD / "zig-cache")
    environment = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": folder, "ZIG_LOCAL_CACHE_DIR": folder}
    subprocess.run([tools(), "-m", "ziglang", *map(str, arguments)], check=True, cwd=ROOT, env=environment)


def clang_version() -> str:
    text = output(tools(), "-m", "ziglang", "cc", "--version")
    found = re.search(r"version (\d+)", text)
    return f"Clang {found[1]}" if found else text.splitlines()[0]


class Target:
    """A platform that is compiled for.

    `platform` is the name that Python has for it, `triple` Clang's.
    """

    def __init__(self, platform: str, triple: str):
        self.triple = triple
        self.setup = setup_for(platform)
        self.folder = BUILD / platform
        self.folder.mkdir(parents=True, exist_ok=True)

    def compile(self, source: Path, made: str, arguments: list[str]) -> Path:
        path = self.folder / made
        path.parent.mkdir(parents=True, exist_ok=True)
        zig("cc", "-target", self.triple, *arguments, "-c", source, "-o", path)
        return path

    def level_objects(self) -> list[Path]:
        """level.c for each level and dtype, without a warning."""
        s = self.setup

        def compile_one(level: str, real: str) -> Path:
            macros = [f"-D{name}={value}" for name, value in s.level_macros(level, real).items()]
            arguments = [*s.FAST_ARGS, *s.LEVEL_ARGS, *s.LEVELS[level][0], *macros, *WARNINGS]
            return self.compile(ROOT / s.KERNELS / "level.c", f"{level}-{real}.o", arguments)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return [job.result() for job in [pool.submit(compile_one, x, y) for x in s.LEVELS for y in s.REALS]]

    def other_objects(self) -> list[Path]:
        """The C files beside level.c, without a warning."""
        s = self.setup
        (sources,) = (e.sources for e in s.EXTENSIONS if e.name == "cnnlayers._kernels")
        with_levels = [f"-DCNN_WITH_{level}" for level in s.LEVELS]
        arguments = [*s.FAST_ARGS, *with_levels, "-O2", *WARNINGS]
        return [
            self.compile(ROOT / source, f"{Path(source).stem}.o", arguments)
            for source in sources
            if source.endswith(".c")
        ]

    def test_program(self, objects: list[Path], name: str) -> Path:
        """tests/platforms/kernels.c, linked with the kernels."""
        folder = self.setup.KERNELS
        arguments = ["-O1", f"-I{folder}", *WARNINGS]
        program = self.compile(ROOT / "tests" / "platforms" / "kernels.c", "kernels.o", arguments)
        made = self.folder / name
        zig("cc", "-target", self.triple, program, *objects, "-o", made)
        return made

    def module_objects(self, include: Path) -> dict[str, Path]:
        """What Cython makes of each module, compiled with Python's headers."""
        s = self.setup
        made = {}
        for extension in s.EXTENSIONS:
            name = extension.name.rpartition(".")[2]
            extension.sources = [source for source in extension.sources if source.endswith(".pyx")]
            (generated,) = cythonize(
                [extension], build_dir=str(BUILD / "cython"), compiler_directives=s.DIRECTIVES, quiet=True
            )
            macros = [f"-D{name}={value}" for name, value in s.MACROS]
            arguments = [*s.FAST_ARGS, "-O2", *macros, f"-I{include}", "-Icnnlayers", *WARNINGS, *CYTHON_WARNINGS]
            made[name] = self.compile(ROOT / generated.sources[0], f"{name}.o", arguments)
        return made

    def python_headers(self) -> Path:
        """A copy of this Python's headers, whose pyconfig.h may be changed."""
        copy = self.folder / "include"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(sysconfig.get_path("include"), copy)
        return copy


def passed(printed: str) -> str:
    """What pytest's last line says: how many tests passed, and how many were skipped."""
    return re.search(r"(\d+ passed[^=\n]*?) in ", printed)[1]


def need(name: str, package: str, *elsewhere: str) -> str:
    """Give the path of a program, or say what brings it."""
    found = shutil.which(name) or next((path for path in elsewhere if os.access(path, os.X_OK)), None)
    if not found:
        sys.exit(f"there is no {name}: apt-get install {package}")
    return found

"""Windows: the kernels compiled by Clang, their test program run under Wine; the modules linked.

The levels are compiled a second time as setup.py has clang-cl do it, by setuptools' object for Microsoft's compiler.
Clang has MinGW's headers here. Microsoft's, their linker and a Python for Windows are not at hand.
"""

import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

from setuptools._distutils.ccompiler import new_compiler

from . import cross
from .row import Row

# What Python's own build says of 64-bit Windows, as far as its headers ask.
PYCONFIG = """
#define MS_WINDOWS
#define MS_WIN32
#define MS_WIN64
#define WITH_THREAD 1
#define HAVE_DECLSPEC_DLL 1
#define Py_ENABLE_SHARED 1
#define STDC_HEADERS 1
#define HAVE_SYS_TYPES_H 1
#define HAVE_SYS_STAT_H 1
#define HAVE_WCHAR_H 1
#define SIZEOF_SHORT 2
#define SIZEOF_INT 4
#define SIZEOF_LONG 4
#define SIZEOF_LONG_LONG 8
#define SIZEOF_FLOAT 4
#define SIZEOF_DOUBLE 8
#define SIZEOF_VOID_P 8
#define SIZEOF_SIZE_T 8
#define SIZEOF_WCHAR_T 2
#define SIZEOF_OFF_T 4
#define SIZEOF_FPOS_T 8
#define SIZEOF_TIME_T 8
"""
STABLE = """
from abi3info import DATAS, FUNCTIONS
for kind, of in (("", FUNCTIONS), (" DATA", DATAS)):
    for symbol, known in of.items():
        if (known.added.major, known.added.minor) <= (3, 11):
            print(symbol.name + kind)
"""


def run() -> Iterator[Row]:
    x86 = cross.Target("win-amd64", "x86_64-windows-gnu")
    levels = x86.level_objects()
    objects = [*levels, *x86.other_objects()]
    program = x86.test_program(objects, "kernels.exe")
    compiler = cross.clang_version()
    wine = Wine(x86.folder)
    wine.passed(program, "thread-ends")
    for level, passed in wine.passed(program).items():
        what = f"C test program of the kernels, {level}: {passed:,} checks passed, none failed"
        yield Row("Windows, x86-64", what, f"run under {wine.version()}, compiled by {compiler}")
    program = x86.test_program([*by_clang_cl(x86), *x86.other_objects()], "kernels-by-clang-cl.exe")
    counts = wine.passed(program)
    what = f"the same of levels that setup.py's clang-cl compiled: {', '.join(counts)}: {sum(counts.values()):,} checks"
    yield Row("Windows, x86-64", what, f"run under {wine.version()}, compiled by {compiler} with MinGW's headers")
    libraries = modules(x86, objects)
    what = f"modules {' and '.join(libraries)}, against Python's stable ABI of 3.11"
    yield Row("Windows, x86-64", what, f"compiled and linked only, by {compiler}")
    arm = cross.Target("win-arm64", "aarch64-windows-gnu")
    objects = [*arm.level_objects(), *arm.other_objects()]
    yield Row(
        "Windows, ARM64",
        f"{len(objects)} objects of the kernels",
        f"compiled only, by {compiler}",
    )


class Wine:
    """Runs programs of Windows, in a folder of its own."""

    def __init__(self, folder: Path):
        self.program = cross.need("wine64", "wine64", "/usr/lib/wine/wine64")
        server = cross.need("wineserver", "wine64", "/usr/lib/wine/wineserver64", "/usr/lib/wine/wineserver")
        without = {name: value for name, value in os.environ.items() if name != "DISPLAY"}
        self.environment = {
            **without,
            "WINEPREFIX": str(folder / "wine"),
            "WINEDEBUG": "-all",
            "WINEARCH": "win64",
            "WINEDLLOVERRIDES": "mscoree,mshtml=",
            "WINESERVER": server,
        }

    def run(self, *arguments: object) -> str:
        """Give what a program prints."""
        return cross.output(self.program, *arguments, environment=self.environment)

    def passed(self, program: Path, *arguments: str) -> dict[str, int]:
        """How many checks of a test program passed, by level; none may have failed."""
        printed = self.run(program, *arguments)
        if not re.search(r"^\d+ passed, 0 failed$", printed, re.MULTILINE):
            raise AssertionError(f"{program} {arguments} did not say that all passed:\n{printed}")
        counts: dict[str, int] = {}
        for level, passed in re.findall(r"^(\w+) +(?:float|double) .* (\d+) passed", printed, re.MULTILINE):
            counts[level] = counts.get(level, 0) + int(passed)
        return counts

    def version(self) -> str:
        """Give "Wine 8.0"."""
        found = re.search(r"\d+\.\d+", self.run("--version"))
        return f"Wine {found[0]}" if found else "Wine"


def by_clang_cl(target: cross.Target) -> list[Path]:
    """level.c for each level and dtype, compiled as setup.py does it on Windows."""
    folder = target.folder / "clang-cl"
    driver = folder / "bin" / "clang-cl"
    driver.parent.mkdir(parents=True, exist_ok=True)
    library = next((cross.tools().parents[1] / "lib").glob("python*/site-packages/ziglang/lib"))
    headers = [f"/clang:-isystem /clang:{library / name}" for name in ("include", "libc/include/any-windows-any")]
    mingw = ["-nostdinc", "-D_UCRT", *headers, "/Zl"]  # in place of Microsoft's headers and libraries
    options = ["--driver-mode=cl", f"--target={target.triple}", *mingw]
    driver.write_text(f'#!/bin/sh\nexec {cross.tools()} -m ziglang clang {" ".join(options)} "$@"\n')
    driver.chmod(0o755)

    setup = target.setup
    compiler = new_compiler(compiler="msvc")
    compiler.initialized = True  # by hand: what it would find on Windows
    compiler.cc = "cl.exe"
    compiler._paths = os.pathsep.join([str(driver.parent), os.environ["PATH"]])
    compiler.compile_options = ["/nologo", "/O2", "/W3", "/GL", "/DNDEBUG", "/MD"]
    compiler.compile_options_debug = []
    path = os.environ["PATH"]
    os.environ["PATH"] = compiler._paths
    try:
        setup.use_clang_cl(compiler)
    finally:
        os.environ["PATH"] = path

    command = SimpleNamespace(compiler=compiler, build_temp=str(folder), force=True)
    command._arguments = partial(setup.BuildExtensions._arguments, command)
    return [
        Path(setup.BuildExtensions._compile_level(command, level, real)).resolve()
        for level in setup.LEVELS
        for real in setup.REALS
    ]


def modules(target: cross.Target, objects: list[Path]) -> list[str]:
    """Link the extension modules; each of Python's symbols that they need must be of the stable ABI."""
    include = target.python_headers()
    for file in include.rglob("pyconfig*.h"):
        file.unlink()
    (include / "pyconfig.h").write_text(PYCONFIG)
    names = cross.output(cross.tools(), "-c", STABLE)
    definition, library = target.folder / "python3.def", target.folder / "python3.lib"
    definition.write_text(f"LIBRARY python3.dll\nEXPORTS\n{names}")
    cross.zig("dlltool", "-m", "i386:x86-64", "-d", definition, "-l", library)
    made = []
    for name, module in target.module_objects(include).items():
        own = objects if name == "_kernels" else []
        path = target.folder / f"{name}.pyd"
        cross.zig("cc", "-target", target.triple, "-shared", module, *own, library, "-o", path)
        made.append(name)
    return made

"""Build the extension modules. All other facts about the package are in pyproject.toml.

    python setup.py build_ext --inplace                       the fast build
    CNNLAYERS_DEBUG=1 python setup.py build_ext --inplace     the bounds-checked build
    CNNLAYERS_ABI3=1 python -m build --wheel                  one wheel for Python 3.11 and all later ones

A new extension is one more entry of EXTENSIONS. The modules are for this version of Python alone, unless CNNLAYERS_ABI3
asks for its stable ABI: a call of a kernel takes longer then, which shows where nets are small.

On Windows the compiler is clang-cl, of LLVM or of Visual Studio's part "C++ Clang tools", with Visual Studio's linker
and headers: Microsoft's own compiler has no vector extension, and MinGW's GCC does not align vectors on the stack.
"""

import os
import platform
import re
import shlex
import shutil
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

DEBUG = os.environ.get("CNNLAYERS_DEBUG", "") not in ("", "0")
KERNELS = "cnnlayers/kernels/c"
DOORS = "cnnlayers/kernels/doors"
ABI3 = os.environ.get("CNNLAYERS_ABI3", "") not in ("", "0")
if ABI3 and sysconfig.get_config_var("Py_GIL_DISABLED"):
    raise SystemExit("CNNLAYERS_ABI3 asks for the stable ABI, which a free-threaded Python does not have")


def find_target(system, arch_flags, machine):
    """The processor to build for, by the system's name, ARCHFLAGS, and the machine's processor.

    A Mac's Python may be for two kinds of processors at once, whose levels need other flags: one of them is built for,
    the one that ARCHFLAGS names, or the machine's own.
    """
    target = system.rpartition("-")[2]
    if not system.startswith("macosx"):
        return target
    named = set(re.findall(r"-arch\s+(\S+)", arch_flags))
    if len(named) > 1:
        raise SystemExit(f"cnnlayers is built for one processor at a time; ARCHFLAGS names {', '.join(sorted(named))}")
    return named.pop() if named else machine if target == "universal2" else target


PLATFORM = sysconfig.get_platform()  # _PYTHON_HOST_PLATFORM names another than this Python's
if PLATFORM == "win32":
    raise SystemExit("cnnlayers is built for 64-bit Windows alone; this Python has 32 bits")
TARGET = find_target(PLATFORM, os.environ.get("ARCHFLAGS", ""), platform.machine())
WINDOWS = PLATFORM.startswith(("win", "mingw"))
SYSTEM = "system_windows" if WINDOWS else "system_posix"
ARCH_ARGS = []
if PLATFORM.startswith("macosx"):
    ARCH_ARGS = ["-arch", TARGET]  # in place of Python's own
    os.environ["_PYTHON_HOST_PLATFORM"] = f"{PLATFORM.rpartition('-')[0]}-{TARGET}"  # for the wheel's name

EXTENSIONS = [
    Extension("cnnlayers._im2col", ["cnnlayers/_im2col.pyx"], py_limited_api=ABI3),
    Extension(
        "cnnlayers._kernels",
        [
            "cnnlayers/_kernels.pyx",
            *(
                f"{KERNELS}/{name}.c"
                for name in ("dispatch", "memory", "parallel", "program", "recycler", "scratch", SYSTEM)
            ),
        ],
        include_dirs=["cnnlayers"],
        depends=[*glob(f"{KERNELS}/*"), *glob(f"{DOORS}/*")],
        extra_compile_args=[] if DEBUG else ["-O2"],  # it hands pointers over, no more; -O3 only makes it larger
        libraries=[] if WINDOWS else ["m"],
        py_limited_api=ABI3,
    ),
]

# level.c is compiled once for each instruction-set level and dtype, with flags of its own; every function in it is
# static, so no instruction of one level leaks into another. The numbers are those of simd.h: bytes in a vector, and the
# heights of the register tiles, for 32 registers or for 16.
WIDE = {"MR": 12, "MW": 14}
NARROW = {"MR": 6, "MW": 6}
X86_LEVELS = {
    "avx512": (["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma"], {"VBYTES": 64, **WIDE}),
    "avx2": (["-mavx2", "-mfma"], {"VBYTES": 32, **NARROW}),
    "baseline": ([], {"VBYTES": 16, **NARROW}),
}
# NEON is part of every aarch64. Scheduled before registers are given out, its loads come so early in a tile that GCC
# keeps sums on the stack; Clang has no such flag, and does the same to a tile that takes all registers, 14 high.
OTHER_LEVELS = {
    "baseline": (["-fno-schedule-insns", "-Wno-ignored-optimization-argument"], {"VBYTES": 16, "MR": 12, "MW": 13})
}
REALS = {"f32": {"REAL": "float", "REAL_BITS": 32}, "f64": {"REAL": "double", "REAL_BITS": 64}}
LEVELS = X86_LEVELS if TARGET in ("x86_64", "amd64") else OTHER_LEVELS

# Never -march=native (the wheel runs elsewhere) and never -ffast-math (NaN must pass through).
# -g0: Python's own flags often ask for debug information, which makes the wheel four times as large.
FAST_ARGS = ["-O3", "-fno-math-errno", "-ffp-contract=fast", "-g0"]
# Unwind tables are a tenth of a megabyte; Windows needs them.
LEVEL_ARGS = ["-O2"] if DEBUG else [] if WINDOWS else ["-fno-asynchronous-unwind-tables"]
DEBUG_ARGS = ["-O1", "-g", "-Wno-maybe-uninitialized"]  # at -O1 gcc warns of Cython's own variables
GIVEN_ARGS = shlex.split(os.environ.get("CFLAGS", ""))  # they come last, and win
COMPILE_ARGS = [*(DEBUG_ARGS if DEBUG else FAST_ARGS), *ARCH_ARGS, *GIVEN_ARGS]
MACROS = [
    *([("CNNLAYERS_DEBUG", "1")] if DEBUG else []),
    *([("Py_LIMITED_API", "0x030b0000")] if ABI3 else []),
]

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "initializedcheck": DEBUG,
    "wraparound": False,
    "cdivision": True,
    "freethreading_compatible": True,
    "show_performance_hints": not DEBUG,
}


def level_macros(level, real):
    """What level.c is compiled with, beside the level's flags."""
    return {**LEVELS[level][1], **REALS[real], "TABLE": f"cnn_{level}_{real}"}


def for_clang_cl(arguments):
    """Clang's arguments as clang-cl takes them, which else reads those that Microsoft's compiler has."""
    return [a if a.startswith(("/", "-m", "-W", "-D")) else f"/clang:{a}" for a in arguments]


def use_clang_cl(compiler):
    """Have setuptools' object for Microsoft's compiler call clang-cl."""
    if not compiler.initialized:
        compiler.initialize()
    # .../VC/Tools/MSVC/VERSION/bin/HostX/Y/cl.exe, and .../VC/Tools/Llvm/x64/bin
    tools = [folder for folder in Path(compiler.cc).parents if folder.name == "Tools"]
    folders = [*(f"{folder}/Llvm/x64/bin" for folder in tools), r"C:\Program Files\LLVM\bin"]
    found = shutil.which("clang-cl") or shutil.which("clang-cl", path=os.pathsep.join(folders))
    if not found:
        raise SystemExit(
            'cnnlayers needs clang-cl on Windows, of LLVM or of Visual Studio\'s "C++ Clang tools for Windows"; it is '
            f"neither on PATH nor in {' or '.join(folders)}"
        )
    compiler.cc = found
    for options in (compiler.compile_options, compiler.compile_options_debug):
        # /GL makes objects for Microsoft's linker to optimise, which Clang does not; -O3 comes from here, for /O2.
        options[:] = [option for option in options if option not in ("/GL", "/O2")]
        if TARGET == "arm64":
            options.append("--target=arm64-pc-windows-msvc")


class BuildExtensions(build_ext):
    """The usual build_ext; it compiles side by side what has changed, and keeps fast and checked builds apart."""

    def finalize_options(self):
        super().finalize_options()
        self.build_temp = "build/objects"  # pip gives a new folder each time, and would compile everything again

    def run(self):
        self.force = self.force or self._flags_changed()
        if self.force:
            self._flags_file().unlink(missing_ok=True)  # until this build is whole
        names = [Path(self.get_ext_filename(extension.name)).name for extension in self.extensions]
        if self.inplace:  # what Python would import in place of what is built now
            stems = [name.split(".")[0] for name in names]
            for name in {stem + suffix for stem in stems for suffix in EXTENSION_SUFFIXES}.difference(names):
                Path("cnnlayers", name).unlink(missing_ok=True)
        for old in glob(f"{self.build_lib}/cnnlayers/_*.*"):
            if old.endswith((".so", ".pyd")) and Path(old).name not in names:
                os.remove(old)  # of another ABI; all that lies there goes into the wheel
        super().run()
        self._remember_flags()

    def build_extensions(self):
        # Generated C goes under build/, one folder per kind of build: cythonize looks at dates, not at directives.
        c_folder = "build/cython-debug" if DEBUG else "build/cython"
        print(f"cnnlayers: {'bounds-checked' if DEBUG else 'fast'} build")
        if self.compiler.compiler_type == "msvc":
            use_clang_cl(self.compiler)
        elif WINDOWS:
            raise SystemExit(
                f"cnnlayers is built by clang-cl on Windows; got the compiler {self.compiler.compiler_type}"
            )
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            levels = [pool.submit(self._compile_level, level, real) for level in LEVELS for real in REALS]
            for extension in self.extensions:
                (generated,) = cythonize(
                    [extension], build_dir=c_folder, compiler_directives=DIRECTIVES, force=self.force, quiet=True
                )
                extension.sources = generated.sources
                extension.extra_compile_args = self._arguments(*COMPILE_ARGS, *extension.extra_compile_args)
                extension.extra_link_args = ARCH_ARGS
                extension.define_macros = [*MACROS, *extension.define_macros]
                if extension.name == "cnnlayers._kernels":
                    extension.define_macros += [(f"CNN_WITH_{level}", "1") for level in LEVELS]
                    extension.extra_objects = [level.result() for level in levels]
        self.parallel = os.cpu_count()
        super().build_extensions()

    def _arguments(self, *arguments):
        return for_clang_cl(arguments) if self.compiler.compiler_type == "msvc" else list(arguments)

    def _compile_level(self, level, real):
        """level.c for a level and a dtype; with optimisation in the checked build too, or tests take for ever."""
        flags, _ = LEVELS[level]
        folder = Path(self.build_temp, level, real)
        made = folder / KERNELS / f"level{self.compiler.obj_extension}"
        sources = ["setup.py", *glob(f"{KERNELS}/*")]
        if not self.force and made.exists() and made.stat().st_mtime > max(os.path.getmtime(file) for file in sources):
            return str(made)
        (compiled,) = self.compiler.compile(
            [f"{KERNELS}/level.c"],
            str(folder),
            [(name, str(value)) for name, value in level_macros(level, real).items()],
            extra_postargs=self._arguments(*COMPILE_ARGS, *LEVEL_ARGS, *flags, "-Wno-psabi"),
        )
        return compiled

    # distutils rebuilds when a source is newer, not when a flag is another. So the flags of the last build are kept.

    def _flags(self):
        environment = [
            f"{name}={os.environ.get(name, '')}" for name in ("CC", "CFLAGS", "CPPFLAGS", "LDFLAGS", "LDSHARED")
        ]
        return "\n".join(
            [sys.version, f"debug={DEBUG} abi3={ABI3}", f"{LEVELS}", *COMPILE_ARGS, *LEVEL_ARGS, *environment]
        )

    def _flags_file(self):
        return Path(self.build_temp, "flags.txt")

    def _flags_changed(self):
        file = self._flags_file()
        if not file.exists():  # objects may be there, of a build that failed
            return file.parent.exists()
        return file.read_text() != self._flags()

    def _remember_flags(self):
        self._flags_file().parent.mkdir(parents=True, exist_ok=True)
        self._flags_file().write_text(self._flags())


if __name__ == "__main__":
    setup(
        ext_modules=EXTENSIONS,
        cmdclass={"build_ext": BuildExtensions},
        options={"bdist_wheel": {"py_limited_api": "cp311"}} if ABI3 else {},
        license="MIT",  # here and not in pyproject.toml, whose two forms for it suit old or new setuptools, never both
    )

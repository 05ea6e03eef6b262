"""Build the extension modules. All other facts about the package stand in pyproject.toml.

    python setup.py build_ext --inplace                       the fast build
    CNNLAYERS_DEBUG=1 python setup.py build_ext --inplace     the bounds-checked build

A new extension is one more entry of EXTENSIONS.
"""

import os
import platform
import sys
import tempfile
from glob import glob
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

DEBUG = os.environ.get("CNNLAYERS_DEBUG", "") not in ("", "0")

EXTENSIONS = [
    Extension("cnnlayers._im2col", ["cnnlayers/_im2col.pyx"]),
    Extension(
        "cnnlayers._kernels",
        ["cnnlayers/_kernels.pyx", *(f"cnnlayers/kernels/{name}.c" for name in ("parallel", "dispatch", "memory"))],
        include_dirs=["cnnlayers"],
        depends=glob("cnnlayers/kernels/*.[ch]"),
        extra_compile_args=[] if DEBUG else ["-O2"],  # it hands pointers over, no more; -O3 only makes it larger
        libraries=["m"],
    ),
]

# kernels/level.c is compiled once for each instruction-set level, with flags of its own; every function in it is
# static, so no instruction of one level leaks into another. The numbers are those of kernels/simd.h: bytes in a vector,
# and the heights of the register tiles, for 32 registers or for 16.
WIDE = {"MR": 12, "MW": 14}
NARROW = {"MR": 6, "MW": 6}
X86_LEVELS = {
    "avx512": (["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma"], {"VBYTES": 64, **WIDE}),
    "avx2": (["-mavx2", "-mfma"], {"VBYTES": 32, **NARROW}),
    "baseline": ([], {"VBYTES": 16, **NARROW}),
}
OTHER_LEVELS = {"baseline": ([], {"VBYTES": 16, **WIDE})}  # NEON is part of every aarch64
LEVELS = X86_LEVELS if platform.machine() in ("x86_64", "AMD64") else OTHER_LEVELS

# Never -march=native (the wheel runs elsewhere) and never -ffast-math (NaN must pass through).
# -g0: Python's own flags often ask for debug information, which makes the wheel four times as large.
FAST_ARGS = ["-O3", "-fno-math-errno", "-ffp-contract=fast", "-g0"]
LEVEL_ARGS = ["-O2"] if DEBUG else ["-fno-asynchronous-unwind-tables"]  # they are a tenth of a megabyte
DEBUG_ARGS = ["-O1", "-g", "-Wno-maybe-uninitialized"]  # at -O1 gcc warns of Cython's own variables
COMPILE_ARGS = [*(DEBUG_ARGS if DEBUG else FAST_ARGS), *os.environ.get("CFLAGS", "").split()]  # the user's win
MACROS = [("CNNLAYERS_DEBUG", "1")] if DEBUG else []

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "initializedcheck": DEBUG,
    "wraparound": False,
    "cdivision": True,
    "show_performance_hints": not DEBUG,
}

OPENMP_PROGRAM = """
#include <omp.h>
int cnnlayers_probe(void) {
    int n = 0;
    #pragma omp parallel for reduction(+ : n)
    for (int i = 0; i < 8; i++) n += omp_get_num_threads();
    return n;
}
"""


class BuildExtensions(build_ext):
    """The usual build_ext; it adds OpenMP where the compiler has it and keeps fast and checked builds apart."""

    def run(self):
        self.force = self.force or self._flags_changed()
        super().run()
        self._remember_flags()

    def build_extensions(self):
        # Generated C goes under build/, one folder per kind of build: cythonize looks at dates, not at directives.
        c_folder = "build/cython-debug" if DEBUG else "build/cython"
        openmp = ["-fopenmp"] if self._has_openmp() else []
        print(f"cnnlayers: {'bounds-checked' if DEBUG else 'fast'} build, OpenMP: {'yes' if openmp else 'no'}")
        for extension in self.extensions:
            (generated,) = cythonize(
                [extension], build_dir=c_folder, compiler_directives=DIRECTIVES, force=self.force, quiet=True
            )
            extension.sources = generated.sources
            extension.extra_compile_args = [*COMPILE_ARGS, *openmp, *extension.extra_compile_args]
            extension.extra_link_args = [*openmp, *extension.extra_link_args]
            extension.define_macros = [*MACROS, *extension.define_macros]
            if extension.name == "cnnlayers._kernels":
                extension.define_macros += [(f"CNN_WITH_{name}", "1") for name in LEVELS]
                extension.extra_objects = self._compile_levels()
        super().build_extensions()

    def _compile_levels(self):
        """kernels/level.c for each level; in the bounds-checked build too with optimisation, or tests take for ever."""
        objects = []
        for name, (flags, numbers) in LEVELS.items():
            macros = [("LEVEL", name), *((key, str(value)) for key, value in numbers.items())]
            arguments = [*COMPILE_ARGS, *LEVEL_ARGS, *flags, "-Wno-psabi"]
            folder = str(Path(self.build_temp, name))
            depends = glob("cnnlayers/kernels/*.[ch]")
            objects += self.compiler.compile(
                ["cnnlayers/kernels/level.c"], folder, macros, extra_postargs=arguments, depends=depends
            )
        return objects

    def _has_openmp(self):
        """Compile and link a small program, the way an extension is compiled and linked."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text(OPENMP_PROGRAM)
            try:
                objects = self.compiler.compile([str(source)], output_dir=folder, extra_postargs=["-fopenmp"])
                self.compiler.link_shared_object(objects, str(Path(folder, "probe.so")), extra_postargs=["-fopenmp"])
            except Exception as error:  # each compiler class has its own; all of them mean "no OpenMP here"
                print(f"cnnlayers: no OpenMP, so one thread ({error})")
                return False
        return True

    # distutils rebuilds when a source is newer, not when a flag is another. So the flags of the last build are kept.

    def _flags(self):
        environment = [f"{name}={os.environ.get(name, '')}" for name in ("CC", "CFLAGS", "CPPFLAGS", "LDFLAGS")]
        return "\n".join([sys.version, f"debug={DEBUG}", *COMPILE_ARGS, *LEVEL_ARGS, *environment])

    def _flags_file(self):
        return Path(self.build_temp, "flags.txt")

    def _flags_changed(self):
        file = self._flags_file()
        return file.exists() and file.read_text() != self._flags()

    def _remember_flags(self):
        self._flags_file().parent.mkdir(parents=True, exist_ok=True)
        self._flags_file().write_text(self._flags())


setup(
    ext_modules=EXTENSIONS,
    cmdclass={"build_ext": BuildExtensions},
    license="MIT",  # here and not in pyproject.toml, whose two forms for it suit old or new setuptools, never both
)

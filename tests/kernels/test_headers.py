"""Each header of the kernels can be read, and compiled, alone: it includes what it uses."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

import cnnlayers

FOLDER = Path(cnnlayers.__file__).parent / "kernels" / "c"
LEVEL = ["-DVBYTES=16", "-DMR=6", "-DMW=6", "-DTABLE=table"]
REALS = {"float": ["-DREAL=float", "-DREAL_BITS=32"], "double": ["-DREAL=double", "-DREAL_BITS=64"]}
COMPILER = shlex.split(os.environ.get("CC", "cc"))  # the package was built, so there is one
FLAGS = ["-fsyntax-only", "-Wall", "-Werror", "-Wno-unused-function", "-Wno-psabi", "-x", "c", "-"]


@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize("header", sorted(path.name for path in FOLDER.glob("*.h")))
def test_every_header_compiles_alone(header, real):
    result = subprocess.run(
        [*COMPILER, *LEVEL, *REALS[real], f"-I{FOLDER}", *FLAGS],
        input=f'#include "{header}"\n',
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr

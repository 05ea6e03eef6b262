"""Instructions of convolutions on aarch64 and on x86-64, counted by the emulator.

    python -m tests.platforms.instructions

prints a table, after `python -m tests.platforms aarch64` has made the build for the one, and `make build` that for the
other. The unit is an instruction for a vector of the convolution's multiply-adds: 4 on NEON, 8 on AVX2. A loop of
nothing but multiply-adds would have 1, and Winograd's method, which needs fewer of them, may have less.
"""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import cnnlayers as cl
from benchmarks.cases import method
from benchmarks.sides import own
from benchmarks.suites.convolution import Problem, Row

from . import aarch64, cross

ROWS = [
    Row(4, 32, 3, 32, 3, padding=1),
    Row(4, 32, 32, 32, 3, padding=1),
    Row(4, 8, 128, 128, 3, padding=1),
    Row(4, 32, 64, 64, 3, stride=2, padding=1),
    Row(4, 28, 1, 16, 5),
    Row(4, 32, 64, 64, 3, padding=1, groups=64),
]
PASSES = ("forward", "dW", "dx")
LANES = {"NEON": 4, "AVX2": 8}


def cases() -> Iterator[tuple[Row, str, str]]:
    for row in ROWS:
        for operation in PASSES:
            yield row, operation, "auto"
            if "F(" in row.algorithm(operation):
                yield row, operation, "direct"


def compute() -> None:
    """Under the emulator: each case twice, and a mark before and after the second."""
    cl.set_num_threads(1)
    for row, operation, algorithm in cases():
        call = method(own.Conv(Problem(row), algorithm), operation)
        call()
        os.getppid()
        call()
        os.getppid()


def counts(command: list[str], tree: Path, **environment: str) -> list[int]:
    """The instructions of each case, with the package of a tree."""
    plugin = aarch64.HERE / "count_instructions.so"
    source = str(Path(__file__).with_name("count_instructions.c"))
    cross.output("gcc", "-O2", "-shared", "-fPIC", source, "-o", plugin)
    counted = os.environ | {"QEMU_PLUGIN": f"file={plugin}"} | environment
    printed = cross.output(*command, "-m", "tests.platforms.instructions", "compute", folder=tree, environment=counted)
    marks = [int(number) for number in re.findall(r"^instructions (\d+)$", printed, re.MULTILINE)]
    return [after - before for before, after in zip(marks[::2], marks[1::2], strict=True)]


def main() -> None:
    found = {
        "NEON": counts([str(aarch64.PYTHON)], aarch64.HERE / "gcc", PYTHONPATH=str(cross.ROOT)),
        "AVX2": counts(["qemu-x86_64", "-cpu", "max", sys.executable], cross.ROOT, CNNLAYERS_ISA="avx2"),
    }
    print(f"| convolution | pass | algorithm | {' | '.join(found)} |\n|---|---|---|{'--:|' * len(found)}")
    for i, (row, operation, algorithm) in enumerate(cases()):
        multiply_adds = Problem(row).work(operation) / 2
        name = row.algorithm(operation) if algorithm == "auto" else algorithm
        numbers = (f"{found[level][i] * LANES[level] / multiply_adds:.2f}" for level in found)
        print(f"| {row.name} | {operation} | {name} | {' | '.join(numbers)} |")


if __name__ == "__main__":
    compute() if sys.argv[1:] == ["compute"] else main()

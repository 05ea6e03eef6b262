"""What is in the innermost loops of convolution, counted in the disassembly of level.o.

    python -m tests.platforms.inner_loops NAME=OBJDUMP,OBJECT ...

prints a table, with a row for each loop and object. A loop is what a backward branch spans; of a function, the
innermost one with the most arithmetic is counted, or all of it if it has none. On x86 a multiply-add may load its
number: it counts as both. A spill is a store to the stack: of a register tile's sums, one that found no register.
"""

import re
import sys
from collections.abc import Iterator
from typing import NamedTuple

from . import cross

# Functions of level.o, and what each does. A tile has as many rows as its level has registers for.
LOOPS = {
    "direct convolution": ("tile_full_2",),
    "weight gradient": ("weight_tile_14_2", "weight_tile_13_2", "weight_tile_6_2"),
    "products of Winograd's method": ("multiply_2",),
    "pixels to points, F(4x4, 3x3)": ("image_interpolate_6",),
}

MULTIPLY_ADD = re.compile(r"fml[as]$|vfn?m(add|sub)\d+p[sd]$")
ARITHMETIC = re.compile(r"f(add|sub|mul|neg)$|v(add|sub|mul)p[sd]$|" + MULTIPLY_ADD.pattern)
NO_LOAD = re.compile(r"prfm|prefetch|lea|nop|j|call")
STACK = re.compile(r"\[(sp|x29)\b|%r[sb]p\b")


class Instruction(NamedTuple):
    address: int
    name: str
    operands: str

    @property
    def target(self) -> int | None:
        """Where a branch within the function goes."""
        found = re.search(r"\b([0-9a-f]+) <", self.operands)
        return int(found[1], 16) if found and re.match(r"b$|b\.|cbn?z|tbn?z|j", self.name) else None

    @property
    def stores(self) -> bool:
        if "%" in self.operands:  # AT&T's order: what is written comes last
            return self.operands.endswith(")") and "mov" in self.name and not self.operands.startswith("(")
        return re.match(r"st[rpu1]", self.name) is not None

    @property
    def loads(self) -> bool:
        if "%" in self.operands:
            return "(" in self.operands and not self.stores and NO_LOAD.match(self.name) is None
        return re.match(r"ld[rpu1]", self.name) is not None

    @property
    def arithmetic(self) -> bool:
        return ARITHMETIC.match(self.name) is not None and (self.name[0] == "v" or self.operands[0] == "v")

    @property
    def multiply_add(self) -> bool:
        return self.arithmetic and MULTIPLY_ADD.match(self.name) is not None


class Counts(NamedTuple):
    """Instructions of a turn of a loop."""

    all: int
    multiply_adds: int
    other_arithmetic: int
    loads: int
    stores: int
    spills: int


def disassemble(objdump: str, file: str, function: str) -> list[Instruction]:
    text = cross.output(objdump, "-d", "--no-show-raw-insn", "-w", f"--disassemble={function}", file)
    lines = re.findall(r"^\s+([0-9a-f]+):\s+(\S+)[ ]*([^\n]*)", text, re.MULTILINE)
    return [
        Instruction(int(address, 16), name, operands.split("//")[0].split("#")[0].strip())
        for address, name, operands in lines
    ]


def innermost(code: list[Instruction]) -> list[Instruction]:
    """The loop without another in it that has the most multiply-adds, then the most arithmetic; all if none has any."""
    places = {one.address: place for place, one in enumerate(code)}
    spans = {(places[one.target], end) for end, one in enumerate(code) if places.get(one.target, end) < end}
    loops = [
        code[begin : end + 1]
        for begin, end in sorted(spans)
        if not any(begin <= b and e <= end and (b, e) != (begin, end) for b, e in spans)
    ]
    best = max(
        loops, key=lambda loop: (sum(i.multiply_add for i in loop), sum(i.arithmetic for i in loop)), default=code
    )
    return best if sum(i.arithmetic for i in best) * 4 > sum(i.arithmetic for i in code) else code


def count(loop: list[Instruction]) -> Counts:
    multiply_adds = sum(one.multiply_add for one in loop)
    return Counts(
        all=len(loop),
        multiply_adds=multiply_adds,
        other_arithmetic=sum(one.arithmetic for one in loop) - multiply_adds,
        loads=sum(one.loads for one in loop),
        stores=sum(one.stores for one in loop),
        spills=sum(one.stores and STACK.search(one.operands) is not None for one in loop),
    )


def table(objects: dict[str, tuple[str, str]]) -> Iterator[tuple[str, str, Counts]]:
    """For each loop and object (a name with the objdump that reads it and its file): what is in the loop."""
    for loop, functions in LOOPS.items():
        for name, (objdump, file) in objects.items():
            for function in functions:
                if code := disassemble(objdump, file, function):
                    yield loop, name, count(innermost(code))
                    break
            else:
                raise RuntimeError(f"{file} has no function of the loop of {loop}: none of {', '.join(functions)}")


if __name__ == "__main__":
    pairs = (argument.split("=", 1) for argument in sys.argv[1:])
    print("| loop | build | instructions | multiply-adds | other arithmetic | loads | stores | of them spills |")
    print("| :-- | :-- | --: | --: | --: | --: | --: | --: |")
    for loop, name, counts in table({name: tuple(rest.split(",")) for name, rest in pairs}):
        print(f"| {loop} | {name} |", " | ".join(str(number) for number in counts), "|")

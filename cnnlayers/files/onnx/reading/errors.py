"""What stands in the way of reading a file."""

from __future__ import annotations

from typing import NamedTuple

LARGEST = 2**24  # numbers in an array that is not in the file: beyond, a small file could fill the memory
LONGEST = 300  # characters of a line: what it quotes may be as long as the file

# What Python and NumPy raise where a file asks for what makes no sense. Operators check what people get wrong; the
# rest, which only damage or malice brings about, comes to these.
SENSELESS = (ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, TypeError, ValueError)


class Refused(Exception):
    """A node cannot become layers: why, and for an attribute which one."""

    def __init__(self, why: str, attribute: str = ""):
        super().__init__(why)
        self.why, self.attribute = why, attribute


class Problem(NamedTuple):
    """What stands in the way: the place of the node among all, and a line that names the node and says why."""

    place: int
    line: str

    def __str__(self) -> str:
        return self.line


def shown(text: str, longest: int = LONGEST) -> str:
    """Text of a file for one line of an error: cut, and without what a terminal would obey."""
    cut = text if len(text) <= longest else f"{text[:longest]} ..."
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in cut)


def check_size(numbers: int) -> None:
    """Refuse what would take far more memory than a file that asks for it has bytes."""
    if numbers > LARGEST:
        raise Refused(f"it would take an array of {numbers} numbers; no more than {LARGEST} are made")

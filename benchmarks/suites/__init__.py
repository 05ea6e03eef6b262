"""The suites, by name: each module has `cases()`."""

from collections.abc import Sequence

from ..cases import Case
from . import choice, columns, conv, imports, infer, layer, memory, ranks, rounding, step, threads, winograd

SUITES = {
    "conv": conv.cases,
    "step": step.cases,
    "infer": infer.cases,
    "memory": memory.cases,
    "threads": threads.cases,
    "ranks": ranks.cases,
    "import": imports.cases,
    "layer": layer.cases,
    "columns": columns.cases,
    "choice": choice.cases,
    "rounding": rounding.cases,
    "winograd": winograd.cases,
}


def cases(names: Sequence[str] = ()) -> list[Case]:
    """Give the cases of these suites, or of all."""
    unknown = [name for name in names if name not in SUITES]
    if unknown:
        raise ValueError(f"no suite {unknown[0]!r}; there are {', '.join(SUITES)}")
    return [case for name, make in SUITES.items() if not names or name in names for case in make()]

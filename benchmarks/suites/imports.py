"""What it costs to have the package: the time of its import beyond NumPy's, and its size on disk."""

from collections.abc import Callable
from functools import partial
from typing import Any

from ..cases import Case
from ..sides import process

SIDES: dict[str, Callable[[Any], Any]] = {side: partial(process.Package, name=side) for side in ("cnnlayers", "torch")}


def cases() -> list[Case]:
    return [
        Case("import", "time/import", "import_time", lambda quick: None, SIDES, timed=False),
        Case("import", "size/installed", "size", lambda quick: None, SIDES, timed=False, unit="MB"),
    ]

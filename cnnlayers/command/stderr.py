"""How the command says what went wrong."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator

from ..terminal import print_line


def complain(error: BaseException) -> None:
    """Print an error, with its notes, as one line on standard error."""
    said = [str(error) or type(error).__name__, *getattr(error, "__notes__", [])]
    say("; ".join(" ".join(part.split()) for part in said))


def say(text: str) -> None:
    """Print a line on standard error."""
    print_line(f"cnnlayers: {text}", sys.stderr)


@contextlib.contextmanager
def saying_warnings(worded: Callable[[str], str] = str) -> Iterator[None]:
    """Print the warnings in the block as lines, also before an error: each text once, as `worded` gives it."""
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always", UserWarning)  # what Python hides of other kinds stays hidden
        try:
            yield
        finally:
            for text in dict.fromkeys(str(warning.message) for warning in noted):  # a reader may say it of each file
                say(worded(text))

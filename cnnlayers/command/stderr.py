"""How the command says what went wrong."""

from __future__ import annotations

import sys

from ..terminal import print_line


def complain(error: BaseException) -> None:
    """Print an error, with its notes, as one line on standard error."""
    said = [str(error) or type(error).__name__, *getattr(error, "__notes__", [])]
    say("; ".join(" ".join(part.split()) for part in said))


def say(text: str) -> None:
    """Print a line on standard error."""
    print_line(f"cnnlayers: {text}", sys.stderr)

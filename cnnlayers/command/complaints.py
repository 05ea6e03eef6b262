"""How the command says what went wrong."""

from __future__ import annotations

import sys


def complain(error: BaseException) -> None:
    """Print an error as one line on standard error."""
    said = [str(error) or type(error).__name__, *getattr(error, "__notes__", [])]
    print(f"cnnlayers: {'; '.join(' '.join(part.split()) for part in said)}", file=sys.stderr, flush=True)

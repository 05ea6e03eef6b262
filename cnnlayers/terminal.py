"""What is shown while something runs: whether anybody looks on must never decide whether it gets done.

`sys.stdout` and `sys.stderr` may be None (a program without a console, a descriptor closed by `2>&-`), closed, a
logger that has `write` and nothing else, a terminal that knows ASCII alone, or a pipe that nobody reads from any more.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

from .names import readable

__all__ = ["Unfailing", "is_terminal", "print_line", "settle"]


def is_terminal(stream: Any) -> bool:
    """Whether a person looks at what is written to a stream; False for what cannot say."""
    try:
        return bool(stream.isatty())
    except Exception:  # None, a closed file, any object that somebody put there
        return False


def print_line(text: str, stream: Any) -> None:
    """Print a line at once, if it can be printed, with escapes for what the stream's encoding lacks."""
    quiet = Unfailing(stream)
    quiet.write(f"{readable(text)}\n")
    quiet.flush()


def settle(stream: Any) -> None:
    """Write out what a stream still holds; if that fails, lead it to nowhere, lest Python complain at its end."""
    with contextlib.suppress(Exception):
        try:
            stream.flush()
        except OSError:  # a pipe without a reader, a full disk
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


class Unfailing:
    """A stream to write to, as far as that works: errors of the stream end here."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text, with escapes for what the stream's encoding lacks."""
        with contextlib.suppress(Exception):  # of whatever kind: the stream may be anybody's object
            try:
                self._stream.write(text)
            except UnicodeEncodeError as error:
                self._stream.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))
        return len(text)

    def flush(self) -> None:
        """Flush, where the stream can."""
        with contextlib.suppress(Exception):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

"""How the command says what went wrong."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from ..terminal import print_line


def complain(error: BaseException, where: str = "") -> None:
    """Print an error, with its notes, as one line on standard error; `where` comes before it."""
    said = [str(error) or type(error).__name__, *getattr(error, "__notes__", [])]
    say(where + "; ".join(" ".join(part.split()) for part in said))


def say(text: str) -> None:
    """Print a line on standard error."""
    print_line(f"cnnlayers: {text}", sys.stderr)


@contextlib.contextmanager
def saying_warnings(worded: Callable[[str], str] = str) -> Iterator[None]:
    """Print the warnings in the block as lines when they come: each text once, as `worded` gives it.

    Only UserWarning and RuntimeWarning; what Python hides of other kinds stays hidden.
    """
    kinds = UserWarning, RuntimeWarning
    said: set[str] = set()  # a reader may say the same of each file, a layer of each batch
    with warnings.catch_warnings():
        for kind in kinds:
            warnings.simplefilter("always", kind)
        show_others = warnings.showwarning

        def show(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
            if not issubclass(category, kinds):
                show_others(message, category, *where, **more)
            elif str(message) not in said:
                said.add(str(message))
                say(worded(str(message)))

        warnings.showwarning = show
        yield

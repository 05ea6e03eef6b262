"""What the command's DATA may be: each reader says what it recognises, and in what words help lists it.

A reader of another kind of file has its own module with a `Source`, and is named in `datasets.SOURCES`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .parts import Dataset

__all__ = ["Source", "either", "has_any", "named_after"]


@dataclass(frozen=True)
class Source:
    """A kind of data, and its reader.

    Attributes
    ----------
    read : function (path, **options) -> Dataset
    recognises : function (path) -> bool
        Whether a file or folder is of this kind.
    help : str
        The kind, as help lists it: "an npz"; with {} in the place of `owner`, it is said once for several owners.
    owner : str
        Whose files these are: "MNIST's".
    sign : str
        What such a folder is known by, for the error that lists all signs; "" if another source says it.
    download : str
        The name of a folder that `read(path, download=True)` fetches what is missing into; "" if it cannot.
    is_file : bool
        Whether it is a file, not a folder.
    """

    read: Callable[..., Dataset]
    recognises: Callable[[Path], bool]
    help: str
    owner: str = ""
    sign: str = ""
    download: str = ""
    is_file: bool = False

    def open(self, path: Path, **options: Any) -> Dataset:
        """Read what is at `path`, with those of the options that the reader has."""
        own = inspect.signature(self.read).parameters
        return self.read(path, **{name: value for name, value in options.items() if name in own})


def has_any(path: Path, *names: str) -> bool:
    """Whether a folder has one of these files or folders."""
    return any((path / name).exists() for name in names)


def named_after(folder: Path, names: Iterable[str]) -> str | None:
    """Which of these a folder is named after: in capitals or not, with - and _ or without."""
    known = {_plain(name): name for name in names}
    own = (_plain(path.name) for path in (folder, folder.resolve()))  # a link's own name counts first
    return next((known[name] for name in own if name in known), None)


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def either(words: Iterable[str], before_or: str = " ") -> str:
    """List alternatives: "a, b or c"; `before_or` is what comes before the "or".

    >>> either(["a", "b", "c"]), either(["a"]), either(["a", "b"], ", ")
    ('a, b or c', 'a', 'a, or b')
    """
    *most, last = words
    return f"{', '.join(most)}{before_or}or {last}" if most else last

"""Options in TOML files: one table of `name = value`, with the names that the options have on the command line."""

from __future__ import annotations

import argparse
import codecs
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..writing import write_atomically


def read(path: str | Path, options: Mapping[str, argparse.Action]) -> dict[str, Any]:
    """Read a file, each value checked as on the command line: {attribute: value}.

    Parameters
    ----------
    path : path
    options : dict of Action
        Those that the file may name, by attribute.

    Raises
    ------
    ValueError
        If it is not TOML, names an unknown option, or has a value that does not fit; with the file's name.
    OSError
        If it cannot be read.
    """
    with open(path, "rb") as file:
        utf16 = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # as some shells write
    with open(path, encoding="utf-16" if utf16 else "utf-8-sig") as file:  # with a byte-order mark or without
        try:
            table = tomllib.loads(file.read())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: not TOML: {error}") from None
    values = {}
    for name, value in table.items():
        action = options.get(name.replace("-", "_"))
        if action is None:
            raise ValueError(f"{path}: there is no option {name!r}; there are {', '.join(map(_key, options))}")
        try:
            values[action.dest] = _converted(action, value)
        except (argparse.ArgumentTypeError, ValueError) as error:
            raise ValueError(f"{path}: {name}: {error}") from None
    return values


def write(path: str | Path, values: Mapping[str, Any]) -> None:
    r"""Write options; those that are None, which TOML cannot say, are left out.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "config.toml"
    >>> write(file, {"data": 'a "folder"', "lr": 0.1, "size": (32, 48), "warmup": None, "batch_size": 64})
    >>> print(file.read_text(), end="")
    data = "a \"folder\""
    lr = 0.1
    size = [32, 48]
    batch-size = 64
    """
    lines = [f"{_key(name)} = {_value(value)}\n" for name, value in values.items() if value is not None]
    write_atomically(path, "".join(lines).encode())


def _key(name: str) -> str:
    return name.replace("_", "-")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")  # a TOML string is one of JSON's


def _converted(action: argparse.Action, value: Any) -> Any:
    """The value that the same words on the command line would give."""
    if action.nargs == 0:  # a switch
        if not isinstance(value, bool):
            raise ValueError(f"true or false is needed; got {value!r}")
        return value
    if not isinstance(value, str | int | float | list) or isinstance(value, bool):
        raise ValueError(f"a number or text is needed; got {value!r}")
    text = "x".join(map(str, value)) if isinstance(value, list) else str(value)
    converted = action.type(text) if callable(action.type) else text
    if action.choices is not None and converted not in action.choices:
        raise ValueError(f"one of {', '.join(map(str, action.choices))} is needed; got {value!r}")
    return converted

r"""Names of files that are no text: bytes from an old archive, or any name beyond ASCII where Python expects ASCII.

Python keeps such bytes in its text as lone surrogates ("caf\udce9"), which the file system takes back, but no file in
UTF-8 and no terminal. So paths stay as they are, and what people read (names of classes, pages, messages) is
`readable`; a path that has to go into a text file goes there as `path_as_text`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["path_as_text", "path_of_text", "readable"]


def readable(text: str) -> str:
    r"""Give a text that any Unicode file can hold: its undecoded bytes are read as UTF-8, or become escapes.

    >>> readable("caf\udce9"), readable("caf\udcc3\udca9")
    ('caf\\xe9', 'café')
    """
    if not re.search("[\ud800-\udfff]", text):
        return text
    text = re.sub("[\ud800-\udc7f\udd00-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)  # these are no bytes
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def path_as_text(path: str | os.PathLike) -> str:
    r"""Give an absolute path as text: itself, or as a URI if it has bytes that are no text.

    >>> path_as_text("/data/café"), path_as_text("/data/caf\udce9")
    ('/data/café', 'file:///data/caf%E9')
    """
    text = str(Path(path).absolute())
    if readable(text) == text:
        return text
    from urllib.parse import quote_from_bytes  # here, since few need it

    text = Path(text).as_posix()
    return f"file://{'' if text.startswith('/') else '/'}{quote_from_bytes(os.fsencode(text))}"


def path_of_text(text: str) -> str:
    """Undo `path_as_text`, also where Python takes names of files for ASCII, and written in another place did not."""
    if text.startswith("file:///"):
        from urllib.parse import unquote_to_bytes  # here, since few need it

        path = os.fsdecode(unquote_to_bytes(text.removeprefix("file://")))
        return path[1:] if re.match("/[A-Za-z]:/", path) and os.name == "nt" else path  # file:///C:/data
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return os.fsdecode(text.encode("utf-8", "surrogateescape"))
    return text

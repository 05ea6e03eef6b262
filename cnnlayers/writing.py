"""How every file of the package is written: whole or not at all, and tried before a long computation that it is for."""

from __future__ import annotations

import contextlib
import errno
import ntpath
import os
import secrets
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PureWindowsPath
from typing import Any, BinaryIO

__all__ = ["check_writable", "open_atomically", "put_in_place", "remove_leftovers", "write_atomically"]

WINDOWS = os.name == "nt"
LONGEST = 200  # bytes of a file's name that its temporary file's name repeats; file systems take 255
LONGEST_PATH = 259 if WINDOWS else 4096  # characters of a whole path; Windows need not take more
PATIENCE = 1.0 if WINDOWS else 0.0  # seconds for which a file that cannot be replaced is tried again


def write_atomically(path: str | os.PathLike, data: bytes) -> None:
    """Put `data` at `path` so that a crash at any moment leaves the old file or the new one, whole.

    Raises
    ------
    OSError
        As writing raises it (a full disk, a missing folder), of the same kind, with `path` as its file; no temporary
        file stays behind.
    """
    with open_atomically(path) as file:
        file.write(data)


@contextlib.contextmanager
def open_atomically(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Open a file to be written in the block, which is at `path` when the block ends, whole; else the old one stays.

    A temporary file in the same folder, fsync, rename. Errors are as those of `write_atomically`; an OSError of the
    block that names a file of its own keeps it.
    """
    with _naming(path):
        _refuse_no_file(path)
    temporary = _temporary(path)
    with _naming(path, unless_named=True):
        try:
            with contextlib.ExitStack() as opened:
                with _naming(path):
                    file = opened.enter_context(open(temporary, "xb"))
                yield file
                with _naming(path):
                    file.flush()
                    os.fsync(file.fileno())
            with _naming(path):
                put_in_place(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):  # it may never have been made; what failed before is what counts
                temporary.unlink()
            raise


def put_in_place(written: str | os.PathLike, path: str | os.PathLike) -> None:
    """Rename a file that is on the disk to `path`, in place of what is there, and make the new name durable.

    Windows lets nobody replace a file that a program has open.
    """
    _patiently(lambda: os.replace(written, path))
    with contextlib.suppress(PermissionError):  # of a folder that can be written to, but not read; on Windows, of any
        folder = os.open(Path(path).parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def check_writable(path: str | os.PathLike) -> None:
    """Raise the OSError that `write_atomically(path, ...)` would: a temporary file is made and removed.

    Only trying tells: permissions say nothing of root, of file systems that are read-only or of other machines.
    """
    with _naming(path):
        _refuse_no_file(path)
        temporary = _temporary(path)
        with open(temporary, "xb"):
            pass
        _patiently(temporary.unlink)


def remove_leftovers(folder: str | os.PathLike, pattern: str) -> None:
    """Remove the temporary files of a process that was killed while it wrote files whose names fit `pattern`."""
    for left in Path(folder).glob(f".{pattern}.{'[0-9a-f]' * 8}.tmp"):
        left.unlink(missing_ok=True)


def _patiently(act: Callable[[], Any]) -> None:
    """On Windows try for a second what a file that is open forbids: virus scanners open what has just been written."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            act()
            return
        except PermissionError:
            if time.monotonic() >= end:
                raise
            time.sleep(PATIENCE / 50)


def _temporary(path: str | os.PathLike) -> Path:
    """A name that is free in the folder of `path`; it says whose it is, where that leaves it short enough."""
    path = Path(path)
    end = f".{secrets.token_hex(4)}.tmp"
    short = len(os.fsencode(path.name)) <= LONGEST and len(f"{path.absolute()}.{end}") <= LONGEST_PATH
    return path.with_name(f".{path.name}{end}" if short else end)


def _refuse_no_file(path: str | os.PathLike) -> None:
    """Refuse what can be no file, before anything is written: a folder, a device, a name that is too long."""
    if WINDOWS and _is_reserved(path):
        raise OSError(errno.EINVAL, "Windows keeps this name for a device or takes no such name", os.fspath(path))
    mode = 0
    with contextlib.suppress(FileNotFoundError):
        mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode) or not os.path.basename(os.fspath(path)):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if mode and not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "There is a device or a pipe, which a file would replace", os.fspath(path))


def _is_reserved(path: str | os.PathLike) -> bool:
    """Whether Windows has no files of this name: `con.csv` is the console, in every folder."""
    if sys.version_info >= (3, 13):
        return ntpath.isreserved(path)
    return PureWindowsPath(path).is_reserved()


@contextlib.contextmanager
def _naming(path: str | os.PathLike, unless_named: bool = False) -> Iterator[None]:
    """Let an OSError in the block name `path`: not the temporary file, which nobody knows, nor nothing at all."""
    try:
        yield
    except OSError as error:
        if error.errno is None or (unless_named and error.filename is not None):
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None

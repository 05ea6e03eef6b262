"""Fetching files: resumable, checked by SHA-256, and put in place whole or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..terminal import Unfailing, is_terminal
from ..writing import put_in_place

__all__ = ["Remote", "fetch", "unpack"]

CHUNK = 1 << 16
TRIES = 3  # how often a connection that broke is taken up again
TIMEOUT = 30  # seconds without a byte


@dataclass(frozen=True)
class Remote:
    """A file at an address, with its size and digest."""

    url: str
    size: int
    sha256: str


def fetch(remote: Remote, path: str | os.PathLike, progress: bool = True) -> Path:
    """Return `path`, downloading the file if it is missing.

    The bytes received are kept in `path`.part until it is whole and its SHA-256 is right; then it is renamed. If the
    connection breaks, or the process ends, the next call goes on from there.

    Parameters
    ----------
    remote : Remote
    path : str or path
        Its folder is made if it is not there.
    progress : bool
        A bar, in a terminal.

    Returns
    -------
    Path

    Raises
    ------
    DataError
        If the file, found or received, is another one: its size or SHA-256 is wrong.
    ConnectionError
        If the server cannot be reached, has no such file, or breaks off.
    """
    path = Path(path)
    if path.exists():
        _verify(path, remote, f"{path}; delete it, and it is fetched anew")
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    for attempt in range(1, TRIES + 1):
        start = part.stat().st_size if part.exists() else 0
        if start > remote.size:
            part.unlink()
            start = 0
        if start < remote.size:
            _receive(remote, part, start, progress)
        size = part.stat().st_size
        if size == remote.size:
            break
        if attempt == TRIES:
            raise ConnectionError(
                f"{remote.url}: the connection ended after {size:,} of {remote.size:,} bytes; they are kept in {part}, "
                "and the next call goes on from there"
            )
    try:
        _verify(part, remote, remote.url)
    except DataError:
        part.unlink()  # it is useless
        raise
    put_in_place(part, path)
    return path


def unpack(archive: Path, members: Mapping[str, int], folder: Path) -> None:
    """Put these members of a tar.gz archive, each of a known size, under `folder`; all others are left.

    Raises
    ------
    DataError
        If the archive is damaged, or a member is not there or not a file of its size.
    """
    import tarfile  # here, so that importing the package stays quick
    import zlib

    try:
        with tarfile.open(archive, "r:gz") as tar:
            left = dict(members)
            for member in tar:
                if member.name in left:
                    size = left.pop(member.name)
                    if not member.isreg() or member.size != size:
                        raise DataError(f"{archive}: expected {member.name} of {size:,} bytes; found {member.size:,}")
                    _write(folder / member.name, tar.extractfile(member))
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DataError(f"{archive}: expected a tar.gz archive; found that it is damaged: {error}") from error
    if left:
        raise DataError(f"{archive}: expected {', '.join(left)} in it; found none")


def _receive(remote: Remote, part: Path, start: int, progress: bool) -> None:
    """Append to `part` what comes from byte `start` on, until it is whole or the connection ends."""
    with _open(remote, start) as response:
        resumed = response.status == 206
        if resumed:
            _check_range(remote, response.headers.get("Content-Range", ""), start)
        elif (length := response.headers.get("Content-Length")) is not None and length != str(remote.size):
            raise DataError(f"{remote.url}: expected {remote.size:,} bytes; found {length} announced")
        start = start if resumed else 0
        with open(part, "ab" if resumed else "wb") as file, _bar(remote, part, start, progress) as bar:
            for chunk in _chunks(response, remote.size - start):
                file.write(chunk)
                bar.update(len(chunk))
            file.flush()
            os.fsync(file.fileno())


def _chunks(response: Any, wanted: int) -> Iterator[bytes]:
    """What comes, until the connection ends, but never more than is wanted."""
    import http.client

    while wanted > 0:
        try:
            chunk = response.read(min(CHUNK, wanted))
        except (OSError, http.client.HTTPException):
            return
        if not chunk:
            return
        wanted -= len(chunk)
        yield chunk


@contextmanager
def _open(remote: Remote, start: int) -> Iterator[Any]:
    """An answer of the server, for the bytes from `start` on."""
    import http.client
    import urllib.error
    import urllib.request

    if not remote.url.startswith(("https://", "http://")):
        raise ValueError(f"fetch: expected an address of http or https; got {remote.url}")
    headers = {"User-Agent": "cnnlayers", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        response = urllib.request.urlopen(urllib.request.Request(remote.url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        raise ConnectionError(f"{remote.url}: the server answered {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionError(f"{remote.url}: the server cannot be reached: {error}") from error
    with response:
        yield response


def _check_range(remote: Remote, text: str, start: int) -> None:
    wanted = f"bytes {start}-{remote.size - 1}/{remote.size}"
    if text != wanted:
        raise DataError(f"{remote.url}: expected the range {wanted!r}; found {text!r}")


def _bar(remote: Remote, part: Path, start: int, progress: bool) -> Any:
    import sys

    from tqdm import tqdm

    return tqdm(
        total=remote.size,
        initial=start,
        unit="B",
        unit_scale=True,
        desc=part.name.removesuffix(".part"),
        file=Unfailing(sys.stderr),
        disable=not (progress and is_terminal(sys.stderr)),
    )


def _verify(path: Path, remote: Remote, who: str) -> None:
    """Compare size and SHA-256."""
    size = path.stat().st_size
    if size != remote.size:
        raise DataError(f"{who}: expected {remote.size:,} bytes; found {size:,}")
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != remote.sha256:
        raise DataError(f"{who}: expected the SHA-256 {remote.sha256}; found {found}")


def _write(path: Path, source: Any) -> None:
    """Write what `source` has, so that a crash at any moment leaves no file or the whole of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with open(part, "wb") as file:
        while chunk := source.read(CHUNK):
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    put_in_place(part, path)

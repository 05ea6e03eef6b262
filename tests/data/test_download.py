"""Downloads, against a server on this machine that can break off, lie and fail."""

import contextlib
import hashlib
import http.server
import io
import sys
import tarfile
import threading

import numpy as np
import pytest

from cnnlayers import DataError
from cnnlayers.data import download
from cnnlayers.data.download import Remote, fetch, unpack
from tests.streams import STREAMS
from tests.windows import files_as_on_windows

CONTENT = np.random.default_rng(0).bytes(200_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT as the server's `behaviour` says; notes the ranges asked for."""

    def do_GET(self):
        server, asked = self.server, self.headers.get("Range")
        server.asked.append(asked)
        if server.behaviour == "missing":
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.ranges else 0
        whole = CONTENT if server.behaviour != "other" else bytes(len(CONTENT))
        body = whole[start:]
        self.send_response(206 if asked and server.ranges else 200)
        if asked and server.ranges:
            first = start + 1 if server.behaviour == "wrong range" else start
            self.send_header("Content-Range", f"bytes {first}-{len(whole) - 1}/{len(whole)}")
        if server.behaviour == "wrong length":
            self.send_header("Content-Length", str(10**15))
        elif server.behaviour != "endless":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if server.breaks > 0:
            server.breaks -= 1
            body = body[: server.part]
        elif server.behaviour == "endless":
            body = body + bytes(10 * len(whole))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked, server.behaviour, server.ranges, server.breaks, server.part = [], "", True, 0, 60_000
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def remote(server):
    return Remote(f"http://127.0.0.1:{server.server_port}/file.gz", len(CONTENT), SHA256)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "file.gz"


def part(path):
    return path.with_name("file.gz.part")


@pytest.mark.parametrize("name", STREAMS)
def test_a_file_is_fetched_whoever_looks_on(name, server, remote, path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", STREAMS[name]())
    fetch(remote, path)
    monkeypatch.undo()
    assert path.stat().st_size == remote.size


def test_a_file_is_fetched_once(server, remote, path):
    assert fetch(remote, path) == path
    assert path.read_bytes() == CONTENT
    assert [file.name for file in path.parent.iterdir()] == ["file.gz"]
    fetch(remote, str(path))
    assert server.asked == [None]


def test_a_connection_that_breaks_is_taken_up_again(server, remote, path):
    server.breaks = 2
    fetch(remote, path)
    assert path.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=60000-", "bytes=120000-"]


def test_what_has_come_is_kept_for_the_next_call(server, remote, path):
    server.breaks = download.TRIES
    server.part = 10_000
    with pytest.raises(
        ConnectionError, match=r"ended after 30,000 of 200,000 bytes; they are kept in .*file\.gz\.part"
    ):
        fetch(remote, path)
    assert not path.exists()
    assert part(path).read_bytes() == CONTENT[:30_000]
    fetch(remote, path)
    assert path.read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=30000-"
    assert not part(path).exists()


def test_an_interrupt_keeps_what_has_come(remote, path, monkeypatch):
    chunks = download._chunks

    def interrupted(response, wanted):
        for k, chunk in enumerate(chunks(response, wanted)):
            if k == 2:
                raise KeyboardInterrupt
            yield chunk

    monkeypatch.setattr(download, "_chunks", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(remote, path)
    size = part(path).stat().st_size
    assert 0 < size < len(CONTENT)
    assert part(path).read_bytes() == CONTENT[:size]
    monkeypatch.undo()
    fetch(remote, path)
    assert path.read_bytes() == CONTENT


def test_a_server_without_ranges_begins_anew(server, remote, path):
    server.breaks, server.ranges = 1, False
    fetch(remote, path)
    assert path.read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_a_part_that_is_whole_needs_no_server(server, remote, path):
    path.parent.mkdir()
    part(path).write_bytes(CONTENT)
    fetch(remote, path)
    assert path.read_bytes() == CONTENT
    assert server.asked == []


def test_a_part_that_is_too_long_is_thrown_away(server, remote, path):
    path.parent.mkdir()
    part(path).write_bytes(CONTENT + b"more")
    fetch(remote, path)
    assert path.read_bytes() == CONTENT
    assert server.asked == [None]


def test_a_part_of_another_file_is_found_out_and_thrown_away(server, remote, path):
    path.parent.mkdir()
    part(path).write_bytes(bytes(50_000))
    with pytest.raises(DataError, match=f"expected the SHA-256 {SHA256}; found"):
        fetch(remote, path)
    assert not list(path.parent.iterdir())
    fetch(remote, path)
    assert path.read_bytes() == CONTENT


def test_another_content(server, remote, path):
    server.behaviour = "other"
    with pytest.raises(DataError, match=rf"127\.0\.0\.1.*: expected the SHA-256 {SHA256}; found [0-9a-f]{{64}}"):
        fetch(remote, path)
    assert not list(path.parent.iterdir())


def test_a_length_that_lies(server, remote, path):
    server.behaviour = "wrong length"
    with pytest.raises(DataError, match="expected 200,000 bytes; found 1000000000000000 announced"):
        fetch(remote, path)
    assert not list(path.parent.iterdir())


def test_more_than_announced_is_not_taken(server, remote, path):
    server.behaviour = "endless"
    fetch(remote, path)
    assert path.read_bytes() == CONTENT


def test_a_range_that_was_not_asked_for(server, remote, path):
    server.behaviour, server.breaks = "wrong range", 1
    with pytest.raises(DataError, match=r"expected the range 'bytes 60000-199999/200000'; found 'bytes 60001"):
        fetch(remote, path)


def test_no_such_file(server, remote, path):
    server.behaviour = "missing"
    with pytest.raises(ConnectionError, match=r"file\.gz: the server answered 404 Not Found"):
        fetch(remote, path)
    assert not list(path.parent.iterdir())


def test_no_server(server, path):
    server.server_close()
    remote = Remote(f"http://127.0.0.1:{server.server_port}/file.gz", 5, SHA256)
    with pytest.raises(ConnectionError, match="the server cannot be reached"):
        fetch(remote, path)


def test_files_of_this_machine_are_not_fetched(tmp_path):
    with pytest.raises(ValueError, match="expected an address of http or https; got file:"):
        fetch(Remote("file:///etc/passwd", 5, SHA256), tmp_path / "file")


@pytest.mark.parametrize(
    ("content", "text"),
    [(CONTENT[:-1], "expected 200,000 bytes; found 199,999"), (bytes(200_000), "expected the SHA")],
)
def test_a_file_that_is_there_and_damaged_is_left(server, remote, path, content, text):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"file\.gz; delete it, and it is fetched anew: {text}"):
        fetch(remote, path)
    assert path.read_bytes() == content
    assert server.asked == []


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_failing_disk_leaves_no_half_file(remote, path, monkeypatch, name):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download.os, name, fail)
    with pytest.raises(OSError, match="No space left"):
        fetch(remote, path)
    monkeypatch.undo()
    assert not path.exists()
    fetch(remote, path)
    assert path.read_bytes() == CONTENT


def test_a_system_that_opens_no_folders(server, remote, path, monkeypatch):
    files_as_on_windows(monkeypatch)
    server.breaks = 1
    assert fetch(remote, path).read_bytes() == CONTENT
    tar = archive(path.with_name("a.tar.gz"), {"data/one.bin": b"one"})
    unpack(tar, {"data/one.bin": 3}, path.parent)
    assert (path.parent / "data" / "one.bin").read_bytes() == b"one"
    assert sorted(file.name for file in path.parent.iterdir()) == ["a.tar.gz", "data", "file.gz"]


# Archives


def archive(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            else:
                info.size = len(content)
            tar.addfile(info, None if content is None else io.BytesIO(content))
    return path


def test_members_are_unpacked_and_nothing_else(tmp_path):
    tar = archive(tmp_path / "a.tar.gz", {"data/one.bin": b"one", "../evil": b"evil", "data/two.bin": b"two!"})
    unpack(tar, {"data/one.bin": 3, "data/two.bin": 4}, tmp_path / "root")
    assert (tmp_path / "root" / "data" / "one.bin").read_bytes() == b"one"
    assert (tmp_path / "root" / "data" / "two.bin").read_bytes() == b"two!"
    assert sorted(file.name for file in tmp_path.rglob("*") if file.is_file()) == ["a.tar.gz", "one.bin", "two.bin"]


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"one.bin": b"four"}, r"a\.tar\.gz: expected one.bin of 3 bytes; found 4"),
        ({"one.bin": None}, "expected one.bin of 3 bytes; found 0"),
        ({"two.bin": b"two"}, "expected one.bin in it; found none"),
    ],
)
def test_members_that_do_not_fit(tmp_path, members, text):
    with pytest.raises(DataError, match=text):
        unpack(archive(tmp_path / "a.tar.gz", members), {"one.bin": 3}, tmp_path / "root")


@pytest.mark.parametrize("damage", [lambda raw: raw[: len(raw) // 2], lambda raw: b"no archive", lambda raw: b""])
def test_damaged_archives(tmp_path, damage):
    tar = archive(tmp_path / "a.tar.gz", {"one.bin": CONTENT})
    tar.write_bytes(damage(tar.read_bytes()))
    with pytest.raises(DataError, match=r"a\.tar\.gz: expected a tar\.gz archive; found that it is damaged"):
        unpack(tar, {"one.bin": len(CONTENT)}, tmp_path / "root")
    assert not (tmp_path / "root" / "one.bin").exists()

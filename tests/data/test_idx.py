"""The idx format: every type and rank; what is damaged or lies is an error that names the file."""

import gzip
import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from cnnlayers import DataError
from cnnlayers.data.datasets import idx

DATA = os.environ.get("CNNLAYERS_DATA")
CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def header(code, *sizes):
    return bytes([0, 0, code, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes)


def encode(a):
    """The bytes of an idx file."""
    kind = a.dtype.str[1:]
    return header(CODES[kind], *a.shape) + a.astype(f">{kind}").tobytes()


def values(kind, shape=(3, 4, 5)):
    return np.random.default_rng(0).integers(-100, 100, shape).astype(kind)


@pytest.fixture
def write(tmp_path):
    def write(content, name="some-file"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


def test_by_hand(write):
    a = idx(write(bytes([0, 0, 0x0B, 2, 0, 0, 0, 2, 0, 0, 0, 1, 1, 0, 255, 254])))
    assert a.tolist() == [[256], [-2]]
    assert a.dtype == np.int16


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 3, 4), (1, 2, 1, 3), (0,), (2, 0, 3)])
def test_types_and_ranks(write, kind, shape, packed):
    a = values(kind, shape)
    content = gzip.compress(encode(a)) if packed else encode(a)
    b = idx(write(content, "x.gz" if not packed else "x"))  # known by its bytes, not by its name
    np.testing.assert_array_equal(b, a)
    assert b.dtype == a.dtype
    assert b.dtype.isnative
    assert b.flags.writeable
    assert b.flags.c_contiguous


def test_text_as_a_path(write):
    assert idx(str(write(encode(values("u1"))))).shape == (3, 4, 5)


DAMAGED = {
    "empty": (b"", "begins with 0 0 and a type; found nothing"),
    "too short for a header": (b"\0\0\x08", "found 00 00 08"),
    "wrong magic": (b"\x89PNG....", "found 89 50 4e 47"),
    "unknown type": (header(0x07, 2) + b"ab", "found 00 00 07 01"),
    "rank 0": (b"\0\0\x08\0a", "expected a rank of 1 to 16; found 0"),
    "rank 200": (b"\0\0\x08\xc8" + b"\0" * 900, "expected a rank of 1 to 16; found 200"),
    "sizes cut off": (b"\0\0\x08\x03\0\0\0\x01", "expected 3 sizes in the header; found 4 bytes"),
    "short": (header(8, 3, 4) + b"a" * 11, "expected 24 bytes for the 3 x 4 values of its header; found 23 bytes"),
    "long": (header(8, 3, 4) + b"a" * 13, "expected 24 bytes for the 3 x 4 values of its header; found 25 bytes"),
    "absurd": (header(8, *[2**32 - 1] * 4) + b"a" * 13, "4294967295 x 4294967295 .*; found 33 bytes"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged(write, name):
    content, text = DAMAGED[name]
    with pytest.raises(DataError, match=f"some-file: .*{text}"):
        idx(write(content))


PACKED = {
    **{name: DAMAGED[name] for name in ("empty", "wrong magic", "rank 0", "sizes cut off")},
    "short": (header(8, 3, 4) + b"a" * 11, "expected 12 bytes after the header, for 3 x 4 values; found 11"),
    "long": (header(8, 3, 4) + b"a" * 13, "expected 12 bytes after the header, for 3 x 4 values; found more"),
    "absurd": (header(8, *[2**32 - 1] * 4) + b"a", "4294967295 .*; found a file that holds [0-9,]+ bytes at most"),
}


@pytest.mark.parametrize("name", PACKED)
def test_damaged_within_gzip(write, name):
    content, text = PACKED[name]
    with pytest.raises(DataError, match=f"some-file: .*{text}"):
        idx(write(gzip.compress(content)))


@pytest.mark.parametrize("damage", ["cut", "flip", "no end", "garbage behind"])
def test_damaged_gzip(write, damage):
    packed = bytearray(gzip.compress(encode(values("u1", (50, 60)))))
    if damage == "cut":
        del packed[len(packed) // 2 :]
    elif damage == "flip":
        packed[-6] ^= 1  # of its CRC
    elif damage == "no end":
        del packed[-8:]
    else:
        packed += b"more"
    with pytest.raises(DataError, match="some-file: expected a whole gzip file; found that it is damaged"):
        idx(write(bytes(packed)))


def test_a_header_that_lies_takes_no_memory(write):
    """Of 3 GB in a plain file, and of 300 MB in a gzip file that could hold them but holds 400 KB."""
    plain = write(header(8, 3 * 10**9) + b"a" * 100, "plain")
    packed = write(gzip.compress(header(8, 300 * 10**6) + np.random.default_rng(0).bytes(400_000)), "packed")
    tracemalloc.start()
    try:
        for path in (plain, packed):
            with pytest.raises(DataError, match=r"expected 3(,000,000,008|00,000,000) bytes"):
                idx(path)
        assert tracemalloc.get_traced_memory()[1] < 10 * 10**6
    finally:
        tracemalloc.stop()


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing-here"):
        idx(tmp_path / "nothing-here")


@pytest.mark.skipif(not DATA, reason="CNNLAYERS_DATA is unset: the folder with mnist/t10k-images-idx3-ubyte.gz")
def test_real_digits():
    x = idx(Path(DATA, "mnist", "t10k-images-idx3-ubyte.gz"))
    y = idx(Path(DATA, "mnist", "t10k-labels-idx1-ubyte.gz"))
    assert x.shape == (10_000, 28, 28)
    assert x.dtype == np.uint8
    assert np.bincount(y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]

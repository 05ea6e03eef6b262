"""Rows gathered by index, against NumPy: x[indices].astype(dtype)."""

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import kernels

SOURCES = [np.uint8, np.float32, np.float64]
PAIRS = [(a, b) for a in SOURCES for b in (np.float32, np.float64)] + [(np.uint8, np.uint8)]


def draw(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, shape).astype(np.uint8) if dtype is np.uint8 else rng.normal(size=shape).astype(dtype)


def check(source, indices, dtype):
    before = source.copy()
    rows = kernels.gather_rows(source, indices, dtype)
    assert rows.dtype == dtype
    assert not np.shares_memory(rows, source)
    np.testing.assert_array_equal(rows, source[indices].astype(dtype))
    np.testing.assert_array_equal(source, before)


@pytest.mark.parametrize(("source", "dtype"), PAIRS)
@pytest.mark.parametrize("shape", [(7,), (7, 1), (7, 3), (7, 5, 4, 3), (7, 130, 127), (7, 0)])
def test_against_numpy(shape, source, dtype):
    x = draw(shape, source)
    for indices in ([0], [6, 0, 3], [2, 2, 2, 5, 1, 1, 0, 6, 4], [], list(range(7))):
        check(x, np.array(indices, np.int64), dtype)


@pytest.mark.parametrize(("source", "dtype"), PAIRS)
def test_many_rows_on_any_number_of_threads(source, dtype):
    x = draw((3000, 33), source)
    order = np.random.default_rng(1).permutation(3000)
    for threads in (1, 2, 3, 7):
        cl.set_num_threads(threads)
        check(x, order, dtype)


def test_every_byte():
    x = np.arange(256, dtype=np.uint8)
    check(x, np.arange(256)[::-1].copy(), np.float32)


def test_special_numbers_pass():
    x = np.array([np.nan, np.inf, -np.inf, -0.0, 1e300, 1e-300, 0.1])
    with np.errstate(over="ignore"):
        expected = x.astype(np.float32)
    got = kernels.gather_rows(x, np.arange(7), np.float32)
    assert got.tobytes() == expected.tobytes()
    for dtype in (np.float32, np.float64):  # what is copied and not converted keeps its bits
        tiny = np.array([np.finfo(dtype).smallest_subnormal], dtype)
        assert kernels.gather_rows(tiny, np.array([0]), dtype) == tiny


def test_subnormal_numbers_that_are_converted_become_0():
    x = np.array([1e-40, 1e-30])
    np.testing.assert_array_equal(kernels.gather_rows(x, np.arange(2), np.float32), np.array([0, 1e-30], np.float32))


def test_read_only_and_memory_mapped_sources(tmp_path):
    x = draw((20, 6), np.uint8)
    np.save(tmp_path / "x.npy", x)
    x.setflags(write=False)
    indices = np.array([3, 19, 3])
    indices.setflags(write=False)
    check(x, indices, np.float32)
    check(np.load(tmp_path / "x.npy", mmap_mode="r"), indices, np.float32)


@pytest.mark.parametrize(("indices", "message"), [([0, 3], "got 3 at position 1"), ([-1], "got -1 at position 0")])
def test_indices_are_checked(indices, message):
    with pytest.raises(IndexError, match=rf"indices must be in 0..2; {message}"):
        kernels.gather_rows(np.zeros((3, 2)), np.array(indices), np.float64)


def test_what_does_not_fit():
    x, indices = np.zeros((3, 2)), np.array([0])
    for source, dtype in [
        (x.astype(np.int64), np.float32),
        (x, np.uint8),
        (x, np.int64),
        (x.astype(">f8"), np.float64),
    ]:
        with pytest.raises(TypeError, match=r"rows are gathered from uint8, float32 or float64; got .* to "):
            kernels.gather_rows(source, indices, dtype)
    with pytest.raises(ValueError, match="got a single number"):
        kernels.gather_rows(np.array(1.0), indices, np.float64)
    with pytest.raises(ValueError, match=r"indices must have one axis; got shape \(1, 1\)"):
        kernels.gather_rows(x, indices[:, None], np.float64)
    for strided in (x[:, ::-1], np.asfortranarray(x), np.zeros((6, 2))[::2]):
        with pytest.raises(ValueError, match="contiguous"):
            kernels.gather_rows(strided, indices, np.float64)
    with pytest.raises(IndexError, match="indices must be in"):
        kernels.gather_rows(np.zeros((0, 2)), indices, np.float64)

"""Dropout's mask: the published generator, the same everywhere, and random by what statistics can tell."""

import itertools

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import _kernels, kernels
from cnnlayers.reference import dropout
from tests.marks import both_dtypes, by_turns, every_level


def test_the_twin_gives_the_known_first_numbers():
    assert dropout.splitmix64(1234567, 3) == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def kept(count, p, key, dtype=np.float32):
    return kernels.dropout(np.ones(count, dtype), p, key) != 0


@every_level
@by_turns("count", [1, 2, 511, 513, 1500, 40001])
def test_the_mask_is_that_of_the_published_generator(count, dtype):
    for key, p in itertools.product((0, 1, 2**63, 2**64 - 1, 0x123456789ABCDEF0), (0.25, 0.6)):
        np.testing.assert_array_equal(kept(count, p, key, dtype), dropout.dropout_mask((count,), p, key))


@every_level
@by_turns("shape", [(1,), (3, 5), (2, 7, 9, 4), (0, 3), (33000,)])
def test_what_is_kept_grows(shape, dtype):
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    before = x.copy()
    y = kernels.dropout(x, 0.2, 3)
    assert y.dtype == dtype
    mask = kept(x.size, 0.2, 3).reshape(shape)
    np.testing.assert_array_equal(y, x * (mask * dtype(1 / (1 - 0.2))))
    np.testing.assert_array_equal(x, before)


@every_level
@both_dtypes
def test_none_and_all(dtype):
    x = np.random.default_rng(0).normal(size=5000).astype(dtype)
    for key in range(5):
        np.testing.assert_array_equal(kernels.dropout(x, 0.0, key), x)
        np.testing.assert_array_equal(kernels.dropout(x, 1.0, key), 0)


@every_level
@both_dtypes
def test_nan_and_infinity_are_not_hidden(dtype):
    for special, dropped in [(np.nan, np.nan), (np.inf, np.nan), (-np.inf, np.nan)]:
        x = np.full(1000, special, dtype)
        with np.errstate(invalid="ignore"):
            expected = np.where(kept(1000, 0.5, 1), 2 * x, dropped)
        np.testing.assert_array_equal(kernels.dropout(x, 0.5, 1), expected)
        assert np.isnan(kernels.dropout(x, 1.0, 1)).all()


@both_dtypes
def test_levels_and_threads_have_no_say(dtype, level):
    x = np.random.default_rng(0).normal(size=100_003).astype(dtype)
    results = set()
    for threads in (1, 2, 3, 7):
        cl.set_num_threads(threads)
        results.add(kernels.dropout(x, 0.3, 99).tobytes())
    _kernels.set_level("baseline")
    results.add(kernels.dropout(x, 0.3, 99).tobytes())
    assert len(results) == 1


# Statistics, on 2^20 numbers: of a fair mask each of these deviates by more than 5 sigma once in two million.

COUNT = 2**20


def deviations(mask, p):
    """Z-scores of the mean and of the correlations between numbers some steps apart."""
    centred = (mask - (1 - p)) / np.sqrt(p * (1 - p))
    yield centred.mean() * np.sqrt(len(centred))
    for step in (1, 2, 3, 4, 8, 16, 32, 64, 100, 512, 1024, 4096, 32768):
        products = centred[step:] * centred[:-step]
        yield products.mean() * np.sqrt(len(products))


@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("key", [0, 1, 2**40, 2**64 - 3])
def test_the_mean_and_neighbours(key, p):
    assert max(np.abs(list(deviations(kept(COUNT, p, key), p)))) < 5


@pytest.mark.parametrize(("one", "other"), [(0, 1), (7, 8), (5, 5 + 2**32), (1, 2**63 + 1), (0, 2**64 - 1)])
def test_keys_give_masks_that_are_independent(one, other):
    both = (kept(COUNT, 0.5, one) - 0.5) * (kept(COUNT, 0.5, other) - 0.5) * 4
    assert abs(both.mean() * np.sqrt(COUNT)) < 5


@pytest.mark.parametrize("size", [10, 100, 1024])
def test_samples_and_units_are_even(size):
    """No sample and no unit is dropped more often than chance allows: chi-square over each axis."""
    mask = kept(COUNT // size * size, 0.3, 42).reshape(-1, size)
    for axis in (0, 1):
        n = mask.shape[axis]
        counts = mask.sum(axis=axis)
        square = ((counts - 0.7 * n) ** 2 / (n * 0.3 * 0.7)).sum()
        assert abs(square - len(counts)) < 5 * np.sqrt(2 * len(counts))


@pytest.mark.parametrize("p", [-0.1, 1.1, np.nan, np.inf])
def test_a_chance_outside_0_to_1(p):
    with pytest.raises(ValueError, match=r"p must be in 0..1; got"):
        kernels.dropout(np.ones(3), p, 0)


@pytest.mark.parametrize("key", [-1, 2**64])
def test_a_key_that_is_not_64_bits(key):
    with pytest.raises(OverflowError, match="int"):
        kernels.dropout(np.ones(3), 0.5, key)

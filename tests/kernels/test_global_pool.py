"""The kernels of global pooling against NumPy's reductions: every width of line, ties, NaN, many parts of an image."""

import numpy as np
import pytest

from cnnlayers import kernels
from tests.marks import both_dtypes, by_turns, every_level

pytestmark = every_level
SHAPES = [
    (2, 1, 1),
    (3, 7, 5, 1),
    (2, 4, 4, 3),
    (2, 1, 1, 20),
    (1, 37, 41, 16),  # several parts, and lines of joined rows
    (2, 5003, 3),
    (2, 130, 100, 5),
    (1, 50, 600),
    (2, 9, 11, 1100),  # blocks of columns
    (0, 6, 5, 4),
]


def numbers(shape, dtype, seed=0):
    """Few different whole numbers: ties everywhere, and exact sums."""
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(dtype)


def flat(x):
    return x.reshape(len(x), int(np.prod(x.shape[1:-1])), x.shape[-1])


def gradients(x, dtype):
    return np.random.default_rng(1).standard_normal((len(x), x.shape[-1])).astype(dtype)


def check_max(x):
    before = x.copy()
    y, winner = kernels.global_max_pool(x)
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(winner, flat(x).argmax(axis=1))  # the first maximum, or the first NaN
    np.testing.assert_array_equal(y, flat(x).max(axis=1))
    np.testing.assert_array_equal(x, before)

    dy = gradients(x, x.dtype)
    dx = kernels.global_max_pool_input_grad(dy, winner, x.shape)
    expected = np.zeros_like(x)
    for n, c in np.ndindex(*dy.shape):
        flat(expected)[n, winner[n, c], c] = dy[n, c]
    np.testing.assert_array_equal(dx, expected)
    assert dx.dtype == x.dtype


@by_turns("shape", SHAPES)
def test_maximum(shape, dtype):
    check_max(numbers(shape, dtype))
    check_max(np.random.default_rng(0).standard_normal(shape).astype(dtype))


@by_turns("shape", SHAPES)
def test_nan_wins_and_the_first_nan_takes_the_gradient(shape, dtype):
    x = numbers(shape, dtype)
    x[np.random.default_rng(2).random(shape) < 3 / max(1, x[0].size if len(x) else 1)] = np.nan
    check_max(x)
    x[:, -1] = np.nan  # in the last row, whatever part that falls in
    check_max(x)


@both_dtypes
def test_all_equal_and_all_minus_infinity(dtype):
    for value in (-np.inf, -1.0, np.inf, np.nan):
        check_max(np.full((2, 70, 60, 6), value, dtype))


@both_dtypes
def test_a_maximum_at_each_position(dtype):
    positions = 3001
    for at in (0, 1, 127, 128, 129, 1500, positions - 2, positions - 1):
        x = np.zeros((1, positions, 3), dtype)
        x[0, at, 1] = 1
        y, winner = kernels.global_max_pool(x)
        assert y.tolist() == [[0, 1, 0]]
        assert winner.tolist() == [[0, at, 0]]


def test_zeros_of_both_signs_tie():
    x = np.zeros((1, 1000, 2), np.float32)
    x[0, 0] = -0.0
    assert kernels.global_max_pool(x)[1].tolist() == [[0, 0]]


@both_dtypes
def test_a_winner_that_is_no_position_gets_nothing(dtype):
    dy = np.ones((1, 4), dtype)
    winner = np.array([[-1, 6, np.iinfo(np.intp).max, np.iinfo(np.intp).min]], np.intp)
    assert not kernels.global_max_pool_input_grad(dy, winner, (1, 2, 3, 4)).any()


@by_turns("shape", SHAPES)
def test_mean(shape, dtype):
    x = numbers(shape, dtype)
    y = kernels.global_avg_pool(x)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, flat(x).sum(axis=1, dtype=np.float64) / flat(x).shape[1], rtol=np.finfo(dtype).eps)

    dy = gradients(x, dtype)
    dx = kernels.global_avg_pool_input_grad(dy, shape)
    assert dx.dtype == dtype
    expected = np.broadcast_to((dy / dtype(flat(x).shape[1]))[:, np.newaxis], flat(x).shape).reshape(shape)
    np.testing.assert_array_equal(dx, expected)


def test_a_long_mean_keeps_its_digits():
    x = np.full((1, 1_000_000, 2), 0.1, np.float32)
    np.testing.assert_allclose(kernels.global_avg_pool(x), [[0.1, 0.1]], rtol=1e-6)


@both_dtypes
def test_nan_and_infinity_in_a_mean(dtype):
    x = np.zeros((2, 5, 4), dtype)
    x[0, 3, 1], x[1, 2, 0] = np.nan, np.inf
    np.testing.assert_array_equal(kernels.global_avg_pool(x), [[0, np.nan, 0, 0], [np.inf, 0, 0, 0]])


@pytest.mark.parametrize("shape", [(), (4,), (2, 0), (2, 0, 3, 4), (2, 3, 0, 4), (2, 3, 4, 0)])
def test_shapes_without_a_pixel(shape):
    for kernel in (kernels.global_avg_pool, kernels.global_max_pool):
        with pytest.raises(ValueError, match=r"at least one pixel and one channel; got shape \("):
            kernel(np.zeros(shape, np.float32))
    with pytest.raises(ValueError, match=r"at least one pixel and one channel; got shape \("):
        kernels.global_avg_pool_input_grad(np.zeros((2, 4), np.float32), shape)

"""The pooling kernels against the loops: ties, NaN, overlap, padding per side, holes, overhang."""

import itertools

import numpy as np
import pytest

from cnnlayers import kernels, reference
from cnnlayers.geometry import window
from tests.marks import both_dtypes, by_turns, every_level

pytestmark = every_level


def numbers(shape, dtype=np.float64, seed=0):
    """Few different whole numbers: ties in nearly every window, and exact sums."""
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(dtype)


def reads_pixels_everywhere(place):
    return not any(axis.misses() for axis in place.axes)


def shares(place, include_padding, dtype):
    """What avg_pool multiplies each sum by, as the layer makes it."""
    per_axis = [np.array(axis.counts(include_padding), dtype) for axis in place.axes]
    return 1 / (per_axis[0] if place.rank == 1 else np.outer(*per_axis))


def check_max(x, *slide, ceil_mode=False):
    place = window(x.shape[1:], *slide, ceil=ceil_mode)
    before = x.copy()
    y, winner = kernels.max_pool(x, place)
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(y, reference.max_pool(x, *slide, ceil_mode=ceil_mode))
    np.testing.assert_array_equal(x, before)
    for relu in (False, True):
        alone, _ = kernels.max_pool(x, place, relu, named=False)
        assert alone.tobytes() == kernels.max_pool(x, place, relu)[0].tobytes()

    dy = numbers(y.shape, x.dtype, seed=1)
    before = dy.copy()
    dx = kernels.max_pool_input_grad(dy, winner, place)
    assert dx.dtype == x.dtype
    np.testing.assert_array_equal(dx, reference.max_pool_backward(x, dy, *slide, ceil_mode=ceil_mode))
    np.testing.assert_array_equal(dy, before)
    assert dx.sum() == dy.sum()  # no gradient is lost, none is made

    rectified, winner = kernels.max_pool(x, place, True)
    np.testing.assert_array_equal(rectified, np.maximum(y, 0))
    dx = kernels.max_pool_input_grad(dy, winner, place)
    passed = np.where(y > 0, dy, 0)
    np.testing.assert_array_equal(dx, reference.max_pool_backward(x, passed, *slide, ceil_mode=ceil_mode))


def check_avg(x, *slide, ceil_mode=False, count_include_pad=False):
    place = window(x.shape[1:], *slide, ceil=ceil_mode)
    share = shares(place, count_include_pad, x.dtype)
    tolerance = {"rtol": 0, "atol": 1e-5 if x.dtype == np.float32 else 1e-13}
    before = x.copy()
    y = kernels.avg_pool(x, place, share)
    assert y.dtype == x.dtype
    np.testing.assert_allclose(
        y, reference.avg_pool(x, *slide, ceil_mode=ceil_mode, count_include_pad=count_include_pad), **tolerance
    )
    np.testing.assert_array_equal(x, before)

    dy = numbers(y.shape, x.dtype, seed=1)
    before = dy.copy()
    dx = kernels.avg_pool_input_grad(dy, place, share)
    assert dx.dtype == x.dtype
    expected = reference.avg_pool_backward(x, dy, *slide, ceil_mode=ceil_mode, count_include_pad=count_include_pad)
    np.testing.assert_allclose(dx, expected, **tolerance)
    np.testing.assert_array_equal(dy, before)


SIZES = [(1, 1), (2, 2), (3, 2), (1, 4)]
STRIDES = [(1, 1), (2, 3), (3, 1)]
PADDINGS = [0, ((1, 0), (0, 2)), ((2, 1), (1, 1)), "same"]
DILATIONS = [(1, 1), (2, 1), (1, 2)]


def image_grid(size):
    """Every slide on a 6 x 7 image whose windows all hold a pixel, floored and ceiled."""
    for *slide, ceil_mode in itertools.product(STRIDES, PADDINGS, DILATIONS, [False, True]):
        if reads_pixels_everywhere(window((6, 7, 2), size, *slide, ceil=ceil_mode)):
            yield slide, ceil_mode


@both_dtypes
@pytest.mark.parametrize("size", SIZES)
def test_max_pool_of_images(size, dtype):
    slides = list(image_grid(size))
    assert len(slides) >= 20
    for slide, ceil_mode in slides:
        check_max(numbers((2, 6, 7, 2), dtype), size, *slide, ceil_mode=ceil_mode)


@both_dtypes
@pytest.mark.parametrize("size", SIZES)
def test_avg_pool_of_images(size, dtype):
    for (slide, ceil_mode), include in itertools.product(image_grid(size), [False, True]):
        check_avg(numbers((2, 6, 7, 2), dtype), size, *slide, ceil_mode=ceil_mode, count_include_pad=include)


@both_dtypes
@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_signals(size, ceil_mode, dtype):
    for stride, padding, dilation in itertools.product([1, 2, 4], [0, 1, [(0, 1)], "same"], [1, 2]):
        x = numbers((2, 11, 3), dtype)
        check_max(x, size, stride, padding, dilation, ceil_mode=ceil_mode)
        for include in (False, True):
            check_avg(x, size, stride, padding, dilation, ceil_mode=ceil_mode, count_include_pad=include)


@pytest.mark.parametrize("n", [0, 1])
def test_small_batches(n):
    check_max(numbers((n, 5, 4, 2)), (3, 2), (2, 1), 1)
    check_avg(numbers((n, 5, 4, 2)), (3, 2), (2, 1), 1)
    check_max(numbers((n, 1, 1, 3)), 1, 1)
    check_avg(numbers((n, 1, 1, 3)), 3, 1, 1)


# Windows of more elements than a byte can number

LARGE = [
    ((11, 24), (1, 3), 0, 1),
    ((17, 16), (5, 2), ((2, 5), (0, 3)), 1),
    ((13, 20), (3, 6), "same", (1, 1)),
    ((9, 30), (5, 7), ((0, 8), (25, 1)), (2, 1)),
    ((2, 128), (2, 5), ((0, 0), (110, 110)), (3, 1)),
    ((300, 1), (9, 8), ((140, 159), (0, 0)), 1),
]


@pytest.mark.parametrize("ceil_mode", [False, True])
@by_turns("slide,channels", list(zip(LARGE, [1, 20, 3, 3, 20, 1], strict=True)))
def test_large_windows_of_images(slide, channels, ceil_mode, dtype):
    x = numbers((2, 12, 27, channels), dtype)
    assert len(np.unique(x)) == 7
    check_max(x, *slide, ceil_mode=ceil_mode)
    check_avg(x, *slide, ceil_mode=ceil_mode, count_include_pad=ceil_mode)


@both_dtypes
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("slide", [(256, 30), (300, 70, [(3, 150)]), (257, 100, "same"), (260, 90, [(259, 259)], 2)])
def test_large_windows_of_signals(slide, ceil_mode, dtype):
    x = numbers((2, 531, 3), dtype)
    check_max(x, *slide, ceil_mode=ceil_mode)
    for include in (False, True):
        check_avg(x, *slide, ceil_mode=ceil_mode, count_include_pad=include)


@both_dtypes
def test_nan_and_infinities_in_large_windows(dtype):
    x = numbers((2, 24, 40, 5), dtype)
    x.flat[np.random.default_rng(0).choice(x.size, 20, replace=False)] = np.nan
    x[0, :, :, 1] = -np.inf
    assert 0 < np.isnan(kernels.max_pool(x, window((24, 40, 5), (8, 40), (8, 1)))[0]).mean() < 1
    check_max(x, (8, 40), (8, 1))
    check_max(x, (20, 20), (6, 12), ((4, 2), (1, 7)))


def test_the_first_position_wins_a_tie_in_a_large_window():
    x = np.zeros((30, 30))
    x[4, 9] = x[4, 20] = x[3, 25] = x[17, 0] = 1
    expected = np.zeros((30, 30))
    expected[3, 25] = 1
    assert first_of(x, 30, 30) == expected.tolist()
    assert first_of(np.ones(600), 300, 300) == [1, *[0] * 299, 1, *[0] * 299]


@pytest.mark.parametrize("n", [0, 1])
def test_small_batches_of_large_windows(n):
    check_max(numbers((n, 18, 20, 2)), 17, (1, 3))
    check_avg(numbers((n, 18, 20, 2)), 17, (1, 3))


def test_a_window_of_a_million_pixels():
    x = np.ones((1, 1200, 1100, 2), np.float32)
    x[0, 700, 300] = 2, 3
    place = window(x.shape[1:], (1000, 1000), 50)
    y, winner = kernels.max_pool(x, place)
    assert y.shape == (1, 5, 3, 2)
    assert (y == [2, 3]).all()
    dx = kernels.max_pool_input_grad(np.ones_like(y), winner, place)
    assert dx[0, 700, 300].tolist() == [15, 15]
    assert dx.sum() == 30
    share = shares(place, False, x.dtype)
    np.testing.assert_allclose(kernels.avg_pool(x, place, share), np.broadcast_to([1 + 1e-6, 1 + 2e-6], y.shape))
    assert kernels.avg_pool_input_grad(np.ones_like(y), place, share).sum() == pytest.approx(30, rel=1e-5)


# Maxima


def first_of(rows, size, stride):
    """Where the gradient of a pool of ones goes, on one image with one channel."""
    x = np.array(rows, float)[np.newaxis, ..., np.newaxis]
    place = window(x.shape[1:], size, stride)
    y, winner = kernels.max_pool(x, place)
    return kernels.max_pool_input_grad(np.ones_like(y), winner, place)[0, ..., 0].tolist()


def test_the_first_position_in_row_major_order_wins_a_tie():
    assert first_of([[1, 1], [1, 1]], 2, 2) == [[1, 0], [0, 0]]
    assert first_of([[0, 5], [5, 5]], 2, 2) == [[0, 1], [0, 0]]
    assert first_of([[0, 0], [5, 5]], 2, 2) == [[0, 0], [1, 0]]
    assert first_of([7, 7, 7, 7], 2, 1) == [1, 1, 1, 0]


def test_minus_zero_and_zero_tie():
    assert first_of([-0.0, 0.0], 2, 1) == [1, 0]


def test_gradients_of_overlapping_windows_add():
    assert first_of([[1, 2, 1], [2, 9, 2], [1, 2, 1]], 2, 1) == [[0, 0, 0], [0, 4, 0], [0, 0, 0]]


@both_dtypes
def test_nan_wins_and_the_first_nan_takes_the_gradient(dtype):
    assert first_of([np.nan, 3, np.nan], 3, 1) == [1, 0, 0]
    assert first_of([3, np.nan, np.inf], 3, 1) == [0, 1, 0]
    x = numbers((3, 6, 7, 2), dtype)
    x.flat[np.random.default_rng(0).choice(x.size, 60, replace=False)] = np.nan
    assert 0 < np.isnan(kernels.max_pool(x, window((6, 7, 2), 2))[0]).mean() < 1
    check_max(x, (2, 3), (1, 2), 1)


@both_dtypes
def test_windows_of_minus_infinity_have_a_winner(dtype):
    x = np.full((1, 4, 4, 1), -np.inf, dtype)
    check_max(x, 2, 2)
    check_max(x, 3, 2, 1)
    assert first_of([-np.inf, -np.inf], 2, 2) == [1, 0]


def test_padding_never_wins():
    x = np.full((1, 3, 3, 1), -5.0)
    y, _ = kernels.max_pool(x, window((3, 3, 1), 2, 1, 1))
    assert y.shape == (1, 4, 4, 1)
    assert (y == -5).all()


# Means


def test_avg_pool_divides_by_what_is_counted():
    x = np.ones((1, 5, 1))
    place = window((5, 1), 3, 2, [(1, 1)])  # windows (pad, 0, 1), (1, 2, 3), (3, 4, pad)
    assert kernels.avg_pool(x, place, shares(place, False, x.dtype)).ravel().tolist() == pytest.approx([1, 1, 1])
    assert kernels.avg_pool(x, place, shares(place, True, x.dtype)).ravel().tolist() == pytest.approx([2 / 3, 1, 2 / 3])


def test_the_overhang_of_ceil_mode_is_never_counted():
    x = np.ones((1, 5, 1))
    place = window((5, 1), 2, 2, ceil=True)
    for include in (False, True):
        assert kernels.avg_pool(x, place, shares(place, include, x.dtype)).ravel().tolist() == pytest.approx([1, 1, 1])


def test_avg_pool_input_grad_is_the_transpose():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 6, 7, 3))
    place = window((6, 7, 3), (3, 2), (2, 3), ((1, 1), (0, 1)), (1, 2), ceil=True)
    share = shares(place, True, x.dtype)
    y = kernels.avg_pool(x, place, share)
    dy = rng.normal(size=y.shape)
    assert np.vdot(y, dy) == pytest.approx(np.vdot(x, kernels.avg_pool_input_grad(dy, place, share)), rel=1e-12)

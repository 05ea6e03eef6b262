"""MaxPool, AvgPool, GlobalMaxPool and GlobalAvgPool."""

import re

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import reference
from tests.layers.common import batch, gradient_for

POOLS = [cl.MaxPool, cl.AvgPool]
GLOBALS = [cl.GlobalMaxPool, cl.GlobalAvgPool]


def passes(layer, x, dy=None):
    """Build in float64, then y and dx."""
    x = np.asarray(x, np.float64)
    layer.build(x.shape[1:], dtype=np.float64)
    y = layer.forward(x)
    return y, layer.backward(np.ones_like(y) if dy is None else dy)


def signal(*values):
    return np.array(values, np.float64).reshape(1, -1, 1)


# By hand


def test_max_pool_by_hand():
    x = np.array([[1, 2, 5, 0], [3, 4, 1, 1]]).reshape(1, 2, 4, 1)
    y, dx = passes(cl.MaxPool(2), x, [[[[10], [20]]]])
    np.testing.assert_array_equal(y.ravel(), [4, 5])
    np.testing.assert_array_equal(dx.reshape(2, 4), [[0, 0, 20, 0], [0, 10, 0, 0]])


def test_avg_pool_by_hand():
    x = np.array([[1, 2, 5, 0], [3, 4, 1, 2]]).reshape(1, 2, 4, 1)
    y, dx = passes(cl.AvgPool(2), x, [[[[4], [8]]]])
    np.testing.assert_array_equal(y.ravel(), [2.5, 2])
    np.testing.assert_array_equal(dx.reshape(2, 4), [[1, 1, 2, 2], [1, 1, 2, 2]])


@pytest.mark.parametrize(("count_padding", "y"), [(False, [2, 3, 4]), (True, [4 / 3, 3, 8 / 3])])
def test_avg_pool_counts_padding_if_asked(count_padding, y):
    got, _ = passes(cl.AvgPool(3, 1, padding=1, count_include_pad=count_padding), signal(1, 3, 5))
    np.testing.assert_allclose(got.ravel(), y, rtol=1e-15)


def test_the_overhang_of_ceil_mode_never_counts():
    for count_padding in (False, True):
        y, dx = passes(cl.AvgPool(2, 2, ceil_mode=True, count_include_pad=count_padding), signal(1, 3, 5))
        np.testing.assert_array_equal(y.ravel(), [2, 5])
        np.testing.assert_array_equal(dx.ravel(), [0.5, 0.5, 1])


def test_ceil_mode_rounds_up():
    np.testing.assert_array_equal(passes(cl.MaxPool(2, 2), signal(1, 3, 2, 4, 5))[0].ravel(), [3, 4])
    np.testing.assert_array_equal(passes(cl.MaxPool(2, 2, ceil_mode=True), signal(1, 3, 2, 4, 5))[0].ravel(), [3, 4, 5])


def test_the_only_window_of_ceil_mode_may_hang_over_the_end():
    y, dx = passes(cl.MaxPool(4, 3, ceil_mode=True), signal(1, 3))
    np.testing.assert_array_equal(y.ravel(), [3])
    np.testing.assert_array_equal(dx.ravel(), [0, 1])
    y, dx = passes(cl.AvgPool((3, 2), 2, ceil_mode=True), np.array([[1, 2, 3], [4, 5, 6]]).reshape(1, 2, 3, 1))
    np.testing.assert_array_equal(y.ravel(), [3, 4.5])
    np.testing.assert_array_equal(dx.reshape(2, 3), [[0.25, 0.25, 0.5]] * 2)


def test_the_last_window_of_ceil_mode_starts_inside_the_input():
    layer = cl.MaxPool(1, stride=2, ceil_mode=True)  # a third window would start at pixel 4 of 4
    y, _ = passes(layer, signal(1, 2, 3, 4))
    np.testing.assert_array_equal(y.ravel(), [1, 3])
    y, _ = passes(cl.AvgPool(2, stride=3, padding=(1,), ceil_mode=True), signal(1, 2, 3, 4, 5))
    assert np.isfinite(y).all()


def test_global_pools_by_hand():
    x = np.array([[[1, 8], [2, 6]], [[3, 4], [6, -2]]]).reshape(1, 2, 2, 2)
    y, dx = passes(cl.GlobalAvgPool(), x, [[4, 8]])
    np.testing.assert_array_equal(y, [[3, 4]])
    np.testing.assert_array_equal(dx.reshape(4, 2), [[1, 2]] * 4)
    y, dx = passes(cl.GlobalMaxPool(), x, [[4, 8]])
    np.testing.assert_array_equal(y, [[6, 8]])
    np.testing.assert_array_equal(dx.reshape(4, 2), [[0, 8], [0, 0], [0, 0], [4, 0]])


# Ties, overlaps, NaN, padding


def test_the_first_position_wins_a_tie():
    _, dx = passes(cl.MaxPool((2, 3)), np.ones((1, 2, 3, 1)))
    np.testing.assert_array_equal(dx.reshape(2, 3), [[1, 0, 0], [0, 0, 0]])
    x = np.array([[0, 1, 7], [7, 7, 0]]).reshape(1, 2, 3, 1)
    _, dx = passes(cl.MaxPool((2, 3)), x)
    np.testing.assert_array_equal(dx.reshape(2, 3), [[0, 0, 1], [0, 0, 0]])  # row-major: the upper row first
    _, dx = passes(cl.GlobalMaxPool(), x)
    np.testing.assert_array_equal(dx.reshape(2, 3), [[0, 0, 1], [0, 0, 0]])


def test_zeros_of_both_signs_tie():
    _, dx = passes(cl.MaxPool(2), signal(-0.0, 0.0))
    np.testing.assert_array_equal(dx.ravel(), [1, 0])


def test_a_global_pool_is_a_pool_of_the_whole_image():
    x = np.random.default_rng(0).integers(0, 4, (3, 5, 4, 2))  # with ties
    for whole, windowed in ((cl.GlobalMaxPool(), cl.MaxPool((5, 4))), (cl.GlobalAvgPool(), cl.AvgPool((5, 4)))):
        y, dx = passes(whole, x)
        y_windowed, dx_windowed = passes(windowed, x)
        np.testing.assert_allclose(y, y_windowed[:, 0, 0], rtol=1e-14)
        np.testing.assert_allclose(dx, dx_windowed, rtol=1e-14)


def test_gradients_of_overlapping_windows_add():
    _, dx = passes(cl.MaxPool(3, 1), signal(1, 2, 9, 3, 4), [[[1], [10], [100]]])
    np.testing.assert_array_equal(dx.ravel(), [0, 0, 111, 0, 0])
    _, dx = passes(cl.AvgPool(3, 1), signal(1, 2, 9, 3, 4), [[[3], [30], [300]]])
    np.testing.assert_array_equal(dx.ravel(), [1, 11, 111, 110, 100])


def test_padding_never_wins():
    y, dx = passes(cl.MaxPool(3, 1, padding=1), signal(-5, -7, -9))
    np.testing.assert_array_equal(y.ravel(), [-5, -5, -7])
    np.testing.assert_array_equal(dx.ravel(), [2, 1, 0])
    y, dx = passes(cl.MaxPool(3, 1, padding=1), signal(-np.inf, -np.inf))
    np.testing.assert_array_equal(y.ravel(), [-np.inf, -np.inf])
    assert dx.sum() == 2


def test_nan_wins():
    y, dx = passes(cl.MaxPool(3), signal(1, np.nan, np.inf))
    assert np.isnan(y).all()
    np.testing.assert_array_equal(dx.ravel(), [0, 1, 0])
    y, dx = passes(cl.GlobalMaxPool(), signal(1, np.nan, np.inf))
    assert np.isnan(y).all()
    np.testing.assert_array_equal(dx.ravel(), [0, 1, 0])
    y, _ = passes(cl.MaxPool(2), signal(np.nan, 1, 2, 3))
    np.testing.assert_array_equal(y.ravel(), [np.nan, 3])


# Against the definition as loops

GRID = [
    {"size": 2},
    {"size": (3, 2)},
    {"size": (1, 3), "stride": (2, 1)},
    {"size": (3, 2), "stride": (2, 3)},
    {"size": 2, "stride": 3},
    {"size": (3, 2), "stride": 1, "padding": 1},
    {"size": (3, 4), "stride": (2, 3), "padding": ((0, 2), (1, 0))},
    {"size": (2, 3), "stride": (1, 2), "padding": "same"},
    {"size": (2, 3), "padding": "valid", "dilation": (3, 1)},
    {"size": (3, 2), "stride": (2, 3), "ceil_mode": True},
    {"size": (2, 4), "stride": (2, 3), "padding": ((1, 0), (2, 1)), "ceil_mode": True},
    {"size": (2, 3), "stride": 3, "dilation": (2, 1), "padding": 1, "ceil_mode": True},
    {"size": (7, 8)},
    {"size": 2, "stride": 50},
]


@pytest.mark.parametrize("values", ["different", "ties"])
@pytest.mark.parametrize("options", GRID, ids=str)
def test_max_pool_on_images_against_the_reference(options, values):
    x = batch(2, 7, 8, 2)
    x = x if values == "different" else np.round(x)
    dy = gradient_for(reference.max_pool(x, **options))
    y, dx = passes(cl.MaxPool(**options), x, dy)
    np.testing.assert_array_equal(y, reference.max_pool(x, **options))
    np.testing.assert_allclose(dx, reference.max_pool_backward(x, dy, **options), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("count_padding", [True, False])
@pytest.mark.parametrize("options", GRID, ids=str)
def test_avg_pool_on_images_against_the_reference(options, count_padding):
    x, options = batch(2, 7, 8, 2), options | {"count_include_pad": count_padding}
    dy = gradient_for(reference.avg_pool(x, **options))
    y, dx = passes(cl.AvgPool(**options), x, dy)
    np.testing.assert_allclose(y, reference.avg_pool(x, **options), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(dx, reference.avg_pool_backward(x, dy, **options), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "options",
    [
        {"size": 2},
        {"size": 3, "stride": 1, "padding": 1},
        {"size": 3, "stride": 2, "padding": ((2, 0),)},
        {"size": 2, "stride": 3, "dilation": 2, "padding": "same"},
        {"size": (3,), "stride": (2,), "ceil_mode": True},
    ],
    ids=str,
)
def test_signals_against_the_reference(options):
    x = batch(2, 8, 3)
    dy = gradient_for(reference.max_pool(x, **options))
    y, dx = passes(cl.MaxPool(**options), x, dy)
    np.testing.assert_array_equal(y, reference.max_pool(x, **options))
    np.testing.assert_allclose(dx, reference.max_pool_backward(x, dy, **options), rtol=1e-12, atol=1e-14)
    y, dx = passes(cl.AvgPool(**options), x, dy)
    np.testing.assert_allclose(y, reference.avg_pool(x, **options), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(dx, reference.avg_pool_backward(x, dy, **options), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("Pool", POOLS)
@pytest.mark.parametrize("options", GRID, ids=str)
def test_gradients_of_the_grid_agree_with_numeric_ones(Pool, options):
    report = cl.gradcheck(Pool(**options), batch(2, 7, 8, 2), samples=20)
    assert report.ok, report


@pytest.mark.parametrize("Pool", POOLS + GLOBALS)
def test_channels_do_not_meet(Pool):
    layer = Pool(2) if Pool in POOLS else Pool()
    x = batch(2, 6, 4, 3)
    y = layer.forward(x)
    for c in range(3):
        other = Pool(2) if Pool in POOLS else Pool()
        np.testing.assert_allclose(other.forward(x[..., c : c + 1]), y[..., c : c + 1], rtol=1e-6)


# Shapes


@pytest.mark.parametrize("Pool", POOLS)
def test_windows_stand_side_by_side_by_default(Pool):
    assert Pool(3).output_shape((9, 10, 4)) == (3, 3, 4)
    assert Pool((2, 5)).output_shape((9, 10, 4)) == (4, 2, 4)
    assert Pool(3, 1).output_shape((9, 4)) == (7, 4)
    assert Pool(3, stride=2, ceil_mode=True).output_shape((8, 4)) == (4, 4)


@pytest.mark.parametrize("Pool", POOLS)
def test_other_image_sizes_are_welcome(Pool):
    layer = Pool(2)
    layer.build((8, 8, 3))
    assert layer.forward(np.ones((1, 5, 12, 3))).shape == (1, 2, 6, 3)
    layer = Pool(3, padding=1)
    layer.build((9, 9, 3), dtype=np.float64)
    x = batch(2, 6, 6, 3)
    y = layer.forward(x)
    slow = reference.max_pool if Pool is cl.MaxPool else reference.avg_pool
    np.testing.assert_allclose(y, slow(x, 3, padding=1), rtol=1e-12)
    assert layer.backward(y).shape == x.shape


@pytest.mark.parametrize("Pool", GLOBALS)
def test_global_pools_take_other_image_sizes(Pool):
    layer = Pool()
    layer.build((8, 8, 3))
    assert layer.forward(np.ones((2, 5, 12, 3))).shape == (2, 3)


# Errors


@pytest.mark.parametrize("Pool", POOLS)
def test_inputs_that_do_not_fit(Pool):
    name = Pool.__name__
    for shape, message in (
        ((5,), f"{name}(3) needs images (N, H, W, C) or signals (N, L, C); got shape (N, 5)"),
        ((2, 8, 1), f"{name}(3): a 3x3 kernel does not fit in a 2x8 image padded by 0"),
        ((8, 8, 0), f"{name}(3) needs at least one pixel and one channel; got shape (N, 8, 8, 0)"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            Pool(3).build(shape)


@pytest.mark.parametrize("Pool", POOLS)
@pytest.mark.parametrize(
    "options",
    [
        {"size": 2, "padding": 2},
        {"size": 1, "padding": ((1, 0), (0, 0))},
        {"size": 2, "dilation": 6, "padding": 2, "stride": 1},
        {"size": 2, "padding": ((0, 3), (0, 0))},
    ],
    ids=str,
)
def test_every_window_must_hold_a_pixel(Pool, options):
    with pytest.raises(ValueError, match=rf"{Pool.__name__}\(.*every window must hold a pixel; .*\(N, 5, 5, 1\)"):
        Pool(**options).build((5, 5, 1))


@pytest.mark.parametrize("Pool", GLOBALS)
@pytest.mark.parametrize("shape", [(5,), (0, 4, 2), (4, 0, 2), (0, 2), (4, 4, 0), (2, 3, 4, 5)])
def test_global_pools_need_images_or_signals(Pool, shape):
    with pytest.raises(ValueError, match=rf"{Pool.__name__}\(\) needs images .* or signals .*; got shape \(N, "):
        Pool().build(shape)


@pytest.mark.parametrize("Pool", POOLS)
@pytest.mark.parametrize("name", ["size", "stride", "dilation", "padding"])
def test_sizes_that_are_none(Pool, name):
    for value in (2.0, True, np.float64(1), "3"):
        if not (name == "padding" and isinstance(value, str)):
            with pytest.raises(TypeError, match=f"{Pool.__name__}: {name} must be an int"):
                Pool(**({"size": 2} | {name: value}))
    low = 0 if name == "padding" else 1
    with pytest.raises(ValueError, match=f"{Pool.__name__}: {name} must be {low} or more; got -1"):
        Pool(**({"size": 2} | {name: -1}))


@pytest.mark.parametrize("Pool", POOLS)
def test_flags(Pool):
    with pytest.raises(TypeError, match=f"{Pool.__name__}: ceil_mode must be True or False; got 1"):
        Pool(2, ceil_mode=1)


def test_count_include_pad_is_a_flag():
    with pytest.raises(TypeError, match="AvgPool: count_include_pad must be True or False; got None"):
        cl.AvgPool(2, count_include_pad=None)


@pytest.mark.parametrize("Pool", POOLS)
@pytest.mark.parametrize("options", [{"size": 2**31}, {"size": 2**63}, {"size": 3, "dilation": 2**62}])
def test_absurd_sizes(Pool, options):
    with pytest.raises(ValueError, match="does not fit"):
        Pool(**options).forward(np.ones((1, 5, 5, 1)))


@pytest.mark.parametrize("Pool", POOLS)
def test_a_stride_larger_than_any_image_is_one_position(Pool):
    layer = Pool(2, stride=2**70)
    assert layer.forward(np.ones((1, 5, 5, 1))).shape == (1, 1, 1, 1)
    assert layer.backward(np.ones((1, 1, 1, 1))).shape == (1, 5, 5, 1)

"""Dropout."""

import re

import numpy as np
import pytest

import cnnlayers as cl
from tests.layers.common import batch, gradient_for


def dropout(p, *shape, rng=0, dtype=np.float64):
    layer = cl.Dropout(p)
    layer.build(shape, rng=rng, dtype=dtype)
    return layer


def test_each_number_is_dropped_or_grows():
    y = dropout(0.75, 1000).forward(np.ones((3, 1000)))
    assert set(np.unique(y)) == {0.0, 4.0}


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_p_is_the_chance_to_drop_and_the_mean_stays(p):
    y = dropout(p, 1000).forward(np.ones((200, 1000)))
    assert abs((y == 0).mean() - p) < 0.005
    assert abs(y.mean() - 1) < 0.02


def test_backward_has_the_mask_of_forward():
    layer, x = dropout(0.5, 50), batch(4, 50)
    y = layer.forward(x)
    dy = gradient_for(y)
    np.testing.assert_array_equal(layer.backward(dy), np.where(y == 0, 0, 2 * dy))
    np.testing.assert_array_equal(y, np.where(y == 0, 0, 2 * x))


def test_two_equal_rows_get_different_masks():
    y = dropout(0.5, 100).forward(np.ones((2, 100)))
    assert not np.array_equal(y[0], y[1])


def test_each_pixel_and_channel_is_dropped_on_its_own():
    y = dropout(0.5, 8, 8, 4).forward(np.ones((1, 8, 8, 4)))[0]
    assert not np.array_equal(y[..., 0], y[..., 1])
    assert not np.array_equal(y[0], y[1])
    assert not np.array_equal(y[:, 0], y[:, 1])


def test_each_step_draws_a_new_mask():
    layer, x = dropout(0.5, 100), np.ones((1, 100))
    assert not np.array_equal(layer.forward(x), layer.forward(x))


def test_the_same_seed_gives_the_same_masks():
    x = np.ones((2, 100))
    one, other = dropout(0.5, 100, rng=3), dropout(0.5, 100, rng=3)
    for _ in range(3):
        np.testing.assert_array_equal(one.forward(x), other.forward(x))
    assert not np.array_equal(dropout(0.5, 100, rng=4).forward(x), dropout(0.5, 100, rng=3).forward(x))


def test_both_dtypes_drop_the_same_numbers():
    x = np.ones((2, 100))
    y32, y64 = dropout(0.3, 100, dtype=np.float32).forward(x), dropout(0.3, 100).forward(x)
    np.testing.assert_array_equal(y32 == 0, y64 == 0)


def test_two_dropouts_of_a_net_draw_apart():
    net = cl.Sequential([cl.Dropout(0.5), cl.Dropout(0.5)], input_shape=(100,), rng=0)
    x = np.ones((1, 100))
    assert not np.array_equal(net[0].forward(x), net[1].forward(x))


def test_masks_do_not_depend_on_inference_between():
    one, other, x = dropout(0.5, 100), dropout(0.5, 100), np.ones((2, 100))
    one.predict(x)
    one.forward(x, train=False)
    np.testing.assert_array_equal(one.forward(x), other.forward(x))


def test_the_state_of_its_generator_replays_a_mask():
    layer, x = dropout(0.5, 100), np.ones((2, 100))
    state = layer.rng.bit_generator.state
    y = layer.forward(x)
    layer.rng.bit_generator.state = state
    np.testing.assert_array_equal(layer.forward(x), y)


def test_each_forward_draws_one_number_whatever_the_size():
    small, large = dropout(0.5, 3), dropout(0.5, 1000)
    for layer in (small, large):
        layer.backward(layer.forward(np.ones((2, *layer.input_shape))))
    assert small.rng.bit_generator.state == large.rng.bit_generator.state


def test_samples_units_and_steps_are_independent():
    layer, n, d = dropout(0.5, 256), 256, 256
    masks = np.array([layer.forward(np.ones((n, d))) - 1 for _ in range(4)])  # -1 or 1
    for one, other in [
        (masks[:, :-1], masks[:, 1:]),  # neighbouring samples
        (masks[:, :, :-1], masks[:, :, 1:]),  # neighbouring units
        (masks[:-1], masks[1:]),  # neighbouring steps
    ]:
        assert abs((one * other).mean()) < 5 / np.sqrt(one.size)


@pytest.mark.parametrize("p", [0.5, 1])
def test_nan_and_infinity_come_through_where_they_are_dropped(p):
    y = dropout(p, 100).forward(np.full((2, 100), np.nan))
    assert np.isnan(y).all()
    y = dropout(p, 100).forward(np.full((2, 100), np.inf))
    assert not np.isfinite(y).any()


@pytest.mark.parametrize("train", [True, False])
def test_nothing_is_dropped_with_p_0(train):
    layer, x = dropout(0, 30), batch(2, 30)
    np.testing.assert_array_equal(layer.forward(x, train), x)
    np.testing.assert_array_equal(layer.backward(x), x)


def test_everything_is_dropped_with_p_1():
    layer, x = dropout(1, 30), batch(2, 30)
    np.testing.assert_array_equal(layer.forward(x), 0)
    np.testing.assert_array_equal(layer.backward(x), 0)
    np.testing.assert_array_equal(layer.predict(x), x)


def test_at_inference_it_is_the_identity():
    layer, x = dropout(0.5, 30), batch(2, 30)
    for y in (layer.predict(x), layer.forward(x, train=False)):
        np.testing.assert_array_equal(y, x)
        assert not np.shares_memory(y, x)
    np.testing.assert_array_equal(layer.backward(2 * x), 2 * x)


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan"), 2])
def test_a_chance_outside_0_to_1(p):
    with pytest.raises(ValueError, match=re.escape(f"Dropout: p must be at least 0 and at most 1; got {p!r}")):
        cl.Dropout(p)


@pytest.mark.parametrize("p", ["half", None, True, [0.5]])
def test_a_chance_that_is_no_number(p):
    with pytest.raises(TypeError, match=re.escape(f"Dropout: p must be a number; got {p!r}")):
        cl.Dropout(p)


# SpatialDropout


def spatial(p, *shape, rng=0):
    layer = cl.SpatialDropout(p)
    layer.build(shape, rng=rng, dtype=np.float64)
    return layer


def test_whole_channels_of_a_sample_are_dropped():
    y = spatial(0.75, 5, 4, 300).forward(np.ones((3, 5, 4, 300)))
    np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1, :1], y.shape))
    assert set(np.unique(y)) == {0.0, 4.0}
    assert not np.array_equal(y[0], y[1])
    assert abs((y == 0).mean() - 0.75) < 0.05


def test_spatial_backward_has_the_mask_of_forward():
    layer, x = spatial(0.5, 3, 4, 50), batch(4, 3, 4, 50)
    y = layer.forward(x)
    dy = gradient_for(y)
    np.testing.assert_array_equal(layer.backward(dy), np.where(y == 0, 0, 2 * dy))


def test_spatial_on_rows_and_at_the_ends():
    x = batch(4, 50)
    assert 0 < (spatial(0.5, 50).forward(x) == 0).mean() < 1
    np.testing.assert_array_equal(spatial(0, 50).forward(x), x)
    np.testing.assert_array_equal(spatial(1, 50).forward(x), 0 * x)


def test_spatial_draws_anew_and_again_from_the_same_seed():
    one, other, x = spatial(0.5, 6, 100), spatial(0.5, 6, 100), np.ones((2, 6, 100))
    y = one.forward(x)
    np.testing.assert_array_equal(y, other.forward(x))
    assert not np.array_equal(y, one.forward(x))
    np.testing.assert_array_equal(one.predict(x), x)


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan"), True, "a"])
def test_spatial_p(p):
    with pytest.raises((ValueError, TypeError), match="SpatialDropout: p must be"):
        cl.SpatialDropout(p)


def test_spatial_without_channels():
    with pytest.raises(ValueError, match=r"SpatialDropout\(0.5\) needs at least one channel; got shape \(N, 4, 0\)"):
        cl.SpatialDropout(0.5).build((4, 0))

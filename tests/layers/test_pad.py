"""Pad."""

import re

import numpy as np
import pytest

import cnnlayers as cl
from tests.layers.common import batch

LINE = [[[1.0], [2.0], [3.0]]]


@pytest.mark.parametrize(
    ("mode", "y", "dx"),
    [
        ("constant", [7, 7, 1, 2, 3, 7], [4, 8, 16]),
        ("edge", [1, 1, 1, 2, 3, 3], [1 + 2 + 4, 8, 16 + 32]),
        ("reflect", [3, 2, 1, 2, 3, 2], [4, 2 + 8 + 32, 1 + 16]),
    ],
)
def test_by_hand(mode, y, dx):
    layer = cl.Pad([(2, 1)], value=7, mode=mode)
    np.testing.assert_array_equal(layer.forward(LINE).ravel(), y)
    np.testing.assert_array_equal(layer.backward([[[1], [2], [4], [8], [16], [32]]]).ravel(), dx)


def test_an_image_by_hand():
    y = cl.Pad(((1, 0), (0, 2)), mode="edge").forward(np.array([[1, 2], [3, 4]]).reshape(1, 2, 2, 1))
    np.testing.assert_array_equal(y[0, :, :, 0], [[1, 2, 2, 2], [1, 2, 2, 2], [3, 4, 4, 4]])


def test_zeros_by_default():
    assert cl.Pad(1).forward(LINE).ravel().tolist() == [0, 1, 2, 3, 0]


@pytest.mark.parametrize("padding", [2, (2, 2), ((2, 2), (2, 2))])
def test_forms_of_padding(padding):
    assert cl.Pad(padding).output_shape((3, 4, 2)) == (7, 8, 2)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
def test_before_a_conv_it_is_the_convs_own_padding_if_it_is_0(mode):
    x = batch(2, 5, 6, 3)
    layers = [[cl.Pad(1, mode=mode), cl.Conv(4, 3)], [cl.Conv(4, 3, padding=1)]]
    nets = [cl.Sequential(some, input_shape=(5, 6, 3), rng=0, dtype=np.float64) for some in layers]
    ys = [net.forward(x) for net in nets]
    np.testing.assert_allclose(ys[0][:, 1:-1, 1:-1], ys[1][:, 1:-1, 1:-1], rtol=1e-12, atol=1e-12)
    assert np.allclose(*ys) == (mode == "constant")


def test_no_padding_is_a_copy():
    x = batch(1, 2, 3, 1, dtype=np.float32)
    y = cl.Pad(0, mode="reflect").forward(x)
    np.testing.assert_array_equal(y, x)
    assert not np.shares_memory(y, x)


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (cl.Pad(1), (4,), "Pad needs images (N, H, W, C) or signals (N, L, C); got shape (N, 4)"),
        (cl.Pad(3, mode="reflect"), (3, 5, 2), "Pad(3, mode='reflect') needs more pixels than it mirrors"),
        (cl.Pad((1, 1)), (4, 2), "padding must be one int or one (before, after) pair for each of 1 axes"),
        (cl.Pad(1 << 50), (4, 2), "would need more than 2**47 bytes"),
    ],
)
def test_what_does_not_fit(layer, shape, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        layer.build(shape)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"padding": -1}, "Pad: padding must be 0 or more; got -1"),
        ({"padding": 1.5}, "Pad: padding must be an int; got 1.5"),
        ({"padding": "same"}, "Pad: padding must be numbers; got 'same'"),
        ({"padding": 1, "value": "a"}, "Pad: value must be a number; got 'a'"),
        ({"padding": 1, "value": np.inf}, "Pad: value must be finite; got inf"),
        ({"padding": 1, "mode": "wrap"}, "Pad: mode must be one of 'constant', 'edge', 'reflect'; got 'wrap'"),
    ],
)
def test_options(options, message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        cl.Pad(**options)

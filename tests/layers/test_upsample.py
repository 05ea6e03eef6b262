"""Upsample: pixels repeated, or values in between."""

import re

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.reference.upsample import upsample, upsample_backward
from tests.layers.common import batch, gradient_for


def test_nearest_by_hand():
    layer = cl.Upsample((2, 1))
    x = np.array([[1, 2], [3, 4]]).reshape(1, 2, 2, 1)
    np.testing.assert_array_equal(layer.forward(x)[0, :, :, 0], [[1, 2], [1, 2], [3, 4], [3, 4]])
    dy = np.array([[1, 10], [2, 20], [4, 40], [8, 80]]).reshape(1, 4, 2, 1)
    np.testing.assert_array_equal(layer.backward(dy)[0, :, :, 0], [[3, 30], [12, 120]])


@pytest.mark.parametrize(
    ("factor", "y"),
    [
        (1, [0, 12, 24]),
        (2, [0, 3, 9, 15, 21, 24]),
        (3, [0, 0, 4, 8, 12, 16, 20, 24, 24]),
        (4, [0, 0, 1.5, 4.5, 7.5, 10.5, 13.5, 16.5, 19.5, 22.5, 24, 24]),
    ],
)
def test_linear_by_hand(factor, y):
    np.testing.assert_allclose(cl.Upsample(factor, "bilinear").forward([[[0], [12], [24]]]).ravel(), y, rtol=1e-6)


@pytest.mark.parametrize("factor", [2, 3, (1, 4), (5, 2)])
@pytest.mark.parametrize("shape", [(4, 3, 2), (1, 5, 1), (2, 2, 17)])
def test_bilinear_against_the_reference(factor, shape):
    x = batch(2, *shape)
    layer = cl.Upsample(factor, "bilinear")
    layer.build(shape, dtype=np.float64)
    y = layer.forward(x)
    np.testing.assert_allclose(y, upsample(x, factor, "bilinear"), rtol=1e-12, atol=1e-12)
    dy = gradient_for(y)
    expected = upsample_backward(x, dy, factor, "bilinear")
    np.testing.assert_allclose(layer.backward(dy), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("shape", [(4, 3, 2), (5, 1), (1, 1, 3)])
def test_backward_is_the_transpose(mode, shape):
    layer = cl.Upsample(3, mode)
    layer.build(shape, dtype=np.float64)
    x = batch(2, *shape)
    y = layer.forward(x)
    dy = gradient_for(y)
    assert np.vdot(layer.backward(dy), x) == pytest.approx(np.vdot(dy, y))


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_a_constant_stays_constant(mode):
    np.testing.assert_allclose(cl.Upsample(3, mode).forward(np.full((1, 4, 5, 2), 7.0)), 7, rtol=1e-6)


@pytest.mark.parametrize("factor", [0, -1, True, 1.5, None, "two"])
def test_factors(factor):
    with pytest.raises((ValueError, TypeError), match="Upsample: factor must be"):
        cl.Upsample(factor)


def test_modes():
    with pytest.raises(ValueError, match=re.escape("Upsample: mode must be one of 'nearest', 'bilinear'; got 'cubic'")):
        cl.Upsample(2, "cubic")


@pytest.mark.parametrize(
    ("factor", "shape", "message"),
    [
        (2, (4,), "Upsample needs images (N, H, W, C) or signals (N, L, C); got shape (N, 4)"),
        (2, (0, 4), "Upsample needs at least one pixel and one channel"),
        ((2, 3), (4, 2), "Upsample: factor must be an int or 1 ints, one per spatial axis"),
        (1 << 50, (4, 2), "would need more than 2**47 bytes"),
    ],
)
def test_what_does_not_fit(factor, shape, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        cl.Upsample(factor).build(shape)

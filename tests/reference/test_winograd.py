"""Winograd's convolution as the oracle has it, against the loops of the definition."""

import numpy as np
import pytest

from cnnlayers import reference
from cnnlayers.reference import winograd


def test_f_2_3_is_the_definition():
    rng = np.random.default_rng(0)
    d, g = rng.normal(size=4), rng.normal(size=3)
    np.testing.assert_allclose(winograd.f_2_3(d, g), [d[:3] @ g, d[1:] @ g], rtol=1e-13)


def test_f_2_3_by_hand_is_that_of_the_matrices():
    rng = np.random.default_rng(1)
    d, g = rng.normal(size=4), rng.normal(size=3)
    AT, G, BT = winograd.matrices(2, 3)
    np.testing.assert_allclose(AT @ ((G @ g) * (BT @ d)), winograd.f_2_3(d, g), rtol=1e-13)


@pytest.mark.parametrize(("m", "r"), [(2, 3), (3, 2), (4, 3), (3, 4), (2, 5), (5, 2)])
def test_the_matrices_make_m_results_of_r_weights(m, r):
    d, g = np.random.default_rng(2).normal(size=m + r - 1), np.random.default_rng(3).normal(size=r)
    AT, G, BT = winograd.matrices(m, r)
    assert (AT.shape, G.shape, BT.shape) == ((m, m + r - 1), (m + r - 1, r), (m + r - 1, m + r - 1))
    np.testing.assert_allclose(AT @ ((G @ g) * (BT @ d)), [d[i : i + r] @ g for i in range(m)], rtol=1e-11, atol=1e-12)


CASES = [
    ((2, 5, 6, 3), (3, 3, 3, 4), ((1, 0), (0, 2))),
    ((1, 8, 3, 2), (3, 3, 2, 2), 0),
    ((2, 9, 3), (3, 3, 2), "same"),
    ((1, 7, 2), (3, 2, 3), ((4, 1),)),
]


@pytest.mark.parametrize(("m", "x_shape", "W_shape", "padding"), [(m, *case) for case in CASES for m in (2, 4)])
def test_f_m_3_is_the_convolution(m, x_shape, W_shape, padding):
    compare(m, x_shape, W_shape, padding)


@pytest.mark.parametrize(("x_shape", "W_shape"), [((2, 6, 7, 2), (5, 5, 2, 3)), ((1, 9, 3), (5, 3, 2))])
@pytest.mark.parametrize("padding", [0, 2, "same"])
def test_f_2_5_is_the_convolution(x_shape, W_shape, padding):
    compare(2, x_shape, W_shape, padding)


def compare(m, x_shape, W_shape, padding):
    rng = np.random.default_rng(4)
    x, W = rng.normal(size=x_shape), rng.normal(size=W_shape)
    y = reference.conv_forward(x, W, padding=padding)
    np.testing.assert_allclose(winograd.winograd_forward(x, W, m, padding), y, rtol=0, atol=1e-11)
    dy = rng.normal(size=y.shape)
    dx, dW, _ = reference.conv_backward(x, W, dy, padding=padding)
    for got, expected in zip(winograd.winograd_backward(x, W, dy, m, padding), (dx, dW), strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-11 * np.abs(expected).max())

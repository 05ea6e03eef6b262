"""Affine."""

import re

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.reference import affine as twin
from tests.layers.common import batch, gradient_for


def affine(units, inputs, **options):
    layer = cl.Affine(units, **options)
    layer.build((inputs,), rng=0, dtype=np.float64)
    return layer


def test_by_hand():
    layer = affine(2, 3)
    layer.params["W"] = [[1, 2], [3, 4], [5, 6]]
    layer.params["b"] = [10, 20]
    np.testing.assert_array_equal(layer.forward([[1, 0, 2], [0, 1, -1]]), [[21, 34], [8, 18]])
    np.testing.assert_array_equal(layer.backward([[1, 0], [2, 1]]), [[1, 3, 5], [4, 10, 16]])
    np.testing.assert_array_equal(layer.grads["W"], [[1, 0], [2, 1], [0, -1]])
    np.testing.assert_array_equal(layer.grads["b"], [3, 1])


def test_against_the_reference():
    layer, x = affine(4, 5), batch(3, 5)
    layer.params["b"] = [0.1, -0.2, 0.3, 0.4]
    W, b = layer.params.values()
    y = layer.forward(x)
    np.testing.assert_allclose(y, twin.affine(x, W, b), rtol=1e-12, atol=1e-12)
    dy = gradient_for(y)
    expected = twin.affine_backward(x, W, dy)
    for got, wanted in zip((layer.backward(dy), *layer.grads.values()), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)


def test_without_bias():
    layer = affine(2, 3, bias=False)
    assert list(layer.params) == ["W"]
    np.testing.assert_array_equal(layer.forward(np.zeros((1, 3))), 0)
    assert cl.gradcheck(layer, batch(4, 3)).ok


def test_first_values():
    layer = affine(300, 200)
    assert abs(layer.params["W"].std() / np.sqrt(2 / 200) - 1) < 0.02  # He: fan_in is the number of inputs
    assert abs(layer.params["W"].mean()) < 0.002
    np.testing.assert_array_equal(layer.params["b"], 0)
    np.testing.assert_array_equal(affine(2, 3, init="ones").params["W"], 1)


def test_multiply_adds():
    assert cl.Affine(10).multiply_adds((400,)) == 4000


@pytest.mark.parametrize("units", [np.int64(3), np.uint8(3), 3])
def test_units_may_be_numpy_ints(units):
    layer = cl.Affine(units)
    assert layer.build((2,)) == (3,)
    assert repr(layer) == "Affine(3)"


@pytest.mark.parametrize("units", [True, 2.0, "3", None, [3], np.bool_(True), np.float64(2)])
def test_units_that_are_no_int(units):
    with pytest.raises(TypeError, match=re.escape(f"Affine: units must be an int; got {units!r}")):
        cl.Affine(units)


@pytest.mark.parametrize("units", [0, -1])
def test_units_below_one(units):
    with pytest.raises(ValueError, match=f"Affine: units must be 1 or more; got {units}"):
        cl.Affine(units)


def test_bias_is_a_flag():
    with pytest.raises(TypeError, match="Affine: bias must be True or False; got 1"):
        cl.Affine(2, bias=1)


def test_images_need_flatten_first():
    message = r"Affine\(10\) needs rows \(N, D\); got shape \(N, 5, 5, 16\): put Flatten\(\) before it"
    with pytest.raises(ValueError, match=message):
        cl.Affine(10).build((5, 5, 16))
    with pytest.raises(ValueError, match=message):
        cl.Affine(10).forward(np.zeros((2, 5, 5, 16)))


def test_no_inputs():
    with pytest.raises(ValueError, match=r"Affine\(10\) needs at least one input; got shape \(N, 0\)"):
        cl.Affine(10).build((0,))


def test_another_number_of_inputs():
    with pytest.raises(ValueError, match=r"Affine\(2\) was built for \(N, 3\); got shape \(N, 4\)"):
        affine(2, 3).forward(np.zeros((1, 4)))


@pytest.mark.parametrize("init", ["nonsense", 3])
def test_an_unknown_init(init):
    with pytest.raises((TypeError, ValueError), match=f"init must be one of .*; got {init!r}"):
        cl.Affine(2, init=init).build((3,))

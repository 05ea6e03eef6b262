"""Clip, ReLU6, HardSigmoid and HardSwish."""

import math
import re

import numpy as np
import pytest

import cnnlayers as cl


def both(layer, x, dy=1.0):
    """Give y and dx in float64."""
    x = np.asarray(x, np.float64)
    layer.build(x.shape[1:], dtype=np.float64)
    y = layer.forward(x)
    return y, layer.backward(np.broadcast_to(dy, y.shape))


def test_clip_by_hand():
    y, dx = both(cl.Clip(-1, 2), [[-3, -1, 0.5, 2, 5]], [[10, 20, 30, 40, 50]])
    np.testing.assert_array_equal(y, [[-1, -1, 0.5, 2, 2]])
    np.testing.assert_array_equal(dx, [[0, 0, 30, 0, 0]])


def test_clip_on_one_side_by_hand():
    y, dx = both(cl.Clip(low=-1), [[-3, -1, 9]])
    np.testing.assert_array_equal(y, [[-1, -1, 9]])
    np.testing.assert_array_equal(dx, [[0, 0, 1]])
    y, dx = both(cl.Clip(high=2), [[-30, 2, 9]])
    np.testing.assert_array_equal(y, [[-30, 2, 2]])
    np.testing.assert_array_equal(dx, [[1, 0, 0]])


def test_clip_without_bounds_gives_a_copy():
    layer, x = cl.Clip(), np.array([[-np.inf, 0, np.inf]], np.float32)
    y = layer.forward(x)
    np.testing.assert_array_equal(y, x)
    dy = np.ones_like(y)
    dx = layer.backward(dy)
    np.testing.assert_array_equal(dx, dy)
    assert not np.shares_memory(x, y)
    assert not np.shares_memory(dx, dy)


def test_clip_to_one_number_has_no_gradient():
    y, dx = both(cl.Clip(3, 3), [[2, 3, 4]])
    np.testing.assert_array_equal(y, [[3, 3, 3]])
    np.testing.assert_array_equal(dx, [[0, 0, 0]])


def test_an_infinite_gradient_is_kept_out_where_x_is_clipped():
    _, dx = both(cl.ReLU6(), [[-1, 1, 7]], [[np.inf, 2, np.nan]])
    np.testing.assert_array_equal(dx, [[0, 2, 0]])


def test_a_bound_that_float32_rounds_is_a_kink_where_it_is_reached():
    layer = cl.Clip(0.1, 1e300)  # the second is beyond float32: no bound at all
    y = layer.forward(np.array([[0.0, 0.1, 0.2, np.finfo(np.float32).max]], np.float32))
    np.testing.assert_array_equal(y, np.array([[0.1, 0.1, 0.2, np.finfo(np.float32).max]], np.float32))
    np.testing.assert_array_equal(layer.backward(np.ones((1, 4))), [[0, 0, 1, 1]])


def test_relu6_by_hand():
    y, dx = both(cl.ReLU6(), [[-1, 0, 2, 6, 7]], [[1, 2, 3, 4, 5]])
    np.testing.assert_array_equal(y, [[0, 0, 2, 6, 6]])
    np.testing.assert_array_equal(dx, [[0, 0, 3, 0, 0]])


def test_hard_sigmoid_by_hand():
    y, dx = both(cl.HardSigmoid(0.25, 0.5), [[-5, -2, 0, 1, 2, 5]], 4)
    np.testing.assert_array_equal(y, [[0, 0, 0.5, 0.75, 1, 1]])
    np.testing.assert_array_equal(dx, [[0, 0, 1, 1, 0, 0]])


def test_hard_sigmoid_by_default_reaches_its_ends_at_3():
    y, dx = both(cl.HardSigmoid(), [[-3, -1.5, 0, 1.5, 3]], 6)
    np.testing.assert_allclose(y, [[0, 0.25, 0.5, 0.75, 1]], rtol=1e-15)
    np.testing.assert_allclose(dx, [[0, 1, 1, 1, 0]], rtol=1e-15)


def test_hard_swish_by_hand():
    y, dx = both(cl.HardSwish(), [[-4, -3, -1.5, 0, 1.5, 3, 4]], 2)
    np.testing.assert_allclose(y, [[0, 0, -0.375, 0, 1.125, 3, 4]], rtol=1e-15)
    np.testing.assert_allclose(dx, [[0, 0, 0, 1, 2, 2, 2]], rtol=1e-15)


def test_values_at_infinity():
    inf = np.array([[-np.inf, np.inf]])
    for layer, y, dx in (
        (cl.Clip(-1, 2), [-1, 2], [0, 0]),
        (cl.Clip(low=-1), [-1, np.inf], [0, 1]),
        (cl.Clip(high=2), [-np.inf, 2], [1, 0]),
        (cl.ReLU6(), [0, 6], [0, 0]),
        (cl.HardSigmoid(), [0, 1], [0, 0]),
        (cl.HardSwish(), [0, np.inf], [0, 1]),
    ):
        np.testing.assert_array_equal(layer.forward(inf), [y])
        np.testing.assert_array_equal(layer.backward([[1, 1]]), [dx])


@pytest.mark.parametrize(
    ("layer", "places"),
    [(cl.Clip(-1, 2), [-1, 2]), (cl.ReLU6(), [0, 6]), (cl.HardSigmoid(0.5, 0), [0, 2]), (cl.HardSwish(), [-3, 3])],
    ids=repr,
)
def test_gradcheck_knows_the_kinks(layer, places):
    report = cl.gradcheck(layer, np.array([[*places, 0.5]], np.float64))
    assert report.ok, report
    assert report.kinks["x"] == 2


def test_what_is_shown():
    assert repr(cl.Clip()) == "Clip()"
    assert repr(cl.Clip(0)) == "Clip(low=0.0)"
    assert repr(cl.Clip(high=np.float32(0.5))) == "Clip(high=0.5)"
    assert repr(cl.ReLU6()) == "ReLU6()"
    assert cl.ReLU6().config() == {}
    assert repr(cl.HardSigmoid()) == "HardSigmoid()"
    assert repr(cl.HardSigmoid(0.2)) == "HardSigmoid(alpha=0.2)"


@pytest.mark.parametrize("bound", ["a", True, [0.1]])
def test_a_bound_that_is_no_number(bound):
    with pytest.raises(TypeError, match=re.escape(f"Clip: low must be a number; got {bound!r}")):
        cl.Clip(bound)
    with pytest.raises(TypeError, match=re.escape(f"Clip: high must be a number; got {bound!r}")):
        cl.Clip(high=bound)


@pytest.mark.parametrize("bound", [math.nan, math.inf])
def test_a_bound_that_is_not_finite(bound):
    with pytest.raises(ValueError, match="Clip: low must be finite"):
        cl.Clip(bound)
    with pytest.raises(ValueError, match="Clip: high must be finite"):
        cl.Clip(high=bound)


def test_bounds_the_wrong_way_round():
    with pytest.raises(ValueError, match=re.escape("Clip: low must not be above high; got low=2 and high=1")):
        cl.Clip(2, 1)


@pytest.mark.parametrize("name", ["alpha", "beta"])
def test_a_line_that_is_none(name):
    with pytest.raises(TypeError, match=f"HardSigmoid: {name} must be a number; got None"):
        cl.HardSigmoid(**{name: None})
    with pytest.raises(ValueError, match=f"HardSigmoid: {name} must be finite; got nan"):
        cl.HardSigmoid(**{name: math.nan})

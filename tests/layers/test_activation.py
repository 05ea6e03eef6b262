"""ReLU, LeakyReLU, ELU, GELU, SiLU, Sigmoid, Tanh, Softplus, Reciprocal and Softmax."""

import math
import re

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import reference
from tests.layers.common import batch, gradient_for


def both(layer, x, dy=1.0):
    """Give y and dx in float64."""
    x = np.asarray(x, np.float64)
    layer.build(x.shape[1:], dtype=np.float64)
    y = layer.forward(x)
    return y, layer.backward(np.broadcast_to(dy, y.shape))


def test_relu_by_hand():
    y, dx = both(cl.ReLU(), [[-1, 0, 2]], [[5, 6, 7]])
    np.testing.assert_array_equal(y, [[0, 0, 2]])
    np.testing.assert_array_equal(dx, [[0, 0, 7]])


def test_leaky_relu_by_hand():
    y, dx = both(cl.LeakyReLU(0.5), [[-4, 0, 2]], [[10, 20, 30]])
    np.testing.assert_array_equal(y, [[-2, 0, 2]])
    np.testing.assert_array_equal(dx, [[5, 10, 30]])


def test_leaky_relu_with_a_negative_slope_by_hand():
    y, dx = both(cl.LeakyReLU(-1), [[-4, 3]])
    np.testing.assert_array_equal(y, [[4, 3]])
    np.testing.assert_array_equal(dx, [[-1, 1]])


def test_sigmoid_by_hand():
    y, dx = both(cl.Sigmoid(), [[0, math.log(3), -math.log(3)]])
    np.testing.assert_allclose(y, [[1 / 2, 3 / 4, 1 / 4]], rtol=1e-15)
    np.testing.assert_allclose(dx, [[1 / 4, 3 / 16, 3 / 16]], rtol=1e-15)


def test_tanh_by_hand():
    y, dx = both(cl.Tanh(), [[0, math.log(2), -math.log(2)]])
    np.testing.assert_allclose(y, [[0, 3 / 5, -3 / 5]], rtol=1e-15)
    np.testing.assert_allclose(dx, [[1, 16 / 25, 16 / 25]], rtol=1e-15)


def test_elu_by_hand():
    y, dx = both(cl.ELU(0.5), [[-math.log(2), 0, 3]], [[10, 20, 30]])
    np.testing.assert_allclose(y, [[-1 / 4, 0, 3]], rtol=1e-15)
    np.testing.assert_allclose(dx, [[10 / 4, 20 / 2, 30]], rtol=1e-15)


def test_gelu_by_hand():
    y, dx = both(cl.GELU(), [[-1, 0, 1]])
    below = 0.15865525393145705  # of the standard normal distribution below -1
    density = 0.24197072451914337  # at -1 and 1
    np.testing.assert_allclose(y, [[-below, 0, 1 - below]], rtol=1e-14)
    np.testing.assert_allclose(dx, [[below - density, 1 / 2, 1 - below + density]], rtol=1e-14)


def test_gelu_by_tanh_by_hand():
    y, dx = both(cl.GELU("tanh"), [[-1, 0, 1]])
    t = math.tanh(math.sqrt(2 / math.pi) * 1.044715)
    np.testing.assert_allclose(y, [[-(1 - t) / 2, 0, (1 + t) / 2]], rtol=1e-14)
    slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715)
    bend = (1 - t * t) * slope / 2
    np.testing.assert_allclose(dx, [[(1 - t) / 2 - bend, 1 / 2, (1 + t) / 2 + bend]], rtol=1e-14)


def test_the_two_gelus_are_close_but_not_the_same():
    x = batch(4, 100)
    exact, by_tanh = both(cl.GELU(), x)[0], both(cl.GELU("tanh"), x)[0]
    assert 1e-5 < np.abs(exact - by_tanh).max() < 1e-3


def test_silu_by_hand():
    log3 = math.log(3)
    y, dx = both(cl.SiLU(), [[0, log3, -log3]])
    np.testing.assert_allclose(y, [[0, log3 * 3 / 4, -log3 / 4]], rtol=1e-15)
    np.testing.assert_allclose(dx, [[1 / 2, 3 / 4 * (1 + log3 / 4), 1 / 4 * (1 - log3 * 3 / 4)]], rtol=1e-15)


def test_softplus_by_hand():
    y, dx = both(cl.Softplus(), [[0, math.log(3), -math.log(3)]], 4)
    np.testing.assert_allclose(y, [[math.log(2), math.log(4), math.log(4 / 3)]], rtol=1e-15)
    np.testing.assert_allclose(dx, [[2, 3, 1]], rtol=1e-15)


def test_softplus_keeps_its_digits_far_out():
    y, dx = both(cl.Softplus(), [[-700.0, -40.0, 40.0, 1e300]])
    np.testing.assert_allclose(y, [[math.exp(-700), math.exp(-40), 40, 1e300]], rtol=1e-14)
    np.testing.assert_allclose(dx, [[math.exp(-700), math.exp(-40), 1, 1]], rtol=1e-14)


def test_reciprocal_by_hand():
    y, dx = both(cl.Reciprocal(), [[-4, 0.5, 2]], [[16, 1, 4]])
    np.testing.assert_array_equal(y, [[-1 / 4, 2, 1 / 2]])
    np.testing.assert_array_equal(dx, [[-1, -4, -1]])


def test_reciprocal_of_zero_is_infinite_and_does_not_warn():
    layer = cl.Reciprocal()
    np.testing.assert_array_equal(layer.forward([[0.0, -0.0, np.inf, -np.inf]]), [[np.inf, -np.inf, 0, 0]])
    np.testing.assert_array_equal(layer.backward([[1, 1, 1, 1]]), [[-np.inf, -np.inf, 0, 0]])


def test_the_square_of_a_reciprocal_does_not_overflow():
    layer = cl.Reciprocal()
    layer.forward([[1e-30]])
    np.testing.assert_allclose(layer.backward([[1e-25]]), [[-1e35]], rtol=1e-6)


def test_softmax_by_hand():
    y, dx = both(cl.Softmax(), np.log([[1, 2, 5]]), [[1, 0, 0]])
    np.testing.assert_allclose(y, [[1 / 8, 2 / 8, 5 / 8]], rtol=1e-14)
    np.testing.assert_allclose(dx, [[1 / 8 * 7 / 8, -1 / 8 * 2 / 8, -1 / 8 * 5 / 8]], rtol=1e-14)


def test_softmax_against_the_jacobian():
    z = batch(4, 5)
    p, dx = both(cl.Softmax(), z, gradient_for(z))
    np.testing.assert_allclose(dx, reference.softmax.softmax_backward(z, gradient_for(z)), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(p.sum(axis=-1), 1, rtol=1e-14)


def test_softmax_is_along_the_channels():
    y, _ = both(cl.Softmax(), batch(2, 3, 4, 5))
    np.testing.assert_allclose(y.sum(axis=-1), 1, rtol=1e-14)


LAYERS = [
    *(cl.ReLU(), cl.LeakyReLU(), cl.ELU(), cl.GELU(), cl.GELU("tanh"), cl.SiLU(), cl.Sigmoid(), cl.Tanh()),
    *(cl.Clip(-1, 2), cl.Clip(low=0), cl.ReLU6(), cl.HardSigmoid(), cl.HardSigmoid(20, -3), cl.HardSwish()),
    *(cl.Softplus(), cl.Reciprocal(), cl.Softmax()),
]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_numbers_neither_overflow_nor_warn(layer, dtype):
    layer = layer.copy()
    layer.build((4,), dtype=dtype)
    huge = np.finfo(dtype).max / 4
    y = layer.forward([[-huge, -1000, 1000, huge]])
    assert np.isfinite(y).all()
    assert np.isfinite(layer.backward(np.ones_like(y))).all()


def test_values_at_infinity():
    inf = np.array([[-np.inf, np.inf]])
    np.testing.assert_array_equal(cl.ReLU().forward(inf), [[0, np.inf]])
    np.testing.assert_array_equal(cl.LeakyReLU().forward(inf), inf)
    np.testing.assert_array_equal(cl.ELU(2).forward(inf), [[-2, np.inf]])
    for layer in (cl.GELU(), cl.GELU("tanh"), cl.SiLU()):
        np.testing.assert_array_equal(layer.forward(inf), [[0, np.inf]])
        np.testing.assert_array_equal(layer.backward([[1, 1]]), [[0, 1]])
    softplus = cl.Softplus()
    np.testing.assert_array_equal(softplus.forward(inf), [[0, np.inf]])
    np.testing.assert_array_equal(softplus.backward([[1, 1]]), [[0, 1]])
    np.testing.assert_array_equal(cl.Sigmoid().forward(inf), [[0, 1]])
    np.testing.assert_array_equal(cl.Tanh().forward(inf), [[-1, 1]])


@pytest.mark.parametrize("layer", LAYERS[:-1], ids=repr)
def test_infinite_numbers_and_gradients_do_not_warn(layer):
    layer = layer.copy()
    y = layer.forward([[-np.inf, -1.0, 0.0, 1.0, np.inf, np.nan]])
    assert layer.backward(np.full_like(y, np.inf)).shape == y.shape


@pytest.mark.parametrize("layer", LAYERS[:-1], ids=repr)
def test_nan_passes_and_stays_in_its_place(layer):
    y = layer.copy().forward([[1.0, np.nan, -1.0]])
    np.testing.assert_array_equal(np.isnan(y), [[False, True, False]])


def test_sigmoid_keeps_its_digits_far_out():
    y, _ = both(cl.Sigmoid(), [[-700.0, -40.0]])
    np.testing.assert_allclose(y, [[math.exp(-700), math.exp(-40)]], rtol=1e-14)


def test_the_default_slope():
    assert cl.LeakyReLU().alpha == 0.01
    assert repr(cl.LeakyReLU()) == "LeakyReLU()"
    assert repr(cl.LeakyReLU(np.float32(0.5))) == "LeakyReLU(alpha=0.5)"


def test_elus_default():
    assert cl.ELU().alpha == 1
    assert repr(cl.ELU()) == "ELU()"
    assert repr(cl.ELU(np.float32(0.5))) == "ELU(alpha=0.5)"


def test_gelus_default_is_exact():
    assert cl.GELU().approximate == "none"
    assert repr(cl.GELU()) == "GELU()"
    assert repr(cl.GELU("tanh")) == "GELU(approximate='tanh')"


@pytest.mark.parametrize("approximate", ["erf", "", True, None, 1, ["tanh"]])
def test_an_approximation_that_does_not_exist(approximate):
    with pytest.raises(ValueError, match=re.escape(f'GELU: approximate must be "none" or "tanh"; got {approximate!r}')):
        cl.GELU(approximate)


@pytest.mark.parametrize("alpha", ["a", None, True, [0.1]])
def test_a_slope_that_is_no_number(alpha):
    with pytest.raises(TypeError, match=re.escape(f"ELU: alpha must be a number; got {alpha!r}")):
        cl.ELU(alpha)
    with pytest.raises(TypeError, match=re.escape(f"LeakyReLU: alpha must be a number; got {alpha!r}")):
        cl.LeakyReLU(alpha)


@pytest.mark.parametrize("alpha", [math.nan, math.inf])
def test_a_slope_that_is_not_finite(alpha):
    with pytest.raises(ValueError, match=r"^ELU: alpha must be finite"):
        cl.ELU(alpha)
    with pytest.raises(ValueError, match="LeakyReLU: alpha must be finite"):
        cl.LeakyReLU(alpha)


def test_softmax_needs_a_score():
    with pytest.raises(ValueError, match=r"Softmax|softmax"):
        cl.Softmax().forward(np.zeros((2, 0)))

"""The activation kernels against the standard library's functions, at the ends of the range, anywhere in an array."""

import math

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import kernels
from tests.marks import both_dtypes, by_turns, every_level

pytestmark = every_level
ROOT = math.sqrt(2 / math.pi)


def exp(x):
    return math.exp(x) if x < 700 else math.inf


def sigmoid(x):
    return 1 / (1 + exp(-x)) if x > -700 else 0.0


def phi(x):
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def below(x):
    """The part of the standard normal distribution below x."""
    return math.erfc(-x / math.sqrt(2)) / 2


def tanh_gate(x):
    """What the tanh form of GELU has in the place of `below`, and its derivative."""
    u, slope = ROOT * (x + 0.044715 * x**3), ROOT * (1 + 3 * 0.044715 * x * x)
    s = sigmoid(2 * u)
    return s, s * sigmoid(-2 * u) * 2 * slope


# y from x, and dy/dx: kernel, kernel of the gradient (of x, or of y where it says so), and what they compute.
FUNCTIONS = {
    "leaky ReLU": (
        lambda x: kernels.leaky_relu(x, 0.3),
        lambda x, dy: kernels.leaky_relu_input_grad(x, dy, 0.3),
        lambda x: x if x > 0 else 0.3 * x,
        lambda x: 1 if x > 0 else 0.3,
    ),
    "sigmoid": (
        kernels.sigmoid,
        lambda x, dy: kernels.sigmoid_input_grad(kernels.sigmoid(x), dy),
        sigmoid,
        lambda x: sigmoid(x) * sigmoid(-x),
    ),
    "tanh": (
        kernels.tanh,
        lambda x, dy: kernels.tanh_input_grad(kernels.tanh(x), dy),
        math.tanh,
        lambda x: 1 - math.tanh(x) ** 2,
    ),
    "ELU": (
        lambda x: kernels.elu(x, 0.7),
        lambda x, dy: kernels.elu_input_grad(x, dy, 0.7),
        lambda x: x if x > 0 else 0.7 * math.expm1(x),
        lambda x: 1 if x > 0 else 0.7 * math.exp(x),
    ),
    "GELU": (kernels.gelu, kernels.gelu_input_grad, lambda x: x * below(x), lambda x: below(x) + x * phi(x)),
    "GELU by tanh": (
        lambda x: kernels.gelu(x, True),
        lambda x, dy: kernels.gelu_input_grad(x, dy, True),
        lambda x: x * tanh_gate(x)[0],
        lambda x: tanh_gate(x)[0] + x * tanh_gate(x)[1],
    ),
    "SiLU": (
        kernels.silu,
        kernels.silu_input_grad,
        lambda x: x * sigmoid(x),
        lambda x: sigmoid(x) * (1 + x * sigmoid(-x)),
    ),
}
every_function = pytest.mark.parametrize("name", FUNCTIONS)


def points(dtype):
    """Numbers of every size that matters, of both signs, in no order."""
    rng = np.random.default_rng(0)
    near, far = rng.uniform(-6, 6, 3000), rng.uniform(-80, 80, 500)
    small = np.exp(rng.uniform(-80, 0, 500)) * rng.choice([-1, 1], 500)
    return rng.permutation(np.concatenate([near, far, small])).astype(dtype)


def true(function, x):
    return np.array([function(float(v)) for v in x])


@every_function
@both_dtypes
def test_values(name, dtype):
    forward, _, y, _ = FUNCTIONS[name]
    x = points(dtype)
    got, eps = forward(x), np.finfo(dtype).eps
    assert got.dtype == dtype
    expected = true(y, x)
    # Where a large number goes through exp, its rounding comes out as that many times the relative error.
    size = {"GELU": x * x, "GELU by tanh": 3 * np.abs(x) + np.abs(x) ** 3 / 6}.get(name, 0)
    np.testing.assert_array_less(
        np.abs(got - expected), eps * (4 + size) * np.abs(expected) + 400 * np.finfo(dtype).tiny
    )


@every_function
@both_dtypes
def test_gradients(name, dtype):
    _, grad, _, slope = FUNCTIONS[name]
    x = points(dtype)
    dy = np.random.default_rng(1).standard_normal(x.size).astype(dtype)
    got = grad(x, dy)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, true(slope, x) * dy, rtol=8 * np.finfo(dtype).eps, atol=8 * np.finfo(dtype).eps)


@pytest.mark.parametrize(
    ("dtype", "x", "tail"),
    [
        (np.float32, -6, 9.8658764503769814e-10),
        (np.float32, -10, 7.6198530241605260e-24),
        (np.float64, -10, 7.6198530241605260e-24),
        (np.float64, -20, 2.7536241186062337e-89),
        (np.float64, -37, 5.7255712225245768e-300),
    ],
)
def test_gelu_keeps_its_digits_far_out(dtype, x, tail):
    y = kernels.gelu(np.array([x], dtype))
    np.testing.assert_allclose(y, [x * tail], rtol=4 * np.finfo(dtype).eps)


@both_dtypes
def test_small_numbers_keep_their_digits(dtype):
    x = np.array([1e-3, -1e-7, 1e-20, -1e-30], dtype)
    tolerance = 2 * np.finfo(dtype).eps
    np.testing.assert_allclose(kernels.tanh(x), true(math.tanh, x), rtol=tolerance)
    np.testing.assert_allclose(kernels.elu(-np.abs(x), 1.0), true(math.expm1, -np.abs(x)), rtol=tolerance)


def same(got, expected):
    """Equal, NaN for NaN, and zeros of the same sign."""
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(np.signbit(got), np.signbit(np.array(expected, got.dtype)))


@both_dtypes
def test_values_at_the_ends(dtype):
    most, inf = np.finfo(dtype).max, np.inf
    x = np.array([0.0, -0.0, inf, -inf, most, -most], dtype)
    same(kernels.leaky_relu(x, 0.5), [0.0, -0.0, inf, -inf, most, -most / 2])
    same(kernels.sigmoid(x), [0.5, 0.5, 1, 0, 1, 0])
    same(kernels.tanh(x), [0.0, -0.0, 1, -1, 1, -1])
    same(kernels.elu(x, 2.0), [0.0, -0.0, inf, -2, most, -2])
    for y in (kernels.gelu(x), kernels.gelu(x, True), kernels.silu(x)):
        same(y, [0.0, -0.0, inf, -0.0, most, -0.0])


@both_dtypes
def test_gradients_at_the_ends(dtype):
    most, inf = np.finfo(dtype).max, np.inf
    x = np.array([0.0, -0.0, inf, -inf, most, -most], dtype)
    one = np.ones_like(x)
    same(kernels.leaky_relu_input_grad(x, one, 0.5), [0.5, 0.5, 1, 0.5, 1, 0.5])
    same(kernels.elu_input_grad(x, one, 2.0), [2, 2, 1, 0, 1, 0])
    same(kernels.sigmoid_input_grad(kernels.sigmoid(x), one), [0.25, 0.25, 0, 0, 0, 0])
    same(kernels.tanh_input_grad(kernels.tanh(x), one), [1, 1, 0, 0, 0, 0])
    for dx in (
        kernels.gelu_input_grad(x, one),
        kernels.gelu_input_grad(x, one, True),
        kernels.silu_input_grad(x, one),
    ):
        np.testing.assert_array_equal(dx, [0.5, 0.5, 1, 0, 1, 0])


@every_function
@both_dtypes
def test_nan_comes_out_where_it_went_in(name, dtype):
    forward, grad, _, _ = FUNCTIONS[name]
    x = np.linspace(-3, 3, 37).astype(dtype)
    x[[0, 5, 36]] = np.nan
    np.testing.assert_array_equal(np.isnan(forward(x)), np.isnan(x))
    dx = grad(x, np.ones_like(x))
    if name == "leaky ReLU":  # the gradient reads only whether x > 0, and NaN is not
        np.testing.assert_array_equal(dx[[0, 5, 36]], np.full(3, 0.3, dtype))
    else:
        np.testing.assert_array_equal(np.isnan(dx), np.isnan(x))
    np.testing.assert_array_equal(np.isnan(grad(np.ones_like(x), x)), np.isnan(x))


@both_dtypes
def test_subnormal_numbers_are_zero(dtype):
    x = np.full(37, np.finfo(dtype).tiny / 4, dtype)
    for sign in (1, -1):
        for name, (forward, _, _, _) in FUNCTIONS.items():
            np.testing.assert_array_equal(forward(sign * x), 0.5 if name == "sigmoid" else 0)


@every_function
@both_dtypes
def test_bits_do_not_depend_on_the_place_in_the_array(name, dtype):
    forward, grad, _, _ = FUNCTIONS[name]
    x = points(dtype)[:400]
    dy = np.random.default_rng(1).standard_normal(x.size).astype(dtype)
    y, dx = forward(x), grad(x, dy)
    for start in (0, 1, 3, 8, 13):
        for count in (1, 2, 5, 15, 16, 17, 33, 64, 101):
            part = slice(start, start + count)
            assert forward(x[part]).tobytes() == y[part].tobytes()
            assert grad(x[part], dy[part]).tobytes() == dx[part].tobytes()


@by_turns("name", FUNCTIONS)
def test_shapes_and_inputs_untouched(name, dtype):
    forward, grad, _, _ = FUNCTIONS[name]
    rng = np.random.default_rng(0)
    for shape in [(0,), (0, 4, 3), (1,), (2, 3, 5), (70_001,)]:
        x, dy = rng.standard_normal(shape).astype(dtype), rng.standard_normal(shape).astype(dtype)
        before = x.copy(), dy.copy()
        assert forward(x).shape == shape
        assert grad(x, dy).shape == shape
        np.testing.assert_array_equal(x, before[0])
        np.testing.assert_array_equal(dy, before[1])


@every_function
def test_the_gradient_is_the_slope(name):
    forward, grad, _, _ = FUNCTIONS[name]
    x = points(np.float64)
    x = x[np.abs(x) > 1e-3]  # away from the kinks at 0
    h = 1e-5
    slope = (forward(x + h) - forward(x - h)) / (2 * h)
    np.testing.assert_allclose(grad(x, np.ones_like(x)), slope, rtol=1e-6, atol=1e-8)


def test_the_number_of_threads_does_not_show():
    x = points(np.float32).repeat(40)
    for forward, grad, _, _ in FUNCTIONS.values():
        bits = set()
        for n in (1, 2, 3, 7):
            cl.set_num_threads(n)
            bits.add(forward(x).tobytes() + grad(x, x).tobytes())
        assert len(bits) == 1

import math

import numpy as np
import pytest

from cnnlayers import initializers
from cnnlayers.initializers import get

RANDOM = ["he_normal", "he_uniform", "glorot_normal", "glorot_uniform", "lecun_normal"]

# name, shape, variance by hand
VARIANCES = [
    ("he_normal", (3, 5, 40, 50), 2 / 600),
    ("he_normal", (200, 100), 2 / 200),
    ("he_uniform", (3, 5, 40, 50), 2 / 600),
    ("glorot_normal", (3, 5, 40, 50), 2 / (600 + 750)),
    ("glorot_normal", (200, 100), 2 / 300),
    ("glorot_uniform", (7, 40, 100), 2 / (280 + 700)),
    ("lecun_normal", (3, 5, 40, 50), 1 / 600),
]


@pytest.mark.parametrize(("name", "shape", "variance"), VARIANCES)
def test_mean_and_variance(name, shape, variance):
    w = get(name)(shape, np.random.default_rng(0), np.float64)
    n = math.prod(shape)
    assert w.shape == shape
    assert abs(w.mean()) < 5 * math.sqrt(variance / n)
    assert w.var() == pytest.approx(variance, rel=5 * math.sqrt(2 / n))


def test_normal_is_not_truncated():
    w = get("he_normal")((100, 1000), np.random.default_rng(0), np.float64)
    assert np.abs(w).max() > 3.5 * math.sqrt(2 / 100)


@pytest.mark.parametrize(
    ("name", "bound"), [("he_uniform", math.sqrt(6 / 100)), ("glorot_uniform", math.sqrt(6 / 1100))]
)
def test_uniform_fills_its_range(name, bound):
    w = get(name)((100, 1000), np.random.default_rng(0), np.float64)
    assert -bound <= w.min() < -0.99 * bound
    assert 0.99 * bound < w.max() <= bound


@pytest.mark.parametrize("name", initializers.names())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype(name, dtype):
    w = get(name)((4, 5), np.random.default_rng(0), dtype)
    assert w.dtype == dtype
    assert w.flags.c_contiguous
    assert w.flags.writeable


@pytest.mark.parametrize("name", RANDOM)
def test_the_seed_decides(name):
    first, again = (get(name)((4, 5), np.random.default_rng(1), np.float32) for _ in range(2))
    other = get(name)((4, 5), np.random.default_rng(2), np.float32)
    np.testing.assert_array_equal(first, again)
    assert not np.any(first == other)


def test_constants_draw_nothing():
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(get("zeros")((3,), rng, np.float32), [0, 0, 0])
    np.testing.assert_array_equal(get("ones")((3,), rng, np.float32), [1, 1, 1])
    assert rng.random() == np.random.default_rng(0).random()


def test_a_callable_comes_back_as_it_is():
    def init(shape, rng, dtype):
        return np.full(shape, 7, dtype)

    assert get(init) is init


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"init must be one of he_normal, .*ones, or a callable; got 'xavier'"):
        get("xavier")


@pytest.mark.parametrize("init", [None, 0.1, np.zeros(3)])
def test_what_is_neither_is_refused(init):
    with pytest.raises(TypeError, match=r"init must be one of he_normal, .* or a callable \(shape, rng, dtype\)"):
        get(init)


@pytest.mark.parametrize("name", RANDOM)
@pytest.mark.parametrize("shape", [(), (5,), (0, 5), (5, 0)])
def test_a_shape_without_inputs_is_refused(name, shape):
    with pytest.raises(ValueError, match=rf"{name} needs a weight of two or more axes, none of size 0; got shape"):
        get(name)(shape, np.random.default_rng(0), np.float32)

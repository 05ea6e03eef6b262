"""set_precision: whether Winograd's method may be used at all."""

import re

import numpy as np
import pytest

import cnnlayers as cl


@pytest.fixture(autouse=True)
def _same_afterwards():
    before = cl.get_precision()
    yield
    cl.set_precision(before)


def results(algorithm, dtype=np.float32, kernel=3):
    """All that a layer wide enough for Winograd computes, and what its copy for prediction does."""
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((64, 8, 8, 32)), rng.standard_normal((64, 8, 8, 48))
    layer = cl.Conv(48, kernel, padding="same", algorithm=algorithm)
    net = cl.Sequential([layer], input_shape=x.shape[1:], rng=1, dtype=dtype)
    return net.forward(x), net.backward(dy), net.flat_grads.copy(), net.predict(x), net.for_inference().predict(x)


def same_bits(a, b):
    return [one.tobytes() == other.tobytes() for one, other in zip(a, b, strict=True)]


def test_at_first_it_is_fast():
    assert cl.get_precision() == "fast"


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("algorithm", ["auto", "winograd"])
def test_exact_turns_winograd_off(algorithm, kernel):
    direct, fast = results("direct", kernel=kernel), results(algorithm, kernel=kernel)
    assert not any(same_bits(fast, direct))
    for one, other in zip(fast, direct, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(other).max())
    cl.set_precision("exact")
    assert cl.get_precision() == "exact"
    assert all(same_bits(results(algorithm, kernel=kernel), direct))
    cl.set_precision("fast")
    assert all(same_bits(results(algorithm, kernel=kernel), fast))


def test_it_holds_for_a_transposed_convolution():
    x = np.random.default_rng(0).standard_normal((64, 8, 8, 32)).astype(np.float32)
    net = cl.Sequential([cl.ConvTranspose(48, 3, padding=1)], input_shape=x.shape[1:], rng=1)
    fast = net.predict(x)
    cl.set_precision("exact")
    exact = net.predict(x)
    assert fast.tobytes() != exact.tobytes()
    np.testing.assert_allclose(fast, exact, rtol=0, atol=1e-5 * np.abs(exact).max())


def test_a_copy_for_prediction_follows_it_both_ways():
    x = np.random.default_rng(0).standard_normal((64, 8, 8, 32)).astype(np.float32)
    net = cl.Sequential([cl.Conv(48, 3, padding=1)], input_shape=x.shape[1:], rng=1).for_inference()
    fast = net.predict(x)
    cl.set_precision("exact")
    exact = net.predict(x)
    assert fast.tobytes() != exact.tobytes()
    cl.set_precision("fast")
    assert net.predict(x).tobytes() == fast.tobytes()


def test_float64_is_exact_in_any_case():
    assert all(same_bits(results("auto", np.float64), results("direct", np.float64)))


def test_a_layer_that_does_not_suit_is_refused_even_so():
    cl.set_precision("exact")
    with pytest.raises(ValueError, match="Winograd's method needs a kernel"):
        cl.Conv(4, 7, algorithm="winograd").build((9, 9, 3))


@pytest.mark.parametrize("precision", ["Exact", "", None, 1, True, ["exact"], np.array(["exact", "fast"])])
def test_what_is_no_precision(precision):
    message = f"set_precision needs one of 'fast', 'exact'; got {precision!r}"
    with pytest.raises(ValueError, match=re.escape(message)):
        cl.set_precision(precision)
    assert cl.get_precision() == "fast"

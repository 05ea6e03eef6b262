"""The norms where squares overflow: the numbers of a smaller x, since a norm does not see the size of its input."""

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import reference
from tests.layers.common import batch, gradient_for
from tests.marks import every_level

NORMS = {
    "batch": cl.BatchNorm,
    "batch and relu": lambda: cl.Sequential([cl.BatchNorm(), cl.ReLU()]),
    "layer": cl.LayerNorm,
    "group": lambda: cl.GroupNorm(2),
    "one group": lambda: cl.GroupNorm(1),
}
SIZES = {np.float32: [1e15, 1e19, 1e22, 1e30, 1e32], np.float64: [1e150, 1e155, 1e200, 1e300]}
CASES = [(dtype, size) for dtype, sizes in SIZES.items() for size in sizes]
SHAPES = [(16, 8), (3, 5, 7, 4), (2, 300, 10)]


def passes(make, shape, dtype, size, offset=0.0):
    """y, dx and the gradients of the parameters for x of this size: y and parameters as they are, dx times size."""
    layer = make()
    layer.build(shape[1:], rng=0, dtype=dtype)
    for i, array in enumerate(layer.params.values()):
        array[...] = np.linspace(-1, 2, array.size) + i
    y = layer.forward(((batch(*shape) + offset) * size).astype(dtype))
    dx = layer.backward(gradient_for(y))
    return y, dx.astype(np.float64) * size, *(grad.copy() for grad in layer.grads.values())


@every_level
@pytest.mark.parametrize(("dtype", "size"), CASES)
@pytest.mark.parametrize("name", NORMS)
def test_the_size_of_x_changes_nothing(name, dtype, size):
    rtol = 1e-4 if dtype == np.float32 else 1e-10
    for shape in SHAPES:
        expected = passes(NORMS[name], shape, np.float64, 1e6)  # large enough for eps to mean nothing
        for got, wanted in zip(passes(NORMS[name], shape, dtype, size), expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=rtol, atol=rtol * max(1, np.abs(wanted).max()))


@every_level
@pytest.mark.parametrize(("dtype", "size"), [(np.float32, 1e37), (np.float64, 1e307)])
@pytest.mark.parametrize("name", NORMS)
def test_y_is_right_also_where_dx_is_too_small_for_a_number(name, dtype, size):
    (got, *_), (wanted, *_) = (passes(NORMS[name], (16, 8), *of) for of in ((dtype, size), (np.float64, 1e6)))
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


@every_level
@pytest.mark.parametrize("name", NORMS)
def test_a_large_mean_beside(name):
    for got, wanted in zip(
        passes(NORMS[name], (16, 8), np.float32, 1e30, offset=5.0),
        passes(NORMS[name], (16, 8), np.float64, 1e6, offset=5.0),
        strict=True,
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-3 * max(1, np.abs(wanted).max()))


@every_level
def test_against_the_loops_which_are_in_float64():
    x, dy = (1e30 * batch(16, 8)).astype(np.float32), batch(16, 8).astype(np.float32)[::-1].copy()
    gamma, beta, eps = np.arange(1, 9) / 8, np.arange(1, 9) / 10, 1e-5
    twins = {
        "batch": (reference.norm.batch_norm_backward, ()),
        "layer": (reference.sample_norm.layer_norm_backward, ()),
        "group": (reference.sample_norm.group_norm_backward, (2,)),
    }
    for name, (twin, groups) in twins.items():
        layer = NORMS[name]()
        layer.build((8,), dtype=np.float32)
        layer.params["gamma"], layer.params["beta"] = gamma, beta
        layer.forward(x)
        dx, dgamma, dbeta = twin(x, *groups, gamma, dy, eps)
        np.testing.assert_allclose(layer.backward(dy), dx, rtol=0, atol=1e-5 * abs(dx).max())
        np.testing.assert_allclose(layer.grads["gamma"], dgamma, rtol=0, atol=1e-4)
        np.testing.assert_allclose(layer.grads["beta"], dbeta, rtol=0, atol=1e-4)


@every_level
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NORMS)
def test_huge_numbers_that_are_all_the_same_have_no_deviation(name, dtype):
    for value in (np.finfo(dtype).max / 2, np.finfo(dtype).max / 3):
        layer = NORMS[name]()
        layer.build((6,), dtype=dtype)
        for number, array in enumerate(layer.params.values()):
            array[...] = number
        x = np.full((49, 6), value, dtype)
        np.testing.assert_allclose(layer.forward(x), np.ones_like(x), rtol=1e-6)  # beta
        assert np.isfinite(layer.backward(np.ones_like(x))).all()


@pytest.mark.parametrize(("dtype", "size"), [(np.float32, 1e-30), (np.float64, 1e-300)])
@pytest.mark.parametrize("name", ["batch", "layer", "group"])
def test_of_very_small_numbers_eps_is_what_is_left(name, dtype, size):
    layer = NORMS[name]()
    layer.build((8,), dtype=dtype)
    y = layer.forward((size * batch(16, 8)).astype(dtype))
    assert (abs(y) < 1000 * size).all()
    assert y.any()
    assert np.isfinite(layer.backward(gradient_for(y))).all()


@every_level
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["batch", "layer", "group"])
def test_what_is_not_finite_stays_so(name, bad):
    layer = NORMS[name]()
    x = 1e30 * batch(6, 4).astype(np.float32)
    x[2, 1] = bad
    layer.build((4,), dtype=np.float32)
    with np.errstate(all="ignore"):
        y = layer.forward(x)
    assert np.isnan(y[2, 1])


@every_level
def test_a_variance_that_the_state_cannot_hold_is_infinite_there():
    """So a training ends with an error: nothing that is predicted by it would be right."""
    layer = cl.BatchNorm(momentum=0.5)
    layer.build((2,), dtype=np.float32)
    x = np.array([[1e30, 1], [-1e30, 2]], np.float32)
    np.testing.assert_allclose(layer.forward(x), [[1, -1], [-1, 1]], rtol=1e-4)
    np.testing.assert_allclose(layer.state["running_var"], [np.inf, 0.5 + 0.5 * 0.5])

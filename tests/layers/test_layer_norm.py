"""LayerNorm, GroupNorm and InstanceNorm."""

import re

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import reference
from tests.layers.common import batch, gradient_for
from tests.marks import by_turns, every_level

SHAPES = [(5, 4), (3, 6, 8), (2, 5, 7, 12), (1, 37, 41, 16), (2, 130, 4), (2, 3, 1100), (2, 4, 4, 2)]


def ready(layer, *shape, dtype=np.float64):
    """The layer with gamma 1, 2, ... and beta 0.1, 0.2, ..."""
    layer.build(shape, dtype=dtype)
    layer.params["gamma"] = np.arange(1, shape[-1] + 1) / shape[-1]
    layer.params["beta"] = np.arange(1, shape[-1] + 1) / 10
    return layer


@every_level
@by_turns("shape", SHAPES)
def test_layer_norm_against_the_reference(shape, dtype):
    x, layer = (3 + 2 * batch(*shape)).astype(dtype), ready(cl.LayerNorm(0.1), *shape[1:], dtype=dtype)
    gamma, beta = layer.params["gamma"], layer.params["beta"]
    rtol = 1e-11 if dtype == np.float64 else 2e-4
    y = layer.forward(x)
    np.testing.assert_allclose(y, reference.layer_norm(x, gamma, beta, 0.1), rtol=rtol, atol=rtol)
    dy = gradient_for(y)
    expected = reference.sample_norm.layer_norm_backward(x, gamma, dy, 0.1)
    for got, wanted in zip((layer.backward(dy), *layer.grads.values()), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=rtol, atol=rtol * np.abs(wanted).max())


@every_level
@pytest.mark.parametrize("groups", [1, 2, "channels"])
@by_turns("shape", SHAPES)
def test_group_norm_against_the_reference(shape, groups, dtype):
    groups = shape[-1] if groups == "channels" else groups
    x, layer = (3 + 2 * batch(*shape)).astype(dtype), ready(cl.GroupNorm(groups, 0.1), *shape[1:], dtype=dtype)
    gamma, beta = layer.params["gamma"], layer.params["beta"]
    rtol = 1e-10 if dtype == np.float64 else 5e-4
    y = layer.forward(x)
    np.testing.assert_allclose(y, reference.group_norm(x, groups, gamma, beta, 0.1), rtol=rtol, atol=rtol)
    dy = gradient_for(y)
    expected = reference.sample_norm.group_norm_backward(x, groups, gamma, dy, 0.1)
    for got, wanted in zip((layer.backward(dy), *layer.grads.values()), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=rtol, atol=rtol * max(1, np.abs(wanted).max()))


def test_by_hand():
    layer = cl.LayerNorm(eps=3.0)
    layer.build((2,), dtype=np.float64)
    layer.params["gamma"], layer.params["beta"] = [4, 8], [10, 20]
    np.testing.assert_array_equal(layer.forward([[5, 7]]), [[8, 24]])  # mean 6, var 1: x̂ = -1/2, 1/2
    np.testing.assert_array_equal(layer.backward([[1, 1]]), [[-0.75, 0.75]])  # (g - 6 - x̂ 1) / 2, g = 4, 8
    np.testing.assert_array_equal(layer.grads["gamma"], [-0.5, 0.5])
    np.testing.assert_array_equal(layer.grads["beta"], [1, 1])


def test_instance_norm_by_hand():
    layer = cl.InstanceNorm(eps=3.0)
    layer.build((2, 1, 2), dtype=np.float64)
    layer.params["gamma"], layer.params["beta"] = [4, 8], [10, 20]
    y = layer.forward([[[[5, 1]], [[7, 1]]]])  # x̂ = -1/2, 1/2 in one channel, and 0, 0 in the other
    np.testing.assert_array_equal(y, [[[[8, 20]], [[12, 20]]]])
    dx = layer.backward([[[[1, 1]], [[2, 1]]]])  # (g - 6 - x̂ 1) / 2, g = 4, 8, and 0
    np.testing.assert_array_equal(dx, [[[[-0.75, 0]], [[0.75, 0]]]])
    np.testing.assert_array_equal(layer.grads["gamma"], [0.5, 0])
    np.testing.assert_array_equal(layer.grads["beta"], [3, 2])


@every_level
@by_turns("shape", [shape for shape in SHAPES if len(shape) > 2])
def test_instance_norm_is_group_norm_of_single_channels(shape, dtype):
    x = batch(*shape).astype(dtype)
    layer, other = (ready(made, *shape[1:], dtype=dtype) for made in (cl.InstanceNorm(), cl.GroupNorm(shape[-1])))
    y = layer.forward(x)
    np.testing.assert_array_equal(y, other.forward(x))
    np.testing.assert_array_equal(layer.backward(gradient_for(y)), other.backward(gradient_for(y)))
    np.testing.assert_array_equal(layer.flat_grads, other.flat_grads)


def test_samples_do_not_see_each_other_nor_do_groups():
    layer, x = ready(cl.GroupNorm(2), 3, 3, 4), batch(2, 3, 3, 4)
    y = layer.predict(x)
    x[1], x[0, ..., 2:] = 7, 9
    np.testing.assert_array_equal(layer.predict(x)[0, ..., :2], y[0, ..., :2])


@every_level
@pytest.mark.parametrize("make", [cl.LayerNorm, lambda: cl.GroupNorm(2), lambda: cl.GroupNorm(1)])
def test_a_large_mean_costs_no_digits(make):
    x = batch(3, 9, 11, 16).astype(np.float32)
    far = make().forward(x + np.float32(1000))
    np.testing.assert_allclose(far, make().forward((x + np.float32(1000)) - np.float32(1000)), atol=2e-3)


@pytest.mark.parametrize("make", [cl.LayerNorm, lambda: cl.GroupNorm(1), cl.InstanceNorm])
def test_equal_numbers_give_beta(make):
    layer = ready(make(), 4, 3)
    y = layer.forward(np.full((2, 4, 3), 5.0))
    np.testing.assert_allclose(y, np.broadcast_to(layer.params["beta"], (2, 4, 3)), rtol=1e-12)
    assert np.isfinite(layer.backward(gradient_for(y))).all()


def test_one_group_per_channel_of_one_pixel_gives_beta_and_no_gradient():
    layer = ready(cl.GroupNorm(3), 1, 1, 3)
    y = layer.forward(batch(2, 1, 1, 3))
    np.testing.assert_allclose(y, np.broadcast_to(layer.params["beta"], (2, 1, 1, 3)))
    np.testing.assert_allclose(layer.backward(gradient_for(y)), 0, atol=1e-12)


@pytest.mark.parametrize("make", [lambda: cl.GroupNorm(2), cl.InstanceNorm])
@pytest.mark.parametrize("fuse", [True, False])
def test_a_relu_after_it(make, fuse):
    x = batch(3, 5, 4, 6)
    net, plain = (cl.Sequential([cl.Conv(8, 1), make(), cl.ReLU()], (5, 4, 6), rng=0, fuse=f) for f in (fuse, False))
    y = net.forward(x)
    np.testing.assert_array_equal(y, plain.forward(x))
    np.testing.assert_array_equal(net.backward(gradient_for(y)), plain.backward(gradient_for(y)))
    np.testing.assert_array_equal(net.flat_grads, plain.flat_grads)


def test_other_image_sizes_are_welcome():
    assert ready(cl.GroupNorm(2), 4, 4, 6).forward(batch(2, 7, 5, 6)).shape == (2, 7, 5, 6)
    assert ready(cl.InstanceNorm(), 4, 4, 6).forward(batch(2, 7, 5, 6)).shape == (2, 7, 5, 6)
    assert ready(cl.LayerNorm(), 4, 4, 6).forward(batch(2, 7, 5, 6)).shape == (2, 7, 5, 6)


def test_weight_decay_leaves_their_parameters():
    assert ready(cl.GroupNorm(1), 3).param_runs() == ready(cl.LayerNorm(), 3).param_runs() == [(slice(0, 6), False)]


@pytest.mark.parametrize(("groups", "shape"), [(3, (4, 4, 8)), (8, (4,)), (1, (4, 0))])
def test_groups_that_do_not_divide(groups, shape):
    message = rf"GroupNorm\({groups}\) needs channels that go in {groups} equal groups; got shape \(N, .*{shape[-1]}\)"
    with pytest.raises(ValueError, match=message):
        cl.GroupNorm(groups).build(shape)


@pytest.mark.parametrize("shape", [(0,), (4, 4, 0)])
def test_no_channels(shape):
    with pytest.raises(ValueError, match=r"LayerNorm\(\) needs at least one channel; got shape \(N, .*0\)"):
        cl.LayerNorm().build(shape)


@pytest.mark.parametrize("shape", [(4,), (4, 4, 0)])
def test_no_positions_or_no_channels(shape):
    message = r"InstanceNorm\(\) needs channels, and an axis of positions before them; got shape \(N, 4"
    with pytest.raises(ValueError, match=message):
        cl.InstanceNorm().build(shape)


@pytest.mark.parametrize("bad", [0, -1, True, 1.5, None])
def test_groups(bad):
    with pytest.raises((ValueError, TypeError), match="GroupNorm: groups must be"):
        cl.GroupNorm(bad)


@pytest.mark.parametrize("make", [cl.LayerNorm, lambda eps: cl.GroupNorm(1, eps), cl.InstanceNorm])
@pytest.mark.parametrize("eps", [0, -1e-5, float("nan"), True, "a"])
def test_eps(make, eps):
    with pytest.raises((ValueError, TypeError), match=re.escape("Norm: eps must be")):
        make(eps=eps)

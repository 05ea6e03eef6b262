"""PReLU and Scale: parameters that are broadcast to a sample."""

import math
import re

import numpy as np
import pytest

import cnnlayers as cl
from tests.layers.common import batch, gradient_for

SHAPES = [(1,), (2,), (3, 1), (1, 2), (3, 2), (4, 1, 1), (1, 3, 1), (1, 1, 2), (4, 3, 1), (4, 1, 2), (4, 3, 2), (1, 1)]


def test_prelu_by_hand():
    layer = cl.PReLU(0.5)
    layer.build((2,), dtype=np.float64)
    layer.params["alpha"] = [0.5, -2]
    y = layer.forward([[-4, -3], [6, 0], [-2, 5]])
    np.testing.assert_array_equal(y, [[-2, 6], [6, 0], [-1, 5]])
    dx = layer.backward([[1, 2], [3, 4], [5, 6]])
    np.testing.assert_array_equal(dx, [[0.5, -4], [3, -8], [2.5, 6]])
    np.testing.assert_array_equal(layer.grads["alpha"], [-4 - 10, -6])


def test_prelu_starts_at_alpha_everywhere():
    for shape, expected in ((None, (2,)), ((1,), (1,)), ([4, 3, 2], (4, 3, 2))):
        layer = cl.PReLU(0.1, shape)
        layer.build((4, 3, 2))
        assert layer.params["alpha"].shape == expected
        np.testing.assert_array_equal(layer.params["alpha"], np.float32(0.1))


def test_scale_by_hand():
    layer = cl.Scale()
    layer.build((2,), dtype=np.float64)
    x = [[1, 2], [3, 4]]
    np.testing.assert_array_equal(layer.forward(x), x)  # it starts as nothing
    layer.params["gamma"], layer.params["beta"] = [2, -1], [10, 20]
    np.testing.assert_array_equal(layer.forward(x), [[12, 18], [16, 16]])
    np.testing.assert_array_equal(layer.backward([[1, 2], [3, 4]]), [[2, -2], [6, -4]])
    np.testing.assert_array_equal(layer.grads["gamma"], [1 + 9, 4 + 16])
    np.testing.assert_array_equal(layer.grads["beta"], [4, 6])


def test_scale_with_one_of_the_two():
    gain, bias = cl.Scale(bias=False), cl.Scale(gain=False)
    x = np.ones((1, 3), np.float32)
    assert list(gain.build((3,)) and gain.params) == ["gamma"]
    assert list(bias.build((3,)) and bias.params) == ["beta"]
    y = bias.forward(x)
    dy = gradient_for(y)
    dx = bias.backward(dy)
    np.testing.assert_array_equal(dx, dy)
    assert not np.shares_memory(dx, dy)
    assert not np.shares_memory(x, y)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_shape_is_the_parameter_of_each_number_summed(shape):
    """What a layer with a parameter for each number gives, added up over the numbers that share one."""
    rng, x = np.random.default_rng(1), batch(5, 4, 3, 2)
    for make in (lambda shape: cl.PReLU(shape=shape), cl.Scale):
        shared, single = make(shape), make((4, 3, 2))
        for layer in (shared, single):
            layer.build((4, 3, 2), dtype=np.float64)
        for name, array in shared.params.items():
            shared.params[name] = rng.normal(size=shape)
            single.params[name] = np.broadcast_to(array, (4, 3, 2))
        y = shared.forward(x)
        np.testing.assert_array_equal(y, single.forward(x))
        np.testing.assert_array_equal(shared.backward(gradient_for(y)), single.backward(gradient_for(y)))
        for name, grad in shared.grads.items():
            whole = np.broadcast_to(np.arange(grad.size).reshape(shape), (4, 3, 2))
            expected = np.bincount(whole.ravel(), single.grads[name].ravel()).reshape(shape)
            np.testing.assert_allclose(grad, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [None, (1,), (1, 1, 3), (1, 1)], ids=str)
def test_images_of_another_size(shape):
    for layer in (cl.PReLU(shape=shape), cl.Scale(shape)):
        layer.build((4, 5, 3))
        assert layer.forward(batch(2, 7, 2, 3)).shape == (2, 7, 2, 3)


def test_images_of_another_size_need_a_shape_that_fits():
    for layer in (cl.PReLU(shape=(4, 1, 1)), cl.Scale((4, 1, 1))):
        layer.build((4, 5, 3))
        assert layer.forward(batch(2, 4, 2, 3)).shape == (2, 4, 2, 3)
        with pytest.raises(ValueError, match=re.escape("whose shape (4, 1, 1) broadcasts; got shape (N, 7, 5, 3)")):
            layer.forward(batch(2, 7, 5, 3))


@pytest.mark.parametrize("shape", [(2,), (4, 1), (5, 3), (4, 5, 3), (1, 1, 1, 1), (3, 2, 1, 1)], ids=str)
def test_a_shape_that_would_enlarge_x_or_does_not_fit(shape):
    for layer in (cl.PReLU(shape=shape), cl.Scale(shape)):
        message = f"{layer!r} needs samples to whose shape {shape} broadcasts; got shape (N, 1, 3)"
        with pytest.raises(ValueError, match=re.escape(message)):
            layer.build((1, 3))
        assert not layer.built


def test_samples_without_a_channel():
    for layer in (cl.PReLU(), cl.Scale(), cl.Scale((1,))):
        with pytest.raises(ValueError, match=re.escape("needs at least one channel; got shape (N, 3, 0)")):
            layer.build((3, 0))


def test_images_without_a_pixel():
    for shape in (None, (1, 3, 2), (3, 1)):
        layer = cl.Scale(shape)
        layer.build((0, 3, 2))
        layer.grads["gamma"][...] = 7
        y = layer.forward(np.zeros((4, 0, 3, 2)))
        assert layer.backward(y).shape == (4, 0, 3, 2)
        assert not layer.grads["gamma"].any()


@pytest.mark.parametrize("make", [lambda shape: cl.PReLU(shape=shape), cl.Scale])
def test_a_shape_that_is_none(make):
    for shape, error, message in (
        (True, TypeError, "shape must be a tuple of ints, such as (1, 1, 3), or None; got True"),
        ("3", TypeError, "shape must be a tuple of ints, such as (1, 1, 3), or None; got '3'"),
        ((), ValueError, "shape must have at least one axis, as (1,) has; got ()"),
        ((0, 3), ValueError, "a size in shape must be 1 or more; got 0"),
        ((1.0,), TypeError, "a size in shape must be an int; got 1.0"),
    ):
        with pytest.raises(error, match=re.escape(message)):
            make(shape)


def test_other_arguments_that_are_none():
    with pytest.raises(TypeError, match="PReLU: alpha must be a number; got None"):
        cl.PReLU(None)
    with pytest.raises(ValueError, match="PReLU: alpha must be finite; got nan"):
        cl.PReLU(math.nan)
    with pytest.raises(TypeError, match="Scale: gain must be True or False; got 1"):
        cl.Scale(gain=1)
    with pytest.raises(TypeError, match="Scale: bias must be True or False; got None"):
        cl.Scale(bias=None)
    with pytest.raises(ValueError, match="Scale needs a gain, a bias or both; got gain=False and bias=False"):
        cl.Scale(gain=False, bias=False)


def test_a_fixed_factor_by_hand():
    layer = cl.Scale(-0.5)
    assert layer.build((2,), dtype=np.float64) == (2,)
    assert not layer.params
    assert layer.factor == -0.5
    np.testing.assert_array_equal(layer.forward([[1, 2], [3, 4]]), [[-0.5, -1], [-1.5, -2]])
    np.testing.assert_array_equal(layer.backward([[1, 2], [3, 4]]), [[-0.5, -1], [-1.5, -2]])


@pytest.mark.parametrize("factor", [3, np.float32(0.5), np.float64(0.1), np.int64(2), 1e-3])
def test_a_fixed_factor_keeps_the_dtype(factor):
    for dtype in (np.float32, np.float64):
        layer = cl.Scale(factor)
        layer.build((4, 3, 2), dtype=dtype)
        y = layer.forward(batch(5, 4, 3, 2))
        assert y.dtype == layer.backward(y).dtype == dtype
        assert type(layer.factor) is float
    assert layer.forward(batch(5, 2, 6, 2)).shape == (5, 2, 6, 2)  # images of another size


def test_factors_that_are_none():
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="Scale: a fixed factor must be finite; got"):
            cl.Scale(bad)
    for options in ({"gain": False}, {"bias": False}):
        message = "Scale(0.5) is a fixed factor, for which there is no gain and no bias: leave them out"
        with pytest.raises(ValueError, match=re.escape(message)):
            cl.Scale(0.5, **options)
    with pytest.raises(TypeError, match=re.escape("PReLU: shape must be a tuple of ints, such as (1, 1, 3), or None")):
        cl.PReLU(shape=3)


def test_a_fixed_factor_in_a_net(tmp_path):
    """Same bits with and without a plan, in a copy and from a file; nothing for it in PyTorch."""
    layers = [cl.Conv(3, 2), cl.Scale(0.3), cl.ReLU(), cl.Flatten(), cl.Affine(2), cl.Scale(1 / 256)]
    net, x = cl.Sequential(layers, (4, 4, 2), rng=0), batch(3, 4, 4, 2, dtype=np.float32)
    plain = cl.Sequential([layer.copy() for layer in layers], (4, 4, 2), fuse=False)
    net.save(tmp_path / "net.safetensors")
    y = net.forward(x)
    for other in (plain, net.copy(), cl.load(tmp_path / "net.safetensors"), cl.Sequential(**net.config())):
        if not other.built:
            other.build((4, 4, 2), rng=0)
        np.testing.assert_array_equal(other.forward(x), y)
        np.testing.assert_array_equal(other.predict(x), y)
    assert repr(net[5]) == "Scale(shape=0.00390625)"
    assert list(cl.to_torch(net)) == ["0.weight", "0.bias", "4.weight", "4.bias"]
    assert "Scale(shape=0.00390625)" in net.summary()


def test_what_is_shown():
    assert repr(cl.PReLU()) == "PReLU()"
    assert repr(cl.PReLU(0.1, [1])) == "PReLU(alpha=0.1, shape=(1,))"
    assert repr(cl.Scale()) == "Scale()"
    assert repr(cl.Scale((1, 2), bias=False)) == "Scale(shape=(1, 2), bias=False)"


def test_huge_numbers_do_not_warn():
    huge = np.finfo(np.float32).max
    for layer in (cl.PReLU(4), cl.Scale()):
        layer.build((2,))
        layer.params[next(iter(layer.params))] = [4, 0]
        y = layer.forward([[-huge, -np.inf]])
        assert np.isneginf(y[0, 0])
        assert np.isnan(y[0, 1])  # 0 · ∞
        layer.backward([[huge, np.inf]])


def test_nan_passes_and_stays_in_its_place():
    for layer in (cl.PReLU(), cl.Scale()):
        y = layer.forward([[1.0, np.nan, -1.0]])
        np.testing.assert_array_equal(np.isnan(y), [[False, True, False]])


def test_prelu_at_zero_is_a_kink():
    report = cl.gradcheck(cl.PReLU(), np.array([[0.0, 1.0, -1.0]]))
    assert report.ok, report
    assert report.kinks == {"x": 1, "alpha": 0}


@pytest.mark.parametrize("shape", [None, (1,), (1, 1, 3), (4, 4, 3)], ids=str)
def test_weight_decay_leaves_them_alone_unless_it_is_for_all(shape):
    def net():
        layers = [cl.Conv(3, 1), cl.PReLU(shape=shape), cl.Scale(shape), cl.Flatten(), cl.Affine(2)]
        made = cl.Sequential(layers, (4, 4, 2), rng=0)
        made.flat_params[...] = 1
        return made

    spared, decayed = net(), net()
    cl.SGD(lr=0.1, weight_decay=0.5).step(spared)
    for name, array in spared.params.items():
        np.testing.assert_allclose(array, 0.95 if name.endswith("W") else 1)
    cl.SGD(lr=0.1, weight_decay=0.5, decay_all=True).step(decayed)
    np.testing.assert_allclose(decayed.flat_params, 0.95)


def test_their_sums_are_long_ones():
    """Float32 that has come to 2^24 stays there if ones are added, one by one."""
    n = (1 << 24) + 100
    layer = cl.Scale((1,), gain=False)
    layer.build((n, 1))
    layer.forward(np.zeros((1, n, 1), np.float32))
    layer.backward(np.ones((1, n, 1), np.float32))
    assert layer.grads["beta"].item() == n


def test_a_net_with_them_is_saved_and_loaded(tmp_path):
    layers = [
        cl.Conv(3, 2),
        cl.PReLU(0.1, (1, 1, 3)),
        cl.Scale((3, 1)),
        cl.Clip(-1, 1),
        cl.ReLU6(),
        cl.HardSigmoid(0.2),
    ]
    net = cl.Sequential([*layers, cl.HardSwish(), cl.Softplus(), cl.Reciprocal()], (5, 4, 2), rng=0)
    net.flat_params[...] += 0.1
    net.save(tmp_path / "net.safetensors")
    again = cl.load(tmp_path / "net.safetensors")
    assert repr(again) == repr(net)
    x = batch(3, 5, 4, 2)
    np.testing.assert_array_equal(again.predict(x), net.predict(x))

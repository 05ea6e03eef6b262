"""BatchNorm and Normalize."""

import re

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import reference
from tests.layers.common import batch, gradient_for
from tests.marks import every_level


def norm(*shape, dtype=np.float64, **options):
    layer = cl.BatchNorm(**options)
    layer.build(shape, dtype=dtype)
    return layer


def test_by_hand():
    layer = norm(1, eps=1.0)
    layer.params["gamma"], layer.params["beta"] = [6], [10]
    x = np.array(
        [[0.0], [0.0], [np.sqrt(27)], [np.sqrt(27)]]
    )  # mean sqrt(27)/2, variance 27/4; std with eps: sqrt(31)/2
    side = 6 * np.sqrt(27 / 31)
    np.testing.assert_allclose(layer.forward(x), [[10 - side], [10 - side], [10 + side], [10 + side]], rtol=1e-14)


def test_running_statistics_by_hand():
    layer = norm(2, momentum=0.75)
    np.testing.assert_array_equal(layer.state["running_mean"], [0, 0])
    np.testing.assert_array_equal(layer.state["running_var"], [1, 1])
    layer.forward([[1, 10], [3, 30]])  # means 2, 20; unbiased variances 2, 200
    np.testing.assert_allclose(layer.state["running_mean"], [0.5, 5], rtol=1e-15)
    np.testing.assert_allclose(layer.state["running_var"], [0.75 + 0.5, 0.75 + 50], rtol=1e-15)


@every_level
def test_against_the_reference():
    layer, x = norm(3, 2, 4, eps=1e-3), batch(5, 3, 2, 4)
    gamma, beta = layer.params["gamma"], layer.params["beta"]
    gamma[...], beta[...] = [1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4]
    y = layer.forward(x)
    np.testing.assert_allclose(y, reference.norm.batch_norm(x, gamma, beta, 1e-3), rtol=1e-12, atol=1e-12)
    dy = gradient_for(y)
    expected = reference.norm.batch_norm_backward(x, gamma, dy, 1e-3)
    for got, wanted in zip((layer.backward(dy), *layer.grads.values()), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)


@every_level
def test_outputs_of_training_have_mean_0_and_variance_1():
    y = norm(6, 5, 3, eps=1e-12).forward(100 + 7 * batch(4, 6, 5, 3))
    np.testing.assert_allclose(y.mean(axis=(0, 1, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=(0, 1, 2)), 1, rtol=1e-10)


@every_level
def test_inference_uses_the_running_statistics():
    layer, x = norm(2, eps=1e-3), batch(3, 2)
    layer.state["running_mean"], layer.state["running_var"] = [1, -1], [4, 9]
    layer.params["gamma"], layer.params["beta"] = [2, 3], [5, 6]
    wanted = [[2 * (a - 1) / 4.001**0.5 + 5, 3 * (b + 1) / 9.001**0.5 + 6] for a, b in x]
    np.testing.assert_allclose(layer.predict(x), wanted, rtol=1e-13)
    np.testing.assert_allclose(layer.forward(x, train=False), wanted, rtol=1e-13)
    np.testing.assert_array_equal(layer.state["running_mean"], [1, -1])
    dy = gradient_for(x)
    dx = layer.backward(dy)
    np.testing.assert_allclose(dx, dy * [2 / 4.001**0.5, 3 / 9.001**0.5], rtol=1e-13)


def test_a_frozen_layer_uses_the_running_statistics_and_keeps_them():
    layer, x = norm(2), batch(4, 2)
    layer.trainable = False
    y = layer.forward(x, train=True)
    np.testing.assert_allclose(y, x / np.sqrt(1 + 1e-5), rtol=1e-14)
    np.testing.assert_array_equal(layer.flat_state, [0, 0, 1, 1])
    layer.backward(y)
    layer.trainable = True
    layer.forward(x)
    assert not np.array_equal(layer.flat_state, [0, 0, 1, 1])


@pytest.mark.parametrize("shape", [(3,), (1, 1, 3), (1, 3)])
def test_with_one_value_per_channel_there_is_nothing_to_learn_from(shape):
    layer = norm(*shape, momentum=0.5)
    layer.params["beta"] = [1, 2, 3]
    x = batch(1, *shape)
    y = layer.forward(x)
    np.testing.assert_array_equal(y.ravel(), [1, 2, 3])
    np.testing.assert_array_equal(layer.backward(gradient_for(y)), 0)
    np.testing.assert_array_equal(layer.grads["gamma"], 0)
    np.testing.assert_array_equal(layer.state["running_var"], 1)
    np.testing.assert_allclose(layer.state["running_mean"], x.ravel() / 2)


def test_a_batch_of_one_image_has_many_values_per_channel():
    layer = norm(4, 4, 2)
    layer.forward(batch(1, 4, 4, 2))
    assert (layer.state["running_var"] != 1).all()


def test_an_empty_batch_leaves_the_running_statistics():
    layer = norm(3)
    layer.forward(batch(4, 3))
    state = layer.flat_state.copy()
    y = layer.forward(np.zeros((0, 3)))
    layer.backward(y)
    np.testing.assert_array_equal(layer.flat_state, state)
    np.testing.assert_array_equal(layer.flat_grads, 0)
    assert np.isfinite(layer.predict(batch(2, 3))).all()


@pytest.mark.parametrize(("momentum", "mean"), [(0, 2), (1, 0), (0.9, 0.2)])
def test_momentum_is_what_stays(momentum, mean):
    layer = norm(1, momentum=momentum)
    layer.forward([[1], [3]])
    np.testing.assert_allclose(layer.state["running_mean"], [mean], rtol=1e-14)


def test_running_statistics_become_those_of_the_data():
    layer, rng = norm(1, momentum=0.9), np.random.default_rng(0)
    for _ in range(200):
        layer.forward(rng.normal(5, 2, (500, 1)))
    assert abs(layer.state["running_mean"][0] - 5) < 0.1
    assert abs(layer.state["running_var"][0] - 4) < 0.2


def test_a_constant_channel_gives_beta():
    layer = norm(2)
    layer.params["beta"] = [7, 8]
    y = layer.forward(np.full((4, 2), 3.0))
    np.testing.assert_array_equal(y, [[7, 8]] * 4)
    assert np.isfinite(layer.backward(gradient_for(y))).all()


@every_level
def test_a_large_mean_costs_no_digits():
    x = batch(50, 3, dtype=np.float32)
    far, near = norm(3, dtype=np.float32), norm(3, dtype=np.float32)
    np.testing.assert_allclose(far.forward(x + np.float32(1000)), near.forward(x), atol=2e-3)


@every_level
def test_dx_does_not_move_the_mean_nor_the_scale():
    layer, x = norm(3, eps=1e-12), batch(6, 3)
    dx = layer.backward(gradient_for(layer.forward(x)))
    np.testing.assert_allclose(dx.sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose((dx * x).sum(axis=0), 0, atol=1e-9)


def test_weight_decay_leaves_its_parameters():
    assert norm(3).param_runs() == [(slice(0, 6), False)]


@pytest.mark.parametrize("shape", [(0,), (4, 4, 0)])
def test_no_channels(shape):
    with pytest.raises(ValueError, match=r"BatchNorm\(\) needs at least one channel; got shape \(N, .*0\)"):
        cl.BatchNorm().build(shape)


def test_another_number_of_channels():
    with pytest.raises(ValueError, match=r"BatchNorm\(\) was built for \(N, 4, 4, 3\); got shape \(N, 4, 4, 2\)"):
        norm(4, 4, 3).forward(np.zeros((1, 4, 4, 2)))


def test_other_image_sizes_are_welcome():
    assert norm(4, 4, 3).forward(batch(2, 7, 5, 3)).shape == (2, 7, 5, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"momentum": 1.5}, "BatchNorm: momentum must be at least 0 and at most 1; got 1.5"),
        ({"momentum": -0.1}, "BatchNorm: momentum must be at least 0 and at most 1; got -0.1"),
        ({"eps": 0}, "BatchNorm: eps must be"),
        ({"eps": -1e-5}, "BatchNorm: eps must be"),
        ({"eps": float("nan")}, "BatchNorm: eps must be"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        cl.BatchNorm(**options)


@pytest.mark.parametrize("name", ["momentum", "eps"])
@pytest.mark.parametrize("value", ["a", None, True])
def test_options_that_are_no_numbers(name, value):
    with pytest.raises(TypeError, match=re.escape(f"BatchNorm: {name} must be a number; got {value!r}")):
        cl.BatchNorm(**{name: value})


def test_without_a_gamma_by_hand():
    layer = norm(2, eps=3, scale=False)
    assert list(layer.params) == list(layer.grads) == ["beta"]
    layer.params["beta"] = [10, 20]
    np.testing.assert_array_equal(layer.forward([[5, 0], [7, 0]]), [[9.5, 20], [10.5, 20]])  # mean 6, variance 1
    layer.backward([[4, 1], [8, 2]])
    np.testing.assert_array_equal(layer.grads["beta"], [12, 3])


@every_level
@pytest.mark.parametrize("train", [True, False])
def test_without_a_gamma_it_is_the_layer_whose_gamma_is_one(train):
    """To the bit: alone, with a ReLU, as the end of a residual block, and in the copy for prediction."""

    def net(scale):
        layers = [cl.BatchNorm(scale=scale), cl.ReLU(), cl.Residual([cl.Conv(3, 1), cl.BatchNorm(scale=scale)])]
        made = cl.Sequential([*layers, cl.ReLU(), cl.Conv(4, 2), cl.BatchNorm(scale=scale)], (5, 4, 3), rng=0)
        for name in ("0.beta", "2.body.1.beta", "5.beta"):
            made.params[name][...] = np.linspace(-0.4, 0.3, made.params[name].size)
        return made

    without, ones, x = net(False), net(True), batch(6, 5, 4, 3, dtype=np.float32)
    for _ in range(2):
        y = without.forward(x, train)
        np.testing.assert_array_equal(y, ones.forward(x, train))
        np.testing.assert_array_equal(without.backward(gradient_for(y)), ones.backward(gradient_for(y)))
        for name, grad in without.grads.items():
            np.testing.assert_array_equal(grad, ones.grads[name])
    np.testing.assert_array_equal(without.flat_state, ones.flat_state)
    np.testing.assert_array_equal(without.predict(x), ones.predict(x))
    np.testing.assert_array_equal(without.for_inference().predict(x), ones.for_inference().predict(x))
    assert without.flat_params.size == ones.flat_params.size - 10


def test_what_is_shown_of_a_gamma():
    assert repr(cl.BatchNorm(scale=False)) == "BatchNorm(scale=False)"
    with pytest.raises(TypeError, match="BatchNorm: scale must be True or False; got 0"):
        cl.BatchNorm(scale=0)


# Normalize


def test_normalize_by_hand():
    layer = cl.Normalize(mean=[10, 100], std=(2, 50))
    x = np.array([[[10, 0], [14, 200]]], np.uint8)
    np.testing.assert_array_equal(layer.forward(x), [[[0, -2], [2, 2]]])
    np.testing.assert_array_equal(layer.backward([[[2, 100], [4, 50]]]), [[[1, 2], [2, 1]]])


def test_normalize_with_one_number_for_all_channels():
    np.testing.assert_array_equal(cl.Normalize(1, 4).forward([[1, 5, 9]]), [[0, 1, 2]])
    np.testing.assert_array_equal(cl.Normalize([1], [4]).forward([[1, 5, 9]]), [[0, 1, 2]])


def test_normalize_takes_a_negative_std():
    np.testing.assert_array_equal(cl.Normalize(0, -2).forward([[4]]), [[-2]])


def test_normalize_has_nothing_to_train():
    layer = cl.Normalize(0, 1)
    layer.build((3,))
    assert layer.flat_params.size == layer.flat_state.size == 0


def test_normalize_takes_arrays():
    layer = cl.Normalize(np.array([1, 2]), np.float32(2))
    assert repr(layer) == "Normalize((1.0, 2.0), 2.0)"


def test_normalize_the_number_of_channels():
    with pytest.raises(ValueError, match=r"Normalize: mean has 3 numbers; .* 2 channels of \(N, 4, 4, 2\)"):
        cl.Normalize((1, 2, 3), 1).build((4, 4, 2))
    with pytest.raises(ValueError, match=r"Normalize: std has 2 numbers"):
        cl.Normalize(0, (1, 2)).build((3,))
    with pytest.raises(ValueError, match=r"Normalize: mean has 2 numbers; .* 0 channels of \(N,\)"):
        cl.Normalize((1, 2), 1).output_shape(())


@pytest.mark.parametrize("std", [0, 0.0, (1, 0)])
def test_normalize_by_zero(std):
    with pytest.raises(ValueError, match=re.escape("Normalize: std must not be 0")):
        cl.Normalize(0, std)


@pytest.mark.parametrize("bad", [np.zeros((2, 2)), (), [[1], [1, 2]]])
def test_normalize_shapes(bad):
    with pytest.raises(ValueError, match="Normalize: mean must be a number or one per channel"):
        cl.Normalize(bad, 1)


@pytest.mark.parametrize("bad", ["a", None, True, 1j])
def test_normalize_kinds(bad):
    with pytest.raises(TypeError, match="Normalize: mean must be a number"):
        cl.Normalize(bad, 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_normalize_finite(bad):
    with pytest.raises(ValueError, match="Normalize: std must be finite"):
        cl.Normalize(0, bad)


def test_normalize_does_not_list_the_numbers_of_many_channels_in_messages():
    assert cl.Normalize([1, 2, 3], 4).who == "Normalize((1.0, 2.0, 3.0), 4.0)"
    assert cl.Normalize(0, range(1, 65)).who == "Normalize(64 channels)"

"""ConvTranspose: the transpose of a convolution, on images and on signals."""

import re

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import reference
from tests.layers.common import batch, gradient_for


def layer_for(input_shape, *args, dtype=np.float64, **options):
    layer = cl.ConvTranspose(*args, **options)
    layer.build(input_shape, rng=0, dtype=dtype)
    if layer.bias:
        layer.params["b"] = np.arange(1, layer.filters + 1) / 10
    return layer


def test_a_signal_by_hand():
    layer = layer_for((2, 1), 1, 3, stride=2)
    layer.params["W"], layer.params["b"] = [[[1]], [[10]], [[100]]], [1000]
    np.testing.assert_array_equal(layer.forward([[[1], [2]]])[0, :, 0], [1001, 1010, 1102, 1020, 1200])
    np.testing.assert_array_equal(layer.backward([[[1], [2], [3], [4], [5]]])[0, :, 0], [321, 543])
    np.testing.assert_array_equal(layer.grads["W"].ravel(), [1 + 2 * 3, 2 + 2 * 4, 3 + 2 * 5])
    np.testing.assert_array_equal(layer.grads["b"], [15])


def test_filters_and_channels_by_hand():
    layer = layer_for((1, 2), 3, 1, bias=False)
    layer.params["W"] = [[[1, 10], [2, 20], [3, 30]]]  # (filter, channel)
    np.testing.assert_array_equal(layer.forward([[[5, 7]]]).ravel(), [75, 150, 225])


def test_groups_by_hand():
    layer = layer_for((1, 2), 4, 1, groups=2, bias=False)
    layer.params["W"] = [[[1, 10], [2, 20]]]  # two filters of each group
    np.testing.assert_array_equal(layer.forward([[[5, 7]]]).ravel(), [5, 10, 70, 140])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2},
        {"stride": (3, 2), "output_padding": (2, 1)},
        {"padding": 1},
        {"padding": ((0, 2), (1, 0)), "stride": (2, 3), "output_padding": (0, 2)},
        {"dilation": (2, 3), "stride": 2},
        {"groups": 2, "stride": (1, 2)},
        {"stride": 5},  # wider than the kernel: pixels that nothing reaches
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_against_the_reference(options, bias):
    layer, x = layer_for((3, 4, 4), 6, (3, 2), bias=bias, **options), batch(2, 3, 4, 4)
    W, b = layer.params["W"], layer.params.get("b")
    y = layer.forward(x)
    np.testing.assert_allclose(y, reference.conv_transpose(x, W, b, **options), rtol=1e-12, atol=1e-12)
    dy = gradient_for(y)
    expected = reference.transposed.conv_transpose_backward(x, W, dy, **options)
    for got, wanted in zip(
        (layer.backward(dy), *layer.grads.values()), expected, strict=bias
    ):  # without a bias there is a db too many
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)


def test_it_is_the_transpose_of_conv():
    """<conv(y), x> = <y, transposed(x)>, with the same W."""
    conv = cl.Conv(3, (3, 2), stride=2, padding=1, bias=False)
    conv.build((7, 6, 5), rng=0, dtype=np.float64)
    transposed = layer_for((4, 4, 3), 5, (3, 2), stride=2, padding=1, bias=False)
    transposed.params["W"] = conv.params["W"]
    x, y = batch(2, 4, 4, 3), batch(2, 7, 6, 5, seed=1)
    assert np.vdot(conv.forward(y), x) == pytest.approx(np.vdot(y, transposed.forward(x)))


@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (3, 2), (5, 1)])
def test_same_multiplies_the_sizes_by_the_stride(stride, dilation):
    layer = layer_for((4, 5, 2), 3, (3, 2), stride=stride, padding="same", dilation=dilation)
    assert layer.forward(batch(1, 4, 5, 2)).shape == (1, 4 * stride, 5 * stride, 3)


def test_it_undoes_the_size_of_a_conv():
    for size in range(5, 12):
        small = cl.Conv(4, 3, stride=2, padding=1).output_shape((size, size, 1))
        extra = 1 - size % 2
        large = cl.ConvTranspose(1, 3, stride=2, padding=1, output_padding=extra).output_shape(small)
        assert large == (size, size, 1)


def test_other_sizes_are_welcome():
    assert layer_for((3, 3, 2), 4, 2, stride=2).forward(batch(1, 5, 7, 2)).shape == (1, 10, 14, 4)


@pytest.mark.parametrize(("stride", "groups"), [(1, 1), (2, 1), (2, 4), ((2, 3), 1)])
def test_first_weights_double_the_mean_square_of_the_input(stride, groups):
    layer = layer_for((16, 16, 64), 64, (4, 6), stride=stride, groups=groups)
    layer.params["b"] = np.zeros(64)
    y = layer.forward(batch(4, 16, 16, 64))[:, 8:-8, 8:-8]
    assert (y**2).mean() == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("bias", [True, False])
def test_with_a_relu_after_it(bias):
    x = batch(2, 3, 4, 2)
    nets = [
        cl.Sequential([cl.ConvTranspose(3, 2, stride=2, bias=bias), cl.ReLU()], (3, 4, 2), rng=0, fuse=fuse)
        for fuse in (True, False)
    ]
    ys = [net.forward(x) for net in nets]
    np.testing.assert_array_equal(*ys)
    assert 0 < (ys[0] == 0).mean() < 1
    np.testing.assert_array_equal(*(net.backward(gradient_for(y)) for net, y in zip(nets, ys, strict=True)))
    np.testing.assert_array_equal(*(net.flat_grads for net in nets))


def test_multiply_adds():
    assert cl.ConvTranspose(6, (3, 2), stride=2, groups=2).multiply_adds((4, 5, 8)) == 4 * 5 * 8 * 3 * 2 * 3


@pytest.mark.parametrize(
    ("args", "options", "shape", "message"),
    [
        ((8, 3), {}, (5,), "ConvTranspose(8, 3) needs images (N, H, W, C) or signals (N, L, C); got shape (N, 5)"),
        ((8, 3), {}, (0, 4, 2), "ConvTranspose(8, 3) needs at least one pixel and one channel"),
        ((8, 3), {"output_padding": 1}, (4, 4, 2), "output_padding must be below the stride; got 1x1 and stride 1x1"),
        ((8, 3), {"padding": "same", "output_padding": 1, "stride": 2}, (4, 4, 2), 'padding="same" leaves no choice'),
        ((8, 3), {"padding": 3}, (4, 4, 2), "padding 3 leaves nothing of the output of a 4x4 image"),
        ((8, 3), {"groups": 3}, (4, 4, 2), "groups must divide channels and filters; got 2 channels, 8 filters and 3"),
        ((8, 3), {"stride": 1 << 40}, (4, 4, 2), "would need more than 2**47 bytes"),
    ],
)
def test_what_does_not_fit(args, options, shape, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        cl.ConvTranspose(*args, **options).build(shape)


@pytest.mark.parametrize("name", ["filters", "kernel", "stride", "padding", "output_padding", "dilation", "groups"])
@pytest.mark.parametrize("bad", [True, 1.5, "three", None, -1])
def test_options(name, bad):
    with pytest.raises((ValueError, TypeError), match=f"ConvTranspose: {name} must be"):
        cl.ConvTranspose(**({"filters": 2, "kernel": 3} | {name: bad}))

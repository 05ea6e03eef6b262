"""Conv, on images and on signals."""

import re

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import reference
from tests.layers.common import batch, gradient_for


def conv(input_shape, *args, dtype=np.float64, **options):
    layer = cl.Conv(*args, **options)
    layer.build(input_shape, rng=0, dtype=dtype)
    if layer.bias:
        layer.params["b"] = np.arange(1, layer.filters + 1) / 10
    return layer


# By hand


def test_a_signal_by_hand():
    layer = conv((4, 1), 1, 2)
    layer.params["W"], layer.params["b"] = [[[1]], [[10]]], [100]
    np.testing.assert_array_equal(layer.forward([[[1], [2], [3], [4]]])[0, :, 0], [121, 132, 143])
    np.testing.assert_array_equal(layer.backward([[[1], [2], [3]]])[0, :, 0], [1, 12, 23, 30])
    np.testing.assert_array_equal(layer.grads["W"].ravel(), [1 + 4 + 9, 2 + 6 + 12])
    np.testing.assert_array_equal(layer.grads["b"], [6])


def test_an_image_by_hand():
    layer = conv((2, 3, 1), 1, (2, 1), bias=False)
    layer.params["W"] = [[[[1]]], [[[-1]]]]
    x = np.array([[1, 2, 3], [10, 20, 40]]).reshape(1, 2, 3, 1)
    np.testing.assert_array_equal(layer.forward(x).ravel(), [-9, -18, -37])
    np.testing.assert_array_equal(layer.backward(np.ones((1, 1, 3, 1))).reshape(2, 3), [[1, 1, 1], [-1, -1, -1]])
    np.testing.assert_array_equal(layer.grads["W"].ravel(), [6, 70])


def test_same_padding_puts_the_odd_pixel_after():
    layer = conv((3, 1), 1, 2, padding="same", bias=False)
    layer.params["W"] = [[[1]], [[10]]]
    np.testing.assert_array_equal(layer.forward([[[1], [2], [3]]]).ravel(), [21, 32, 3])


def test_channels_add_and_filters_do_not():
    layer = conv((1, 2), 3, 1)
    layer.params["W"], layer.params["b"] = [[[1, 2, 3], [10, 20, 30]]], [0, 0, 1]
    np.testing.assert_array_equal(layer.forward([[[5, 7]]]).ravel(), [75, 150, 226])


def test_groups_read_their_own_channels():
    layer = conv((1, 4), 4, 1, groups=2, bias=False)
    layer.params["W"] = [[[1, 10, 1, 10], [2, 20, 2, 20]]]
    np.testing.assert_array_equal(layer.forward([[[1, 2, 3, 4]]]).ravel(), [5, 50, 11, 110])


# Against the definition as loops

SHAPES = [
    {},
    {"stride": 2},
    {"stride": (3, 2)},  # strides that do not divide
    {"padding": 1},
    {"padding": (2, 0)},
    {"padding": ((0, 2), (3, 1))},
    {"padding": "same"},
    {"padding": "valid"},
    {"padding": "same", "stride": (2, 3)},
    {"dilation": (2, 1)},
    {"dilation": (1, 3), "padding": "same"},
    {"dilation": 2, "stride": (1, 2), "padding": ((2, 1), (0, 3))},
    {"padding": 4, "stride": 5},  # padding larger than the kernel, windows that read padding alone
    {"stride": 20},  # a stride larger than the image
]


def check(layer, x, options):
    y = layer.forward(x)
    dy = gradient_for(y)
    dx = layer.backward(dy)
    W, b = layer.params["W"], layer.params.get("b")
    slow_dx, dW, db = reference.conv_backward(x, W, dy, **options)
    np.testing.assert_allclose(y, reference.conv_forward(x, W, b, **options), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dx, slow_dx, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(layer.grads["W"], dW, rtol=1e-12, atol=1e-12)
    if b is not None:
        np.testing.assert_allclose(layer.grads["b"], db, rtol=1e-12, atol=1e-12)
    assert not np.array_equal(dx, 0 * dx)


@pytest.mark.parametrize("kernel", [(3, 2), 2])
@pytest.mark.parametrize("options", SHAPES, ids=str)
def test_images_against_the_reference(kernel, options):
    check(conv((7, 8, 3), 2, kernel, **options), batch(2, 7, 8, 3), options)


@pytest.mark.parametrize("kernel", [1, (4,)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2},
        {"stride": (3,), "padding": 2},
        {"padding": ((0, 3),)},
        {"padding": "same"},
        {"padding": "same", "stride": 3, "dilation": 2},
        {"dilation": 2},
        {"padding": 5, "stride": 4},
    ],
    ids=str,
)
def test_signals_against_the_reference(kernel, options):
    check(conv((9, 3), 4, kernel, **options), batch(2, 9, 3), options)


@pytest.mark.parametrize(("channels", "filters", "groups"), [(4, 6, 2), (6, 3, 3), (3, 3, 3), (2, 6, 2), (4, 2, 1)])
@pytest.mark.parametrize("bias", [True, False])
def test_groups_against_the_reference(channels, filters, groups, bias):
    shape = {"stride": (2, 1), "padding": ((1, 0), (0, 1)), "dilation": (1, 2), "groups": groups}
    check(conv((5, 6, channels), filters, (3, 2), bias=bias, **shape), batch(2, 5, 6, channels), shape)
    signal = {"padding": "same", "stride": 2, "groups": groups}
    check(conv((7, channels), filters, 3, bias=bias, **signal), batch(2, 7, channels), signal)


@pytest.mark.parametrize("shape", [{}, {"padding": "same"}, {"stride": 2, "padding": ((1, 0), (2, 1))}], ids=str)
def test_gradients_of_the_grid_agree_with_numeric_ones(shape):
    for groups in (1, 2):
        layer = conv((5, 4, 2), 4, (3, 2), groups=groups, **shape)
        report = cl.gradcheck(layer, batch(2, 5, 4, 2))
        assert report.ok, report


def test_a_convolution_is_affine_on_patches():
    layer, x = conv((6, 5, 2), 3, (3, 2), stride=(2, 1), padding=1), batch(2, 6, 5, 2)
    cols = cl.im2col(x, (3, 2), (2, 1), 1)
    y = cols @ layer.params["W"].reshape(-1, 3) + layer.params["b"]
    np.testing.assert_allclose(layer.forward(x).reshape(-1, 3), y, rtol=1e-13)


def test_dx_is_the_transpose_of_forward():
    layer, x = conv((6, 5, 2), 4, (2, 3), stride=(1, 2), padding="same", groups=2, bias=False), batch(2, 6, 5, 2)
    y = layer.forward(x)
    dy = gradient_for(y)
    assert abs(np.vdot(y, dy) - np.vdot(x, layer.backward(dy))) < 1e-10


def test_a_signal_is_an_image_one_pixel_high():
    x = batch(2, 9, 3)
    signal = conv((9, 3), 4, 3, stride=2, padding="same")
    image = conv((1, 9, 3), 4, (1, 3), stride=(1, 2), padding="same")
    image.params["W"] = signal.params["W"][np.newaxis]
    np.testing.assert_allclose(signal.forward(x), image.forward(x[:, np.newaxis])[:, 0], rtol=1e-13)


def test_other_image_sizes_are_welcome_if_the_kernel_fits():
    layer = conv((8, 8, 2), 3, (3, 2))
    x = batch(2, 5, 11, 2)
    check(layer, x, {})
    with pytest.raises(ValueError, match=r"Conv\(3, \(3, 2\)\): a 3x2 kernel does not fit in a 2x8 image padded by 0"):
        layer.forward(batch(1, 2, 8, 2))


def test_nan_in_a_pixel_reaches_the_windows_that_hold_it_and_no_others():
    layer, x = conv((6, 6, 1), 2, (3, 2)), batch(1, 6, 6, 1)
    x[0, 0, 0] = np.nan
    bad = np.isnan(layer.forward(x)[0, ..., 0])
    np.testing.assert_array_equal(np.argwhere(bad), [[0, 0]])


# Shapes


@pytest.mark.parametrize(
    ("args", "options", "shape", "out"),
    [
        ((10, 5), {"padding": 2}, (32, 32, 3), (32, 32, 10)),
        ((16, 3), {"stride": 2}, (8, 9, 3), (3, 4, 16)),
        ((16, 3), {"stride": 2, "padding": "same"}, (7, 8, 3), (4, 4, 16)),
        ((4, (5, 1)), {"dilation": (2, 1)}, (9, 2, 1), (1, 2, 4)),
        ((4, 3), {"padding": ((2, 0),)}, (5, 1), (5, 4)),
    ],
)
def test_output_shapes(args, options, shape, out):
    assert cl.Conv(*args, **options).output_shape(shape) == out


def test_shapes_of_the_parameters():
    layer = conv((8, 8, 6), 4, (3, 5), groups=2)
    assert {name: a.shape for name, a in layer.params.items()} == {"W": (3, 5, 3, 4), "b": (4,)}
    assert conv((8, 6), 4, 3).params["W"].shape == (3, 6, 4)
    assert list(conv((8, 6), 4, 3, bias=False).params) == ["W"]


def test_first_values():
    layer = conv((8, 8, 16), 256, (3, 5), groups=2)
    assert abs(layer.params["W"].std() / np.sqrt(2 / (3 * 5 * 16 / 2)) - 1) < 0.02  # He: the numbers a filter reads
    fresh = cl.Conv(4, 3)
    fresh.build((8, 8, 2), rng=0)
    np.testing.assert_array_equal(fresh.params["b"], 0)


def test_multiply_adds():
    assert cl.Conv(16, 3, padding=1).multiply_adds((32, 32, 8)) == 32 * 32 * 3 * 3 * 8 * 16
    assert cl.Conv(16, 3, padding=1, groups=8).multiply_adds((32, 32, 8)) == 32 * 32 * 3 * 3 * 16


def test_sizes_may_be_lists_and_numpy_ints():
    layer = cl.Conv(np.int32(4), [np.int64(3), 2], stride=[2, 1], padding=[[1, 0], (0, np.uint8(1))])
    assert repr(layer) == "Conv(4, (3, 2), stride=(2, 1), padding=((1, 0), (0, 1)))"
    assert layer.build((6, 6, 1)) == (3, 6, 4)


def test_im2col_is_an_algorithm():
    x = batch(2, 6, 5, 2)
    auto, named = conv((6, 5, 2), 3, 3), conv((6, 5, 2), 3, 3, algorithm="im2col")
    np.testing.assert_allclose(auto.forward(x), named.forward(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [{}, {"padding": "same"}, {"padding": ((0, 2), (3, 1))}, {"padding": 4}], ids=str)
@pytest.mark.parametrize(("channels", "filters", "groups"), [(3, 2, 1), (18, 5, 1), (4, 18, 2)])
@pytest.mark.parametrize("kernel", [3, 5])
def test_winograd_against_the_reference(kernel, shape, channels, filters, groups):
    options = shape | {"groups": groups}
    check(conv((7, 8, channels), filters, kernel, algorithm="winograd", **options), batch(2, 7, 8, channels), options)


@pytest.mark.parametrize("shape", [{}, {"padding": "same"}, {"padding": ((0, 3),)}, {"padding": 4}], ids=str)
@pytest.mark.parametrize(("channels", "filters", "groups"), [(3, 2, 1), (18, 5, 1), (4, 18, 2)])
@pytest.mark.parametrize("kernel", [3, 5])
def test_winograd_on_signals_against_the_reference(kernel, shape, channels, filters, groups):
    options = shape | {"groups": groups}
    check(conv((11, channels), filters, kernel, algorithm="winograd", **options), batch(2, 11, channels), options)


def test_gradients_by_winograd_agree_with_numeric_ones():
    net = cl.Sequential(
        [
            *(cl.Conv(4, 3, padding=1, algorithm="winograd"), cl.BatchNorm(), cl.ReLU()),
            cl.Residual([cl.Conv(4, 3, padding="same", groups=2, bias=False, algorithm="winograd"), cl.Tanh()]),
            *(cl.Conv(4, 5, padding=2, algorithm="winograd"), cl.Tanh()),
            *(cl.Conv(3, 3, algorithm="winograd"), cl.ReLU(), cl.Flatten(), cl.Affine(3)),
        ],
        input_shape=(7, 5, 2),
        rng=0,
        dtype=np.float64,
    )
    report = cl.gradcheck(net, batch(2, 7, 5, 2), cl.SoftmaxLoss(), np.array([2, 0]))
    assert report.ok, report


@pytest.mark.parametrize("algorithm", ["auto", "direct", "im2col", "winograd"])
def test_a_saved_layer_keeps_its_algorithm(algorithm, tmp_path):
    x = batch(64, 8, 8, 32)
    net = cl.Sequential([cl.Conv(32, 3, padding=1, algorithm=algorithm)], input_shape=(8, 8, 32), rng=0)
    net.save(tmp_path / "net.safetensors")
    for again in (cl.load(tmp_path / "net.safetensors"), net.copy()):
        assert again[0].algorithm == algorithm
        np.testing.assert_array_equal(again.predict(x), net.predict(x))


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", [(8, 9), (70,)])
def test_algorithms_agree(size, kernel):
    x = batch(40, *size, 32)
    results = {}
    for algorithm in ("direct", "auto", "im2col", "winograd"):
        layer = conv((*size, 32), 48, kernel, padding="same", algorithm=algorithm, dtype=np.float32)
        y = layer.forward(x)
        results[algorithm] = y, layer.backward(gradient_for(y)), layer.grads["W"], layer.grads["b"]
    for others in results.values():
        for one, other in zip(results["direct"], others, strict=True):
            np.testing.assert_allclose(other, one, rtol=0, atol=1e-5 * np.abs(one).max())
    assert not np.array_equal(results["direct"][0], results["winograd"][0])


# Errors


@pytest.mark.parametrize("shape", [(784,), (2, 3, 4, 5)])
def test_inputs_that_are_neither_images_nor_signals(shape):
    message = f"Conv(16, 3) needs images (N, H, W, C) or signals (N, L, C); got shape (N, {', '.join(map(str, shape))})"
    with pytest.raises(ValueError, match=re.escape(message)):
        cl.Conv(16, 3).build(shape)


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({}, (4, 8, 1), "Conv(16, 5): a 5x5 kernel does not fit in a 4x8 image padded by 0"),
        (
            {"padding": ((0, 0), (1, 2))},
            (4, 8, 1),
            "a 5x5 kernel does not fit in a 4x8 image padded by ((0, 0), (1, 2))",
        ),
        ({"dilation": 2}, (8, 9, 1), "a 5x5 kernel (dilation 2x2: 9x9) does not fit in a 8x9 image padded by 0"),
        ({"padding": 1}, (2, 1), "Conv(16, 5): a 5 kernel does not fit in a 2 signal padded by 1"),
        ({}, (8, 8, 0), "Conv(16, 5) needs at least one pixel and one channel; got shape (N, 8, 8, 0)"),
        ({}, (0, 8, 1), "Conv(16, 5) needs at least one pixel and one channel; got shape (N, 0, 8, 1)"),
        ({"groups": 4}, (8, 8, 6), "groups must divide channels and filters; got 6 channels, 16 filters and 4 groups"),
        ({"groups": 3}, (8, 8, 6), "groups must divide channels and filters; got 6 channels, 16 filters and 3 groups"),
        ({"stride": (1, 2)}, (8, 1), "Conv(16, 5): stride must be an int or 1 ints, one per spatial axis; got (1, 2)"),
        (
            {"padding": ((1, 1),)},
            (8, 8, 1),
            "Conv(16, 5): padding must be one int or one (before, after) pair for each",
        ),
    ],
)
def test_inputs_that_do_not_fit(options, shape, message):
    for use in (lambda layer: layer.build(shape), lambda layer: layer.forward(np.zeros((2, *shape)))):
        with pytest.raises(ValueError, match=re.escape(message)):
            use(cl.Conv(16, 5, **options))


def test_another_number_of_channels():
    with pytest.raises(ValueError, match=r"Conv\(2, 3\) was built for \(N, 8, 8, 3\); got shape \(N, 8, 8, 1\)"):
        conv((8, 8, 3), 2, 3).forward(np.zeros((1, 8, 8, 1)))


def test_a_signal_for_a_conv_of_images():
    with pytest.raises(ValueError, match=r"Conv\(2, 3\) was built for \(N, 8, 8, 3\); got shape \(N, 8, 3\)"):
        conv((8, 8, 3), 2, 3).forward(np.zeros((1, 8, 3)))


@pytest.mark.parametrize("name", ["kernel", "stride", "dilation", "padding", "filters", "groups"])
@pytest.mark.parametrize("value", [2.0, True, None, np.float32(1), (1, 2.0)])
def test_sizes_that_are_no_ints(name, value):
    with pytest.raises(TypeError, match=f"Conv: {name} must be an int"):
        cl.Conv(**({"filters": 2, "kernel": 3} | {name: value}))


@pytest.mark.parametrize("name", ["kernel", "stride", "dilation", "filters", "groups"])
@pytest.mark.parametrize("value", [0, -1])
def test_sizes_below_one(name, value):
    with pytest.raises(ValueError, match=f"Conv: {name} must be 1 or more; got {value}"):
        cl.Conv(**({"filters": 2, "kernel": 3} | {name: value}))


@pytest.mark.parametrize("padding", [-1, (0, -1), ((0, -1), (0, 0))])
def test_negative_padding(padding):
    with pytest.raises(ValueError, match="Conv: padding must be 0 or more; got -1"):
        cl.Conv(2, 3, padding=padding)


@pytest.mark.parametrize("padding", ["full", "SAME"])
def test_padding_of_an_unknown_name(padding):
    with pytest.raises(ValueError, match=f'padding must be "valid", "same" or numbers; got {padding!r}'):
        cl.Conv(2, 3, padding=padding)


@pytest.mark.parametrize("padding", [((1, 2, 3), (0, 0)), (1, 2, 3), ()])
def test_padding_of_another_form(padding):
    with pytest.raises(ValueError, match="Conv: padding"):
        cl.Conv(2, 3, padding=padding)


@pytest.mark.parametrize("kernel", [(1, 2, 3), ()])
def test_kernels_of_another_rank(kernel):
    with pytest.raises(ValueError, match="Conv: kernel must be an int, or one int per spatial axis"):
        cl.Conv(2, kernel)


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"kernel": 2**31}, (8, 8, 1)),
        ({"kernel": 2**63}, (8, 8, 1)),
        ({"kernel": 2**31, "padding": 2**31}, (8, 8, 1)),
        ({"kernel": (2**62, 2**62), "padding": "same"}, (8, 8, 1)),
        ({"kernel": 3, "padding": 2**63}, (8, 8, 1)),
        ({"kernel": 3, "dilation": 2**63}, (8, 8, 1)),
        ({"kernel": 3, "padding": 2**46}, (8, 1)),
    ],
)
def test_absurd_sizes_are_refused_before_anything_is_allocated(options, shape):
    layer = cl.Conv(2, **options)
    with pytest.raises(ValueError, match=r"does not fit|would need"):
        layer.forward(np.zeros((2**20, *shape), np.uint8)[:2])


@pytest.mark.parametrize("stride", [2**31, 2**63, 2**100])
def test_a_stride_larger_than_any_image_is_one_position(stride):
    layer = cl.Conv(2, 3, stride=stride)
    assert layer.forward(np.ones((1, 5, 5, 1))).shape == (1, 1, 1, 2)
    assert layer.backward(np.ones((1, 1, 1, 2))).shape == (1, 5, 5, 1)


def test_an_unknown_algorithm():
    names = "'auto', 'direct', 'im2col', 'winograd'"
    with pytest.raises(ValueError, match=rf"Conv: algorithm must be one of {names}; got 'fft'"):
        cl.Conv(2, 3, algorithm="fft")


@pytest.mark.parametrize(
    ("kernel", "options", "shape", "why"),
    [
        (7, {}, (9, 9, 3), "a kernel of 7x7, not 1x3, 1x5, 3x3 or 5x5"),
        ((3, 5), {}, (9, 9, 3), "a kernel of 3x5, not 1x3, 1x5, 3x3 or 5x5"),
        ((3, 1), {}, (9, 9, 3), "a kernel of 3x1, not 1x3, 1x5, 3x3 or 5x5"),
        (4, {}, (9, 3), "a kernel of 4, not 3 or 5"),
        (3, {"stride": (1, 2)}, (9, 9, 3), "a stride"),
        (5, {"stride": 2}, (9, 9, 3), "a stride"),
        (3, {"dilation": 2}, (9, 9, 3), "a dilation"),
    ],
)
def test_winograd_where_it_does_not_suit(kernel, options, shape, why):
    layer = cl.Conv(4, kernel, algorithm="winograd", **options)
    message = f"{layer!r}: Winograd's method needs a kernel of 3 or 5 a side, stride 1 and dilation 1; got {why}"
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        cl.Sequential([cl.ReLU(), layer], input_shape=shape)
    assert "in layer 1 of Sequential, after ReLU()" in caught.value.__notes__


def test_an_error_in_a_net_says_where():
    with pytest.raises(ValueError, match="does not fit") as caught:
        cl.Sequential([cl.Conv(4, 3), cl.ReLU(), cl.MaxPool(2), cl.Conv(16, 5)], input_shape=(10, 10, 1))
    assert "in layer 3 of Sequential, after MaxPool(2)" in caught.value.__notes__

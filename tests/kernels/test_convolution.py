"""The convolution kernels against the loops, over grids whose two axes do not look alike."""

import copy
import itertools
from functools import lru_cache

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import kernels, reference
from cnnlayers.geometry import window
from tests.marks import both_dtypes, by_turns, every_level

pytestmark = every_level
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}


def draw(shape, dtype, seed):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


@lru_cache(None)
def problem(x_shape, kernel, filters, groups, dtype, *slide):
    """x, W, b and dy, and y, dx and dW by the loops."""
    x = draw(x_shape, dtype, 0)
    W = draw((*kernel, x_shape[-1] // groups, filters), dtype, 1)
    b = draw(filters, dtype, 2)
    dy = draw((len(x), *window(x_shape[1:], kernel, *slide).out, filters), dtype, 3)
    dx, dW, _ = reference.conv_backward(x, W, dy, *slide, groups=groups)
    return (x, W, b, dy), (reference.conv_forward(x, W, b, *slide, groups=groups), dx, dW)


def check(x_shape, kernel, filters, groups, dtype, *slide):
    """Forward and both gradients against the loops; inputs stay as they are."""
    inputs, truths = problem(x_shape, kernel, filters, groups, dtype, *slide)
    place = window(x_shape[1:], kernel, *slide)
    x, W, b, dy = (a.copy() for a in inputs)

    y = kernels.conv_forward(x, W, b, place)
    dW = np.full_like(W, np.nan)  # the kernel overwrites, never adds
    kernels.conv_weight_grad(x, dy, place, dW)
    dx = kernels.conv_input_grad(dy, W, place)

    for got, expected in zip((y, dx, dW), truths, strict=True):
        assert got.dtype == dtype
        assert got.shape == expected.shape
        scale = max(1.0, np.abs(expected).max(initial=0))
        np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE[dtype] * scale)
    for array, before in zip((x, W, b, dy), inputs, strict=True):
        np.testing.assert_array_equal(array, before)


@both_dtypes
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (2, 4), (3, 1)])
@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
def test_images(kernel, stride, dtype):
    for padding, dilation in itertools.product([0, ((1, 2), (3, 0)), "same"], [(1, 1), (2, 1)]):
        check((2, 6, 7, 3), kernel, 4, 1, dtype, stride, padding, dilation)


@both_dtypes
@pytest.mark.parametrize("kernel", [1, 2, 5])
@pytest.mark.parametrize("stride", [1, 3])
def test_signals(kernel, stride, dtype):
    for padding, dilation in itertools.product([0, ((0, 3),), "same"], [1, 2]):
        check((2, 10, 3), (kernel,), 2, 1, dtype, stride, padding, dilation)


@both_dtypes
def test_every_number_of_filters(dtype):
    """Up to two vectors of the widest level and one more: whole vectors, and what is left of one."""
    for filters in range(1, 34):
        check((2, 3, 4, 2), (2, 3), filters, 1, dtype, 1, ((1, 0), (0, 1)), 1)


@both_dtypes
@pytest.mark.parametrize(
    ("channels", "filters", "groups"),
    [(4, 6, 2), (6, 3, 3), (4, 4, 4), (3, 6, 3), (1, 1, 1)],  # the third and fourth are depthwise
)
def test_groups(channels, filters, groups, dtype):
    check((2, 5, 6, channels), (3, 2), filters, groups, dtype, (1, 2), ((1, 0), (0, 2)), (1, 2))
    check((2, 8, channels), (3,), filters, groups, dtype, 2, 1, 1)


@pytest.mark.parametrize("sizes", [(5, 6), (9, 19)])
@pytest.mark.parametrize("kernel", [(3, 3), (1, 3), (5, 5), (4, 7), (3, 2)])
@by_turns(
    "channels,slide",
    [
        (16, (1, 1, 1)),
        (33, (1, 0, 1)),
        (16, (2, 1, 1)),
        (20, (2, 0, 1)),
        (17, (1, ((3, 2), (4, 1)), 1)),
        (16, (2, ((0, 2), (2, 1)), 1)),
        (16, (2, 1, 2)),
    ],
)
def test_one_filter_per_channel(channels, slide, kernel, sizes, dtype):
    """Blocks of eight columns and of four, whole or moved back, that meet padding at either end."""
    stride, padding, dilation = slide
    if all(size + 2 * (padding == 1) >= dilation * (k - 1) + 1 for size, k in zip(sizes, kernel, strict=True)):
        check((2, *sizes, channels), kernel, channels, channels, dtype, stride, padding, dilation)


@both_dtypes
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
def test_one_filter_per_channel_of_a_batch_that_no_cache_holds(kernel, stride, dtype):
    """Each sample's y and dx have the bits that they have alone."""
    x, W = draw((150, 32, 32, 16), dtype, 0), draw((kernel, kernel, 1, 16), dtype, 1)
    place = window((32, 32, 16), kernel, stride, 1)
    y = kernels.conv_forward(x, W, None, place, True)
    dx = kernels.conv_input_grad(y, W, place)
    for i in (0, 77, 149):
        np.testing.assert_array_equal(y[i : i + 1], kernels.conv_forward(x[i : i + 1], W, None, place, True))
        np.testing.assert_array_equal(dx[i : i + 1], kernels.conv_input_grad(y[i : i + 1], W, place))


@by_turns("channels,filters,groups", [(8, 24, 8), (24, 12, 12), (20, 30, 10), (32, 32, 8), (14, 7, 7), (48, 80, 4)])
@pytest.mark.parametrize("n", [1, 2])
def test_groups_that_share_a_vector(n, channels, filters, groups, dtype):
    check((n, 5, 6, channels), (3, 2), filters, groups, dtype, (1, 2), ((1, 0), (0, 2)), (1, 2))
    check((n, 7, 4, channels), (1, 1), filters, groups, dtype, 1, 0, 1)


@both_dtypes
@pytest.mark.parametrize(
    ("x_shape", "kernel", "slide"),
    [
        ((1, 1, 1, 2), (1, 1), (1, 0, 1)),
        ((2, 1, 1, 2), (3, 3), (1, 1, 1)),
        ((2, 4, 5, 2), (4, 5), (1, 0, 1)),  # the kernel is the image: Affine
        ((2, 3, 2, 2), (2, 2), (9, 0, 1)),  # a stride past the end
        ((2, 2, 3, 2), (2, 1), (2, (5, 6), 1)),  # padding wider than the kernel
        ((2, 1, 2), (2,), (3, ((0, 7),), 2)),
    ],
)
def test_corners(x_shape, kernel, slide, dtype):
    check(x_shape, kernel, 3, 1, dtype, *slide)
    check(x_shape, kernel, 4, 2, dtype, *slide)


@pytest.mark.parametrize("n", [1, 2])
@by_turns("channels,filters", [(1, 5), (1, 20), (2, 33), (3, 12), (8, 20), (16, 32)])
def test_images_of_many_rows(n, channels, filters, dtype):
    """Their patches go in blocks, whose sums are put together."""
    check((n, 40, 37, channels), (3, 2), filters, 1, dtype, 1, ((1, 1), (0, 1)), 1)


@pytest.mark.parametrize("slide", [(1, 1, 1), ((1, 2), ((2, 2), (1, 0)), (2, 1)), (4, 1, 1)])
@by_turns("n,size,channels,filters", [(1, 4, 64, 96), (1, 1, 70, 60), (2, 3, 96, 64), (3, 4, 64, 64), (1, 6, 64, 61)])
def test_few_positions_and_many_weights(n, size, channels, filters, slide, dtype):
    """Each thread packs the weights that it reads, if their panels can be dealt out evenly: to the same bits."""
    x, W, b = draw((n, size, 4, channels), dtype, 0), draw((3, 3, channels, filters), dtype, 1), draw(filters, dtype, 2)
    place = window(x.shape[1:], 3, *slide)
    dy = draw((n, *place.out, filters), dtype, 3)
    expected_dx, _, _ = reference.conv_backward(x, W, dy, *slide)
    cl.set_num_threads(1)
    y, dx = kernels.conv_forward(x, W, b, place, "direct", True), kernels.conv_input_grad(dy, W, place, "direct")
    accuracy = 100 * np.finfo(dtype).eps * np.sqrt(W.size / channels)
    np.testing.assert_allclose(y, np.maximum(reference.conv_forward(x, W, b, *slide), 0), rtol=0, atol=accuracy)
    np.testing.assert_allclose(dx, expected_dx, rtol=0, atol=accuracy)
    for threads in (2, 3, 4):
        cl.set_num_threads(threads)
        np.testing.assert_array_equal(kernels.conv_forward(x, W, b, place, "direct", True), y)
        np.testing.assert_array_equal(kernels.conv_input_grad(dy, W, place, "direct"), dx)


@both_dtypes
@pytest.mark.parametrize("groups", [1, 2])
def test_a_batch_of_none_gives_an_empty_y_and_gradients_of_zero(groups, dtype):
    check((0, 5, 4, 2), (3, 2), 4, groups, dtype, (2, 1), 1)
    check((0, 5, 2), (3,), 4, groups, dtype, 2, 1)
    x, dW = np.zeros((0, 5, 4, 2), dtype), np.full((3, 2, 2, 4), np.nan, dtype)
    kernels.conv_weight_grad(x, np.zeros((0, 3, 3, 4), dtype), window((5, 4, 2), (3, 2)), dW)
    assert not dW.any()


def test_no_bias_is_a_bias_of_zero():
    x, W = draw((2, 5, 4, 3), np.float64, 0), draw((2, 3, 3, 4), np.float64, 1)
    place = window((5, 4, 3), (2, 3))
    without = kernels.conv_forward(x, W, None, place)
    np.testing.assert_array_equal(without, kernels.conv_forward(x, W, np.zeros(4), place))


def test_a_1x1_convolution_is_affine_at_every_pixel():
    x, W, b = draw((2, 5, 4, 3), np.float64, 0), draw((1, 1, 3, 6), np.float64, 1), draw(6, np.float64, 2)
    y = kernels.conv_forward(x, W, b, window((5, 4, 3), 1))
    np.testing.assert_allclose(y.reshape(-1, 6), kernels.affine(x.reshape(-1, 3), W[0, 0], b), rtol=1e-13)


def test_gradients_are_transposes_of_the_forward_map():
    """<conv(x, W), dy> = <x, dx> = <W, dW>: convolution is linear in x and in W."""
    x, W = draw((2, 6, 7, 4), np.float64, 0), draw((3, 2, 2, 6), np.float64, 1)
    place = window((6, 7, 4), (3, 2), (2, 1), ((1, 0), (2, 1)), (1, 3))
    y = kernels.conv_forward(x, W, None, place)
    dy, dW = draw(y.shape, np.float64, 2), np.empty_like(W)
    kernels.conv_weight_grad(x, dy, place, dW)
    expected = pytest.approx(np.vdot(y, dy), rel=1e-12)
    assert np.vdot(x, kernels.conv_input_grad(dy, W, place)) == expected
    assert np.vdot(W, dW) == expected


def test_padding_and_nan():
    """A NaN reaches the outputs that read it, and no other."""
    x = np.zeros((1, 5, 1))
    x[0, 2] = np.nan
    y = kernels.conv_forward(x, np.ones((3, 1, 1)), None, window((5, 1), 3, padding=1))
    assert np.isnan(y.ravel()).tolist() == [False, True, True, True, False]


@pytest.mark.parametrize(("channels", "filters"), [(1, 3), (3, 1), (2, 6), (5, 40), (40, 5)])
@by_turns(
    "slide",
    [(1, ((1, 3), (0, 2)), 1), ((2, 1), 1, 1), (2, ((3, 0), (1, 2)), 1), ((1, 2), 2, (1, 2))],
)
def test_many_small_images(slide, channels, filters, dtype):
    """Tasks hold several images: tiles skip the padding, and narrow results compute several pixels at a time."""
    check((36, 5, 6, channels), (4, 3), filters, 1, dtype, *slide)


@pytest.mark.parametrize("stride", [1, 2])
@by_turns("channels,filters,groups", [(2, 3, 1), (24, 40, 1), (24, 40, 2)])
def test_an_image_gives_the_same_bits_alone_and_among_many(stride, channels, filters, groups, dtype):
    """One image is cut into rows and copied with its padding; of many, each is whole, and padding is skipped."""
    x, W = draw((40, 9, 8, channels), dtype, 0), draw((5, 3, channels // groups, filters), dtype, 1)
    place = window((9, 8, channels), (5, 3), stride, 2)
    y = kernels.conv_forward(x, W, None, place)
    dx = kernels.conv_input_grad(y, W, place)
    for i in (0, 17, 39):
        alone = kernels.conv_forward(x[i : i + 1], W, None, place)
        np.testing.assert_array_equal(alone[0], y[i])
        np.testing.assert_array_equal(kernels.conv_input_grad(alone, W, place)[0], dx[i])


@by_turns("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_reaches_what_reads_it_alone(bad, dtype):
    """Narrow results share a vector with their neighbours, whose weights for it are 0, and 0 * inf is NaN."""
    x, W = draw((3, 9, 20, 2), dtype, 0), draw((3, 3, 2, 1), dtype, 1)
    place = window((9, 20, 2), 3, 1, 1)
    clean = kernels.conv_forward(x, W, None, place)
    x[1, 4, 10, 0] = bad
    y = kernels.conv_forward(x, W, None, place)
    reached = np.zeros(y.shape, bool)
    reached[1, 3:6, 9:12] = True
    np.testing.assert_array_equal(~np.isfinite(y), reached)
    np.testing.assert_array_equal(y[~reached], clean[~reached])
    dy = draw(y.shape, dtype, 2)
    dy[2, 0, 0, 0] = bad
    dx = kernels.conv_input_grad(dy, W, place)
    reached = np.zeros(dx.shape, bool)
    reached[2, :2, :2] = True
    np.testing.assert_array_equal(~np.isfinite(dx), reached)


@by_turns("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_stays_in_its_group(bad, dtype):
    """Narrow groups share a vector, with weights of 0 between them."""
    x, W = draw((3, 5, 6, 8), dtype, 0), draw((3, 3, 2, 12), dtype, 1)  # 2 channels and 3 filters in each group
    place = window((5, 6, 8), 3, 1, 1)
    clean, dy, dW = kernels.conv_forward(x, W, None, place), draw((3, 5, 6, 12), dtype, 2), np.empty_like(W)
    x[1, 2, 3, 5] = bad
    y = kernels.conv_forward(x, W, None, place)
    reached = np.zeros(y.shape, bool)
    reached[1, 1:4, 2:5, 6:9] = True
    np.testing.assert_array_equal(~np.isfinite(y), reached)
    np.testing.assert_array_equal(y[~reached], clean[~reached])
    kernels.conv_weight_grad(x, dy, place, dW)
    reached = np.zeros(dW.shape, bool)
    reached[:, :, 1, 6:9] = True
    np.testing.assert_array_equal(~np.isfinite(dW), reached)
    dy[2, 0, 0, 4] = bad
    dx = kernels.conv_input_grad(dy, W, place)
    reached = np.zeros(dx.shape, bool)
    reached[2, :2, :2, 2:4] = True
    np.testing.assert_array_equal(~np.isfinite(dx), reached)


@both_dtypes
@pytest.mark.parametrize(
    ("channels", "filters", "groups"), [(3, 2, 1), (3, 40, 1), (8, 12, 4), (32, 48, 16), (6, 6, 6)]
)
def test_packed_weights_give_the_same_bits(channels, filters, groups, dtype):
    W, b = draw((3, 2, channels // groups, filters), dtype, 1), draw(filters, dtype, 2)
    place = window((9, 8, channels), (3, 2), 1, 1)
    packed = kernels.PackedWeights()
    for n in (0, 1, 20):
        x = draw((n, 9, 8, channels), dtype, 0)
        y = kernels.conv_forward(x, W, b, place, relu=True)
        np.testing.assert_array_equal(kernels.conv_forward(x, W, b, place, relu=True, packed=packed), y)
    x = draw((2, 5, 4, channels), dtype, 0)  # images of another size: not packed for them
    small = window((5, 4, channels), (3, 2), 1, 1)
    y = kernels.conv_forward(x, W, b, small)
    np.testing.assert_array_equal(kernels.conv_forward(x, W, b, small, packed=packed), y)
    x[0, 0, 0, 0] = np.inf
    np.testing.assert_array_equal(
        kernels.conv_forward(x, W, b, small, packed=kernels.PackedWeights()),
        kernels.conv_forward(x, W, b, small),
    )


def test_what_is_packed_is_not_copied():
    assert copy.deepcopy(kernels.PackedWeights()) is None


@pytest.mark.parametrize("slide", [(1, 0, 1), ((2, 3), ((1, 2), (0, 3)), (2, 1)), (1, 2, (1, 2))])
@by_turns("filters", [1, 5, 16, 37])
def test_one_channel(slide, filters, dtype):
    """All entries of a square kernel are in one tile of the weight gradient."""
    for n, side in itertools.product((1, 3), (3, 5)):
        check((n, 11, 9, 1), (side, side), filters, 1, dtype, *slide)


@by_turns("channels,filters,groups", [(1, 2, 1), (3, 20, 1), (4, 6, 2)])
@pytest.mark.parametrize("slide", [(1, 0, 1), (3, ((2, 5),), 2)])
def test_long_signals(slide, channels, filters, groups, dtype):
    check((2, 5000, channels), (5,), filters, groups, dtype, *slide)

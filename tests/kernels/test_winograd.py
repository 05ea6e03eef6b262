"""Winograd's method: every pass, with every kernel and tile, against the loops and against the plain kernels."""

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cnnlayers as cl
from cnnlayers import _kernels, kernels, reference
from cnnlayers.geometry import window
from tests.kernels import by_side
from tests.marks import both_dtypes, by_turns, every_level

TOLERANCE = {np.float32: 1e-5, np.float64: 2e-14}  # of the largest number

KERNELS = [(3, 3), (5, 5), (1, 3), (1, 5)]  # the last two are those of signals: images one pixel high
every_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=str)
TILES = sorted(((high, wide), side) for high, wide, side in _kernels.TILES)
every_tile = pytest.mark.parametrize(("kernel", "side"), TILES, ids=str)


def draw(shape, seed):
    """Numbers that float32 holds, as float64."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32).astype(np.float64)


def problem(kernel, x_shape, filters, groups=1, padding="same", dtype=np.float64):
    """x, W, b, dy and the window of a convolution."""
    place = window(x_shape[1:], kernel, 1, padding)
    shapes = x_shape, (*kernel, x_shape[-1] // groups, filters), (filters,), (x_shape[0], *place.out, filters)
    return *(draw(shape, seed).astype(dtype) for seed, shape in enumerate(shapes)), place


def passes(x, W, b, dy, place, side, relu=False):
    """Forward and both gradients by a kernel: tiles of this side, or the plain one for 0."""
    dW = np.full_like(W, np.nan)  # it is overwritten, never added to
    by_side.conv_weight_grad(x, dy, place, dW, None, side)
    y = by_side.conv_forward(x, W, b, place, relu, side)
    return y, by_side.conv_input_grad(dy, W, place, side), dW


@lru_cache(None)
def by_loops(kernel, x_shape, filters, groups, padding):
    x, W, b, dy, _ = problem(kernel, x_shape, filters, groups, padding)
    dx, dW, _ = reference.conv_backward(x, W, dy, 1, padding, groups=groups)
    return reference.conv_forward(x, W, b, 1, padding, groups=groups), dx, dW


def check(x_shape, filters, groups=1, padding="same", *, kernel, dtype, side):
    *arrays, place = problem(kernel, x_shape, filters, groups, padding, dtype)
    before = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    truths = by_loops(kernel, x_shape, filters, groups, padding)
    for got, expected in zip(passes(*arrays, place, side), truths, strict=True):
        assert got.dtype == dtype
        assert got.shape == expected.shape
        scale = max(1.0, np.abs(expected).max(initial=0))
        np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE[dtype] * scale)
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)


def assert_same_bits(got, expected):
    for one, other in zip(got, expected, strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes()


# Against the loops


@every_level
@every_tile
@by_turns("height", range(1, 10))
def test_image_sizes(height, kernel, side, dtype):
    """Each height and, in another order, each width: of whole tiles and of parts."""
    width = 5 * height % 13 + 1
    check((2, height, width, 9), 17, kernel=kernel, dtype=dtype, side=side)
    if height >= kernel[0] and width >= kernel[1]:
        check((2, height, width, 3), 8, padding=0, kernel=kernel, dtype=dtype, side=side)


PADDINGS = [0, 5, "same", ((1, 0), (0, 2)), ((7, 0), (0, 5)), ((0, 0), (1, 1))]


@every_level
@every_tile
@by_turns("padding", PADDINGS)
def test_paddings(padding, kernel, side, dtype):
    check((2, 5, 6, 8), 16, padding=padding, kernel=kernel, dtype=dtype, side=side)
    check((1, kernel[0] + 1, kernel[1], 3), 5, padding=padding, kernel=kernel, dtype=dtype, side=side)


# Less than a vector of the widest and the narrowest level, one, a little more, a panel and several.
WIDTHS = [1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 40, 64]


@every_level
@both_dtypes
@pytest.mark.parametrize("channels", WIDTHS)
def test_channels_and_filters(channels, dtype):
    """In one kind of tile: the sums over channels at its points are the same for all."""
    at = WIDTHS.index(channels)
    for step in (0, 1, 5, 8):
        check((2, 4, 5, channels), WIDTHS[(at + step) % len(WIDTHS)], kernel=(3, 3), dtype=dtype, side=4)


@every_level
@every_tile
@by_turns("channels,filters", [(1, 16), (9, 3), (17, 40), (64, 33)])
def test_channels_and_filters_in_every_tile(channels, filters, kernel, side, dtype):
    check((2, 4, 5, channels), filters, kernel=kernel, dtype=dtype, side=side)


@every_level
@every_tile
@by_turns("channels,filters,groups", [(34, 18, 2), (36, 64, 4), (3, 6, 3), (9, 9, 9)])
def test_groups(channels, filters, groups, kernel, side, dtype):
    check((2, 5, 6, channels), filters, groups, ((1, 0), (0, 2)), kernel=kernel, dtype=dtype, side=side)


@every_level
@every_tile
@by_turns("n", [0, 1, 3, 70])
def test_batches(n, kernel, side, dtype):
    check((n, 6, 5, 16), 8, kernel=kernel, dtype=dtype, side=side)
    check((n, 1, 1, 9), 20, kernel=kernel, dtype=dtype, side=side)  # an image of one pixel
    check((n, *kernel, 4), 6, 2, 0, kernel=kernel, dtype=dtype, side=side)  # a result of one pixel


@every_level
@every_tile
def test_a_batch_of_none_gives_gradients_of_zero(kernel, side):
    x, W, _, dy, place = problem(kernel, (0, 6, 5, 16), 8)
    dW = np.full_like(W, np.nan)
    _kernels.conv_weight_grad(x, dy, place, dW, None, side)
    assert not dW.any()


@st.composite
def geometries(draw):
    """A convolution by Winograd's method whose axes have nothing in common."""
    groups, (*kernel, side) = draw(st.integers(1, 3)), draw(st.sampled_from(sorted(_kernels.TILES)))
    sizes, pads = st.integers(1, 14), st.integers(0, 6)
    axes = [(draw(sizes), (draw(pads), draw(pads))) for _ in range(2)]
    for i, (size, (before, after)) in enumerate(axes):
        axes[i] = size, (before, max(after, kernel[i] - size - before))  # the kernel fits
    channels, filters = (groups * draw(st.integers(1, 37)) for _ in range(2))
    shape = (draw(st.integers(0, 4)), axes[0][0], axes[1][0], channels)
    return side, (tuple(kernel), shape, filters, groups, (axes[0][1], axes[1][1]))


@every_level
@settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(geometries(), st.sampled_from(list(TOLERANCE)), st.booleans())
def test_any_geometry_against_patches_as_a_matrix(tile_and_geometry, dtype, relu):
    side, geometry = tile_and_geometry
    x, W, b, dy, place = problem(*geometry)
    dW = np.empty_like(W)
    kernels.conv_weight_grad(x, dy, place, dW, None, "im2col")
    expected = (
        kernels.conv_forward(x, W, b, place, "im2col", relu),
        kernels.conv_input_grad(dy, W, place, "im2col"),
        dW,
    )
    narrow = [array.astype(dtype) for array in (x, W, b, dy)]
    for got, truth in zip(passes(*narrow, place, side, relu), expected, strict=True):
        scale = max(1.0, np.abs(truth).max(initial=0))
        np.testing.assert_allclose(got, truth, rtol=0, atol=TOLERANCE[dtype] * scale)


# Bias, ReLU, and where the arrays lie


@every_level
@every_tile
@by_turns("channels,filters,groups", [(3, 5, 1), (8, 40, 1), (17, 33, 1), (12, 24, 2)])
def test_bias_and_relu(channels, filters, groups, kernel, side, dtype):
    x, W, b, _, place = problem(kernel, (3, 7, 6, channels), filters, groups, dtype=dtype)

    def forward(b, relu=False):
        return _kernels.conv_forward(x, W, b, place, relu, None, side)

    y, without = forward(b), forward(None)
    assert y.min() < 0 < y.max()
    assert_same_bits([without, without + b], [forward(np.zeros_like(b)), y])
    assert_same_bits([forward(b, True), forward(None, True)], [kernels.relu(y), kernels.relu(without)])


def shifted(array, by):
    """The same numbers, `by` numbers after the start of a cache line, between NaN."""
    room = np.full(array.size + 64, np.nan, array.dtype)
    start = -room.ctypes.data % 64 // room.itemsize + by
    view = room[start : start + array.size].reshape(array.shape)
    view[...] = array
    return view, room


@every_level
@every_tile
@by_turns("channels,filters", [(3, 5), (17, 33), (16, 16)])
def test_arrays_that_lie_across_cache_lines(channels, filters, kernel, side, dtype):
    """Nothing beside an array is read into a result, or written."""
    *arrays, place = problem(kernel, (2, 7, 6, channels), filters, dtype=dtype)
    expected = passes(*arrays, place, side)
    for by in (1, 3):
        moved = [shifted(array, by)[0] for array in arrays]
        assert_same_bits(passes(*moved, place, side), expected)
        dW, room = shifted(arrays[1], by)
        _kernels.conv_weight_grad(moved[0], moved[3], place, dW, None, side)
        assert_same_bits([dW], expected[2:])
        assert np.isnan(room).sum() == 64


# Numbers that are not finite, or nearly not

NAMES = ("x", "W", "b", "dy")
READ_BY = {"x": (0, 2), "W": (0, 1), "b": (0,), "dy": (1, 2)}
SHAPES = [  # all pixels are read by some output, and all outputs read some pixel
    ((3, 7, 9, 8), 17, 1, 0),
    ((2, 1, 1, 3), 5, 1, "same"),
    ((3, 9, 6, 16), 24, 4, ((0, 0), (1, 2))),
    ((2, 5, 6, 40), 33, 1, "same"),
    ((2, 8, 4, 16), 32, 1, "same"),  # nothing but whole tiles and vectors
    ((2, 6, 5, 12), 12, 12, "same"),  # depthwise: a plain kernel of its own
]


@every_level
@every_tile
@by_turns("shape,bad", zip(SHAPES, 2 * [np.nan, np.inf, -np.inf], strict=True))
def test_a_number_that_is_not_finite_gives_the_bits_of_the_plain_kernel(bad, shape, kernel, side, dtype):
    """It would spread over its tile, so all is computed again."""
    *arrays, place = problem(kernel, *shape, dtype=dtype)
    for which, name in enumerate(NAMES):
        reached = 0
        for at in (0, arrays[which].size // 2, -1):
            spoilt = [array.copy() for array in arrays]
            spoilt[which].reshape(-1)[at] = bad
            for relu in (False, True):
                got, plain = passes(*spoilt, place, side, relu), passes(*spoilt, place, 0, relu)
                assert_same_bits([got[i] for i in READ_BY[name]], [plain[i] for i in READ_BY[name]])
                reached += sum((~np.isfinite(plain[i])).sum() for i in READ_BY[name])
        assert reached  # at one of the places; the corners of W meet padding alone if the image is one pixel


@every_level
@every_tile
def test_a_gradient_that_no_pixel_gets_spoils_none(kernel, side):
    """Outputs that read padding alone: they are in the gradient of no pixel."""
    _, W, _, dy, place = problem(kernel, (2, 5, 6, 8), 16, padding=5, dtype=np.float32)
    clean = _kernels.conv_input_grad(dy, W, place, side)
    dy[0, 0, 0, 3] = np.nan
    assert_same_bits([_kernels.conv_input_grad(dy, W, place, side)], [clean])


@every_level
@every_tile
@by_turns("shape", SHAPES)
def test_huge_numbers(shape, kernel, side, dtype):
    """Where they overflow at the points the plain kernel takes over, so what it can compute stays finite.

    A huge number that does not overflow is one like others: errors are relative to the largest of a tile.
    """
    *arrays, place = problem(kernel, *shape, dtype=dtype)
    largest = np.finfo(dtype).max
    for which, name in enumerate(NAMES):
        for share in (0.3, 0.9):
            for at in (0, arrays[which].size // 2, -1):
                huge = [array.copy() for array in arrays]
                huge[which].reshape(-1)[at] = dtype(share * largest)
                with np.errstate(over="ignore"):
                    got, plain = passes(*huge, place, side), passes(*huge, place, 0)
                for i in READ_BY[name]:
                    np.testing.assert_array_equal(np.isfinite(got[i]), np.isfinite(plain[i]))
                    good = np.isfinite(plain[i])
                    bound = TOLERANCE[dtype] * largest
                    assert (np.abs(got[i][good] / 2 - plain[i][good] / 2) <= bound).all()


@every_level
@both_dtypes
@every_tile
def test_nothing_but_huge_numbers_gives_the_bits_of_the_plain_kernel(kernel, side, dtype):
    *arrays, place = problem(kernel, (2, 6, 7, 16), 24, dtype=dtype)
    for name in ("x", "W", "dy"):
        huge = [array.copy() for array in arrays]
        huge[NAMES.index(name)] *= dtype(0.3 * np.finfo(dtype).max / np.abs(arrays[NAMES.index(name)]).max())
        got, plain = passes(*huge, place, side), passes(*huge, place, 0)
        for i in READ_BY[name]:
            assert not np.isfinite(plain[i]).all()
            assert_same_bits([got[i]], [plain[i]])


# Bits


MANY = [  # several blocks of tiles and chunks of sums; parts of tiles, vectors and panels
    ((70, 8, 7, 16), 17, 1),
    ((1, 13, 13, 64), 64, 1),
    ((300, 4, 4, 8), 8, 2),
    ((8, 28, 28, 33), 40, 1),
    ((64, 8, 8, 1), 3, 1),
    ((0, 4, 4, 8), 8, 1),
]


@every_level
@every_tile
@by_turns("x_shape,filters,groups", MANY)
def test_the_same_bits_on_any_number_of_threads(x_shape, filters, groups, kernel, side, dtype):
    *arrays, place = problem(kernel, x_shape, filters, groups, dtype=dtype)
    results = {}
    for threads in (1, 2, 3, 7):
        cl.set_num_threads(threads)
        results[threads] = passes(*arrays, place, side)
    for threads in (2, 3, 7):
        assert_same_bits(results[threads], results[1])


@every_level
@every_tile
@by_turns("channels,filters,groups", [(16, 17, 1), (5, 40, 1), (12, 32, 4)])
def test_a_sample_gives_the_same_bits_whatever_its_neighbours(channels, filters, groups, kernel, side, dtype):
    x, W, b, dy, place = problem(kernel, (70, 6, 7, channels), filters, groups, dtype=dtype)
    y, dx, _ = passes(x, W, b, dy, place, side)
    others = np.concatenate([x[::-1], x]), np.concatenate([dy[::-1], dy])
    more_y, more_dx, _ = passes(others[0], W, b, others[1], place, side)
    assert_same_bits([more_y[70:], more_dx[70:]], [y, dx])
    assert_same_bits([more_y[69::-1], more_dx[69::-1]], [y, dx])
    for i in (0, 33, 69):
        one_y, one_dx, _ = passes(x[i : i + 1], W, b, dy[i : i + 1], place, side)
        assert_same_bits([one_y[0], one_dx[0]], [y[i], dx[i]])


# Accuracy
#
# What is bounded is the error against float64, in units of eps * sqrt(length) * (the root mean square of the results);
# `length` is that of the sums at the points: C for y, F for dx, the tiles for dW. Measured for normal numbers at all
# levels, with 16 to 512 channels, in all passes: the root mean square of the errors is at most 0.37 for F(2x2, 3x3),
# 1.30 for F(4x4, 3x3), 1.42 for F(2x2, 5x5), 0.55 for F(4, 3) and 0.57 for F(2, 5), the largest error 2.9, 15, 13, 5.2
# and 4.3. The bounds are twice that. (The plain
# kernel, y and dx: 0.45 and 7.1 for 3 x 3, 0.73 and 9.4 for 5 x 5.)
BOUNDS = {
    ((3, 3), 2): (0.75, 5.8),
    ((3, 3), 4): (2.6, 30.0),
    ((5, 5), 2): (2.8, 26.0),
    ((1, 3), 4): (1.1, 10.4),
    ((1, 5), 2): (1.2, 8.6),
}


@lru_cache(None)
def normal_numbers(kernel, n, size, channels, filters):
    """A convolution in float32, and its results in float64 from a matrix product for each place in the kernel."""
    x, W, b, dy, place = problem(kernel, (n, size, size, channels), filters)
    high, wide = (k // 2 for k in kernel)
    padded = np.pad(x, ((0, 0), (high, high), (wide, wide), (0, 0)))
    y, dpadded, dW = np.zeros(dy.shape), np.zeros(padded.shape), np.zeros(W.shape)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            patch = np.s_[:, i : i + size, j : j + size]
            y += padded[patch] @ W[i, j]
            dpadded[patch] += dy @ W[i, j].T
            dW[i, j] = padded[patch].reshape(-1, channels).T @ dy.reshape(-1, filters)
    narrow = [array.astype(np.float32) for array in (x, W, 0 * b, dy)]
    return narrow, place, (y, dpadded[:, high : high + size, wide : wide + size], dW)


@every_level
@every_tile
@pytest.mark.parametrize(
    ("n", "size", "channels", "filters"), [(2, 12, 16, 16), (2, 12, 512, 32), (2, 12, 32, 512), (32, 12, 16, 16)]
)
def test_the_rounding_error_is_bounded(n, size, channels, filters, kernel, side):
    arrays, place, truths = normal_numbers(kernel, n, size, channels, filters)
    tiles = n * size**2 // (side if kernel[0] == 1 else side**2)
    eps = np.finfo(np.float32).eps
    for got, truth, length in zip(passes(*arrays, place, side), truths, (channels, filters, tiles), strict=True):
        error = (got - truth) / (eps * np.sqrt(length) * np.sqrt((truth**2).mean()))
        assert np.sqrt((error**2).mean()) < BOUNDS[kernel, side][0]
        assert np.abs(error).max() < BOUNDS[kernel, side][1]
        assert error.any()


# Weights that are packed


@every_level
@every_tile
@by_turns("channels,filters,groups", [(3, 2, 1), (17, 40, 1), (8, 12, 4)])
def test_packed_weights_give_the_same_bits(channels, filters, groups, kernel, side, dtype):
    x, W, b, _, place = problem(kernel, (20, 9, 8, channels), filters, groups, dtype=dtype)
    packed = _kernels.PackedConv(W, b, place, side)
    for n in (0, 1, 20):
        for relu in (False, True):
            expected = _kernels.conv_forward(x[:n], W, b, place, relu, None, side)
            assert_same_bits([_kernels.conv_forward(x[:n], W, b, place, relu, packed, side)], [expected])


@every_level
@every_tile
def test_weights_packed_for_something_else_are_not_used(kernel, side):
    x, W, b, _, place = problem(kernel, (2, 9, 8, 17), 40, dtype=np.float32)
    wrong = 2 * W
    others = [s for k, s in TILES if k == kernel and s != side]
    twice = np.concatenate([wrong, wrong], 2)
    for packed in (
        *(_kernels.PackedConv(wrong, b, place, s) for s in others),  # tiles of the other side
        _kernels.PackedConv(wrong, b, place),  # the plain kernel
        _kernels.PackedConv(wrong[..., :39].copy(), b[:39], place, side),  # fewer filters
        _kernels.PackedConv(twice, b, window((9, 8, 34), kernel, 1, "same"), side),  # more channels
        _kernels.PackedConv(wrong.astype(np.float64), b.astype(np.float64), place, side),  # the other dtype
    ):
        expected = _kernels.conv_forward(x, W, b, place, False, None, side)
        assert_same_bits([_kernels.conv_forward(x, W, b, place, False, packed, side)], [expected])
    mine = _kernels.PackedConv(wrong, b, place, side)
    assert not np.array_equal(_kernels.conv_forward(x, W, b, place, False, mine, side), expected)


@every_level
@every_tile
def test_packed_weights_serve_images_of_any_size(kernel, side):
    x, W, b, _, place = problem(kernel, (2, 9, 8, 17), 40, dtype=np.float32)
    other = _kernels.PackedConv(2 * W, b, window((5, 6, 17), kernel, 1, "same"), side)
    expected = _kernels.conv_forward(x, 2 * W, b, place, False, None, side)
    assert_same_bits([_kernels.conv_forward(x, W, b, place, False, other, side)], [expected])


@every_level
@every_kernel
@pytest.mark.parametrize("algorithm", ["auto", "winograd"])
def test_weights_packed_by_the_first_call_that_needs_them(algorithm, kernel):
    """The choice depends on the batch, so there may be two packings; the plain kernel's is for one size of images."""
    x, W, b, _, place = problem(kernel, (64, 9, 8, 32), 40, dtype=np.float32)
    packed = kernels.PackedWeights()
    small = window((4, 5, 32), kernel, 1, "same")
    for n in (64, 1, 64, 1):
        for images, at in ((x, place), (np.ascontiguousarray(x[:, :4, :5]), small)):
            side = kernels.choose("forward", at, W.shape, n, np.float32, algorithm, ready=True).side
            y = kernels.conv_forward(images[:n], W, b, at, algorithm, True, packed)
            assert_same_bits([y], [by_side.conv_forward(images[:n], W, b, at, True, side)])


# As the algorithm of a layer


@every_level
@every_kernel
@by_turns("channels,filters,groups,n", [(3, 5, 1, 70), (40, 64, 1, 1), (40, 64, 1, 70), (12, 24, 4, 1)])
def test_the_algorithm_takes_the_side_that_was_chosen(channels, filters, groups, n, kernel, dtype):
    x, W, b, dy, place = problem(kernel, (n, 7, 9, channels), filters, groups, dtype=dtype)
    sides = [kernels.choose(which, place, W.shape, n, dtype, "winograd").side for which in kernels.PASSES]
    assert all((*kernel, side) in _kernels.TILES for side in sides)
    dW = np.empty_like(W)
    kernels.conv_weight_grad(x, dy, place, dW, None, "winograd")
    by_pass = {
        "forward": kernels.conv_forward(x, W, b, place, "winograd", True),
        "input_grad": kernels.conv_input_grad(dy, W, place, "winograd"),
        "weight_grad": dW,
    }
    expected = [passes(x, W, b, dy, place, side, True)[i] for i, side in enumerate(sides)]
    assert_same_bits([by_pass[which] for which in kernels.PASSES], expected)


@pytest.mark.parametrize(
    ("kernel", "slide", "side"),
    [
        *((5, (), 4), (7, (), 2), (7, (), 4), ((3, 5), (), 2), ((5, 3), (), 2), ((3, 1), (), 2), (1, (), 2)),
        *((3, (2,), 4), (3, ((1, 2),), 2), (5, ((2, 1),), 2), (3, (1, 0, 2), 4), (5, (1, 0, 2), 2)),
        *((3, (), 3), (3, (), -2), (5, (), 3), (5, (), 1), ((1, 3), (), 2), ((1, 3), ((1, 2),), 4), ((1, 5), (), 4)),
    ],
)
def test_the_door_refuses_what_winograd_cannot(kernel, slide, side):
    place = window((9, 9, 8), kernel, *slide)
    x, W, dy = np.ones((2, 9, 9, 8)), np.ones((*place.kernel, 8, 4)), np.ones((2, *place.out, 4))
    message = (
        "Winograd's method takes, with stride and dilation 1, a kernel of 3x3 in tiles of side 2 or 4, of 1x3 in "
        "tiles of side 4, of 5x5 or 1x5 in tiles of side 2; got"
    )
    for call in (
        lambda: _kernels.conv_forward(x, W, None, place, False, None, side),
        lambda: _kernels.conv_input_grad(dy, W, place, side),
        lambda: _kernels.conv_weight_grad(x, dy, place, W, None, side),
        lambda: _kernels.PackedConv(W, None, place, side),
    ):
        with pytest.raises(ValueError, match=message):
            call()

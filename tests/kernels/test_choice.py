"""The choice between the plain kernel and Winograd's: what decides it and what must not."""

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import _kernels, kernels
from cnnlayers.geometry import window
from cnnlayers.kernels.choice import separable
from tests.marks import every_level

F = np.float32


def choose(which, channels, filters, size, n, dtype=F, algorithm="auto", groups=1, slide=(3, 1, 1), ready=False):
    shape = (size, size, channels) if isinstance(size, int) else (*size, channels)
    place = window(shape, *slide)
    W_shape = (*place.kernel, channels // groups, filters)
    return kernels.choose(which, place, W_shape, n, np.dtype(dtype), algorithm, ready)


every_pass = pytest.mark.parametrize("which", kernels.PASSES)


@every_level
@every_pass
def test_many_samples_of_many_channels_pay_for_the_transforms(which):
    assert choose(which, 128, 128, 8, 64).name == "F(4x4, 3x3)"
    assert choose(which, 64, 64, 32, 64).side == 4
    assert choose(which, 128, 128, 8, 1).name == "direct"


@every_pass
@pytest.mark.parametrize("padding", [0, 2])
def test_so_they_do_with_5x5_kernels(which, padding):
    choice = choose(which, 64, 64, 16, 64, slide=(5, 1, padding))
    assert (choice.name, choice.side) == ("F(2x2, 5x5)", 2)
    assert choice.why.startswith("cost of direct 1; F(2x2, 5x5) 0.")
    assert choose(which, 128, 128, 8, 1, slide=(5, 1, padding)).name == "direct"


@every_level
@every_pass
@pytest.mark.parametrize("channels", [32, 64, 128])
def test_once_chosen_it_stays_chosen_for_larger_batches(which, channels):
    for kernel, side in [(3, 4), (5, 2)]:
        slide = kernel, 1, kernel // 2
        sides = [choose(which, channels, channels, 8, n, slide=slide).side for n in (1, 2, 4, 8, 16, 32, 64, 128, 256)]
        assert sides[-1] == side
        first = next(i for i, side in enumerate(sides) if side)
        assert all(sides[first:])


def test_products_with_padding_are_none_of_the_plain_cost():
    """On an image of 2 x 2, padded by 4, each of 25 weights meets each of 4 pixels once: 100 products a sample.

    Winograd's y has 6 x 6 numbers, 9 tiles, for 9 * 36 products; its dx has one tile, for 36.
    """
    picked = {which: choose(which, 64, 64, 2, 4096, slide=(5, 1, 4)) for which in kernels.PASSES}
    assert {which: choice.side for which, choice in picked.items()} == {"forward": 0, "input_grad": 2, "weight_grad": 0}
    cost = float(picked["input_grad"].why.removeprefix("cost of direct 1; F(2x2, 5x5) "))
    assert 0.36 < cost < 0.6
    for which in ("forward", "weight_grad"):
        cost = float(picked[which].why.removeprefix("cost 1; F(2x2, 5x5) "))
        assert 9 * 0.36 < cost < 9 * 0.6


@pytest.mark.parametrize("channels", [32, 128, 256])
def test_weights_that_are_ready_never_speak_against_it(channels):
    for n in (1, 4, 64):
        if choose("forward", channels, channels, 8, n).side:
            assert choose("forward", channels, channels, 8, n, ready=True).side


def test_weights_that_are_ready_must_still_be_read():
    """At the points there are more of them: too many for the one tile of a small image."""
    assert not choose("forward", 256, 256, 4, 1, ready=True).side
    assert choose("forward", 256, 256, 4, 64, ready=True).side


@every_level
@every_pass
def test_narrow_layers_are_direct(which):
    lanes = _kernels.lanes(np.dtype(F))
    for channels, filters in [(3, 64), (64, 3), (lanes - 1, 64), (64, lanes - 1)]:
        choice = choose(which, channels, filters, 32, 64)
        assert (choice.name, choice.side) == ("direct", 0)
        assert choice.why == f"{channels} to {filters} channels do not fill a vector of {lanes}"


@every_pass
def test_groups_are_as_wide_as_one_of_them(which):
    assert choose(which, 64, 192, 16, 64, groups=64).why.startswith("1 to 3 channels do not fill a vector")
    assert choose(which, 128, 128, 16, 64, groups=2).side == choose(which, 64, 64, 16, 64).side == 4


@every_pass
def test_float64_is_direct_unless_the_layer_says_otherwise(which):
    choice = choose(which, 64, 64, 32, 64, np.float64)
    assert (choice.name, choice.why) == ("direct", "float64 is for precision")
    assert choose(which, 64, 64, 32, 64, np.float64, "winograd").side in (2, 4)


@every_pass
@pytest.mark.parametrize(
    ("slide", "why"),
    [
        ((7, 1, 3), "a kernel of 7x7, not 1x3, 1x5, 3x3 or 5x5"),
        (((3, 5), 1, 1), "a kernel of 3x5, not 1x3, 1x5, 3x3 or 5x5"),
        (((3, 1), 1, 0), "a kernel of 3x1, not 1x3, 1x5, 3x3 or 5x5"),
        ((1,), "a kernel of 1x1, not 1x3, 1x5, 3x3 or 5x5"),
        ((3, 2, 1), "a stride"),
        ((3, (1, 2), 1), "a stride"),
        ((5, 2, 2), "a stride"),
        ((3, 1, 1, 2), "a dilation"),
        ((3, 1, 1, (2, 1)), "a dilation"),
        ((5, 1, 4, 2), "a dilation"),
    ],
)
def test_other_kernels_are_direct(which, slide, why):
    choice = choose(which, 64, 64, 32, 64, slide=slide)
    assert (choice.name, choice.why, choice.side) == ("direct", why, 0)


@every_pass
def test_signals_have_tiles_in_one_dimension(which):
    """So have images with a kernel that is one pixel high."""
    for kernel, tile in [(3, 4), (5, 2)]:
        choice = choose(which, 64, 64, (128,), 64, slide=(kernel, 1, kernel // 2))
        assert (choice.name, choice.side) == (f"F({tile}, {kernel})", tile)
        image = choose(which, 64, 64, (2, 128), 32, slide=((1, kernel), 1, (0, kernel // 2)))
        assert (image.name, image.side) == (f"F(1x{tile}, 1x{kernel})", tile)
        assert image.why.replace("1x", "") == choice.why  # as many lines, as much work
    assert choose(which, 16, 16, (128,), 64).name == "direct"
    assert choose(which, 64, 64, (128,), 64, slide=(7, 1, 3)).why == "a kernel of 7, not 3 or 5"
    assert choose(which, 64, 64, (128,), 64, slide=(3, 2, 1)).why == "a stride"


@every_pass
@pytest.mark.parametrize("algorithm", ["direct", "im2col"])
def test_what_the_layer_says_is_done(which, algorithm):
    choice = choose(which, 64, 64, 32, 64, algorithm=algorithm)
    assert (choice.name, choice.why, choice.side) == (algorithm, "as the layer says", 0)


@every_pass
@pytest.mark.parametrize(("channels", "size", "n"), [(1, 1, 0), (1, 1, 1), (3, 5, 1), (128, 8, 1), (1024, 2, 1)])
def test_a_layer_may_insist_on_winograd(which, channels, size, n):
    choice = choose(which, channels, channels, size, n, algorithm="winograd")
    assert choice.side in (2, 4)
    assert choice.why.startswith("as the layer says; cost of direct 1; F(4x4, 3x3) ")
    choice = choose(which, channels, channels, size, n, algorithm="winograd", slide=(5, 1, 2))
    assert (choice.name, choice.side) == ("F(2x2, 5x5)", 2)
    assert choice.why.startswith("as the layer says; cost of direct 1; F(2x2, 5x5) ")


@every_pass
def test_weights_too_large_for_the_cache_are_direct(which):
    assert choose(which, 1024, 1024, 16, 64).name == "direct"
    assert choose(which, 1024, 1024, 16, 64, slide=(5, 1, 2)).name == "direct"


@every_pass
def test_a_batch_of_none_is_direct(which):
    assert choose(which, 64, 64, 32, 0).name == "direct"


def test_the_number_of_threads_does_not_matter():
    found = []
    for threads in (1, 2, 3, 7):
        cl.set_num_threads(threads)
        kernels.choice._choose.cache_clear()  # what is remembered would hide it
        found.append(
            [
                choose(which, c, f, size, n, slide=(kernel, 1, kernel // 2))
                for which in kernels.PASSES
                for kernel in (3, 5)
                for c, f in [(16, 16), (32, 64), (128, 128)]
                for size in (4, 7, 14, 32)
                for n in (1, 3, 16, 128)
            ]
        )
    assert found[1:] == found[:1] * 3
    assert {choice.name for choice in found[0]} >= {"direct", "F(4x4, 3x3)", "F(2x2, 5x5)"}


def test_each_choice_gives_its_costs():
    why = choose("forward", 64, 64, 32, 64).why
    assert why.startswith("cost of direct 1; F(4x4, 3x3) 0.")
    assert ", F(2x2, 3x3) 0." in why
    assert choose("forward", 128, 128, 8, 1).why.startswith("cost 1; F(4x4, 3x3) ")


# The plain kernels


@every_level
@pytest.mark.parametrize(
    ("slide", "channels", "filters", "last", "one_pass"),
    [
        ((3, 1, 1), 64, 128, (1,), True),
        ((3, 2, 1), 16, 16, (1,), True),
        ((7, 1, 3), 32, 17, (1,), True),
        (((4, 3), 1, 0), 32, 17, (1,), True),
        ((3, 1, 1), 512, 512, (1,), False),  # the weights leave the cache
        ((3, 1, 1), 3, 64, (1,), False),
        ((3, 1, 1), 64, 1, (1,), False),
        ((4, 1, 1), 64, 64, (1,), False),
        ((5, 2, 2), 64, 64, (1,), False),
        ((3, (1, 2), 1), 64, 64, (1,), False),
        ((3, 1, 2, 2), 64, 64, (1,), False),
        ((3, 1, 1), 64, 64, (1, 2), False),
        ((3, 1, 1), 64, 64, (3, 1, 1), False),
    ],
)
def test_a_depthwise_and_a_1x1_convolution_are_one_pass(slide, channels, filters, last, one_pass):
    first = window((12, 10, channels), *slide)
    place = window((*first.out, channels), *last)
    W, V = np.ones((*first.kernel, 1, channels), F), np.ones((*place.kernel, channels, filters), F)
    assert separable(first, W.shape, place, V.shape, F) is one_pass
    if one_pass:  # the kernel can
        program = kernels.Program(F)
        ready = _kernels.PackedConv(V, None, place)
        x = program.input((2, 12, 10, channels))
        y = program.separable(x, (W, None, first, False, None), (V, None, place, False, ready))
        assert y.shape == (2, *place.out, filters)


@every_pass
def test_one_filter_per_channel_is_depthwise(which):
    choice = choose(which, 24, 24, 16, 64, groups=24)
    assert (choice.name, choice.why) == ("depthwise", "one filter per channel")
    assert choose(which, 24, 48, 16, 64, groups=24).name == "direct"
    assert choose(which, 1, 1, 16, 64).name == "direct"


@every_level
@pytest.mark.parametrize("convolution", [False, True])
def test_a_product_with_a_large_matrix(convolution):
    """Affine, and a convolution of 1 x 1."""

    def named(which, n, d, m):
        if convolution:
            return choose(which, d, m, (1, n), 1, algorithm="direct", slide=(1,)).name
        return kernels.choose_affine(which, n, (d, m), np.dtype(F)).name

    cl.set_num_threads(2)
    assert named("forward", 64, 6400, 64) == "stretched"
    assert named("forward", 64, 64, 6400) == "direct"
    assert named("input_grad", 4, 6400, 64) == "dots"
    assert named("input_grad", 5, 6400, 64) == "turned"
    assert named("input_grad", 64, 6400, 10) == "turned"
    assert named("input_grad", 65, 6400, 10) == "direct"
    assert named("input_grad", 64, 32, 64) == "direct"
    assert named("weight_grad", 4, 6400, 64) == "direct"


def test_what_is_packed_is_used():
    assert choose("forward", 6400, 64, 1, 64, slide=(1,), ready=True).name == "direct"
    assert choose("input_grad", 6400, 64, 1, 4, slide=(1,), ready=True).name == "dots"


@every_level
def test_a_few_signals_stand_upright():
    cl.set_num_threads(2)
    for which in ("forward", "input_grad"):
        assert choose(which, 64, 64, (128,), 15, algorithm="direct").upright
        assert not choose(which, 64, 64, (128,), 16, algorithm="direct").upright
        assert not choose(which, 64, 64, (128, 2), 15, algorithm="direct").upright
    assert not choose("forward", 64, 64, (128,), 15, algorithm="direct", ready=True).upright


def test_the_door_refuses_a_kernel_that_cannot():
    x, W = np.ones((2, 9, 9, 8), F), np.ones((3, 3, 8, 4), F)
    place = window((9, 9, 8), 3)
    for kernel in ("depthwise", "stretched", "winograd"):
        with pytest.raises(ValueError, match=f"the kernel '{kernel}' cannot compute this convolution"):
            _kernels.conv_forward(x, W, None, place, kernel=kernel)
    with pytest.raises(ValueError, match="only a signal, or an image of one row, can stand upright"):
        _kernels.conv_forward(x, W, None, place, upright=True)
    for kernel in ("turned", "dots"):
        with pytest.raises(ValueError, match=f"the kernel '{kernel}' cannot compute this convolution"):
            _kernels.conv_input_grad(np.ones((2, 7, 7, 4), F), W, place, kernel=kernel)
    with pytest.raises(ValueError, match="the kernel 'stretched' cannot compute this convolution"):
        _kernels.affine(np.ones((3, 8), F), np.ones((8, 1), F), None, kernel="stretched")

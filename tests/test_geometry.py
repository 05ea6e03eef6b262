"""Sizes and padding, by hand and against a walk of the window; every refusal with its words."""

import itertools
import re

import numpy as np
import pytest

from cnnlayers import geometry
from cnnlayers.geometry import Axis, window

HUGE = [2**31, 2**32 + 1, 2**62, 2**63 - 1, 2**63, 2**64 + 3, 10**30]


def pads(w):
    return tuple((a.before, a.after) for a in w.axes)


# By hand


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "dilation", "out"),
    [
        (32, 5, 1, 0, 1, 28),
        (32, 5, 1, 2, 1, 32),
        (28, 2, 2, 0, 1, 14),
        (7, 3, 2, 0, 1, 3),
        (8, 3, 2, 0, 1, 3),  # the last pixel is left over
        (8, 3, 3, 0, 1, 2),
        (224, 7, 2, 3, 1, 112),
        (10, 3, 1, 0, 2, 6),  # reads 0, 2, 4: covers 5
        (5, 1, 1, 0, 7, 5),  # one tap: no hole to widen
        (4, 4, 9, 0, 1, 1),  # a stride past the end
        (1, 1, 1, 0, 1, 1),
        (1, 3, 1, 1, 1, 1),
        (2, 2, 1, 5, 1, 11),  # padding wider than the kernel
    ],
)
def test_sizes_by_hand(size, kernel, stride, padding, dilation, out):
    assert window((size, 3), kernel, stride, padding, dilation).out == (out,)


def test_the_axes_of_an_image_do_not_mix():
    w = window((9, 20, 3), (2, 5), (3, 2), ((1, 0), (0, 4)), (1, 2))
    # height: 9 + 1 padded, span 2, stride 3: starts 0, 3, 6 (and 8 / 3 floors).  width: 20 + 4, span 9, stride 2: 8
    assert w.out == (3, 8)
    assert w.kernel == (2, 5)
    assert pads(w) == ((1, 0), (0, 4))
    assert (w.rank, w.channels) == (2, 3)


@pytest.mark.parametrize(
    ("padding", "expected"),
    [
        (0, ((0, 0), (0, 0))),
        (2, ((2, 2), (2, 2))),
        (np.int64(2), ((2, 2), (2, 2))),
        ((1, 2), ((1, 1), (2, 2))),
        ([1, 2], ((1, 1), (2, 2))),
        (np.array([1, 2]), ((1, 1), (2, 2))),
        (((1, 0), (0, 3)), ((1, 0), (0, 3))),
        ([[1, 0], [0, 3]], ((1, 0), (0, 3))),
        ((1, (0, 3)), ((1, 1), (0, 3))),
        ("valid", ((0, 0), (0, 0))),
        ("same", ((1, 1), (1, 2))),
    ],
)
def test_padding_in_all_its_forms(padding, expected):
    assert pads(window((8, 8, 1), (3, 4), padding=padding)) == expected


def test_padding_of_a_signal_takes_a_pair_in_a_list():
    assert pads(window((8, 1), 3, padding=[(2, 1)])) == ((2, 1),)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation", "expected"),
    [
        (8, 3, 1, 1, (1, 1)),
        (8, 2, 1, 1, (0, 1)),  # the odd pixel goes after
        (8, 4, 1, 1, (1, 2)),
        (8, 3, 2, 1, (0, 1)),
        (7, 3, 2, 1, (1, 1)),
        (8, 3, 1, 2, (2, 2)),
        (8, 1, 3, 1, (0, 0)),
        (8, 2, 5, 1, (0, 0)),  # a stride that skips pixels needs no padding
        (1, 5, 1, 1, (2, 2)),
    ],
)
def test_same_by_hand(size, kernel, stride, dilation, expected):
    w = window((size, 1), kernel, stride, "same", dilation)
    assert pads(w) == (expected,)
    assert w.out == (-(-size // stride),)


def test_numpy_integers_and_lists_are_taken():
    kernel, stride = np.array([3, 2], np.uint8), [np.int32(2), 1]
    assert window((np.int64(9), 8, 1), kernel, stride).out == (4, 7)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "floor", "ceil"),
    [
        (5, 2, 2, 0, 2, 3),  # a last window hangs over the end
        (6, 2, 2, 0, 3, 3),  # nothing is left over
        (4, 2, 3, 0, 1, 2),
        (3, 2, 3, 0, 1, 1),  # the next would start past the end
        (5, 1, 3, 0, 2, 2),
        (2, 1, 3, (1, 1), 2, 1),  # the second starts in the padding after: it holds nothing
        (4, 3, 3, (1, 1), 2, 2),
        (4, 2, 1, (0, 5), 8, 4),  # several would start in the padding after
        (2, 2, 9, 0, 1, 1),
    ],
)
def test_ceil_mode_by_hand(size, kernel, stride, padding, floor, ceil):
    padding = [padding] if isinstance(padding, tuple) else padding
    assert window((size, 1), kernel, stride, padding).out == (floor,)
    assert window((size, 1), kernel, stride, padding, ceil=True).out == (ceil,)


def test_the_only_window_of_ceil_mode_may_hang_over_the_end():
    for kernel, stride, dilation in [(3, 2, 1), (4, 3, 1), (2, 9, 3), (6, 5, 1)]:
        assert window((2, 1), kernel, stride, dilation=dilation, ceil=True).out == (1,)
        with pytest.raises(ValueError, match="does not fit"):
            window((2, 1), kernel, stride, dilation=dilation)
    for kernel, stride in [(3, 1), (4, 2), (7, 5)]:  # by a stride or more
        with pytest.raises(ValueError, match=f"a {kernel} kernel does not fit in a 2 signal padded by 0"):
            window((2, 1), kernel, stride, ceil=True)


# Against a walk of the window


def walked(axis):
    """The starts of the window, found by walking (pixel 0 is the input's first)."""
    starts = range(-axis.before, axis.size + axis.after, axis.stride)
    inside = [s for s in starts if s + axis.span <= axis.size + axis.after]
    if axis.ceil:
        if inside[-1] + axis.span < axis.size + axis.after:
            inside.append(inside[-1] + axis.stride)
        inside = [s for s in inside if s < axis.size]
    return inside


def every_axis():
    grid = itertools.product([1, 2, 5], [1, 2, 3, 4], [1, 2, 5], [0, 1, 6], [0, 2, 7], [1, 2, 6], [False, True])
    axes = itertools.starmap(Axis, grid)
    return [a for a in axes if a.span <= a.size + a.before + a.after]


def test_axes_against_a_walk():
    axes = every_axis()
    assert len(axes) > 1000
    for a in axes:
        starts = walked(a)
        pixels = [[s + t * a.dilation for t in range(a.kernel)] for s in starts]
        held = [[p for p in ps if 0 <= p < a.size] for ps in pixels]
        assert a.out == len(starts), a
        assert a.misses() == any(not h for h in held), a
        assert a.counts(False) == [len(h) for h in held], a
        assert a.counts(True) == [sum(p < a.size + a.after for p in ps) for ps in pixels], a


def test_taps_and_reach_against_a_walk():
    for a in every_axis():
        met = {}
        for o, start in enumerate(walked(a)):
            for tap in range(a.kernel):
                pixel = start + tap * a.dilation
                if 0 <= pixel < a.size:
                    met.setdefault(tap, []).append((o, pixel))
        assert set(met) <= set(a.taps), a
        assert all(0 <= tap < a.kernel for tap in a.taps), a
        for tap in range(a.kernel):
            outputs, pixels = a.reach(tap)
            pairs = list(zip(range(a.out)[outputs], range(a.size)[pixels], strict=True))
            assert pairs == met.get(tap, []), (a, tap)


def test_a_signal_is_an_image_one_pixel_high():
    w = window((9, 4), 3, 2, [(1, 0)], 2)
    assert w.as_image().axes == (Axis(1, 1), *w.axes)
    assert w.as_image().out == (1, *w.out)
    assert w.as_image().as_image() == w.as_image()


# Errors


@pytest.mark.parametrize("name", ["kernel", "stride", "dilation"])
@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (0, ValueError, "must be 1 or more; got 0"),
        (-2, ValueError, "must be 1 or more; got -2"),
        ((3, 0), ValueError, "must be 1 or more; got 0"),
        (True, TypeError, "must be an int; got True"),
        (np.True_, TypeError, "must be an int; got"),
        ((True, 3), TypeError, "must be an int; got True"),
        (3.0, TypeError, r"must be an int; got 3\.0"),
        (np.float32(3), TypeError, "must be an int; got"),
        ((3, 2.5), TypeError, r"must be an int; got 2\.5"),
        ("3", TypeError, "must be an int; got '3'"),
        (None, TypeError, "must be an int; got None"),
        ((3,), ValueError, r"must be an int or 2 ints, one per spatial axis; got \(3,\)"),
        ((3, 3, 3), ValueError, r"must be an int or 2 ints, one per spatial axis; got \(3, 3, 3\)"),
        ((), ValueError, r"must be an int or 2 ints, one per spatial axis; got \(\)"),
    ],
)
def test_bad_kernels_strides_and_dilations(name, value, kind, message):
    options = {"kernel": 3} | {name: value}
    with pytest.raises(kind, match=f"somebody: {name} {message}"):
        window((8, 8, 1), **options, who="somebody")


@pytest.mark.parametrize(
    ("padding", "kind", "message"),
    [
        (-1, ValueError, "padding must be 0 or more; got -1"),
        ((1, -1), ValueError, "padding must be 0 or more; got -1"),
        (((1, 1), (1, -1)), ValueError, "padding must be 0 or more; got -1"),
        (True, TypeError, "padding must be an int; got True"),
        (1.0, TypeError, r"padding must be an int; got 1\.0"),
        (((1, 1), (1, 1.5)), TypeError, r"padding must be an int; got 1\.5"),
        (None, TypeError, "padding must be an int; got None"),
        ("full", ValueError, 'padding must be "valid", "same" or numbers; got \'full\''),
        ((1,), ValueError, r"padding must be one int or one \(before, after\) pair for each of 2 axes; got \(1,\)"),
        ((1, 1, 1), ValueError, r"padding must be one int or .* for each of 2 axes; got"),
        (((1, 1),), ValueError, r"padding must be one int or .* for each of 2 axes; got"),
        (((1, 1), (1, 1, 1)), ValueError, r"padding needs a \(before, after\) pair per axis; got"),
        (((1, 1), "same"), ValueError, r"padding needs a \(before, after\) pair per axis; got"),
    ],
)
def test_bad_padding(padding, kind, message):
    with pytest.raises(kind, match=f"somebody: {message}"):
        window((8, 8, 1), 3, padding=padding, who="somebody")


@pytest.mark.parametrize(
    ("shape", "kind", "message"),
    [
        ((784,), ValueError, r"Conv\(16, 3\) needs images \(N, H, W, C\) or signals \(N, L, C\); got shape \(N, 784\)"),
        ((4, 4, 4, 3), ValueError, r"got shape \(N, 4, 4, 4, 3\)"),
        ((), ValueError, r"needs an input with at least one axis besides the batch; got shape \(N,\)"),
        ((0, 4, 3), ValueError, r"needs at least one pixel and one channel; got shape \(N, 0, 4, 3\)"),
        ((4, 4, 0), ValueError, r"needs at least one pixel and one channel; got shape \(N, 4, 4, 0\)"),
        ((4, -4, 3), ValueError, "a size must be 0 or more; got -4"),
        ((4, 4.0, 3), TypeError, r"a size must be an int; got 4\.0"),
        ((4, True, 3), TypeError, "a size must be an int; got True"),
        (8, TypeError, r"a shape is a tuple of integers, such as \(32, 32, 3\); got 8"),
        ("abc", TypeError, "a shape is a tuple of integers"),
        (None, TypeError, "a shape is a tuple of integers"),
    ],
)
def test_bad_shapes(shape, kind, message):
    with pytest.raises(kind, match=message):
        window(shape, 3, who="Conv(16, 3)")


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((4, 8, 1), {"kernel": 5}, "Conv(16, 5): a 5x5 kernel does not fit in a 4x8 image padded by 0"),
        (
            (4, 8, 1),
            {"kernel": (7, 1), "padding": (1, 0)},
            "a 7x1 kernel does not fit in a 4x8 image padded by ((1, 1),",
        ),
        ((4, 1), {"kernel": 6, "padding": [(0, 1)]}, "a 6 kernel does not fit in a 4 signal padded by ((0, 1),)"),
        ((4, 4, 1), {"kernel": 3, "dilation": 2}, "a 3x3 kernel (dilation 2x2: 5x5) does not fit in a 4x4 image"),
    ],
)
def test_kernels_that_do_not_fit(shape, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        window(shape, **options, who="Conv(16, 5)")


@pytest.mark.parametrize("huge", HUGE)
def test_kernels_too_large_do_not_fit(huge):
    with pytest.raises(ValueError, match="kernel does not fit in a 4x4 image padded by 1"):
        window((4, 4, 1), huge, padding=1)


@pytest.mark.parametrize("huge", [2**48, *HUGE[2:]])
@pytest.mark.parametrize("side", [(0, 1), (1, 0), (1, 1)])
def test_padding_that_cannot_be_is_refused_whatever_the_stride(huge, side):
    padding = [[one * huge for one in side]]
    with pytest.raises(ValueError, match=r"somebody: a padded input of shape .* would need more than 2\*\*47 bytes"):
        window((4, 1), 1, stride=huge, padding=padding, who="somebody")


@pytest.mark.parametrize("huge", HUGE[2:])
def test_same_padding_of_a_kernel_that_cannot_be_is_refused(huge):
    with pytest.raises(ValueError, match=r"window: a padded input of shape .* would need more than 2\*\*47 bytes"):
        window((4, 4, 1), huge, padding="same")


@pytest.mark.parametrize("huge", [2**31, 2**32, 2**40])
def test_padding_that_cannot_be_on_both_axes_is_refused(huge):
    with pytest.raises(ValueError, match=r"somebody: a padded input of shape .* would need more than 2\*\*47 bytes"):
        window((4, 4, 1), 3, padding=huge, who="somebody")


@pytest.mark.parametrize("huge", [5, *HUGE])
@pytest.mark.parametrize("ceil", [False, True])
def test_a_stride_past_the_end_is_one_position_and_one_tap_has_no_holes(huge, ceil):
    assert window((4, 4, 1), 2, stride=huge, ceil=ceil).out == (1, 1)
    assert window((4, 4, 1), 1, dilation=huge, ceil=ceil).out == (4, 4)


def test_misses_answers_at_once_however_many_positions_there_are():
    assert not Axis(1, 2**40, 1, 2**40 - 1, 2**40 - 1).misses()
    assert Axis(1, 2**40, 1, 2**40, 0).misses()
    assert not Axis(2**40, 3, 2).misses()
    assert not Axis(2**40, 2, 1, 2**39, 2**39, 2**40).misses()
    assert Axis(2**40, 2, 1, 2**40, 2**40, 2**40 + 1).misses()
    assert Axis(2, 2**20, 1, 2**30, 2**30, 3).misses()  # a pixel of three slips through the holes


def test_words():
    assert geometry.sizes_text((5, 3)) == "5x3"
    assert geometry.padding_text(((1, 1), (1, 1))) == "1"
    assert geometry.padding_text(((1, 0), (1, 1))) == "((1, 0), (1, 1))"

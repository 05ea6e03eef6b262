"""Resize: images and signals of another size."""

import re

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.layers.resample import COORDINATES, ROUNDINGS
from cnnlayers.reference.resize import resize, resize_backward
from tests.layers.common import batch, gradient_for

MODES = ["nearest", "bilinear", "bicubic"]


def ready(*args, shape, **options):
    layer = cl.Resize(*args, **options)
    layer.build(shape, dtype=np.float64)
    return layer


def signal(values, *args, **options):
    """What the layer makes of one signal."""
    x = np.reshape(values, (1, -1, 1))
    return ready(*args, shape=x.shape[1:], **options).forward(x).ravel()


def test_by_hand():
    layer = ready((1, 4), shape=(2, 2, 1))
    x = np.reshape([1.0, 2, 3, 8], (1, 2, 2, 1))
    np.testing.assert_allclose(layer.forward(x).ravel(), [2, 2.75, 4.25, 5])  # the rows' mean, (2, 5), at 4 places
    np.testing.assert_allclose(layer.backward(np.reshape([4.0, 8, 16, 32], (1, 1, 4, 1))).ravel(), [7, 23, 7, 23])


@pytest.mark.parametrize(
    ("options", "y"),
    [
        ({"size": 3}, [1.5, 3.5, 5.5]),
        ({"size": 3, "mode": "nearest"}, [1, 3, 5]),
        ({"size": 4, "mode": "nearest"}, [1, 2, 4, 5]),  # at 0, 1.5, 3, 4.5
        ({"size": 4, "mode": "nearest", "rounding": "ceil"}, [1, 3, 4, 6]),
        ({"size": 4, "mode": "nearest", "rounding": "round_prefer_floor"}, [1, 2, 4, 5]),
        ({"size": 4, "mode": "nearest", "rounding": "round_prefer_ceil"}, [1, 3, 4, 6]),
        ({"size": 3, "coordinates": "align_corners"}, [1, 3.5, 6]),
        ({"size": 3, "coordinates": "asymmetric"}, [1, 3, 5]),
        ({"size": 1, "coordinates": "half_pixel"}, [3.5]),
        ({"size": 1, "coordinates": "pytorch_half_pixel"}, [1]),
        ({"size": 1, "coordinates": "align_corners"}, [1]),
        ({"size": 1, "coordinates": "tf_crop_and_resize", "roi": [(0.2, 0.6)]}, [3]),
        ({"size": 3, "coordinates": "tf_crop_and_resize", "roi": [(0.6, 1.4)], "value": -7}, [4, 6, -7]),
        ({"size": 2, "coordinates": "tf_crop_and_resize", "roi": [(1, 0)]}, [6, 1]),
        ({"scale": 0.4}, [1.75, 4.25]),
        ({"scale": 0.4, "coordinates": "half_pixel_symmetric"}, [2.25, 4.75]),
        ({"size": 2}, [2, 5]),
        ({"size": 2, "antialias": True}, [19 / 9, 44 / 9]),  # pixels -1 to 3 by 1, 2, 3, 2, 1; the first is the second
        ({"size": 2, "antialias": True, "exclude_outside": True}, [18 / 8, 38 / 8]),  # by 2, 3, 2, 1
    ],
)
def test_of_the_numbers_from_1_to_6(options, y):
    np.testing.assert_allclose(signal([1, 2, 3, 4, 5, 6], **options), y, rtol=1e-12)


def test_bicubic_by_hand():
    """Halfway between pixels 1 and 2 the weights are a/8, 1/2 - a/8, 1/2 - a/8, a/8."""
    x = [1, 10, 100, 1000]
    for a in (-0.75, -0.5):
        expected = np.dot([a / 8, 1 / 2 - a / 8, 1 / 2 - a / 8, a / 8], x)
        np.testing.assert_allclose(signal(x, 1, "bicubic", cubic_coeff=a), [expected], rtol=1e-12)
    at_the_end = np.dot([-0.75 / 8 + 1 / 2 + 0.75 / 8, 1 / 2 + 0.75 / 8, -0.75 / 8], x[:3])  # pixel -1 is pixel 0
    options = {"scale": 0.5, "coordinates": "half_pixel"}
    np.testing.assert_allclose(signal(x, mode="bicubic", **options)[0], at_the_end, rtol=1e-12)
    rest = np.array([1 / 2 + 0.75 / 8, 1 / 2 + 0.75 / 8, -0.75 / 8])  # without pixel -1
    without = np.dot(rest / rest.sum(), x[:3])
    np.testing.assert_allclose(signal(x, mode="bicubic", exclude_outside=True, **options)[0], without, rtol=1e-12)


GRID = [
    (mode, coordinates, rounding, exclude, antialias)
    for mode in MODES
    for coordinates in COORDINATES
    for rounding in (ROUNDINGS if mode == "nearest" else ["floor"])
    for exclude in (False, True)
    for antialias in ((False,) if mode == "nearest" else (False, True))
    if not (mode == "nearest" and exclude)
]


@pytest.mark.parametrize(("mode", "coordinates", "rounding", "exclude", "antialias"), GRID)
def test_against_the_reference(mode, coordinates, rounding, exclude, antialias):
    """Smaller and larger, by a size, a scale and both; the sizes are such that no place is near a tie."""
    for sizes in ({"size": (11, 3)}, {"scale": (0.43, 1.71)}, {"size": (3, 9), "scale": (0.61, 1.37)}, {"size": 1}):
        roi = ((0.13, 0.91), (1.21, -0.17)) if coordinates == "tf_crop_and_resize" else None
        layer = ready(
            mode=mode,
            coordinates=coordinates,
            rounding=rounding,
            cubic_coeff=-0.6,
            exclude_outside=exclude,
            antialias=antialias,
            roi=roi,
            value=0.7,
            shape=(7, 5, 2),
            **sizes,
        )
        options, x = layer.config(), batch(2, 7, 5, 2)
        y = layer.forward(x)
        np.testing.assert_allclose(y, resize(x, **options), rtol=1e-11, atol=1e-11)
        dy = gradient_for(y)
        del options["value"]
        np.testing.assert_allclose(layer.backward(dy), resize_backward(x, dy, **options), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(4, 3, 2), (5, 1), (1, 1, 3)])
def test_backward_is_the_transpose(mode, shape):
    layer = ready(scale=2.3, mode=mode, shape=shape)
    x = batch(2, *shape)
    y = layer.forward(x)
    dy = gradient_for(y)
    assert np.vdot(layer.backward(dy), x) == pytest.approx(np.vdot(dy, y))


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("factor", [1, 2, 3, 5])
def test_whole_factors_are_those_of_upsample(mode, factor):
    x = batch(2, 4, 3, 2)
    expected = cl.Upsample(factor, mode)
    expected.build((4, 3, 2), dtype=np.float64)
    np.testing.assert_allclose(ready(scale=factor, mode=mode, shape=(4, 3, 2)).forward(x), expected.forward(x))


@pytest.mark.parametrize("coordinates", [c for c in COORDINATES if c != "tf_crop_and_resize"])
@pytest.mark.parametrize("mode", MODES)
def test_the_same_size_is_the_same_image(mode, coordinates):
    x = batch(2, 4, 3, 2)
    y = ready((4, 3), mode, coordinates=coordinates, shape=(4, 3, 2)).forward(x)
    np.testing.assert_array_equal(y, x)
    assert not np.shares_memory(y, x)


@pytest.mark.parametrize(("n", "m"), [(n, m) for n in range(1, 41) for m in (1, 2, 3, 7, 25, 49)])
def test_nearest_is_exact_where_a_place_is_a_whole_number(n, m):
    np.testing.assert_array_equal(signal(range(n), m, "nearest"), [i * n // m for i in range(m)])


@pytest.mark.parametrize("mode", MODES)
def test_a_constant_stays_constant(mode):
    options = {"antialias": True} if mode != "nearest" else {}
    for size in ((3, 2), (9, 11)):
        y = ready(size, mode, shape=(5, 7, 1), **options).forward(np.full((1, 5, 7, 1), 3.0))
        np.testing.assert_allclose(y, 3, rtol=1e-12)


def test_nan_stays_where_it_is_read():
    x = np.arange(8.0)
    x[2] = np.nan
    np.testing.assert_array_equal(np.isnan(signal(x, 4)), [False, True, False, False])
    layer = ready(16, shape=(8, 1))
    layer.forward(np.zeros((1, 8, 1)))
    dy = np.ones((1, 16, 1))
    dy[0, 0] = np.nan  # of an output that reads the first pixel alone
    np.testing.assert_array_equal(np.isnan(layer.backward(dy).ravel()), [True] + [False] * 7)


@pytest.mark.parametrize("mode", MODES)
def test_huge_numbers_do_not_warn(mode):
    layer = cl.Resize(5, mode)
    assert not np.isnan(layer.forward(np.full((1, 3, 2), 1e38, np.float32))).any()
    layer.backward(np.full((1, 5, 2), 3e38, np.float32))


def test_a_part_far_outside_is_the_value():
    layer = cl.Resize(3, coordinates="tf_crop_and_resize", roi=[(-1e308, 1e308)], value=2)
    np.testing.assert_array_equal(layer.forward(np.ones((1, 9, 1))).ravel(), [2, 1, 2])
    np.testing.assert_array_equal(layer.backward(np.ones((1, 3, 1))).ravel(), [1] + [0] * 8)


def test_other_sizes_come_in():
    layer = ready((4, 6), shape=(3, 3, 2))
    assert layer.forward(batch(2, 9, 5, 2)).shape == (2, 4, 6, 2)
    assert ready(scale=0.5, shape=(4, 2)).forward(batch(2, 7, 2)).shape == (2, 3, 2)


def test_a_distribution_at_each_place_stays_one():
    for end, kind in ((cl.Resize(4), "softmax"), (cl.Resize(4, "bicubic"), "raw")):
        net = cl.Sequential([cl.Conv(3, 1), cl.Softmax(), end], (2, 2, 1), rng=0)
        probabilities = net.predict_proba(batch(2, 2, 2, 1))
        np.testing.assert_allclose(probabilities.sum(axis=-1), 1, rtol=1e-5)
        assert (kind == "softmax") == np.array_equal(probabilities, net.predict(batch(2, 2, 2, 1)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "Resize needs a size, a scale or both; got neither"),
        ({"size": 0}, "Resize: size must be"),
        ({"size": (2, 2, 2)}, "Resize: size must be an int, or one int per spatial axis"),
        ({"size": 2.5}, "Resize: size must be an int"),
        ({"scale": 0}, "Resize: scale must be"),
        ({"scale": np.inf}, "Resize: scale must be"),
        ({"scale": "2"}, "Resize: scale must be a number"),
        ({"scale": (1, 2, 3)}, "Resize: scale must be a number, or one number per spatial axis; got (1, 2, 3)"),
        ({"size": 2, "mode": "cubic"}, "mode must be one of 'nearest', 'bilinear', 'bicubic'; got 'cubic'"),
        ({"size": 2, "coordinates": "corners"}, "coordinates must be one of 'half_pixel'"),
        ({"size": 2, "rounding": ["floor"]}, "rounding must be one of 'floor', 'ceil'"),
        ({"size": 2, "antialias": 1}, "antialias must be True or False; got 1"),
        ({"size": 2, "exclude_outside": None}, "exclude_outside must be True or False"),
        ({"size": 2, "mode": "nearest", "antialias": True}, "antialias=True needs mode 'bilinear' or 'bicubic'"),
        ({"size": 2, "cubic_coeff": None}, "cubic_coeff must be a number"),
        ({"size": 2, "value": np.nan}, "value must be"),
        ({"size": 2, "roi": [(0, 1)]}, "roi goes with coordinates='tf_crop_and_resize'"),
        ({"size": 2, "coordinates": "tf_crop_and_resize"}, "roi goes with coordinates='tf_crop_and_resize'"),
        ({"size": 2, "roi": (0, 1)}, "roi must be a (start, end) pair per spatial axis; got (0, 1)"),
        ({"size": 2, "roi": [(0, 1, 2)]}, "roi must be a (start, end) pair per spatial axis"),
    ],
)
def test_what_is_no_option(options, message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        cl.Resize(**options)


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({"size": 2}, (4,), "Resize needs images (N, H, W, C) or signals (N, L, C); got shape (N, 4)"),
        ({"size": 2}, (0, 4), "Resize needs at least one pixel and one channel"),
        ({"size": (2, 3)}, (4, 2), "Resize: size must be an int or 1 ints, one per spatial axis"),
        ({"scale": (2, 3)}, (4, 2), "Resize: scale needs one entry for each of 1 spatial axes; got (2.0, 3.0)"),
        ({"scale": 0.2}, (4, 2), "Resize(scale=0.2) would leave no pixel; got shape (N, 4, 2)"),
        (
            {"scale": 1e-9, "size": 2},
            (4, 2),
            "Resize(size=2, scale=1e-09) makes 4e-09 pixels of 4; got shape (N, 4, 2)",
        ),
        ({"scale": 1e308}, (9, 2), "Resize(scale=1e+308) makes inf pixels of 9"),
        ({"scale": 1e200}, (9, 2), "would need more than 2**47 bytes"),
        ({"size": 1 << 50}, (4, 2), "would need more than 2**47 bytes"),
    ],
)
def test_what_does_not_fit(options, shape, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        cl.Resize(**options).build(shape)

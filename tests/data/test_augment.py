"""Augmentation: against plain loops; and what is drawn depends on seed, epoch and sample alone."""

import json

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.data.augment import (
    Augmentation,
    ColorJitter,
    Compose,
    Cutout,
    HorizontalFlip,
    Mixup,
    RandomAffine,
    RandomCrop,
    standard,
)
from cnnlayers.data.draws import Draws, child_seed
from cnnlayers.files import checkpoint

SEED = {"seed": 3, "epoch": 2}
DTYPES = [np.uint8, np.float32, np.float64]
EVERY = {
    "crop": RandomCrop(3, fill=7),
    "reflecting crop": RandomCrop(3, fill="reflect"),
    "flip": HorizontalFlip(),
    "alternating flip": HorizontalFlip(alternate=True),
    "cutout": Cutout(3, fill=9),
    "affine": RandomAffine(25, 0.2, fill=4),
    "jitter": ColorJitter(0.5, 0.4),
    "reflecting pass": Compose([RandomCrop(5, "reflect"), HorizontalFlip(), Cutout(4)]),
    "all": Compose([RandomCrop(2), HorizontalFlip(), Cutout(4), RandomAffine(), ColorJitter()]),
}


def images(n=12, h=7, w=6, c=3, dtype=np.uint8, seed=0):
    x = np.random.default_rng(seed).integers(0, 256, (n, h, w, c))
    return x.astype(dtype)


def indices(n=12):
    return np.random.default_rng(5).permutation(1000)[:n]


def loop(x, pixel):
    """An image for each one: y[i, j] = pixel(image number, i, j)."""
    y = np.empty_like(x)
    for n in range(len(x)):
        for i in range(x.shape[1]):
            for j in range(x.shape[2]):
                y[n, i, j] = pixel(n, i, j)
    return y


def at(x, n, i, j, fill):
    """A pixel, or fill outside of the image."""
    return x[n, i, j] if 0 <= i < x.shape[1] and 0 <= j < x.shape[2] else fill


# Each against its definition


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 2, 9])
def test_crop(dtype, channels, padding):
    x = images(c=channels, dtype=dtype)
    draws = Draws(3, 2, indices())
    down, along = (draws.integers(k, 2 * padding + 1) - padding for k in (0, 1))
    expected = loop(x, lambda n, i, j: at(x, n, i + down[n], j + along[n], 5))
    np.testing.assert_array_equal(RandomCrop(padding, fill=5)(x, indices=indices(), **SEED), expected)


def padded_and_cut(x, padding, down, along):
    """The same by NumPy: the image, padded by its reflection, and its size cut out of that."""
    h, w = x.shape[1:3]
    around = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    padded = np.pad(x, around, mode="reflect")
    corners = zip(padding + down, padding + along, strict=True)
    return np.stack([padded[n, i : i + h, j : j + w] for n, (i, j) in enumerate(corners)])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 2, 5])
def test_crop_that_reflects(dtype, channels, padding):
    x, numbers = images(60, c=channels, dtype=dtype), indices(60)
    draws = Draws(3, 2, numbers)
    down, along = (draws.integers(k, 2 * padding + 1) - padding for k in (0, 1))
    assert (along.min(), along.max()) == (down.min(), down.max()) == (-padding, padding)
    y = RandomCrop(padding, fill="reflect")(x, indices=numbers, **SEED)
    np.testing.assert_array_equal(y, padded_and_cut(x, padding, down, along))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("out", [None, "float32", "float64"])
def test_crop_that_reflects_flip_and_hole_in_one_pass(dtype, out):
    """Cropped, then mirrored, then cut out, by NumPy; from bytes to bytes or floats, from floats to floats."""
    x, numbers = images(60, dtype=dtype), indices(60)
    crop, flip, hole = (Draws(child_seed(3, k), 2, numbers) for k in range(3))
    expected = padded_and_cut(x, 5, *(crop.integers(k, 11) - 5 for k in (0, 1)))
    mirrored = flip.uniform(0) < 0.5
    assert 10 < mirrored.sum() < 50
    expected[mirrored] = expected[mirrored, :, ::-1]
    for n, (i, j) in enumerate(zip(hole.integers(0, 7) - 1, hole.integers(1, 6) - 1, strict=True)):
        expected[n, max(i, 0) : i + 2, max(j, 0) : j + 2] = 9
    augment = Compose([RandomCrop(5, fill="reflect"), HorizontalFlip(), Cutout(2, fill=9)], dtype=out)
    y = augment(x, indices=numbers, **SEED)
    assert y.dtype == (out or dtype)
    np.testing.assert_array_equal(y, expected)


def test_what_has_no_reflection():
    crop = RandomCrop(6, fill="reflect")
    with pytest.raises(
        ValueError, match=r"padding=6, fill='reflect'\): an image must be larger .* 7 x 6, .* at most 5"
    ):
        crop(images(), indices=indices(), **SEED)
    with pytest.raises(ValueError, match="an image must be larger"):
        Compose([HorizontalFlip(), crop])(images(h=6, w=9), indices=indices(), **SEED)
    x = images(h=1, w=1)
    np.testing.assert_array_equal(RandomCrop(0, fill="reflect")(x, indices=indices(), **SEED), x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_flip(dtype, channels):
    x = images(c=channels, dtype=dtype)
    mirrored = Draws(3, 2, indices()).uniform(0) < 0.4
    assert 0 < mirrored.sum() < 12
    expected = np.where(mirrored[:, None, None, None], x[:, :, ::-1], x)
    np.testing.assert_array_equal(HorizontalFlip(0.4)(x, indices=indices(), **SEED), expected)


def mirrored_in(augment, epoch, seed=3, numbers=range(2000)):
    """Which samples an augmentation mirrors in an epoch."""
    numbers = np.array(numbers)
    x = np.tile(np.array([0, 1], np.uint8).reshape(1, 1, 2, 1), (len(numbers), 1, 1, 1))
    return augment(x, seed=seed, epoch=epoch, indices=numbers)[:, 0, 0, 0] == 1


@pytest.mark.parametrize("flip", [HorizontalFlip(alternate=True), Compose([HorizontalFlip(alternate=True)])])
def test_alternating_flip(flip):
    """Each image in every other epoch: half of them in the even ones, drawn by seed and sample."""
    even = mirrored_in(flip, 0)
    assert abs(even.mean() - 0.5) < 5 * 0.5 / np.sqrt(2000)
    assert abs((even[1:] ^ even[:-1]).mean() - 0.5) < 5 * 0.5 / np.sqrt(
        2000
    )  # and neighbours know nothing of each other
    for epoch in (1, 2, 3, 4, 100, 101):
        np.testing.assert_array_equal(mirrored_in(flip, epoch), even ^ (epoch % 2 == 1))
    assert 0.4 < (mirrored_in(flip, 0, seed=4) ^ even).mean() < 0.6
    few = [1999, 3, 700]
    np.testing.assert_array_equal(mirrored_in(flip, 2, numbers=few), even[few])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 2, 5, 20])
def test_cutout(dtype, size):
    x = images(dtype=dtype)
    draws = Draws(3, 2, indices())
    top, left = (draws.integers(k, n) - size // 2 for k, n in ((0, 7), (1, 6)))

    def pixel(n, i, j):
        hole = top[n] <= i < top[n] + size and left[n] <= j < left[n] + size
        return 200 if hole else x[n, i, j]

    np.testing.assert_array_equal(Cutout(size, fill=200)(x, indices=indices(), **SEED), loop(x, pixel))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(7, 6, 3), (5, 9, 1), (1, 4, 2), (4, 1, 3)])
def test_affine(dtype, shape):
    """y[p] is x at the point that turning and shifting take to p."""
    h, w, c = shape
    x = images(12, h, w, c, dtype)
    draws = Draws(3, 2, indices())
    angle = np.deg2rad(draws.between(0, -30, 30))
    shift = np.stack([h * draws.between(1, -0.3, 0.3), w * draws.between(2, -0.3, 0.3)], axis=1)
    centre = np.array([(h - 1) / 2, (w - 1) / 2])
    exact = np.empty(x.shape)
    for n in range(12):
        turn = np.array([[np.cos(angle[n]), -np.sin(angle[n])], [np.sin(angle[n]), np.cos(angle[n])]])
        for i in range(h):
            for j in range(w):
                r, s = np.linalg.solve(turn, np.array([i, j]) - centre - shift[n]) + centre
                r0, s0 = int(np.floor(r)), int(np.floor(s))
                a, b = r - r0, s - s0
                exact[n, i, j] = (
                    (1 - a) * (1 - b) * at(x, n, r0, s0, 4.0)
                    + (1 - a) * b * at(x, n, r0, s0 + 1, 4.0)
                    + a * (1 - b) * at(x, n, r0 + 1, s0, 4.0)
                    + a * b * at(x, n, r0 + 1, s0 + 1, 4.0)
                )
    y = RandomAffine(30, 0.3, fill=4)(x, indices=indices(), **SEED)
    np.testing.assert_allclose(y, exact, atol=0.5001 if dtype == np.uint8 else 2e-4)
    if dtype == np.uint8:  # and rounded to the nearest, save where single precision sees a tie
        assert np.mean(y == np.floor(exact + 0.5)) > 0.99


def test_affine_that_does_nothing():
    x = images(dtype=np.float32)
    np.testing.assert_array_equal(RandomAffine(0, 0)(x, indices=indices(), **SEED), x)


def test_affine_turns_counter_clockwise_and_clockwise_alike():
    draws = Draws(0, 0, np.arange(1000)).between(0, -10, 10)
    assert 0.45 < np.mean(draws > 0) < 0.55


@pytest.mark.parametrize("dtype", DTYPES)
def test_jitter(dtype):
    x = images(dtype=dtype)
    draws = Draws(3, 2, indices())
    b, c = (draws.between(k, 1 - amount, 1 + amount)[:, None, None, None] for k, amount in ((0, 0.9), (1, 0.8)))
    bright = b * x.astype(np.float64)
    mean = bright.mean(axis=(1, 2, 3), keepdims=True)
    expected = c * (bright - mean) + mean
    y = ColorJitter(0.9, 0.8)(x, indices=indices(), **SEED)
    if dtype == np.uint8:
        assert expected.max() > 256  # so that clipping is tried
        np.testing.assert_allclose(y, np.clip(expected, 0, 255), atol=0.501)
    else:
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_mixup(dtype):
    x, rows = images(dtype=dtype), np.eye(10)[np.arange(12) % 10]
    mixup = Mixup(0.7)
    draws = Draws(3, 2, indices())
    order = np.argsort(draws.uniform(2))
    share = mixup.shares(draws)
    y, mixed = mixup(x, y=rows, indices=indices(), **SEED)
    for place, n in enumerate(order):
        other = order[(place + 1) % 12]
        assert other != n
        expected = share[n] * x[n].astype(np.float64) + (1 - share[n]) * x[other]
        np.testing.assert_allclose(y[n], expected, rtol=1e-5, atol=1e-3)
        np.testing.assert_allclose(mixed[n], share[n] * rows[n] + (1 - share[n]) * rows[other])
    assert y.dtype == (np.float64 if dtype == np.float64 else np.float32)
    np.testing.assert_allclose(mixed.sum(axis=1), 1)


@pytest.mark.parametrize("alpha", [0.01, 0.2, 0.5, 1.0, 3.0, 50.0])
def test_mixup_draws_from_beta(alpha):
    """Against NumPy's own generator: the largest distance between the two distribution functions."""
    n = 20_000
    shares = np.sort(Mixup(alpha).shares(Draws(0, 0, np.arange(n))))
    assert shares.min() >= 0
    assert shares.max() <= 1
    assert shares.mean() == pytest.approx(0.5, abs=0.02)
    assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)
    other = np.sort(np.random.default_rng(0).beta(alpha, alpha, n))
    points = np.linspace(0.001, 0.999, 999)
    distance = np.abs(np.searchsorted(shares, points) - np.searchsorted(other, points)).max() / n
    assert distance < 2 * np.sqrt(2 / n)  # Kolmogorov and Smirnov, far beyond the 0.1% level


# Statistics


def test_every_shift_of_a_crop_is_as_likely_as_any_other():
    n = 9000
    x = np.zeros((n, 5, 5, 1), np.uint8)
    x[:, 2, 2] = 1
    y = RandomCrop(1)(x, seed=0, epoch=0, indices=np.arange(n)).sum(axis=0)[1:4, 1:4, 0]
    assert y.sum() == n
    assert np.all(abs(y.astype(float) - 1000) < 5 * np.sqrt(1000))


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_the_chance_of_a_flip(p):
    x = np.tile(np.array([1, 0], np.uint8).reshape(1, 1, 2, 1), (10_000, 1, 1, 1))
    y = HorizontalFlip(p)(x, seed=0, epoch=0, indices=np.arange(10_000))
    assert y[:, 0, 1, 0].mean() == pytest.approx(p, abs=0.025 if 0 < p < 1 else 0)


def test_the_centre_of_a_hole_is_anywhere():
    y = Cutout(1)(np.ones((9000, 3, 3, 1), np.uint8), seed=0, epoch=0, indices=np.arange(9000))
    counts = 9000 - y.sum(axis=0, dtype=int)[..., 0]
    assert np.all(abs(counts - 1000) < 5 * np.sqrt(1000))


# What all have in common


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("dtype", DTYPES)
def test_order_size_of_batch_and_threads_change_nothing(name, dtype):
    augment, x, numbers = EVERY[name], images(dtype=dtype), indices()
    cl.set_num_threads(1)
    whole = augment(x, indices=numbers, **SEED)
    for threads in (2, 7):
        cl.set_num_threads(threads)
        assert augment(x, indices=numbers, **SEED).tobytes() == whole.tobytes()
    order = np.random.default_rng(1).permutation(12)
    np.testing.assert_array_equal(augment(x[order], indices=numbers[order], **SEED), whole[order])
    for k in range(12):
        np.testing.assert_array_equal(augment(x[k : k + 1], indices=numbers[k : k + 1], **SEED), whole[k : k + 1])


@pytest.mark.parametrize("name", EVERY)
def test_epoch_and_seed_count(name):
    x = images(40)
    numbers = np.arange(40)
    first = EVERY[name](x, indices=numbers, seed=0, epoch=0)
    assert not np.array_equal(first, x)
    assert np.array_equal(first, EVERY[name](x, indices=numbers, seed=0, epoch=0))
    assert not np.array_equal(first, EVERY[name](x, indices=numbers, seed=0, epoch=1))
    assert not np.array_equal(first, EVERY[name](x, indices=numbers, seed=1, epoch=0))


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, bool, np.float16, np.float32, np.float64, ">f8"])
def test_dtypes_and_layouts(name, dtype):
    x = images().astype(dtype)
    kept = x.copy()
    x.flags.writeable = False
    y = EVERY[name](x, indices=indices(), **SEED)
    expected = {"u1": np.uint8, "f8": np.float64}.get(x.dtype.str[1:], np.float32)
    assert y.dtype == expected
    assert y.dtype.isnative
    assert y.shape == x.shape
    np.testing.assert_array_equal(x, kept)
    y[...] = 0  # one's own
    np.testing.assert_array_equal(x, kept)
    straight = EVERY[name](x, indices=indices(), **SEED)
    for same in (np.asfortranarray(x), x[::-1].copy()[::-1], np.repeat(x, 2, axis=2)[:, :, ::2], x.tolist()):
        if isinstance(same, list) and x.dtype.kind not in "ib":
            continue  # Python's floats are of 64 bits, and its ints of more than 8
        np.testing.assert_array_equal(EVERY[name](same, indices=indices(), **SEED), straight)


@pytest.mark.parametrize("name", EVERY)
def test_an_empty_batch(name):
    y = EVERY[name](images(0), indices=[], **SEED)
    assert y.shape == (0, 7, 6, 3)
    assert y.dtype == np.uint8


@pytest.mark.parametrize("name", EVERY)
def test_a_file_can_hold_it(name):
    augment = EVERY[name]
    again = checkpoint.decode(json.loads(json.dumps(checkpoint.encode(augment))), {})
    assert repr(again) == repr(augment)
    assert type(again) is type(augment)
    np.testing.assert_array_equal(
        again(images(), indices=indices(), **SEED), augment(images(), indices=indices(), **SEED)
    )


def test_repr():
    assert repr(EVERY["crop"]) == "RandomCrop(padding=3, fill=7.0)"
    assert repr(EVERY["reflecting crop"]) == "RandomCrop(padding=3, fill='reflect')"
    assert repr(Compose([HorizontalFlip(0.2)], dtype="float64")) == (
        "Compose(steps=(HorizontalFlip(p=0.2),), dtype='float64')"
    )
    assert repr(EVERY["alternating flip"]) == "HorizontalFlip(alternate=True)"
    assert repr(Mixup(0.4)) == "Mixup(alpha=0.4)"


# Compose


@pytest.mark.parametrize(
    "steps",
    [
        [RandomCrop(2), HorizontalFlip()],
        [RandomCrop(2), Cutout(3, fill=8)],
        [RandomCrop(2, fill=3), HorizontalFlip(), Cutout(3, fill=8)],
        [RandomCrop(5, fill="reflect"), HorizontalFlip(), Cutout(3, fill=8)],
        [RandomCrop(3, fill=4), RandomCrop(3, fill="reflect"), HorizontalFlip()],
        [HorizontalFlip(), RandomCrop(2)],
        [Cutout(3), HorizontalFlip(), RandomCrop(2), RandomCrop(2)],
        [HorizontalFlip(1), HorizontalFlip(1)],
        [RandomCrop(2), HorizontalFlip(alternate=True), Cutout(3)],
        [ColorJitter(), RandomCrop(2), HorizontalFlip(), RandomAffine()],
        [],
    ],
)
@pytest.mark.parametrize("dtype", [None, "float32", "float64"])
def test_compose_is_one_after_the_other(steps, dtype):
    x = images()
    y = Compose(steps, dtype=dtype)(x, indices=indices(), **SEED)
    expected = x
    for k, step in enumerate(steps):
        expected = step(expected, seed=child_seed(3, k), epoch=2, indices=indices())
    assert y.dtype == (dtype or np.uint8)
    np.testing.assert_array_equal(y, expected)


def test_equal_steps_draw_different_numbers():
    x = images()
    crop = RandomCrop(2)
    once = Compose([crop])(x, indices=indices(), **SEED)
    assert not np.array_equal(once, crop(x, indices=indices(), **SEED))
    seeds = [child_seed(3, k) for k in (0, 1)]
    assert not np.array_equal(*(crop(x, indices=indices(), seed=seed, epoch=2) for seed in seeds))


def test_compose_takes_functions():
    def negative(batch, *, seed, epoch, indices):
        assert len(indices) == len(batch)
        return 255 - batch

    x = images()
    np.testing.assert_array_equal(Compose([negative])(x, indices=indices(), **SEED), 255 - x)
    with pytest.raises(TypeError, match="a file cannot hold"):
        checkpoint.encode(Compose([negative]))


def test_compose_with_mixup():
    x, rows = images(), np.eye(12)
    augment = Compose([RandomCrop(2), Mixup(1), HorizontalFlip()], dtype="float32")
    assert augment.mixes
    assert Mixup.mixes
    assert not EVERY["all"].mixes
    y, mixed = augment(x, y=rows, indices=indices(), **SEED)
    assert y.dtype == np.float32
    assert not np.array_equal(mixed, rows)
    order = np.random.default_rng(1).permutation(12)
    again, rows_again = augment(x[order], y=rows[order], indices=indices()[order], **SEED)
    np.testing.assert_array_equal(again, y[order])
    np.testing.assert_array_equal(rows_again, mixed[order])
    with pytest.raises(ValueError, match=r"mixes samples: it needs y, their target rows \(N, classes\)"):
        augment(x, indices=indices(), **SEED)


def test_mixup_of_one_sample_is_that_sample():
    x, rows = images(1, dtype=np.float64), np.array([[0, 1.0]])
    y, mixed = Mixup(1)(x, y=rows, indices=[4], **SEED)
    np.testing.assert_allclose(y, x)
    np.testing.assert_allclose(mixed, rows)


def test_standard():
    assert [type(s).__name__ for s in standard((32, 32, 3)).steps] == ["RandomCrop", "HorizontalFlip"]
    assert standard((32, 32, 3)).steps[0].padding == 4
    assert [type(s).__name__ for s in standard((28, 28, 1)).steps] == ["RandomCrop"]
    assert standard(images().shape[1:])(images(), indices=indices(), **SEED).dtype == np.float32


def test_of_the_package():
    assert cl.augment.RandomCrop is RandomCrop


# Errors


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: RandomCrop(-1), ValueError, "RandomCrop: padding must be 0 or more; got -1"),
        (lambda: RandomCrop(1.5), TypeError, "RandomCrop: padding must be an int; got 1.5"),
        (lambda: RandomCrop(True), TypeError, "RandomCrop: padding must be an int"),
        (lambda: RandomCrop(1, fill="mirror"), ValueError, "fill must be a number or \"reflect\"; got 'mirror'"),
        (lambda: RandomCrop(1, fill=None), TypeError, "RandomCrop: fill must be a number; got None"),
        (lambda: HorizontalFlip(1.1), ValueError, "HorizontalFlip: p must be at least 0 and at most 1; got 1.1"),
        (
            lambda: HorizontalFlip(0.3, alternate=True),
            ValueError,
            "half of the images are mirrored, so p is 0.5; got 0.3",
        ),
        (lambda: HorizontalFlip(alternate=1), TypeError, "HorizontalFlip: alternate must be True or False; got 1"),
        (lambda: Cutout(0), ValueError, "Cutout: size must be 1 or more; got 0"),
        (lambda: RandomAffine(degrees=-1), ValueError, "RandomAffine: degrees must be"),
        (lambda: RandomAffine(shift=2), ValueError, "RandomAffine: shift must be"),
        (lambda: ColorJitter(brightness=2), ValueError, "ColorJitter: brightness must be"),
        (lambda: Mixup(0), ValueError, "Mixup: alpha must be above 0; got 0"),
        (lambda: Compose(RandomCrop(1)), TypeError, "Compose: steps must be a list of augmentations"),
        (lambda: Compose([RandomCrop]), TypeError, r"a step must be an augmentation, as RandomCrop\(4\)"),
        (lambda: Compose([], dtype="int8"), ValueError, 'dtype must be None, "float32" or "float64"; got \'int8\''),
        (lambda: standard((28, 28)), ValueError, r"input_shape must be \(H, W, C\); got \(28, 28\)"),
        (lambda: Augmentation()(images(), indices=indices(), **SEED), NotImplementedError, r"has no apply\(\)"),
    ],
)
def test_bad_options(make, error, text):
    with pytest.raises(error, match=text):
        make()


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"batch": images()[0]}, ValueError, r"needs images \(N, H, W, C\); got shape \(7, 6, 3\)"),
        ({"batch": images()[..., :0]}, ValueError, r"needs images \(N, H, W, C\); got shape \(12, 7, 6, 0\)"),
        ({"batch": images().astype(complex)}, TypeError, "needs images of real numbers; got dtype complex128"),
        ({"batch": images().astype(object)}, TypeError, "needs images of real numbers; got dtype object"),
        ({"indices": [1, 2]}, ValueError, r"a batch of 12 needs 12 indices of samples; got int64 of shape \(2,\)"),
        ({"indices": np.zeros(12)}, ValueError, "needs 12 indices of samples; got float64"),
        ({"seed": -1}, ValueError, "seed must be 0 or more; got -1"),
        ({"seed": 0.5}, TypeError, "seed must be an int; got 0.5"),
        ({"epoch": True}, TypeError, "epoch must be an int; got True"),
    ],
)
def test_bad_calls(name, change, error, text):
    arguments = {"batch": images(), "indices": indices(), **SEED} | change
    with pytest.raises(error, match=text):
        EVERY[name](arguments.pop("batch"), **arguments)


@pytest.mark.parametrize("y", [np.arange(12), np.eye(11), np.full((12, 3), "a")])
def test_mixup_needs_rows(y):
    with pytest.raises(ValueError, match=r"needs a target row for each of the 12 samples, \(N, classes\)"):
        Mixup()(images(), y=y, indices=indices(), **SEED)


def test_gray_images_without_a_channel_get_the_cure():
    x = np.zeros((2, 8, 8), np.uint8)
    with pytest.raises(ValueError, match=r"needs images \(N, H, W, C\); got shape \(2, 8, 8\); .*x\[\.\.\., None\]"):
        Cutout(3)(x, seed=0, epoch=0, indices=[0, 1])
    assert Cutout(3)(x[..., None], seed=0, epoch=0, indices=[0, 1]).shape == (2, 8, 8, 1)

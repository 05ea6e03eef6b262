"""Views of images for predictions: against NumPy's padding and slices."""

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.data.views import mirror, mirror_and_shift

DTYPES = [np.uint8, np.float32, np.float64]


def images(n=5, h=7, w=6, c=3, dtype=np.float32):
    return np.random.default_rng(0).integers(0, 256, (n, h, w, c)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_mirror(dtype):
    x = images(dtype=dtype)
    (first, same), (second, mirrored) = mirror(x)
    assert (first, second) == (0.5, 0.5)
    np.testing.assert_array_equal(same, x)
    np.testing.assert_array_equal(mirrored, x[:, :, ::-1])
    assert same.dtype == mirrored.dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("h", "w", "c"), [(7, 6, 3), (2, 2, 1), (3, 5, 2)])
def test_mirror_and_shift(h, w, c, dtype):
    """Half of the weight on mirror(x), a quarter on mirror of x shifted up left, a quarter on that down right."""
    x = images(3, h, w, c, dtype)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    up_left, down_right = padded[:, 2:, 2:], padded[:, :-2, :-2]
    expected = [(1 / 2 * half, of) for of in (x,) for half, of in mirror(of)]
    expected += [(1 / 4 * half, of) for of in (up_left, down_right) for half, of in mirror(of)]
    views = list(mirror_and_shift(x))
    assert [weight for weight, _ in views] == [weight for weight, _ in expected]
    for (_, view), (_, wanted) in zip(views, expected, strict=True):
        np.testing.assert_array_equal(view, wanted)
        assert view.dtype == dtype


@pytest.mark.parametrize("views", [mirror, mirror_and_shift])
def test_layouts_and_an_empty_batch(views):
    x = images()
    x.flags.writeable = False
    for same in (np.asfortranarray(x), x[::-1].copy()[::-1], x.astype(">f4")):
        for (_, view), (_, expected) in zip(views(same), views(x), strict=True):
            np.testing.assert_array_equal(view, expected)
    assert [view.shape for _, view in views(images(0))] == [(0, 7, 6, 3)] * len(list(views(x)))


@pytest.mark.parametrize("views", [mirror, mirror_and_shift])
def test_what_is_no_batch_of_images(views):
    name = views.__name__
    with pytest.raises(ValueError, match=rf"^{name} needs images \(N, H, W, C\); got shape \(5, 12\)"):
        list(views(np.zeros((5, 12))))
    with pytest.raises(ValueError, match=rf"^{name} needs images .* got shape \(5, 8, 8\); gray images need"):
        list(views(np.zeros((5, 8, 8))))
    with pytest.raises(TypeError, match=f"^{name} needs images of real numbers; got dtype complex128"):
        list(views(images().astype(complex)))


def test_what_is_too_small_to_reflect():
    with pytest.raises(ValueError, match=r"^mirror_and_shift needs images of at least 2 x 2 pixels, .* got 1 x 6"):
        list(mirror_and_shift(images(h=1)))


def test_of_the_package():
    assert (cl.augment.mirror, cl.augment.mirror_and_shift) == (mirror, mirror_and_shift)

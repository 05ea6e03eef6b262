"""The door to the augmentation kernels: what does not fit is an error, before a pointer is handed over."""

import numpy as np
import pytest

from cnnlayers import kernels

N = 4
SHAPE = (N, 5, 6, 3)
PLACES = np.zeros((N, 7), np.int32)
BYTE, SINGLE, DOUBLE = map(np.dtype, ("u1", "f4", "f8"))


def zeros(dtype=np.uint8, shape=SHAPE):
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: kernels.place_images(zeros(), PLACES[:3], 0, 0, BYTE), ValueError, "places must hold 28 numbers"),
        (lambda: kernels.place_images(zeros(), PLACES.astype(int), 0, 0, BYTE), ValueError, "places must hold 28"),
        (lambda: kernels.place_images(zeros("f4"), PLACES, 0, 0, BYTE), ValueError, "images of bytes from images of"),
        (lambda: kernels.place_images(zeros("f4"), PLACES, 0, 0, DOUBLE), ValueError, "x must hold"),
        (lambda: kernels.place_images(zeros("i8"), PLACES, 0, 0, SINGLE), ValueError, "x must hold"),
        (lambda: kernels.place_images(zeros()[0], PLACES, 0, 0, BYTE), ValueError, r"images \(N, H, W, C\)"),
        (lambda: kernels.place_images(zeros()[:, ::2], PLACES, 0, 0, BYTE), ValueError, "contiguous"),
        (lambda: kernels.place_images(zeros(shape=(N, 0, 6, 3)), PLACES, 0, 0, BYTE), ValueError, "images"),
        (lambda: kernels.warp_images(zeros(), np.zeros((N, 5)), 0), ValueError, "maps must hold 24 numbers"),
        (lambda: kernels.warp_images(zeros("f2"), np.zeros((N, 6)), 0), TypeError, "float32 and float64; got float16"),
        (lambda: kernels.jitter_images(zeros(), np.zeros((N, 2), "f4")), ValueError, "factors must hold 8 numbers"),
        (lambda: kernels.blend_images(zeros(), np.arange(N) + 1, np.ones(N), SINGLE), ValueError, r"in 0\.\.3; got 4"),
        (lambda: kernels.blend_images(zeros(), np.arange(N) - 1, np.ones(N), SINGLE), ValueError, r"in 0\.\.3; got -1"),
        (lambda: kernels.blend_images(zeros(), np.arange(N), np.ones(3), SINGLE), ValueError, "shares must hold 4"),
        (lambda: kernels.blend_images(zeros(), np.arange(N), np.ones(N), BYTE), TypeError, "got uint8"),
    ],
)
def test_what_does_not_fit(call, error, text):
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_the_largest_numbers_stay_in_bounds(dtype):
    """Everything outside: what comes out is the filling."""
    x = np.ones(SHAPE, dtype)
    ends = np.iinfo(np.int32)
    for value in (ends.min, ends.max):
        places = np.full((N, 7), value, np.int32)
        y = kernels.place_images(x, places, 3, 3, x.dtype)
        assert np.all(y == 3)
        y = kernels.place_images(x, places, 7, 3, x.dtype, reflect=True)  # the image itself, and the hole
        assert set(np.unique(y)) <= {1, 3}
    for value in (1e300, -1e300, np.inf, np.nan):
        assert np.all(kernels.warp_images(x, np.full((N, 6), value), 3) == 3)


def test_images_of_bytes_stay_in_range():
    x = np.full(SHAPE, 200, np.uint8)
    for factors, value in (([1e30, 1], 255), ([-1e30, 1], 0), ([np.nan, 1], 0)):
        assert np.all(kernels.jitter_images(x, np.tile(np.array(factors), (N, 1))) == value)

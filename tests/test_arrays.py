"""Arrays from outside: what may come in, and channels first and last."""

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.arrays import as_array, clean, float_dtype
from tests.layers.common import LAYOUTS


@pytest.mark.parametrize("x", [3, 2.5, True, [1, 2], [[1.5], [2.5]], (), np.float16(1), range(3), np.zeros((0, 3))])
def test_numbers_are_taken(x):
    np.testing.assert_array_equal(as_array(x, "Me"), np.asarray(x))


def test_an_array_is_not_copied():
    x = np.zeros(3)
    assert as_array(x, "Me") is x


@pytest.mark.parametrize(
    "x", [1j, "a", None, [None], b"a", np.array(["2020-01-01"], "M8"), np.zeros(2, "m8"), object(), {1: 2}]
)
def test_what_is_no_real_number(x):
    with pytest.raises(TypeError, match=r"Me needs real numbers \(bool, integers or floats\); got dtype"):
        as_array(x, "Me")


@pytest.mark.parametrize("x", [[[1, 2], [3]], [np.zeros(2), np.zeros(3)]])
def test_a_ragged_list(x):
    with pytest.raises(ValueError, match=r"Me needs an array of numbers; got list: .*inhomogeneous"):
        as_array(x, "Me")


@pytest.mark.parametrize("dtype", ["float32", np.float32, np.dtype(">f4"), "f", np.float64, "d", float])
def test_float_dtypes(dtype):
    result = float_dtype(dtype, "Me")
    assert result.isnative
    assert result.itemsize == np.dtype(dtype).itemsize


LONGER = [] if np.dtype(np.longdouble) == np.float64 else [np.longdouble]  # it is float64 on some systems


@pytest.mark.parametrize("dtype", ["float16", int, bool, complex, object, "U3", "none such", 32, *LONGER])
def test_what_is_no_float_dtype(dtype):
    with pytest.raises(TypeError, match="Me: dtype must be float32 or float64; got"):
        float_dtype(dtype, "Me")


def test_a_type_of_another_letter_becomes_that_which_is_asked_for():
    """Long double may be float64 by another name, as long long here is int64."""
    x = np.arange(3, dtype=np.longlong)
    wanted = np.dtype("l")
    assert (x.dtype == wanted, x.dtype.char == wanted.char) == (wanted.itemsize == 8, False)
    assert clean(x, wanted).dtype.char == "l"
    np.testing.assert_array_equal(clean(x, wanted), x)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_clean_arrays_are_contiguous_aligned_native_and_of_the_dtype(layout, dtype, tmp_path):
    x = np.random.default_rng(0).standard_normal((3, 4, 2))
    odd = LAYOUTS[layout](x, tmp_path)
    tidy = clean(odd, np.dtype(dtype))
    assert tidy.dtype == dtype
    assert tidy.dtype.isnative
    assert tidy.flags.c_contiguous
    assert tidy.flags.aligned
    np.testing.assert_array_equal(tidy, odd.astype(dtype))


def test_a_clean_array_is_itself():
    x = np.zeros((2, 3), np.float32)
    assert clean(x, np.dtype(np.float32)) is x


# Channels first and last


def test_images_by_hand():
    x = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)  # (N, C, H, W)
    y = cl.from_nchw(x)
    assert y.shape == (2, 4, 5, 3)
    for n, c, h, w in np.ndindex(x.shape):
        assert y[n, h, w, c] == x[n, c, h, w]


def test_signals_by_hand():
    x = np.arange(2 * 3 * 4).reshape(2, 3, 4)  # (N, C, L)
    y = cl.from_nchw(x)
    assert y.shape == (2, 4, 3)
    for n, c, i in np.ndindex(x.shape):
        assert y[n, i, c] == x[n, c, i]


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3, 4), (0, 3, 4, 5), (1, 1, 1, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int64])
def test_there_and_back(shape, dtype):
    x = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    for one, other in ((cl.from_nchw, cl.to_nchw), (cl.to_nchw, cl.from_nchw)):
        y = one(x)
        assert y.dtype == dtype
        assert y.flags.c_contiguous
        np.testing.assert_array_equal(other(y), x)


def test_the_result_is_a_new_array():
    x = np.zeros((1, 1, 1, 3))
    for convert in (cl.from_nchw, cl.to_nchw):
        convert(x)[...] = 5
    np.testing.assert_array_equal(x, 0)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (1, 2, 3, 4, 5)])
def test_shapes_that_are_neither_images_nor_signals(shape):
    with pytest.raises(ValueError, match=r"from_nchw needs an array \(N, C, H, W\) or \(N, C, L\); got shape"):
        cl.from_nchw(np.zeros(shape))
    with pytest.raises(ValueError, match=r"to_nchw needs an array \(N, H, W, C\) or \(N, L, C\); got shape"):
        cl.to_nchw(np.zeros(shape))


def test_a_ragged_list_of_images():
    with pytest.raises(ValueError, match="from_nchw needs an array"):
        cl.from_nchw([np.zeros((3, 4, 4)), np.zeros((3, 5, 5))])

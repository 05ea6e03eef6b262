"""Flatten, Reshape and Permute."""

import re

import numpy as np
import pytest

import cnnlayers as cl
from tests.layers.common import batch


def test_flatten_by_hand():
    x = np.arange(12).reshape(1, 2, 3, 2)
    layer = cl.Flatten()
    y = layer.forward(x)
    np.testing.assert_array_equal(y, [range(12)])  # h, then w, then c
    np.testing.assert_array_equal(layer.backward(10 * y), 10 * x)


def test_flatten_of_rows_changes_nothing():
    x = batch(3, 4, dtype=np.float32)
    np.testing.assert_array_equal(cl.Flatten().forward(x), x)


def test_flatten_has_the_order_of_its_input_not_of_its_memory():
    x = np.asfortranarray(batch(2, 3, 4, 2, dtype=np.float32))
    np.testing.assert_array_equal(cl.Flatten().forward(x), [sample.flatten() for sample in x])


@pytest.mark.parametrize(("shape", "size"), [((5, 5, 16), 400), ((7,), 7), ((3, 1), 3), ((1, 1, 1), 1)])
def test_flatten_multiplies_the_sizes(shape, size):
    assert cl.Flatten().output_shape(shape) == (size,)


def test_flatten_was_made_for_one_size():
    layer = cl.Flatten()
    layer.build((4, 4, 2))
    with pytest.raises(ValueError, match=r"Flatten\(\) was built for \(N, 4, 4, 2\); got shape \(N, 2, 8, 2\)"):
        layer.forward(np.zeros((1, 2, 8, 2)))


def test_reshape_by_hand():
    layer = cl.Reshape((2, 3))
    y = layer.forward([range(6)])
    np.testing.assert_array_equal(y, [[[0, 1, 2], [3, 4, 5]]])
    np.testing.assert_array_equal(layer.backward(2 * y), [[0, 2, 4, 6, 8, 10]])


@pytest.mark.parametrize(
    ("shape", "given", "out"),
    [((8, 8, -1), (64,), (8, 8, 1)), ((-1,), (3, 4), (12,)), ((4, -1), (2, 6), (4, 3)), ([2, 2], (4,), (2, 2))],
)
def test_one_size_may_be_left_open(shape, given, out):
    assert cl.Reshape(shape).output_shape(given) == out
    assert cl.Reshape(shape).forward(np.zeros((5, *given))).shape == (5, *out)


def test_reshape_of_an_empty_batch_with_an_open_size():
    layer = cl.Reshape((2, -1))
    assert layer.forward(np.zeros((0, 6))).shape == (0, 2, 3)


@pytest.mark.parametrize(("shape", "given"), [((5, 5), (24,)), ((5, -1), (24,)), ((2, 3), (3, 4))])
def test_sizes_that_do_not_multiply(shape, given):
    with pytest.raises(
        ValueError, match=re.escape(f"Reshape({shape}) cannot take {np.prod(given)} numbers per sample")
    ):
        cl.Reshape(shape).build(given)


@pytest.mark.parametrize("shape", [(-1, -1), (0, 3), (), (2, -1, -1)])
def test_shapes_that_are_none(shape):
    with pytest.raises(ValueError, match="Reshape: shape needs positive sizes, at most one of them -1"):
        cl.Reshape(shape)


@pytest.mark.parametrize("shape", [(2.0,), (True, 2), ("a",), (None,)])
def test_sizes_that_are_no_ints(shape):
    with pytest.raises(TypeError, match="Reshape: a size must be an int"):
        cl.Reshape(shape)


def test_a_size_below_minus_one():
    with pytest.raises(ValueError, match="Reshape: a size must be -1 or more; got -2"):
        cl.Reshape((-2,))


@pytest.mark.parametrize("shape", [6, None, "ab"])
def test_a_shape_is_a_tuple(shape):
    with pytest.raises(TypeError, match=f"Reshape: shape must be a tuple of ints, .*; got {shape!r}"):
        cl.Reshape(shape)


def test_permute_by_hand():
    layer = cl.Permute((1, 0))
    y = layer.forward([[[1, 2, 3], [4, 5, 6]]])
    np.testing.assert_array_equal(y, [[[1, 4], [2, 5], [3, 6]]])
    np.testing.assert_array_equal(layer.backward(10 * y), [[[10, 20, 30], [40, 50, 60]]])


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0), [2, 1, 0]])
def test_permute_is_numpys_transpose_of_each_sample_and_back(axes):
    x, layer = batch(3, 4, 5, 2, dtype=np.float32), cl.Permute(axes)
    y = layer.forward(x)
    np.testing.assert_array_equal(y, [sample.transpose(axes) for sample in x])
    np.testing.assert_array_equal(layer.backward(y), x)


def test_permute_takes_images_of_other_sizes():
    layer = cl.Permute((2, 0, 1))
    layer.build((4, 5, 3))
    assert layer.forward(batch(2, 6, 7, 3)).shape == (2, 3, 6, 7)


@pytest.mark.parametrize("axes", [(), (1, 2), (0, 0), (0, 2), (-1, 0), (3, 1, 2)])
def test_axes_that_are_no_permutation(axes):
    message = f"Permute: axes must be those of a sample, each once and counted from 0, such as (2, 0, 1); got {axes}"
    with pytest.raises(ValueError, match=re.escape(message)):
        cl.Permute(axes)


@pytest.mark.parametrize("axes", [1, None, "01", (0.0, 1), (True, 0), ("a",)])
def test_axes_that_are_no_ints(axes):
    with pytest.raises(TypeError, match=r"Permute: (axes must be a tuple of ints|an axis must be an int)"):
        cl.Permute(axes)


def test_permute_of_another_number_of_axes():
    message = r"Permute\(\(1, 0\)\) needs samples of as many axes, 2; got shape \(N, 4, 3, 2\)"
    with pytest.raises(ValueError, match=message):
        cl.Permute((1, 0)).build((4, 3, 2))


def test_images_with_channels_first_are_no_surprise_where_permute_puts_them_last():
    """So no warning, which would be an error here."""
    assert cl.Sequential([cl.Permute((1, 2, 0)), cl.Conv(4, 1)], input_shape=(3, 8, 8)).output_shape((3, 8, 8)) == (
        8,
        8,
        4,
    )

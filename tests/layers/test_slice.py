"""Slice."""

import re

import numpy as np
import pytest

import cnnlayers as cl
from tests.layers.common import batch


@pytest.mark.parametrize(
    ("options", "y", "dx"),
    [
        ({"stop": 2}, [1, 2], [10, 20, 0, 0, 0]),
        ({"start": 1, "stop": -1}, [2, 3, 4], [0, 10, 20, 30, 0]),
        ({"step": 2}, [1, 3, 5], [10, 0, 20, 0, 30]),
        ({"start": -1, "step": -3}, [5, 2], [0, 20, 0, 0, 10]),
        ({"start": -9, "stop": 9}, [1, 2, 3, 4, 5], [10, 20, 30, 40, 50]),
    ],
)
def test_by_hand(options, y, dx):
    layer = cl.Slice(**options)
    np.testing.assert_array_equal(layer.forward([[1, 2, 3, 4, 5]]), [y])
    np.testing.assert_array_equal(layer.backward([10 * np.arange(1, len(y) + 1)]), [dx])


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
def test_axes_are_those_of_a_sample(axis):
    x = batch(2, 4, 5, 6, dtype=np.float32)
    at = axis % 3 + 1
    np.testing.assert_array_equal(cl.Slice(1, 3, axis=axis).forward(x), x.take([1, 2], at))


def test_all_of_it_is_a_copy():
    x = batch(2, 3, dtype=np.float32)
    y = cl.Slice().forward(x)
    np.testing.assert_array_equal(y, x)
    assert not np.shares_memory(y, x)


def test_parts_side_by_side_are_the_whole():
    x = batch(2, 3, 4, 5)
    net = cl.Concat([cl.Slice(stop=2), cl.Slice(2)])
    net.build(x.shape[1:], dtype=np.float64)
    np.testing.assert_array_equal(net.forward(x), x)
    np.testing.assert_array_equal(net.backward(2 * x), 2 * x)


@pytest.mark.parametrize(
    ("make", "shape", "error", "message"),
    [
        (lambda: cl.Slice(step=0), None, ValueError, "Slice: step must not be 0"),
        (lambda: cl.Slice(0.5), None, TypeError, "Slice: start must be an int"),
        (lambda: cl.Slice(axis=None), None, TypeError, "Slice: axis must be an int"),
        (lambda: cl.Slice(3), (4, 3), ValueError, "Slice(start=3) leaves nothing of 3; got shape (N, 4, 3)"),
        (lambda: cl.Slice(1, axis=1), (3,), ValueError, "needs samples with an axis 1; got shape (N, 3)"),
        (lambda: cl.Slice(1, axis=-3), (3, 2), ValueError, "needs samples with an axis -3; got shape (N, 3, 2)"),
    ],
)
def test_errors(make, shape, error, message):
    with pytest.raises(error, match=re.escape(message)):
        make().output_shape(shape)

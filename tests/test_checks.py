"""What `checks` takes and refuses; the tests of whoever asks it say the rest."""

import re

import numpy as np
import pytest

from cnnlayers.checks import as_padding, as_shape, as_sizes, check_bytes, with_batch


def test_sizes_and_padding_become_plain_tuples_before_the_number_of_axes_is_known():
    assert as_sizes("Conv", "kernel", [3, np.int8(2)]) == (3, 2)
    assert as_sizes("Conv", "kernel", np.int64(3)) == 3
    assert as_padding("Conv", [[1, 2], 3]) == ((1, 2), 3)
    assert repr(as_padding("Conv", np.array([[1, 2], [3, 4]]))) == "((1, 2), (3, 4))"
    assert repr(as_padding("Conv", ((1, np.uint8(2)), np.int8(3)))) == "((1, 2), 3)"
    assert as_padding("Conv", "same") == "same"
    assert as_padding("Conv", np.int64(3)) == 3


@pytest.mark.parametrize("value", [(), (1, 2, 3)])
def test_what_fits_no_number_of_axes_is_refused(value):
    got = re.escape(f"; got {value}")
    with pytest.raises(ValueError, match="Conv: kernel must be an int, or one int per spatial axis" + got):
        as_sizes("Conv", "kernel", value)
    with pytest.raises(
        ValueError, match=r"Conv: padding must be one int or one \(before, after\) pair for each axis" + got
    ):
        as_padding("Conv", value)


def test_an_array_of_no_axes_is_one_number():
    three = np.array(3)
    assert as_sizes("Conv", "kernel", three) == as_padding("Conv", three) == 3
    assert as_padding("Conv", [three, three]) == (3, 3)
    with pytest.raises(TypeError, match="Conv: a shape is a tuple of integers"):
        as_shape("Conv", three)


def test_where_the_number_of_axes_is_known_it_is_asked_for():
    with pytest.raises(ValueError, match=r"Conv: kernel must be an int or 1 ints, one per spatial axis; got \[3, 3\]"):
        as_sizes("Conv", "kernel", [3, 3], rank=1)
    with pytest.raises(ValueError, match=r"one \(before, after\) pair for each of 2 axes; got \[1\]"):
        as_padding("Conv", [1], rank=2)


@pytest.mark.parametrize("value", [-1, (1, -1), ((0, 1), (0, -1))])
def test_padding_below_zero_is_refused(value):
    with pytest.raises(ValueError, match="Conv: padding must be 0 or more; got -1"):
        as_padding("Conv", value)


def test_a_shape_is_a_tuple_of_sizes():
    assert repr(as_shape("Conv", np.array([4, 0, 3]))) == "(4, 0, 3)"
    with pytest.raises(ValueError, match="Conv needs an input with at least one axis besides the batch; got shape"):
        as_shape("Conv", [])


def test_check_bytes():
    check_bytes("somebody", "an array", (2**20, 2**10), 4)
    for shape in [(2**20, 2**40), (10**400,)]:
        with pytest.raises(ValueError, match=r"somebody: an array of shape .* would need more than 2\*\*47 bytes"):
            check_bytes("somebody", "an array", shape, 4)


def test_a_shape_with_its_batch_axis():
    assert with_batch((32, 3)) == "(N, 32, 3)"
    assert with_batch(()) == "(N,)"

import numpy as np
import pytest

from cnnlayers.randomness import child, random_generator


def test_an_int_is_a_seed():
    assert random_generator(3).random() == np.random.default_rng(3).random()
    assert random_generator(np.int64(3)).random() == np.random.default_rng(3).random()
    assert random_generator(3).random() != random_generator(4).random()


def test_a_generator_is_used_as_it_is():
    rng = np.random.default_rng(0)
    assert random_generator(rng) is rng


def test_none_gives_a_fresh_one_each_time():
    assert random_generator(None).random() != random_generator(None).random()


def test_children_differ_from_each_other_and_come_out_the_same_again():
    draws = []
    for _ in range(2):
        parent = random_generator(0)
        first, second = child(parent), child(parent)
        draws.append([first.random(), second.random(), parent.random()])
    assert draws[0] == draws[1]
    assert len(set(draws[0])) == 3


def test_drawing_from_a_child_leaves_the_parent_alone():
    one, other = random_generator(0), random_generator(0)
    child(one).random(100)
    child(other)
    assert one.random() == other.random()


@pytest.mark.parametrize("rng", [True, np.True_, 0.0, "0", [1], np.random.RandomState(0)])
def test_anything_else_is_refused(rng):
    with pytest.raises(TypeError, match=r"rng must be an int, a numpy.random.Generator or None; got "):
        random_generator(rng)


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match=r"rng must be 0 or more where it is an int; got -1"):
        random_generator(-1)

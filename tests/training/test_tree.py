"""The tree by which a step's gradients are added: cut anywhere, it gives the same bits."""

import itertools

import numpy as np
import pytest

from cnnlayers.training.ranks import Ranks
from cnnlayers.training.tree import Part, TreeSum, halves, mantissa_and_exponent, parts_of
from tests.training.ranks_in_threads import in_threads

SIZES = range(1, 18)


def gradients(places, missing=(), scale=lambda place: 1.0):
    """Weighted gradients whose rounded sum depends on the order; None where nothing counts."""
    rng = np.random.default_rng(places)
    weights = [0 if place in missing else float(scale(place)) for place in range(places)]
    arrays = [(10.0 ** rng.uniform(-3, 3, 23) * rng.choice([-1, 1], 23)).astype(np.float32) for _ in weights]
    return weights, arrays


def by_hand(first, stop, weights, arrays):
    """The recursion that the module tells of: (exponent, sum)."""
    if stop - first == 1:
        share, exponent = mantissa_and_exponent(weights[first])
        return (exponent, np.float32(share) * arrays[first]) if weights[first] else None
    middle = halves(first, stop)
    a, b = by_hand(first, middle, weights, arrays), by_hand(middle, stop, weights, arrays)
    if a is None or b is None:
        return b if a is None else a
    exponent = max(a[0], b[0])
    return exponent, np.ldexp(a[1], a[0] - exponent) + np.ldexp(b[1], b[0] - exponent)


def added(ranks, weights, arrays):
    """What a rank ends with."""
    places = len(weights)
    tree, exponents = TreeSum(places), [mantissa_and_exponent(w)[1] if w else -(1 << 30) for w in weights]
    work = np.empty(23, np.float32)  # used for one place after the other, as the gradients of a net are
    for place in ranks.places(places):
        if weights[place]:
            share, exponent = mantissa_and_exponent(weights[place])
            work[...] = np.float32(share) * arrays[place]
            tree.add(Part(place, place + 1, exponent, work))
        else:
            tree.add(Part(place, place + 1))
    exponent = ranks.add_up(tree.parts, exponents, work)
    return exponent, work


def test_halves():
    assert [halves(0, n) for n in range(2, 10)] == [1, 2, 2, 4, 4, 4, 4, 8]
    assert halves(5, 8) == 7


@pytest.mark.parametrize("places", SIZES)
def test_parts_are_the_fewest_subtrees(places):
    subtrees = set()

    def walk(first, stop):
        subtrees.add((first, stop))
        if stop - first > 1:
            walk(first, halves(first, stop))
            walk(halves(first, stop), stop)

    walk(0, places)
    for first, stop in itertools.combinations(range(places + 1), 2):
        parts = parts_of(first, stop, places)
        assert [place for a, b in parts for place in range(a, b)] == list(range(first, stop))
        assert set(parts) <= subtrees
        assert not any((a, d) in subtrees for (a, _), (_, d) in itertools.combinations(parts, 2))
    assert parts_of(0, places, places) == [(0, places)]


@pytest.mark.parametrize("weight", [1.0, 1.5, 2.0, 127.0, 1e-300, 5e-324, 1e300])
def test_mantissa_and_exponent(weight):
    share, exponent = mantissa_and_exponent(weight)
    assert 1 <= share < 2
    assert np.ldexp(share, exponent) == weight


@pytest.mark.parametrize("scale", [lambda place: 32, lambda place: place + 1, lambda place: 10.0 ** (7 * place - 40)])
@pytest.mark.parametrize("places", SIZES)
def test_one_process_adds_as_the_tree_says(places, scale):
    for missing in ((), (0,), (places - 1,), range(0, places, 2)):
        weights, arrays = gradients(places, missing, scale)
        expected = by_hand(0, places, weights, arrays)
        exponent, total = added(Ranks(None, places), weights, arrays)
        if expected is None:
            assert not total.any()
        else:
            assert exponent == expected[0]
            assert total.tobytes() == expected[1].tobytes()


@pytest.mark.parametrize("size", [2, 3, 4, 5, 8])
def test_any_number_of_ranks_gives_the_bits_of_one(size):
    for accumulate in (size, size + 1, 2 * size, 13):
        for places in {1, accumulate - 1, accumulate} - {0}:
            for missing in ((), (0,), range(0, places, 2)):
                weights, arrays = gradients(places, missing, lambda place: 3.0**place)
                expected = added(Ranks(None, accumulate), weights, arrays)
                if accumulate >= size:
                    for exponent, total in in_threads(
                        size, lambda comm, a=accumulate, w=weights, g=arrays: added(Ranks(comm, a), w, g)
                    ):
                        assert exponent == expected[0]
                        assert total.tobytes() == expected[1].tobytes()


def test_the_order_matters():
    """Else the tests above could not fail."""
    weights, arrays = gradients(13)
    in_a_row = arrays[0].copy()
    for array in arrays[1:]:
        in_a_row += array
    assert added(Ranks(None, 13), weights, arrays)[1].tobytes() != in_a_row.tobytes()


def test_few_arrays_are_held_at_a_time():
    tree, most = TreeSum(64), 0
    for place in range(64):
        tree.add(Part(place, place + 1, 0, np.ones(3, np.float32)))
        most = max(most, len(tree.parts))
    assert most == 6
    assert tree.parts[0].sum.tolist() == [64] * 3

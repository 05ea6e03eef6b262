"""Batches: how the Solver walks through its data."""

import numpy as np
import pytest

from cnnlayers.data.loader import ArrayBatches, IterableBatches, batches_of


def numbers(n=10):
    return np.arange(n * 2).reshape(n, 2), np.arange(n)


# Arrays


def test_in_order_without_rng():
    given = list(batches_of(numbers(), 4, "train").batches())
    assert [y.tolist() for _, y in given] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    np.testing.assert_array_equal(given[1][0], [[8, 9], [10, 11], [12, 13], [14, 15]])


@pytest.mark.parametrize(("size", "lengths"), [(1, [1] * 10), (3, [3, 3, 3, 1]), (5, [5, 5]), (10, [10]), (99, [10])])
def test_the_last_batch_may_be_smaller(size, lengths):
    data = batches_of(numbers(), size, "train")
    assert [len(y) for _, y in data.batches(np.random.default_rng(0))] == lengths
    assert len(data) == len(lengths)


def test_every_sample_once_with_its_own_target():
    data = batches_of(numbers(), 3, "train")
    rng = np.random.default_rng(0)
    orders = []
    for _ in range(3):
        pairs = list(data.batches(rng))
        x, y = np.concatenate([x for x, _ in pairs]), np.concatenate([y for _, y in pairs])
        np.testing.assert_array_equal(x[:, 0], 2 * y)
        assert sorted(y) == list(range(10))
        orders.append(tuple(y.tolist()))
    assert len(set(orders)) == 3


def test_the_order_is_drawn_from_rng():
    def order(seed):
        return [y.tolist() for _, y in batches_of(numbers(), 3, "train").batches(np.random.default_rng(seed))]

    assert order(0) == order(0)
    assert order(0) != order(1)


def test_shuffled_batches_are_copies():
    x, y = numbers()
    for a, _ in batches_of((x, y), 4, "train").batches(np.random.default_rng(0)):
        a[...] = -1
    np.testing.assert_array_equal(x, numbers()[0])


def test_memory_mapped_arrays_are_not_read_at_once(tmp_path):
    np.save(tmp_path / "x.npy", numbers()[0])
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    data = batches_of((x, numbers()[1]), 4, "train")
    assert isinstance(data.x, np.memmap)
    np.testing.assert_array_equal(np.concatenate([a for a, _ in data.batches()]), numbers()[0])


IMAGES = np.random.default_rng(0).integers(0, 256, (20, 5, 4, 3))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("stored", [np.uint8, np.float32, np.float64])
def test_shuffled_batches_come_in_the_dtype_asked_for(stored, dtype):
    x, y = (IMAGES / 7).astype(stored), np.arange(20)
    data = batches_of((x, y), 8, "train")
    for a, b in data.batches(np.random.default_rng(0), np.dtype(dtype)):
        assert a.dtype == dtype
        np.testing.assert_array_equal(a, x[b].astype(dtype))
    for a, b in data.batches(np.random.default_rng(0)):
        assert a.dtype == stored
        np.testing.assert_array_equal(a, x[b])


@pytest.mark.parametrize(
    "x",
    [
        IMAGES,
        IMAGES.astype(np.int8),
        IMAGES.astype(np.float16),
        IMAGES > 99,
        IMAGES.astype(">f4"),
        IMAGES.astype(np.complex64),
        IMAGES.astype(object),
        IMAGES.astype(str),
        np.asfortranarray(IMAGES.astype(np.float32)),
        IMAGES.astype(np.float32)[:, ::-1],
        np.broadcast_to(np.float32(1), IMAGES.shape),
        np.frombuffer(b" " + IMAGES.astype(np.float32).tobytes(), np.float32, offset=1).reshape(IMAGES.shape),
        np.ma.masked_array(IMAGES.astype(np.float32), IMAGES > 99),
    ],
    ids=lambda x: f"{type(x).__name__} {x.dtype} {x.strides}",
)
def test_other_arrays_are_shuffled_as_they_are(x):
    for a, b in batches_of((x, np.arange(20)), 8, "train").batches(np.random.default_rng(0), np.dtype(np.float32)):
        assert type(a) is type(x)
        assert a.dtype == x.dtype
        np.testing.assert_array_equal(a, x[b])


def test_in_order_it_is_a_slice_and_no_copy():
    x = IMAGES.astype(np.uint8)
    for a, _ in batches_of((x, np.arange(20)), 8, "train").batches(None, np.dtype(np.float32)):
        assert np.shares_memory(a, x)


def test_lists_are_arrays_too():
    ((x, y),) = batches_of(([[1, 2], [3, 4]], [0, 1]), 8, "train").batches()
    np.testing.assert_array_equal(x, [[1, 2], [3, 4]])
    np.testing.assert_array_equal(y, [0, 1])


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (
            np.zeros((3, 2)),
            np.zeros(4),
            r"Solver: val needs as many targets as samples; got shapes \(3, 2\) and \(4,\)",
        ),
        (np.zeros((3, 2)), 1, r"Solver: val needs as many targets as samples; got shapes \(3, 2\) and \(\)"),
        (None, [1], r"got shapes \(\) and \(1,\)"),
        (np.zeros((0, 2)), [], "Solver: val has no samples"),
    ],
)
def test_arrays_that_are_no_data_set(x, y, message):
    with pytest.raises(ValueError, match=message):
        batches_of((x, y), 4, "val")


# Batches of one's own


def test_a_tuple_of_two_is_arrays_and_all_else_is_batches():
    pair = numbers()
    assert isinstance(batches_of(pair, 4, "train"), ArrayBatches)
    for other in ([pair, pair], [pair], (pair,), (pair, pair), (pair, pair, pair), {pair[1][0]: pair}):
        assert isinstance(batches_of(other, 4, "train"), IterableBatches)
    x, y = zip((np.zeros(3), 0), (np.ones(3), 1), strict=True)  # two samples, not two batches
    assert isinstance(batches_of((x, y), 4, "train"), ArrayBatches)


def test_it_starts_afresh_each_time():
    given = [numbers(3), [numbers(2)[0], numbers(2)[1]]]
    data = batches_of(given, 99, "train")
    assert len(data) == 2
    for _ in range(2):
        assert [len(y) for _, y in data.batches(np.random.default_rng(0))] == [3, 2]


@pytest.mark.parametrize("make", [iter, lambda b: (p for p in b), enumerate, reversed])
def test_a_one_shot_iterator(make):
    with pytest.raises(
        TypeError, match="Solver: train is an iterator, which ends after one epoch; give a list, or an ob"
    ):
        batches_of(make([numbers()]), 4, "train")


def test_items_by_number_will_do():
    class Items:
        def __getitem__(self, number):
            return [numbers(3), numbers(2)][number]

    data = batches_of(Items(), 4, "train")
    for _ in range(2):
        assert [len(y) for _, y in data.batches()] == [3, 2]


@pytest.mark.parametrize("bad", [None, 3, 2.5, len, object()])
def test_what_cannot_be_iterated(bad):
    with pytest.raises(
        TypeError, match=r"Solver: val must be a tuple of two arrays, or an iterable of batches \(x, y\)"
    ):
        batches_of(bad, 4, "val")


@pytest.mark.parametrize("batch", [3, (1,), (1, 2, 3), {"x": 1, "y": 2}, "xy", np.zeros((2, 3))])
def test_a_batch_that_is_no_pair(batch):
    with pytest.raises(TypeError, match=rf"Solver: a batch must be a pair \(x, y\); got {type(batch).__name__}"):
        list(batches_of([batch], 4, "train").batches())


def test_a_length_is_asked_for_only_when_needed():
    class NoLength:
        def __iter__(self):
            yield numbers()

    data = batches_of(NoLength(), 4, "train")
    assert len(list(data.batches())) == 1
    with pytest.raises(TypeError, match="with a schedule, train must have a length"):
        len(data)


def test_an_error_in_the_data_comes_through():
    class Fails:
        def __iter__(self):
            yield numbers()
            raise ZeroDivisionError("mine")

    batches = batches_of(Fails(), 4, "train").batches()
    next(batches)
    with pytest.raises(ZeroDivisionError, match="mine"):
        next(batches)

"""What a step is fed: batches in groups, augmented."""

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.data.feed import Feed, build_for
from cnnlayers.data.loader import batches_of


def net():
    return cl.Sequential([cl.Flatten(), cl.Affine(3)], input_shape=(2,), rng=0)


def data(n=10):
    return batches_of((np.arange(2 * n, dtype=np.uint8).reshape(n, 2), np.arange(n) % 3), 2, "train")


def samples(groups):
    return [[y.tolist() for _, y in group] for group in groups]


def test_groups_hold_as_many_batches_as_a_step_takes():
    feed = Feed(data(), accumulate=2)
    assert len(feed) == 3
    groups = list(feed.groups(net(), np.random.default_rng(0), epoch=0))
    assert [len(group) for group in groups] == [2, 2, 1]
    assert groups[0][0][0].dtype == np.float32  # the net's dtype
    order = np.random.default_rng(0).permutation(10)
    assert np.concatenate([x[:, 0] for group in groups for x, _ in group]).tolist() == (2 * order).tolist()


def test_skipped_batches_leave_the_others_as_they_are():
    draws = Feed(data(), lambda x, rng: x + rng.normal(size=x.shape), seed=4)
    whole = list(draws.groups(net(), np.random.default_rng(0), epoch=1))
    left = list(draws.groups(net(), np.random.default_rng(0), epoch=1, skip=3))
    assert samples(left) == samples(whole[3:])
    for (one,), (other,) in zip(left, whole[3:], strict=True):
        np.testing.assert_array_equal(one[0], other[0])
    (other_epoch,), *_ = draws.groups(net(), np.random.default_rng(0), epoch=2)
    assert (other_epoch[0] != whole[0][0][0]).any()


def test_what_mixes_gets_rows_as_wide_as_the_scores_and_builds_the_net_for_it():
    class Mixes:
        mixes = True

        def __call__(self, x, y, *, seed, epoch, indices):
            return x, y[::-1]

    unbuilt = cl.Sequential([cl.Affine(7)])
    ((_, y),), *_ = Feed(data(), Mixes(), seed=0).groups(unbuilt, np.random.default_rng(0), epoch=0)
    assert y.shape == (2, 7)
    assert unbuilt.built


def test_what_is_not_an_augmentation_is_refused():
    with pytest.raises(TypeError, match=r"Solver: augment must be a function of a batch, as f\(x, rng\) -> x; got 3"):
        Feed(data(), 3)


def test_a_built_net_stays_as_it_is():
    model = net()
    before = model.flat_params.copy()
    build_for(model, np.zeros((1, 5)), 1)
    np.testing.assert_array_equal(model.flat_params, before)


def test_an_object_may_fill_the_same_arrays_with_each_batch_of_a_step():
    class Filling:
        def __iter__(self):
            x, y = np.empty((2, 1), np.float32), np.empty(2, int)
            for i in range(3):
                x[:], y[:] = i, i
                yield x, y

    feed = Feed(batches_of(Filling(), 2, "train"), accumulate=3)
    net = cl.Sequential([cl.Affine(3)], input_shape=(1,))
    (group,) = feed.groups(net, np.random.default_rng(0), 0)
    assert [(x[0, 0], y[1]) for x, y in group] == [(0, 0), (1, 1), (2, 2)]


def test_an_empty_batch_is_left_as_it_is():
    batches = [(np.zeros((n, 2, 1, 1)), np.zeros(n, int)) for n in (0, 2)]
    feed = Feed(batches_of(batches, 2, "train"), cl.augment.Mixup(0.4))
    images = cl.Sequential([cl.Flatten(), cl.Affine(3)], input_shape=(2, 1, 1), rng=0)
    (empty,), (mixed,) = feed.groups(images, np.random.default_rng(0), 0)
    assert len(empty[0]) == len(empty[1]) == 0
    assert mixed[1].shape == (2, 3)

"""Training samples as a set with weights."""

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.sklearn.samples import WeightedSum, as_set, mean_and_std


def test_equal_samples_are_one_with_the_sum_of_their_weights():
    x = np.array([[1, 2], [3, 4], [1, 2], [1, 2]], np.uint8)
    y = np.array([0, 1, 0, 1])
    found = zip(*(a.tolist() for a in as_set(x, y, np.array([1.0, 2, 3, 4]))), strict=True)
    assert sorted(found) == [([1, 2], 0, 4.0), ([1, 2], 1, 4.0), ([3, 4], 1, 2.0)]


def test_the_order_of_the_samples_does_not_matter_nor_that_of_their_bytes():
    rng = np.random.default_rng(0)
    x, y, w = rng.integers(0, 2, (50, 3)), rng.normal(size=(50, 2)), rng.integers(1, 9, 50).astype(float)
    order = rng.permutation(50)
    for a, b in zip(as_set(x, y, w), as_set(np.asfortranarray(x[order]), y[order], w[order]), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("shape", [(2000, 3), (30, 5, 4, 2)])
def test_mean_and_deviation_are_those_of_copies(shape):
    rng = np.random.default_rng(0)
    x, copies = rng.normal(5, 2, shape), rng.integers(1, 4, shape[0])
    rows = np.repeat(x, copies, axis=0).reshape(-1, shape[-1])
    mean, std = mean_and_std(x, copies.astype(float))
    np.testing.assert_allclose(mean, rows.mean(axis=0))
    np.testing.assert_allclose(std, rows.std(axis=0))


def test_a_channel_that_does_not_vary_has_the_deviation_1():
    x = np.array([[0.1, 0.0, 1.0], [0.1, 0.0, 2.0], [0.1, 0.0, 3.0]], np.float32)
    _, std = mean_and_std(x, np.array([0.1, 0.2, 0.7]), float(np.finfo(np.float32).eps))
    np.testing.assert_allclose(std, [1, 1, np.sqrt(0.44)], rtol=1e-6)


def test_the_loss_of_a_batch_is_a_sum_with_weights_over_the_number_of_samples():
    z, y, w = np.array([[1.0], [2], [4]]), np.zeros((3, 1)), np.array([2.0, 0.5, 0.5])
    loss = WeightedSum(cl.MSELoss())
    assert loss.forward(z, y, weights=w) == pytest.approx((2 * 1 + 0.5 * 4 + 0.5 * 16) / 3)
    np.testing.assert_allclose(loss.backward(), 2 * w[:, None] * z / 3)
    assert loss.weight == 3
    assert loss.forward(z, y) == 7


def test_steps_of_an_epoch_add_up_to_the_loss_of_all_samples():
    rng = np.random.default_rng(0)
    z, y, w = rng.normal(size=(12, 3)), rng.integers(0, 3, 12), rng.uniform(0.1, 5, 12)
    w /= w.mean()
    loss = WeightedSum(cl.SoftmaxLoss())
    parts = [(loss.forward(z[b], y[b], weights=w[b]), loss.weight) for b in (slice(5), slice(5, 12))]
    assert np.dot(*zip(*parts, strict=True)) / 12 == pytest.approx(cl.SoftmaxLoss().forward(z, y, weights=w))

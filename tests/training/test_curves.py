"""Statistics of noisy curves."""

import numpy as np
import pytest

from cnnlayers.training.curves import smooth, steepest


def test_a_running_mean_by_hand():
    # 0.1 * 2 / 0.1;  (0.9 * 0.1 * 2 + 0.1 * 4) / 0.19
    np.testing.assert_allclose(smooth([2.0, 4.0]), [2.0, 0.58 / 0.19])
    np.testing.assert_allclose(smooth([3.0] * 20), 3.0)
    assert smooth([]).shape == (0,)


def falling(fall, blow_up, noise, seed, count=100):
    """3 until `fall`, then straight down to 1 over 20 places; far above all from `blow_up`."""
    places = np.arange(count)
    losses = np.interp(places, [fall, fall + 20], [3, 1]) + np.where(places >= blow_up, 50, 0)
    return losses + noise * np.random.default_rng(seed).normal(size=count)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("noise", [0, 0.1, 0.3])
@pytest.mark.parametrize(("fall", "blow_up"), [(40, 70), (60, 200), (30, 95)])
def test_where_a_noisy_curve_falls(fall, blow_up, noise, seed):
    assert fall <= steepest(falling(fall, blow_up, noise, seed)) <= fall + 22


@pytest.mark.parametrize("count", [2, 3, 5, 12, 40, 100])
def test_a_curve_that_never_falls_has_no_place_to_begin(count):
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(size=count)
        assert steepest(np.full(count, 2.0)) is None
        assert steepest(np.linspace(1, 2, count)) is None
        if count >= 40:
            assert steepest(2 + 0.1 * np.arange(count) + 0.1 * noise) is None

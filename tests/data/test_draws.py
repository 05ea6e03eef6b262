"""Numbers that depend on seed, epoch and sample alone."""

import numpy as np
import pytest

from cnnlayers.data.draws import Draws, child_seed, mix, mix_int

N = 100_000


def draws(seed=0, epoch=0, n=N):
    return Draws(seed, epoch, np.arange(n))


def test_mix_is_that_of_the_paper():
    """SplitMix64 with the seed 0: its first outputs as published with the reference implementation."""
    gamma = 0x9E3779B97F4A7C15
    outputs = [mix_int(k * gamma & (1 << 64) - 1) for k in (1, 2, 3)]
    assert outputs == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    np.testing.assert_array_equal(mix(np.array([k * gamma % 2**64 for k in (1, 2, 3)], np.uint64)), outputs)


def test_a_sample_has_its_numbers_wherever_it_stands():
    whole = draws(3, 2, 100)
    order = np.random.default_rng(0).permutation(100)
    some = Draws(3, 2, order[:17])
    for k in (0, 1, 5):
        np.testing.assert_array_equal(some.uniform(k), whole.uniform(k)[order[:17]])


@pytest.mark.parametrize("other", [draws(1, 0), draws(0, 1), Draws(0, 0, np.arange(1, N + 1))])
def test_another_seed_epoch_or_sample_has_others(other):
    a, b = draws().uniform(0), other.uniform(0)
    assert not np.any(a == b)
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.015  # 5 standard deviations


def test_two_numbers_of_a_sample_have_nothing_in_common():
    a, b = draws().uniform(0), draws().uniform(1)
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.015
    assert abs(np.corrcoef(a[1:], b[:-1])[0, 1]) < 0.015


def test_uniform():
    u = draws(7, 9).uniform(0)
    assert u.min() >= 0
    assert u.max() < 1
    counts = np.bincount((u * 100).astype(int), minlength=100)
    chi_square = ((counts - N / 100) ** 2 / (N / 100)).sum()
    assert 50 < chi_square < 160  # 99 degrees of freedom: 4 standard deviations about


def test_integers_and_ranges():
    counts = np.bincount(draws().integers(0, 9))
    assert len(counts) == 9
    assert np.all(abs(counts - N / 9) < 5 * np.sqrt(N / 9))
    between = draws().between(0, -2, 3)
    assert between.min() >= -2
    assert between.max() < 3
    assert between.mean() == pytest.approx(0.5, abs=0.03)


def test_child_seeds_differ():
    seeds = {child_seed(seed, k) for seed in range(50) for k in range(50)}
    assert len(seeds) == 2500
    assert all(0 <= seed < 2**64 for seed in seeds)


def test_large_and_odd_seeds():
    for seed in (2**64 - 1, 2**64, 2**200 + 5):
        assert 0 <= Draws(seed, 2**40, np.array([2**62, -1])).uniform(0)[0] < 1

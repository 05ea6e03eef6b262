"""The softmax loss and its gradient against the definition, number by number."""

import math

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import kernels, reference
from tests.marks import both_dtypes, by_turns, every_level

pytestmark = every_level


def draw(n, c, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.random((n, c))
    rows[rng.random((n, c)) < 0.3] = 0  # 0 log 0
    rows[:, 0] += 0.1
    return 3 * rng.normal(size=(n, c)).astype(dtype), rng.integers(0, c, n), rows / rows.sum(axis=1, keepdims=True)


def by_loops(z, target, divisor, smoothing=0.0, weights=None):
    """Loss and gradient by the definition, with sums that do not round."""
    z = z.astype(np.float64)
    n, c = z.shape
    terms, dz = [], np.zeros((n, c))
    for i in range(n):
        q = [math.exp(v) for v in z[i] - z[i].max()]
        total = math.fsum(q)
        p = [float(j == target[i]) for j in range(c)] if target.ndim == 1 else target[i]
        w = [1.0] * c if weights is None else weights
        spread = smoothing * math.fsum(p) / c
        m = [w[j] * ((1 - smoothing) * p[j] + spread) / divisor for j in range(c)]
        terms += [m[j] * -math.log(q[j] / total) for j in range(c)]
        dz[i] = [math.fsum(m) * q[j] / total - m[j] for j in range(c)]
    return math.fsum(terms), dz


def check(z, target, *options):
    before = z.copy()
    loss, dz = kernels.softmax_loss(z, target, *options)
    expected, gradient = by_loops(z, target, *options)
    assert type(loss) is float
    assert loss == pytest.approx(expected, rel=1e-13)
    assert dz.dtype == z.dtype
    np.testing.assert_allclose(dz, gradient, rtol=0, atol=(1e-7 if z.dtype == np.float32 else 1e-15))
    np.testing.assert_array_equal(z, before)


@both_dtypes
@pytest.mark.parametrize("c", [1, 2, 7, 8, 10, 16, 17, 33, 100])
def test_against_the_loops(c, dtype):
    weights = np.random.default_rng(1).random(c)
    for n in (1, 2, 9):
        z, labels, rows = draw(n, c, dtype)
        left_out = labels.copy()
        left_out[:-1:2] = -7
        for target in (labels, rows, left_out):
            for smoothing in (0.0, 0.1, 1.0):
                check(z, target, float(n), smoothing)
                check(z, target, 2.5, smoothing, weights)


@pytest.mark.parametrize("n", [1, 5])
def test_against_the_reference(n):
    z, labels, _ = draw(n, 10)
    loss, dz = kernels.softmax_loss(z, labels, n)
    expected, gradient = reference.softmax_loss(z, labels)
    assert loss == pytest.approx(expected, rel=1e-14)
    np.testing.assert_allclose(dz, gradient, rtol=1e-13, atol=1e-16)


@by_turns("n,c", [(3000, 10), (20, 2001)])
def test_several_tasks(n, c, dtype):
    z, labels, _ = draw(n, c, dtype)
    check(z, labels, float(n))


@both_dtypes
@pytest.mark.parametrize("options", [(1.0,), (3.0, 0.3), (0.7, 0.1, np.linspace(0, 2, 11))])
def test_a_one_hot_row_gives_the_bits_of_its_label(options, dtype):
    z, labels, _ = draw(50, 11, dtype)
    loss, dz = kernels.softmax_loss(z, labels, *options)
    row_loss, row_dz = kernels.softmax_loss(z, np.eye(11)[labels], *options)
    assert row_loss == loss
    np.testing.assert_array_equal(row_dz, dz)


@both_dtypes
def test_the_exponential_is_true_to_the_last_digits(dtype):
    x = -np.concatenate([np.linspace(0, 80, 4001), np.geomspace(1e-12, 700, 999)]).astype(dtype)
    z = np.stack([np.zeros_like(x), x], axis=1)
    _, dz = kernels.softmax_loss(z, np.zeros(len(x), np.int64), 1.0)
    expected = [math.exp(v) / (1 + math.exp(v)) for v in x.astype(float)]
    keeps = np.array(expected) > np.finfo(dtype).tiny
    np.testing.assert_allclose(dz[keeps, 1], np.array(expected)[keeps], rtol=4 * np.finfo(dtype).eps)
    assert keeps.sum() > 4000


def test_the_largest_score_may_stand_anywhere():
    for c in range(1, 40):
        z = np.zeros((c, c)) + 1000 * np.eye(c)
        loss, dz = kernels.softmax_loss(z, np.arange(c), 1.0)
        assert loss == 0
        np.testing.assert_array_equal(dz, 0)


def by_numpy(z, labels):
    """Log-softmax in NumPy, for what NaN and infinities make of it."""
    with np.errstate(all="ignore"):
        s = z.astype(np.float64) - z.max(axis=1, keepdims=True).astype(np.float64)
        log_q = s - np.log(np.exp(s).sum(axis=1, keepdims=True))
        rows = np.arange(len(z))
        dz = np.exp(log_q)
        dz[rows, labels] -= 1
        return -log_q[rows, labels].sum(), dz


@by_turns("c", [3, 20])
@pytest.mark.parametrize(
    "special", [np.nan, np.inf, -np.inf, np.finfo(np.float32).max, -np.finfo(np.float32).max, -710]
)
def test_special_scores(special, c, dtype):
    for places in ([0], [c - 1], [0, 1], list(range(c))):
        for label in (0, 1, c - 1):
            z, labels, _ = draw(3, c, dtype)
            z[1, places], labels[1] = special, label
            loss, dz = kernels.softmax_loss(z, labels, 1.0)
            expected, gradient = by_numpy(z, labels)
            np.testing.assert_allclose(loss, expected, rtol=1e-13)
            np.testing.assert_allclose(dz, gradient, rtol=1e-5, atol=1e-7)
            np.testing.assert_array_equal(np.isfinite(dz[[0, 2]]), True)


@both_dtypes
def test_a_row_left_out(dtype):
    z, labels, _ = draw(5, 4, dtype)
    labels[[1, 3]] = -1, -(2**63)
    loss, dz = kernels.softmax_loss(z, labels, 3.0, 0.2)
    np.testing.assert_array_equal(dz[[1, 3]], 0)
    kept = [0, 2, 4]
    assert loss == pytest.approx(kernels.softmax_loss(z[kept], labels[kept], 3.0, 0.2)[0], rel=1e-15)


def test_an_empty_batch():
    loss, dz = kernels.softmax_loss(np.zeros((0, 3)), np.zeros(0, np.int64), 1.0)
    assert loss == 0
    assert dz.shape == (0, 3)


def test_the_threads_have_no_say():
    z, labels, rows = draw(3000, 12, np.float32)
    results = []
    for threads in (1, 2, 3, 7):
        cl.set_num_threads(threads)
        for target in (labels, rows):
            results.append([threads, *kernels.softmax_loss(z, target, 3000.0, 0.1)])
    for i, (_, loss, dz) in enumerate(results):
        assert loss == results[i % 2][1]
        assert dz.tobytes() == results[i % 2][2].tobytes()


def test_what_does_not_fit():
    z, labels, rows = draw(3, 4)
    with pytest.raises(ValueError, match="labels must be below 4; got 4 at position 2"):
        kernels.softmax_loss(z, np.array([0, -1, 4]), 1.0)
    with pytest.raises(ValueError, match=r"labels must hold 3 numbers of int64; got int64 \(2,\)"):
        kernels.softmax_loss(z, labels[:2], 1.0)
    with pytest.raises(ValueError, match=r"labels must hold 3 numbers of int64; got int32 \(3,\)"):
        kernels.softmax_loss(z, labels.astype(np.int32), 1.0)
    with pytest.raises(ValueError, match=r"target must hold 12 numbers of float64; got float32 \(3, 4\)"):
        kernels.softmax_loss(z, rows.astype(np.float32), 1.0)
    with pytest.raises(ValueError, match=r"class_weights must hold 4 numbers of float64; got float64 \(3,\)"):
        kernels.softmax_loss(z, labels, 1.0, 0.0, np.ones(3))
    for bad in (z[0], np.zeros((3, 0)), z[None]):
        with pytest.raises(ValueError, match="scores must be rows of at least one number; got shape"):
            kernels.softmax_loss(bad, labels, 1.0)


def test_indices_that_fit():
    assert kernels.indices_fit(np.array([0, 3, 2]), 4)
    assert kernels.indices_fit(np.zeros(0, np.int64), 0)
    for bad in ([0, 4], [-1, 0], [0, 2**63 - 1], [-(2**63)]):
        assert not kernels.indices_fit(np.array(bad), 4)
    assert not kernels.indices_fit(np.array([0]), 0)

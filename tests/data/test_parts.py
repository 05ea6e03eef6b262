"""Data sets of arrays, the split, and the statistics that Normalize takes."""

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.data.datasets import arrays, channel_stats
from cnnlayers.data.parts import BLOCK


def pair(n=20, classes=4, shape=(4, 5, 3)):
    return np.random.default_rng(n).integers(0, 256, (n, *shape), dtype=np.uint8), np.arange(n) % classes


def test_arrays_stay_as_they_are():
    train, val, test = pair(20), pair(5), pair(6)
    data = arrays(train, val, test, classes=["a", "b", "c", "d"])
    assert data.train[0] is train[0]
    assert data.val[0] is val[0]
    assert data.test[0] is test[0]
    assert data.train[1].dtype == np.int64
    assert data.classes == ("a", "b", "c", "d")


def test_parts_that_are_not_there_are_none():
    data = arrays(pair())
    assert data.val is None
    assert data.test is None
    assert repr(data) == "Dataset(train=20 images of 4 x 5 x 3, 4 classes)"
    net = cl.Sequential([cl.Flatten(), cl.Affine(4)], input_shape=(4, 5, 3), rng=0)
    solver = cl.Solver(net, data.train, data.val, loss=cl.SoftmaxLoss(), optimizer=cl.SGD(1e-4), progress=False)
    assert len(solver.train(epochs=1)["train_loss"]) == 1


@pytest.mark.parametrize(
    ("val", "size"), [(0, 0), (3, 3), (0.25, 5), (np.float32(0.1), 2), (np.int64(19), 19), (0.0, 0)]
)
def test_a_part_is_split_off(val, size):
    x, y = np.arange(20).reshape(20, 1), np.arange(20) % 4
    data = arrays((x, y), val=val)
    assert len(data.train[1]) == 20 - size
    if size == 0:
        assert data.val is None
        return
    assert len(data.val[1]) == size
    for a, b in (data.train, data.val):
        np.testing.assert_array_equal(a[:, 0] % 4, b)  # each with its label
        assert np.all(np.diff(a[:, 0]) > 0)  # in the order in which they came
    assert sorted([*data.train[0][:, 0], *data.val[0][:, 0]]) == list(range(20))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32])
def test_rows_that_say_which_labels_hold(dtype):
    x, _ = pair()
    y = (np.random.default_rng(0).random((20, 3)) > 0.5).astype(dtype)
    data = arrays((x, y), val=5, test=(x, y))
    assert data.train[1].dtype == data.test[1].dtype == dtype
    assert (data.train[1].shape, data.val[1].shape) == ((15, 3), (5, 3))
    assert data.classes == ("0", "1", "2")
    assert arrays((x, y), classes="abc").classes == ("a", "b", "c")
    with pytest.raises(ValueError, match=r"arrays: train needs labels \(N,\) or rows \(N, 2\); got shape \(20, 3\)"):
        arrays((x, y), classes="ab")
    with pytest.raises(ValueError, match=r"arrays: test needs labels \(N,\) or rows \(N, 3\); got shape \(20,\)"):
        arrays((x, y), test=pair())
    with pytest.raises(ValueError, match=r"arrays: train: targets must be 0 or 1, .*; got 3 at position \(0, 0\)"):
        arrays((x, np.full((20, 3), 3)))


def test_the_split_is_drawn_from_rng():
    parts = [arrays(pair(), val=5, rng=rng).val[0].tobytes() for rng in (0, 0, 1, np.random.default_rng(0))]
    assert parts[0] == parts[1] == parts[3]
    assert parts[0] != parts[2]


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"train": pair()[0]}, TypeError, r"train must be a pair \(x, y\); got ndarray"),
        (
            {"train": (pair()[0], np.arange(19))},
            ValueError,
            r"train needs samples \(N, ...\) and labels \(N,\); got shapes",
        ),
        ({"train": (np.zeros((0, 3)), np.zeros(0, int))}, ValueError, "train has no samples"),
        ({"train": (pair()[0], np.zeros(20))}, TypeError, "train needs integer labels; got dtype float64"),
        ({"train": (pair()[0], np.arange(20) - 1)}, ValueError, r"train: labels must be in 0\.\.18; found -1"),
        ({"train": pair(), "classes": "abc"}, ValueError, r"train: labels must be in 0\.\.2; found 3 at position 3"),
        (
            {"train": pair(), "test": pair(5, 5), "classes": "abcd"},
            ValueError,
            r"test: labels must be in 0\.\.3; found 4",
        ),
        ({"train": pair(), "test": pair(shape=(4, 4, 3))}, ValueError, r"test has samples of \(4, 4, 3\), train of"),
        ({"train": pair(), "val": 20}, ValueError, "arrays: val=20 leaves none of 20 samples for training"),
        ({"train": pair(), "val": 1.0}, ValueError, "arrays: val must be at least 0 and below 1; got 1.0"),
        ({"train": pair(), "val": -1}, ValueError, "arrays: val must be 0 or more; got -1"),
        ({"train": pair(), "val": True}, TypeError, "arrays: val must be an int; got True"),
        ({"train": pair(), "val": 3, "rng": "a"}, TypeError, "rng must be an int"),
        (
            {"train": (np.zeros((2, 3)), np.array([0, 10**9]))},
            ValueError,
            r"arrays: train: labels must be below 1,000,000; found 1000000000 at position 1",
        ),
        (
            {"train": pair(), "test": (pair()[0], np.arange(20, dtype=np.uint64) + 2**63)},
            ValueError,
            r"arrays: test: labels must be below 1,000,000; found 9223372036854775827 at position 19",
        ),
        (
            {"train": (np.zeros((2, 3)), np.array([0, 10**9])), "classes": "ab"},
            ValueError,
            r"arrays: train: labels must be .*; found 1000000000 at position 1",
        ),
    ],
)
def test_bad_arrays(arguments, error, text):
    with pytest.raises(error, match=text):
        arrays(**arguments)


def test_repr_says_what_the_samples_are():
    assert "train=20 images of 4 x 5 x 3, " in repr(arrays(pair()))
    assert "train=20 signals of 40 x 2, " in repr(arrays(pair(shape=(40, 2))))
    assert "train=20 samples of 7, " in repr(arrays(pair(shape=(7,))))


# Statistics


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(50, 4, 5, 3), (50, 7, 2), (50, 6)])
def test_channel_stats(dtype, shape):
    x = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    mean, std = channel_stats(x)
    axes = tuple(range(len(shape) - 1))
    np.testing.assert_allclose(mean, x.astype(np.float64).mean(axis=axes), rtol=1e-12)
    np.testing.assert_allclose(std, x.astype(np.float64).std(axis=axes), rtol=1e-12)
    assert all(type(v) is float for v in (*mean, *std))


def test_statistics_over_several_blocks_and_far_from_zero():
    x = (np.random.default_rng(0).normal(size=(2 * BLOCK // 1000 + 3, 500, 2)) + 1e6).astype(np.float32)
    mean, std = channel_stats(x)
    np.testing.assert_allclose(mean, x.astype(np.float64).mean(axis=(0, 1)), rtol=1e-12)
    np.testing.assert_allclose(std, x.astype(np.float64).std(axis=(0, 1)), rtol=1e-9)


def test_normalize_fitted_by_them():
    x, _ = pair(100)
    x[..., 1] = 7  # a channel that never varies
    y = cl.Normalize(*channel_stats(x)).forward(x)
    np.testing.assert_allclose(y.mean(axis=(0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(axis=(0, 1, 2)), [1, 0, 1], atol=1e-5)


@pytest.mark.parametrize(
    ("x", "error", "text"),
    [
        (np.zeros((0, 3)), ValueError, r"needs samples with channels, \(N, ..., C\); got shape \(0, 3\)"),
        (np.zeros(3), ValueError, "needs samples with channels"),
        (np.zeros((3, 3), complex), TypeError, "needs real numbers; got dtype complex128"),
    ],
)
def test_bad_statistics(x, error, text):
    with pytest.raises(error, match=text):
        channel_stats(x)

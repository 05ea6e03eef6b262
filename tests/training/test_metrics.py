import numpy as np
import pytest

from cnnlayers.training.metrics import accuracy, confusion, top_k

SCORES = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.4, 0.35, 0.25]])


def test_accuracy_by_hand():
    assert accuracy(SCORES, [1, 0, 2, 0]) == 1
    assert accuracy(SCORES, [1, 0, 2, 1]) == 0.75
    assert accuracy(SCORES.tolist(), np.array([0, 1, 0, 1], np.uint8)) == 0
    assert type(accuracy(SCORES, [1, 0, 2, 0])) is float


def test_accuracy_of_probability_rows():
    assert accuracy(SCORES, np.eye(3)[[1, 0, 2, 1]]) == 0.75
    assert accuracy(SCORES, [[0.2, 0.5, 0.3], [0.2, 0.5, 0.3], [0, 0, 1], [1, 0, 0]]) == 0.75


def test_ignored_labels_are_left_out():
    assert accuracy(SCORES, [1, -100, 0, -100], ignore_label=-100) == 0.5
    assert top_k(SCORES, [1, -100, 0, -100], k=1, ignore_label=-100) == 0.5


def test_ties_go_to_the_first_class_and_nan_is_wrong():
    assert accuracy(np.zeros((2, 3)), [0, 1]) == 0.5
    for label in range(3):
        assert accuracy([[np.nan, 1.0, 2.0]], [label]) == 0
        assert top_k([[np.nan, 1.0, 2.0]], [label], k=3) == 0


def test_top_k_by_hand():
    labels = [2, 1, 0, 2]  # ranks 1, 1, 2, 2 (from 0)
    assert [top_k(SCORES, labels, k=k) for k in (1, 2, 3)] == [0, 0.5, 1]


def test_top_1_is_accuracy_and_top_k_follows_the_sorted_scores():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 4, size=(200, 6)).astype(float)  # with many ties
    labels = rng.integers(0, 6, size=200)
    assert top_k(scores, labels, k=1) == accuracy(scores, labels)
    for k in range(1, 7):
        best = [sorted(range(6), key=lambda c, row=row: (-row[c], c))[:k] for row in scores]
        assert top_k(scores, labels, k=k) == np.mean([label in top for label, top in zip(labels, best, strict=True)])


def test_confusion_by_hand():
    expected = [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    matrix = confusion(SCORES, [1, 0, 2, 0], classes=3)
    np.testing.assert_array_equal(matrix, np.diag([2, 1, 1]))
    matrix = confusion([0, 1, 1, 0], [0, 0, 1, 2], classes=3)
    np.testing.assert_array_equal(matrix, expected)
    assert matrix.dtype == np.int64


def test_confusion_rows_are_the_true_classes():
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(100, 5)), rng.integers(0, 5, 100)
    matrix = confusion(scores, labels, classes=np.int64(5))
    np.testing.assert_array_equal(matrix.sum(axis=1), np.bincount(labels, minlength=5))
    assert np.trace(matrix) / 100 == accuracy(scores, labels)


@pytest.mark.parametrize("metric", [accuracy, top_k])
def test_bad_labels(metric):
    who = metric.__name__
    scores = np.zeros((4, 10))
    with pytest.raises(ValueError, match=rf"{who}: labels must be integers in 0..9; got 10 at position 3"):
        metric(scores, [0, 1, 2, 10])
    with pytest.raises(TypeError, match=rf"{who}: labels must be integers in 0..9; got dtype float64"):
        metric(scores, [0.0, 1, 2, 3])
    with pytest.raises(ValueError, match=rf"{who}: 4 rows of scores need labels of shape \(4,\); got shape \(3,\)"):
        metric(scores, [0, 1, 2])
    with pytest.raises(ValueError, match=rf"{who} needs at least one sample; got an empty batch"):
        metric(np.zeros((0, 3)), [])
    with pytest.raises(ValueError, match=rf"{who} needs at least one label that counts; all 4 are ignore_label=7"):
        metric(scores, [7] * 4, ignore_label=7)


def test_bad_k():
    with pytest.raises(ValueError, match=r"top_k: k must be at most the number of classes, 3; got 5"):
        top_k(SCORES, [0, 0, 0, 0])
    with pytest.raises(ValueError, match=r"top_k: k must be 1 or more; got 0"):
        top_k(SCORES, [0, 0, 0, 0], k=0)
    with pytest.raises(TypeError, match=r"top_k: k must be an int; got True"):
        top_k(SCORES, [0, 0, 0, 0], k=True)


def test_confusion_errors():
    with pytest.raises(ValueError, match=r"confusion: 4 classes need scores \(N, 4\); got shape \(4, 3\)"):
        confusion(SCORES, [0, 0, 0, 0], classes=4)
    with pytest.raises(ValueError, match=r"confusion needs scores without NaN; got one in row 1"):
        confusion([[0.0, 1.0], [np.nan, 1.0]], [0, 0], classes=2)
    with pytest.raises(ValueError, match=r"confusion: labels must be integers in 0..1; got -1 at position 1"):
        confusion([0, 1], [0, -1], classes=2)
    with pytest.raises(ValueError, match=r"confusion needs scores \(N, 2\) or labels \(N,\), N at least 1"):
        confusion([], [], classes=2)
    with pytest.raises(TypeError, match=r"confusion: classes must be an int; got 2.0"):
        confusion([0, 1], [0, 1], classes=2.0)


@pytest.mark.parametrize("metric", [accuracy, top_k])
def test_one_column_has_no_highest_score(metric):
    with pytest.raises(ValueError, match=r"needs scores of at least two classes.*one Sigmoid"):
        metric([[0.2], [0.9]], [0, 0])

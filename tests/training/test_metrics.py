import functools

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.training.metrics import (
    accuracy,
    average_precision,
    confusion,
    f1,
    label_accuracy,
    precision,
    recall,
    top_k,
)

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


# Precision, recall, F1


ANSWERS = np.array([0, 0, 1, 3, 1, 3])  # of four classes; 2 is in neither,
TRUTH = np.array([0, 1, 1, 1, 0, 1])  # and 3 in no label
BY_HAND = {precision: [1 / 2, 1 / 2, np.nan, 0], recall: [1 / 2, 1 / 4, np.nan, 0], f1: [1 / 2, 1 / 3, np.nan, 0]}


@pytest.mark.parametrize("metric", BY_HAND)
def test_a_class_that_is_not_there_is_left_out_without_a_warning(metric):
    scores, expected = np.eye(4)[ANSWERS], BY_HAND[metric]
    np.testing.assert_allclose(metric(scores, TRUTH, average=None), expected)
    assert metric(scores, TRUTH) == pytest.approx(np.nanmean(expected))
    assert type(metric(scores, TRUTH)) is float


@pytest.mark.parametrize("metric", BY_HAND)
def test_of_a_confusion_matrix(metric):
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(300, 5)), rng.integers(0, 5, 300)
    matrix = confusion(scores, labels)
    p, r = np.diag(matrix) / matrix.sum(axis=0), np.diag(matrix) / matrix.sum(axis=1)
    expected = {precision: p, recall: r, f1: 2 * p * r / (p + r)}[metric]
    np.testing.assert_allclose(metric(scores, labels, None), expected)


@pytest.mark.parametrize("metric", [precision, recall, f1, average_precision])
def test_weights_are_copies(metric):
    rng = np.random.default_rng(0)
    scores, times = np.round(rng.normal(size=(20, 3)), 1), rng.integers(0, 3, 20)
    for target in (rng.integers(0, 3, 20), rng.integers(0, 2, (20, 3))):
        expected = metric(np.repeat(scores, times, axis=0), np.repeat(target, times, axis=0))
        assert metric(scores, target, weights=times) == pytest.approx(expected)
    x = confusion(scores, np.arange(20) % 3, weights=times)
    np.testing.assert_array_equal(x, confusion(np.repeat(scores, times, axis=0), np.repeat(np.arange(20) % 3, times)))
    assert x.dtype == np.float64


@pytest.mark.parametrize("metric", [accuracy, top_k, precision, recall, f1, average_precision])
def test_ignored_labels(metric):
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(20, 6)), rng.integers(0, 6, 20)
    some = np.where(np.arange(20) < 5, -1, labels)
    assert metric(scores, some, ignore_label=-1) == metric(scores[5:], labels[5:])
    weights = np.arange(20)
    assert metric(scores, some, ignore_label=-1, weights=weights) == metric(scores[5:], labels[5:], weights=weights[5:])


def test_labels_of_which_any_may_hold():
    scores = [[2.0, -1.0, 0.5, -1], [0.1, 3.0, -2.0, -1], [-1.0, -0.5, 1.0, -1]]
    target = [[1, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0]]
    np.testing.assert_allclose(precision(scores, target, None), [1 / 2, 1, 1 / 2, np.nan])
    np.testing.assert_allclose(recall(scores, target, None), [1, 1 / 2, 1 / 2, np.nan])
    np.testing.assert_allclose(f1(scores, target, None), [2 / 3, 2 / 3, 1 / 2, np.nan])
    np.testing.assert_allclose(label_accuracy(scores, target, None), [2 / 3, 2 / 3, 1 / 3, 1])
    assert label_accuracy(scores, target) == pytest.approx(8 / 12)
    assert label_accuracy(scores, target, weights=[1, 0, 0]) == 3 / 4
    assert label_accuracy(scores, np.array(target) * 0.8 + 0.1) == pytest.approx(8 / 12)


@pytest.mark.parametrize("of_scores", [(4,), (4, 1)])
@pytest.mark.parametrize("of_target", [(4,), (4, 1)])
def test_one_label(of_scores, of_target):
    scores = np.reshape([0.5, -1.0, 2.0, -0.1], of_scores)
    target = np.reshape([1, 0, 0, 1], of_target)
    assert [metric(scores, target) for metric in (label_accuracy, precision, recall, f1)] == [0.5] * 4
    assert average_precision(scores, target) == pytest.approx(1 / 2 * 1 / 2 + 1 / 2 * 2 / 3)


def test_maps_have_a_sample_at_each_pixel():
    rng = np.random.default_rng(0)
    scores, target = rng.normal(size=(2, 3, 4, 2)), rng.integers(0, 2, (2, 3, 4, 2))
    for metric in (label_accuracy, precision, recall, f1, average_precision):
        flat = metric(scores.reshape(-1, 2), target.reshape(-1, 2))
        assert metric(scores, target) == flat
        assert metric(scores, target, weights=[0, 1]) == metric(scores[1:], target[1:])
        assert metric(scores[..., :1], target[..., 0]) == metric(scores[..., 0].ravel(), target[..., 0].ravel())


def test_average_precision_by_hand():
    assert average_precision([3.0, 2.0, 1.0], [1, 1, 0]) == 1
    assert average_precision([3.0, 2.0, 1.0], [0, 0, 1]) == pytest.approx(1 / 3)
    assert average_precision([1.0, 1.0, 1.0, 0.0], [1, 0, 0, 1]) == pytest.approx(1 / 2 * 1 / 3 + 1 / 2 * 2 / 4)  # ties
    each = average_precision([[3.0, 0.0], [1.0, 1.0]], [[1, 0], [0, 0]], average=None)
    np.testing.assert_array_equal(each, [1, np.nan])
    assert average_precision([[3.0, 0.0], [1.0, 1.0]], [[1, 0], [0, 0]]) == 1
    probabilities = [[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.6, 0.3, 0.1]]
    np.testing.assert_allclose(average_precision(probabilities, [0, 0, 1], None), [5 / 6, 1 / 2, np.nan])


def test_nothing_is_there():
    for metric in (precision, recall, f1, average_precision):
        assert np.isnan(metric([[-1.0], [-2.0]], [[0], [0]]))


def test_nan_is_wrong():
    for target in ([1, 0], [0, 1]):
        assert label_accuracy([np.nan, np.nan], target) == 0
        assert f1([np.nan, np.nan], target) == 0
        assert average_precision([np.nan, np.nan], target) == 1 / 2  # last of two
    assert average_precision([np.inf, 1.0, -np.inf, np.nan], [1, 0, 0, 1]) == pytest.approx(1 / 2 + 1 / 2 * 2 / 4)
    np.testing.assert_array_equal(recall([[np.nan, 1.0], [0.0, 1.0]], [1, 1], None), [np.nan, 1 / 2])


@pytest.mark.parametrize("metric", [label_accuracy, precision, recall, f1, average_precision])
def test_what_they_refuse(metric):
    who = metric.__name__
    with pytest.raises(ValueError, match=rf'{who}: average must be "macro" or None; got "?\'?micro'):
        metric([1.0, 2.0], [0, 1], "micro")
    with pytest.raises(ValueError, match=rf"{who} needs a target of the scores' shape \(2, 3\); got shape \(2, 2\)"):
        metric(np.zeros((2, 3)), np.zeros((2, 2)))
    with pytest.raises(
        ValueError, match=rf"{who}: targets must be 0 or 1, or probabilities between; got 2 at position 1"
    ):
        metric([1.0, 2.0], [0, 2])
    with pytest.raises(ValueError, match=rf"{who} needs at least one sample"):
        metric(np.zeros((0, 3)), np.zeros((0, 3)))
    with pytest.raises(ValueError, match=rf"{who}: weights must be finite and at least 0"):
        metric([1.0, 2.0], [0, 1], weights=[1, np.nan])


# Where they are found


def test_they_are_in_one_place():
    assert cl.metrics.accuracy is cl.accuracy
    assert {"accuracy", "top_k", "confusion", "precision", "recall", "f1", "average_precision"} < set(
        cl.metrics.__all__
    )


def test_in_a_solver():
    x, y = cl.datasets.digits().val
    metrics = {
        "top3": functools.partial(cl.metrics.top_k, k=3),
        "f1": cl.metrics.f1,
        "recall of 7": lambda z, t: cl.metrics.recall(z, t, average=None)[7],
    }
    solver = cl.Solver(
        *(cl.models.linear(rng=0), (x, y, np.ones(len(y)))),
        loss=cl.SoftmaxLoss(),
        optimizer=cl.SGD(lr=0.1),
        metrics=metrics,
        progress=False,
    )
    history = solver.train(2)
    assert solver.evaluate(x, y)["top3"] == top_k(solver.model.predict(x), y, 3)
    assert set(history.keys()) >= {"train_top3", "train_f1", "train_recall of 7"}


def test_the_number_of_classes_is_known_from_the_scores_or_labels():
    np.testing.assert_array_equal(confusion([0, 1], [2, 1]), [[0, 0, 0], [0, 1, 0], [1, 0, 0]])
    assert confusion(SCORES, [0, 0, 0, 0]).shape == (3, 3)

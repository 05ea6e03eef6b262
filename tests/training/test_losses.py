import math

import numpy as np
import pytest

from cnnlayers.reference.loss import hinge_loss, mse_loss, softmax_loss
from cnnlayers.training.losses import HingeLoss, Loss, MSELoss, SigmoidLoss, SoftmaxLoss

N, C = 6, 4


def draw(seed=0, n=N, c=C):
    """Scores, labels and probability rows."""
    rng = np.random.default_rng(seed)
    rows = rng.random((n, c))
    return rng.normal(size=(n, c), scale=2), rng.integers(0, c, n), rows / rows.sum(axis=1, keepdims=True)


def numeric_gradient(loss, scores, target, h=1e-6):
    """Central differences."""
    grad = np.zeros_like(scores)
    for i in np.ndindex(scores.shape):
        up, down = scores.copy(), scores.copy()
        up[i] += h
        down[i] -= h
        grad[i] = (loss.forward(up, target) - loss.forward(down, target)) / (2 * h)
    return grad


def check_gradient(loss, scores, target):
    numeric = numeric_gradient(loss, scores, target)
    loss.forward(scores, target)
    analytic = loss.backward()
    assert np.abs(analytic).max() > 1e-3
    np.testing.assert_allclose(analytic, numeric, rtol=0, atol=1e-7 * np.abs(numeric).max() + 1e-9)


# By hand


def test_softmax_by_hand():
    loss = SoftmaxLoss()
    value = loss.forward(np.log([[1.0, 3.0], [1.0, 1.0]]), [1, 0])
    assert value == pytest.approx((math.log(4 / 3) + math.log(2)) / 2, rel=1e-14)
    np.testing.assert_allclose(loss.backward(), [[1 / 8, -1 / 8], [-1 / 4, 1 / 4]], rtol=1e-14)
    assert type(value) is float
    assert loss.weight == 2


def test_softmax_gradient_of_one_sample_is_p_minus_e_y():
    z = np.array([[0.3, -1.2, 2.0]])
    p = np.exp(z) / np.exp(z).sum()
    loss = SoftmaxLoss()
    loss.forward(z, [1])
    np.testing.assert_allclose(loss.backward(), p - [[0, 1, 0]], rtol=1e-14)


def test_smoothing_by_hand():
    loss = SoftmaxLoss(label_smoothing=0.2)
    value = loss.forward(np.log([[1.0, 3.0]]), [1])  # targets 0.1 and 0.9
    assert value == pytest.approx(-0.1 * math.log(0.25) - 0.9 * math.log(0.75), rel=1e-14)
    np.testing.assert_allclose(loss.backward(), [[0.15, -0.15]], rtol=1e-13)


def test_class_weights_by_hand():
    loss = SoftmaxLoss(class_weights=[1, 3])
    value = loss.forward(np.log([[1.0, 3.0], [1.0, 1.0]]), [1, 0])
    assert value == pytest.approx((3 * math.log(4 / 3) + 1 * math.log(2)) / 4, rel=1e-14)
    assert loss.weight == 4


def test_hinge_by_hand():
    loss = HingeLoss()
    scores = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
    assert loss.forward(scores, [0, 1, 2]) == pytest.approx((2.9 + 0 + 12.9) / 3, rel=1e-14)
    np.testing.assert_allclose(loss.backward(), np.array([[-1, 1, 0], [0, 0, 0], [1, 1, -2]]) / 3)
    assert loss.weight == 3


def test_hinge_gradient_is_0_at_the_kink():
    loss = HingeLoss()
    assert loss.forward([[2.0, 1.0, 1.0]], [0]) == 0
    np.testing.assert_array_equal(loss.backward(), [[0, 0, 0]])


def test_mse_by_hand():
    loss = MSELoss()
    assert loss.forward([[1.0, 2.0], [3.0, 4.0]], [[1, 0], [0, 8]]) == (0 + 4 + 9 + 16) / 4
    np.testing.assert_array_equal(loss.backward(), [[0, 1], [1.5, -2]])
    assert loss.weight == 4


# Against the loops

OPTIONS = [
    {},
    {"label_smoothing": 0.1},
    {"label_smoothing": 1.0},
    {"class_weights": [0.5, 2.0, 0.0, 1.0]},
    {"label_smoothing": 0.3, "class_weights": [0.5, 2.0, 1.5, 1.0]},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("form", ["labels", "rows"])
def test_softmax_against_the_loop(options, form):
    scores, labels, rows = draw()
    target = labels if form == "labels" else rows
    loss = SoftmaxLoss(**options)
    expected, _ = softmax_loss(scores, target, **options)
    assert loss.forward(scores, target) == pytest.approx(expected, rel=1e-13)
    check_gradient(loss, scores, target)


@pytest.mark.parametrize("ignore", [-100, -1, 2, 255])
@pytest.mark.parametrize("options", OPTIONS)
def test_ignored_labels_against_the_loop(options, ignore):
    scores, labels, _ = draw()
    labels[[1, 4]] = ignore
    loss = SoftmaxLoss(**options, ignore_label=ignore)
    expected, _ = softmax_loss(scores, labels, **options, ignore_label=ignore)
    assert loss.forward(scores, labels) == pytest.approx(expected, rel=1e-13)
    check_gradient(loss, scores, labels)
    np.testing.assert_array_equal(loss.backward()[[1, 4]], 0)


@pytest.mark.parametrize("options", OPTIONS)
def test_a_one_hot_row_gives_what_its_label_gives(options):
    scores, labels, _ = draw()
    loss = SoftmaxLoss(**options)
    by_label, label_grad, label_weight = loss.forward(scores, labels), loss.backward(), loss.weight
    assert loss.forward(scores, np.eye(C)[labels]) == by_label
    np.testing.assert_array_equal(loss.backward(), label_grad)
    assert loss.weight == label_weight


def test_hinge_against_the_loop():
    scores, labels, _ = draw()
    loss = HingeLoss()
    expected, _ = hinge_loss(scores, labels)
    assert loss.forward(scores, labels) == pytest.approx(expected, rel=1e-14)
    check_gradient(loss, scores, labels)


@pytest.mark.parametrize("shape", [(5,), (4, 3), (2, 3, 4, 2), ()])
def test_mse_of_any_shape(shape):
    rng = np.random.default_rng(0)
    scores, target = rng.normal(size=shape), rng.normal(size=shape)
    loss = MSELoss()
    expected, gradient = mse_loss(scores, target)
    assert loss.forward(scores, target) == pytest.approx(expected, rel=1e-13)
    np.testing.assert_allclose(loss.backward(), gradient, rtol=1e-14)
    assert loss.backward().shape == shape
    assert loss.weight == math.prod(shape)
    check_gradient(loss, np.asarray(scores), target)


# What holds for all

MEANS = [SoftmaxLoss(), SoftmaxLoss(0.1, [1, 2, 3, 4], -1), HingeLoss(), MSELoss(), SigmoidLoss(2, 0.1)]
SUMS = [type(loss)(**loss.config() | {"reduction": "sum"}) for loss in MEANS]
LOSSES = [*MEANS, *SUMS]


def target_for(loss):
    scores, labels, rows = draw()
    return scores, rows if isinstance(loss, MSELoss | SigmoidLoss) else labels


@pytest.mark.parametrize("loss", MEANS, ids=repr)
def test_batches_average_to_the_whole_by_weight(loss):
    scores, target = target_for(loss)
    whole = loss.forward(scores, target)
    total = divisor = 0.0
    for part in (slice(0, 1), slice(1, 3), slice(3, N)):
        total += loss.forward(scores[part], target[part]) * loss.weight
        divisor += loss.weight
    assert total / divisor == pytest.approx(whole, rel=1e-14)


def test_sums_by_hand():
    loss = SoftmaxLoss(reduction="sum")
    value = loss.forward(np.log([[1.0, 3.0], [1.0, 1.0]]), [1, 0])
    assert value == pytest.approx(math.log(4 / 3) + math.log(2), rel=1e-14)
    np.testing.assert_allclose(loss.backward(), [[1 / 4, -1 / 4], [-1 / 2, 1 / 2]], rtol=1e-14)
    assert loss.weight == 2
    value = loss.forward(np.log([[1.0, 3.0], [1.0, 1.0]]), [1, 0], weights=[3, 0.5])
    assert value == pytest.approx(3 * math.log(4 / 3) + 0.5 * math.log(2), rel=1e-14)
    assert MSELoss(reduction="sum").forward([[1.0, 2.0], [3.0, 4.0]], [[1, 0], [0, 8]]) == 0 + 4 + 9 + 16


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
@pytest.mark.parametrize(("mean", "loss"), list(zip(MEANS, SUMS, strict=True)), ids=repr)
def test_a_sum_is_what_the_mean_divides(mean, loss, weighted):
    scores, target = target_for(loss)
    weights = np.arange(N) / 2 if weighted else None
    value = loss.forward(scores, target, weights)
    assert value == pytest.approx(mean.forward(scores, target, weights) * mean.weight, rel=1e-13)
    assert loss.weight == mean.weight != 1
    np.testing.assert_allclose(loss.backward(), mean.backward() * mean.weight, rtol=1e-13, atol=1e-15)
    parts = (slice(0, 1), slice(1, 3), slice(3, N))
    given = [(scores[part], target[part], None if weights is None else weights[part]) for part in parts[weighted:]]
    assert sum(loss.forward(*part) for part in given) == pytest.approx(value, rel=1e-13)


@pytest.mark.parametrize("loss", SUMS, ids=repr)
def test_the_gradient_of_a_sum_is_its_slope(loss):
    check_gradient(loss, *target_for(loss))


@pytest.mark.parametrize("kind", [SoftmaxLoss, HingeLoss, MSELoss, SigmoidLoss])
def test_wrong_reductions(kind):
    for wrong in ("none", None, True):
        with pytest.raises(ValueError, match=f'{kind.__name__}: reduction must be "mean" or "sum"; got {wrong!r}'):
            kind(reduction=wrong)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_dtype_of_the_scores_is_kept(loss):
    scores, target = target_for(loss)
    exact = loss.forward(scores, target)
    assert loss.backward().dtype == np.float64
    for given, result in [("f4", "f4"), (">f4", "f4"), (">f8", "f8"), ("f2", "f4")]:
        value = loss.forward(scores.astype(given), target)
        assert value == pytest.approx(exact, rel=1e-2)
        assert loss.backward().dtype == np.dtype(result)
    loss.forward(np.arange(N * C).reshape(N, C) % 5, target)
    assert loss.backward().dtype == np.float32


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_inputs_are_not_written_and_may_lie_in_any_way(loss):
    scores, target = target_for(loss)
    expected, grad = loss.forward(scores, target), loss.backward()
    for odd in (
        np.asfortranarray(scores),
        np.repeat(scores, 2, axis=1)[:, ::2],
        scores[::-1].copy()[::-1],
        scores.tolist(),
    ):
        before = np.array(odd)
        if isinstance(odd, np.ndarray):
            odd.setflags(write=False)
        assert loss.forward(odd, target.tolist()) == pytest.approx(expected, rel=1e-14)
        np.testing.assert_allclose(loss.backward(), grad, rtol=1e-13)
        np.testing.assert_array_equal(odd, before)


@pytest.mark.parametrize("loss", [SoftmaxLoss(), SoftmaxLoss(ignore_label=2), HingeLoss()], ids=repr)
@pytest.mark.parametrize("dtype", ["i1", "u1", "<i2", ">i4", "u4", ">i8", "u8"])
def test_labels_of_any_integer_dtype_and_strides(loss, dtype):
    scores, labels, _ = draw()
    expected, grad = loss.forward(scores, labels), loss.backward()
    for given in (
        labels.astype(dtype),
        np.repeat(labels.astype(dtype), 2)[::2],
        labels.astype(dtype)[::-1].copy()[::-1],
    ):
        assert loss.forward(scores, given) == expected
        np.testing.assert_array_equal(loss.backward(), grad)


@pytest.mark.parametrize("options", OPTIONS)
def test_probability_rows_may_lie_in_any_way(options):
    scores, _, rows = draw()
    loss = SoftmaxLoss(**options)
    expected, grad = loss.forward(scores, rows), loss.backward()
    for given in (np.asfortranarray(rows), np.repeat(rows, 2, axis=1)[:, ::2], rows[::-1].copy()[::-1], rows.tolist()):
        assert loss.forward(scores, given) == expected
        np.testing.assert_array_equal(loss.backward(), grad)


@pytest.mark.parametrize("options", OPTIONS)
def test_large_batches_against_the_loop(options):
    scores, labels, rows = draw(n=2500)
    loss = SoftmaxLoss(**options, ignore_label=1)
    for target in (rows, labels):
        expected, gradient = softmax_loss(scores, target, **options, ignore_label=1)
        assert loss.forward(scores, target) == pytest.approx(expected, rel=1e-12)
        np.testing.assert_allclose(loss.backward(), gradient, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(loss.backward()[labels != 1].sum(), 0, atol=1e-12)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_backward_twice_gives_the_same_in_fresh_arrays(loss):
    scores, target = target_for(loss)
    loss.forward(scores, target)
    first = loss.backward()
    kept = first.copy()
    first[...] = 7
    second = loss.backward()
    np.testing.assert_array_equal(second, kept)
    loss.forward(scores + 1, target)
    loss.backward()
    np.testing.assert_array_equal(second, kept)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_the_callers_later_writes_do_not_reach_the_gradient(loss):
    scores, target = target_for(loss)
    loss.forward(scores, target)
    expected = loss.backward()
    scores[...] = 0
    target[...] = 0
    np.testing.assert_array_equal(loss.backward(), expected)


@pytest.mark.parametrize("make_loss", [SoftmaxLoss, HingeLoss, MSELoss, SigmoidLoss])
def test_backward_needs_a_forward_that_went_well(make_loss):
    loss = make_loss()
    message = rf"{make_loss.__name__}\(\): backward\(\) needs a forward\(\) before it"
    with pytest.raises(RuntimeError, match=message):
        loss.backward()
    scores, target = target_for(loss)
    loss.forward(scores, target)
    with pytest.raises(ValueError, match=make_loss.__name__):
        loss.forward(scores, target[:3])
    with pytest.raises(RuntimeError, match=message):
        loss.backward()


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_config_rebuilds_and_repr_is_the_constructor(loss):
    twin = type(loss)(**loss.config())
    scores, target = target_for(loss)
    assert twin.forward(scores, target) == loss.forward(scores, target)
    assert eval(repr(loss)).config() == loss.config()


def test_repr():
    assert repr(SoftmaxLoss()) == "SoftmaxLoss()"
    assert repr(SoftmaxLoss(np.float32(0.5), np.array([1, 2]), np.int8(-1))) == (
        "SoftmaxLoss(label_smoothing=0.5, class_weights=(1.0, 2.0), ignore_label=-1)"
    )


def test_metrics():
    scores = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    assert SoftmaxLoss().metrics()["accuracy"](scores, [1, 0, 1]) == pytest.approx(2 / 3)
    assert SoftmaxLoss(ignore_label=-1).metrics()["accuracy"](scores, [1, 0, -1]) == 1
    assert HingeLoss().metrics()["accuracy"](scores, [1, 1, 1]) == pytest.approx(1 / 3)
    assert MSELoss().metrics() == {}


def test_a_loss_of_ones_own():
    class AbsoluteLoss(Loss):
        def __init__(self, scale=1.0):
            super().__init__()
            self.scale = scale

        def forward(self, scores, target):
            self.weight = scores.size
            self._saved = np.sign(scores - target) * self.scale / scores.size
            return float(np.abs(scores - target).mean() * self.scale)

        def backward(self):
            return self._take().copy()

    loss = AbsoluteLoss(scale=3.0)
    assert repr(loss) == "AbsoluteLoss(scale=3.0)"
    assert loss.config() == {"scale": 3.0}
    rng = np.random.default_rng(0)
    check_gradient(loss, rng.normal(size=(3, 2)), rng.normal(size=(3, 2)))
    for method in (lambda: Loss().forward(0, 0), lambda: Loss().backward()):
        with pytest.raises(NotImplementedError, match="Loss has no"):
            method()


# Extremes


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_scores_do_not_overflow(dtype):
    loss = SoftmaxLoss()
    big = np.finfo(dtype).max
    assert loss.forward(np.array([[big, 0, -big]], dtype), [0]) == 0
    assert math.copysign(1, loss.forward(np.array([[big, 0, -big]], dtype), [0])) == 1
    np.testing.assert_array_equal(loss.backward(), [[0, 0, 0]])
    assert loss.forward(np.array([[1000, 0, 0]], dtype), [2]) == 1000
    np.testing.assert_array_equal(loss.backward(), [[1, 0, -1]])
    assert loss.forward(np.array([[1000, 0, 0]], dtype), [[1, 0, 0]]) == 0


def test_huge_float32_scores_have_an_exact_loss():
    loss = SoftmaxLoss()
    big = float(np.finfo(np.float32).max)
    assert loss.forward(np.array([[big, -big]], np.float32), [1]) == 2 * big


def test_a_class_ruled_out_by_minus_inf():
    loss = SoftmaxLoss()
    assert loss.forward([[0.0, 0.0, -np.inf]], [0]) == pytest.approx(math.log(2))
    np.testing.assert_allclose(loss.backward(), [[-0.5, 0.5, 0]])
    assert loss.forward([[0.0, 0.0, -np.inf]], [2]) == math.inf


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("loss", [SoftmaxLoss(), HingeLoss(), MSELoss(), SigmoidLoss()], ids=repr)
def test_nan_and_inf_reach_the_loss_without_a_warning(loss, bad):
    scores, target = target_for(loss)
    wrong = (int(target[2]) + 1) % C if target.ndim == 1 else 0
    scores[2, wrong] = bad
    assert not math.isfinite(loss.forward(scores, target))
    loss.backward()


def test_huge_differences_give_inf_without_a_warning():
    assert MSELoss().forward([1e200], [-1e200]) == math.inf
    loss = MSELoss()
    loss.forward(np.array([3e38], np.float32), [-3e38])
    assert np.isinf(loss.backward()).all()
    assert HingeLoss().forward([[1e308, -1e308, 0]], [1]) == math.inf


# Errors

CLASSIFIERS = [SoftmaxLoss(), HingeLoss()]


@pytest.mark.parametrize("loss", CLASSIFIERS, ids=repr)
def test_bad_labels(loss):
    who = type(loss).__name__
    scores = np.zeros((4, 10))
    with pytest.raises(ValueError, match=rf"{who}: labels must be integers in 0..9; got 10 at position 3"):
        loss.forward(scores, [0, 1, 2, 10])
    with pytest.raises(ValueError, match=rf"{who}: labels must be integers in 0..9; got -1 at position 1"):
        loss.forward(scores, [0, -1, 2, 3])
    with pytest.raises(ValueError, match=rf"{who}: labels must be integers in 0..9; got {2**64 - 1} at position 0"):
        loss.forward(scores, np.array([2**64 - 1, 0, 0, 0], np.uint64))
    for bad, name in [
        (np.zeros(4), "float64"),
        (np.zeros(4, bool), "bool"),
        ([None] * 4, "object"),
        (["1"] * 4, "<U1"),
    ]:
        with pytest.raises(TypeError, match=rf"{who}: labels must be integers in 0..9; got dtype {name}"):
            loss.forward(scores, bad)
    with pytest.raises(ValueError, match=rf"{who}: 4 rows of scores need labels of shape \(4,\); got shape \(5,\)"):
        loss.forward(scores, [0, 1, 2, 3, 4])


@pytest.mark.parametrize("loss", CLASSIFIERS, ids=repr)
@pytest.mark.parametrize("shape", [(4,), (4, 2, 2), (4, 0), ()])
def test_scores_must_be_rows(loss, shape):
    with pytest.raises(ValueError, match=rf"{type(loss).__name__} needs scores \(N, C\).*; got shape \("):
        loss.forward(np.zeros(shape), [0, 0, 0, 0])


@pytest.mark.parametrize("loss", CLASSIFIERS, ids=repr)
def test_an_empty_batch_is_refused(loss):
    with pytest.raises(ValueError, match=rf"{type(loss).__name__} needs at least one sample; got an empty batch"):
        loss.forward(np.zeros((0, 3)), np.zeros(0, int))


@pytest.mark.parametrize("loss", [*CLASSIFIERS, MSELoss()], ids=repr)
@pytest.mark.parametrize("dtype", [complex, object, "U1", "M8[s]"])
def test_scores_must_be_real_numbers(loss, dtype):
    with pytest.raises(TypeError, match=rf"{type(loss).__name__}: scores must be real numbers; got dtype"):
        loss.forward(np.zeros((2, 3), dtype), [0, 1])


def test_bad_probability_rows():
    loss = SoftmaxLoss()
    scores = np.zeros((2, 3))
    good = [0.2, 0.3, 0.5]
    for bad in ([0.5, -0.1, 0.6], [np.nan, 0, 1], [np.inf, 0, 0]):
        with pytest.raises(
            ValueError, match=r"SoftmaxLoss: probability rows must be finite and at least 0; got .* in row 1"
        ):
            loss.forward(scores, [good, bad])
    with pytest.raises(ValueError, match=r"SoftmaxLoss: probability rows must sum to 1; got 1.1 in row 0"):
        loss.forward(scores, [[0.3, 0.3, 0.5], good])
    for shape in [(2, 4), (3, 3), (2, 1), (2, 3, 1), ()]:
        with pytest.raises(
            ValueError, match=r"SoftmaxLoss: scores of shape \(2, 3\) need integer labels \(2,\) or prob"
        ):
            loss.forward(scores, np.zeros(shape))
    with pytest.raises(TypeError, match=r"SoftmaxLoss: probability rows must be real numbers; got dtype complex128"):
        loss.forward(scores, np.zeros((2, 3), complex))
    assert loss.forward(scores, [[0.2, 0.3, 0.4995], good]) == pytest.approx(math.log(3), rel=1e-3)


def test_hinge_takes_labels_alone():
    with pytest.raises(
        ValueError, match=r"HingeLoss: 2 rows of scores need labels of shape \(2,\); got shape \(2, 3\)"
    ):
        HingeLoss().forward(np.zeros((2, 3)), np.eye(3)[:2])


def test_a_wholly_ignored_batch_is_refused():
    with pytest.raises(ValueError, match=r"needs at least one label that counts; all 2 are ignore_label=-100"):
        SoftmaxLoss(ignore_label=-100).forward(np.zeros((2, 3)), [-100, -100])


def test_a_label_that_is_not_ignored_is_still_checked():
    with pytest.raises(ValueError, match=r"labels must be integers in 0..2; got -1 at position 1"):
        SoftmaxLoss(ignore_label=-100).forward(np.zeros((2, 3)), [-100, -1])


def test_class_weights_are_checked():
    with pytest.raises(ValueError, match=r"SoftmaxLoss: 3 classes need 3 class_weights; got 2"):
        SoftmaxLoss(class_weights=[1, 2]).forward(np.zeros((2, 3)), [0, 1])
    with pytest.raises(ValueError, match=r"SoftmaxLoss needs a label of positive class weight; all in this batch have"):
        SoftmaxLoss(class_weights=[0, 0, 1]).forward(np.zeros((2, 3)), [0, 1])
    for bad in ([1, -1], [1, np.nan], [1, np.inf]):
        with pytest.raises(ValueError, match=r"SoftmaxLoss: class_weights must be finite and at least 0; got"):
            SoftmaxLoss(class_weights=bad)
    with pytest.raises(ValueError, match=r"SoftmaxLoss: class_weights must not all be 0; got \[0, 0\]"):
        SoftmaxLoss(class_weights=[0, 0])
    for bad in (1.0, [[1, 2]], []):
        with pytest.raises(ValueError, match=r"SoftmaxLoss: class_weights must be one number per class, \(C,\); got"):
            SoftmaxLoss(class_weights=bad)
    with pytest.raises(TypeError, match=r"SoftmaxLoss: class_weights must be real numbers; got dtype <U1"):
        SoftmaxLoss(class_weights=["a", "b"])


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, np.nan])
def test_smoothing_out_of_range(smoothing):
    with pytest.raises(ValueError, match=r"SoftmaxLoss: label_smoothing must be at least 0 and at most 1; got"):
        SoftmaxLoss(label_smoothing=smoothing)


@pytest.mark.parametrize("smoothing", [True, "0.1", None])
def test_smoothing_of_another_type(smoothing):
    with pytest.raises(TypeError, match=r"SoftmaxLoss: label_smoothing must be a number; got"):
        SoftmaxLoss(label_smoothing=smoothing)


@pytest.mark.parametrize("label", [True, 1.0, "1"])
def test_ignore_label_of_another_type(label):
    with pytest.raises(TypeError, match=r"SoftmaxLoss: ignore_label must be an int; got"):
        SoftmaxLoss(ignore_label=label)


def test_mse_does_not_broadcast():
    loss = MSELoss()
    with pytest.raises(ValueError, match=r"MSELoss needs a target of the scores' shape \(4, 1\); got shape \(4,\)"):
        loss.forward(np.zeros((4, 1)), np.zeros(4))
    with pytest.raises(ValueError, match=r"MSELoss needs at least one element; got an empty batch of shape \(0, 3\)"):
        loss.forward(np.zeros((0, 3)), np.zeros((0, 3)))
    with pytest.raises(TypeError, match=r"MSELoss: the target must be real numbers; got dtype complex128"):
        loss.forward(np.zeros(3), np.zeros(3, complex))


def test_mse_casts_uint8_without_wrapping_around():
    loss = MSELoss()
    assert loss.forward(np.zeros((1, 2), np.float32), np.array([[1, 255]], np.uint8)) == (1 + 255**2) / 2
    assert loss.forward(np.zeros((1, 2), np.uint8), np.array([[1, 255]], np.uint8)) == (1 + 255**2) / 2
    np.testing.assert_array_equal(loss.backward(), [[-1, -255]])

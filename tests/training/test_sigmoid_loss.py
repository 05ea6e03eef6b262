"""SigmoidLoss: the cross-entropy of yes and no, and training with it."""

import math

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.reference.sigmoid_loss import sigmoid_loss
from tests.training.solving import bits, solver_of

N, L = 6, 4


def drawn(seed=0):
    """Scores, what holds, and probabilities."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(N, L), scale=2), rng.integers(0, 2, (N, L)), rng.random((N, L))


OPTIONS = [
    {},
    {"label_smoothing": 0.1},
    {"label_smoothing": 1.0},
    {"pos_weight": 2.5},
    {"pos_weight": [0.5, 2, 0, 1], "label_smoothing": 0.2},
]
every_option = pytest.mark.parametrize("options", OPTIONS, ids=str)


# By hand


def test_by_hand():
    loss = cl.SigmoidLoss()
    value = loss.forward([[0.0, math.log(3)], [math.log(3), 0.0]], [[1, 0], [1, 1]])
    assert value == pytest.approx((math.log(2) + math.log(4) + math.log(4 / 3) + math.log(2)) / 4, rel=1e-14)
    np.testing.assert_allclose(loss.backward(), np.array([[-1 / 2, 3 / 4], [-1 / 4, -1 / 2]]) / 4, rtol=1e-14)
    assert type(value) is float
    assert loss.weight == 4


def test_positive_weights_by_hand():
    z, t = [[0.0, 0.0]], [[1, 0]]
    assert cl.SigmoidLoss(pos_weight=3).forward(z, t) == pytest.approx((3 + 1) * math.log(2) / 2)
    assert cl.SigmoidLoss(pos_weight=[3, 5]).forward(z, t) == pytest.approx((3 + 1) * math.log(2) / 2)
    assert cl.SigmoidLoss(pos_weight=[3, 5]).forward(z, [[0, 1]]) == pytest.approx((1 + 5) * math.log(2) / 2)


# Against the oracle


@every_option
@pytest.mark.parametrize("form", ["labels", "probabilities"])
def test_against_the_loop(options, form):
    scores, holds, shares = drawn()
    target = holds if form == "labels" else shares
    loss = cl.SigmoidLoss(**options)
    expected, gradient = sigmoid_loss(scores, target, **options)
    assert loss.forward(scores, target) == pytest.approx(expected, rel=1e-13)
    np.testing.assert_allclose(loss.backward(), gradient, rtol=1e-12, atol=1e-16)


@every_option
def test_gradcheck_through_a_net(options):
    net = cl.Sequential([cl.Affine(5), cl.Tanh(), cl.Affine(L)], input_shape=(3,), rng=0)
    _, holds, _ = drawn()
    x = np.random.default_rng(1).normal(size=(N, 3))
    assert cl.gradcheck(net, x, cl.SigmoidLoss(**options), holds).ok
    assert cl.gradcheck(net, x, cl.SigmoidLoss(**options), holds, weights=np.arange(N)).ok


@every_option
def test_a_weight_of_3_is_three_copies(options):
    scores, holds, _ = drawn()
    times = np.array([1, 3, 0, 2, 1, 0])
    copies = np.repeat(np.arange(N), times)
    loss = cl.SigmoidLoss(**options)
    expected = loss.forward(scores[copies], holds[copies])
    grads, weight = loss.backward(), loss.weight
    scores[times == 0] = np.nan
    assert loss.forward(scores, holds, weights=times) == pytest.approx(expected, rel=1e-14)
    assert loss.weight == weight
    for i, dz in enumerate(loss.backward()):
        np.testing.assert_allclose(dz, grads[copies == i].sum(axis=0), rtol=1e-13, atol=1e-17)


def test_batches_average_to_the_whole_by_weight():
    scores, holds, _ = drawn()
    loss, total, divisor = cl.SigmoidLoss(pos_weight=2), 0.0, 0.0
    for part in (slice(0, 1), slice(1, 4), slice(4, N)):
        total += loss.forward(scores[part], holds[part]) * loss.weight
        divisor += loss.weight
    assert total / divisor == pytest.approx(loss.forward(scores, holds), rel=1e-14)


# Shapes and dtypes


@pytest.mark.parametrize(("of_scores", "of_target"), [((5,), (5,)), ((5, 1), (5,)), ((5,), (5, 1)), ((5, 1), (5, 1))])
def test_one_label_with_and_without_its_axis(of_scores, of_target):
    z, t = np.linspace(-2, 2, 5), np.array([0, 1, 1, 0, 1])
    loss = cl.SigmoidLoss(pos_weight=[2])
    expected = loss.forward(z[:, None], t[:, None])
    grad = loss.backward()
    assert loss.forward(z.reshape(of_scores), t.reshape(of_target)) == expected
    np.testing.assert_array_equal(loss.backward(), grad.reshape(of_scores))
    assert loss.metrics()["accuracy"](z.reshape(of_scores), t.reshape(of_target)) == 0.4


def test_maps():
    rng = np.random.default_rng(0)
    z, t = rng.normal(size=(2, 3, 4, 5)), rng.integers(0, 2, (2, 3, 4, 5))
    loss = cl.SigmoidLoss(pos_weight=[1, 2, 3, 4, 5])
    expected, _ = sigmoid_loss(z.reshape(-1, 5), t.reshape(-1, 5), pos_weight=[1, 2, 3, 4, 5])
    assert loss.forward(z, t) == pytest.approx(expected)
    assert loss.backward().shape == z.shape
    one = cl.SigmoidLoss()
    assert one.forward(z[..., :1], t[..., 0], weights=[1, 0]) == pytest.approx(
        one.forward(z[:1, ..., 0], t[:1, ..., 0])
    )


def test_dtypes():
    scores, holds, _ = drawn()
    loss = cl.SigmoidLoss()
    exact = loss.forward(scores, holds)
    for given, result in [("f4", "f4"), (">f4", "f4"), (">f8", "f8"), ("f2", "f4"), ("f8", "f8")]:
        assert loss.forward(scores.astype(given), holds) == pytest.approx(exact, rel=1e-2)
        assert loss.backward().dtype == np.dtype(result)
    for given in (bool, np.uint8, np.int64, np.float32):
        before = np.array(scores)
        assert loss.forward(scores[::-1].copy()[::-1], holds.astype(given)) == exact
        np.testing.assert_array_equal(scores, before)
    assert loss.forward(scores.tolist(), holds.tolist()) == exact


# Extremes


def test_no_score_is_too_large():
    loss = cl.SigmoidLoss()
    for big in (800.0, 5e307, np.inf):
        assert loss.forward([[big, -big]], [[1, 0]]) == 0
        np.testing.assert_array_equal(loss.backward(), [[0, 0]])
        assert loss.forward([[big, -big]], [[0, 1]]) == big
        np.testing.assert_array_equal(loss.backward(), [[0.5, -0.5]])
    assert loss.forward([[-800.0]], [[0.25]]) == 200
    assert loss.forward([[-40.0]], [[0]]) == pytest.approx(math.exp(-40), rel=1e-12)
    assert not math.isfinite(loss.forward([[np.nan]], [[0]]))
    assert np.isnan(loss.backward()).all()


# What is refused


@pytest.mark.parametrize(
    ("target", "kind", "message"),
    [
        (
            np.zeros((6, 3)),
            ValueError,
            r"SigmoidLoss needs a target of the scores' shape \(6, 4\); got shape \(6, 3\)$",
        ),
        (
            np.zeros(6, int),
            ValueError,
            r"got shape \(6,\); numbers of classes go with SoftmaxLoss, or as rows np\.eye\(4\)\[y\]",
        ),
        (
            np.full((6, 4), 2),
            ValueError,
            r"targets must be 0 or 1, or probabilities between; got 2 at position \(0, 0\)$",
        ),
        (np.full((6, 4), np.nan), ValueError, r"got nan at position \(0, 0\)"),
        (1 - 2 * (np.arange(24).reshape(6, 4) > 8), ValueError, r"got -1 at position \(2, 1\); of -1 and 1 take y > 0"),
        (np.full((6, 4), "a"), TypeError, r"SigmoidLoss: the target must be real numbers; got dtype <U1"),
    ],
)
def test_targets_that_do_not_go_with_the_scores(target, kind, message):
    loss = cl.SigmoidLoss()
    loss.forward(*drawn()[:2])
    with pytest.raises(kind, match=message):
        loss.forward(np.zeros((6, 4)), target)
    with pytest.raises(RuntimeError, match=r"SigmoidLoss\(\): backward\(\) needs a forward\(\) before it"):
        loss.backward()
    net = cl.Sequential([cl.Affine(4)], input_shape=(3,), rng=0)
    with pytest.raises(kind, match=f"^{message.replace('SigmoidLoss', 'Solver: train', 1)}|^Solver: train.*{message}"):
        solver_of(net, (np.zeros((6, 3)), target), loss=loss)


def test_other_errors():
    loss = cl.SigmoidLoss()
    with pytest.raises(
        ValueError, match=r"SigmoidLoss needs at least one element; got an empty batch of shape \(0, 3\)"
    ):
        loss.forward(np.zeros((0, 3)), np.zeros((0, 3)))
    with pytest.raises(TypeError, match="SigmoidLoss: scores must be real numbers; got dtype complex128"):
        loss.forward(np.zeros((2, 3), complex), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="SigmoidLoss: 3 labels need 3 pos_weight; got 2"):
        cl.SigmoidLoss([1, 2]).forward(np.zeros((2, 3)), np.zeros((2, 3)))
    for bad, kind in [
        (-1, ValueError),
        (np.nan, ValueError),
        ([1, -2], ValueError),
        ([], ValueError),
        ("a", TypeError),
    ]:
        with pytest.raises(kind, match="SigmoidLoss: pos_weight must be"):
            cl.SigmoidLoss(pos_weight=bad)
    with pytest.raises(ValueError, match="SigmoidLoss: label_smoothing must be at least 0 and at most 1"):
        cl.SigmoidLoss(label_smoothing=2)
    for bad in ([1, 2], [-1] * 6):
        with pytest.raises(ValueError, match=r"^SigmoidLoss: .*weights"):
            loss.forward(*drawn()[:2], weights=bad)


def test_config_rebuilds_and_repr_is_the_constructor():
    for options in OPTIONS:
        loss = cl.SigmoidLoss(**options)
        assert cl.SigmoidLoss(**loss.config()).forward(*drawn()[:2]) == loss.forward(*drawn()[:2])
    assert repr(cl.SigmoidLoss()) == "SigmoidLoss()"
    assert repr(cl.SigmoidLoss(np.array([1, 2]), np.float32(0.5))) == (
        "SigmoidLoss(pos_weight=(1.0, 2.0), label_smoothing=0.5)"
    )


# Training


def labelled(n=60, seed=0):
    """Whether each of three sums is positive: any number of them may be."""
    x = np.random.default_rng(seed).normal(size=(n, 3))
    return x, (x + np.roll(x, 1, axis=1) > 0).astype(int)


def net(out=3):
    return cl.Sequential([cl.Affine(8), cl.Tanh(), cl.Affine(out)], input_shape=(3,), rng=0)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32])
def test_a_net_learns_labels_of_which_any_may_hold(dtype):
    (x, y), (x_val, y_val) = labelled(200), labelled(50, 1)
    solver = solver_of(
        net(),
        (x, y.astype(dtype)),
        (x_val, y_val.astype(dtype)),
        loss=cl.SigmoidLoss(pos_weight=[1, 1, 2]),
        optimizer=cl.Adam(lr=0.02),
        epochs=15,
        batch_size=20,
        metrics={"accuracy": cl.metrics.label_accuracy, "f1": cl.metrics.f1, "ap": cl.metrics.average_precision},
    )
    history = solver.train()
    result = solver.evaluate(x_val, y_val)
    assert min(result["accuracy"], result["f1"], result["ap"]) > 0.85
    assert history["val_f1"][-1] > history["val_f1"][0]
    served = cl.Sequential([solver.model, cl.Sigmoid()], input_shape=(3,))
    p = served.predict_proba(x_val)
    assert cl.metrics.label_accuracy(p - 0.5, y_val) == result["accuracy"]


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_one_score_for_two_classes(shape):
    x, y = labelled(100)
    y = y[:, 0].reshape(shape)
    solver = solver_of(net(1), (x, y), (x, y), loss=cl.SigmoidLoss(), optimizer=cl.Adam(lr=0.05), epochs=10)
    assert solver.train()["val_accuracy"][-1] > 0.9
    assert solver.overfit_batch(300, lr=0.1).ok


def test_a_run_is_resumed_to_the_bit(tmp_path):
    def made(folder, **options):
        options |= {"loss": cl.SigmoidLoss([1, 2, 3], 0.1), "checkpoint": tmp_path / folder}
        return solver_of(net(), (*labelled(), np.arange(60)), labelled(20, 1), **options)

    whole = made("whole")
    whole.train()
    made("cut").train(1)
    again = cl.Solver.resume(tmp_path / "cut", (*labelled(), np.arange(60)), labelled(20, 1), progress=False)
    assert repr(again.loss) == "SigmoidLoss(pos_weight=(1.0, 2.0, 3.0), label_smoothing=0.1)"
    again.train(1)
    assert bits(again) == bits(whole)


def test_mixup_blends_its_rows():
    x = np.random.default_rng(0).normal(size=(8, 4, 4, 1))
    y = np.random.default_rng(1).integers(0, 2, (8, 3))
    model = cl.Sequential([cl.Flatten(), cl.Affine(3)], input_shape=(4, 4, 1), rng=0)
    solver = solver_of(model, (x, y), loss=cl.SigmoidLoss(), augment=cl.augment.Mixup(1.0))
    assert math.isfinite(solver.train()["train_loss"][-1])


def test_mixup_of_one_label():
    x, y = np.random.default_rng(0).normal(size=(8, 4, 4, 1)), np.arange(8) % 2
    model = cl.Sequential([cl.Flatten(), cl.Affine(1)], input_shape=(4, 4, 1), rng=0)
    mix = cl.augment.Mixup(1.0)
    history = solver_of(model, (x, y), loss=cl.SigmoidLoss(), augment=mix).train()
    assert math.isfinite(history["train_loss"][-1])
    with pytest.raises(ValueError, match="two classes need two scores"):
        solver_of(model, (x, y), augment=mix)


@pytest.mark.parametrize(
    "last", [cl.Sigmoid(), cl.Softmax(), cl.Tanh(), cl.ReLU(), cl.ReLU6(), cl.HardSigmoid(), cl.Softplus()], ids=repr
)
def test_a_last_layer_that_is_a_mistake(last):
    name = type(last).__name__
    model = cl.Sequential([cl.Affine(3), last], input_shape=(3,))
    said = rf"the net ends in {name}, but .*: leave {name}\(\) out \(once it is trained, cl\.Sequential\(\[net, cl\.Sig"
    with pytest.warns(UserWarning, match=said):
        solver_of(model, labelled(), loss=cl.SigmoidLoss())


def test_the_report_page_of_such_a_net(tmp_path):
    x, y = np.random.default_rng(0).integers(0, 9, (30, 6, 6, 1)), np.random.default_rng(1).integers(0, 2, (30, 3))
    data = cl.datasets.arrays((x, y), val=5, test=(x[:10], y[:10]), classes=["red", "round", "ripe"])
    model = cl.Sequential([cl.Conv(4, 3), cl.ReLU(), cl.GlobalAvgPool(), cl.Affine(3)], input_shape=(6, 6, 1), rng=0)
    history = solver_of(model, data.train, data.val, loss=cl.SigmoidLoss()).train()
    for shown in (model, cl.Sequential([model.copy(), cl.Sigmoid()], input_shape=(6, 6, 1))):
        page = cl.report.write(tmp_path, net=shown, history=history, data=data).read_text()
        accuracy = cl.metrics.label_accuracy(model.predict(x[:10]), y[:10])
        assert f"<dt>test accuracy of all labels</dt><dd>{accuracy:.1%}</dd>" in page
        assert "<dt>test F1, mean over the labels</dt>" in page

"""Weights of samples: what they mean in a loss and in metrics, and their way through a training."""

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.training.diagnosis import first_bad
from cnnlayers.training.step import Step
from tests.training.solving import Bare, Batches, bits, data, mlp, raises, solver_of

N, C = 6, 4

LOSSES = [
    (cl.SoftmaxLoss(), "labels"),
    (cl.SoftmaxLoss(0.2, [1, 2, 0, 4]), "labels"),
    (cl.SoftmaxLoss(0.1, ignore_label=1), "labels"),
    (cl.SoftmaxLoss(class_weights=[3, 1, 2, 1], ignore_label=1), "labels"),
    (cl.SoftmaxLoss(0.2, [1, 2, 0, 4]), "rows"),
    (cl.HingeLoss(), "labels"),
    (cl.MSELoss(), "rows"),
    (cl.MSELoss(), "maps"),
    (cl.SigmoidLoss(pos_weight=[1, 2, 0, 3], label_smoothing=0.1), "rows"),
]
every_loss = pytest.mark.parametrize(("loss", "form"), LOSSES, ids=repr)


def drawn(form, n=N):
    rng = np.random.default_rng(3)
    rows = rng.random((n, C))
    if form == "maps":
        return rng.normal(size=(n, 2, 3)), rng.normal(size=(n, 2, 3))
    labels = np.arange(n) % C
    return rng.normal(size=(n, C), scale=2), labels if form == "labels" else rows / rows.sum(axis=1, keepdims=True)


def both(loss, *given, **weighted):
    return loss.forward(*given, **weighted), loss.backward()


# What they mean


@every_loss
def test_a_weight_of_3_is_three_copies(loss, form):
    scores, target = drawn(form)
    times = np.array([1, 3, 0, 2, 1, 0])
    value, grad = both(loss, scores, target, weights=times)
    weight = loss.weight
    copies = np.repeat(np.arange(N), times)
    expected, grads = both(loss, scores[copies], target[copies])
    assert value == pytest.approx(expected, rel=1e-14)
    assert weight == pytest.approx(loss.weight, rel=1e-14)
    for i in range(N):
        np.testing.assert_allclose(grad[i], grads[copies == i].sum(axis=0), rtol=1e-13, atol=1e-17)


@every_loss
def test_weights_of_1_change_no_bit(loss, form):
    scores, target = drawn(form)
    value, grad = both(loss, scores, target)
    weight = loss.weight
    weighted, weighted_grad = both(loss, scores, target, weights=np.ones(N))
    assert weighted == value
    assert loss.weight == weight
    np.testing.assert_array_equal(weighted_grad, grad)


@every_loss
def test_a_weight_of_0_is_not_there_even_with_nan(loss, form):
    scores, target = drawn(form)
    kept = np.array([True, False, True, True, False, True])
    value, grad = both(loss, scores[kept], target[kept])
    scores[1], scores[4] = np.nan, np.inf
    weighted, weighted_grad = both(loss, scores, target, weights=kept)
    assert weighted == pytest.approx(value, rel=1e-14)
    np.testing.assert_allclose(weighted_grad[kept], grad, rtol=1e-13)
    assert not weighted_grad[~kept].any()


@every_loss
@pytest.mark.parametrize("factor", [1e-30, 0.5, 1e30])
def test_only_their_ratios_matter(loss, form, factor):
    scores, target = drawn(form)
    w = np.array([0.5, 2, 1.5, 0.1, 3, 1])
    value, grad = both(loss, scores, target, weights=w)
    scaled, scaled_grad = both(loss, scores, target, weights=factor * w)
    assert scaled == pytest.approx(value, rel=1e-13)
    np.testing.assert_allclose(scaled_grad, grad, rtol=1e-12, atol=1e-17)


@every_loss
def test_the_gradient_is_the_slope(loss, form):
    scores, target = drawn(form)
    w, h = np.array([0.5, 2, 0, 0.1, 3, 1]), 1e-6
    _, grad = both(loss, scores, target, weights=w)
    for i in np.ndindex(scores.shape):
        up, down = scores.copy(), scores.copy()
        up[i] += h
        down[i] -= h
        slope = (loss.forward(up, target, weights=w) - loss.forward(down, target, weights=w)) / (2 * h)
        assert grad[i] == pytest.approx(slope, abs=1e-8)


@every_loss
def test_batches_average_to_the_whole_by_weight(loss, form):
    scores, target = drawn(form)
    w = np.array([0.5, 2, 0.3, 0.1, 0, 1])
    whole = loss.forward(scores, target, weights=w)
    total = divisor = 0.0
    for part in (slice(0, 1), slice(1, 3), slice(3, N)):
        total += loss.forward(scores[part], target[part], weights=w[part]) * loss.weight
        divisor += loss.weight
    assert total / divisor == pytest.approx(whole, rel=1e-14)


def test_class_weights_and_those_of_samples_multiply():
    loss = cl.SoftmaxLoss(class_weights=[1, 3])
    value = loss.forward(np.log([[1.0, 3.0], [1.0, 1.0]]), [1, 0], weights=[2, 5])
    assert value == pytest.approx((3 * 2 * np.log(4 / 3) + 1 * 5 * np.log(2)) / (3 * 2 + 1 * 5), rel=1e-14)


def test_nothing_of_positive_weight_counts():
    loss = cl.SoftmaxLoss(class_weights=[0, 1])
    with pytest.raises(ValueError, match="SoftmaxLoss needs a label of positive class weight"):
        loss.forward(np.zeros((2, 2)), [0, 1], weights=[1, 0])
    with pytest.raises(RuntimeError, match="needs a forward"):
        loss.backward()


BAD = [
    ([1, 2, 3], ValueError, r"6 samples need weights of shape \(6,\); got shape \(3,\)"),
    (np.ones((6, 1)), ValueError, r"got shape \(6, 1\); take weights\[:, 0\]"),
    ([1, 1, -0.5, 1, 1, 1], ValueError, r"weights must be finite and at least 0; got -0.5 at position 2"),
    ([1, 1, 1, 1, np.nan, 1], ValueError, r"weights must be finite and at least 0; got nan at position 4"),
    ([np.inf, 1, 1, 1, 1, 1], ValueError, r"weights must be finite and at least 0; got inf at position 0"),
    ([1e308] * 6, ValueError, r"the sum of the weights must be finite; the largest is 1e\+308"),
    ([0] * 6, ValueError, r"needs a sample of positive weight; all 6 have weight 0"),
    (["1"] * 6, TypeError, r"weights must be real numbers; got dtype <U1"),
]


@pytest.mark.parametrize(("weights", "kind", "message"), BAD)
@every_loss
def test_what_weights_may_be(loss, form, weights, kind, message):
    with pytest.raises(kind, match=rf"^{type(loss).__name__}:? .*{message}|^{type(loss).__name__}:? {message}"):
        loss.forward(*drawn(form), weights=weights)


def test_a_single_number_has_no_samples():
    with pytest.raises(ValueError, match=r"MSELoss: weights need scores \(N, \.\.\.\), of samples"):
        cl.MSELoss().forward(1.0, 2.0, weights=[1])


# Metrics


def test_accuracy_with_weights():
    scores = [[0.1, 0.9], [0.8, 0.2], [0.7, 0.3]]
    assert cl.accuracy(scores, [1, 0, 1], weights=[1, 2, 1]) == 3 / 4
    assert cl.accuracy(scores, [1, 0, 1], weights=[1, 0, 1]) == 1 / 2
    assert cl.accuracy(scores, [1, 9, 1], ignore_label=9, weights=[1, 5, 3]) == 1 / 4
    with pytest.raises(ValueError, match="accuracy needs a label that counts of a sample of positive weight"):
        cl.accuracy(scores, [1, 9, 1], ignore_label=9, weights=[0, 5, 0])
    with pytest.raises(ValueError, match="accuracy: weights must be finite and at least 0"):
        cl.accuracy(scores, [1, 0, 1], weights=[1, -2, 1])


# In a training


def weighed(n=10, seed=0):
    x, y = data(n, seed)
    return x, y, np.random.default_rng(seed + 7).integers(0, 4, n) / 2


def in_batches(n=10, size=2):
    x, y, w = weighed(n)
    return [(x[i : i + size], y[i : i + size], w[i : i + size]) for i in range(0, n, size)]


def still(rng=0):
    """A net that gives the same in training and prediction."""
    return cl.Sequential([cl.Affine(5), cl.Tanh(), cl.Affine(2)], input_shape=(3,), rng=rng, dtype=np.float64)


def test_a_step_with_weights_is_that_with_copies():
    x, y = data(8)
    times = np.array([2, 1, 0, 3, 1, 1, 0, 2])
    ends = []
    for train in [(x, y, times), tuple(np.repeat(a, times, axis=0) for a in (x, y))]:
        solver = solver_of(still(), train, batch_size=20, epochs=5)
        history = solver.train()
        ends.append((solver.model.flat_params, history["train_loss"], history["train_accuracy"]))
    for ours, copies in zip(*ends, strict=True):
        np.testing.assert_allclose(ours, copies, rtol=1e-10)


class Sees(cl.SoftmaxLoss):
    """Keeps what it is given."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, scores, target, weights=None):
        self.seen.append((np.array(target), weights))
        return super().forward(scores, target, weights)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int32, bool])
def test_weights_go_with_their_samples(dtype):
    y = np.arange(30) % 2
    w = (1 + 2 * y).astype(dtype)
    loss = Sees()
    solver_of(still(), (np.zeros((30, 3)), y, w), loss=loss, batch_size=7).train()
    assert len(loss.seen) == 10
    for labels, weights in loss.seen:
        assert weights.dtype == np.float64
        np.testing.assert_array_equal(weights, (1 + 2 * labels).astype(dtype))
    orders = [np.concatenate([labels for labels, _ in half]).tolist() for half in (loss.seen[:5], loss.seen[5:])]
    assert orders[0] != orders[1]


def test_loss_and_metrics_of_the_history_are_weighted():
    train, val = weighed(10), weighed(9, 1)
    metrics = {
        "accuracy": cl.accuracy,
        "plain": lambda z, t: cl.accuracy(z, t),
        "total": lambda z, t, weights: weights.sum(),
    }
    solver = solver_of(still(), train, val, optimizer=cl.SGD(lr=0), metrics=metrics, epochs=1)
    history = solver.train()
    for part, (x, y, w) in [("train", train), ("val", val)]:
        scores = solver.model.predict(x)
        assert history[f"{part}_loss"][0] == pytest.approx(cl.SoftmaxLoss().forward(scores, y, weights=w))
        assert history[f"{part}_accuracy"][0] == pytest.approx(cl.accuracy(scores, y, weights=w))
        assert history[f"{part}_plain"][0] == pytest.approx(cl.accuracy(scores, y))
        assert history[f"{part}_total"][0] == w.sum()
        assert solver.evaluate(x, y, w) == pytest.approx(
            {name: history[f"{part}_{name}"][0] for name in ("loss", *metrics)}
        )
    x, y, _ = val
    assert solver_of(still(), train).evaluate(x, y) == solver_of(still(), train).evaluate(x, y, np.ones(9))


def test_weights_of_1_train_to_the_same_bits():
    x, y = data(10)
    plain, ones = solver_of(mlp(), (x, y)), solver_of(mlp(), (x, y, np.ones(10)))
    plain.train()
    ones.train()
    assert bits(plain) == bits(ones)
    assert plain.history.steps == ones.history.steps
    assert bits(solver_of(mlp(), (x, y, None))) == bits(solver_of(mlp(), (x, y)))


def test_accumulate_is_one_large_batch():
    given = in_batches(12, 3)
    whole = [tuple(map(np.concatenate, zip(*given, strict=True)))]
    nets = []
    for train, accumulate in ((given, 4), (whole, 1)):
        solver = solver_of(still(), train, accumulate=accumulate, epochs=3)
        solver.train()
        nets.append(solver.model.flat_params)
    np.testing.assert_allclose(*nets, rtol=1e-9)


@pytest.mark.parametrize("factor", [1e-60, 1e60])
def test_weights_of_any_size_are_averaged(factor):
    nets = []
    for size in (1, factor):
        given = [(x, y, size * w) for x, y, w in in_batches(12, 3)]
        solver = solver_of(mlp(), given, accumulate=4, epochs=1)
        solver.train()
        nets.append(solver.model.flat_params)
    np.testing.assert_allclose(*nets, rtol=1e-4, atol=1e-6)


def test_a_batch_of_weight_0_is_left_out():
    given = in_batches()
    nothing = (*given[0][:2], np.zeros(2))
    spread = solver_of(mlp(), [nothing, *given[:2], nothing, *given[2:]])
    plain = solver_of(mlp(), given)
    spread.train()
    plain.train()
    assert bits(spread) == bits(plain)
    assert spread.history.steps == plain.history.steps
    with pytest.raises(
        ValueError, match=r"nothing counts in the 2 batches of train: .*of classes or samples of weight 0"
    ):
        solver_of(mlp(), [nothing, nothing]).train()
    with pytest.raises(ValueError, match=r"no label of val counts: .* or of a sample of weight 0"):
        solver_of(mlp(), given, [nothing]).train()


def test_only_ignored_labels_have_weight():
    x, y = data(4)
    train = x, [0, 1, -1, -1], [0, 0, 1, 2]
    with pytest.raises(ValueError, match="Solver: val needs a label that counts of a sample of positive weight"):
        solver_of(mlp(), (x, y), train, loss=cl.SoftmaxLoss(ignore_label=-1))


@pytest.mark.parametrize("at", range(1, 7))
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_resumed_run_ends_with_the_same_bits(at, accumulate, tmp_path):
    def made(**broken):
        given = Batches(in_batches(11), **broken)
        return solver_of(mlp(), given, weighed(6, 1), checkpoint=tmp_path, accumulate=accumulate)

    whole = made()
    whole.train()
    left = made(at=at, action=raises(KeyboardInterrupt()))
    left.train()
    ends = [left]
    if (tmp_path / "last.safetensors").exists():
        ends.append(cl.Solver.resume(tmp_path, Batches(in_batches(11)), weighed(6, 1), progress=False))
    for each in ends:
        each.train()
        assert bits(each) == bits(whole)
        for name in whole.history.keys() - {"seconds"}:
            assert each.history[name] == whole.history[name]


def test_resume_in_an_epoch_over_arrays(tmp_path):
    whole = solver_of(mlp(), weighed(11))
    whole.train()
    stop = cl.LambdaCallback(on_step=lambda s: s.stop("here") if s.step == 2 else None)
    solver_of(mlp(), weighed(11), checkpoint=tmp_path, callbacks=[stop]).train()
    again = cl.Solver.resume(tmp_path, weighed(11), callbacks=[cl.LambdaCallback()], progress=False)
    again.train()
    assert bits(again) == bits(whole)
    assert again.history["train_loss"] == whole.history["train_loss"]


def test_resume_wants_the_same_weights(tmp_path):
    x, y, w = weighed()
    for had, given in [((x, y, w), (x, y, w[::-1])), ((x, y, w), (x, y)), ((x, y), (x, y, w))]:
        solver_of(mlp(), had, checkpoint=tmp_path).train(1)
        with pytest.raises(ValueError, match=r"the run had other train data of this shape: the weights differ"):
            cl.Solver.resume(tmp_path, given, progress=False)
        cl.Solver.resume(tmp_path, had, progress=False)


# What is refused when the Solver is made


@pytest.mark.parametrize("part", ["train", "val"])
@pytest.mark.parametrize(("weights", "kind", "message"), BAD)
def test_bad_weights_in_arrays(weights, kind, message, part):
    x, y = data(6)
    parts = {"train": (x, y), "val": (x, y)} | {part: (x, y, weights)}
    with pytest.raises(kind, match=rf"^Solver: {part}:? {message}|^Solver: {part}: .*{message}"):
        solver_of(mlp(), parts["train"], parts["val"])


def test_bad_weights_in_evaluate():
    x, y = data(6)
    with pytest.raises(ValueError, match=r"^Solver: evaluate: weights must be finite and at least 0; got -1"):
        solver_of().evaluate(x, y, [1, 1, 1, 1, 1, -1])


def test_bad_weights_in_batches():
    good = in_batches()
    x, y, w = good[2]
    for bad, message in [
        ((x, y, -w - 1), r"^Solver: train, batch 3: weights must be finite and at least 0; got -"),
        ((x, y, [1.0]), r"^Solver: train, batch 3: 2 samples need weights of shape \(2,\); got shape \(1,\)"),
        ((x, y), r"^Solver: train: all batches must have weights, or none; batch 3 differs"),
    ]:
        with pytest.raises(ValueError, match=message):
            solver_of(mlp(), [*good[:2], bad]).train()


class Takes(Bare):
    def forward(self, scores, target, *, weights=None):
        if weights is None:
            return super().forward(scores, target)
        self.scores = np.asarray(weights)[:, None] * scores
        return float((self.scores * scores).sum() / weights.sum())


def test_a_loss_of_ones_own_without_weights():
    x, y, w = weighed()
    assert len(solver_of(mlp(), (x, y), (x, y), loss=Bare()).train()) == 2
    message = r"the samples have weights, but Bare\.forward takes none: give it a parameter weights=None"
    for parts in (((x, y, w), None), ((x, y), (x, y, w))):
        with pytest.raises(TypeError, match=rf"^Solver: (train|val): {message}"):
            solver_of(mlp(), *parts, loss=Bare())
    with pytest.raises(TypeError, match=message):
        solver_of(mlp(), in_batches(), loss=Bare()).train()
    solver = solver_of(mlp(), (x, y), loss=Bare())
    with pytest.raises(TypeError, match=rf"^Solver: evaluate: {message}"):
        solver.evaluate(x, y, w)


def test_a_loss_of_ones_own_with_weights():
    solver = solver_of(mlp(), weighed(), weighed(8, 1), loss=Takes())
    assert len(solver.train()) == 2
    taken = Step(mlp(), Takes(), cl.SGD(lr=0.1)).take(in_batches())
    assert [met.weight for met in taken.met] == [w.sum() for *_, w in in_batches()]  # it says none, so it is theirs


# Data


def test_what_is_a_data_set_and_what_is_batches():
    x, y, w = weighed()
    for train in [(x, y, w), (x.tolist(), y.tolist(), w.tolist()), [(x, y, w)], ([x, y, w],), ((x, y, w), (x, y, w))]:
        loss = Sees()
        solver_of(still(), train, loss=loss, batch_size=10, epochs=1).train()
        assert all(weights.sum() == w.sum() for _, weights in loss.seen)
    loss = Sees()
    for three in (((x, y), (x, y), (x, y)), ([x, y], [x, y], [x, y])):
        solver_of(still(), three, loss=loss, epochs=1).train()
    assert [weights for _, weights in loss.seen] == [None] * 6


def test_weights_in_a_file_are_read_at_once():
    class File:
        def __init__(self, array):
            self.array, self.shape, self.dtype = array, array.shape, array.dtype

        def __getitem__(self, rows):
            return self.array[rows]

    x, y, w = weighed()
    plain, stored = solver_of(mlp(), (x, y, w)), solver_of(mlp(), (File(x), File(y), File(w)))
    plain.train()
    stored.train()
    assert bits(plain) == bits(stored)


# Augmentation


def images(n=8):
    x = np.random.default_rng(0).integers(0, 256, (n, 4, 4, 1)).astype(np.float64)
    return x, np.arange(n) % 2, np.arange(n) / 4.0


def picture_net():
    return cl.Sequential([cl.Flatten(), cl.Affine(2)], input_shape=(4, 4, 1), rng=0)


def test_what_does_not_mix_leaves_each_sample_its_weight():
    x, _, _ = images()
    y = np.array([0, 1, 1, 0, 1, 0, 0, 1])
    for augment in (cl.augment.HorizontalFlip(), lambda x, rng: x + rng.normal()):
        loss = Sees()
        solver_of(picture_net(), (x, y, 1 + y), loss=loss, augment=augment, epochs=1).train()
        for labels, weights in loss.seen:
            np.testing.assert_array_equal(weights, 1 + labels)


@pytest.mark.parametrize("wrap", [lambda mix: mix, lambda mix: cl.augment.Compose([cl.augment.RandomCrop(1), mix])])
def test_a_blend_has_the_weight_of_its_parts(wrap):
    x, y, w = images()
    rows = np.eye(2)[y]
    keys = {"seed": 3, "epoch": 1, "indices": np.arange(8)}
    mix = wrap(cl.augment.Mixup(1.0))
    blend, mixed = mix(x, y=rows, **keys)
    same, weighted, weights = mix(x, y=rows, weights=w, **keys)
    np.testing.assert_array_equal(same, blend)
    # What each sample brings into the sum of the loss: its share, its row and its weight
    _, parts = mix(x, y=w[:, None] * rows, **keys)
    np.testing.assert_allclose(weights[:, None] * weighted, parts, rtol=1e-12)
    np.testing.assert_allclose(weighted.sum(axis=1), 1)
    _, equal, threes = mix(x, y=rows, weights=np.full(8, 3), **keys)
    np.testing.assert_allclose(equal, mixed)
    np.testing.assert_allclose(threes, 3)
    _, given, none = mix(x, y=rows, weights=np.zeros(8), **keys)
    np.testing.assert_array_equal(given, mixed)
    assert not none.any()


def test_training_on_blends():
    x, y, w = images()
    loss = Sees()
    solver_of(picture_net(), (x, y, w), loss=loss, augment=cl.augment.Mixup(0.5)).train()
    assert all(rows.shape == (4, 2) and weights.shape == (4,) for rows, weights in loss.seen)
    assert len(np.unique(np.concatenate([weights for _, weights in loss.seen]))) > 8


def test_what_mixes_must_say_what_becomes_of_the_weights():
    class Swaps:
        mixes = True

        def __call__(self, x, *, y, seed, epoch, indices):
            return x[::-1], y[::-1]

    class Forgets:
        mixes = True

        def __call__(self, x, *, y, seed, epoch, indices, weights=None):
            return x, y

    x, y, w = images()
    solver_of(picture_net(), (x, y), augment=Swaps()).train()
    message = r"the samples have weights, and augment mixes samples: it must take weights= and give \(x, y, weights\)"
    with pytest.raises(TypeError, match=rf"^Solver: {message}"):
        solver_of(picture_net(), (x, y, w), augment=Swaps())
    with pytest.raises(TypeError, match=message):
        solver_of(picture_net(), [(x, y, w)], augment=Swaps()).train()
    with pytest.raises(TypeError, match=r"Compose: the samples have weights, which a step that mixes must take"):
        solver_of(picture_net(), (x, y, w), augment=cl.augment.Compose([Swaps()])).train()
    with pytest.raises(TypeError, match=r"augment mixes, so it must give \(x, y, weights\); it gave tuple"):
        solver_of(picture_net(), (x, y, w), augment=Forgets()).train()


# Whatever else asks a loss


def test_trials_take_them():
    solver = solver_of(mlp(), weighed())
    assert solver.overfit_batch(steps=3).losses
    with pytest.warns(UserWarning, match="no suggestion"):
        assert len(solver.lr_find(steps=5).losses) >= 2


def test_the_search_for_nan_takes_them():
    net, x = still(), np.ones((2, 3))
    huge = np.array([[1e200], [0.0]])
    one = cl.Sequential([cl.Affine(1)], input_shape=(3,), rng=0, dtype=np.float64)
    assert "it arises in the loss" in first_bad(one, cl.MSELoss(), x, huge, np.array([1.0, 0.0]))
    assert "is finite when the step is replayed" in first_bad(one, cl.MSELoss(), x, huge, np.array([0.0, 1.0]))
    solver = solver_of(net, (x, [0, 1], [1, 2]), optimizer=cl.SGD(lr=1e308))
    with pytest.raises(cl.NonFiniteError, match="step"):
        solver.train(20)


def test_gradients_and_gradcheck_take_them():
    x, y, w = weighed()
    net = still()
    grads = cl.insight.gradients(net, x, y, cl.SoftmaxLoss(), w)
    loss = cl.SoftmaxLoss()
    loss.forward(net.forward(x), y, weights=w)
    net.backward(loss.backward())
    np.testing.assert_array_equal(grads["0.W"], net.grads["0.W"])
    assert cl.gradcheck(net, x, cl.SoftmaxLoss(), y, weights=w).ok
    with pytest.raises(ValueError, match="gradcheck: weights need a loss"):
        cl.gradcheck(net, x, weights=w)

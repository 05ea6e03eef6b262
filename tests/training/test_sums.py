"""Training with a loss that is a sum over the batch: the same course as with its mean, at a rate for sums."""

import numpy as np
import pytest

import cnnlayers as cl
from tests.training.ranks_in_threads import in_threads

SHAPE = 3, 3, 1


def data(n=24):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, *SHAPE))
    return x.astype(np.float32), (x.mean(axis=(1, 2, 3)) > 0).astype(int)


def solver(loss, lr, comm=None, **options):
    (x, y), layers = data(), [cl.Conv(3, 2), cl.ReLU(), cl.Flatten(), cl.Affine(2)]
    net = cl.Sequential(layers, input_shape=SHAPE, rng=0)
    options = {"batch_size": 4, "epochs": 2, "keep": "last"} | options
    optimizer = cl.SGD(lr, momentum=0.5)
    return cl.Solver(
        net, (x[:20], y[:20]), (x[20:], y[20:]), loss=loss, optimizer=optimizer, comm=comm, progress=False, **options
    )


@pytest.mark.parametrize("accumulate", [1, 5])
def test_a_sum_is_a_mean_at_a_rate_by_the_batch(accumulate):
    by_sum = solver(cl.SoftmaxLoss(0.1, reduction="sum"), 0.1 / (4 * accumulate), accumulate=accumulate)
    by_mean = solver(cl.SoftmaxLoss(0.1), 0.1, accumulate=accumulate)
    sums, means = by_sum.train(), by_mean.train()
    np.testing.assert_allclose(by_sum.model.flat_params, by_mean.model.flat_params, rtol=1e-5, atol=1e-6)
    for name in ("train_loss", "val_loss", "train_accuracy", "val_accuracy"):  # of an epoch: means
        np.testing.assert_allclose(sums[name], means[name], rtol=1e-5)
    np.testing.assert_allclose(sums.steps["loss"], 4 * accumulate * np.array(means.steps["loss"]), rtol=1e-5)


def test_evaluate_gives_the_mean_that_validation_gives():
    trained = solver(cl.SoftmaxLoss(reduction="sum"), 0.02)
    history = trained.train()
    x, y = data()
    assert trained.evaluate(x[20:], y[20:])["loss"] == history["val_loss"][-1]
    whole = trained.loss.forward(trained.model.predict(x), y)
    assert trained.evaluate(x, y)["loss"] == pytest.approx(whole / len(x))
    weights = np.arange(len(x)) / 3
    whole = trained.loss.forward(trained.model.predict(x), y, weights)
    assert trained.evaluate(x, y, weights)["loss"] == pytest.approx(whole / weights.sum())


def test_a_sum_of_ones_own():
    class Squares:
        reduction = "sum"

        def forward(self, scores, target):
            self.diff = scores - np.eye(2, dtype=np.float32)[target]
            return float(np.square(self.diff).sum())

        def backward(self):
            return 2 * self.diff

    ours = solver(Squares(), 0.01, accumulate=2, metrics={}, batch_size=3)
    history = ours.train(1)
    x, y = data()
    assert ours.evaluate(x, y)["loss"] == pytest.approx(ours.loss.forward(ours.model.predict(x), y) / len(x))
    assert np.mean(history.steps["loss"]) * 4 / 20 == pytest.approx(history["train_loss"][0])


@pytest.mark.parametrize("ranks", [2, 3])
def test_the_same_bits_on_any_number_of_ranks(ranks):
    def train(comm=None):
        trained = solver(cl.SoftmaxLoss(0.1, reduction="sum"), 0.005, comm, accumulate=3)
        history = trained.train()
        return trained.model.flat_params.tobytes(), history.steps, history["train_loss"], history["val_loss"]

    cl.set_num_threads(1)  # the ranks are threads themselves
    alone = train()
    assert all(theirs == alone for theirs in in_threads(ranks, train))


@pytest.mark.parametrize("at", [2, 5])
def test_resumed_it_ends_with_the_same_bits(at, tmp_path):
    def made(*callbacks, **options):
        return solver(cl.SoftmaxLoss(reduction="sum"), 0.01, callbacks=callbacks, accumulate=2, **options)

    whole = made()
    whole.train()
    made(cl.LambdaCallback(on_step=lambda s: s.step == at and s.stop("here")), checkpoint=tmp_path).train()
    x, y = data()
    resumed = cl.Solver.resume(
        tmp_path, (x[:20], y[:20]), (x[20:], y[20:]), callbacks=[cl.LambdaCallback()], progress=False
    )
    assert repr(resumed.loss) == "SoftmaxLoss(reduction='sum')"
    resumed.train()
    assert resumed.model.flat_params.tobytes() == whole.model.flat_params.tobytes()
    assert resumed.history["train_loss"] == whole.history["train_loss"]

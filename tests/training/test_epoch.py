"""The losses and metrics of an epoch: those of the whole, however it was cut into batches, and wherever it was left."""

import json

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.training.epoch import Epoch
from cnnlayers.training.metrics import top_k
from cnnlayers.training.step import Met, Taken
from tests.training.solving import Batches, batches, data, mlp, raises, solver_of


def f1(scores, target):
    """F1 of class 1: no mean of anything."""
    found, right = scores.argmax(axis=1) == 1, np.asarray(target) == 1
    return float(2 * (found & right).sum() / max(found.sum() + right.sum(), 1))


def rmse(scores, target):
    return float(np.sqrt(np.square(scores - target).mean()))


def still(layers, shape):
    return cl.Sequential(layers, input_shape=shape, rng=0)


def only_class_0():
    net = still([cl.Affine(2)], (1,))
    net.params["0.W"][...], net.params["0.b"][...] = 0, [1, 0]
    return net


def taken(*pairs):
    return Taken([Met(i, 1.0, 1.0, scores, (y,)) for i, (scores, y) in enumerate(pairs)])


# Of a run


@pytest.mark.parametrize("accumulate", [1, 2])
def test_training_accuracy_counts_the_labels_that_are_not_ignored(accumulate):
    given = [(np.zeros((64, 1)), np.array([-1] * 63 + [0])), (np.zeros((64, 1)), np.ones(64, int))]
    loss = cl.SoftmaxLoss(ignore_label=-1)
    solver = solver_of(only_class_0(), given, given, loss=loss, optimizer=cl.SGD(lr=0), accumulate=accumulate, epochs=1)
    history = solver.train()
    assert history["train_accuracy"] == history["val_accuracy"] == [1 / 65]
    assert history["train_loss"] == pytest.approx(history["val_loss"])


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 3, 4, 20])
def test_a_metric_of_training_is_that_of_the_whole(batch_size, accumulate):
    part = data(20)
    net = still([cl.Affine(5), cl.Tanh(), cl.Affine(2)], (3,))
    options = {"loss": cl.SoftmaxLoss(class_weights=[1, 4]), "optimizer": cl.SGD(lr=0), "epochs": 1}
    metrics = {"f1": f1, "top": lambda z, t: top_k(z, t, k=1)}
    solver = solver_of(net, part, part, metrics=metrics, batch_size=batch_size, accumulate=accumulate, **options)
    history = solver.train()
    whole = solver.evaluate(*part)
    for name in ("f1", "top", "loss"):
        assert history[f"train_{name}"] == pytest.approx([whole[name]])


def test_the_root_of_a_mean_square():
    x = np.arange(5.0)[:, None]  # batches of 4 and 1
    net = still([cl.Affine(1, bias=False, init="ones")], (1,))
    solver = solver_of(net, (x, 0 * x), loss=cl.MSELoss(), optimizer=cl.SGD(lr=0), metrics={"rmse": rmse}, epochs=1)
    assert solver.train()["train_rmse"] == [np.sqrt(6.0)]


def test_each_step_is_counted_as_it_met_its_batch():
    scores = []

    class Noting(cl.SoftmaxLoss):
        def forward(self, z, target):
            scores.append((np.array(z), np.array(target)))
            return super().forward(z, target)

    history = solver_of(loss=Noting(), metrics={"f1": f1}, epochs=1).train()
    z, t = (np.concatenate(parts) for parts in zip(*scores, strict=True))
    assert history["train_f1"] == [f1(z, t)]


def test_rows_that_augmentation_mixed():
    def mix(x, y, *, seed, epoch, indices):
        return x, 0.75 * y + 0.25 * y[::-1]

    mix.mixes = True
    history = solver_of(augment=mix, optimizer=cl.SGD(lr=0), epochs=1, metrics={"sum": lambda z, t: t.sum()}).train()
    assert history["train_sum"] == pytest.approx([10.0])


def test_an_object_that_fills_one_array_again_and_again():
    class Refills(Batches):
        def __iter__(self):
            y = np.empty(2, int)
            for x, labels in batches(10, 2):
                y[...] = labels
                yield x, y

    def seen(z, t):
        return float((t == data(10)[1]).all())

    assert solver_of(train=Refills(batches(10, 2)), metrics={"same": seen}, epochs=1).train()["train_same"] == [1.0]


def test_without_metrics_nothing_is_kept():
    kept = []
    watch = cl.LambdaCallback(on_step=lambda s: kept.append(s.run.partial.scores))
    solver_of(metrics={}, callbacks=[watch]).train(1)
    assert kept == [[]] * 3


def test_maps_of_several_sizes_train_with_a_mean_over_the_batches():
    net = still([cl.Conv(1, 1, bias=False, init="ones")], (2, 2, 1))
    given = [(np.full((3, 2, 2, 1), 1.0), np.zeros((3, 2, 2, 1))), (np.full((1, 4, 2, 1), 5.0), np.zeros((1, 4, 2, 1)))]
    metrics = {"mean": lambda z, t: z.mean()}
    solver = solver_of(net, given, loss=cl.MSELoss(), optimizer=cl.SGD(lr=0), metrics=metrics, epochs=1)
    assert solver.train()["train_mean"] == [2.0]


# Of the parts of an epoch


def test_the_loss_is_a_weighted_mean():
    epoch = Epoch({})
    epoch.add_step(Taken([Met(0, 2.0, 1.0), Met(1, 8.0, 2.0)]), {})
    assert epoch.values({}) == {"loss": 6.0}


def test_targets_that_are_no_numbers_give_means_weighted_by_samples():
    metrics = {"first": lambda scores, y: {"a": 1.0, "b": 5.0}[str(y)]}
    epoch = Epoch({})
    epoch.add_step(taken((np.zeros((3, 1)), "a"), (np.zeros((1, 1)), "b")), metrics)
    assert epoch.values(metrics)["first"] == 2.0
    ragged = Epoch({})
    metrics = {"first": lambda scores, y: y[0][0]}
    ragged.add_step(taken((np.zeros((3, 1)), [[1], [2, 3]]), (np.zeros((1, 1)), [[5], [2, 3]])), metrics)
    assert ragged.values(metrics)["first"] == 2.0


def test_a_batch_that_does_not_go_with_those_before_it_makes_it_a_mean_from_the_first():
    metrics = {"width": lambda scores, y: scores.shape[1]}
    epoch = Epoch({})
    for width in (2, 2, 5):
        epoch.add_step(taken((np.zeros((2, width)), np.zeros(2))), metrics)
    assert epoch.values(metrics)["width"] == 3.0
    assert epoch.scores == []


def again(epoch):
    arrays = {}
    about = json.loads(json.dumps(epoch.described(arrays)))
    return Epoch.restored(about, arrays)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool, np.float32])
def test_what_was_met_goes_to_a_file_and_back(dtype):
    rng = np.random.default_rng(0)
    parts = [(rng.normal(size=(n, 2)).astype(np.float32), rng.integers(0, 2, n).astype(dtype)) for n in (3, 1, 2, 5)]
    metrics = {"f1": f1}
    whole, cut = Epoch({"a": 1}, batch=3), Epoch({"a": 1}, batch=3)
    for scores, y in parts:
        for epoch in (whole, cut):
            epoch.add_step(taken((scores, y)), metrics)
        cut = again(again(cut))
    assert cut.values(metrics) == whole.values(metrics)
    assert (cut.batch, cut.order) == (3, {"a": 1})


def test_a_file_of_an_earlier_version_ends_with_the_mean_over_batches():
    sums = {"loss": 4.0, "loss weight": 4.0, "right": 3.0, "right weight": 4.0}
    epoch = Epoch.restored({"order": {}, "batch": 1, "sums": sums, "lr": 0.1, "seconds": 1.0}, {})
    metrics = {"right": lambda scores, y: 1.0}
    epoch.add_step(taken((np.zeros((2, 2)), np.zeros(2))), metrics)
    assert epoch.values(metrics)["right"] == 5 / 6
    assert again(epoch).values(metrics) == epoch.values(metrics)


@pytest.mark.parametrize("at", [2, 3, 5, 6])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_run_that_was_left_within_an_epoch_ends_with_the_same_metrics(at, accumulate, tmp_path):
    metrics = {"f1": f1, "accuracy": cl.accuracy}

    def made(**broken):
        given = Batches(batches(11, 2), **broken)
        return solver_of(mlp(), given, data(6, 1), metrics=metrics, checkpoint=tmp_path, accumulate=accumulate)

    whole = made().train().epochs
    left = made(at=at, action=raises(KeyboardInterrupt()))
    left.train()
    resumed = cl.Solver.resume(tmp_path, Batches(batches(11, 2)), data(6, 1), metrics=metrics, progress=False)
    for each in (left, resumed):
        epochs = each.train().epochs
        for name in whole.keys() - {"seconds"}:
            assert epochs[name] == whole[name], name


@pytest.mark.parametrize("given", [None, np.ones(2), "good"])
def test_an_error_in_a_metric_says_which(given):
    metrics = {"size": lambda z, t: len(z), "grade": lambda z, t: given}
    x, y = cl.datasets.digits().val
    solver = cl.Solver(
        *(cl.models.linear(rng=0), (x, y)),
        loss=cl.SoftmaxLoss(),
        optimizer=cl.SGD(lr=0.1),
        metrics=metrics,
        progress=False,
    )
    by_batch = Epoch({})
    for ask in (
        solver.train,
        lambda: solver.evaluate(x, y),
        lambda: by_batch.add_step(taken((np.zeros((3, 1)), "no number")), metrics),
    ):
        with pytest.raises((TypeError, ValueError)) as raised:
            ask()
        assert raised.value.__notes__ == ["in the metric 'grade', which must give a number"]

"""The Solver: epochs, history, what comes back, evaluation."""

import math

import numpy as np
import pytest

import cnnlayers as cl
from tests.training.solving import Batches, Seen, batches, bits, data, mlp, solver_of

# Epochs


def test_an_epoch_has_every_sample_once_and_the_last_partial_batch():
    seen = Seen()
    x = np.arange(10.0)[:, None]
    net = cl.Sequential([cl.Affine(1)], input_shape=(1,), rng=0)
    solver = solver_of(net, (x, x), loss=cl.MSELoss(), optimizer=cl.SGD(lr=1e-6), metrics={"seen": seen}, epochs=3)
    history = solver.train()
    assert len(history.steps["loss"]) == 3 * 3  # batches of 4, 4 and 2
    epochs = [targets.ravel().tolist() for targets in seen.targets]
    assert len(epochs) == 3
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def orders(rng):
    seen = Seen()
    x = np.arange(10.0)[:, None]
    net = cl.Sequential([cl.Affine(1)], input_shape=(1,), rng=0)
    options = {"loss": cl.MSELoss(), "optimizer": cl.SGD(lr=1e-6), "metrics": {"seen": seen}}
    solver_of(net, (x, x), rng=rng, **options).train()
    return np.concatenate(seen.targets).ravel().tolist()


def test_the_order_is_drawn_from_rng():
    assert orders(0) == orders(0) == orders(np.random.default_rng(0)) == orders(np.int64(0))
    assert orders(0) != orders(1)


def test_the_same_seed_gives_the_same_bits():
    one, two, other = solver_of(val=data(7, 1)), solver_of(val=data(7, 1)), solver_of(val=data(7, 1), rng=1)
    for solver in (one, two, other):
        solver.train(3)
    assert bits(one) == bits(two)
    assert bits(one) != bits(other)
    for name in ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "lr"):
        assert one.history[name] == two.history[name]
    assert one.history.steps == two.history.steps


def test_a_step_is_that_of_the_three_lines_by_hand():
    train = batches()
    net = mlp()
    solver = solver_of(net.copy(), train, epochs=1)
    solver.train()
    loss, optimizer = cl.SoftmaxLoss(), cl.SGD(lr=0.1, momentum=0.9)
    for x, y in train:
        loss.forward(net.forward(x), y)
        net.backward(loss.backward())
        optimizer.step(net)
    np.testing.assert_array_equal(solver.model.flat_params, net.flat_params)
    np.testing.assert_array_equal(solver.model.flat_state, net.flat_state)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_learns_in_either_dtype(dtype):
    net = cl.Sequential([cl.Affine(8), cl.Tanh(), cl.Affine(2)], input_shape=(3,), rng=0, dtype=dtype)
    solver = solver_of(net, data(60), data(30, 1), epochs=20, batch_size=20)
    history = solver.train()
    assert history["val_accuracy"][-1] > 0.9
    assert history["train_loss"][-1] < history["train_loss"][0] / 2
    assert net.dtype == net.flat_params.dtype == dtype


def test_an_unbuilt_net_is_built_from_the_first_batch_and_by_rng():
    def trained(rng):
        solver = solver_of(cl.Sequential([cl.Affine(4), cl.ReLU(), cl.Affine(2)]), rng=rng, val=data(5, 1))
        solver.train()
        return solver.model

    net = trained(0)
    assert net.input_shape == (3,)
    np.testing.assert_array_equal(net.flat_params, trained(0).flat_params)
    assert (net.flat_params != trained(1).flat_params).any()


def test_a_single_layer_is_a_model():
    layer = cl.Affine(2)
    solver = solver_of(layer, val=data(5, 1))
    solver.train()
    assert layer.built
    assert set(solver.evaluate(*data())) == {"loss", "accuracy"}


def test_integers_and_other_layouts_are_data_too():
    x, y = data(8)
    rows = np.round(50 * x)
    results = [
        solver_of(train=(given, target), epochs=1).train()["train_loss"]
        for given, target in [(rows, y), (rows.astype(np.int16), y.astype(np.uint8)), (rows.tolist(), y.tolist())]
    ]
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("built", [True, False])
def test_bytes_train_to_the_same_bits_as_their_floats(dtype, built):
    y = data(30)[1]
    x = np.random.default_rng(0).integers(0, 256, (30, 3)).astype(np.uint8)
    results = []
    for given in (x, x.astype(np.float32), x.astype(np.float64), x.astype(np.int64)):
        net = mlp(dtype) if built else cl.Sequential([cl.Normalize(128, 60), cl.Affine(2)])
        solver = solver_of(net, (given, y))
        results.append((solver.train()["train_loss"], bits(solver)))
        assert net.dtype == (dtype if built else np.float32)
    assert all(result == results[0] for result in results)


def test_inputs_are_not_written_to():
    train, val = data(), data(5, 1)
    for a in (*train, *val):
        a.flags.writeable = False
    solver_of(train=train, val=val).train()


# History


def test_history_has_a_number_per_epoch_and_step():
    solver = solver_of(val=data(5, 1), epochs=3)
    history = solver.train()
    assert history is solver.history
    names = ["train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr", "seconds"]
    assert sorted(history.epochs) == sorted(names)
    assert all(len(history[name]) == 3 for name in names)
    assert len(history) == solver.epoch == 3
    assert len(history.steps["loss"]) == solver.step == 9
    assert history.stopped is None
    assert all(s > 0 for s in history["seconds"])
    assert history["lr"] == [0.1] * 3
    assert "val_loss" in history


def test_history_without_validation():
    history = solver_of(epochs=1).train()
    assert sorted(history.epochs) == ["lr", "seconds", "train_accuracy", "train_loss"]


def test_train_loss_is_the_mean_over_samples_not_over_batches():
    # A net that is frozen: y = x W, W = (1,); losses of the samples are x²: 0, 1, 4, 9, 16; batches of 4 and 1
    x = np.arange(5.0)[:, None]
    net = cl.Sequential([cl.Affine(1, bias=False, init="ones")], input_shape=(1,))
    history = solver_of(net, (x, 0 * x), loss=cl.MSELoss(), optimizer=cl.SGD(lr=0), epochs=1).train()
    assert history["train_loss"] == [6.0]
    metric = {"mean": lambda scores, target: float(scores.mean())}
    history = solver_of(net, (x, 0 * x), loss=cl.MSELoss(), optimizer=cl.SGD(lr=0), epochs=1, metrics=metric).train()
    assert history["train_mean"] == [2.0]


def test_class_weights_count_in_the_mean_of_an_epoch():
    x, y = np.array([[0.0, 2.0], [0.0, 0.0], [1.0, 0.0]]), np.array([0, 1, 1])
    net = cl.Sequential([cl.Affine(2, bias=False, init=lambda shape, rng, dtype: np.eye(2))], input_shape=(2,))
    loss = cl.SoftmaxLoss(class_weights=[3, 1])
    solver = solver_of(net, (x, y), (x, y), loss=loss, optimizer=cl.SGD(lr=0), batch_size=2, epochs=1)
    history = solver.train()
    whole = cl.SoftmaxLoss(class_weights=[3, 1]).forward(x, y)
    assert history["train_loss"] == pytest.approx([whole], rel=1e-6)
    assert history["val_loss"] == pytest.approx([whole], rel=1e-6)


def test_a_loss_of_ones_own_without_weight_or_metrics():
    class Mine:
        def forward(self, scores, target):
            self.scores = scores
            return float((scores**2).sum() / 2 / len(scores))

        def backward(self):
            return self.scores / len(self.scores)

    class Derived(Mine, cl.Loss):
        pass

    x = np.arange(5.0)[:, None]
    for loss in (Mine(), Derived()):
        net = cl.Sequential([cl.Affine(1, bias=False, init="ones")], input_shape=(1,))
        solver = solver_of(net, (x, x), (x, x), loss=loss, optimizer=cl.SGD(lr=0), epochs=1)
        history = solver.train()
        assert history["train_loss"] == history["val_loss"] == [3.0]
        assert solver.evaluate(x, x) == {"loss": 3.0}


def test_the_learning_rate_follows_the_schedule():
    asked = []

    def schedule(step, total_steps):
        asked.append((step, total_steps))
        return 1 / (step + 1)

    net = cl.Sequential([cl.Affine(1, bias=False, init="zeros")], input_shape=(1,))
    x = np.ones((4, 1))
    loss = cl.MSELoss()
    options = {"loss": loss, "optimizer": cl.SGD(lr=0.5), "schedule": schedule, "batch_size": 2}
    solver = solver_of(net, (x, x), **options)
    history = solver.train(2)
    assert asked == [(0, 4), (1, 4), (2, 4), (3, 4)]
    assert history["lr"] == [0.5 / 2, 0.5 / 4]
    w = 0.0
    for step in range(4):
        w -= 0.5 / (step + 1) * 2 * (w - 1)  # dL/dw of (w - 1)²
    assert net.params["0.W"].item() == pytest.approx(w, rel=1e-6)
    solver.train(1)  # a second call runs the schedule anew, over its own steps
    assert asked[4:] == [(0, 2), (1, 2)]


def test_schedules_that_count_epochs_are_told_their_length():
    history = solver_of(schedule=cl.Cosine(warmup=1), epochs=3).train()  # 3 steps per epoch
    assert history["lr"][0] == pytest.approx(0.1)
    assert history["lr"][2] < history["lr"][1] < 0.1


def factors(solver, epochs):
    """The factors on lr of so many more epochs, step by step."""
    rates = []
    step = solver.optimizer.step

    def noting(model, factor=1.0):
        rates.append(factor)
        step(model, factor)

    solver.optimizer.step = noting
    solver.train(epochs)
    del solver.optimizer.step
    return rates


@pytest.mark.parametrize("schedule", [cl.Cosine, cl.Polynomial, cl.Constant], ids=lambda s: s.__name__)
def test_a_net_that_is_warm_is_not_warmed_up_again(schedule):
    solver = solver_of(schedule=schedule(warmup=1))  # 3 steps per epoch
    plain = schedule()
    assert factors(solver, 2) == [1 / 3, 2 / 3, 1, *(plain(step, 3) for step in range(3))]
    assert factors(solver, 2) == [plain(step, 6) for step in range(6)]
    assert factors(solver, 1) == [plain(step, 3) for step in range(3)]


def test_a_warmup_that_was_cut_short_is_run_again():
    solver = solver_of(schedule=cl.Constant(warmup=2))
    assert factors(solver, 1) == pytest.approx([1 / 6, 2 / 6, 3 / 6])
    assert factors(solver, 3) == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1, 1, 1, 1])
    assert factors(solver, 1) == [1, 1, 1]


# Best and last


def drifting(**options):
    """Train on x -> 1, validate on x -> 0: the validation loss grows with every epoch."""
    net = cl.Sequential([cl.Affine(1, bias=False, init="zeros"), cl.BatchNorm()], input_shape=(1,), rng=0)
    x = np.arange(8.0)[:, None]
    options = {"loss": cl.MSELoss(), "optimizer": cl.SGD(lr=0.05)} | options
    return solver_of(net, (x, np.ones((8, 1))), (x, np.zeros((8, 1))), **options)


def test_the_best_weights_come_back():
    one, many, last = drifting(), drifting(), drifting(keep="last")
    one.train(1)
    history = many.train(4)
    last.train(4)
    assert history["val_loss"] == sorted(history["val_loss"])
    assert many.run.best == history["val_loss"][0]
    np.testing.assert_array_equal(many.model.flat_params, one.model.flat_params)
    np.testing.assert_array_equal(many.model.flat_state, one.model.flat_state)
    assert (last.model.flat_params != one.model.flat_params).any()
    val = many.val_data.x, many.val_data.y
    assert many.evaluate(*val)["loss"] == pytest.approx(history["val_loss"][0])
    assert last.evaluate(*val)["loss"] == pytest.approx(last.history["val_loss"][-1])


def test_without_validation_the_last_weights_stay():
    one, two = solver_of(), solver_of(keep="last")
    one.train(3)
    two.train(3)
    assert bits(one) == bits(two)


@pytest.mark.parametrize(("monitor", "best"), [("val_score", 2), ("val_error", 1), ("train_loss", 3), ("val_loss", 0)])
def test_what_is_monitored_is_better_higher_or_lower_by_its_name(monitor, best):
    class Given:
        """Numbers by epoch, on the validation set."""

        def __init__(self, *numbers):
            self.numbers = list(numbers)

        def __call__(self, scores, target):
            return self.numbers.pop(0) if (np.asarray(target) == 0).all() else 0.0

    metrics = {"score": Given(1, 2, 3, 0), "error": Given(3, 1, 2, 1)}
    solver = drifting(metrics=metrics, monitor=monitor, optimizer=cl.SGD(lr=0.05))
    solver.train(4)
    twin = drifting(metrics={}, keep="last")
    twin.train(best + 1)
    np.testing.assert_array_equal(solver.model.flat_params, twin.model.flat_params)


def test_a_validation_loss_of_nan_is_never_the_best():
    calls = []

    def metric(scores, target):
        calls.append(1)
        return [math.nan, 2.0, 1.0][len(calls) - 1]

    metrics = {"score": lambda scores, target: metric(scores, target) if len(target) == 3 else 0.0}
    solver = solver_of(train=batches(4), val=data(3, 1), metrics=metrics, monitor="val_score")
    solver.train(3)
    assert solver.run.best == 2.0


def test_a_second_train_goes_on():
    once, twice = solver_of(val=data(5, 1), keep="last"), solver_of(val=data(5, 1), keep="last")
    once.train(5)
    first = twice.train(2)
    assert twice.epoch == 2
    second = twice.train(3)
    assert second is first
    assert bits(once) == bits(twice)
    for name in ("train_loss", "val_loss", "lr"):
        assert once.history[name] == twice.history[name]
    assert once.history.steps == twice.history.steps
    assert (twice.epoch, twice.step) == (5, 15)


def test_a_second_train_goes_on_from_the_last_weights_not_the_best():
    once, twice = drifting(), drifting()
    once.train(4)
    twice.train(2)
    twice.train(2)
    assert once.history["train_loss"] == twice.history["train_loss"]
    assert once.history["val_loss"] == twice.history["val_loss"]
    assert bits(once) == bits(twice)


def test_a_second_train_keeps_what_the_user_changed():
    solver = drifting()
    solver.train(3)
    solver.model.flat_params[...] = 0
    fresh = drifting(keep="last")
    fresh.model.flat_params[...] = 0
    solver.train(1)
    fresh.train(1)
    assert solver.history["train_loss"][-1] == pytest.approx(fresh.history["train_loss"][0])


def test_the_best_outlives_a_second_train():
    one, solver = drifting(), drifting()
    one.train(1)
    solver.train(2)
    solver.train(2)
    np.testing.assert_array_equal(solver.model.flat_params, one.model.flat_params)


def test_no_epochs_change_nothing():
    net = mlp()
    before = net.flat_params.copy()
    solver = solver_of(net, epochs=0)
    assert len(solver.train()) == 0
    np.testing.assert_array_equal(net.flat_params, before)
    assert len(solver.train(1)) == 1


# Evaluate


def test_evaluate_by_hand():
    net = cl.Sequential([cl.Affine(2, bias=False, init=lambda shape, rng, dtype: np.eye(2))], input_shape=(2,))
    x = [[0, 0], [math.log(3), 0], [0, math.log(3)], [math.log(3), 0], [0, math.log(7)]]
    y = [0, 0, 0, 1, 1]  # p of the label: 1/2, 3/4, 1/4, 1/4, 7/8
    result = solver_of(net, batch_size=2).evaluate(x, y)
    assert set(result) == {"loss", "accuracy"}
    assert result["loss"] == pytest.approx(-math.log(1 / 2 * 3 / 4 * 1 / 4 * 1 / 4 * 7 / 8) / 5, rel=1e-6)
    assert result["accuracy"] == 3 / 5
    metrics = {"highest": lambda scores, target: scores.max()}
    result = solver_of(net, metrics=metrics).evaluate(x, y)
    assert result["highest"] == pytest.approx(math.log(7))
    assert type(result["highest"]) is float


@pytest.mark.parametrize("views", [cl.augment.mirror, cl.augment.mirror_and_shift])
def test_evaluate_over_views(views):
    """The loss and the metrics of the mean scores, also of batches of bytes, and with weights."""
    rng = np.random.default_rng(0)
    x, y, w = rng.integers(0, 9, (11, 5, 4, 2), dtype=np.uint8), np.arange(11) % 3, rng.uniform(0, 2, 11)
    net = cl.Sequential([cl.Conv(4, 3), cl.ReLU(), cl.Flatten(), cl.Affine(3)], input_shape=(5, 4, 2), rng=0)
    solver = cl.Solver(net, (x, y), loss=cl.SoftmaxLoss(), optimizer=cl.SGD(lr=0.1), batch_size=4, progress=False)
    scores = net.predict(x, views=views)
    assert solver.evaluate(x, y, views=views) == pytest.approx(
        {"loss": cl.SoftmaxLoss().forward(scores, y), "accuracy": cl.accuracy(scores, y)}, rel=1e-5
    )
    loss = cl.SoftmaxLoss().forward(scores, y, weights=w)
    assert solver.evaluate(x, y, w, views)["loss"] == pytest.approx(loss, rel=1e-5)
    assert solver.evaluate(x, y)["loss"] != pytest.approx(solver.evaluate(x, y, views=views)["loss"], rel=1e-3)


def test_evaluate_a_layer_over_views():
    """Which has a predict without views."""
    solver = solver_of(cl.Affine(3))
    x, y = data(6)
    solver.evaluate(x, y)
    result = solver.evaluate(x, y, views=lambda x: [(0.5, 2 * x), (0.5, 0 * x)])
    assert result == pytest.approx(solver.evaluate(x, y), rel=1e-5)


def test_evaluate_over_what_are_no_views():
    with pytest.raises(TypeError, match=r"^views must be a function"):
        solver_of().evaluate(*data(6), views="mirror")
    with pytest.raises(ValueError, match=r"^mirror needs images \(N, H, W, C\)"):
        solver_of().evaluate(*data(6), views=cl.augment.mirror)


def test_evaluate_changes_nothing():
    solver = solver_of()
    solver.train(1)
    before = bits(solver)
    x, y = data(5, 1)
    score = solver.loss.forward(solver.model.forward(x, train=False), y)
    results = [solver.evaluate(*data(7, 2)) for _ in range(2)]
    assert results[0] == results[1]
    assert bits(solver) == before
    assert solver.model.backward(solver.loss.backward()).shape == x.shape  # what was pending is still valid
    assert score == pytest.approx(solver.evaluate(x, y)["loss"])
    assert len(solver.history) == 1


def test_the_batch_size_does_not_matter_for_evaluation():
    one, two = solver_of(mlp(np.float64), batch_size=1), solver_of(mlp(np.float64), batch_size=100)
    assert one.evaluate(*data(9)) == pytest.approx(two.evaluate(*data(9)), rel=1e-12)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((0, 3)), np.zeros(0, int), "Solver: evaluate has no samples"),
        (
            np.zeros((4, 3)),
            np.zeros(3, int),
            r"evaluate needs as many targets as samples; got shapes \(4, 3\) and \(3,\)",
        ),
        (1.0, 2.0, r"evaluate needs as many targets as samples; got shapes \(\) and \(\)"),
        (np.zeros((2, 5)), np.zeros(2, int), r"Affine\(6\) was built for \(N, 3\); got shape \(N, 5\)"),
        (np.zeros((2, 3)), np.array([0, 2]), r"labels must be integers in 0\.\.1; got 2 at position 1"),
    ],
)
def test_evaluate_refuses_what_does_not_fit(x, y, message):
    with pytest.raises(ValueError, match=message):
        solver_of().evaluate(x, y)


# Batches of one's own


@pytest.mark.parametrize("make", [list, tuple, Batches], ids=["list", "tuple", "object"])
def test_batches_of_ones_own(make):
    given = make(batches(12))
    seen = Seen()
    history = solver_of(train=given, val=given, metrics={"seen": seen}).train()
    assert len(seen.targets) == 4  # of training and validation, in each epoch
    for targets in seen.targets:
        np.testing.assert_array_equal(targets, data(12)[1])
    as_arrays = solver_of(train=batches(12), val=data(12)).train()
    assert history["val_loss"] == pytest.approx(as_arrays["val_loss"])
    assert len(history.steps["loss"]) == 6


def test_an_object_without_a_length():
    class Endless:
        def __iter__(self):
            return iter(batches())

    assert len(solver_of(train=Endless()).train().steps["loss"]) == 6
    with pytest.raises(TypeError, match="Solver: with a schedule, train must have a length"):
        solver_of(train=Endless(), schedule=cl.Cosine()).train()


@pytest.mark.parametrize(
    "make", [iter, lambda b: (p for p in b), lambda b: map(tuple, b), lambda b: zip(b, b, strict=True)]
)
def test_a_one_shot_iterator_is_refused_at_construction(make):
    with pytest.raises(TypeError, match="Solver: train is an iterator, which ends after one epoch; give a list"):
        solver_of(train=make(batches()))
    with pytest.raises(TypeError, match="Solver: val is an iterator"):
        solver_of(val=make(batches()))


def test_an_iterable_that_ran_dry():
    class Dry:
        def __init__(self):
            self.once = iter(batches())

        def __iter__(self):
            yield from self.once

    solver = solver_of(train=Dry())
    with pytest.raises(ValueError, match="Solver: train gave no batches"):
        solver.train()
    assert len(solver.history) == 1
    with pytest.raises(ValueError, match="Solver: there are no batches to evaluate"):
        solver_of(val=[]).train()


@pytest.mark.parametrize("batch", [np.zeros((4, 3)), (1, 2, 3), "ab", None])
def test_a_batch_that_is_no_pair(batch):
    with pytest.raises(TypeError, match=r"Solver: a batch must be a pair \(x, y\); got"):
        solver_of(train=[batch]).train()


def test_a_net_that_only_predicts_is_not_trained():
    net = mlp().for_inference()
    solver = solver_of(net, data(6, 1), data(6, 1))
    assert np.isfinite(solver.evaluate(*data(6, 1))["loss"])
    with pytest.raises(
        RuntimeError, match=r"Solver: model was made by for_inference\(\): it can predict\(\), not train"
    ):
        solver.train()

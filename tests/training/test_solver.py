"""The Solver: true epochs, honest numbers, and a consistent net on every way out."""

import inspect
import io
import math
import os
import signal
import sys

import numpy as np
import pytest

import cnnlayers as cl

PID = os.getpid()


def data(n=10, seed=0):
    x = np.random.default_rng(seed).standard_normal((n, 3))
    return x, (x[:, 0] > x[:, 1]).astype(int)


def mlp(dtype=np.float32, rng=0):
    layers = [cl.Affine(6), cl.BatchNorm(), cl.ReLU(), cl.Dropout(0.2), cl.Affine(2)]
    return cl.Sequential(layers, input_shape=(3,), rng=rng, dtype=dtype)


def solver_of(net=None, train=None, val=None, **options):
    options = {"loss": cl.SoftmaxLoss(), "optimizer": cl.SGD(lr=0.1, momentum=0.9), "progress": False} | options
    options = {"batch_size": 4, "epochs": 2} | options
    return cl.Solver(net or mlp(), data() if train is None else train, val, **options)


def bits(solver):
    """All that training changes, as bytes."""
    net, optimizer = solver.model, solver.optimizer
    draws = [layer.rng.bit_generator.state for _, layer in net.walk() if layer.random]
    memory = {name: np.asarray(value).tobytes() for name, value in optimizer.state.items()}
    return net.flat_params.tobytes(), net.flat_state.tobytes(), draws, memory


class Batches:
    """Batches of the user's own, with something to happen before a batch, counted from 1 over all epochs."""

    def __init__(self, batches, at=None, action=None):
        self.batches, self.at, self.action, self.given = batches, at, action, 0

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        for batch in self.batches:
            self.given += 1
            if self.given == self.at:
                self.action()
            yield batch


def batches(n=10, size=4):
    x, y = data(n)
    return [(x[i : i + size], y[i : i + size]) for i in range(0, n, size)]


def raises(error):
    def action():
        raise error

    return action


class Seen:
    """A metric that notes what it is given."""

    def __init__(self):
        self.targets = []

    def __call__(self, scores, target):
        self.targets.append(np.array(target))
        return float(len(target))


# Epochs


def test_an_epoch_has_every_sample_once_and_the_last_partial_batch():
    seen = Seen()
    x = np.arange(10.0)[:, None]
    net = cl.Sequential([cl.Affine(1)], input_shape=(1,), rng=0)
    solver_of(net, (x, x), loss=cl.MSELoss(), optimizer=cl.SGD(lr=1e-6), metrics={"seen": seen}, epochs=3).train()
    assert [len(t) for t in seen.targets] == [4, 4, 2] * 3
    epochs = [np.concatenate(seen.targets[i : i + 3]).ravel().tolist() for i in (0, 3, 6)]
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
    order = [4, 4, 4, 12] * 2
    assert [len(t) for t in seen.targets] == order
    np.testing.assert_array_equal(np.concatenate(seen.targets[:3]), data(12)[1])
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


# Clipping


@pytest.mark.parametrize(("clip", "factor"), [(1.0, 1 / 20), (19.9, 19.9 / 20), (20.1, 1), (None, 1)])
def test_clipping_by_hand(clip, factor):
    net = cl.Sequential([cl.Affine(1, bias=False, init="zeros")], input_shape=(2,))
    x, y = np.array([[6.0, 8.0]]), np.array([[-1.0]])  # dL/dW = 2 (0 + 1) x = (12, 16), of norm 20
    solver_of(net, (x, y), loss=cl.MSELoss(), optimizer=cl.SGD(lr=1), clip_norm=clip, epochs=1).train()
    np.testing.assert_allclose(net.params["0.W"].ravel(), [-12 * factor, -16 * factor], rtol=1e-6)


def test_frozen_gradients_are_not_in_the_norm():
    net = cl.Sequential([cl.Affine(1, init="ones"), cl.Affine(1, bias=False, init="zeros")], input_shape=(2,))
    net[0].trainable = False
    x, y = np.array([[6.0, 8.0]]), np.array([[-1.0]])  # the second layer sees 14: dL/dW = 28
    solver_of(net, (x, y), loss=cl.MSELoss(), optimizer=cl.SGD(lr=1), clip_norm=7, epochs=1).train()
    np.testing.assert_allclose(net.params["1.W"].ravel(), [-7], rtol=1e-6)


def test_a_gradient_of_zero_is_not_clipped():
    net = cl.Sequential([cl.Affine(1, bias=False, init="zeros")], input_shape=(1,))
    solver_of(net, (np.ones((2, 1)), np.zeros((2, 1))), loss=cl.MSELoss(), clip_norm=1, epochs=1).train()
    np.testing.assert_array_equal(net.flat_params, 0)


# Ctrl-C and errors


def interrupted(action, at, val=None, keep="best"):
    given = Batches(batches(), at=at, action=action)
    solver = solver_of(train=given, val=val, keep=keep)
    return solver, solver.train(4)


@pytest.mark.parametrize("action", [lambda: os.kill(PID, signal.SIGINT), raises(KeyboardInterrupt())])
def test_ctrl_c_returns_the_history_and_a_consistent_net(action):
    solver, history = interrupted(action, at=5)  # the second batch of the second epoch, before it is taken
    assert history.stopped == "interrupted in epoch 2, after step 4"
    assert len(history) == solver.epoch == 1
    assert len(history.steps["loss"]) == solver.step == 4
    twin = solver_of(train=batches())
    twin.train(1)
    twin.train_data = solver_of(train=batches()[:1]).train_data
    twin.train(1)
    assert bits(solver) == bits(twin)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_after_ctrl_c_training_goes_on():
    solver, _ = interrupted(lambda: os.kill(PID, signal.SIGINT), at=5)
    history = solver.train(2)
    assert history.stopped is None
    assert solver.epoch == len(history) == 3


def test_ctrl_c_gives_the_best_weights():
    best = solver_of(train=batches(), val=data(20, 1), keep="best")
    best.train(2)
    solver, _ = interrupted(lambda: os.kill(PID, signal.SIGINT), at=8, val=data(20, 1))
    np.testing.assert_array_equal(solver.model.flat_params, best.model.flat_params)
    np.testing.assert_array_equal(solver.model.flat_state, best.model.flat_state)


class Signals(cl.Layer):
    """The identity, which presses Ctrl-C `times` in its first backward pass."""

    def __init__(self, times):
        self.times = times

    def forward(self, x, train=True):
        return x.copy()

    def backward(self, dy, input_grad=True):
        for _ in range(self.times):
            os.kill(PID, signal.SIGINT)
        self.times = 0
        return dy


@pytest.mark.parametrize("times", [1, 2, 3])
def test_ctrl_c_in_a_step_waits_for_its_end(times):
    net = cl.Sequential([cl.Affine(6), Signals(times), cl.Affine(2)], input_shape=(3,), rng=0)
    twin = net.copy()
    solver = solver_of(net, batches())
    history = solver.train()
    assert history.stopped == "interrupted in epoch 1, after step 1"
    twin[1].times = 0
    other = solver_of(twin, batches()[:1])
    other.train(1)
    assert bits(solver) == bits(other)


@pytest.mark.parametrize("where", ["data", "metric", "validation"])
def test_an_error_of_the_users_own_propagates_and_the_best_weights_stay(where):
    class MineError(Exception):
        pass

    def metric(scores, target):
        calls.append(len(target))
        if where == "metric" and len(calls) == 7:
            raise MineError
        return 0.0

    calls = []
    train = Batches(batches(), at=5 if where == "data" else None, action=raises(MineError()))
    val = Batches([data(20, 1)], at=2 if where == "validation" else None, action=raises(MineError()))
    solver = solver_of(train=train, val=val, metrics={"mine": metric})
    with pytest.raises(MineError):
        solver.train(3)
    best = solver_of(train=batches(), val=data(20, 1))
    best.train(1)
    np.testing.assert_array_equal(solver.model.flat_params, best.model.flat_params)
    np.testing.assert_array_equal(solver.model.flat_state, best.model.flat_state)
    assert len(solver.history) == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    solver.train(1)
    assert len(solver.history) == 2


# NaN


class Breaks(cl.Layer):
    """The identity, but for bad numbers at step `at`, forward or backward."""

    def __init__(self, at, where="forward", value=math.nan):
        self.at, self.where, self.value = at, where, value

    def allocate(self, input_shape):
        self.add_param("g", (1,), "ones")
        self.add_state("calls", (1,))

    def spoil(self, a, where):
        a = a.copy()
        if self.state["calls"] == self.at and where == self.where:
            a[...] = self.value
        return a

    def forward(self, x, train=True):
        self.keep(x)
        if train:
            self.state["calls"] += 1
        return self.spoil(x * self.params["g"], "forward")

    def backward(self, dy, input_grad=True):
        (x,) = self.take()
        self.grads["g"] = [(dy * x).sum()]
        if self.where == "gradient" and self.state["calls"] == self.at:
            self.grads["g"] = [self.value]
        return self.spoil(dy * self.params["g"], "backward")


def breaking(*options):
    layers = [cl.Affine(6), cl.BatchNorm(), cl.Dropout(0.2), cl.Sequential([cl.ReLU(), Breaks(*options)]), cl.Affine(2)]
    return cl.Sequential(layers, input_shape=(3,), rng=0)


OPTIMIZERS = [lambda: cl.SGD(lr=0.1, momentum=0.9), lambda: cl.Adam(), lambda: cl.SGD(lr=0.1)]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("at", [1, 2, 4])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("forward", "output"),
        ("backward", "gradient of the input"),
        ("gradient", "gradient of 'g'"),
    ],
)
def test_a_bad_number_stops_training_names_the_layer_and_undoes_the_step(optimizer, at, value, where, words):
    solver = solver_of(breaking(at, where, value), batches(), optimizer=optimizer())
    message = rf"step {at}: .*; first seen in the {words} of layer 3\.1, Breaks\({at}"
    with pytest.raises(cl.NonFiniteError, match=message) as error:
        solver.train()
    assert solver.history.stopped == str(error.value)
    assert solver.step == len(solver.history.steps["loss"]) == at - 1
    twin = solver_of(breaking(99), batches(), optimizer=optimizer())
    if at == 1:
        twin.optimizer.bind(twin.model)
    else:
        given = Batches(batches(), at=at, action=raises(KeyboardInterrupt()))
        twin.train_data = solver_of(train=given).train_data
        twin.train()
    assert bits(solver) == bits(twin)


def test_after_a_bad_number_training_can_go_on():
    solver = solver_of(breaking(2), batches(), optimizer=cl.Adam())
    with pytest.raises(cl.NonFiniteError, match="step 2"):
        solver.train()
    solver.model[3][1].at = 99
    history = solver.train(1)
    assert history.stopped is None
    assert np.isfinite(solver.model.flat_params).all()
    assert solver.step == 4


def test_nan_gives_the_best_weights():
    solver = solver_of(breaking(9), batches(), data(20, 1))
    with pytest.raises(cl.NonFiniteError, match="step 9"):
        solver.train(4)
    best = solver_of(breaking(99), batches(), data(20, 1))
    best.train(2)
    np.testing.assert_array_equal(solver.model.flat_params, best.model.flat_params)
    assert len(solver.history) == 2


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_bad_number_in_the_data(value):
    given = batches()
    given[1][0][2, 1] = value
    with pytest.raises(cl.NonFiniteError, match=r"step 2: .*; the batch itself holds a NaN or an infinity"):
        solver_of(train=given).train()


def test_a_bad_number_in_the_targets():
    x, y = np.ones((4, 3)), np.ones((4, 1))
    y[2] = math.nan
    net = cl.Sequential([cl.Affine(1)], input_shape=(3,), rng=0)
    with pytest.raises((cl.NonFiniteError, ValueError), match=r"step 1: .*it arises in the loss|MSELoss"):
        solver_of(net, (x, y), loss=cl.MSELoss()).train()


def test_a_bad_weight_is_found_in_its_layer():
    net = mlp()
    net.params["4.W"][0, 0] = math.nan
    with pytest.raises(cl.NonFiniteError, match=r"step 1: .*first seen in the output of layer 4, Affine\(2\)"):
        solver_of(net).train()


def test_a_model_of_one_layer_is_named():
    layer = cl.Affine(2)
    layer.build((3,), rng=0)
    layer.params["b"][0] = math.inf
    with pytest.raises(cl.NonFiniteError, match=r"first seen in the output of Affine\(2\)"):
        solver_of(layer).train()


@pytest.mark.parametrize("optimizer", [lambda: cl.SGD(lr=1e30), lambda: cl.SGD(lr=1e38, momentum=0.9)])
def test_a_huge_learning_rate(optimizer):
    solver = solver_of(cl.Sequential([cl.Affine(6), cl.ReLU(), cl.Affine(2)], (3,), rng=0), optimizer=optimizer())
    with pytest.raises(cl.NonFiniteError, match=r"step \d+: "):
        solver.train(20)
    assert np.isfinite(solver.model.flat_params).all()
    assert all(np.isfinite(a).all() for a in solver.optimizer.state.values())


def test_a_step_out_of_range_is_undone():
    net = cl.Sequential([cl.Affine(1, bias=False, init="ones")], input_shape=(1,))
    solver = solver_of(net, (np.full((1, 1), 10.0), np.zeros((1, 1))), loss=cl.MSELoss(), optimizer=cl.SGD(1e37, 0.9))
    with pytest.raises(cl.NonFiniteError, match=r"step 1: the step took a weight out of range \(is lr too large\?\)"):
        solver.train()
    np.testing.assert_array_equal(net.flat_params, 1)
    np.testing.assert_array_equal(solver.optimizer.state["velocity"], 0)


def test_large_but_finite_gradients_are_no_error():
    net = cl.Sequential([cl.Affine(1, bias=False, init="zeros")], input_shape=(3,))  # their sum overflows float32
    x, y = np.full((1, 3), 1e19), np.full((1, 1), -1e19)
    solver_of(net, (x, y), loss=cl.MSELoss(), optimizer=cl.SGD(lr=1e-37), epochs=1).train()
    assert np.isfinite(net.flat_params).all()
    assert (net.flat_params != 0).all()


# Arguments


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"model": 3}, TypeError, "Solver: model must be a Layer; got 3"),
        ({"model": cl.Affine}, TypeError, "Solver: model must be a Layer; got <class"),
        ({"loss": None}, TypeError, r"Solver: loss must have forward\(scores, target\) and backward\(\); got None"),
        ({"loss": cl.SoftmaxLoss}, TypeError, r"Solver: loss must have forward\(scores, target\) .*; got <class"),
        ({"optimizer": None}, TypeError, r"Solver: optimizer must have step\(net, factor\) and lr"),
        ({"optimizer": cl.SGD}, TypeError, r"as SGD\(lr=0\.1\); got <class"),
        (
            {"schedule": 0.1},
            TypeError,
            r"Solver: schedule must be a function \(step, total_steps\) -> factor; got 0\.1",
        ),
        ({"schedule": cl.Cosine}, TypeError, "Solver: schedule must be a function"),
        ({"batch_size": 0}, ValueError, "Solver: batch_size must be 1 or more; got 0"),
        ({"batch_size": 2.0}, TypeError, r"Solver: batch_size must be an int; got 2\.0"),
        ({"batch_size": True}, TypeError, "Solver: batch_size must be an int; got True"),
        ({"epochs": -1}, ValueError, "Solver: epochs must be 0 or more; got -1"),
        ({"epochs": "3"}, TypeError, "Solver: epochs must be an int; got '3'"),
        ({"clip_norm": 0}, ValueError, "Solver: clip_norm must be above 0; got 0"),
        ({"clip_norm": math.nan}, ValueError, "Solver: clip_norm must be above 0; got nan"),
        ({"keep": "first"}, ValueError, 'Solver: keep must be "best" or "last"; got \'first\''),
        ({"monitor": "loss"}, ValueError, "Solver: monitor must be one of train_loss, .*val_accuracy; got 'loss'"),
        ({"metrics": {"a": 3}}, TypeError, "Solver: metrics must be functions"),
        ({"metrics": [cl.accuracy]}, TypeError, "Solver: metrics must be functions"),
        ({"progress": 1}, TypeError, "Solver: progress must be True or False; got 1"),
        ({"rng": 1.5}, TypeError, r"rng must be an int, a numpy\.random\.Generator or None; got 1\.5"),
        ({"train": 3}, TypeError, r"Solver: train must be a tuple of two arrays, or an iterable of batches .*; got 3"),
        ({"val": 3}, TypeError, "Solver: val must be a tuple of two arrays"),
        ({"train": (np.zeros((3, 3)), np.zeros(2))}, ValueError, r"Solver: train needs as many targets as samples"),
        ({"train": (np.zeros((0, 3)), np.zeros(0))}, ValueError, "Solver: train has no samples"),
        ({"val": (np.zeros((3, 3)), 1)}, ValueError, "Solver: val needs as many targets as samples"),
    ],
)
def test_wrong_arguments(options, kind, message):
    options = {"model": mlp(), "train": data(), "loss": cl.SoftmaxLoss(), "optimizer": cl.SGD(lr=0.1)} | options
    with pytest.raises(kind, match=message):
        cl.Solver(options.pop("model"), options.pop("train"), **options)


@pytest.mark.parametrize("epochs", [-1, 1.5, True])
def test_wrong_epochs_for_train(epochs):
    with pytest.raises((TypeError, ValueError), match=r"Solver.train: epochs must be"):
        solver_of().train(epochs)


def test_data_that_does_not_fit_the_net():
    with pytest.raises(ValueError, match=r"Affine\(6\) was built for \(N, 3\); got shape \(N, 5\)") as error:
        solver_of(train=(np.zeros((4, 5)), np.zeros(4, int))).train()
    assert "in layer 0 of Sequential" in error.value.__notes__


# What is printed


def test_plain_lines_without_a_terminal(capsys):
    solver_of(val=data(5, 1), epochs=11, progress=True).train()
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert len(lines) == 11
    assert lines[0].startswith("epoch  1/11  train loss ")
    assert lines[10].startswith("epoch 11/11  train loss ")
    for word in ("train accuracy ", "%", "val loss ", "val accuracy ", "lr 0.1", " s"):
        assert all(word in line for line in lines)
    assert err == ""


def test_silence(capsys):
    solver = solver_of(val=data(5, 1), progress=False)
    solver.train()
    solver.evaluate(*data())
    assert capsys.readouterr() == ("", "")


def test_a_bar_in_a_terminal(monkeypatch, capsys):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    solver_of(epochs=1, progress=True).train()
    assert "epoch 1/1" in terminal.getvalue()
    assert "/3" in terminal.getvalue()
    assert capsys.readouterr().out.startswith("epoch 1/1  train loss ")


# Accumulation


@pytest.mark.parametrize("loss", [cl.SoftmaxLoss, lambda: cl.SoftmaxLoss(class_weights=[1, 3]), cl.HingeLoss])
@pytest.mark.parametrize("clip", [None, 0.1])
def test_steps_of_several_batches_are_those_of_one_large_batch(loss, clip):
    def trained(**options):
        layers = [cl.Affine(6), cl.Tanh(), cl.Affine(2)]
        net = cl.Sequential(layers, input_shape=(3,), rng=0, dtype=np.float64)
        solver = solver_of(net, data(22), data(5, 1), loss=loss(), clip_norm=clip, keep="last", **options)
        return solver, solver.train(3)

    small, small_history = trained(batch_size=3, accumulate=3)  # the last step: 3 + 1 samples
    large, large_history = trained(batch_size=9)
    np.testing.assert_allclose(small.model.flat_params, large.model.flat_params, rtol=1e-10, atol=1e-13)
    assert small.step == large.step == 9
    assert small_history.steps["loss"] == pytest.approx(large_history.steps["loss"], rel=1e-9)
    for name in ("train_loss", "train_accuracy", "val_loss"):
        assert small_history[name] == pytest.approx(large_history[name], rel=1e-9)


def test_the_schedule_counts_steps_not_batches():
    asked = []

    def schedule(step, total_steps):
        asked.append((step, total_steps))
        return 1.0

    solver_of(schedule=schedule, accumulate=2).train(2)  # 3 batches an epoch: 2 steps
    assert asked == [(0, 4), (1, 4), (2, 4), (3, 4)]


def test_a_bad_number_in_any_of_the_batches_undoes_the_whole_step():
    solver = solver_of(breaking(3), batches(), accumulate=3)
    with pytest.raises(cl.NonFiniteError, match=r"step 1: .*; first seen in the output of layer 3\.1, Breaks\(3"):
        solver.train()
    fresh = solver_of(breaking(3), batches())
    fresh.optimizer.bind(fresh.model)
    assert bits(solver) == bits(fresh)


@pytest.mark.parametrize("bad", [0, 1.5, True])
def test_wrong_accumulate(bad):
    with pytest.raises((TypeError, ValueError), match="Solver: accumulate must be"):
        solver_of(accumulate=bad)


# Augmentation


def augmented(augment, **options):
    seen = []
    x = np.arange(10.0)[:, None]
    net = cl.Sequential([cl.Affine(2)], input_shape=(1,), rng=0)

    def noting(*args, **keys):
        result = augment(*args, **keys)
        seen.append((args[0].ravel().tolist(), keys, result))
        return result

    noting.__signature__ = inspect.signature(augment)
    if hasattr(augment, "mixes"):
        noting.mixes = augment.mixes
    options = {"augment": noting, "epochs": 2} | options
    solver = solver_of(net, (x, np.arange(10) % 2), (x, np.arange(10) % 2), **options)
    solver.train()
    return solver, seen


def test_an_augmentation_is_told_seed_epoch_and_the_numbers_of_the_samples():
    def augment(x, *, seed, epoch, indices):
        return x + 1

    solver, seen = augmented(augment)
    assert [len(x) for x, *_ in seen] == [4, 4, 2] * 2  # training only
    assert all(x == keys["indices"].tolist() for x, keys, _ in seen)
    assert [keys["epoch"] for _, keys, _ in seen] == [0, 0, 0, 1, 1, 1]
    assert {keys["seed"] for _, keys, _ in seen} == {solver.run.augment_seed}
    other, _ = augmented(augment, rng=1)
    assert other.run.augment_seed != solver.run.augment_seed
    with_accumulation, again = augmented(augment, accumulate=2)
    assert [x for x, *_ in again] == [x for x, *_ in seen]
    assert (with_accumulation.model.flat_params != solver.model.flat_params).any()


def test_batches_of_ones_own_are_numbered_by_their_place():
    x = np.zeros((10, 3))
    seen = []

    def augment(x, *, seed, epoch, indices):
        seen.append(indices.tolist())
        return x

    solver_of(train=[(x[:4], data()[1][:4]), (x[4:], data()[1][4:])], augment=augment).train(1)
    assert seen == [[0, 1, 2, 3], [4, 5, 6, 7, 8, 9]]


def test_a_function_of_x_and_rng():
    def drawn(**options):
        _, seen = augmented(lambda x, rng: x + rng.normal(size=x.shape), **options)
        return [np.asarray(result) - np.array(x)[:, None] for x, _, result in seen]

    one, two, other = drawn(), drawn(), drawn(rng=1)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (one[0] != other[0]).any()
    assert len({a.tobytes() for a in one}) == len(one)


def test_what_mixes_gets_and_gives_probability_rows():
    def mix(x, y, *, seed, epoch, indices):
        np.testing.assert_array_equal(y, np.eye(2)[indices % 2])
        return (x + x[::-1]) / 2, (y + y[::-1]) / 2

    mix.mixes = True
    solver, seen = augmented(mix)
    assert len(seen) == 6
    assert all(isinstance(result, tuple) for *_, result in seen)
    assert len(solver.history["train_accuracy"]) == 2


class Mixing:
    mixes = True

    def __init__(self, function):
        self.function = function

    def __call__(self, *args, **keys):
        return self.function(*args, **keys)


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        (3, r"Solver: augment must be a function of a batch, as f\(x, rng\) -> x; got 3"),
        (dict, "Solver: augment must be a function of a batch"),
        (lambda x, rng: x[1:], r"Solver: augment must give as many samples as it got, 4; got shape \(3, 3\)"),
        (lambda x, rng: None, "Solver: augment must give as many samples as it got, 4; got NoneType"),
        (Mixing(lambda x, y, **keys: x), r"Solver: augment mixes, so it must give \(x, y\); it gave ndarray"),
    ],
)
def test_wrong_augmentations(augment, message):
    with pytest.raises((TypeError, ValueError), match=message):
        solver_of(augment=augment).train()

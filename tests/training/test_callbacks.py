"""Callbacks: when they are called, what they do, and that nothing they do can hurt the net."""

import csv
import math
import sys
import types

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.training.weights import weights_of
from tests.training import runs

CASE = ("adam", "none", "")


def made(*callbacks, case=CASE, **options):
    return runs.make(case, callbacks=callbacks, **options)


class Notes(cl.Callback):
    def __init__(self, notes, name="", order=0):
        self.notes, self.name, self.order = notes, name, order

    def note(self, what, solver):
        self.notes.append((self.name + what, solver.epoch, solver.step))

    def on_train_begin(self, solver):
        self.note("begin", solver)

    def on_step(self, solver):
        self.note("step", solver)

    def on_epoch_end(self, solver):
        self.note("epoch", solver)

    def on_train_end(self, solver):
        self.note("end", solver)


class Given(cl.Callback):
    """Put numbers of our own into the history, before the other callbacks look."""

    order = -2

    def __init__(self, numbers, name="val_loss"):
        self.numbers, self.name = list(numbers), name

    def on_epoch_end(self, solver):
        solver.history.epochs[self.name][-1] = self.numbers[solver.epoch - 1]


# When


def test_when_the_hooks_are_called():
    notes = []
    made(Notes(notes)).train(2)
    steps = [("step", 0, i) for i in (1, 2, 3, 4)], [("step", 1, i) for i in (5, 6, 7, 8)]
    assert notes == [("begin", 0, 0), *steps[0], ("epoch", 1, 4), *steps[1], ("epoch", 2, 8), ("end", 2, 8)]


def test_the_order_of_callbacks():
    notes = []
    made(Notes(notes, "b ", 1), Notes(notes, "a1 "), Notes(notes, "a2 "), Notes(notes, "e ", -1)).train(1)
    assert [name for name, *_ in notes][:4] == ["e begin", "a1 begin", "a2 begin", "b begin"]
    orders = [callback.order for callback in (cl.EMA(), cl.CSVLogger("x"), cl.Checkpoint())]
    assert orders == sorted(orders)
    assert orders[0] < orders[1] < orders[2]


def test_lambdas():
    notes = []
    names = ["on_train_begin", "on_step", "on_epoch_end", "on_train_end"]
    hooks = {name: lambda solver, name=name: notes.append((name, solver.step)) for name in names}
    made(cl.LambdaCallback(**hooks)).train(1)
    steps = [("on_step", i) for i in range(1, 5)]
    assert notes == [("on_train_begin", 0), *steps, ("on_epoch_end", 4), ("on_train_end", 4)]


def test_callbacks_see_the_step_and_the_epoch_that_are_done():
    seen = []
    watch = cl.LambdaCallback(
        on_step=lambda s: seen.append(len(s.history.steps["loss"]) == s.step),
        on_epoch_end=lambda s: seen.append(len(s.history["val_loss"]) == s.epoch),
    )
    made(watch).train(2)
    assert seen == [True] * 10


def test_at_the_end_the_net_has_the_weights_given_back():
    ends = []
    solver = made(
        Given([1.0, 2.0, 3.0]), cl.LambdaCallback(on_train_end=lambda s: ends.append(s.model.flat_params.copy()))
    )
    solver.train()
    np.testing.assert_array_equal(ends[0], solver.run.best_weights[0])


@pytest.mark.parametrize("hook", ["on_train_begin", "on_step", "on_epoch_end", "on_train_end"])
def test_an_error_in_a_callback_propagates_as_it_is_and_the_best_weights_come_back(hook):
    class MineError(Exception):
        pass

    error = MineError("mine")

    def fails(solver):
        if solver.epoch >= (0 if hook == "on_train_begin" else 2):
            raise error

    notes = []
    solver = made(cl.LambdaCallback(**{hook: fails}), Notes(notes))
    with pytest.raises(MineError) as caught:
        solver.train()
    assert caught.value is error
    if hook != "on_train_begin":
        np.testing.assert_array_equal(solver.model.flat_params, solver.run.best_weights[0])
    if hook != "on_train_end":
        assert notes[-1][0] == "end"  # the others are told


def test_beside_an_error_under_way_another_is_a_note():
    def fails(text):
        def act(solver):
            raise ValueError(text)

        return act

    solver = made(cl.LambdaCallback(on_step=fails("first"), on_train_end=fails("second")))
    with pytest.raises(ValueError, match="first") as caught:
        solver.train()
    assert caught.value.__notes__ == ["and then ValueError: second"]


def test_a_callback_stops_the_training_after_a_step():
    solver = made(cl.LambdaCallback(on_step=lambda s: s.step == 6 and s.stop("enough")))
    history = solver.train()
    assert (history.stopped, solver.step, solver.epoch) == ("enough", 6, 1)
    np.testing.assert_array_equal(solver.model.flat_params, solver.run.best_weights[0])
    solver.callbacks.clear()
    solver.train(1)
    assert (solver.step, solver.epoch) == (8, 2)  # the rest of the epoch


def test_evaluate_within_a_callback_changes_nothing():
    results = []
    plain, watched = (
        made(),
        made(cl.LambdaCallback(on_step=lambda s: results.append(s.evaluate(*runs.sets("")[1])))),
    )
    plain.train()
    watched.train()
    assert runs.digest(plain) == runs.digest(watched)
    assert len(results) == 12


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        (3, r"Solver: callbacks must be a list of Callback objects; got 3"),
        (cl.EMA(), r"Solver: callbacks must be a list of Callback objects; got EMA\(\)"),
        ([print], "Solver: callbacks must hold Callback objects; got <built-in function print>"),
        ([cl.EMA], "Solver: callbacks must hold Callback objects; got <class"),
        ([cl.EMA(), cl.EMA()], "Solver: callbacks must have at most one that averages weights"),
        ([cl.EarlyStopping(monitor="loss")], "EarlyStopping: monitor must be one of train_loss, .* in this run"),
    ],
)
def test_wrong_callbacks(callbacks, message):
    x, y = runs.data()
    net = cl.Sequential([cl.Flatten(), cl.Affine(2)], (4, 4, 1), rng=0)
    with pytest.raises((TypeError, ValueError), match=message):
        cl.Solver(net, (x, y), (x, y), loss=cl.SoftmaxLoss(), optimizer=cl.SGD(lr=0.1), callbacks=callbacks)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cl.EarlyStopping(patience=0), "EarlyStopping: patience must be 1 or more; got 0"),
        (lambda: cl.EarlyStopping(min_delta=-1), "EarlyStopping: min_delta must be at least 0; got -1"),
        (lambda: cl.EMA(1), "EMA: decay must be at least 0 and below 1; got 1"),
        (lambda: cl.Lookahead(0), "Lookahead: every must be 1 or more; got 0"),
        (lambda: cl.Lookahead(alpha=0), "Lookahead: alpha must be above 0 and at most 1; got 0"),
        (lambda: cl.Lookahead(alpha="half"), "Lookahead: alpha must be a number; got 'half'"),
        (
            lambda: made(cl.Lookahead(1, lambda step, total: 1.5)).train(),
            "Lookahead: alpha must be above 0 and at most",
        ),
        (lambda: cl.Checkpoint(every=0), "Checkpoint: every must be 1 or more; got 0"),
        (lambda: cl.Checkpoint(keep=0), "Checkpoint: keep must be 1 or more; got 0"),
        (lambda: cl.Checkpoint(unit="days"), 'Checkpoint: unit must be "epochs" or "steps"; got \'days\''),
        (lambda: cl.LambdaCallback(on_step=3), "LambdaCallback: on_step must be a function of the Solver; got 3"),
        (lambda: made(cl.Checkpoint()).train(), "Checkpoint needs a folder, its own or the Solver's checkpoint="),
    ],
)
def test_wrong_options(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_repr_and_config():
    assert repr(cl.EarlyStopping(3)) == "EarlyStopping(patience=3)"
    assert repr(cl.LambdaCallback(on_step=math.sqrt)) == "LambdaCallback(on_step=<built-in function sqrt>)"
    assert cl.Checkpoint(2, keep=3).config() == {"every": 2, "keep": 3, "unit": "epochs", "folder": None}


# Early stopping


@pytest.mark.parametrize(
    ("numbers", "options", "epochs"),
    [
        ([3, 2, 2, 2, 2, 2], {"patience": 2}, 4),
        ([3, 2, 2, 1, 1, 1], {"patience": 2}, 6),
        ([3, 2.9, 2.8, 2.7, 2, 1], {"patience": 1, "min_delta": 0.5}, 2),
        ([math.nan, math.nan, 1, 1, 1, 1], {"patience": 2}, 2),
        ([3, 4, 5, 5, 5, 5], {"patience": 2, "monitor": "val_accuracy"}, 5),
    ],
)
def test_early_stopping(numbers, options, epochs):
    solver = made(Given(numbers, options.get("monitor", "val_loss")), cl.EarlyStopping(**options))
    history = solver.train(6)
    assert len(history) == epochs
    stopped = f"{options.get('monitor', 'val_loss')} has not improved for {options['patience']} epochs"
    assert history.stopped == f"{stopped}, at epoch {epochs}"
    np.testing.assert_array_equal(solver.model.flat_params, solver.run.best_weights[0])


def test_early_stopping_needs_what_it_watches():
    x, y = runs.data()
    net = cl.Sequential([cl.Flatten(), cl.Affine(2)], (4, 4, 1), rng=0)
    options = {"loss": cl.SoftmaxLoss(), "optimizer": cl.SGD(lr=0.1)}
    with pytest.raises(ValueError, match=r"EarlyStopping: monitor must be one of train_loss, train_accuracy in this"):
        cl.Solver(net, (x, y), callbacks=[cl.EarlyStopping()], **options)
    with pytest.raises(ValueError, match=r"ReduceOnPlateau: monitor must be one of .*; got 'val_loss'"):
        cl.Solver(net, (x, y), schedule=cl.ReduceOnPlateau(), **options)
    cl.Solver(net, (x, y), callbacks=[cl.EarlyStopping(monitor="train_loss")], **options)


# Averaged weights


def test_ema_by_hand():
    seen = []
    ema = cl.EMA(0.5)
    solver = made(ema, cl.LambdaCallback(on_step=lambda s: seen.append(weights_of(s.model))), keep="last")
    solver.train(1)
    params, state = seen[0]
    for t, (p, s) in enumerate(seen[1:], start=2):
        d = min(0.5, t / (t + 9))
        params, state = d * params + (1 - d) * p, d * state + (1 - d) * s
    np.testing.assert_allclose(solver.model.flat_params, params, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(solver.model.flat_state, state, rtol=1e-5, atol=1e-6)


def test_ema_is_evaluated_and_kept_but_training_goes_on_with_the_weights():
    case = ("adam", "none", "ema")
    plain, averaged = made(), made(case=case)
    plain.train(3)
    averaged.train(1)
    assert averaged.history["train_loss"][0] == plain.history["train_loss"][0]
    val = averaged.val_data.x, averaged.val_data.y
    assert averaged.evaluate(*val)["loss"] == averaged.history["val_loss"][0] != plain.history["val_loss"][0]
    np.testing.assert_array_equal(averaged.model.flat_params, averaged.callbacks[0].average[0])
    averaged.train(2)
    assert averaged.history.steps == plain.history.steps
    best = int(np.argmin(averaged.history["val_loss"]))
    assert averaged.evaluate(*val)["loss"] == pytest.approx(averaged.history["val_loss"][best])


def test_ema_in_the_best_file(tmp_path):
    solver = made(case=("adam", "none", "ema"), checkpoint=tmp_path)
    solver.train(3)
    best = cl.load(tmp_path / "best.safetensors")
    np.testing.assert_array_equal(best.flat_params, solver.model.flat_params)
    np.testing.assert_array_equal(
        cl.load(tmp_path / "last.safetensors").flat_params, solver.run.training_weights(solver.model)[0]
    )


def test_ema_in_the_best_file_where_the_last_are_kept(tmp_path):
    solver = made(case=("adam", "none", "ema"), checkpoint=tmp_path, keep="last")
    averages = []
    solver.callbacks.append(cl.LambdaCallback(on_epoch_end=lambda s: averages.append(s.callbacks[0].average[0].copy())))
    solver.train(3)
    best = int(np.argmin(solver.history["val_loss"]))
    np.testing.assert_array_equal(cl.load(tmp_path / "best.safetensors").flat_params, averages[best])
    np.testing.assert_array_equal(solver.model.flat_params, averages[-1])


# Slow and fast weights


def plain_steps(solver, steps, after):
    """Train by hand: SGD in NumPy on the solver's batches, in order; `after(step, w)` may change the weights."""
    net, loss = solver.model.copy(), cl.SoftmaxLoss()
    for step in range(1, steps + 1):
        x, y = solver.train_data.iterable[(step - 1) % len(solver.train_data)]
        loss.forward(net.forward(x.astype(net.dtype)), y)
        net.backward(loss.backward())
        w = [net.flat_params - np.float32(0.1) * net.flat_grads, net.flat_state.copy()]
        after(step, w)
        net.flat_params[...], net.flat_state[...] = w
    return net


def small(*callbacks, built=True, **options):
    (train, val), shape = runs.sets("iterable"), {"input_shape": (4, 4, 1), "rng": 1} if built else {}
    net = cl.Sequential([cl.Conv(3, 3), cl.BatchNorm(), cl.ReLU(), cl.Flatten(), cl.Affine(2)], **shape)
    options = {"loss": cl.SoftmaxLoss(), "optimizer": cl.SGD(lr=0.1), "keep": "last", "rng": 2} | options
    return cl.Solver(net, train, val, callbacks=callbacks, epochs=3, progress=False, **options)


RISING = lambda step, total_steps: 1 - 0.95**5 * (step / total_steps) ** 3  # noqa: E731


@pytest.mark.parametrize("alpha", [0.5, 0.2, RISING], ids=["half", "fifth", "function"])
@pytest.mark.parametrize("every", [1, 3, 5])
def test_lookahead_against_a_plain_loop(every, alpha):
    solver = small(cl.Lookahead(every, alpha))
    slow = [a.copy() for a in weights_of(solver.model)]

    def after(step, fast):
        if step % every == 0:
            share = alpha(step, 12) if callable(alpha) else alpha
            for i in range(2):
                slow[i] = slow[i] + share * (fast[i] - slow[i])
                fast[i] = slow[i].copy()

    net = plain_steps(solver, 12, after)
    solver.train()
    assert solver.step == 12
    for ours, theirs in zip(weights_of(solver.model), weights_of(net), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(solver.callbacks[0].slow, slow, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_lookahead_that_follows_wholly_changes_no_bit():
    plain, followed = made(), made(cl.Lookahead(2, 1))
    plain.train()
    followed.train()
    assert runs.digest(plain) == runs.digest(followed)


def test_lookahead_leaves_what_is_not_trained():
    solver = small(cl.Lookahead(1, 0.3), optimizer=cl.SGD(lr=0.1, groups={"0.W": {"lr_factor": 0}}))
    before = solver.model.params["0.W"].copy()
    solver.train()
    np.testing.assert_array_equal(solver.model.params["0.W"], before)


def test_lookahead_leaves_what_is_frozen_in_between():
    seen = []
    look = cl.LambdaCallback(on_epoch_end=lambda solver: seen.append(solver.model.params["0.W"].copy()))
    solver = small(cl.Lookahead(3, 0.5), cl.Freeze("0.W", after=1), look)
    solver.train()
    assert solver.step == 12  # four in an epoch
    np.testing.assert_array_equal(seen[1], seen[0])
    np.testing.assert_array_equal(seen[2], seen[0])
    np.testing.assert_array_equal(solver.callbacks[0].slow[0], solver.model.flat_params)
    assert "0.W" in solver.model.frozen


def test_a_function_is_given_the_steps_of_each_call_of_train():
    asked = []
    solver = small(cl.Lookahead(2, lambda step, total: asked.append((step, total)) or 0.5))
    solver.train(2)
    solver.train(1)
    assert asked == [(2, 8), (4, 8), (6, 8), (8, 8), (2, 4), (4, 4)]


def test_lookahead_of_a_net_that_its_first_batch_builds():
    solver = small(cl.Lookahead(3), built=False)
    seen = []
    solver.callbacks.append(cl.LambdaCallback(on_step=lambda s: seen.append(weights_of(s.model)[0])))
    solver.callbacks.insert(0, cl.LambdaCallback(on_step=lambda s: seen.append(weights_of(s.model)[0])))
    solver.train(1)
    np.testing.assert_allclose(seen[5], (seen[1] + seen[4]) / 2, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(seen[2], seen[3])


def test_lookahead_begins_with_the_weights_that_a_run_begins_with():
    lookahead = cl.Lookahead(4)
    small(lookahead).train(1)
    fresh = small(lookahead)
    once = small(cl.Lookahead(4))
    for solver in (fresh, once):
        solver.train()
    np.testing.assert_array_equal(fresh.model.flat_params, once.model.flat_params)


def test_an_average_takes_in_what_lookahead_leaves():
    seen = []
    look = cl.LambdaCallback(on_step=lambda s: seen.append(weights_of(s.model)[0]))
    solver = made(cl.EMA(0.5), cl.Lookahead(2), look)
    assert [type(callback) for callback in solver.callbacks[:2]] == [cl.Lookahead, cl.EMA]
    solver.train(1)
    average = seen[0]
    for t, now in enumerate(seen[1:], start=2):
        average = average + (1 - min(0.5, t / (t + 9))) * (now - average)
    np.testing.assert_allclose(solver.model.flat_params, average, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.4, RISING], ids=["number", "function"])
def test_lookahead_goes_on_in_the_middle_of_k_steps(tmp_path, alpha):
    def both():
        return [cl.Lookahead(5, alpha), cl.EMA(0.9)]

    whole = made(*both(), cl.Checkpoint(unit="steps", folder=tmp_path))
    whole.train()
    for step in (0, 3, 5, 7, 9):
        solver = made(*both(), checkpoint=tmp_path / str(step))
        solver.callbacks.append(cl.LambdaCallback(on_step=lambda s, at=step: s.step == at and s.stop("here")))
        solver.callbacks[-1].on_train_begin = lambda s, at=step: at == 0 and s.stop("here")
        solver.train()
        resumed = runs.resume(
            CASE, tmp_path / str(step), callbacks=[*([] if alpha == 0.4 else both()[:1]), cl.LambdaCallback()]
        )
        assert resumed.step == step
        resumed.train()
        assert runs.digest(resumed) == runs.digest(whole)


def test_a_file_cannot_hold_a_function_alpha(tmp_path):
    made(cl.Lookahead(5, RISING), checkpoint=tmp_path).train(1)
    with pytest.raises(ValueError, match="a file cannot hold Lookahead: hand it over"):
        runs.resume(CASE, tmp_path)


def test_a_function_alpha_in_a_training_that_did_not_count_its_steps(tmp_path):
    solver = small(cl.LambdaCallback(on_step=lambda s: s.stop("here")), checkpoint=tmp_path)
    solver.train()
    callbacks = [cl.LambdaCallback(), cl.Lookahead(1, RISING)]
    resumed = cl.Solver.resume(tmp_path, *runs.sets("iterable"), callbacks=callbacks, progress=False)
    with pytest.raises(ValueError, match="Lookahead: alpha is a function of the number of steps, which this training"):
        resumed.train()
    resumed.train(1)


# Files


def test_checkpoints_every_few_steps_or_epochs(tmp_path):
    made(cl.Checkpoint(5, unit="steps", folder=tmp_path / "a" / "b")).train()
    made(cl.Checkpoint(2), checkpoint=tmp_path / "c").train()
    assert sorted(f.name for f in (tmp_path / "a" / "b").iterdir()) == [
        f"step-{step:08d}.safetensors" for step in (5, 10)
    ]
    names = ["best.safetensors", "last.safetensors", "step-00000008.safetensors"]
    assert sorted(f.name for f in (tmp_path / "c").iterdir()) == names


def test_after_a_resume_the_trail_stays_short(tmp_path):
    made(cl.Checkpoint(keep=2), checkpoint=tmp_path).train(2)
    solver = runs.resume(CASE, tmp_path / "step-00000008.safetensors")
    assert repr(solver.callbacks) == "[Checkpoint(keep=2)]"
    solver.train(1)
    assert [f.name for f in sorted(tmp_path.glob("step*"))] == [f"step-{step:08d}.safetensors" for step in (8, 12)]


def test_csv(tmp_path):
    path = tmp_path / "run.csv"
    solver = made(cl.CSVLogger(path), checkpoint=tmp_path)
    solver.train(2)
    runs.resume(CASE, tmp_path / "last.safetensors").train(1)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [float(row["val_loss"]) for row in rows][:2] == solver.history["val_loss"]


def test_csv_logger_makes_its_folder_as_training_begins(tmp_path):
    path = tmp_path / "logs" / "a" / "run.csv"
    there = []
    look = cl.LambdaCallback(on_step=lambda solver: there.append(path.parent.is_dir()))
    made(cl.CSVLogger(path), look).train(1)
    assert there == [True] * 4
    assert len(cl.History.load(path)) == 1


def test_csv_logger_refuses_what_is_no_file_before_the_first_step(tmp_path):
    (tmp_path / "file").write_text("")
    for path, kind in [(tmp_path, IsADirectoryError), (tmp_path / "file" / "run.csv", OSError)]:
        solver = made(cl.CSVLogger(path))
        with pytest.raises(kind, match=f"CSVLogger: .*{path}"):
            solver.train(1)
        assert solver.step == 0


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    solver = made()
    for write in (solver.history.save, solver.model.save):
        with pytest.raises(FileNotFoundError) as caught:
            write(tmp_path / "gone" / "a.file")
        assert caught.value.filename == str(tmp_path / "gone" / "a.file")


def test_tensorboard(tmp_path, monkeypatch):
    written = []

    class SummaryWriter:
        def __init__(self, folder, purge_step=None):
            written.append(("open", folder, purge_step))

        def add_scalar(self, name, value, step):
            written.append((name, value, step))

        def close(self):
            written.append("close")

    monkeypatch.setitem(sys.modules, "tensorboardX", types.SimpleNamespace(SummaryWriter=SummaryWriter))
    solver = made(cl.TensorBoard(tmp_path))
    history = solver.train(1)
    assert written[0] == ("open", str(tmp_path), None)
    assert written[1:5] == [("step/loss", loss, i + 1) for i, loss in enumerate(history.steps["loss"])]
    assert ("loss/val", history["val_loss"][0], 4) in written
    assert ("lr", 0.01, 4) in written
    assert written[-1] == "close"
    solver.train(1)
    assert ("open", str(tmp_path), 4) in written


def test_tensorboard_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match="TensorBoard needs tensorboardX: pip install tensorboardX"):
        cl.TensorBoard(tmp_path)


def test_the_best_is_on_disk_even_if_a_callback_fails_at_the_end_of_its_epoch(tmp_path):
    def fail(solver):
        raise RuntimeError("mine")

    data = cl.datasets.digits()
    solver = cl.Solver(
        cl.models.linear(rng=0),
        data.train,
        data.val,
        loss=cl.SoftmaxLoss(),
        optimizer=cl.SGD(lr=0.1),
        callbacks=[cl.LambdaCallback(on_epoch_end=fail)],
        checkpoint=tmp_path,
        progress=False,
    )
    with pytest.raises(RuntimeError, match="mine"):
        solver.train()
    assert cl.load(tmp_path / "best.safetensors").built


def test_a_running_statistic_that_overflows_ends_the_training(tmp_path):
    x = np.full((8, 3), 1e30, np.float32) * np.array([[1], [-1]] * 4, np.float32)
    net = cl.Sequential([cl.BatchNorm(), cl.Affine(2)], input_shape=(3,), rng=0)
    solver = cl.Solver(net, (x, [0, 1] * 4), loss=cl.SoftmaxLoss(), optimizer=cl.SGD(lr=0), epochs=1, progress=False)
    with pytest.raises(cl.NonFiniteError, match="step 1"):
        solver.train()
    assert np.isfinite(net.flat_state).all()

"""The Solver: its arguments, what it prints, accumulation and augmentation."""

import inspect
import io
import math
import sys

import numpy as np
import pytest

import cnnlayers as cl
from tests.training.solving import batches, bits, breaking, data, mlp, solver_of

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


class Plain:
    """An optimiser that does not know of schedules."""

    lr = 0.5

    def step(self, net):
        net.flat_params[...] -= self.lr * net.flat_grads


def test_an_optimizer_of_the_users_own_needs_a_factor_for_a_schedule_alone():
    own, ours = solver_of(optimizer=Plain()), solver_of(optimizer=cl.SGD(lr=0.5))
    own.train(2)
    ours.train(2)
    np.testing.assert_allclose(own.model.flat_params, ours.model.flat_params, rtol=1e-5)
    with pytest.raises(TypeError, match=r"Solver: with a schedule, optimizer must have step\(net, factor\); got <"):
        solver_of(optimizer=Plain(), schedule=cl.Cosine())


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

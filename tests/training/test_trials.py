"""Trials on copies: what they find, and that they leave no trace."""

import copy
import sys

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.training import trials
from tests.training import runs

CASE = ("momentum", "cosine", "")
may_find_nothing = pytest.mark.filterwarnings("ignore:Solver.lr_find. no suggestion")


def quadratic(**options):
    """Loss (w - 1)^2 of one weight: the gradient is 2 (w - 1), so lr = 0.5 gives the minimum in one step."""
    net = cl.Sequential([cl.Affine(1, bias=False, init="zeros")], input_shape=(1,))
    one = np.ones((4, 1))
    target = one + options.pop("noise", 0) * np.array([[1], [-1], [2], [-2]])
    options = {"loss": cl.MSELoss(), "optimizer": cl.SGD(lr=0.1), "progress": False} | options
    return cl.Solver(net, (one, target), batch_size=4, **options)


def everything(solver):
    states = {name: np.array(value).tobytes() for name, value in solver.optimizer.state.items()}
    config = (solver.optimizer.config(), solver.loss.config(), [repr(layer) for _, layer in solver.model.walk()])
    return runs.digest(solver), states, copy.deepcopy(config), solver.run.partial, solver.run.call, solver.model.built


@may_find_nothing
@pytest.mark.parametrize("trial", [lambda s: s.lr_find(steps=20), lambda s: s.overfit_batch(steps=20)])
@pytest.mark.parametrize("epochs", [0, 1])
def test_nothing_is_changed(trial, epochs):
    solver, twin = runs.make(CASE), runs.make(CASE)
    for each in (solver, twin):
        each.train(epochs)
    before = everything(solver)
    trial(solver)
    assert everything(solver) == before
    for each in (solver, twin):
        each.train(1)
    assert runs.digest(solver) == runs.digest(twin)


@may_find_nothing
@pytest.mark.parametrize("trial", [lambda s: s.lr_find(steps=5), lambda s: s.overfit_batch(steps=5)])
def test_an_unbuilt_net_stays_unbuilt(trial):
    x, y = runs.data()
    net = cl.Sequential([cl.Flatten(), cl.Affine(2)])
    trial(cl.Solver(net, (x, y), loss=cl.SoftmaxLoss(), optimizer=cl.SGD(lr=0.1)))
    assert not net.built


def test_lr_find_by_hand():
    with pytest.warns(UserWarning, match="no suggestion: over 3 rates from 0.01 to 0.1 the loss does not fall by more"):
        found = quadratic().lr_find(lowest=0.01, highest=0.1, steps=3)
    np.testing.assert_allclose(found.rates, [0.01, 0.1**1.5, 0.1])
    w, losses = 0.0, []
    for rate in found.rates:
        losses.append((w - 1) ** 2)
        w -= rate * 2 * (w - 1)
    np.testing.assert_allclose(found.losses, losses, rtol=1e-6)
    assert found.suggestion is None


NETS = {
    "linear": cl.models.linear,
    "cnn": cl.models.digits_cnn,
    "plain": lambda rng: cl.Sequential(
        [cl.Normalize(8, 8), cl.Conv(8, 3), cl.ReLU(), cl.MaxPool(2), cl.Flatten(), cl.Affine(10)], (8, 8, 1), rng=rng
    ),
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("mixup", [False, True])
@pytest.mark.parametrize("optimizer", [lambda: cl.SGD(lr=0.1, momentum=0.9), cl.Adam], ids=["sgd", "adam"])
@pytest.mark.parametrize("net", NETS)
def test_the_suggestion_is_never_an_end_of_the_sweep(net, optimizer, mixup, seed):
    options = {"augment": cl.augment.Mixup(0.4)} if mixup else {}
    train = cl.datasets.digits().train
    solver = cl.Solver(
        NETS[net](rng=seed), train, loss=cl.SoftmaxLoss(), optimizer=optimizer(), batch_size=64, rng=seed, **options
    )
    found = solver.lr_find(steps=100)
    assert 1e-3 < found.suggestion < 0.5  # the loss falls at about 1e-2 and blows up above 1
    place = int(np.flatnonzero(found.rates == found.suggestion)[0])
    assert found.losses[place + 3 : place + 13].mean() < found.losses[:20].mean()


def test_lr_find_ends_where_the_loss_blows_up():
    found = quadratic(noise=0.1).lr_find(lowest=1e-3, highest=1e6, steps=200)
    assert 1 < found.rates[-1] < 1000  # above lr = 1 the weight runs away
    assert len(found.rates) == len(found.losses) < 200
    assert 0.01 < found.suggestion < 1


@may_find_nothing
def test_lr_find_takes_a_nan_as_the_end():
    def action(scores, target):
        return float("nan") if len(seen) > 5 else seen.append(1) or 1.0

    seen = []
    solver = quadratic()
    solver.loss.forward = action
    solver.loss.backward = lambda: np.ones((4, 1))
    assert len(solver.lr_find(steps=50).rates) == 6
    with pytest.raises(ValueError, match=r"Solver.lr_find: the loss blows up at once; begin below lowest=1e-06"):
        solver.lr_find(steps=50)


@may_find_nothing
def test_lr_find_goes_round_the_data_as_often_as_it_must():
    assert len(runs.make(CASE).lr_find(lowest=1e-6, highest=1e-3, steps=30).rates) == 30  # 4 batches in an epoch


def test_plot_draws_both_curves_and_needs_matplotlib(monkeypatch):
    calls = []

    class Axes:
        def __getattr__(self, name):
            return lambda *args, **options: calls.append((name, args, options))

    found = quadratic(noise=0.1).lr_find(lowest=1e-3, highest=1, steps=50)
    axes = Axes()
    assert found.plot(axes) is axes
    drawn = [name for name, *_ in calls]
    assert (drawn.count("plot"), drawn.count("axvline")) == (2, 1)
    assert next(options for name, _, options in calls if name == "set")["xscale"] == "log"
    calls.clear()
    trials.LearningRates(found.rates, found.losses, None).plot(axes)
    drawn = [name for name, *_ in calls]
    assert (drawn.count("plot"), drawn.count("axvline")) == (2, 0)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"LearningRates.plot needs matplotlib: pip install matplotlib"):
        found.plot()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lowest": 0}, "Solver.lr_find: lowest must be above 0; got 0"),
        ({"lowest": 1, "highest": 1}, "Solver.lr_find: highest must be above 1; got 1"),
        ({"steps": 1}, "Solver.lr_find: steps must be 2 or more; got 1"),
    ],
)
def test_wrong_sweeps(options, message):
    with pytest.raises(ValueError, match=message):
        quadratic().lr_find(**options)


def test_a_net_that_can_learn_overfits_one_batch():
    report = runs.make(("adam", "none", "")).overfit_batch(steps=150, lr=0.03)
    assert report.ok
    assert report.losses[-1] < 0.1 * report.losses[0]
    assert len(report.losses) == 150
    assert str(report).startswith("ok: the loss of one batch went from ")


def test_a_net_that_cannot_learn_does_not():
    x = np.zeros((4, 3))  # all the same: nothing tells the labels apart
    net = cl.Sequential([cl.Affine(2)], input_shape=(3,), rng=0)
    solver = cl.Solver(net, (x, np.array([0, 1, 0, 1])), loss=cl.SoftmaxLoss(), optimizer=cl.SGD(lr=0.1))
    report = solver.overfit_batch()
    assert not report.ok
    assert str(report).startswith("not ok: the loss of one batch went from 0.693")


def test_a_loss_that_blows_up_is_not_ok():
    report = quadratic(optimizer=cl.SGD(lr=1e30)).overfit_batch()
    assert not report.ok
    assert np.isnan(report.losses[-1])

"""Resuming: whatever ends a run, at whatever step, going on from a checkpoint gives the bits of the run never ended."""

import contextlib
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import config
from cnnlayers.data.fingerprint import fingerprint
from cnnlayers.data.loader import ArrayBatches
from cnnlayers.files import checkpoint
from cnnlayers.training import resume
from tests.training import runs

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "CNNLAYERS_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def trails(tmp_path_factory):
    """Train each case once, without a stop, with a checkpoint at every step."""
    done = {}
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(os, "fsync", lambda file: None)  # these files need not outlive a power cut
    for case in runs.CASES:
        folder = tmp_path_factory.mktemp(runs.name_of(case).replace(":", "-"))
        solver = runs.make(case, callbacks=[cl.Checkpoint(unit="steps", folder=folder)])
        solver.train()
        done[case] = sorted(folder.iterdir()), runs.digest(solver)
    monkeypatch.undo()
    return done


@pytest.mark.parametrize("case", runs.CASES, ids=runs.name_of)
def test_resumed_at_any_step_it_ends_with_the_same_bits(case, trails):
    files, digest = trails[case]
    assert len(files) == {"accumulate": 6, "stopping": 12}.get(case[2], 12)
    for i in np.random.default_rng(len(case[0] + case[1])).choice(len(files), size=4, replace=False):
        solver = runs.resume(case, files[i])
        assert solver.step == i + 1
        solver.train()
        assert runs.digest(solver) == digest, f"resumed after step {i + 1}"


def test_resumed_in_a_new_process(trails):
    rng = np.random.default_rng(0)
    chosen = [(case, files[rng.integers(len(files))], digest) for case, (files, digest) in trails.items()]
    arguments = [text for case, file, _ in chosen for text in (runs.name_of(case), str(file))]
    command = [sys.executable, "-m", "tests.training.runs", *arguments]
    out = subprocess.run(command, env=ENVIRONMENT, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert out.split() == [digest for _, _, digest in chosen]


def test_different_runs_have_different_digests(trails):
    assert len({digest for _, digest in trails.values()}) == len(runs.CASES)


# Every way out


CASE = ("adam", "cosine", "")


class StopError(Exception):
    pass


class Raises(cl.Callback):
    """Raise once at a step, or in the hook of the epoch that ends with it."""

    def __init__(self, at, error, hook="on_step"):
        self.at, self.error = at, error
        setattr(self, hook, self.act)

    def act(self, solver):
        if solver.step == self.at:
            self.at = None
            raise self.error


@pytest.fixture
def digest(trails):
    return trails[CASE][1]


@pytest.mark.parametrize("at", [1, 4, 6, 8, 11])
def test_after_ctrl_c_it_goes_on_in_the_same_process_and_from_the_file(at, digest, tmp_path):
    solver = runs.make(CASE, checkpoint=tmp_path, callbacks=[Raises(at, KeyboardInterrupt())])
    history = solver.train()
    assert history.stopped == f"interrupted in epoch {at // 4 + 1 if at != 4 and at != 8 else at // 4}, after step {at}"
    resumed = runs.resume(CASE, tmp_path / "last.safetensors", callbacks=[Raises(0, None)])
    assert (resumed.step, resumed.history.steps) == (at, history.steps)
    assert resumed.history.stopped == history.stopped
    for each in (solver, resumed):
        each.train()
        assert each.history.stopped is None
        assert runs.digest(each) == digest


@pytest.mark.parametrize("at", [3, 7])
def test_after_an_error_of_the_users_own_it_goes_on(at, digest, tmp_path):
    error = StopError("mine")
    solver = runs.make(CASE, checkpoint=tmp_path, callbacks=[Raises(at, error)])
    with pytest.raises(StopError, match="mine") as caught:
        solver.train()
    assert caught.value is error
    assert not hasattr(error, "__notes__")
    kept = solver.run.best_weights
    if kept is not None:
        np.testing.assert_array_equal(solver.model.flat_params, kept[0])
    solver.train()
    assert runs.digest(solver) == digest
    resumed = runs.resume(CASE, tmp_path / "last.safetensors", callbacks=[Raises(0, None)])
    assert resumed.step == 12


def test_an_error_in_a_step_undoes_the_step(digest, tmp_path):
    solver = runs.make(CASE, checkpoint=tmp_path)
    forward, calls = solver.loss.forward, []

    def fails(scores, target):
        calls.append(1)
        if len(calls) == 9:  # 4 steps and a validation in each epoch: a step in the second
            raise StopError
        return forward(scores, target)

    solver.loss.forward = fails
    with pytest.raises(StopError):
        solver.train()
    resumed = runs.resume(CASE, tmp_path / "last.safetensors")
    assert resumed.step == solver.step > 4
    for each in (solver, resumed):
        each.train()
        assert runs.digest(each) == digest


def test_last_and_best_are_nets_too(tmp_path):
    solver = runs.make(CASE, checkpoint=tmp_path)
    best = []
    watch = cl.LambdaCallback(on_epoch_end=lambda s: best.append((s.run.best, s.model.flat_params.copy())))
    solver.callbacks.append(watch)
    solver.train()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["best.safetensors", "last.safetensors"]
    np.testing.assert_array_equal(cl.load(tmp_path / "last.safetensors").flat_params, best[-1][1])
    np.testing.assert_array_equal(cl.load(tmp_path / "best.safetensors").flat_params, solver.model.flat_params)


def test_from_the_best_it_goes_on_too(digest, tmp_path):
    solver = runs.make(CASE, checkpoint=tmp_path)
    solver.train()
    resumed = runs.resume(CASE, tmp_path / "best.safetensors")
    assert resumed.run.best == solver.run.best
    np.testing.assert_array_equal(resumed.run.best_weights[0], solver.run.best_weights[0])
    resumed.train()
    assert runs.digest(resumed) == digest


def test_a_finished_run_has_nothing_left(digest, tmp_path):
    solver = runs.make(CASE, checkpoint=tmp_path)
    solver.train()
    resumed = runs.resume(CASE, tmp_path / "last.safetensors")
    assert len(resumed.train()) == 3
    assert runs.digest(resumed) == digest
    solver.save(tmp_path / "mine.safetensors")
    again = runs.resume(CASE, tmp_path / "mine.safetensors")
    assert len(again.train()) == 3
    assert runs.digest(again) == digest
    for each in (solver, resumed, again):
        each.train(1)
    assert runs.digest(solver) == runs.digest(resumed) == runs.digest(again) != digest


def test_a_run_saved_before_its_first_step(digest, tmp_path):
    runs.make(CASE).save(tmp_path / "first.safetensors")
    resumed = runs.resume(CASE, tmp_path / "first.safetensors")
    resumed.train()
    assert runs.digest(resumed) == digest


def test_after_early_stopping_nothing_is_left(tmp_path):
    solver = runs.make(CASE, checkpoint=tmp_path, callbacks=[cl.EarlyStopping(patience=1, min_delta=9)])
    history = solver.train()
    assert history.stopped == "val_loss has not improved for 1 epochs, at epoch 2"
    resumed = runs.resume(CASE, tmp_path / "last.safetensors")
    assert repr(resumed.callbacks) == "[EarlyStopping(patience=1, min_delta=9.0)]"
    resumed.train()
    assert len(resumed.history) == 2
    assert runs.digest(resumed).__len__() == 64
    resumed.train(1)
    assert len(resumed.history) == 3


@pytest.mark.parametrize("ended", ["by itself", "by early stopping"])
def test_a_run_that_is_over_says_so(ended, tmp_path, capsys):
    callbacks = [cl.EarlyStopping(patience=1, min_delta=9)] if ended == "by early stopping" else []
    runs.make(CASE, checkpoint=tmp_path, callbacks=callbacks).train()
    train, val = runs.sets("")
    resumed = cl.Solver.resume(tmp_path, train, val, **runs.outside(""))
    capsys.readouterr()
    resumed.train()
    (line,) = capsys.readouterr().out.splitlines()
    epoch, why = (2, " (val_loss has not improved for 1 epochs, at epoch 2)") if callbacks else (3, "")
    assert line == f"nothing is left of this run, which ended at epoch {epoch}{why}: train(epochs=N) trains more"
    resumed.train(1)
    assert len(capsys.readouterr().out.splitlines()) == 1  # that of the epoch


class Stops(Raises):
    """Call `stop` once at a step, or in the hook of the epoch that ends with it."""

    def act(self, solver):
        if solver.step == self.at:
            self.at = None
            solver.stop("enough for today")


@pytest.mark.parametrize(("at", "hook"), [(1, "on_step"), (4, "on_step"), (6, "on_step"), (4, "on_epoch_end")])
def test_what_a_callback_stopped_goes_on_to_the_same_bits(at, hook, digest, tmp_path):
    solver = runs.make(CASE, checkpoint=tmp_path, callbacks=[Stops(at, None, hook)])
    history = solver.train()
    assert (solver.step, history.stopped, history.interrupted) == (at, "enough for today", False)
    resumed = runs.resume(CASE, tmp_path / "last.safetensors", callbacks=[Stops(0, None)])
    assert resumed.history.stopped == "enough for today"
    for each in (solver, resumed):
        each.train()
        assert each.history.stopped is None
        assert (each.epoch, runs.digest(each)) == (3, digest)


def test_a_final_stop_leaves_nothing(tmp_path):
    class Over(cl.Callback):
        def on_epoch_end(self, solver):
            solver.stop("good enough", final=True)

    solver = runs.make(CASE, checkpoint=tmp_path, callbacks=[Over()])
    solver.train()
    resumed = runs.resume(CASE, tmp_path, callbacks=[Over()])
    assert len(resumed.train()) == 1
    assert resumed.history.stopped == "good enough"
    assert len(solver.train()) == 2  # in the process that it was stopped in, a new call begins


class PressesInValidation(cl.Layer):
    """The identity, which presses Ctrl-C in its n-th prediction, which validation alone asks for."""

    def __init__(self, n=0):
        self.n, self.calls = n, 0

    def forward(self, x, train=True):
        return x.copy()

    def predict(self, x):
        self.calls += 1
        if self.calls == self.n:
            os.kill(os.getpid(), signal.SIGINT)
        return np.asarray(x)

    def backward(self, dy, input_grad=True):
        return dy


@pytest.mark.parametrize("n", [1, 2, 3])
def test_ctrl_c_in_a_validation_does_not_wait_for_its_end(n, tmp_path):
    x, y = runs.data()

    def solver(n):
        layers = [cl.Flatten(), cl.Affine(2), PressesInValidation(n)]
        net = cl.Sequential(layers, (4, 4, 1), rng=0)
        options = {"optimizer": cl.SGD(lr=0.1), "loss": cl.SoftmaxLoss(), "batch_size": 4, "epochs": 2, "rng": 1}
        return cl.Solver(net, (x, y), (x, y), progress=False, checkpoint=tmp_path / str(n), **options)

    whole, cut = solver(0), solver(n)
    whole.train()
    assert cut.train().stopped == "interrupted in epoch 1, after step 6"
    assert cut.model[2].calls == n
    assert len(cut.history) == 0
    resumed = cl.Solver.resume(tmp_path / str(n), (x, y), (x, y), custom=[PressesInValidation], progress=False)
    resumed.model[2].n = 0
    for each in (cut, resumed):
        each.train()
        np.testing.assert_array_equal(each.model.flat_params, whole.model.flat_params)
        for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy"):
            assert each.history[name] == whole.history[name]


def test_nothing_more_than_the_net_is_written_without_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs.make(CASE).train(1)
    assert list(tmp_path.iterdir()) == []


# What a file cannot hold


def own_schedule(step, total_steps):
    return 1.0


class OwnLoss(cl.MSELoss):
    pass


class OwnOptimizer(cl.SGD):
    pass


class OwnCallback(cl.Callback):
    seen = 0

    def on_step(self, solver):
        self.seen += 1

    def state_dict(self):
        return {"seen": self.seen, "array": np.arange(3)}

    def load_state_dict(self, state):
        self.seen = state["seen"]
        np.testing.assert_array_equal(state["array"], np.arange(3))


def own_metric(scores, target):
    return 1.0


OWN = {
    "loss": OwnLoss,
    "optimizer": lambda: OwnOptimizer(lr=0.1),
    "schedule": lambda: own_schedule,
    "augment": lambda: runs.noise,
    "callbacks": lambda: [OwnCallback()],
    "metrics": lambda: {"own": own_metric},
}
NAMES = {
    "loss": r"cannot hold OwnLoss: hand it over, resume\(path, train, loss=\.\.\.\)",
    "optimizer": "cannot hold OwnOptimizer",
    "schedule": "cannot hold own_schedule",
    "augment": "cannot hold noise",
    "callbacks": r"cannot hold OwnCallback: hand it over, resume\(path, train, callbacks=",
    "metrics": "the run had the metrics own; hand them over",
}


def plain(**options):
    net = cl.Sequential([cl.Affine(2)], input_shape=(3,), rng=0)
    x = np.random.default_rng(0).normal(size=(8, 3))
    options = {"loss": cl.MSELoss(), "optimizer": cl.SGD(lr=0.1), "progress": False, "epochs": 2} | options
    return cl.Solver(net, (x, x[:, :2]), batch_size=4, **options), (x, x[:, :2])


@pytest.mark.parametrize("name", OWN)
def test_ones_own_is_handed_over_and_asked_for_by_name(name, tmp_path):
    solver, train = plain(**{name: OWN[name]()}, checkpoint=tmp_path)
    solver.train()
    path = tmp_path / "last.safetensors"
    with pytest.raises(ValueError, match=NAMES[name]):
        cl.Solver.resume(path, train)
    given = OWN[name]()
    resumed = cl.Solver.resume(path, train, progress=False, **{name: given})
    assert resumed.step == 4
    if name == "callbacks":
        assert given[0].seen == 4
    solver.train(1)
    resumed.train(1)
    assert runs.digest(resumed) == runs.digest(solver)


def a_run_of(folder, **options):
    """Two steps of a small regression, saved."""
    x = np.ones((4, 3))
    net = cl.Sequential([cl.Affine(1)], (3,), rng=0)
    solver = cl.Solver(net, (x, x[:, :1]), loss=cl.MSELoss(), batch_size=2, progress=False, **options)
    solver.train(1)
    solver.save(folder / "a.safetensors")
    return lambda **given: cl.Solver.resume(folder / "a.safetensors", (x, x[:, :1]), **given)


class _Stateless:
    lr = 0.1

    def step(self, net, factor=1.0):
        pass


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (cl.Adam(lr=0.1), cl.SGD(lr=0.1, momentum=0.9), r"SGD\(.*\) cannot go on from the state of the run's Adam "),
        (cl.SGD(lr=0.1, momentum=0.9), cl.Adam(lr=0.1), r"Adam\(.*\) cannot go on from the state of the run's SGD "),
        (cl.SGD(lr=0.1, momentum=0.9), cl.SGD(lr=0.1), r"SGD\(.*\) cannot go on from the state of the run's SGD "),
        (cl.Adam(lr=0.1), _Stateless(), r"_Stateless .* cannot go on from the state of the run's Adam "),
    ],
)
def test_an_optimizer_that_does_not_fit_is_to_blame_not_the_file(old, new, message, tmp_path):
    resume_with = a_run_of(tmp_path, optimizer=old)
    with pytest.raises(ValueError, match="^Solver.resume: optimizer: .*" + message) as raised:
        resume_with(optimizer=new)
    assert not isinstance(raised.value, cl.CheckpointError)
    assert "Solver(cl.load(path), ...)" in str(raised.value)


def test_an_optimizer_of_the_same_kind_goes_on_with_its_own_rate(tmp_path):
    resume_with = a_run_of(tmp_path, optimizer=cl.SGD(lr=0.1, momentum=0.9))
    solver = resume_with(optimizer=cl.SGD(lr=0.01, momentum=0.9))
    assert solver.optimizer.lr == 0.01
    assert solver.optimizer.state["velocity"].any()


def test_what_a_later_version_trains_with_is_said_to_be_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "__version__", "99.0")
    resume_with = a_run_of(tmp_path, optimizer=cl.Adam(lr=0.1))
    monkeypatch.undo()
    monkeypatch.delitem(config.REGISTRY, "Adam")  # as before it was there
    with pytest.raises(cl.CheckpointError, match=r"unknown class 'Adam'; the file is of cnnlayers 99\.0, and this is"):
        resume_with()


def test_a_schedule_of_another_kind_begins_without_a_memory(tmp_path):
    resume_with = a_run_of(tmp_path, optimizer=cl.SGD(lr=0.1), schedule=cl.Cosine(), monitor="train_loss")
    fresh = cl.ReduceOnPlateau(monitor="train_loss")
    solver = resume_with(schedule=fresh)
    assert solver.schedule is fresh
    assert "lr" in solver.train(1).epochs


def test_a_layer_of_ones_own_is_handed_over(tmp_path):
    class Own(cl.Affine):
        pass

    x = np.zeros((4, 3))
    solver = cl.Solver(
        cl.Sequential([Own(1)], (3,)), (x, x[:, :1]), loss=cl.MSELoss(), optimizer=cl.SGD(lr=0), progress=False
    )
    solver.save(tmp_path / "a.safetensors")
    with pytest.raises(cl.CheckpointError, match=r"unknown layer 'Own'"):
        cl.Solver.resume(tmp_path / "a.safetensors", (x, x[:, :1]))
    assert cl.Solver.resume(tmp_path / "a.safetensors", (x, x[:, :1]), custom=(Own,)).epochs == 20


def test_an_optimizer_without_a_state_to_save(tmp_path):
    class Bare:
        lr = 0.1

        def step(self, net, factor=1.0):
            pass

    solver, _ = plain(optimizer=Bare(), checkpoint=tmp_path)
    with pytest.raises(TypeError, match=r"a checkpoint needs an optimizer with state and load_state\(net, state\)"):
        solver.train()
    assert solver.step == 0


def test_a_net_that_a_file_cannot_hold(tmp_path):
    class Odd(cl.ReLU):
        def config(self):
            return {"function": max}

    x = np.ones((4, 3))
    options = {"loss": cl.MSELoss(), "optimizer": cl.SGD(lr=0.1), "progress": False, "checkpoint": tmp_path}
    solver = cl.Solver(cl.Sequential([cl.Affine(2), Odd()]), (x, x[:, :2]), **options)
    with pytest.raises(TypeError, match="a file cannot hold <built-in function max>, which a layer's config gives"):
        solver.train()
    assert solver.step == 0


def test_a_state_that_a_file_cannot_hold(tmp_path):
    class Odd(cl.Callback):
        def state_dict(self):
            return {"what": {1, 2}}

    solver, _ = plain(callbacks=[Odd()], checkpoint=tmp_path)
    with pytest.raises(TypeError, match=r"a checkpoint cannot hold \{1, 2\}: a state is made of numbers, text, lists"):
        solver.train()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bits", [np.random.MT19937, np.random.Philox, np.random.SFC64, np.random.PCG64DXSM])
def test_other_random_generators(bits, tmp_path):
    solver, train = plain(rng=np.random.Generator(bits(3)), callbacks=[cl.Checkpoint(unit="steps", folder=tmp_path)])
    solver.train()
    resumed = cl.Solver.resume(tmp_path / "step-00000001.safetensors", train, progress=False)
    resumed.train()
    assert runs.digest(resumed) == runs.digest(solver)


# Files that do not fit


def test_other_data_is_refused(tmp_path):
    runs.make(CASE, checkpoint=tmp_path).train(1)
    path = tmp_path / "last.safetensors"
    (x, y), val = runs.sets("")
    given = runs.outside("")
    with pytest.raises(ValueError, match=r"the run had train data of shape \[14, 4, 4, 1\]; got \[13, 4, 4, 1\]"):
        cl.Solver.resume(path, (x[1:], y[1:]), val, **given)
    with pytest.raises(ValueError, match=r"the run had train data of shape \[14, 4, 4, 1\]; got batches"):
        cl.Solver.resume(path, [(x, y)], val, **given)
    with pytest.raises(ValueError, match=r"Solver.resume: the run had val data; got None"):
        cl.Solver.resume(path, (x, y), **given)
    solver, train = plain(checkpoint=tmp_path)
    solver.train(1)
    with pytest.raises(ValueError, match=r"Solver.resume: the run had no val data; got"):
        cl.Solver.resume(path, train, train)


@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize("which", [0, 1])
def test_other_data_of_the_same_shape_are_refused(part, which, tmp_path):
    runs.make(CASE, checkpoint=tmp_path).train(1)
    data = [list(pair) for pair in runs.sets("")]
    changed = data[which][part].copy()
    changed[-1] = changed[-1] + 1  # the last sample is always looked at
    data[which][part] = changed
    name = ("train", "val")[which], ("samples", "targets")[part]
    with pytest.raises(
        ValueError, match=rf"the run had other {name[0]} data of this shape: the {name[1]} differ.*cl.load"
    ):
        cl.Solver.resume(tmp_path / "last.safetensors", *map(tuple, data), **runs.outside(""))


def test_other_dtypes_orders_and_small_changes_are_other_data(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 200, (1000, 3)), rng.integers(0, 2, 1000)
    net = cl.Sequential([cl.Affine(2)], input_shape=(3,), rng=0)
    cl.Solver(net, (x, y), loss=cl.SoftmaxLoss(), optimizer=cl.SGD(lr=0.1)).save(tmp_path / "a.safetensors")
    order = rng.permutation(1000)
    labels = y.copy()
    labels[517] = 1 - labels[517]
    for other in [(x.astype(np.int32), y), (x[order], y[order]), (x, labels), (x, y.astype(np.uint8)), (x + 1, y)]:
        with pytest.raises(ValueError, match="the run had other train data of this shape"):
            cl.Solver.resume(tmp_path / "a.safetensors", other)
    twin = np.asfortranarray(x), y.tolist()
    assert cl.Solver.resume(tmp_path / "a.safetensors", twin).step == 0


def test_a_memory_map_is_the_data_it_maps(tmp_path):
    runs.make(CASE, checkpoint=tmp_path).train(1)
    (x, y), val = runs.sets("")
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert cl.Solver.resume(tmp_path / "last.safetensors", (mapped, y), val, **runs.outside("")).step == 4


def test_targets_that_have_no_bytes_of_their_own_are_not_compared():
    assert fingerprint(ArrayBatches(np.zeros((2, 1)), np.array([None, "a"]), 1, "train")) is None
    assert fingerprint(None) is None


def test_a_checkpoint_without_a_digest_of_its_data_loads(tmp_path, digest, monkeypatch):
    """As those of before had none."""
    description = resume._description
    monkeypatch.setattr(resume, "_description", lambda *a: {k: v for k, v in description(*a).items() if k != "samples"})
    runs.make(CASE, checkpoint=tmp_path).train(1)
    monkeypatch.undo()
    resumed = runs.resume(CASE, tmp_path / "last.safetensors")
    assert resumed.step == 4


def test_a_file_of_the_first_format_goes_on(tmp_path):
    """Written out here entry by entry, as versions before wrote it: a run stopped in its second epoch."""
    solver, train = plain(optimizer=cl.SGD(lr=0.1, momentum=0.9), rng=5, callbacks=[Raises(3, KeyboardInterrupt())])
    solver.train()
    rng, states = np.random.default_rng(5), []
    for _ in range(2):  # each epoch draws an order of the eight samples
        rng.permutation(8)
        states.append(rng.bit_generator.state)
    losses = solver.history.steps["loss"]
    about = {
        "loss": {"class": "MSELoss", "config": {}},
        "optimizer": {"class": "SGD", "config": {"lr": 0.1, "momentum": 0.9}},
        "schedule": None,
        "augment": None,
        "augment_seed": None,
        "callbacks": [],
        "metrics": None,
        "options": {"batch_size": 4, "epochs": 2, "clip_norm": None, "accumulate": 1, "keep": "best"}
        | {"monitor": "val_loss"},
        "data": [[8, 3], None],
        "samples": [None, None],
        "checkpoint": False,
        "epoch": 1,
        "step": 3,
        "best": None,
        "call": {"first": 0, "steps": 0, "last": 2},
        "partial": {
            "order": states[0],
            "batch": 1,
            "sums": {"loss": losses[2] * 8, "loss weight": 8},
            "lr": 0.1,
            "seconds": 0.5,
        },
        "rng": states[1],
        "history": ["train_loss", "lr", "seconds"],
        "stopped": "interrupted in epoch 2, after step 3",
        "states": {"optimizer": {}, "schedule": {}},
        "best_is_the_net": False,
    }
    arrays = {f"history.{name}": np.array(values) for name, values in solver.history.epochs.items()}
    arrays |= {"steps.loss": np.array(losses), "optimizer.velocity": solver.optimizer.state["velocity"]}
    checkpoint.save(solver.model, tmp_path / "a.safetensors", about, arrays)
    resumed = cl.Solver.resume(tmp_path / "a.safetensors", train, progress=False)
    assert resumed.history.stopped == solver.history.stopped
    for each in (solver, resumed):
        each.train()
        assert (each.epoch, each.step) == (2, 4)
    assert runs.digest(resumed) == runs.digest(solver)


def test_the_folder_of_a_run_stands_for_its_last_checkpoint(tmp_path, digest):
    runs.make(CASE, checkpoint=tmp_path / "a", callbacks=[Raises(6, KeyboardInterrupt())]).train()
    resumed = runs.resume(CASE, tmp_path / "a", callbacks=[Raises(0, None)])
    assert (resumed.step, resumed.checkpoint) == (6, tmp_path / "a")
    resumed.train()
    assert runs.digest(resumed) == digest
    with pytest.raises(FileNotFoundError, match=r"Solver.resume: the folder .* has no last.safetensors"):
        runs.resume(CASE, tmp_path)


def test_a_net_alone_is_no_run(tmp_path):
    solver, train = plain()
    solver.model.save(tmp_path / "net.safetensors")
    with pytest.raises(cl.CheckpointError, match="a net saved by itself, which has no training run to resume"):
        cl.Solver.resume(tmp_path / "net.safetensors", train)
    with pytest.raises(FileNotFoundError):
        cl.Solver.resume(tmp_path / "none.safetensors", train)


def test_a_flipped_bit_is_an_error(tmp_path):
    runs.make(CASE).save(tmp_path / "a.safetensors")
    digest = runs.digest(runs.resume(CASE, tmp_path / "a.safetensors"))
    whole = (tmp_path / "a.safetensors").read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for at in rng.integers(0, 8 * len(whole), 60):
        changed = bytearray(whole)
        changed[at // 8] ^= 1 << (at % 8)
        (tmp_path / "a.safetensors").write_bytes(changed)
        try:
            solver = runs.resume(CASE, tmp_path / "a.safetensors")
        except cl.CheckpointError:
            refused += 1
        else:
            assert runs.digest(solver) == digest
    assert refused > 50


def test_a_flipped_bit_of_any_array_is_an_error_that_names_it(tmp_path):
    solver, path = runs.make(CASE), tmp_path / "a.safetensors"
    solver.train(epochs=1)
    solver.save(path)
    whole = path.read_bytes()
    (head,) = struct.unpack("<Q", whole[:8])
    header = json.loads(whole[8 : 8 + head])
    ends = {name: about["data_offsets"] for name, about in header.items() if name != "__metadata__"}
    arrays = {name: (start, stop) for name, (start, stop) in ends.items() if start < stop}
    assert any(name.startswith("training/") for name in arrays)
    for name, (start, stop) in arrays.items():
        changed = bytearray(whole)
        changed[8 + head + (start + stop) // 2] ^= 1
        path.write_bytes(changed)
        with pytest.raises(cl.CheckpointError, match=re.escape(f"{name!r} is damaged")):
            runs.resume(CASE, path)


# Saves that fail


class Failing:
    """Fail the n-th file operation of a save."""

    def __init__(self, monkeypatch, n):
        self.n, self.count, self.met = n, 0, []
        self.patch(monkeypatch)

    def meets(self, name):
        self.count += 1
        self.met.append(name)
        if self.count == self.n:
            raise OSError(28, f"No space left on device: {name}")

    def wrap(self, name, real):
        def operation(*args, **kwargs):
            self.meets(name)
            return real(*args, **kwargs)

        return operation

    def patch(self, monkeypatch):
        real_open = open

        def opened(path, mode="r", *args, **kwargs):
            if "x" not in mode:  # reading
                return real_open(path, mode, *args, **kwargs)
            self.meets("open")
            return Writing(real_open(path, mode, *args, **kwargs), self)

        monkeypatch.setattr("builtins.open", opened)
        for name in ("fsync", "replace", "open", "close", "unlink"):
            monkeypatch.setattr(os, name, self.wrap(f"os.{name}", getattr(os, name)))


class Writing:
    """A file that reports what is done with it."""

    def __init__(self, file, failing):
        self.file, self.failing = file, failing

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, data):
        self.file.write(data[: len(data) // 2])
        self.failing.meets("write")
        return self.file.write(data[len(data) // 2 :])

    def flush(self):
        self.failing.meets("flush")
        self.file.flush()

    def fileno(self):
        return self.file.fileno()


def test_whatever_file_operation_fails_the_old_checkpoint_loads(tmp_path):
    solver = runs.make(CASE, checkpoint=tmp_path)
    solver.train(1)
    path = tmp_path / "last.safetensors"
    files = sorted(os.listdir(tmp_path))
    for n in range(1, 100):
        before = path.read_bytes()
        solver.model.flat_params[...] += 1
        with pytest.MonkeyPatch.context() as monkeypatch:
            failing = Failing(monkeypatch, n)
            saved = False
            with contextlib.suppress(OSError):
                solver.save(path)
                saved = True
        assert sorted(os.listdir(tmp_path)) == files, failing.met
        resumed = runs.resume(CASE, path)
        assert resumed.step == 4
        if "os.open" not in failing.met:  # it failed before the rename was done
            assert path.read_bytes() == before
        if saved:
            break
    assert failing.met == ["open", "write", "flush", "os.fsync", "os.replace", "os.open", "os.fsync", "os.close"]
    assert n == len(failing.met) + 1
    np.testing.assert_array_equal(resumed.model.flat_params, solver.model.flat_params)


TRIED = 4  # what `train` does to find out whether its two files can be written: each is opened and removed


def test_a_checkpoint_that_cannot_be_written_is_found_before_the_first_step(tmp_path):
    for name in ("last.safetensors", "best.safetensors"):
        (tmp_path / name).mkdir()
        solver = runs.make(CASE, checkpoint=tmp_path)
        before = solver.model.flat_params.copy()
        with pytest.raises(IsADirectoryError) as raised:
            solver.train(1)
        assert raised.value.filename == str(tmp_path / name)
        assert solver.step == 0
        np.testing.assert_array_equal(solver.model.flat_params, before)
        (tmp_path / name).rmdir()
    (tmp_path / "file").touch()
    for folder, error in (("file", FileExistsError), ("file/run", NotADirectoryError)):
        solver = runs.make(CASE, checkpoint=tmp_path / folder)
        with pytest.raises(error):
            solver.train(1)
        assert solver.step == 0
    with pytest.MonkeyPatch.context() as monkeypatch:
        failing = Failing(monkeypatch, 1)
        solver = runs.make(CASE, checkpoint=tmp_path / "new" / "run")
        with pytest.raises(OSError, match="No space left"):
            solver.train(1)
    assert (solver.step, failing.met) == (0, ["open"])


@pytest.mark.parametrize("n", [1, 2, 4, 5, 6, 7])
def test_a_save_that_fails_in_training_is_raised_and_the_net_is_whole(n, tmp_path, digest):
    solver = runs.make(CASE, checkpoint=tmp_path)
    solver.train(1)
    files = sorted(os.listdir(tmp_path))
    with pytest.MonkeyPatch.context() as monkeypatch:
        Failing(monkeypatch, TRIED + n)
        with pytest.raises(OSError, match="No space left"):
            solver.train(1)
    assert sorted(os.listdir(tmp_path)) == files
    np.testing.assert_array_equal(solver.model.flat_params, solver.run.best_weights[0])
    for name in files:
        assert runs.resume(CASE, tmp_path / name).epoch in (1, 2)


def test_an_old_file_of_the_trail_goes_after_the_new_one_is_there(tmp_path):
    solver = runs.make(CASE, callbacks=[cl.Checkpoint(folder=tmp_path, keep=2)])
    for epoch in range(5):
        solver.train(1)
        steps = [4 * e for e in (epoch, epoch + 1) if e > 0]
        assert sorted(os.listdir(tmp_path)) == [f"step-{step:08d}.safetensors" for step in steps]
    with pytest.MonkeyPatch.context() as monkeypatch:
        Failing(monkeypatch, TRIED // 2 + 5)
        with pytest.raises(OSError, match="No space left"):
            solver.train(1)
    assert sorted(os.listdir(tmp_path)) == ["step-00000016.safetensors", "step-00000020.safetensors"]


TRAINS_FOR_EVER = """\
import sys
import cnnlayers as cl
from tests.training import runs
solver = runs.make(("adam", "cosine", ""), checkpoint=sys.argv[1])
solver._report = lambda last: solver.epoch == 2 and print("ready", flush=True)
solver.train(10**6)
"""


def killed_while_saving(folder, after):
    """Train in a process until it is killed; give the Solvers that its two files make."""
    process = subprocess.Popen(
        [sys.executable, "-c", TRAINS_FOR_EVER, str(folder)], stdout=subprocess.PIPE, env=ENVIRONMENT, cwd=ROOT
    )
    assert process.stdout.readline() == b"ready\n"
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    return [runs.resume(CASE, folder / f"{name}.safetensors") for name in ("last", "best")]


def test_killed_at_any_moment_of_a_save(tmp_path):
    for after in np.random.default_rng(0).uniform(0, 0.1, 4):
        last, best = killed_while_saving(tmp_path, after)
        assert 1 <= best.epoch <= last.epoch + 1  # the best is written first
        assert best.run.best <= last.run.best
        assert last.run.partial is None
    runs.make(CASE, checkpoint=tmp_path).train(1)
    assert sorted(os.listdir(tmp_path)) == ["best.safetensors", "last.safetensors"]  # what the kills left is gone

"""The Solver where a run does not go as planned: clipped gradients, Ctrl-C, errors, NaN."""

import contextlib
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cnnlayers as cl
from tests.training.solving import PID, Batches, batches, bits, breaking, data, mlp, raises, solver_of

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
    """And a second one gets out, when all is as after the first."""
    net = cl.Sequential([cl.Affine(6), Signals(times), cl.Affine(2)], input_shape=(3,), rng=0)
    twin = net.copy()
    solver = solver_of(net, batches())
    with pytest.raises(KeyboardInterrupt) if times > 1 else contextlib.nullcontext():
        solver.train()
    history = solver.history
    assert history.stopped == "interrupted in epoch 1, after step 1"
    twin[1].times = 0
    other = solver_of(twin, batches()[:1])
    other.train(1)
    assert bits(solver) == bits(other)


PROGRAM = """
import os, signal, sys
import numpy as np, cnnlayers as cl

signal.signal(signal.SIGINT, signal.default_int_handler)  # as in the foreground
SENT = [getattr(signal, name) for name in sys.argv[2].split(",")]

class Sends(cl.Callback):
    def act(self, solver):
        if solver.epoch == (0 if sys.argv[3] == "on_step" else 1):
            for number in SENT:
                os.kill(os.getpid(), number)
    on_step = on_epoch_end = on_train_end = lambda self, solver: None

setattr(Sends, sys.argv[3], Sends.act)
x, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
net = cl.Sequential([cl.Affine(2)], (3,), rng=0)
solver = cl.Solver(net, (x, y), loss=cl.SoftmaxLoss(), optimizer=cl.SGD(lr=0.1), batch_size=4, epochs=1000000,
                   callbacks=[Sends()], checkpoint=sys.argv[1], progress=False)
try:
    history = solver.train(1 if sys.argv[3] == "on_train_end" else None, stop_on_sigterm=True)
    print("returned", history.stopped, sep="|")
except KeyboardInterrupt:
    print("raised", solver.history.stopped, sep="|")
"""


@pytest.mark.parametrize("hook", ["on_step", "on_epoch_end", "on_train_end"])
@pytest.mark.parametrize(
    ("sent", "way", "what"),
    [
        ("SIGINT", "returned", "interrupted"),
        ("SIGTERM", "returned", "terminated by SIGTERM"),
        ("SIGINT,SIGINT", "raised", "interrupted"),
        ("SIGINT,SIGTERM", "returned", "terminated by SIGTERM"),
    ],
)
def test_a_signal_ends_the_training_and_a_second_ctrl_c_the_program(hook, sent, way, what, tmp_path):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), sent, hook]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    place = {"on_step": "epoch 1, after step 1", "on_epoch_end": "epoch 2, after step 5"}
    assert done.stdout == f"{way}|{what} in {place.get(hook, 'epoch 1, after step 5')}\n"
    assert cl.load(tmp_path / "last.safetensors").flat_params.any()


def test_sigterm_ends_the_process_where_it_is_not_asked_for(tmp_path):
    program = PROGRAM.replace(", stop_on_sigterm=True", "")
    command = [sys.executable, "-c", program, str(tmp_path), "SIGTERM", "on_step"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    assert subprocess.run(command, env=environment, timeout=60, check=False).returncode == -signal.SIGTERM


@pytest.mark.parametrize("where", ["data", "metric", "validation"])
def test_an_error_of_the_users_own_propagates_and_the_best_weights_stay(where):
    class MineError(Exception):
        pass

    def metric(scores, target):
        calls.append(len(target))
        if where == "metric" and len(calls) == 3:  # of the second epoch's training
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

"""Where a run is: its epochs, its calls, and the weights that it goes on from."""

import json

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.training.epoch import Epoch
from cnnlayers.training.run import Call, Run
from cnnlayers.training.weights import set_weights, weights_in, weights_of


def net():
    return cl.Sequential([cl.Affine(2), cl.BatchNorm()], input_shape=(3,), rng=0)


def run(seed=0, **fields):
    return Run(np.random.default_rng(seed), **fields)


def test_an_epoch_that_was_left_has_the_same_order():
    one = run()
    epoch, rng = one.enter_epoch()
    assert rng is one.rng
    order = rng.permutation(9)
    after = one.rng.bit_generator.state
    epoch.batch = 1
    again, rng = one.enter_epoch()
    assert again is epoch
    np.testing.assert_array_equal(rng.permutation(9), order)
    assert one.rng.bit_generator.state == after


def test_an_epoch_without_a_batch_is_drawn_again():
    one = run()
    before = one.rng.bit_generator.state
    epoch, rng = one.enter_epoch()
    rng.permutation(9)
    one.forget_untouched_epoch()
    assert (one.partial, one.rng.bit_generator.state) == (None, before)
    epoch, rng = one.enter_epoch()
    epoch.batch = 1
    one.forget_untouched_epoch()
    assert one.partial is epoch


def test_a_call_counts_the_steps_that_are_left():
    one = run(step=7, epoch=2, partial=Epoch({}, batch=3))
    one.begin_call(epochs=2, steps_per_epoch=5, accumulate=2)
    assert one.call == Call(first=7, steps=8, last=4)


def test_a_schedule_begins_anew_with_each_call_but_without_its_warm_up():
    schedule = cl.Constant(warmup=1)
    schedule.prepare(4)
    assert [Call(0, 8, 2).factor(schedule, step) for step in (0, 3, 4)] == [0.25, 1.0, 1.0]
    assert Call(8, 8, 4).factor(schedule, 8) == 1.0
    assert Call(8, 8, 4).factor(lambda step, total: step / total, 10) == 0.25
    assert Call(8, 0, 4).factor(None, 8) == 1.0


@pytest.mark.parametrize(("keep", "kept"), [("best", True), ("last", False)])
def test_the_best_weights_are_put_aside(keep, kept):
    one, model = run(), net()
    assert one.best_so_far(model, "val_loss", {"val_loss": 2.0}, keep) is not None
    assert one.best_so_far(model, "val_loss", {"val_loss": 3.0}, keep) is None
    assert one.best_so_far(model, "val_loss", {"val_loss": float("nan")}, keep) is None
    assert (one.best, one.best_weights is not None) == (2.0, kept)


def test_training_goes_on_from_its_own_weights_unless_the_net_has_been_changed():
    one, model = run(), net()
    ended = weights_of(model)
    one.give_back(model, (ended[0] + 1, ended[1] + 2))
    np.testing.assert_array_equal(model.flat_params, ended[0] + 1)
    np.testing.assert_array_equal(one.training_weights(model)[1], ended[1])
    one.take_up(model)
    np.testing.assert_array_equal(model.flat_params, ended[0])
    one.give_back(model, (ended[0] + 1, ended[1] + 2))
    model.flat_params[...] = 9
    one.take_up(model)
    assert (model.flat_params == 9).all()


def test_weights_are_lent():
    model = net()
    before = weights_of(model)
    with weights_in(model, (before[0] + 1, before[1])):
        np.testing.assert_array_equal(model.flat_params, before[0] + 1)
    with weights_in(model, None):
        np.testing.assert_array_equal(model.flat_params, before[0])
    set_weights(model, (before[0] * 2, before[1] * 3))
    np.testing.assert_array_equal(weights_of(model)[1], before[1] * 3)


def test_what_is_described_is_restored():
    one = run(augment_seed=5, epoch=2, step=9, best=0.5, call=Call(4, 10, 3), partial=Epoch({"a": 1}, 2, {"loss": 3.0}))
    one.history.append(train_loss=1.0, seconds=2.0)
    one.history.steps["loss"] = [1.0, 0.5]
    one.history.stopped = "why"
    arrays = {}
    about = json.loads(json.dumps(one.described(arrays))) | {"augment_seed": 5}
    again = Run.restored(about, arrays, None)
    for name in ("augment_seed", "epoch", "step", "best", "call", "partial"):
        assert getattr(again, name) == getattr(one, name)
    assert again.rng.bit_generator.state == one.rng.bit_generator.state
    assert vars(again.history) == vars(one.history)

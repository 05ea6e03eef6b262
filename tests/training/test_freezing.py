"""The callback that freezes parameters."""

import numpy as np
import pytest

import cnnlayers as cl
from tests.training.test_muon import digits_net, solver_for


def test_they_train_until_then_and_no_more():
    seen = []
    watch = cl.LambdaCallback(on_epoch_end=lambda solver: seen.append(solver.model.params["1.W"].copy()))
    net = digits_net()
    first = net.params["1.W"].copy()
    solver = solver_for(net, optimizer=cl.SGD(lr=0.05), callbacks=[cl.Freeze(["1.W", "1.b"], after=2), watch])
    solver.train()
    assert net.frozen == {"1.W", "1.b"}
    assert (seen[0] != first).any()
    assert (seen[1] != seen[0]).any()
    np.testing.assert_array_equal(seen[2], seen[1])
    np.testing.assert_array_equal(seen[3], seen[1])


@pytest.mark.parametrize("step", [4, 8])
def test_a_resumed_run_freezes_too(step, tmp_path):
    def solver(**options):
        callbacks = [cl.Freeze("1.W", after=2), *options.pop("callbacks", [])]
        return solver_for(digits_net(), optimizer=cl.Adam(lr=0.01), callbacks=callbacks, **options)

    whole = solver()
    whole.train()
    stop = cl.LambdaCallback(on_step=lambda solver: solver.step == step and solver.stop("enough"))
    part = solver(callbacks=[stop], checkpoint=tmp_path)
    part.train()
    assert part.model.frozen == (frozenset() if step < 6 else {"1.W"})
    data = part.train_data.x, part.train_data.y
    resumed = cl.Solver.resume(tmp_path, data, callbacks=[cl.LambdaCallback()], progress=False)
    resumed.train()
    assert resumed.model.frozen == {"1.W"}
    assert resumed.model.flat_params.tobytes() == whole.model.flat_params.tobytes()


def test_one_that_is_given_late_freezes_at_once(tmp_path):
    solver = solver_for(digits_net(), optimizer=cl.SGD(lr=0.05), epochs=3, checkpoint=tmp_path)
    solver.train(3)
    data = solver.train_data.x, solver.train_data.y
    resumed = cl.Solver.resume(tmp_path, data, callbacks=[cl.Freeze("1.W", after=2)], progress=False)
    before = resumed.model.params["1.W"].copy()
    resumed.train(1)
    assert resumed.model.frozen == {"1.W"}
    np.testing.assert_array_equal(resumed.model.params["1.W"], before)


@pytest.mark.parametrize("names", [(), [3], 3, ["1.W", None]], ids=repr)
def test_names_must_be_names(names):
    with pytest.raises(TypeError, match="Freeze: names must be the name of a parameter, or several; got "):
        cl.Freeze(names, after=1)


def test_names_of_a_net_that_its_first_batch_builds():
    net = cl.Sequential([cl.Flatten(), cl.Affine(10)], rng=0)
    solver = solver_for(net, optimizer=cl.SGD(lr=0.05), callbacks=[cl.Freeze("2.W", after=3)])
    with pytest.raises(ValueError, match=r"Freeze: names must be parameters of the net; got '2\.W'"):
        solver.train()
    assert solver.epoch == 1


def test_names_must_be_there():
    solver = solver_for(digits_net(), optimizer=cl.SGD(lr=0.05), callbacks=[cl.Freeze(["1.W", "2.W"], after=1)])
    with pytest.raises(ValueError, match=r"Freeze: names must be parameters of the net; got '2\.W'"):
        solver.train()
    with pytest.raises(ValueError, match=r"Freeze: after must be .*; got 0"):
        cl.Freeze("1.W", after=0)

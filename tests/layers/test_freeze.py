"""Parameters that are frozen by name, in layers that train otherwise."""

import re

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import kernels
from tests.layers.common import CASES, batch, built, data, gradient_for
from tests.training.solving import bits, solver_of

WITH_PARAMETERS = [name for name in CASES if not built(name).children() and built(name).params]


def net(**options):
    layers = [cl.Conv(4, 3, padding=1), cl.BatchNorm(), cl.ReLU(), cl.Residual([cl.Conv(4, 1), cl.BatchNorm()])]
    return cl.Sequential([*layers, cl.GlobalAvgPool(), cl.Affine(2)], (6, 5, 2), rng=0, **options)


# What is frozen


def test_names_of_what_is_frozen():
    made = net()
    assert made.frozen == frozenset()
    assert made.freeze("0.W", "3.body.1.gamma") is made
    assert made[0].frozen == {"W"}
    assert made.frozen == {"0.W", "3.body.1.gamma"}
    made[5].trainable = False
    assert made.frozen == {"0.W", "3.body.1.gamma", "5.W", "5.b"}
    made.unfreeze("0.W", "1.beta")  # which was not frozen
    assert made.frozen == {"3.body.1.gamma", "5.W", "5.b"}
    made.unfreeze()
    assert made.frozen == frozenset()
    assert all(layer.trainable for _, layer in made.walk())


def test_without_names_it_is_the_layer_as_a_whole():
    made = net()
    made[3].freeze()
    assert not made[3].body[1].trainable
    assert made.frozen == {name for name in made.params if name.startswith("3.")}


def test_trainable_and_names_do_not_undo_each_other():
    layer = cl.Affine(2).freeze("b")
    layer.trainable = False
    assert layer.frozen == {"b"}  # not built yet: it has no other parameter
    layer.build((3,), rng=0)
    assert layer.frozen == {"W", "b"}
    layer.trainable = True
    assert layer.frozen == {"b"}
    assert layer.param_runs() == [(slice(0, 6), True)]


def test_layers_are_frozen_before_they_are_built():
    made = cl.Sequential([cl.Conv(4, 3).freeze("W"), cl.Flatten(), cl.Affine(2)])
    made.freeze("2.b")
    made.build((4, 4, 1), rng=0)
    assert made.frozen == {"0.W", "2.b"}
    assert made.param_runs() == [(slice(36, 40), False), (slice(40, 72), True)]


def test_names_that_are_none():
    made = net()
    for name in ("W", "9.W", "0.gamma", "3.body", "", "0", "2.W", "running_mean", "1.running_mean"):
        with pytest.raises(ValueError, match=re.escape(f"has no parameter {name!r} to freeze; there are '0.W', '0.b'")):
            made.freeze("0.b", name)
    assert made.frozen == frozenset()
    with pytest.raises(ValueError, match=re.escape("ReLU() has no parameter 'W' to freeze; there are none")):
        cl.Sequential([cl.ReLU()], (3,))[0].freeze("W")
    with pytest.raises(TypeError, match=r"Affine.*: parameters are frozen by name, such as 'W'; got 0"):
        cl.Affine(2).freeze(0)


def test_a_name_that_turns_out_to_be_none_when_the_layer_is_built():
    made = cl.Sequential([cl.Flatten(), cl.Affine(2, bias=False).freeze("b")])
    with pytest.raises(ValueError, match=re.escape("has no parameter 'b' to freeze; there are 'W'")) as caught:
        made.build((3,))
    assert "in layer 1 of Sequential" in caught.value.__notes__[0]
    assert not made[1].built
    made[1].unfreeze("b")
    made.build((3,))


# Gradients


@pytest.mark.parametrize("name", WITH_PARAMETERS)
def test_the_other_gradients_are_what_they_were(name):
    """And that of the frozen parameter is 0, whatever was there."""
    free, x = built(name), data(name)
    y = free.forward(x)
    dx = free.backward(gradient_for(y))
    for one in free.params:
        layer = built(name).freeze(one)
        layer.flat_grads[...] = 7
        layer.forward(x)
        np.testing.assert_array_equal(layer.backward(gradient_for(y)), dx)
        for other, grad in layer.grads.items():
            wanted = np.zeros_like(grad) if other == one else free.grads[other]
            np.testing.assert_allclose(grad, wanted, rtol=1e-12, atol=1e-12, err_msg=other)


@pytest.mark.parametrize("name", WITH_PARAMETERS)
def test_gradcheck_leaves_frozen_parameters_out(name):
    layer = built(name)
    for one in layer.params:
        report = cl.gradcheck(built(name).freeze(one), data(name), samples=10)
        assert report.ok, report
        assert set(report.errors) == {"x", *layer.params} - {one}


@pytest.mark.parametrize("fuse", [True, False])
def test_in_a_net_too(fuse):
    frozen, free, x = net(fuse=fuse), net(fuse=fuse), batch(5, 6, 5, 2, dtype=np.float32)
    frozen.freeze("0.W", "1.gamma", "3.body.0.W", "3.body.0.b", "5.W")
    frozen.flat_grads[...] = 7
    y = free.forward(x)
    np.testing.assert_array_equal(frozen.forward(x), y)
    np.testing.assert_array_equal(frozen.backward(gradient_for(y)), free.backward(gradient_for(y)))
    for name, grad in frozen.grads.items():
        wanted = np.zeros_like(grad) if name in frozen.frozen else free.grads[name]
        np.testing.assert_allclose(grad, wanted, rtol=1e-5, atol=1e-6, err_msg=name)


def test_no_time_is_spent_on_frozen_weights(monkeypatch):
    layers = [cl.Conv(3, 3), cl.ReLU(), cl.ConvTranspose(2, 2), cl.Flatten(), cl.Affine(2)]
    made = cl.Sequential(layers, (5, 5, 1), rng=0).freeze("0.W", "2.W", "4.W", "4.b")
    y = made.forward(batch(2, 5, 5, 1))
    for name in ("conv_weight_grad", "affine_weight_grad"):
        monkeypatch.setattr(f"cnnlayers._kernels.{name}", None)
    made.backward(gradient_for(y))
    assert (made.grads["0.b"] != 0).all()
    assert (made.grads["2.b"] != 0).all()


def test_the_gradient_of_a_bias_alone():
    x, dy = batch(4, 3, dtype=np.float32), batch(4, 5, dtype=np.float32, seed=1)
    db = np.empty(5, np.float32)
    kernels.affine_weight_grad(x, dy, None, db)
    np.testing.assert_allclose(db, dy.sum(axis=0), rtol=1e-6)
    kernels.affine_weight_grad(x, dy, None)  # nothing to do
    images, dys, window = batch(2, 4, 4, 3), batch(2, 3, 3, 5), cl.Conv(5, 2).window((4, 4, 3))
    db = np.empty(5)
    kernels.conv_weight_grad(images, dys, window, None, db)
    np.testing.assert_allclose(db, dys.sum(axis=(0, 1, 2)), rtol=1e-12)
    kernels.conv_weight_grad(images, dys, window, None)


def test_a_frozen_norm_parameter_leaves_the_statistics_learning():
    layer = cl.BatchNorm().freeze("gamma", "beta")
    layer.forward(batch(5, 3))
    assert (layer.state["running_mean"] != 0).all()


# Training


def test_training_leaves_what_is_frozen():
    made = cl.Sequential([cl.Affine(6), cl.BatchNorm(), cl.ReLU(), cl.Affine(2)], (3,), rng=0)
    made.freeze("0.W", "1.beta", "3.b")
    before = {name: array.copy() for name, array in made.params.items()}
    optimizer = cl.AdamW(lr=0.1, weight_decay=0.5, decay_all=True, groups={"0.*": {"lr_factor": 2}})
    solver_of(made, optimizer=optimizer, clip_norm=0.1).train()
    for name, array in made.params.items():
        assert np.array_equal(array, before[name]) == (name in made.frozen), name


def test_frozen_parameters_are_not_in_the_norm_that_is_clipped():
    made = cl.Sequential([cl.Affine(1, init="ones"), cl.Affine(1, init="zeros")], (2,)).freeze("0.W", "0.b", "1.b")
    x, y = np.array([[6.0, 8.0]]), np.array([[-1.0]])  # the second layer sees 14: dL/dW = 28
    solver_of(made, (x, y), loss=cl.MSELoss(), optimizer=cl.SGD(lr=1), clip_norm=7, epochs=1).train()
    np.testing.assert_allclose(made.params["1.W"].ravel(), [-7], rtol=1e-6)


def test_a_run_with_frozen_parameters_is_resumed_to_the_bit(tmp_path):
    def solver(**options):
        layers = [cl.Affine(6).freeze("W"), cl.BatchNorm(), cl.ReLU(), cl.Affine(2).freeze("b")]
        return solver_of(cl.Sequential(layers, (3,), rng=0), rng=3, **options)

    whole = solver()
    whole.train()
    part = solver(checkpoint=tmp_path)
    part.train(1)
    x, y = part.train_data.x, part.train_data.y
    resumed = cl.Solver.resume(tmp_path / "last.safetensors", (x, y))
    assert resumed.model.frozen == {"0.W", "3.b"}
    resumed.train(1)
    assert bits(resumed) == bits(whole)


# Copies, files and what is shown


def test_copies_and_files_keep_what_is_frozen(tmp_path):
    made = net().freeze("0.W", "3.body.1.beta")
    made.save(tmp_path / "net.safetensors")
    again = cl.Sequential(**made.config())
    again.build((6, 5, 2))
    for other in (cl.load(tmp_path / "net.safetensors"), made.copy(), made.astype(np.float64), again):
        assert other.frozen == {"0.W", "3.body.1.beta"}
        assert other.param_runs() == made.param_runs()
        other.unfreeze()
    assert made.frozen == {"0.W", "3.body.1.beta"}
    assert cl.Sequential([made[0].copy(), cl.ReLU()]).frozen == {"0.W"}


def test_the_summary_says_how_many_parameters_train():
    made = net()
    assert made.summary().splitlines()[-1].startswith("total")
    made.freeze("0.W")
    made[5].trainable = False
    total, trained = made.summary().splitlines()[-2:]
    assert total.split()[:2] == ["total", str(made.flat_params.size)]
    assert trained.split() == ["trained", str(made.flat_params.size - 72 - 10)]

"""Every layer, loss and optimiser beside its twin in the oracle, and the twins' gradients beside the slopes."""

import inspect

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.reference import containers
from cnnlayers.training.losses import Loss
from cnnlayers.training.optimizer import Optimizer
from tests.layers.common import CASES, built, data, gradient_for
from tests.marks import both_dtypes, every_level
from tests.reference.twins import forward_of, named_functions, twin_of

every_layer = pytest.mark.parametrize("name", CASES)

LOSSES = [
    (cl.SoftmaxLoss(), "labels"),
    (cl.SoftmaxLoss(label_smoothing=0.1), "labels"),
    (cl.SoftmaxLoss(label_smoothing=0.3, class_weights=[0.5, 2, 0, 1]), "labels"),
    (cl.SoftmaxLoss(class_weights=[0.5, 2, 1.5, 1], ignore_label=2), "labels"),
    (cl.SoftmaxLoss(label_smoothing=0.2, class_weights=[1, 2, 3, 4]), "rows"),
    (cl.SoftmaxLoss(label_smoothing=0.2, class_weights=[1, 2, 3, 4], ignore_label=2, reduction="sum"), "labels"),
    (cl.HingeLoss(), "labels"),
    (cl.HingeLoss(reduction="sum"), "labels"),
    (cl.MSELoss(), "rows"),
    (cl.MSELoss(reduction="sum"), "rows"),
    (cl.SigmoidLoss(pos_weight=3, reduction="sum"), "rows"),
    (cl.SigmoidLoss(), "rows"),
    (cl.SigmoidLoss(pos_weight=3, label_smoothing=0.2), "rows"),
    (cl.SigmoidLoss(pos_weight=[0.5, 2, 0, 1]), "rows"),
]
OPTIMIZERS = [
    cl.SGD(lr=0.1, weight_decay=0.3),
    cl.SGD(lr=0.1, momentum=0.9),
    cl.SGD(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.3),
    cl.RMSProp(lr=0.1, alpha=0.7, eps=0.2, weight_decay=0.3),
    cl.Adagrad(lr=0.1, eps=0.2, weight_decay=0.3),
    cl.Adam(lr=0.1, betas=(0.5, 0.7), eps=0.2, weight_decay=0.3),
    cl.AdamW(lr=0.1, betas=(0.5, 0.7), eps=0.2, weight_decay=0.3),
]


def public(base):
    """The public classes of this base, by name."""
    return [c for _, c in sorted(vars(cl).items()) if isinstance(c, type) and issubclass(c, base) and c is not base]


def assert_close(got, expected, dtype):
    """Equal but for rounding: 64 times that of the largest number."""
    assert got.shape == expected.shape
    assert got.dtype == dtype
    rounding = np.finfo(dtype).eps * max(1.0, np.abs(expected).max(initial=0))
    np.testing.assert_allclose(got, expected, rtol=0, atol=64 * rounding)


def assert_all_close(got, expected, dtype):
    assert got.keys() == expected.keys()
    for name in expected:
        assert_close(got[name], expected[name], dtype)


@pytest.mark.parametrize("cls", [*public(cl.Layer), *public(Loss), *public(Optimizer)], ids=lambda c: c.__name__)
def test_the_docstring_names_functions_of_the_oracle(cls):
    for function in named_functions(cls):
        assert function.__doc__
        if function.__name__.endswith("_backward"):
            assert forward_of(function).__doc__


def test_a_layer_without_a_twin_is_found_out():
    class Own(cl.ReLU):
        """y = max(x, 0)."""

    with pytest.raises(LookupError, match="the docstring of Own has no line Twin"):
        named_functions(Own)


def ready(name, dtype):
    """The layer of this name with parameters and state that nothing starts with."""
    layer, rng = built(name, dtype), np.random.default_rng(11)
    layer.flat_params[...] = rng.normal(size=layer.flat_params.size)
    layer.flat_state[...] = rng.uniform(0.5, 2, layer.flat_state.size)
    return layer


@every_level
@both_dtypes
@every_layer
def test_a_layer_and_its_twin(name, dtype):
    for train in (True, False):
        layer, x = ready(name, dtype), data(name, dtype=dtype)
        twin = twin_of(layer)
        y = layer.forward(x, train)
        assert_close(y, twin.forward(x, train), dtype)
        dy = gradient_for(y)
        assert_close(layer.backward(dy), twin.backward(dy, train), dtype)
        assert_all_close(layer.grads, twin.grads, dtype)
        assert_all_close(layer.state, twin.state, dtype)


@pytest.mark.parametrize("train", [True, False])
@every_layer
def test_a_twins_gradients_are_the_slopes_of_its_forward_pass(name, train):
    """Central differences in a few entries of x and of each parameter: who checks the oracle."""
    layer, x, h = ready(name, np.float64), data(name), 1e-6
    twin = twin_of(layer)
    dy = gradient_for(twin.forward(x, train))
    dx = twin.backward(dy, train)
    for where, grad in [("x", dx), *twin.grads.items()]:
        for i in np.random.default_rng(3).choice(grad.size, min(grad.size, 5), replace=False):
            ends = []
            for step in (h, -h):
                moved, x_moved = twin_of(layer), x.copy()
                (x_moved if where == "x" else moved.params[where]).flat[i] += step
                ends.append(np.vdot(moved.forward(x_moved, train), dy))
            assert grad.flat[i] == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-6, abs=1e-6)


def test_the_sheets_block_is_a_residual_of_affine_layers():
    """Problem 3, which has an equation of its own: dL/dx = W₁ᵀ R(W₁ x) W₂ᵀ δ + δ."""
    block = cl.Residual([cl.Affine(6, bias=False), cl.ReLU(), cl.Affine(4, bias=False)])
    block.build((4,), rng=0, dtype=np.float64)
    x, (W1, W2) = np.random.default_rng(1).normal(size=(5, 4)), block.params.values()
    y = block.forward(x)
    assert_close(y, containers.skip_block(x, W1, W2), np.float64)
    dy = gradient_for(y)
    dx, *grads = containers.skip_block_backward(x, W1, W2, dy)
    assert_close(block.backward(dy), dx, np.float64)
    assert_all_close(block.grads, dict(zip(block.params, grads, strict=True)), np.float64)


# Losses


def loss_data(form, dtype):
    rng = np.random.default_rng(0)
    rows = rng.random((6, 4))
    scores = rng.normal(size=(6, 4), scale=2).astype(dtype)
    return scores, np.array([0, 1, 2, 3, 0, 1]) if form == "labels" else rows / rows.sum(axis=1, keepdims=True)


def options_of(thing, function):
    """What the function takes and the loss or optimiser has by the same name."""
    return {name: getattr(thing, name) for name in inspect.signature(function).parameters if hasattr(thing, name)}


def test_every_loss_is_compared():
    assert {type(loss) for loss, _ in LOSSES} == set(public(Loss))


@every_level
@both_dtypes
@pytest.mark.parametrize(("loss", "form"), LOSSES, ids=repr)
def test_a_loss_and_its_twin(loss, form, dtype):
    scores, target = loss_data(form, dtype)
    (function,) = named_functions(type(loss))
    value, dscores = function(scores, target, **options_of(loss, function))
    assert loss.forward(scores, target) == pytest.approx(value, rel=1e-13)
    assert_close(loss.backward(), dscores, dtype)


@pytest.mark.parametrize(("loss", "form"), LOSSES, ids=repr)
def test_a_losss_twin_gives_the_slope(loss, form):
    scores, target = loss_data(form, np.float64)
    (function,) = named_functions(type(loss))
    options, h = options_of(loss, function), 1e-6
    _, dscores = function(scores, target, **options)
    for i in np.ndindex(*scores.shape):
        up, down = scores.copy(), scores.copy()
        up[i], down[i] = scores[i] + h, scores[i] - h
        slope = (function(up, target, **options)[0] - function(down, target, **options)[0]) / (2 * h)
        assert dscores[i] == pytest.approx(slope, abs=1e-8)


# Optimisers


def test_every_optimizer_is_compared():
    by_weight = {cl.Muon}  # which takes weights one by one: in tests/training/test_muon.py
    assert {type(optimizer) for optimizer in OPTIMIZERS} | by_weight == set(public(Optimizer))


@every_level
@both_dtypes
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_an_optimizer_and_its_twin(optimizer, dtype):
    optimizer = optimizer.fresh()
    net = cl.Affine(3)
    net.build((5,), rng=0, dtype=dtype)
    (function,) = named_functions(type(optimizer))
    options = options_of(optimizer, function)
    decay = np.where(np.arange(18) < 15, optimizer.weight_decay, 0)  # W has 15 numbers; b does not decay
    w = net.flat_params.astype(np.float64)
    remembered = [np.zeros(18) for _ in optimizer.arrays or "v"]  # SGD's twin takes a v without momentum too
    for t in range(1, 6):
        net.flat_grads[...] = g = np.random.default_rng(t).normal(size=18).astype(dtype)
        optimizer.step(net)
        counted = dict.fromkeys(optimizer.counters, t)
        w, *remembered = function(w, g, *remembered, *counted.values(), **options | {"weight_decay": decay})
        assert_close(net.flat_params, w, dtype)
        for name, expected in zip(optimizer.arrays, remembered, strict=False):
            assert_close(optimizer.state[name], expected, dtype)
        assert {name: optimizer.state[name] for name in optimizer.counters} == counted

"""Layers that are joined in one pass give the bits of the layers on their own."""

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.training.diagnosis import first_bad
from tests.layers.common import CASES, batch, gradient_for
from tests.marks import by_turns, every_level


def layers():
    return [
        cl.Conv(8, 3, padding="same"),
        cl.ReLU(),
        cl.Conv(8, 3, padding=1, groups=8),
        cl.BatchNorm(),
        cl.ReLU(),
        cl.Residual([cl.Conv(8, 3, padding=1, bias=False), cl.BatchNorm(), cl.ReLU(), cl.Conv(8, 1), cl.BatchNorm()]),
        cl.ReLU(),
        cl.ReLU(),
        cl.Residual([cl.BatchNorm(), cl.GELU(), cl.Conv(8, 1), cl.BatchNorm(scale=False), cl.GELU()]),
        cl.BatchNorm(),
        cl.GELU("tanh"),
        cl.BatchNorm(),
        cl.GELU(),
        cl.GELU(),
        cl.MaxPool(3, stride=2, padding=1),
        cl.ReLU(),
        cl.MaxPool(1),
        cl.Conv(9, 3, padding=1, algorithm="winograd"),
        cl.ReLU(),
        cl.Conv(6, 3, algorithm="im2col"),
        cl.ReLU(),
        cl.Flatten(),
        cl.ReLU(),
        cl.Affine(12),
        cl.ReLU(),
        cl.Affine(4),
    ]


def net(fuse, dtype):
    made = cl.Sequential(layers(), input_shape=(9, 7, 3), rng=3, dtype=dtype, fuse=fuse)
    for residual in (made[5], made[8]):
        residual.body.fuse = fuse
    return made


def test_what_is_joined():
    joined = [[type(layer).__name__ for layer in step.joined] for step in net(True, np.float32).plan.walk()]
    assert joined.count(["GELU"]) == 3  # not the approximation, nor the second of two
    assert sum(type(step.layer) is cl.GELU for step in net(True, np.float32).plan.walk()) == 2


@every_level
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("train", [True, False])
def test_the_bits_are_those_of_the_unfused_net(dtype, train):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5, 9, 7, 3))
    x[0, 0, 0] = 0
    results = []
    for fuse in (True, False):
        made = net(fuse, dtype)
        for _ in range(2):
            y = made.forward(x, train=train)
            dx = made.backward(np.ones_like(y))
        results.append([y, dx, made.flat_grads.copy(), made.flat_state.copy(), made.predict(x)])
    for fused, alone in zip(*results, strict=True):
        assert fused.tobytes() == alone.tobytes()
    assert np.ptp(results[0][1]) > 0


def around(name, dtype, fuse):
    """The layer of this name after a ReLU and before one; and as the body of a Residual, if it keeps the shape."""
    factory, shape = CASES[name]
    probe = factory()
    keeps = probe.build(shape, rng=0) == shape
    layers = [cl.Residual([]), cl.ReLU(), factory(), cl.ReLU(), cl.Residual([])]  # Residual([]) doubles
    if keeps:
        layers += [cl.Residual([factory()]), cl.ReLU(), cl.Residual([])]
    return cl.Sequential(layers, input_shape=shape, rng=3, dtype=dtype, fuse=fuse)


@pytest.mark.parametrize("train", [True, False])
@by_turns("name", CASES)
def test_every_layer_has_its_bits_whatever_is_joined(name, dtype, train):
    x, results = batch(5, *CASES[name][1], dtype=dtype), []
    for fuse in (True, False):
        made = around(name, dtype, fuse)
        made.flat_params[...] += 0.1
        y = made.forward(x, train)
        dx = made.backward(gradient_for(y))
        results.append([y, dx, made.flat_grads, made.flat_state, made.predict(x)])
    for fused, alone in zip(*results, strict=True):
        assert fused.tobytes() == alone.tobytes()


@pytest.mark.parametrize("fuse", [True, False])
def test_nan_passes(fuse):
    made = cl.Sequential([cl.Conv(2, 1), cl.ReLU()], input_shape=(1, 2, 1), rng=0, fuse=fuse)
    y = made.forward(np.array([[[[np.nan], [1.0]]]]))
    assert np.isnan(y[0, 0, 0]).all()
    assert not np.isnan(y[0, 0, 1]).any()


def test_each_layer_by_itself_is_what_it_was():
    made = cl.Sequential([cl.Affine(6), cl.ReLU()], input_shape=(4,), rng=0)
    x = np.random.default_rng(1).standard_normal((10, 4))
    made.forward(x)
    assert made[0].forward(x).min() < 0
    assert len(made) == 2
    assert isinstance(made[1], cl.ReLU)


def test_a_relu_of_ones_own_is_left_alone():
    class Shifted(cl.ReLU):
        def forward(self, x, train=True):
            return super().forward(x, train) + 1

    class Doubled(cl.Affine):
        def forward(self, x, train=True):
            return 2 * super().forward(x, train)

    made = cl.Sequential([cl.Affine(3), Shifted(), Doubled(3), cl.ReLU()], input_shape=(4,), rng=0)
    x = np.random.default_rng(1).standard_normal((10, 4))
    alone = x
    for layer in made:
        alone = layer.forward(alone)
    assert made.forward(x).tobytes() == alone.tobytes()


def unfused(layers):
    """A body whose layers run on their own."""
    return cl.Sequential(layers, fuse=False)


class Halved(cl.Conv):
    """A convolution with a backward pass, and a forward pass, of its own."""

    def forward(self, x, train=True):
        return 0.5 * super().forward(x, train)

    def backward(self, dy, input_grad=True):
        return super().backward(0.5 * dy, input_grad)


def conv(filters=8, **options):
    return cl.Conv(filters, 3, padding=1, **options)


BODIES = {
    "conv, norm": lambda: [conv(), cl.BatchNorm(), cl.ReLU(), conv(), cl.BatchNorm()],
    "conv": lambda: [conv(algorithm="winograd"), cl.ReLU(), conv(algorithm="winograd")],
    "norm, conv": lambda: [cl.BatchNorm(), cl.ReLU(), conv()],
    "ReLU at both ends": lambda: [cl.ReLU(), conv(), cl.ReLU()],
    "ReLU, MaxPool first": lambda: [cl.ReLU(), cl.MaxPool(3, stride=1, padding=1), conv()],
    "group norm": lambda: [conv(), cl.GroupNorm(2)],
    "instance norm": lambda: [conv(), cl.InstanceNorm()],
    "dropout": lambda: [conv(), cl.BatchNorm(), cl.Dropout(0.5)],
    "residual": lambda: [cl.Residual([conv(), cl.BatchNorm()]), cl.ReLU(), cl.Residual([conv()])],
    "own layer": lambda: [Halved(8, 3, padding=1), cl.BatchNorm(), Halved(8, 3, padding=1)],
    "nothing": list,
}
SHORTCUTS = {
    "identity": lambda: None,
    "conv, norm": lambda: [cl.Conv(8, 1), cl.BatchNorm()],
    "dropout": lambda: [cl.Dropout(0.5)],
}


def block(body, shortcut, wrap, relu, frozen):
    layers, around = BODIES[body](), SHORTCUTS[shortcut]()
    residual = cl.Residual(wrap(layers), None if around is None else wrap(around))
    residual.trainable = not frozen
    return cl.Sequential([conv(), residual, *([cl.ReLU()] if relu else []), conv()], input_shape=(7, 6, 8), rng=1)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("body", BODIES)
def test_a_residual_block_has_the_bits_of_its_steps(body, shortcut, relu, frozen):
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 5, 7, 6, 8)).astype(np.float32)
    results = []
    for wrap in (cl.Sequential, unfused):
        made = block(body, shortcut, wrap, relu, frozen)
        predicted = made.predict(x)
        kept = x.copy()
        for _ in range(2):
            y = made.forward(kept)
            dx = made.backward(dy)
        assert kept.tobytes() == x.tobytes()
        grads = made.flat_grads.copy()
        made.forward(x)
        assert made.backward(dy, input_grad=False) is None
        results.append([predicted, y, dx, grads, made.flat_grads, made.flat_state, made.predict(x)])
    for fused, alone in zip(*results, strict=True):
        assert fused.tobytes() == alone.tobytes()
    assert np.ptp(results[0][2]) > 0


@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("body", BODIES)
def test_blocks_one_after_the_other_have_the_bits_of_their_steps(body, shortcut):
    """The ReLU of a block is undone where the next one writes its dx, after the sum of its two gradients."""
    x, dy = np.random.default_rng(0).standard_normal((2, 5, 7, 6, 8)).astype(np.float32)
    results = []
    for wrap in (cl.Sequential, unfused):
        blocks = [conv(), cl.ReLU()]
        for _ in range(3):
            around = SHORTCUTS[shortcut]()
            blocks += [cl.Residual(wrap(BODIES[body]()), None if around is None else wrap(around)), cl.ReLU()]
        made = wrap([*blocks, cl.MaxPool(2, stride=1, padding=((1, 0), (0, 1))), cl.Residual(cl.Residual(conv()))])
        made.build((7, 6, 8), rng=1)
        for _ in range(2):
            y = made.forward(x)
            dx = made.backward(dy)
        results.append([y, dx, made.flat_grads, made.flat_state])
    for fused, alone in zip(*results, strict=True):
        assert fused.tobytes() == alone.tobytes()


def test_dy_is_not_written():
    """Not even where dx is a view of it, as that of Flatten is."""
    made = cl.Sequential([cl.Conv(4, 1), cl.ReLU(), cl.Flatten()], input_shape=(4, 3, 8), rng=0)
    x, dy = np.ones((2, 4, 3, 8), np.float32), np.ones((2, 48), np.float32)
    y = made.forward(x)
    made.backward(dy)
    assert (y == 0).any()
    np.testing.assert_array_equal(dy, 1)


def test_a_single_layer_as_a_body():
    x, dy = np.random.default_rng(0).standard_normal((2, 5, 7, 6, 8)).astype(np.float32)
    results = []
    for body in (conv(), unfused([conv()])):
        made = cl.Residual(body)
        made.build((7, 6, 8), rng=0)
        results.append([made.forward(x), made.backward(dy), made.predict(x), made.flat_grads])
    for fused, alone in zip(*results, strict=True):
        assert fused.tobytes() == alone.tobytes()


@pytest.mark.parametrize("front", [lambda: cl.Conv(3, 1), lambda: cl.BatchNorm(), lambda: cl.MaxPool(1)])
def test_methods_that_are_set_on_a_relu_are_called(front):
    """As in guided backpropagation."""
    made = cl.Sequential([front(), cl.ReLU(), cl.Conv(3, 1)], input_shape=(4, 4, 3), rng=0)
    x = np.random.default_rng(0).standard_normal((2, 4, 4, 3)).astype(np.float32)
    made[1].backward = lambda dy, input_grad=True: np.zeros_like(dy)
    made.forward(x)
    np.testing.assert_array_equal(made.backward(x), 0)
    made[1].predict = lambda x: np.full_like(x, 2)
    np.testing.assert_array_equal(made.predict(x), made[2].predict(np.full_like(x, 2)))


class UnitGradient:
    """What comes back depends on all of dy."""

    def backward(self, dy, input_grad=True):
        return super().backward(dy / np.linalg.norm(dy), input_grad)


class UnitPool(UnitGradient, cl.MaxPool):
    pass


class UnitConv(UnitGradient, cl.Conv):
    pass


@pytest.mark.parametrize("following", [lambda: cl.Conv(3, 1), lambda: cl.BatchNorm()])
@pytest.mark.parametrize("layer", [UnitPool, UnitConv])
def test_a_backward_of_ones_own_gets_dy_in_front_of_the_relu(layer, following):
    x, dy = np.random.default_rng(0).standard_normal((2, 2, 4, 4, 3)).astype(np.float32)
    results = []
    for fuse in (True, False):
        arguments = {UnitPool: (1,), UnitConv: (3, 1)}[layer]
        made = cl.Sequential([layer(*arguments), cl.ReLU(), following()], input_shape=(4, 4, 3), rng=0, fuse=fuse)
        y = made.forward(x)
        results.append([y, made.backward(dy), made.flat_grads])
    for fused, alone in zip(*results, strict=True):
        assert fused.tobytes() == alone.tobytes()


def test_methods_that_are_set_on_a_layer_are_called():
    made = cl.Residual([conv(), cl.BatchNorm()])
    made.build((7, 6, 8), rng=0)
    first, last = made.body[0], made.body[1]
    last.forward = lambda x, train=True: np.zeros_like(x)
    first.backward = lambda dy, input_grad=True: np.full_like(dy, 2)
    last.backward = lambda dy, input_grad=True: dy
    x = np.ones((1, 7, 6, 8), np.float32)
    np.testing.assert_array_equal(made.forward(x), x)
    np.testing.assert_array_equal(made.backward(x), np.full_like(x, 3))


def test_batches_of_prediction():
    """What is added is cut as x is."""
    made = cl.Residual([cl.Sequential([conv(), cl.Sequential([conv(), cl.BatchNorm()])])])
    made.build((3, 2, 8), rng=0)
    x = np.random.default_rng(0).standard_normal((600, 3, 2, 8)).astype(np.float32)
    at_once = made.predict(x, batch_size=600)
    np.testing.assert_allclose(at_once, made.predict(x, batch_size=100), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(at_once[:256], made.predict(x[:256]))


class ByMixin:
    """Methods that a layer has from a class that is no layer."""

    def forward(self, x, train=True):
        return 0.5 * super().forward(x, train)

    def backward(self, dy, input_grad=True):
        return super().backward(0.5 * dy, input_grad)

    def predict(self, x):
        return self.twin().forward(x, train=False)


class Mixed(ByMixin, cl.Conv):
    pass


class Predicts(cl.Conv):
    def predict(self, x):
        return 2 * super().predict(x)


class NetThatPredicts(cl.Sequential):
    def predict(self, x, batch_size=256):
        return 2 * super().predict(x, batch_size)


@pytest.mark.parametrize("around", [lambda body: cl.Residual(body), lambda body: cl.Residual([cl.ReLU(), body])])
def test_layers_from_a_mixin(around):
    x = np.random.default_rng(0).standard_normal((2, 4, 3, 8)).astype(np.float32)
    results = []
    for kind in (Mixed, Halved):
        made = cl.Sequential([around(kind(8, 3, padding=1)), cl.ReLU()], input_shape=(4, 3, 8), rng=0)
        results.append([made.forward(x), made.backward(x), made.predict(x)])
    for one, other in zip(*results, strict=True):
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize(
    "body", [lambda: Predicts(8, 3, padding=1), lambda: [Predicts(8, 3, padding=1)], lambda: NetThatPredicts([conv()])]
)
def test_a_predict_of_ones_own_is_called(body):
    made = cl.Sequential([cl.Residual(body()), cl.ReLU()], input_shape=(4, 3, 8), rng=0)
    x = np.random.default_rng(0).standard_normal((2, 4, 3, 8)).astype(np.float32)
    np.testing.assert_array_equal(made.predict(x), np.maximum(made[0].body.predict(x) + x, 0))
    assert (made.predict(x) != made.forward(x, train=False)).any()


def test_a_predict_that_is_set_on_a_layer_is_called():
    for find in (lambda made: made.body, lambda made: made.body[0]):
        made = cl.Residual([conv()])
        made.build((4, 3, 8), rng=0)
        find(made).predict = lambda x: np.ones_like(x)
        np.testing.assert_array_equal(made.predict(np.ones((2, 4, 3, 8), np.float32)), 2)


def test_what_is_looked_at_is_not_summed():
    for body in (conv(), [conv()], [conv(), cl.BatchNorm()]):
        net = cl.Sequential([cl.Residual(body), cl.Flatten()], input_shape=(4, 3, 8), rng=0)
        x = np.random.default_rng(0).standard_normal((2, 4, 3, 8)).astype(np.float32)
        seen = cl.insight.outputs(net, x)
        np.testing.assert_array_equal(seen["0"], seen["0.body"] + x)


def test_the_layer_in_which_an_infinity_arises():
    """It is the sum that overflows, so the first layer to give an infinity is the one after it."""
    net = cl.Sequential([cl.Residual(cl.Conv(8, 1)), cl.Flatten(), cl.Affine(2)], input_shape=(2, 2, 8), rng=0)
    net.params["0.body.W"] = 0.5 * np.eye(8).reshape(1, 1, 8, 8)
    x = np.full((1, 2, 2, 8), 3e38, np.float32)
    assert "layer 1, Flatten()" in first_bad(net, cl.SoftmaxLoss(), x, np.array([0]))


def test_the_weights_of_the_forward_pass_decide_what_passes_a_relu():
    made = cl.Sequential([cl.BatchNorm(), cl.ReLU()], input_shape=(4,), rng=0)
    x, dy = np.random.default_rng(0).standard_normal((2, 50, 4)).astype(np.float32)
    y = made.forward(x)
    made.params["0.beta"][...] = 100
    made.backward(dy)
    np.testing.assert_allclose(made.grads["0.beta"], (dy * (y > 0)).sum(axis=0), rtol=1e-5)


def test_fuse_is_true_or_false():
    with pytest.raises(TypeError, match="Sequential: fuse must be True or False; got 'yes'"):
        cl.Sequential([cl.ReLU()], fuse="yes")

"""The net of an estimator, of its architecture."""

import functools

import numpy as np
import pytest
from sklearn.datasets import load_digits

import cnnlayers as cl
from cnnlayers.sklearn import CNNClassifier, CNNRegressor
from cnnlayers.sklearn.nets import BY_NAME, make_net

SCALE = np.array([3.0]), np.array([2.0])


def net_for(architecture, shape=(8, 8, 1), scale=SCALE, dtype="float32"):
    return make_net("Me", architecture, shape, 4, scale, 0, dtype)


def kinds(net):
    return [type(layer).__name__ for layer in net.layers]


def test_auto_follows_the_shape_of_a_sample():
    assert kinds(net_for("auto", (5,))) == kinds(net_for("mlp", (5,)))
    assert kinds(net_for("auto", (64, 1))) == kinds(net_for("conv1d_classifier", (64, 1)))
    assert kinds(net_for("auto", (1, 3, 1))) == kinds(net_for("digits_resnet"))
    assert kinds(net_for("auto", (28, 28, 1))) == kinds(net_for("lenet", (28, 28, 1)))


def test_the_names_are_those_of_the_models_and_mlp():
    models = {name for name, f in vars(cl.models).items() if getattr(f, "__module__", "") == cl.models.__name__}
    assert set(BY_NAME) == {name for name in models if name[0] != "_"} - {"resnet", "basic_block"} | {"mlp"}


@pytest.mark.parametrize(
    "name", ["mlp", "digits_cnn", "linear", cl.models.lenet, functools.partial(cl.models.resnet, 1)]
)
def test_the_scale_comes_first_and_the_seed_decides(name):
    shape = (16, 16, 1)
    net, again = net_for(name, shape), net_for(name, shape)
    assert kinds(net).count("Normalize") == 1
    assert repr(net[0]) == repr(cl.Normalize(*SCALE))
    np.testing.assert_array_equal(net.flat_params, again.flat_params)


def test_a_normalize_of_ones_own_stays_and_without_a_scale_all_is_as_it_is():
    def own(shape, outputs):
        return [cl.Normalize(7, 7), cl.Flatten(), cl.Affine(outputs)]

    assert repr(net_for(own)[0]) == "Normalize(7.0, 7.0)"
    assert repr(net_for("linear", scale=None)[0]) == "Normalize(4.9, 6.0)"
    assert kinds(net_for("lenet", (16, 16, 1), scale=None))[0] == "Conv"


def test_a_built_net_keeps_its_values_and_is_not_used_up():
    trained = cl.Sequential([cl.Flatten(), cl.Affine(4)], input_shape=(8, 8, 1), rng=5)
    net = net_for(lambda shape, outputs: trained)
    np.testing.assert_array_equal(net.flat_params, trained.flat_params)
    net.flat_params[...] = 0
    assert trained.flat_params.any()
    assert net_for(lambda shape, outputs: trained, dtype="float64").dtype == np.float64


def test_a_net_of_another_kind_is_one_layer_of_it():
    class Own(cl.Sequential):
        def forward(self, x, train=True):
            return super().forward(x, train)

    assert kinds(net_for(lambda shape, outputs: Own([cl.Flatten(), cl.Affine(outputs)]))) == ["Normalize", "Own"]


@pytest.mark.parametrize(
    ("architecture", "kind", "message"),
    [
        ("lenett", ValueError, "Me: architecture must be 'auto', 'mlp', 'digits_resnet'.*; got 'lenett'"),
        (3, TypeError, r"Me: architecture must be a name, or a function f\(input_shape, outputs\).*; got 3"),
        (cl.Affine(4), TypeError, "must be a name, or a function"),
        (lambda shape, outputs: "net", TypeError, "must give a net or a list of layers; got 'net'"),
        (
            lambda shape, outputs: [cl.Flatten(), cl.Affine(7)],
            ValueError,
            r"must give 4 outputs, \(N, 4\); it gives \(N, 7\)",
        ),
        (lambda shape, outputs: [cl.Conv(4, 3)], ValueError, r"it gives \(N, 6, 6, 4\)"),
    ],
)
def test_what_is_no_architecture_is_refused(architecture, kind, message):
    with pytest.raises(kind, match=message):
        net_for(architecture)


def test_a_net_of_images_on_flat_rows_says_what_to_do():
    X, y = load_digits(return_X_y=True)
    with pytest.raises(ValueError, match="needs images") as caught:
        CNNClassifier("lenet").fit(X, y)
    assert any("say image_shape=(H, W, C)" in note for note in caught.value.__notes__)


def test_a_last_layer_that_is_a_mistake_is_told():
    def ends_in_softmax(shape, outputs):
        return [cl.Affine(outputs), cl.Softmax()]

    X, y = np.eye(4), [0, 1, 0, 1]
    with pytest.warns(UserWarning, match="CNNClassifier: the net ends in Softmax"):
        CNNClassifier(ends_in_softmax, epochs=1).fit(X, y)
    CNNRegressor(ends_in_softmax, epochs=1).fit(X, np.eye(4))


def test_many_channels_do_not_fill_the_summary():
    X, y = load_digits(return_X_y=True)
    net = CNNClassifier(epochs=1).fit(X[:50], y[:50]).net_
    assert "0: Normalize(64 channels)" in net.summary()

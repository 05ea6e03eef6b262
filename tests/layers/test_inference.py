"""The copy for prediction: the same answers, nothing to train, nothing to change."""

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.models import basic_block
from tests.layers.common import batch


def trained():
    rng = np.random.default_rng(0)
    layers = [
        *(
            cl.Normalize(3, 2),
            cl.Conv(8, 3, padding=1, bias=False),
            cl.BatchNorm(),
            cl.ReLU(),
            basic_block(8),
            cl.ReLU(),
        ),
        *(basic_block(16, stride=2), cl.ReLU(), cl.Dropout(0.5), cl.Conv(16, 3, groups=16), cl.BatchNorm(eps=0.1)),
        *(cl.BatchNorm(), cl.GlobalAvgPool(), cl.Affine(5)),
    ]
    net = cl.Sequential(layers, input_shape=(9, 8, 3), rng=1)
    for name, values in {**net.params, **net.state}.items():
        if name.rsplit(".", 1)[1] != "W":
            values[...] = rng.uniform(0.5, 2, values.shape)
    return net, rng.uniform(0, 6, (7, 9, 8, 3))


def test_it_agrees_with_predict():
    net, x = trained()
    expected = net.predict(x)
    made = net.for_inference()
    np.testing.assert_allclose(made.predict(x), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert np.ptp(expected) > 0.1
    assert sum(isinstance(layer, cl.BatchNorm) for _, layer in made.walk()) == 0  # the second is folded too
    assert not any(isinstance(layer, cl.Dropout) for _, layer in made.walk())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("make", "left"),
    [
        (lambda: cl.Scale(), 0),
        (lambda: cl.Scale((1, 1, 6), gain=False), 0),
        (lambda: cl.Scale((1, 1), bias=False), 0),
        (lambda: cl.Scale((4, 1, 1)), 1),
    ],
)
def test_a_scale_of_channels_is_folded_into_the_convolution(make, left, bias):
    layers = [cl.Conv(6, 3, groups=3, bias=bias), make(), cl.BatchNorm(), make(), cl.ReLU()]
    net = cl.Sequential(layers, (6, 5, 3), rng=0, dtype="float64")
    net.flat_params[...] += np.random.default_rng(1).uniform(0.1, 0.9, net.flat_params.size)
    x = batch(4, 6, 5, 3)
    made = net.for_inference()
    np.testing.assert_allclose(made.predict(x), net.predict(x), rtol=1e-12, atol=1e-12)
    assert sum(isinstance(layer, cl.Scale) for layer in made) == 2 * left
    assert sum(isinstance(layer, cl.BatchNorm) for layer in made) == left


@pytest.mark.parametrize("bias", [True, False])
def test_a_fixed_factor_is_folded_into_the_weights_before_it(bias):
    layers = [cl.Conv(4, 3, bias=bias), cl.Scale(0.5), cl.BatchNorm(), cl.Scale(3), cl.ReLU(), cl.Scale(0.1)]
    layers += [cl.Flatten(), cl.Affine(6, bias=bias), cl.Scale(1 / 9), cl.Scale((1,))]
    net = cl.Sequential(layers, (6, 5, 3), rng=0, dtype="float64")
    net.flat_params[...] += np.random.default_rng(1).uniform(0.1, 0.9, net.flat_params.size)
    x, made = batch(4, 6, 5, 3), net.for_inference()
    np.testing.assert_allclose(made.predict(x), net.predict(x), rtol=1e-12, atol=1e-12)
    assert [type(layer).__name__ for layer in made] == ["Conv", "ReLU", "Scale", "Flatten", "Affine"]


def test_the_net_itself_is_as_it_was():
    net, x = trained()
    before, y = net.flat_params.copy(), net.forward(x)
    net.for_inference().predict(x)
    np.testing.assert_array_equal(net.flat_params, before)
    assert net.backward(np.ones_like(y)).shape == x.shape
    net.params["1.W"] = 0 * net.params["1.W"]
    assert net.predict(x).shape == (7, 5)


def test_it_cannot_be_changed_or_trained():
    net, x = trained()
    made = net.for_inference()
    with pytest.raises(ValueError, match="read-only"):
        made.flat_params[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        made.params["1.W"][...] = 0
    with pytest.raises(RuntimeError, match=r"it can predict\(\), not train"):
        made.forward(x)
    for name, value in (("layers", made.layers[:1]), ("trainable", False), ("fuse", False)):
        with pytest.raises(AttributeError, match=f"made by for_inference\\(\\): its {name} cannot be set"):
            setattr(made, name, value)
    with pytest.raises(
        RuntimeError, match=r"SGD\(lr=0.1\) needs a net that trains; this one was made by for_inference"
    ):
        cl.SGD(lr=0.1).step(made)
    with pytest.raises(RuntimeError, match="gradcheck needs a layer that trains; this net was made by for_inference"):
        cl.gradcheck(made, x)


def test_weights_at_the_points_are_kept_for_every_batch():
    rng = np.random.default_rng(0)
    layers = [cl.Conv(32, 3, padding=1), cl.BatchNorm(), cl.ReLU(), cl.Conv(24, 3, padding=1, algorithm="winograd")]
    net = cl.Sequential(layers, input_shape=(9, 8, 32), rng=1)
    made, x = net.for_inference(), rng.standard_normal((64, 9, 8, 32)).astype(np.float32)
    for images in (x, x[:1], x, x[:3, :5, :6]):  # another algorithm for one image; images of another size
        expected, y = net.predict(images), made.predict(images)
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
        np.testing.assert_array_equal(made.predict(images), y)
        np.testing.assert_array_equal(made.copy().predict(images), y)


def test_a_net_that_is_not_built():
    with pytest.raises(RuntimeError, match="Sequential is not built yet"):
        cl.Sequential([cl.Affine(2)]).for_inference()


def test_a_copy_of_it_gives_the_same():
    net, x = trained()
    made = net.for_inference()
    twin = made.copy()
    np.testing.assert_array_equal(twin.predict(x), made.predict(x))
    with pytest.raises(ValueError, match="read-only"):
        twin.params["1.W"] = 0 * twin.params["1.W"]


class Block(cl.Sequential):
    pass


def test_convs_in_containers_of_a_users_own_are_packed_too():
    """So they are computed by the same algorithm, to the same bits."""

    def conv():
        return cl.Conv(64, 3, padding=1)

    results = []
    for block in (Block, cl.Sequential):
        net = cl.Sequential([conv(), cl.ReLU(), block([conv(), cl.ReLU(), conv()])], (8, 8, 64), rng=0)
        ready = net.for_inference()
        results.append(ready.predict(batch(1, 8, 8, 64)).tobytes())
        convs = [layer for layer in ready.leaves() if isinstance(layer, cl.Conv)]
        assert all(layer.packed is not None for layer in convs)
        assert convs[0].copy().packed is None  # whose weights may change
    assert results[0] == results[1]

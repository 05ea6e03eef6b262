"""The small zoo: shapes, parameters counted by hand, a step of training."""

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import models


def residual_net(blocks):
    """The first convolution; blocks of two, the first of stages 2 and 3 with half the channels in and a projection."""
    count = (27 * 16 + 2 * 16) + (64 * 10 + 10)
    for filters in (16, 32, 64):
        count += 2 * blocks * (9 * filters * filters + 2 * filters)
        if filters > 16:
            count += -9 * filters * filters // 2 + (filters // 2 * filters + 2 * filters)
    return count


# weights and biases, layer by layer; a BatchNorm has 2 per channel
COUNTS = {
    models.lenet: (5 * 5 * 16 + 16) + (5 * 5 * 16 * 32 + 32) + (4 * 4 * 32 * 128 + 128) + (128 * 10 + 10),
    models.digits_cnn: (9 * 16 + 16) + (9 * 16 * 32 + 32) + (4 * 4 * 32 * 64 + 64) + (64 * 10 + 10),
    models.digits_resnet: (9 * 16 + 2 * 16)
    + 2 * (9 * 16 * 16 + 2 * 16)
    + (9 * 16 * 32 + 2 * 32)
    + (9 * 32 * 32 + 2 * 32)
    + (16 * 32 + 2 * 32)
    + (32 * 10 + 10),
    models.linear: 64 * 10 + 10,
    models.three_layer: (7 * 7 * 3 * 32 + 32) + (16 * 16 * 32 * 100 + 100) + (100 * 10 + 10),
    models.vgg: (9 * 3 * 32 + 32)
    + (9 * 32 * 32 + 32)
    + (9 * 32 * 64 + 64)
    + (9 * 64 * 64 + 64)
    + (9 * 64 * 128 + 128)
    + (9 * 128 * 128 + 128)
    + (4 * 4 * 128 * 10 + 10),
    models.resnet8: residual_net(1),
    models.resnet20: residual_net(3),
    models.resnet32: residual_net(5),
    models.mobilenet: (27 * 32 + 2 * 32)
    + (9 * 32 + 2 * 32 + 32 * 64 + 2 * 64)
    + (9 * 64 + 2 * 64 + 64 * 128 + 2 * 128)
    + (9 * 128 + 2 * 128 + 128 * 128 + 2 * 128)
    + (9 * 128 + 2 * 128 + 128 * 256 + 2 * 256)
    + (9 * 256 + 2 * 256 + 256 * 256 + 2 * 256)
    + (256 * 10 + 10),
    models.speedrun: (2 * 2 * 3 * 24 + 24)
    + 9 * (24 * 64 + 64 * 64 + 64 * 256 + 3 * 256 * 256)
    + 2 * (64 + 256 + 256)
    + 256 * 10,
    models.conv1d_classifier: (8 * 1 * 128 + 128 + 2 * 128)
    + (5 * 128 * 256 + 256 + 2 * 256)
    + (3 * 256 * 128 + 128 + 2 * 128)
    + (128 * 10 + 10),
}
every_model = pytest.mark.parametrize("make", COUNTS, ids=lambda f: f.__name__)


def images(net, n=8):
    return np.random.default_rng(0).integers(0, 17, (n, *net.input_shape)).astype(np.uint8)


@every_model
def test_shapes_and_parameters(make):
    net = make(rng=0)
    assert net.output_shape(net.input_shape) == (10,)
    assert net.flat_params.size == COUNTS[make]
    assert net.predict(images(net)).shape == (8, 10)
    assert net.summary().splitlines()[-1].split()[1] == f"{COUNTS[make]:,}"


@every_model
def test_options(make):
    shape = (20, 24, 3)
    net = make(shape, 7, rng=0, dtype=np.float64)
    assert net.input_shape == shape
    assert net.predict(np.zeros((2, *shape))).shape == (2, 7)
    assert net.dtype == np.float64


@every_model
def test_the_seed_decides(make):
    np.testing.assert_array_equal(make(rng=3).flat_params, make(rng=3).flat_params)
    assert (make(rng=3).flat_params != make(rng=4).flat_params).any()


@every_model
def test_a_few_steps_lower_the_loss(make):
    net = make(rng=0)
    x, y, loss, optimizer = images(net), np.arange(8), cl.SoftmaxLoss(), cl.SGD(lr=0.01)
    if not isinstance(net[0], cl.Normalize):
        x = x / 16
    values = []
    for _ in range(6):
        values.append(loss.forward(net.forward(x), y))
        net.backward(loss.backward(), input_grad=False)
        optimizer.step(net)
    assert values[-1] < values[0]
    assert np.isfinite(net.flat_params).all()


@every_model
def test_it_is_saved_and_loaded(make, tmp_path):
    net = make(rng=0)
    net.save(tmp_path / "net.safetensors")
    loaded = cl.load(tmp_path / "net.safetensors")
    assert repr(loaded) == repr(net)
    np.testing.assert_array_equal(loaded.predict(images(net)), net.predict(images(net)))


def test_an_image_too_small_says_where():
    with pytest.raises(ValueError, match=r"Conv\(32, 5\): a 5x5 kernel does not fit in a 2x2 image") as error:
        models.lenet((8, 8, 1))
    assert error.value.__notes__ == ["in layer 3 of Sequential, after MaxPool(2)"]


def test_lenet_has_the_shapes_of_its_table():
    net, shape, shapes = models.lenet(rng=0), (28, 28, 1), []
    for layer in net:
        shape = layer.output_shape(shape)
        shapes.append(shape)
    assert shapes == [
        *((24, 24, 16), (24, 24, 16), (12, 12, 16)),
        *((8, 8, 32), (8, 8, 32), (4, 4, 32)),
        *((512,), (128,), (128,), (10,)),
    ]


def test_basic_blocks():
    same, halved = models.basic_block(4), models.basic_block(6, stride=2)
    assert same.shortcut is None
    assert same.build((5, 7, 4), rng=0) == (5, 7, 4)
    assert halved.build((5, 7, 4), rng=0) == (3, 4, 6)
    assert cl.gradcheck(same, np.random.default_rng(0).standard_normal((2, 5, 7, 4)), samples=30).ok
    assert cl.gradcheck(halved, np.random.default_rng(0).standard_normal((2, 5, 7, 4)), samples=30).ok


def test_the_residual_net_takes_images_of_other_sizes():
    assert models.digits_resnet(rng=0).predict(np.zeros((2, 12, 9, 1))).shape == (2, 10)


@pytest.mark.parametrize(
    ("make", "shapes"),
    [
        (models.vgg, [(16, 16, 32), (8, 8, 64), (4, 4, 128)]),
        (models.resnet20, [(32, 32, 16)] * 3 + [(16, 16, 32)] * 3 + [(8, 8, 64)] * 3),
        (models.mobilenet, [(32, 32, 64), (16, 16, 128), (16, 16, 128), (8, 8, 256), (8, 8, 256)]),
    ],
)
def test_sizes_halve_as_in_the_papers(make, shapes):
    """After each pool, block or 1x1 convolution."""
    net = make(rng=0)
    found = [
        layer.output_shape(layer.input_shape)
        for layer in net
        if isinstance(layer, cl.MaxPool | cl.Residual) or getattr(layer, "kernel", 3) == 1
    ]
    assert found == shapes


def test_layers_of_the_residual_nets():
    """6 blocks + 2 with weights, as their names say; the projections are not counted."""
    for make, count in ((models.resnet8, 8), (models.resnet20, 20), (models.resnet32, 32)):
        weighty = [layer for _, layer in make(rng=0).walk() if isinstance(layer, cl.Conv | cl.Affine)]
        assert len([layer for layer in weighty if getattr(layer, "kernel", 3) != 1]) == count


def test_the_signal_net_takes_signals_of_any_length():
    net = models.conv1d_classifier((50, 3), 4, rng=0)
    assert net.predict(np.zeros((2, 50, 3))).shape == net.predict(np.zeros((2, 71, 3))).shape == (2, 4)


def test_a_wrong_option_is_refused():
    with pytest.raises(TypeError, match="seed"):
        models.vgg(seed=3)

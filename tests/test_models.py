"""The small zoo: shapes, parameters counted by hand, a step of training."""

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import models

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
    if make is models.lenet:
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

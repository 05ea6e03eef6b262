"""Images with their channels first, or without a channel: what is misread is said, with the cure."""

import re
import warnings

import numpy as np
import pytest

import cnnlayers as cl

CHANNELS_FIRST, NO_CHANNELS = "cl.from_nchw(x)", "x[..., None]"


def convolutional(**options):
    return cl.Sequential(
        [cl.Normalize(128, 64), cl.Conv(4, 3, padding=1), cl.ReLU(), cl.GlobalAvgPool(), cl.Affine(3)], **options
    )


def said(make):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make()
    return [str(warning.message) for warning in caught]


ODD = {
    (3, 32, 32): CHANNELS_FIRST,
    (1, 28, 28): CHANNELS_FIRST,
    (4, 64, 64): CHANNELS_FIRST,
    (28, 28): NO_CHANNELS,
    (8, 8): NO_CHANNELS,
}
EVEN = [
    (32, 32, 3),
    (28, 28, 1),
    (3, 32, 3),
    (3, 32, 31),
    (3, 3, 3),
    (5, 32, 32),
    (100, 12),
    (4, 4),
    (64, 2),
    (32, 32, 32),
]


@pytest.mark.parametrize("shape", ODD)
def test_a_net_that_would_misread_its_input_warns_once(shape):
    x = np.zeros((6, *shape), np.float32)
    y = np.arange(6) % 3

    def train():
        solver = cl.Solver(
            convolutional(), (x, y), loss=cl.SoftmaxLoss(), optimizer=cl.SGD(lr=0.1), epochs=1, progress=False
        )
        solver.train()

    ways = [
        lambda: convolutional(input_shape=shape),
        lambda: convolutional().build(shape),
        lambda: convolutional().forward(x),
        lambda: cl.Sequential([convolutional(), cl.ReLU()], input_shape=shape),
        lambda: cl.Residual([convolutional()], shortcut=[convolutional()]).build(shape),
        train,
    ]
    for way in ways:
        (text,) = said(way)
        assert ODD[shape] in text
        assert f"(N, {', '.join(map(str, shape))})" in text


def test_the_cure_comes_before_the_error_that_the_axes_lead_to():
    with pytest.warns(UserWarning, match=re.escape(CHANNELS_FIRST)), pytest.raises(ValueError, match="does not fit"):
        cl.Sequential([cl.Conv(4, 3)], input_shape=(1, 28, 28))


@pytest.mark.parametrize("shape", EVEN)
def test_other_shapes_are_taken_as_they_are(shape):
    assert said(lambda: convolutional(input_shape=shape)) == []


@pytest.mark.parametrize("shape", ODD)
def test_a_net_that_does_not_look_at_the_axes_does_not_warn(shape):
    nets = [[cl.Flatten(), cl.Affine(3)], [cl.ReLU()], [cl.Reshape((-1, 4)), cl.Conv(2, 3)], [cl.LayerNorm()]]
    assert said(lambda: [cl.Sequential(layers, input_shape=shape) for layers in nets]) == []


@pytest.mark.parametrize("shape", ODD)
def test_a_file_that_is_read_says_nothing_again(shape, tmp_path):
    assert len(said(lambda: convolutional(input_shape=shape, rng=0).save(tmp_path / "a.safetensors"))) == 1
    assert said(lambda: cl.load(tmp_path / "a.safetensors")) == []


def test_pixels_of_two_axes_are_a_gray_image_of_any_shape():
    x = np.zeros((2, 28, 20), np.uint8)
    for way in (
        lambda: convolutional().forward(x),
        lambda: cl.Sequential([cl.MaxPool(2)]).predict(x),
        lambda: cl.Solver(
            convolutional(), (x, np.array([0, 1])), loss=cl.SoftmaxLoss(), optimizer=cl.SGD(lr=0), progress=False
        ).train(1),
    ):
        (text,) = said(way)
        assert NO_CHANNELS in text
    assert said(lambda: convolutional().forward(x.astype(np.float32))) == []
    assert said(lambda: convolutional().forward(x[..., None])) == []
    assert said(lambda: convolutional().forward(np.zeros((2, 100, 3), np.uint8))) == []  # recordings of 8 bits


@pytest.mark.parametrize(
    ("built", "given", "cure"),
    [
        ((32, 32, 3), (2, 3, 32, 32), CHANNELS_FIRST),
        ((28, 20, 1), (2, 1, 28, 20), CHANNELS_FIRST),
        ((28, 28, 1), (2, 28, 28), NO_CHANNELS),
        ((28, 20, 1), (2, 28, 20), NO_CHANNELS),
        ((32, 32, 3), (32, 32, 3), "x[None]"),
        ((28, 28, 1), (2, 784), "x.reshape(-1, 28, 28, 1)"),
        ((50, 2), (6, 2, 50), CHANNELS_FIRST),
        ((32, 32, 3), (2, 3, 48, 64), CHANNELS_FIRST),
        ((28, 28, 1), (2, 1, 20, 20), CHANNELS_FIRST),
        ((28, 28, 1), (2, 20, 20), NO_CHANNELS),
        ((32, 32, 3), (2, 48, 48), "np.repeat(x[..., None], 3, axis=-1)"),
    ],
)
@pytest.mark.parametrize("call", ["forward", "predict", "predict_proba"])
def test_a_built_net_says_the_cure(built, given, cure, call):
    nets = [convolutional, lambda **options: cl.Sequential([cl.Conv(4, 3), cl.Flatten(), cl.Affine(3)], **options)]
    for make in nets:
        net = make(input_shape=built)
        with pytest.raises(ValueError, match=re.escape(cure)) as raised:
            getattr(net, call)(np.zeros(given))
        assert str(raised.value).count(cure) == 1


def test_the_cure_is_one():
    net = convolutional(input_shape=(32, 32, 3))
    assert net.predict(cl.from_nchw(np.zeros((2, 3, 32, 32)))).shape == (2, 3)
    gray = convolutional(input_shape=(28, 28, 1))
    x = np.zeros((2, 28, 28))
    assert gray.predict(x[..., None]).shape == (2, 3)
    assert net.predict(np.repeat(x[..., None], 3, axis=-1)).shape == (2, 3)
    assert gray.predict(x.reshape(2, 784).reshape(-1, 28, 28, 1)).shape == (2, 3)


def test_images_of_another_size_are_no_mistake():
    net = convolutional(input_shape=(8, 3, 3))
    assert net.predict(np.zeros((2, 3, 8, 3))).shape == (2, 3)

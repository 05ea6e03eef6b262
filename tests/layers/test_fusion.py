"""A layer that ends in the ReLU behind it gives the bits of the two on their own, forward and backward."""

import numpy as np
import pytest

import cnnlayers as cl


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
    made[5].body.fuse = fuse
    return made


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


def test_fuse_is_true_or_false():
    with pytest.raises(TypeError, match="Sequential: fuse must be True or False; got 'yes'"):
        cl.Sequential([cl.ReLU()], fuse="yes")

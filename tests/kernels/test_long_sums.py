"""Sums over very many numbers. A float32 that has come to 2^24 stays where it is if ones are added, one by one."""

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import kernels
from cnnlayers.geometry import window
from tests.kernels import by_side
from tests.marks import every_level

pytestmark = every_level
F = np.float32
STUCK = 1 << 24
MOST_TERMS = 1 << 16  # of a partial sum
MANY = STUCK + 3_000_000
HIGH, WIDE = 4400, 4500
assert HIGH * WIDE > STUCK


def ones(*shape):
    return np.ones(shape, F)


def heavy_head(*shape):
    """Ones, but the first number stops a float32 from growing by any of the others."""
    a = ones(*shape)
    a.flat[0] = STUCK
    return a


def weight_grad(x, dy, kernel, groups=1, padding="same", algorithm="auto"):
    place = window(x.shape[1:], kernel, 1, padding)
    dW, db = np.empty((*place.kernel, x.shape[-1] // groups, dy.shape[-1]), F), np.empty(dy.shape[-1], F)
    kernels.conv_weight_grad(x, dy, place, dW, db, algorithm)
    return dW, db


@pytest.mark.parametrize("algorithm", ["direct", "im2col"])
def test_the_gradients_of_a_convolution_of_a_large_image(algorithm):
    dW, db = weight_grad(ones(1, HIGH, WIDE, 1), ones(1, HIGH, WIDE, 1), 1, algorithm=algorithm)
    assert dW.item() == HIGH * WIDE
    assert db.item() == HIGH * WIDE


def test_a_kernel_that_is_one_tile():
    dW, _ = weight_grad(ones(1, HIGH, WIDE, 1), ones(1, HIGH - 2, WIDE - 2, 1), 3, padding=0)
    assert (dW == (HIGH - 2) * (WIDE - 2)).all()


@pytest.mark.parametrize("kernel", [1, 5])
def test_the_gradients_of_a_convolution_of_a_long_signal(kernel):
    dW, db = weight_grad(ones(1, MANY, 1), ones(1, MANY, 1), kernel)
    lost = abs(np.arange(kernel) - kernel // 2)
    np.testing.assert_allclose(dW.ravel(), MANY - lost, rtol=1e-7)
    assert db.item() == MANY


def test_the_gradients_of_a_depthwise_convolution():
    dW, db = weight_grad(ones(1, MANY, 2), ones(1, MANY, 2), 3, groups=2)
    np.testing.assert_allclose(dW, [[[MANY - 1] * 2], [[MANY] * 2], [[MANY - 1] * 2]], rtol=1e-7)
    assert (db == MANY).all()


def test_the_weight_gradient_of_a_depthwise_convolution_of_a_large_image():
    """More than MOST_TERMS positions to each of 32 chunks."""
    dW, _ = weight_grad(ones(1, 1500, 1500, 16), ones(1, 1500, 1500, 16), 3, groups=16)
    rows = np.array([1499, 1500, 1499])
    np.testing.assert_array_equal(dW[..., 0, 0], np.outer(rows, rows))


@pytest.mark.parametrize(("kernel", "side"), [((1, 3), 4), ((1, 5), 2), (3, 4), (3, 2), (5, 2)])
def test_winograds_method(kernel, side):
    x = ones(1, HIGH, WIDE, 1) if isinstance(kernel, int) else ones(1, 1, MANY, 1)
    place = window(x.shape[1:], kernel)
    dy = ones(1, *place.out, 1)
    dW, db = np.empty((*place.kernel, 1, 1), F), np.empty(1, F)
    by_side.conv_weight_grad(x, dy, place, dW, db, side)
    np.testing.assert_allclose(dW, dy.size, rtol=2e-4)  # not whole numbers: each sum of 4096 is rounded
    assert db.item() == dy.size


def test_the_gradients_of_an_affine_map():
    dW, db = np.empty((1, 1), F), np.empty(1, F)
    kernels.affine_weight_grad(ones(MANY, 1), ones(MANY, 1), dW, db)
    assert dW.item() == MANY
    assert db.item() == MANY


# What would take much memory: a sum whose first number is large loses what comes after it, but no further than its part


def assert_little_is_lost(sums, terms):
    assert terms > 2 * MOST_TERMS
    lost = STUCK - 1 + terms - np.asarray(sums, np.float64)
    assert (abs(lost) <= MOST_TERMS).all()


@pytest.mark.parametrize(
    ("c", "f", "kernel", "groups"),
    [
        (20, 37, 1, 1),
        (20, 32, 1, 1),
        (3, 20, 3, 1),
        (3, 32, 3, 1),
        (1, 37, 3, 1),
        (1, 40, 5, 1),
        (12, 8, 3, 2),
        (20, 20, 3, 20),
        (20, 20, 2, 20),
        (40, 16, (2, 3), 1),
    ],
)
@pytest.mark.parametrize("shape", [(1, 500, 300), (1, 2, 80_000), (20, 150, 160)])
def test_parts_of_the_sums_of_a_convolution(shape, c, f, kernel, groups):
    n = shape[0]
    x, dy = ones(*shape, c), ones(*shape, f)
    place = window(x.shape[1:], kernel, 1, "same")
    centre = tuple(axis.before for axis in place.axes)
    dy[0, 0, 0] = STUCK
    dW, db = np.empty((*place.kernel, c // groups, f), F), np.empty(f, F)
    kernels.conv_weight_grad(x, dy, place, dW, db, "direct")
    assert_little_is_lost(dW[centre], n * shape[1] * shape[2])
    assert_little_is_lost(db, n * shape[1] * shape[2])


def test_parts_of_the_sums_of_an_affine_map():
    x, dy, dW = ones(200_000, 5), ones(200_000, 40), np.empty((5, 40), F)
    dy[0] = STUCK
    kernels.affine_weight_grad(x, dy, dW)
    assert_little_is_lost(dW, 200_000)


@pytest.mark.parametrize("m", [1, 7, 40])
@pytest.mark.parametrize("n", [1, 5, 30])
def test_an_affine_map_of_very_many_numbers(n, m):
    x, b = ones(n, 300_000), np.arange(m, dtype=F) - m
    x[:, 0] = STUCK
    y = kernels.affine(x, ones(300_000, m), b)
    assert_little_is_lost(y - b, 300_000)
    np.testing.assert_array_equal(kernels.affine(-x, ones(300_000, m), b, relu=True), 0)


@pytest.mark.parametrize("n", [1, 6, 30])
def test_the_input_gradient_of_an_affine_map_with_very_many_results(n):
    dy, W = ones(n, 3_000_000), ones(2, 3_000_000)
    dy[:, :64] = STUCK  # each lane of a vector
    lost = (STUCK - 1) * 64.0 + 3_000_000 - kernels.affine_input_grad(dy, W).astype(np.float64)
    assert (abs(lost) <= 64 * MOST_TERMS / 8).all()


@pytest.mark.parametrize("kernel", [(300, 320), (1, 100_000)])
def test_a_convolution_with_a_very_large_kernel(kernel):
    x = ones(1, *kernel, 2)
    x[0, 0, 0, 0] = STUCK
    place = window(x.shape[1:], kernel)
    for f in (1, 33):
        y = kernels.conv_forward(x, ones(*kernel, 2, f), None, place, "direct")
        assert_little_is_lost(y, x.size)


# Norms and global pools


def zeros_and_twos(*shape):
    x = np.zeros(shape, F)
    x.reshape(-1)[::2] = 2
    return x


def test_the_statistics_of_a_batch():
    x = zeros_and_twos(MANY, 1)
    gamma, beta, grads = ones(1), np.zeros(1, F), (np.empty(1, F), np.empty(1, F))
    y, mean, var, scale = kernels.batch_norm(x, gamma, beta, 1e-5)
    assert (mean, var) == (1, 1)
    kernels.batch_norm_grad(x, y, gamma, mean, scale, into=grads, on_batch=True, input_grad=False)
    np.testing.assert_allclose(grads[0], MANY, rtol=1e-4)
    kernels.batch_norm_grad(x, ones(MANY, 1), gamma, mean, scale, into=grads, on_batch=True, input_grad=False)
    assert grads[1] == MANY


def test_the_statistics_of_a_group():
    x = zeros_and_twos(1, MANY, 1)
    _, mean, scale = kernels.group_norm(x, 1, ones(1), np.zeros(1, F), 1e-5)
    assert mean == 1
    np.testing.assert_allclose(scale, 1, rtol=1e-5)
    grads = np.empty(1, F), np.empty(1, F)
    kernels.group_norm_grad(x, ones(1, MANY, 1), 1, ones(1), mean, scale, into=grads, input_grad=False)
    assert grads[1] == MANY


def test_the_statistics_of_a_row():
    x, gamma = zeros_and_twos(1, MANY), ones(MANY)
    y, mean, scale = kernels.layer_norm(x, gamma, np.zeros(MANY, F), 1e-5)
    assert mean == 1
    np.testing.assert_allclose(scale, 1, rtol=1e-5)
    dx = kernels.layer_norm_grad(x, y, gamma, mean, scale, into=(np.empty(MANY, F), np.empty(MANY, F)))
    np.testing.assert_allclose(dx, 0, atol=1e-4)


def test_global_means():
    assert kernels.global_avg_pool(ones(1, HIGH, WIDE, 1)).item() == 1
    sums = np.empty(1, F)
    kernels.column_sums(ones(MANY, 1), sums)
    assert sums == MANY


def test_means_of_large_windows():
    image, signal = ones(1, HIGH, WIDE, 1), ones(1, MANY, 1)
    assert cl.AvgPool((HIGH, WIDE)).forward(image).item() == pytest.approx(1, rel=1e-6)
    assert cl.AvgPool(MANY).forward(signal).item() == pytest.approx(1, rel=1e-6)

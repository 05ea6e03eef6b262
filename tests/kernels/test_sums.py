"""Kernels that end in a sum or a ReLU, or undo one, on their way: to the bits of the two steps by themselves."""

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import _kernels, kernels
from cnnlayers.geometry import window
from tests.kernels import by_side
from tests.kernels.cases import draw
from tests.marks import both_dtypes, by_turns, every_level

pytestmark = every_level
METHODS = [(3, 0), *sorted(((high, wide), side) for high, wide, side in _kernels.TILES), ((2, 3), 0), (1, 0)]


def same_bits(one, other):
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def problem(kernel, dtype, n=3, channels=20, filters=37, groups=1):
    """x, W, b, dy, an array of y's shape and one of x's, none to be written; and the window."""
    place = window((10, 11, channels), kernel, 1, "same")
    x_shape, y_shape = (n, 10, 11, channels), (n, *place.out, filters)
    shapes = x_shape, (*place.kernel, channels // groups, filters), (filters,), y_shape, y_shape, x_shape
    arrays = [draw(shape, dtype, seed) for seed, shape in enumerate(shapes)]
    for array in arrays:
        array.flags.writeable = False
    return *arrays, place


@pytest.mark.parametrize(("kernel", "side"), METHODS, ids=str)
@by_turns("channels,filters,groups", [(20, 37, 1), (32, 32, 1), (20, 36, 2), (24, 24, 24), (3, 2, 1), (1, 9, 1)])
def test_a_convolution(kernel, side, channels, filters, groups, dtype):
    x, W, b, dy, plus, plus_x, place = problem(kernel, dtype, 3, channels, filters, groups)
    y = by_side.conv_forward(x, W, b, place, False, side)
    dx = by_side.conv_input_grad(dy, W, place, side)
    for threads in (1, 2, 7):
        cl.set_num_threads(threads)
        for relu in (False, True):
            summed = by_side.conv_forward(x, W, b, place, relu, side, plus)
            assert same_bits(summed, kernels.add(y, plus, relu))
        assert same_bits(by_side.conv_input_grad(dy, W, place, side, plus_x), kernels.add(dx, plus_x))
        for more, sums in ((None, dx), (plus_x, kernels.add(dx, plus_x))):
            masked = by_side.conv_input_grad(dy, W, place, side, more, x)
            assert same_bits(masked, np.where(x > 0, sums, np.zeros_like(x)))


@pytest.mark.parametrize(("kernel", "side"), METHODS, ids=str)
@by_turns("channels,filters,groups", [(20, 37, 1), (32, 32, 1), (20, 36, 2), (24, 24, 24), (3, 2, 1), (1, 9, 1)])
def test_the_gradient_of_a_bias(kernel, side, channels, filters, groups, dtype):
    """The exact sum of dy, beside the dW that there is without it, whatever the number of threads."""
    n = 1 if channels == 32 else 5
    x, W, b, dy, *_, place = problem(kernel, dtype, n, channels, filters, groups)
    dW, results = np.empty_like(W), []
    by_side.conv_weight_grad(x, dy, place, dW, None, side)
    for threads in (1, 2, 7):
        cl.set_num_threads(threads)
        grads = np.full_like(W, np.nan), np.full_like(b, np.nan)
        by_side.conv_weight_grad(x, dy, place, *grads, side)
        assert same_bits(grads[0], dW)
        results.append(grads[1])
    assert same_bits(results[0], results[1])
    assert same_bits(results[0], results[2])
    exact = dy.astype(np.float64).sum(axis=(0, 1, 2))
    np.testing.assert_allclose(
        results[0], exact, rtol=0, atol=np.finfo(dtype).eps * np.abs(dy).sum(axis=(0, 1, 2)).max()
    )


@pytest.mark.parametrize("algorithm", kernels.ALGORITHMS)
def test_the_gradient_of_a_bias_by_every_algorithm(algorithm):
    x, W, b, dy, *_, place = problem(3, np.float32)
    dW, db = np.empty_like(W), np.empty_like(b)
    kernels.conv_weight_grad(x, dy, place, dW, db, algorithm)
    np.testing.assert_allclose(db, dy.sum(axis=(0, 1, 2)), atol=1e-4)
    nothing = x[:0], dy[:0]
    kernels.conv_weight_grad(*nothing, place, dW, db, algorithm)
    assert not db.any()
    assert not dW.any()


@pytest.mark.parametrize("slide", [(3, 2, 1), ((3, 2), (2, 3), ((1, 0), (0, 2)), (1, 2)), (1, 1), (5, 1, 2)])
def test_the_gradient_of_a_bias_with_strides_and_holes(slide):
    place = window((12, 11, 3), *slide)
    x, dy = draw((4, 12, 11, 3), np.float32, 0), draw((4, *place.out, 19), np.float32, 1)
    dW, db = np.empty((*place.kernel, 3, 19), np.float32), np.empty(19, np.float32)
    kernels.conv_weight_grad(x, dy, place, dW, db)
    np.testing.assert_allclose(db, dy.sum(axis=(0, 1, 2)), atol=1e-4)


@pytest.mark.parametrize(("n", "m"), [(1, 100), (70, 33), (70, 3), (0, 5)])
def test_the_gradient_of_the_bias_of_an_affine_map(n, m):
    x, dy = draw((n, 50), np.float32, 0), draw((n, m), np.float32, 1)
    dW, db = np.empty((50, m), np.float32), np.empty(m, np.float32)
    kernels.affine_weight_grad(x, dy, dW, db)
    np.testing.assert_allclose(db, dy.sum(axis=0), atol=1e-5)
    np.testing.assert_allclose(dW, x.T @ dy, atol=1e-4)


def test_the_gradient_of_a_bias_where_dy_is_not_finite():
    x, W, b, dy, *_, place = problem(3, np.float32)
    for side in (0, 2, 4):
        spoilt, dW, db = dy.copy(), np.empty_like(W), np.empty_like(b)
        spoilt[1, 4, 5, 6] = np.inf
        spoilt[1, 4, 5, 7] = np.nan
        with np.errstate(invalid="ignore"):
            by_side.conv_weight_grad(x, spoilt, place, dW, db, side)
        assert db[6] == np.inf
        assert np.isnan(db[7])
        assert np.isfinite(np.delete(db, (6, 7))).all()


@both_dtypes
@pytest.mark.parametrize("count", [0, 1, 77, 100_003])
def test_the_end_of_a_gradient(dtype, count):
    dx, plus, y = (draw(count, dtype, seed) for seed in range(3))
    if count > 70:
        y[:3], dx[3:6], dx[60:63] = (0, -0.0, np.nan), (np.inf, np.nan, -0.0), np.inf
        y[60], y[61] = 1, -1
    before = dx.copy()
    assert kernels.finish_grad(dx) is dx
    assert same_bits(kernels.finish_grad(dx, plus), dx + plus)
    assert same_bits(kernels.finish_grad(dx, None, y), np.where(y > 0, dx, dtype(0)))
    assert same_bits(kernels.finish_grad(dx, plus, y), np.where(y > 0, dx + plus, dtype(0)))
    assert same_bits(dx, before)


@pytest.mark.parametrize("side", [2, 4])
def test_numbers_that_are_not_finite(side):
    """An infinity sends Winograd's method back to the plain kernel, and the sum with it."""
    x, W, b, dy, plus, plus_x, place = (np.array(a) if isinstance(a, np.ndarray) else a for a in problem(3, np.float32))
    plus[0, 0, 0], plus_x[0, 0, 0] = np.inf, np.nan
    for where in (x, dy):
        where[1, 4, 5, 6] = np.inf
    with np.errstate(invalid="ignore"):
        for relu in (False, True):
            alone = kernels.add(by_side.conv_forward(x, W, b, place, False, side), plus, relu)
            assert same_bits(by_side.conv_forward(x, W, b, place, relu, side, plus), alone)
        alone = kernels.add(by_side.conv_input_grad(dy, W, place, side), plus_x)
    assert same_bits(by_side.conv_input_grad(dy, W, place, side, plus_x), alone)
    masked = np.where(x > 0, alone, np.zeros_like(x))
    assert same_bits(by_side.conv_input_grad(dy, W, place, side, plus_x, x), masked)
    assert np.isfinite(alone[2]).all()
    assert not np.isfinite(alone[1]).all()


@pytest.mark.parametrize("algorithm", kernels.ALGORITHMS)
def test_every_algorithm_and_packed_weights(algorithm):
    x, W, b, dy, plus, plus_x, place = problem(3, np.float32)
    dx = kernels.conv_input_grad(dy, W, place, algorithm)
    for packed in (None, kernels.PackedWeights()):
        y = kernels.conv_forward(x, W, b, place, algorithm, False, packed)
        summed = kernels.conv_forward(x, W, b, place, algorithm, True, packed, plus)
        assert same_bits(summed, kernels.add(y, plus, True))
    sums = kernels.add(dx, plus_x)
    assert same_bits(kernels.conv_input_grad(dy, W, place, algorithm, plus_x), sums)
    assert same_bits(kernels.conv_input_grad(dy, W, place, algorithm, plus_x, x), kernels.relu_input_grad(x, sums))


def test_an_empty_batch():
    x, W, b, dy, plus, plus_x, place = problem(3, np.float32, n=0)
    for side in (0, 4):
        assert by_side.conv_forward(x, W, b, place, True, side, plus).shape == plus.shape
        assert by_side.conv_input_grad(dy, W, place, side, plus_x).shape == plus_x.shape


@pytest.mark.parametrize("relu", [False, True])
@by_turns("rows,channels", [(3001, 20), (150, 1100), (7, 3), (0, 4)])
def test_a_norm(rows, channels, relu, dtype):
    x, plus = draw((rows, channels), dtype, 0), draw((rows, channels), dtype, 1)
    gamma, beta = draw(channels, dtype, 2), draw(channels, dtype, 3)
    y, mean, _, scale = kernels.batch_norm(x, gamma, beta, 1e-5)
    assert same_bits(kernels.batch_norm(x, gamma, beta, 1e-5, relu, plus)[0], kernels.add(y, plus, relu))
    applied = kernels.batch_norm_apply(x, gamma, beta, mean, scale, relu, plus)
    assert same_bits(applied, kernels.add(y, plus, relu))


@pytest.mark.parametrize("on_batch", [True, False])
@by_turns("rows,channels", [(3001, 20), (150, 1100), (900, 64), (7, 3), (1, 5), (0, 4)])
def test_a_norm_and_the_gelu_after_it(rows, channels, on_batch, dtype):
    x, dy = draw((rows, channels), dtype, 0), draw((rows, channels), dtype, 1)
    gamma, beta = draw(channels, dtype, 2), draw(channels, dtype, 3)
    y, mean, _, scale = kernels.batch_norm(x, gamma, beta, 1e-5)
    assert same_bits(kernels.batch_norm(x, gamma, beta, 1e-5, gelu=True)[0], kernels.gelu(y))
    assert same_bits(kernels.batch_norm_apply(x, gamma, beta, mean, scale, gelu=True), kernels.gelu(y))
    results = []
    for delta, options in ((kernels.gelu_input_grad(y, dy), {}), (dy, {"gelu_beta": beta})):
        into = np.empty_like(gamma), np.empty_like(beta)
        dx = kernels.batch_norm_grad(x, delta, gamma, mean, scale, into=into, on_batch=on_batch, **options)
        results.append((dx, *into))
    for apart, joined in zip(*results, strict=True):
        assert same_bits(apart, joined)


def test_a_norm_ends_in_one_of_them():
    x, c = np.ones((4, 3), np.float32), np.ones(3, np.float32)
    with pytest.raises(ValueError, match="a norm ends in a ReLU or in a GELU, not in both"):
        kernels.batch_norm(x, c, c, 1e-5, relu=True, gelu=True)


def test_what_is_added_must_fit():
    x, W, b, dy, plus, _, place = problem(3, np.float32)
    for side in (0, 4):
        with pytest.raises(ValueError, match=r"plus must hold 12210 numbers of float32; got float32 \(2, 10, 11, 37\)"):
            by_side.conv_forward(x, W, b, place, False, side, plus[1:])
        with pytest.raises(ValueError, match="plus must hold 6600 numbers of float32; got float64"):
            by_side.conv_input_grad(dy, W, place, side, x.astype(np.float64))
    rows, c = np.ones((4, 3), np.float32), np.ones(3, np.float32)
    with pytest.raises(ValueError, match=r"plus must hold 12 numbers of float32; got float32 \(3,\)"):
        kernels.batch_norm(rows, c, c, 1e-5, False, c)
    with pytest.raises(ValueError, match=r"plus must hold 12 numbers of float32; got float32 \(3,\)"):
        kernels.batch_norm_apply(rows, c, c, c, c, False, c)


# The mask of a ReLU after a norm is computed again in the backward pass: it must be that of y, to the last bit


@both_dtypes
def test_the_mask_of_a_norm_where_y_is_all_but_zero(dtype):
    rows, channels = 8, 5000
    x, dy, gamma = draw((rows, channels), dtype, 0), draw((rows, channels), dtype, 1), draw(channels, dtype, 2)
    beta = -kernels.batch_norm(x, gamma, np.zeros(channels, dtype), 1e-5)[0][3]
    y, mean, _, scale = kernels.batch_norm(x, gamma, beta, 1e-5, True)
    assert np.abs(y[3]).max() < 100 * np.finfo(dtype).eps
    results = []
    for delta, relu_beta in ((dy, beta), (kernels.relu_input_grad(y, dy), None)):
        sums = np.empty_like(gamma), np.empty_like(beta)
        dx = kernels.batch_norm_grad(x, delta, gamma, mean, scale, into=sums, on_batch=True, relu_beta=relu_beta)
        results.append((dx, *sums))
    assert all(map(same_bits, *results))


@both_dtypes
def test_the_mask_of_a_group_norm_where_y_is_all_but_zero(dtype):
    channels = 4000
    x, dy, gamma = draw((1, 6, channels), dtype, 0), draw((1, 6, channels), dtype, 1), draw(channels, dtype, 2)
    beta = -kernels.group_norm(x, 10, gamma, np.zeros(channels, dtype), 1e-5)[0][0, 3]
    y, mean, scale = kernels.group_norm(x, 10, gamma, beta, 1e-5, True)
    assert np.abs(y[0, 3]).max() < 100 * np.finfo(dtype).eps
    results = []
    for delta, relu_beta in ((dy, beta), (kernels.relu_input_grad(y, dy), None)):
        sums = np.empty_like(gamma), np.empty_like(beta)
        dx = kernels.group_norm_grad(x, delta, 10, gamma, mean, scale, into=sums, relu_beta=relu_beta)
        results.append((dx, *sums))
    assert all(map(same_bits, *results))

"""Affine where W is large beside the batch: the products that read W once, where it lies."""

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import kernels
from tests.kernels.cases import draw
from tests.marks import by_turns, every_level

pytestmark = every_level
SHAPES = [(8192, 100), (6401, 37), (3205, 64), (8192, 257), (10_003, 10)]  # of W


def close(result, exact, terms):
    """To what the rounding of a sum of so many products, which grows as their root does, comes to."""
    np.testing.assert_allclose(result, exact, rtol=0, atol=2 * np.finfo(result.dtype).eps * (terms + 10))


@by_turns("d,m", SHAPES)
def test_few_rows_and_many(d, m, dtype):
    W, b = draw((d, m), dtype, 0), draw(m, dtype, 1)
    for n in (0, 1, 47, 60):
        x, dy = draw((n, d), dtype, 2), draw((n, m), dtype, 3)
        exact = x.astype(np.float64) @ W
        close(kernels.affine(x, W, None), exact, d)
        close(kernels.affine(x, W, b, True), np.maximum(exact + b, 0), d)
        close(kernels.affine_input_grad(dy, W), dy.astype(np.float64) @ W.T, m)
        dW = np.full_like(W, np.nan)
        kernels.affine_weight_grad(x, dy, dW)
        close(dW, x.T.astype(np.float64) @ dy, n)


@pytest.mark.parametrize(("d", "m"), [(8192, 100), (3205, 64)])
def test_the_bits_of_a_row_depend_on_nothing_else(d, m):
    x, W, b = draw((490, d), np.float32, 0), draw((d, m), np.float32, 1), draw(m, np.float32, 2)
    y = kernels.affine(x, W, b, True)
    for threads in (1, 2, 7):
        cl.set_num_threads(threads)
        for rows in (slice(0, 1), slice(3, 60), slice(39, 490), slice(489, 490)):
            part = kernels.affine(np.ascontiguousarray(x[rows]), W, b, True)
            assert part.tobytes() == y[rows].tobytes()


@pytest.mark.parametrize("relu", [False, True])
def test_numbers_that_are_not_finite_stay_in_their_row(relu):
    x, W = draw((60, 8192), np.float32, 0), draw((8192, 100), np.float32, 1)
    alone = kernels.affine(x, W, None, relu)
    x[7, 5000], x[9, 0] = np.nan, np.inf
    y = kernels.affine(x, W, None, relu)
    assert np.isnan(y[7]).all()
    np.testing.assert_array_equal(y[9], np.maximum(np.inf * W[0], 0) if relu else np.inf * W[0])
    rest = np.delete(np.arange(60), (7, 9))
    np.testing.assert_array_equal(y[rest], alone[rest])

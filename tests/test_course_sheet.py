"""The course sheet, problem by problem, with its own numbers, answered by the library.

UC Berkeley CS W182 discussion sheet. The sheet writes one sample as a column, z = W x + b with W of shape (k, d); the
library holds a batch of rows, z = x W + b with W of shape (d, k): its W is the transpose of the sheet's.
"""

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import reference


def built(layer, input_shape, **params):
    """A float64 layer with these parameters."""
    layer.build(input_shape, rng=0, dtype=np.float64)
    for name, value in params.items():
        layer.params[name] = value
    return layer


def as_signal(x):
    return np.array(x, float).reshape(1, -1, 1)


def conv1d(w, length, padding=0):
    """The library's Conv with the sheet's filter w in R^k, without bias, for signals of this length."""
    conv = cl.Conv(1, len(w), padding=padding, bias=False)
    return built(conv, (length, 1), W=np.reshape(w, (-1, 1, 1)))


@pytest.fixture
def regression():
    """Multiclass logistic regression: k = 4 classes, x in R^3, label y = 2."""
    rng = np.random.default_rng(182)
    W, b, x = rng.normal(size=(4, 3)), rng.normal(size=4), rng.normal(size=3)
    return W, b, x, 2


def softmax(z):
    return np.array([np.exp(zi) / sum(np.exp(zj) for zj in z) for zi in z])


def test_section_1_partial_derivatives_of_softmax(regression):
    """dp_i / dz_j = p_i (delta_ij - p_j), and log p_i has gradient e_i - p."""
    W, b, x, _ = regression
    z = W @ x + b
    p = softmax(z)
    layer = built(cl.Softmax(), (4,))
    np.testing.assert_allclose(layer.forward(z[np.newaxis])[0], p, rtol=1e-14)
    for i, e_i in enumerate(np.eye(4)):
        layer.forward(z[np.newaxis])
        gradient = layer.backward(e_i[np.newaxis])[0]  # of p_i with respect to z
        np.testing.assert_allclose(gradient, [p[i] * ((i == j) - p[j]) for j in range(4)], atol=1e-15)
        np.testing.assert_allclose(gradient, p[i] * (e_i - p), atol=1e-15)
        np.testing.assert_allclose(gradient / p[i], e_i - p, atol=1e-14)


def test_problem_1_gradient_with_respect_to_the_linear_layer(regression):
    """dL/db = p - e_y and dL/dW = (p - e_y) x^T, for L = -log p_y(W x + b)."""
    W, b, x, y = regression
    p, e_y = softmax(W @ x + b), np.eye(4)[y]
    affine, loss = built(cl.Affine(4), (3,), W=W.T, b=b), cl.SoftmaxLoss()

    assert loss.forward(affine.forward(x[np.newaxis]), np.array([y])) == pytest.approx(-np.log(p[y]))
    affine.backward(loss.backward())
    np.testing.assert_allclose(affine.grads["b"], p - e_y, atol=1e-15)
    np.testing.assert_allclose(affine.grads["W"].T, np.outer(p - e_y, x), atol=1e-15)


def test_problem_2_gradient_with_respect_to_the_input(regression):
    """dL/dx = -W^T grad log p_y(z) = W^T (p - e_y)."""
    W, b, x, y = regression
    p, e_y = softmax(W @ x + b), np.eye(4)[y]
    affine, loss = built(cl.Affine(4), (3,), W=W.T, b=b), cl.SoftmaxLoss()

    loss.forward(affine.forward(x[np.newaxis]), np.array([y]))
    dx = affine.backward(loss.backward())
    np.testing.assert_allclose(dx[0], W.T @ (p - e_y), atol=1e-15)
    np.testing.assert_allclose(dx[0], [sum((p - e_y)[i] * W[i, j] for i in range(4)) for j in range(3)], atol=1e-15)


def test_problem_3_gradient_through_a_skip_connection():
    """y = W2 relu(W1 x) + x has dL/dx = W1^T R(W1 x) W2^T delta_y + delta_y."""
    rng = np.random.default_rng(3)
    W1, W2, x, delta_y = rng.normal(size=(5, 3)), rng.normal(size=(3, 5)), rng.normal(size=3), rng.normal(size=3)
    R = np.diag(W1 @ x > 0).astype(float)
    assert 0 < R.trace() < 5  # the ReLU lets some through and stops some

    block = cl.Residual([cl.Affine(5, bias=False), cl.ReLU(), cl.Affine(3, bias=False)])
    block.build((3,), rng=0, dtype=np.float64)
    block.params["body.0.W"], block.params["body.2.W"] = W1.T, W2.T

    np.testing.assert_allclose(block.forward(x[np.newaxis])[0], W2 @ np.maximum(W1 @ x, 0) + x)
    dx = block.backward(delta_y[np.newaxis])[0]
    np.testing.assert_allclose(dx, W1.T @ R @ W2.T @ delta_y + delta_y)
    # Its two ways: the body alone, and the shortcut alone.
    body = block.copy().body
    body.forward(x[np.newaxis])
    np.testing.assert_allclose(dx - body.backward(delta_y[np.newaxis])[0], delta_y)


@pytest.mark.parametrize(("n", "k", "s"), [(10, 3, 1), (10, 3, 2), (7, 4, 3), (5, 5, 1)])
def test_section_2_1_the_sliding_dot_product(n, k, s):
    """The output's entries are w . x[0:k], w . x[s:k+s], w . x[2s:k+2s], ... until x runs out; n - k + 1 for stride 1.

    (The sheet writes x[0:k-1] with the end counted in; Python's slices leave it out.)
    """
    rng = np.random.default_rng(n)
    x, w = rng.normal(size=n), rng.normal(size=k)
    conv = built(cl.Conv(1, k, stride=s, bias=False), (n, 1), W=w.reshape(k, 1, 1))
    y = conv.forward(as_signal(x)).ravel()

    assert y[0] == pytest.approx(w @ x[0:k])
    np.testing.assert_allclose(y, [w @ x[start : k + start] for start in range(0, n - k + 1, s)])
    np.testing.assert_array_equal(cl.im2col(as_signal(x), k, s), [x[i : i + k] for i in range(0, n - k + 1, s)])
    if s == 1:
        assert y.size == n - k + 1
        np.testing.assert_allclose(y, [sum(w[i] * x[i + o] for i in range(k)) for o in range(n - k + 1)])


def test_section_2_1_zero_padding_keeps_the_size():
    assert cl.Conv(1, 3, padding=1).output_shape((10, 1)) == (10, 1)
    assert cl.Conv(1, 3, padding="same").output_shape((10, 1)) == (10, 1)


def test_problem_4_1_a_5x5x3_filter_on_a_32x32x3_image():
    assert cl.Conv(1, 5).build((32, 32, 3)) == (28, 28, 1)


def test_problem_4_2_padding_by_2_preserves_the_size():
    assert cl.Conv(1, 5, padding=2).build((32, 32, 3)) == (32, 32, 1)


def test_problem_4_3_ten_filters_and_their_parameters():
    without_bias = cl.Conv(10, 5, padding=2, bias=False)
    assert without_bias.build((32, 32, 3), rng=0) == (32, 32, 10)
    assert without_bias.params["W"].shape == (5, 5, 3, 10)
    assert without_bias.params["W"][..., 0].size == 75  # per filter
    assert without_bias.flat_params.size == 750

    with_bias = cl.Conv(10, 5, padding=2)
    assert with_bias.build((32, 32, 3), rng=0) == (32, 32, 10)
    assert with_bias.flat_params.size == 760
    assert with_bias.forward(np.ones((2, 32, 32, 3))).shape == (2, 32, 32, 10)


def test_problem_4_4_a_1x1_convolution_is_a_linear_map_of_the_channels():
    conv = built(cl.Conv(7, 1), (32, 32, 3), b=np.arange(7))
    x = np.random.default_rng(4).normal(size=(2, 32, 32, 3))
    y = conv.forward(x)
    assert y.shape == (2, 32, 32, 7)
    affine = built(cl.Affine(7), (3,), W=conv.params["W"][0, 0], b=conv.params["b"])
    np.testing.assert_allclose(y[:, 10, 20], affine.forward(x[:, 10, 20]))
    np.testing.assert_allclose(y.reshape(-1, 7), affine.forward(x.reshape(-1, 3)))


def test_problem_5_convolution_as_a_matrix():
    """The sheet's 4 x 6 matrix for w in R^3 and x in R^4 padded by 1 on each end."""
    w1, w2, w3 = w = [2.0, 3.0, 5.0]
    x1, x2, x3, x4 = x = [7.0, 11.0, 13.0, 17.0]
    W = reference.convolution_matrix(w, length=4, padding=1)
    assert W.tolist() == [
        [w1, w2, w3, 0, 0, 0],
        [0, w1, w2, w3, 0, 0],
        [0, 0, w1, w2, w3, 0],
        [0, 0, 0, w1, w2, w3],
    ]
    y = [x1 * w2 + x2 * w3, x1 * w1 + x2 * w2 + x3 * w3, x2 * w1 + x3 * w2 + x4 * w3, x3 * w1 + x4 * w2]
    padded = np.array([0, *x, 0])
    assert (W @ padded).tolist() == y
    assert (W[:, 1:5] @ x).tolist() == y  # without the columns of the padding
    # im2col is the same product the other way round: patches as a matrix, w as a vector. Conv is both.
    assert (cl.im2col(as_signal(x), 3, padding=1) @ w).tolist() == y
    assert conv1d(w, 4, padding=1).forward(as_signal(x)).ravel().tolist() == y


def test_problem_5_the_matrix_is_sparse_and_reuses_its_weights():
    W = reference.convolution_matrix([1, 2, 3], length=100, padding=1)
    assert W.shape == (100, 102)
    assert np.count_nonzero(W) == 3 * 100  # 3 of 102 in each row
    assert [np.count_nonzero(weight == W) for weight in (1, 2, 3)] == [100, 100, 100]


def test_problem_5_the_transpose_carries_the_gradient():
    rng = np.random.default_rng(5)
    w, x, delta = rng.normal(size=3), rng.normal(size=4), rng.normal(size=4)
    conv = conv1d(w, 4, padding=1)
    conv.forward(as_signal(x))
    dx = conv.backward(as_signal(delta)).ravel()
    np.testing.assert_allclose(dx, reference.convolution_matrix(w, 4, padding=1)[:, 1:5].T @ delta)


def test_problem_6_gradient_with_respect_to_x_is_a_convolution():
    """dL/dx = delta zero-padded by 2 on each end, convolved with w reversed."""
    w1, w2, w3 = w = [2.0, 3.0, 5.0]
    d1, d2 = delta = [7.0, 11.0]
    conv = conv1d(w, 4)
    assert conv.forward(as_signal([1, 2, 3, 4])).shape == (1, 2, 1)
    dx = conv.backward(as_signal(delta)).ravel().tolist()

    assert dx == [w1 * d1, w2 * d1 + w1 * d2, w3 * d1 + w2 * d2, w3 * d2]
    assert dx == conv1d(w[::-1], 2, padding=2).forward(as_signal(delta)).ravel().tolist()


def test_problem_6_gradient_with_respect_to_w_is_a_convolution():
    """dL/dw = x convolved with delta, without padding."""
    x1, x2, x3, x4 = x = [13.0, 17.0, 19.0, 23.0]
    d1, d2 = delta = [7.0, 11.0]
    conv = conv1d([2.0, 3.0, 5.0], 4)
    conv.forward(as_signal(x))
    conv.backward(as_signal(delta))
    dw = conv.grads["W"].ravel().tolist()

    assert dw == [d1 * x1 + d2 * x2, d1 * x2 + d2 * x3, d1 * x3 + d2 * x4]
    assert dw == conv1d(delta, 4).forward(as_signal(x)).ravel().tolist()

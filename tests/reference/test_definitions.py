"""The oracle itself, by hand: small numbers that can be checked on paper, and the errors."""

import numpy as np
import pytest

from cnnlayers import reference


def signal(*values):
    return np.array(values, float).reshape(1, -1, 1)


def image(rows):
    return np.array(rows, float)[np.newaxis, ..., np.newaxis]


THREE = image([[1, 2, 3], [4, 5, 6], [7, 8, 9]])


# Patches


def test_im2col_of_an_image_by_hand():
    cols = reference.im2col(THREE, (2, 1), (1, 2))  # two rows high, one wide; columns 0 and 2
    assert cols.tolist() == [[1, 4], [3, 6], [4, 7], [6, 9]]


def test_im2col_with_holes_and_a_padded_side_by_hand():
    cols = reference.im2col(signal(1, 2, 3, 4), 2, padding=[(1, 0)], dilation=2)
    assert cols.tolist() == [[0, 2], [1, 3], [2, 4]]


def test_im2col_keeps_the_channels_of_a_pixel_together():
    x = np.arange(6.0).reshape(1, 3, 2)
    assert reference.im2col(x, 2).tolist() == [[0, 1, 2, 3], [2, 3, 4, 5]]


def test_col2im_by_hand():
    cols = np.array([[1, 2], [10, 20], [100, 200]])
    assert reference.col2im(cols, (1, 4, 1), 2).ravel().tolist() == [1, 12, 120, 200]
    dx = reference.col2im(np.ones((4, 4)), (1, 3, 3, 1), 2)
    assert dx[0, :, :, 0].tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]


def test_col2im_is_the_transpose_of_im2col():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 5, 6, 3))
    args = ((2, 3), (2, 1), ((1, 0), (0, 2)), (1, 2))
    cols = reference.im2col(x, *args)
    c = rng.normal(size=cols.shape)
    assert np.vdot(cols, c) == pytest.approx(np.vdot(x, reference.col2im(c, x.shape, *args)))


@pytest.mark.parametrize("n", [0, 2])
def test_shapes_of_a_batch(n):
    x = np.zeros((n, 5, 4, 3))
    assert reference.im2col(x, (3, 2)).shape == (n * 9, 18)
    assert reference.col2im(np.zeros((n * 9, 18)), x.shape, (3, 2)).shape == x.shape
    assert reference.conv_forward(x, np.zeros((3, 2, 3, 7))).shape == (n, 3, 3, 7)
    assert reference.max_pool(x, 2).shape == reference.avg_pool(x, 2).shape == (n, 2, 2, 3)


# Convolution


def test_conv_of_an_image_by_hand():
    w = np.array([[1, 10], [100, 1000]]).reshape(2, 2, 1, 1)
    y = reference.conv_forward(THREE, w, b=[0.5])
    assert y[0, :, :, 0].tolist() == [[5421.5, 6532.5], [8754.5, 9865.5]]


def test_conv_sums_over_channels_for_each_filter():
    x = np.array([[[1.0, 2.0]]])  # one pixel, two channels
    W = np.array([[[1.0, 10.0, 100.0], [2.0, 20.0, 200.0]]])
    assert reference.conv_forward(x, W).ravel().tolist() == [5, 50, 500]


def test_groups_read_their_own_channels_alone():
    x = np.array([[[1.0, 10.0]]])
    W = np.array([[[2.0, 3.0]]])  # two groups: one channel in, one filter out
    assert reference.conv_forward(x, W, groups=2).ravel().tolist() == [2, 30]
    dx, dW, db = reference.conv_backward(x, W, np.array([[[5.0, 7.0]]]), groups=2)
    assert (dx.ravel().tolist(), dW.ravel().tolist(), db.tolist()) == ([10, 21], [5, 70], [5, 7])


@pytest.mark.parametrize(
    ("x_shape", "W_shape", "options"),
    [
        ((2, 5, 4, 2), (3, 2, 2, 3), {"stride": (2, 1), "padding": ((1, 0), (0, 2)), "dilation": (1, 2)}),
        ((2, 7, 4), (3, 2, 6), {"stride": 3, "padding": "same", "dilation": 2, "groups": 2}),
    ],
)
def test_conv_backward_against_numeric_gradients(x_shape, W_shape, options):
    rng = np.random.default_rng(1)
    x, W, b = rng.normal(size=x_shape), rng.normal(size=W_shape), rng.normal(size=W_shape[-1])
    dy = rng.normal(size=reference.conv_forward(x, W, b, **options).shape)
    for array, grad in zip((x, W, b), reference.conv_backward(x, W, dy, **options), strict=True):
        for i in rng.choice(array.size, size=min(array.size, 12), replace=False):
            old, losses = array.flat[i], []
            for value in (old + 1e-3, old - 1e-3):
                array.flat[i] = value
                losses.append(np.vdot(reference.conv_forward(x, W, b, **options), dy))
            array.flat[i] = old
            assert grad.flat[i] == pytest.approx((losses[0] - losses[1]) / 2e-3, abs=1e-9)


def test_a_transposed_convolution_is_a_convolutions_backward_pass():
    """With y in the place of dx, and x in that of dy: Problem 6, read the other way round."""
    rng = np.random.default_rng(6)
    x, W, slide = rng.normal(size=(2, 3, 4, 4)), rng.normal(size=(3, 2, 3, 4)), {"stride": 2, "groups": 2}
    y = reference.conv_transpose(x, W, **slide)
    assert y.shape == (2, 7, 8, 6)
    dy = rng.normal(size=y.shape)
    expected_y, expected_dW, _ = reference.conv_backward(dy, W, x, **slide)
    np.testing.assert_allclose(y, expected_y, rtol=1e-12, atol=1e-12)
    dx, dW, db = reference.transposed.conv_transpose_backward(x, W, dy, **slide)
    np.testing.assert_allclose(dx, reference.conv_forward(dy, W, **slide), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dW, expected_dW, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(db, dy.sum(axis=(0, 1, 2)), rtol=1e-12)


# Pools


def test_max_pool_of_an_image_by_hand():
    x = image([[1, 5, 2, 0], [3, 4, 8, 7], [9, 1, 6, 6]])
    assert reference.max_pool(x, 2)[0, :, :, 0].tolist() == [[5, 8]]
    assert reference.max_pool(x, 2, ceil_mode=True)[0, :, :, 0].tolist() == [[5, 8], [9, 6]]
    assert reference.max_pool(x, (1, 3), 1)[0, :, :, 0].tolist() == [[5, 5], [8, 8], [9, 6]]


def test_max_pool_ties_nan_and_padding():
    dy = signal(1)
    assert reference.max_pool_backward(signal(2, 7, 7), dy, 3).ravel().tolist() == [0, 1, 0]
    assert np.isnan(reference.max_pool(signal(9, np.nan, 3, np.nan), 4)).all()
    assert reference.max_pool_backward(signal(9, np.nan, 3, np.nan), dy, 4).ravel().tolist() == [0, 1, 0, 0]
    assert reference.max_pool(signal(-1, -2), 2, padding=1).ravel().tolist() == [-1, -2]  # padding is not a 0 here
    assert reference.max_pool(signal(-np.inf, -np.inf), 2, padding=1).ravel().tolist() == [-np.inf, -np.inf]
    assert reference.max_pool_backward(image([[5, 1], [1, 5]]), image([[3]]), 2).ravel().tolist() == [3, 0, 0, 0]


def test_avg_pool_counts():
    x = signal(6, 12, 18)
    assert reference.avg_pool(x, 2, padding=1).ravel().tolist() == [6, 15]
    assert reference.avg_pool(x, 2, padding=1, count_include_pad=True).ravel().tolist() == [3, 15]
    # The last window (18, overhang) has one pixel, whether padding counts or not.
    for counts in (False, True):
        assert reference.avg_pool(x, 2, ceil_mode=True, count_include_pad=counts).ravel().tolist() == [9, 18]
    assert reference.avg_pool_backward(x, signal(4, 8), 2, ceil_mode=True).ravel().tolist() == [2, 2, 8]


def test_a_pool_window_without_a_pixel_is_an_error():
    with pytest.raises(ValueError, match="every window of a pool must hold a pixel"):
        reference.max_pool(signal(1, 2), 1, padding=1)


# The matrix


def test_the_matrix_of_a_signal():
    assert reference.convolution_matrix([1, 2], 3).tolist() == [[1, 2, 0], [0, 1, 2]]
    assert reference.convolution_matrix([1, 2], 5, stride=2).tolist() == [[1, 2, 0, 0, 0], [0, 0, 1, 2, 0]]
    assert reference.convolution_matrix([1, 2], 2, padding="same").tolist() == [[1, 2, 0], [0, 1, 2]]
    assert reference.convolution_matrix([1, 2], 2, padding=[(1, 0)]).tolist() == [[1, 2, 0], [0, 1, 2]]
    assert reference.convolution_matrix([1.5], 2).dtype == np.float64


def test_the_matrix_of_an_image_is_its_convolution_and_its_transpose_the_gradient():
    rng = np.random.default_rng(2)
    x, w = rng.normal(size=(5, 4)), rng.normal(size=(3, 2))
    (top, bottom), (left, right) = padding = ((1, 0), (2, 1))
    M = reference.convolution_matrix_2d(w, x.shape, (2, 1), padding)
    y = reference.conv_forward(image(x), w.reshape(3, 2, 1, 1), None, (2, 1), padding)
    np.testing.assert_allclose(M @ np.pad(x, padding).ravel(), y.ravel())

    on_x = M.reshape(-1, 5 + top + bottom, 4 + left + right)[:, top : top + 5, left : left + 4].reshape(-1, 20)
    np.testing.assert_allclose(on_x @ x.ravel(), y.ravel())
    dy = rng.normal(size=y.shape)
    dx, _, _ = reference.conv_backward(image(x), w.reshape(3, 2, 1, 1), dy, (2, 1), padding)
    np.testing.assert_allclose(on_x.T @ dy.ravel(), dx.ravel())


def test_the_matrix_is_sparse_and_reuses_its_weights():
    w = np.arange(1, 10).reshape(3, 3)
    M = reference.convolution_matrix_2d(w, (10, 12))
    assert M.shape == (80, 120)
    assert np.count_nonzero(M) == 80 * 9  # 9 of 120 entries in each row
    assert all(np.count_nonzero(weight == M) == 80 for weight in w.ravel())


# Errors


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: reference.im2col(np.zeros((3, 4)), 1), ValueError, r"needs images .* got shape \(3, 4\)"),
        (lambda: reference.im2col(signal(1, 2), 3), ValueError, "a kernel of 3 with dilation 1 does not fit in 2"),
        (lambda: reference.im2col(signal(1, 2), 0), ValueError, "kernel must be 1 or more; got 0"),
        (lambda: reference.im2col(signal(1, 2), True), TypeError, "kernel must be an int; got True"),
        (lambda: reference.im2col(signal(1, 2), (1, 2)), ValueError, r"kernel must be an int or 1 ints; got \(1, 2\)"),
        (lambda: reference.im2col(signal(1, 2), 1, padding=-1), ValueError, "padding must be 0 or more; got -1"),
        (lambda: reference.im2col(signal(1, 2), 1, padding="full"), ValueError, 'padding must be "valid", "same"'),
        (lambda: reference.im2col(signal(1, 2), 1, padding=(1, 2)), ValueError, "padding must be one int or"),
        (lambda: reference.conv_forward(signal(1, 2), np.zeros((1, 2, 3))), ValueError, "do not fit 1 groups"),
        (lambda: reference.convolution_matrix([[1]], 3), ValueError, "a kernel with 1 axes; got shape"),
        (lambda: reference.convolution_matrix_2d([1], (3, 3)), ValueError, "a kernel with 2 axes; got shape"),
        (lambda: reference.col2im(np.zeros((1, 1)), (4, 1), 1), ValueError, "a window slides over images"),
    ],
)
def test_errors(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


# Loss


def test_softmax_loss_by_hand():
    loss, dscores = reference.softmax_loss(np.log([[1.0, 3.0], [1.0, 1.0]]), [1, 0])
    assert loss == pytest.approx((np.log(4 / 3) + np.log(2)) / 2, rel=1e-14)
    np.testing.assert_allclose(dscores, [[1 / 8, -1 / 8], [-1 / 4, 1 / 4]], rtol=1e-14)
    assert reference.softmax_loss([[1000, 0]], [0]) == (0, pytest.approx(np.zeros((1, 2))))

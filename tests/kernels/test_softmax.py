import numpy as np
import pytest

from cnnlayers import reference
from cnnlayers.kernels import softmax


def test_by_hand():
    z = np.log([[1.0, 2.0, 5.0], [3.0, 3.0, 2.0]])
    np.testing.assert_allclose(softmax(z), [[0.125, 0.25, 0.625], [0.375, 0.375, 0.25]], rtol=1e-15)


@pytest.mark.parametrize("shape", [(7,), (4, 7), (2, 3, 5, 7)])
def test_along_the_last_axis(shape):
    z = np.random.default_rng(0).normal(size=shape, scale=3)
    p = softmax(z)
    np.testing.assert_allclose(p, reference.softmax.softmax(z), rtol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_scores_do_not_overflow(dtype):
    big = np.finfo(dtype).max
    np.testing.assert_array_equal(softmax(np.array([big, -big, 0], dtype)), [1, 0, 0])
    np.testing.assert_array_equal(softmax(np.array([-big, -big], dtype)), [0.5, 0.5])


def test_nan_and_inf_pass_without_a_warning():
    assert np.isnan(softmax(np.array([1, np.nan]))).all()
    assert np.isnan(softmax(np.array([1, np.inf]))).all()
    assert np.isnan(softmax(np.array([-np.inf, -np.inf]))).all()
    np.testing.assert_array_equal(softmax(np.array([0, -np.inf])), [1, 0])


def test_dtype_and_input():
    for given, result in [("f4", "f4"), ("f8", "f8"), (">f4", "f4"), ("f2", "f4"), ("u1", "f4")]:
        z = np.array([[1, 2], [3, 4]], given)
        z.setflags(write=False)
        assert softmax(z).dtype == result
    assert softmax(np.zeros((0, 3))).shape == (0, 3)


def test_errors():
    with pytest.raises(ValueError, match=r"softmax needs at least one score along the last axis; got shape \(3, 0\)"):
        softmax(np.zeros((3, 0)))
    with pytest.raises(ValueError, match=r"softmax needs at least one score along the last axis; got shape \(\)"):
        softmax(np.float64(1))
    with pytest.raises(TypeError, match=r"softmax needs real scores; got dtype complex128"):
        softmax(np.zeros((3, 2), complex))

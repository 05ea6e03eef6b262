"""All of scikit-learn's own checks of estimators: none is expected to fail, none is skipped."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

import cnnlayers as cl
from cnnlayers.sklearn import CNNClassifier, CNNRegressor


@pytest.fixture(autouse=True)
def _the_check_of_other_array_libraries_is_not_skipped(monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")


@parametrize_with_checks([CNNClassifier(), CNNRegressor()])
def test_as_they_come(estimator, check):
    check(estimator)


class ConvNet:
    """With what depends on the batch and what draws random numbers.

    The name of a test has its `repr`, so that each process of pytest-xdist finds the same names.
    """

    def __call__(self, shape, outputs):
        return [
            *(cl.Reshape((*shape, 1)), cl.Conv(8, 3, padding="same"), cl.BatchNorm(), cl.ReLU(), cl.Dropout(0.1)),
            *(cl.Flatten(), cl.Affine(outputs)),
        ]

    def __repr__(self):
        return "ConvNet()"


@parametrize_with_checks(
    [
        CNNClassifier(ConvNet(), batch_size=8, epochs=10, learning_rate=0.01),
        CNNRegressor("mlp", optimizer="sgd", batch_size=8, epochs=10, dtype="float64"),
    ]
)
def test_with_other_options(estimator, check):
    """Weights are as good as copies in batches much smaller than the data too, and with BatchNorm and Dropout."""
    check(estimator)

"""Nets as estimators of scikit-learn: for its pipelines, searches and cross-validation.

    pip install "cnnlayers[sklearn]"

    from cnnlayers.sklearn import CNNClassifier

    classifier = CNNClassifier(image_shape=(8, 8, 1), random_state=0).fit(X, y)  # X (N, 64), as load_digits() gives it

`import cnnlayers` does not import this, nor scikit-learn.
"""

try:
    import sklearn  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "sklearn":
        raise
    raise ImportError('cnnlayers.sklearn needs scikit-learn: pip install "cnnlayers[sklearn]"') from error

from .classifier import CNNClassifier
from .regressor import CNNRegressor

__all__ = ["CNNClassifier", "CNNRegressor"]

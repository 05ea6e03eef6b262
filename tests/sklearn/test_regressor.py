"""CNNRegressor: what scikit-learn's own checks do not ask."""

import pickle

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import cnnlayers as cl
from cnnlayers.sklearn import CNNRegressor

X, Y = load_diabetes(return_X_y=True)


def regressor(**options):
    return CNNRegressor(**{"epochs": 10, "random_state": 0} | options)


def test_targets_of_any_scale_are_learnt():
    scores = [cross_val_score(regressor(), X, scale * Y + shift, cv=3).mean() for scale, shift in ((1, 0), (1e6, 1e9))]
    assert scores[0] > 0.4
    assert scores[1] == pytest.approx(scores[0], abs=0.03)


def test_the_net_gives_scaled_targets():
    found = regressor().fit(X, Y)
    assert found.predict(X).dtype == np.float64
    np.testing.assert_allclose(found.predict(X), found.net_.predict(X)[:, 0] * Y.std() + Y.mean())


def test_without_normalize_neither_samples_nor_targets_are_scaled():
    found = regressor(normalize=False).fit(X, Y / 100)
    assert not any(isinstance(layer, cl.Normalize) for layer in found.net_.layers)
    np.testing.assert_allclose(found.predict(X), found.net_.predict(X)[:, 0], rtol=1e-6)


def test_y_comes_back_in_the_shape_that_it_had():
    both = np.stack([Y, -2 * Y], axis=1)
    found = regressor().fit(X, both)
    assert found.predict(X).shape == both.shape
    np.testing.assert_allclose(found.predict(X)[:, 1].mean(), -2 * Y.mean(), rtol=0.2)
    assert found.score(X, both) > 0.3
    assert regressor().fit(X, Y[:, None]).predict(X).shape == (len(X), 1)


def test_a_weight_is_as_good_as_copies_to_the_bit():
    weights = np.random.default_rng(0).integers(0, 4, len(X))
    a, b = regressor(epochs=2).fit(X, Y, weights), regressor(epochs=2).fit(X.repeat(weights, 0), Y.repeat(weights))
    np.testing.assert_array_equal(a.predict(X), b.predict(X))


def test_images():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 36))
    found = CNNRegressor(
        lambda shape, outputs: [cl.Conv(4, 3), cl.ReLU(), cl.Flatten(), cl.Affine(outputs)], image_shape=(6, 6, 1)
    )
    assert (
        found.set_params(random_state=0).fit(rows, rows[:, :6].sum(axis=1)).score(rows, rows[:, :6].sum(axis=1)) > 0.8
    )


def test_partial_fit_and_warm_start_go_on():
    a, b = regressor(), regressor(epochs=1, warm_start=True)
    for _ in range(3):
        a.partial_fit(X, Y)
        b.fit(X, Y)
    np.testing.assert_array_equal(a.predict(X), b.predict(X))
    np.testing.assert_array_equal(a.predict(X), regressor(epochs=3).fit(X, Y).predict(X))
    with pytest.raises(
        ValueError, match=r"CNNRegressor needs y of shape \(N,\), as in the first training; got \(442, 2\)"
    ):
        a.partial_fit(X, np.stack([Y, Y], axis=1))


def test_early_stopping():
    found = regressor(early_stopping=True, epochs=300, n_iter_no_change=3).fit(X, Y)
    assert 3 < found.n_iter_ < 300


def test_in_a_search_and_a_pickle():
    pipeline = make_pipeline(StandardScaler(), regressor(epochs=2))
    search = GridSearchCV(pipeline, {"cnnregressor__batch_size": [16, 442]}, cv=2).fit(X, Y)
    again = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(again.predict(X), search.predict(X))

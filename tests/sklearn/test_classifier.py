"""CNNClassifier: what scikit-learn's own checks do not ask."""

import os
import pickle
import signal
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import cnnlayers as cl
from cnnlayers.sklearn import CNNClassifier

X, Y = load_digits(return_X_y=True)
TRAIN, TEST = slice(0, 600), slice(600, 1000)
IRIS = load_iris(return_X_y=True)


class Twice(cl.Layer):
    """A layer that no file can name."""

    def forward(self, x, train=True):
        return 2 * x

    def backward(self, dy, input_grad=True):
        return 2 * dy


def small(shape, outputs):
    return [cl.Conv(8, 3), cl.ReLU(), Twice(), cl.Dropout(0.1), cl.MaxPool(2), cl.Flatten(), cl.Affine(outputs)]


def digits(**options):
    return CNNClassifier(
        **{"architecture": small, "image_shape": (8, 8, 1), "epochs": 4, "learning_rate": 0.02, "random_state": 0}
        | options
    )


@pytest.fixture(scope="module")
def trained():
    return digits().fit(X[TRAIN], Y[TRAIN])


# Samples


def test_it_learns_digits_from_flat_rows(trained):
    assert trained.score(X[TEST], Y[TEST]) > 0.8
    assert trained.input_shape_ == (8, 8, 1)
    assert trained.n_features_in_ == 64
    assert trained.net_.classes == tuple("0123456789")


@pytest.mark.parametrize("shape", [(8, 8, 1), (8, 8)])
def test_images_are_taken_as_they_are_too(trained, shape):
    images = X.reshape(-1, *shape)
    again = digits().fit(images[TRAIN], Y[TRAIN])
    np.testing.assert_array_equal(again.net_.flat_params, trained.net_.flat_params)
    np.testing.assert_array_equal(again.predict_proba(images[TEST]), trained.predict_proba(X[TEST]))
    np.testing.assert_array_equal(again.predict(images[TEST].tolist()), trained.predict(X[TEST]))


def test_without_image_shape_samples_have_the_shape_in_which_they_come():
    images = X[TRAIN].reshape(-1, 8, 8, 1)
    assert digits(image_shape=None, epochs=1).fit(images, Y[TRAIN]).input_shape_ == (8, 8, 1)
    signals = X[TRAIN].reshape(-1, 16, 4)
    assert CNNClassifier(lambda shape, outputs: [cl.GlobalAvgPool(), cl.Affine(outputs)], epochs=1).fit(
        signals, Y[TRAIN]
    ).input_shape_ == (16, 4)


def test_bytes_stay_bytes_and_give_what_floats_give(trained):
    again = digits().fit(X[TRAIN].astype(np.uint8), Y[TRAIN])
    assert again.score(X[TEST], Y[TEST]) == again.score(X[TEST].astype(np.uint8), Y[TEST])


def test_samples_of_another_shape_are_refused(trained):
    with pytest.raises(ValueError, match=r"image_shape=\(8, 8, 3\) needs samples of 192 numbers; X has 64 features"):
        digits(image_shape=(8, 8, 3)).fit(X[TRAIN], Y[TRAIN])
    with pytest.raises(
        ValueError, match=r"CNNClassifier needs samples \(N, 8, 8, 1\), or flat rows; got \(N, 1, 8, 8\): chan"
    ):
        trained.predict(X.reshape(-1, 1, 8, 8))
    with pytest.raises(ValueError, match=r"or flat rows; got \(N, 16, 4\)"):
        digits().fit(X[TRAIN].reshape(-1, 16, 4), Y[TRAIN])
    with pytest.raises(ValueError, match="X has 63 features, but CNNClassifier is expecting 64"):
        trained.predict(X[:, 1:])
    with pytest.raises(TypeError, match="image_shape"):
        digits(image_shape=64).fit(X[TRAIN], Y[TRAIN])


def test_labels_may_be_text_and_features_may_have_names():
    frame, names = pd.DataFrame(IRIS[0], columns=list("abcd")), np.array(["x", "yy", "zzz"], object)[IRIS[1]]
    classifier = CNNClassifier(random_state=0).fit(frame, names)
    assert classifier.feature_names_in_.tolist() == list("abcd")
    assert classifier.classes_.tolist() == ["x", "yy", "zzz"]
    assert classifier.net_.classes == ("x", "yy", "zzz")
    assert set(classifier.predict(frame)) == {"x", "yy", "zzz"}
    assert classifier.score(frame, names) > 0.9
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(frame[list("dcba")])


# Weights


def same(a, b):
    np.testing.assert_array_equal(a.net_.flat_params, b.net_.flat_params)
    np.testing.assert_array_equal(a.net_.flat_state, b.net_.flat_state)


def test_a_weight_is_as_good_as_copies_in_any_order_to_the_bit():
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 4, 300)
    copies = rng.permutation(np.repeat(np.arange(300), weights))
    weighted = digits(epochs=2).fit(X[:300], Y[:300], sample_weight=weights)
    same(weighted, digits(epochs=2).fit(X[copies], Y[copies]))
    same(weighted, digits(epochs=2).fit(X[:300], Y[:300], sample_weight=7 * weights))


def test_a_class_without_weight_is_not_there():
    classifier = digits(epochs=1).fit(X[TRAIN], Y[TRAIN], sample_weight=Y[TRAIN] < 5)
    same(classifier, digits(epochs=1).fit(X[TRAIN][Y[TRAIN] < 5], Y[TRAIN][Y[TRAIN] < 5]))
    assert classifier.classes_.tolist() == [0, 1, 2, 3, 4]


def test_class_weights_are_weights_of_samples():
    given = {c: 1 + c for c in range(10)}
    same(
        digits(epochs=2, class_weight=given, normalize=False).fit(X[:300], Y[:300]),
        digits(epochs=2, normalize=False).fit(X[:300], Y[:300], sample_weight=1 + Y[:300]),
    )


def test_balanced_gives_a_rare_class_its_due():
    rng = np.random.default_rng(0)
    y = (np.arange(400) >= 380).astype(int)  # 20 of 400
    x = rng.normal(size=(400, 2)) + 1.5 * y[:, None]
    found = {
        w: CNNClassifier(class_weight=w, epochs=20, random_state=0).fit(x, y).predict(x) for w in (None, "balanced")
    }
    recall = {w: predicted[y == 1].mean() for w, predicted in found.items()}
    assert recall["balanced"] > recall[None] + 0.2
    numbers = {0: 400 / (2 * 380), 1: 400 / (2 * 20)}
    by_numbers = CNNClassifier(class_weight=numbers, epochs=20, random_state=0).fit(x, y)
    np.testing.assert_array_equal(by_numbers.predict(x), found["balanced"])


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ("even", "class_weight must be a dict, \"balanced\" or None; got 'even'"),
        ({0: -1}, "class_weight must be finite and at least 0"),
        (dict.fromkeys(range(10), 0), "must not all be zero"),
        ({77: 1}, "77|class_weight"),
    ],
)
def test_class_weights_that_are_none_are_refused(weight, message):
    with pytest.raises(ValueError, match=message):
        digits(class_weight=weight).fit(X[TRAIN], Y[TRAIN])


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="needs samples of two classes or more; got one class: 3"):
        digits().fit(X[:5], [3] * 5)


# Going on


def test_warm_start_goes_on_with_weights_optimiser_and_random_numbers():
    whole = digits(epochs=2).fit(X[TRAIN], Y[TRAIN])
    parts = digits(epochs=1, warm_start=True).fit(X[TRAIN], Y[TRAIN])
    first = parts.loss_curve_[0]
    parts = pickle.loads(pickle.dumps(parts)).fit(X[TRAIN], Y[TRAIN])
    same(parts, whole)
    assert parts.loss_curve_ == whole.loss_curve_
    assert (parts.n_iter_, parts.loss_curve_[0], len(parts.history_)) == (2, first, 1)


def test_warm_start_takes_other_options_and_refuses_other_classes():
    classifier = digits(epochs=1, warm_start=True).fit(X[TRAIN], Y[TRAIN])
    classifier.set_params(optimizer=cl.SGD(lr=0.001), learning_rate=None).fit(X[TRAIN], Y[TRAIN])
    assert classifier.history_["lr"] == [0.001]
    with pytest.raises(ValueError, match=r"y must hold the classes .* those of the first training; got 10"):
        classifier.fit(X[TRAIN], Y[TRAIN] + 2)


def test_without_warm_start_a_fit_begins_anew(trained):
    same(clone(trained).fit(X[:50], Y[:50]).fit(X[TRAIN], Y[TRAIN]), trained)


def test_partial_fit_is_an_epoch_over_the_samples_of_each_call():
    classifier = digits()
    for _ in range(4):
        for part in np.array_split(np.arange(600), 3):
            classifier.partial_fit(X[part], Y[part], classes=np.arange(10))
    assert classifier.n_iter_ == 12
    assert classifier.score(X[TEST], Y[TEST]) > 0.8
    same(digits().partial_fit(X[TRAIN], Y[TRAIN], np.arange(10)), digits(epochs=1).fit(X[TRAIN], Y[TRAIN]))


def test_partial_fit_may_meet_a_class_later_and_goes_on_after_fit(trained):
    classifier = digits().partial_fit(X[:100], Y[:100] % 2, classes=[0, 1, 2])
    assert classifier.predict_proba(X[:3]).shape == (3, 3)
    classifier.partial_fit(X[:10], [2] * 10)
    with pytest.raises(ValueError, match=r"classes \[0, 1, 2\].*got 7"):
        classifier.partial_fit(X[:10], [7] * 10)
    with pytest.raises(ValueError, match="classes"):
        digits().partial_fit(X[:100], Y[:100])
    with pytest.raises(ValueError, match=r"balanced.*needs all samples at once"):
        digits(class_weight="balanced").partial_fit(X[:100], Y[:100], classes=range(10))
    copy = pickle.loads(pickle.dumps(trained))
    assert copy.partial_fit(X[TRAIN], Y[TRAIN]).n_iter_ == 5


def test_early_stopping_keeps_the_best_net():
    classifier = digits(
        early_stopping=True, validation_fraction=0.2, n_iter_no_change=2, epochs=100, learning_rate=0.02
    )
    classifier.fit(X[TRAIN], Y[TRAIN])
    assert classifier.n_iter_ < 100
    losses = classifier.history_["val_loss"]
    assert len(losses) - 1 - np.argmin(losses) == 2
    assert "has not improved for 2 epochs" in classifier.history_.stopped


# Random numbers


def test_random_state():
    rows, labels = X[:100], Y[:100]
    one = digits(epochs=1).fit(rows, labels)
    same(one, digits(epochs=1).fit(rows, labels))
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    others = [None, 1, np.random.RandomState(0), np.random.default_rng(3)]
    for other in others:
        found = digits(epochs=1, random_state=other).fit(rows, labels)
        assert not np.array_equal(found.net_.flat_params, one.net_.flat_params)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    same(
        digits(epochs=1, random_state=np.random.RandomState(5)).fit(rows, labels),
        digits(epochs=1, random_state=np.random.RandomState(5)).fit(rows, labels),
    )


def test_the_same_bits_on_any_number_of_threads(trained):
    cl.set_num_threads(2)
    same(digits().fit(X[TRAIN], Y[TRAIN]), trained)


# Within scikit-learn


def test_in_a_pipeline_and_a_search_in_other_processes():
    pipeline = make_pipeline(StandardScaler(), digits(epochs=2))
    grid = {"cnnclassifier__learning_rate": [1e-5, 0.01], "cnnclassifier__optimizer": ["adam"]}
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=2).fit(X[TRAIN], Y[TRAIN])
    assert search.best_params_["cnnclassifier__learning_rate"] == 0.01
    assert search.score(X[TEST], Y[TEST]) > 0.7


def test_a_search_over_objects_and_functions():
    grid = {"optimizer": [cl.SGD(lr=0.05, momentum=0.9), cl.Adam(lr=0.01)], "architecture": ["mlp", small]}
    search = GridSearchCV(digits(epochs=1, learning_rate=None), grid, cv=2).fit(X[TRAIN], Y[TRAIN])
    assert len(search.cv_results_["params"]) == 4
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_cross_validation():
    assert cross_val_score(CNNClassifier(random_state=0), *IRIS, cv=3).min() > 0.8
    probabilities = cross_val_predict(CNNClassifier(epochs=5), *IRIS, cv=3, method="predict_proba")
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_weights_are_handed_on(trained):
    weights = np.arange(600) % 3
    pipeline = make_pipeline(digits(epochs=1)).fit(X[TRAIN], Y[TRAIN], cnnclassifier__sample_weight=weights)
    same(pipeline[-1], digits(epochs=1).fit(X[TRAIN], Y[TRAIN], weights))
    with sklearn.config_context(enable_metadata_routing=True):
        routed = make_pipeline(digits(epochs=1).set_fit_request(sample_weight=True))
        same(routed.fit(X[TRAIN], Y[TRAIN], sample_weight=weights)[-1], pipeline[-1])


def test_calibration(trained):
    calibrated = CalibratedClassifierCV(digits(epochs=2), cv=2).fit(X[TRAIN], Y[TRAIN])
    assert calibrated.score(X[TEST], Y[TEST]) > 0.7


# Pickles


@pytest.mark.parametrize("way", ["pickle", "joblib"])
def test_a_pickle_has_the_file_of_the_net(way, trained, tmp_path):
    state = trained.__getstate__()
    data, own = state["net_"]
    assert own == [Twice]
    (tmp_path / "net.safetensors").write_bytes(data)
    loaded = cl.load(tmp_path / "net.safetensors", custom=(Twice,))
    np.testing.assert_array_equal(loaded.flat_params, trained.net_.flat_params)
    if way == "pickle":
        text = pickle.dumps(trained)
        assert b"cnnlayers.layers" not in text
        again = pickle.loads(text)
    else:
        joblib.dump(trained, tmp_path / "estimator.joblib")
        again = joblib.load(tmp_path / "estimator.joblib")
    np.testing.assert_array_equal(again.predict_proba(X), trained.predict_proba(X))
    assert again.net_.classes == trained.net_.classes
    assert again.loss_curve_ == trained.loss_curve_


def test_a_damaged_pickle_is_found():
    state = digits(epochs=1).fit(X[:50], Y[:50]).__getstate__()
    data, own = state["net_"]
    with pytest.raises(cl.CheckpointError, match="damaged"):
        digits().__setstate__(state | {"net_": (data[:-1] + bytes([data[-1] ^ 1]), own)})


# Errors and ends


def test_before_fit_there_is_nothing():
    with pytest.raises(NotFittedError):
        digits().predict(X)
    digits().__setstate__(digits().__getstate__())


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"epochs": 0}, ValueError, "CNNClassifier: epochs must be 1 or more; got 0"),
        ({"batch_size": 2.5}, TypeError, "CNNClassifier: batch_size must be an int; got 2.5"),
        ({"optimizer": "adma"}, ValueError, "optimizer must be 'sgd', .* or an object such as .*; got 'adma'"),
        ({"optimizer": cl.SGD}, ValueError, "optimizer must be 'sgd'"),
        (
            {"optimizer": cl.SGD(lr=1), "learning_rate": 0.1},
            ValueError,
            "rate of its own, so learning_rate must be None",
        ),
        ({"learning_rate": 0}, ValueError, "learning_rate must be above 0; got 0"),
        ({"dtype": "float16"}, TypeError, "CNNClassifier: dtype must be float32 or float64; got 'float16'"),
        ({"normalize": "yes"}, TypeError, "CNNClassifier: normalize must be True or False; got 'yes'"),
        (
            {"early_stopping": True, "validation_fraction": 1.5},
            ValueError,
            "validation_fraction must be above 0 and at",
        ),
        ({"early_stopping": True, "n_iter_no_change": 0}, ValueError, "n_iter_no_change must be 1 or more"),
        ({"random_state": "a"}, TypeError, "rng must be an int"),
    ],
)
def test_options_are_checked_in_fit(options, kind, message):
    classifier = digits(**options)
    with pytest.raises(kind, match=message):
        classifier.fit(X[TRAIN], Y[TRAIN])


def test_what_diverges_leaves_nothing_that_looks_fitted():
    classifier = digits(epochs=1).fit(X[TRAIN], Y[TRAIN])
    classifier.set_params(optimizer=cl.SGD(lr=1e30), learning_rate=None)
    with pytest.raises(cl.NonFiniteError):
        classifier.fit(X[TRAIN], Y[TRAIN])
    with pytest.raises(NotFittedError):
        classifier.predict(X[TEST])


def test_ctrl_c_keeps_what_was_learnt_and_ends_the_caller_too():
    calls = []

    def press_in_the_second_epoch(x, rng):
        calls.append(len(x))
        if len(calls) == 25:
            os.kill(os.getpid(), signal.SIGINT)
        return x

    classifier = digits(augment=press_in_the_second_epoch, epochs=50)
    with pytest.raises(KeyboardInterrupt, match="CNNClassifier: interrupted in epoch 2"):
        classifier.fit(X[TRAIN], Y[TRAIN])
    assert classifier.n_iter_ == 1
    assert classifier.score(X[TEST], Y[TEST]) > 0.3


def test_it_is_silent_unless_asked(capsys):
    digits(epochs=1).fit(X[:50], Y[:50])
    assert capsys.readouterr().out == ""
    digits(epochs=1, verbose=True).fit(X[:50], Y[:50])
    assert capsys.readouterr().out.startswith("epoch 1/1  train loss ")


def test_without_scikit_learn_the_import_says_what_to_install():
    program = "import sys; sys.modules['sklearn'] = None\nimport cnnlayers\nimport cnnlayers.sklearn"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert 'ImportError: cnnlayers.sklearn needs scikit-learn: pip install "cnnlayers[sklearn]"' in done.stderr

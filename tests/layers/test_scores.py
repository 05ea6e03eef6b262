"""What a net's scores are, and the probabilities and names that belong to them."""

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.layers.scores import class_names, class_probabilities, class_scores, probabilities, what_scores_are

ENDS = {
    "scores": ([cl.Affine(3)], "raw"),
    "ReLU": ([cl.Affine(3), cl.ReLU()], "raw"),
    "Softmax": ([cl.Affine(3), cl.Softmax()], "softmax"),
    "nested": ([cl.Affine(3), cl.Sequential([cl.Sequential([cl.Softmax()])])], "softmax"),
    "an empty end": ([cl.Affine(3), cl.Softmax(), cl.Sequential([])], "softmax"),
    "dropped out": ([cl.Affine(3), cl.Softmax(), cl.Sequential([cl.Dropout(0.5)])], "softmax"),
    "reshaped": ([cl.Affine(3), cl.Softmax(), cl.Reshape((1, 1, 3)), cl.Flatten()], "softmax"),
    "Sigmoid": ([cl.Affine(3), cl.Sigmoid(), cl.Dropout(0.1)], "sigmoid"),
    "scores after Softmax": ([cl.Softmax(), cl.Affine(3)], "raw"),
    "scores after Softmax within": ([cl.Sequential([cl.Softmax()]), cl.Sequential([cl.Affine(3)])], "raw"),
    "Residual": ([cl.Affine(3), cl.Residual([cl.Softmax()])], "raw"),
    "Concat": ([cl.Concat([[cl.Affine(1), cl.Sigmoid()], [cl.Affine(2), cl.Sigmoid()]])], "raw"),
    "Multiply": ([cl.Affine(3), cl.Multiply([cl.Sigmoid(), []])], "raw"),
    "nothing": ([], "raw"),
}
MAP_ENDS = {
    "a map's mean": ([cl.Softmax(), cl.GlobalAvgPool()], "softmax"),
    "a map made larger": ([cl.Softmax(), cl.Upsample(2)], "softmax"),
    "the largest of a map": ([cl.Softmax(), cl.GlobalMaxPool()], "raw"),
    "the largest of Sigmoids": ([cl.Sigmoid(), cl.GlobalMaxPool()], "sigmoid"),
    "permuted": ([cl.Conv(3, 1), cl.Softmax(), cl.Permute((1, 0, 2))], "softmax"),
    "a map of one position": ([cl.Conv(3, 4), cl.Softmax(), cl.Flatten()], "softmax"),
}


def made(layers, shape=(3,)):
    return cl.Sequential([layer.copy() for layer in layers], input_shape=shape, rng=0, dtype="float64")


def some(shape, seed=0):
    return np.random.default_rng(seed).normal(0, 3, (5, *shape))


def softmax(z):
    e = np.exp(z)
    return e / e.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("name", [*ENDS, *MAP_ENDS])
def test_the_last_layers_say_what_the_scores_are(name):
    layers, kind = (ENDS | MAP_ENDS)[name]
    shape = (4, 4, 3) if name in MAP_ENDS else (3,)
    net, x = made(layers, shape), some(shape)
    for same in (net, net.for_inference(), cl.Sequential([net.copy()], input_shape=shape, dtype="float64")):
        assert what_scores_are(same) == kind
        y = same.predict(x)
        np.testing.assert_allclose(same.predict_proba(x), softmax(y) if kind == "raw" else y, rtol=1e-12)


def test_softmax_needs_a_score():
    with pytest.raises(ValueError, match=r"Softmax\(\) needs at least one channel; got shape \(N, 0\)"):
        made([cl.Softmax()], (0,))


def test_a_layer_by_itself():
    assert [what_scores_are(layer) for layer in (cl.Softmax(), cl.Sigmoid(), cl.Affine(2))] == [
        "softmax",
        "sigmoid",
        "raw",
    ]


def test_several_sigmoids_are_as_they_come():
    net, x = made([cl.Affine(3), cl.Sigmoid()]), some((3,))
    p = net.predict_proba(x)
    np.testing.assert_allclose(p, 1 / (1 + np.exp(-(x @ net.params["0.W"] + net.params["0.b"]))), rtol=1e-12)
    assert np.ptp(p.sum(axis=1)) > 0.1  # they know nothing of each other
    np.testing.assert_array_equal(class_probabilities(net, p), p)


def test_one_sigmoid_is_the_probability_of_the_second_of_two_classes():
    net = made([cl.Sigmoid()], (1,))
    z = np.log([[4.0], [1 / 3], [1.0]])
    np.testing.assert_allclose(net.predict_proba(z), [[0.8], [0.25], [0.5]])
    np.testing.assert_allclose(class_probabilities(net, net.predict(z)), [[0.2, 0.8], [0.75, 0.25], [0.5, 0.5]])
    np.testing.assert_array_equal(class_scores(net, net.predict(z)).argmax(axis=1), [1, 0, 0])


@pytest.mark.parametrize("last", [[], [cl.Softmax()], [cl.Tanh()], [cl.Dropout(0.5)]])
@pytest.mark.parametrize("shape", [(3,), (4, 4, 3)])
def test_one_score_that_is_no_probability_is_refused_with_what_to_do(last, shape):
    net = made([cl.Affine(1) if len(shape) == 1 else cl.Conv(1, 3), *last], shape)
    for ask in (net.predict_proba, lambda x: class_scores(net, net.predict(x))):
        with pytest.raises(ValueError, match=r"one score.*Sigmoid\(\).*two outputs and SoftmaxLoss.*net\.predict\(x\)"):
            ask(some(shape))
    assert net.predict(some(shape)).shape[-1] == 1


def test_maps_have_a_distribution_at_each_position():
    net, x = made([cl.Conv(2, 3)], (6, 5, 1)), some((6, 5, 1))
    np.testing.assert_allclose(net.predict_proba(x), softmax(net.predict(x)), rtol=1e-12)
    np.testing.assert_allclose(net.predict_proba(x).sum(axis=-1), np.ones((5, 4, 3)))
    one = made([cl.Conv(1, 3), cl.Sigmoid()], (6, 5, 1))
    np.testing.assert_array_equal(one.predict_proba(x), one.predict(x))


def test_an_empty_batch_has_no_probabilities():
    assert made([cl.Affine(1), cl.Sigmoid()]).predict_proba(np.zeros((0, 3))).shape == (0, 1)
    assert probabilities(made([cl.Affine(3)]), np.zeros((0, 3))).shape == (0, 3)


# Names


def test_names_of_classes():
    assert class_names(None, 3) == ["0", "1", "2"]
    assert class_names(("a", "b"), 2) == ["a", "b"]
    assert class_names(["cat"], 2) == ["not cat", "cat"]
    with pytest.raises(ValueError, match="classes must name all 3 classes of the net; got 2"):
        class_names(["a", "b"], 3)


@pytest.mark.parametrize(
    ("layers", "classes"),
    [
        ([cl.Affine(3)], ["a", "b", "a"]),  # what two scores have in common is the user's affair
        ([cl.Affine(3)], np.array(["a", "b", "c"])),
        ([cl.Affine(3)], (name for name in "abc")),
        ([cl.Affine(1), cl.Sigmoid()], ["no", "yes"]),
        ([cl.Affine(1), cl.Sigmoid()], ["yes"]),
        ([cl.Affine(1)], ["metres"]),
        ([cl.Reshape((1, 1, 3)), cl.Conv(2, 1)], ["sky", "ground"]),
    ],
)
def test_as_many_names_as_scores_are_saved(layers, classes, tmp_path):
    net, file = made(layers), tmp_path / "net.safetensors"
    net.save(file, classes=classes)
    assert cl.load(file).classes == net.classes
    assert all(type(name) is str for name in net.classes)


@pytest.mark.parametrize(
    ("layers", "classes", "error", "message"),
    [
        ([cl.Affine(3)], ["a", "b"], ValueError, r"gives \(N, 3\), so it has 3 classes to name; got 2 names"),
        ([cl.Affine(3)], [], ValueError, "3 classes to name; got 0 names"),
        ([cl.Affine(3)], "abc", TypeError, "must be a list of names, such as .*; got 'abc'"),
        ([cl.Affine(3)], 3, TypeError, "must be a list of names"),
        ([cl.Affine(3)], [1, 2, 3], TypeError, "must be names, of str; got 1"),
        ([cl.Affine(3)], b"abc", TypeError, "must be names"),
        ([cl.Affine(1)], ["no", "yes"], ValueError, "1 classes to name; got 2 names"),
        ([cl.Affine(2), cl.Sigmoid()], ["yes"], ValueError, "2 classes to name; got 1 names"),
    ],
)
def test_other_names_are_refused_and_nothing_is_written(layers, classes, error, message, tmp_path):
    net = made(layers)
    with pytest.raises(error, match=message):
        net.save(tmp_path / "net.safetensors", classes=classes)
    assert net.classes is None
    assert list(tmp_path.iterdir()) == []


def test_a_file_with_another_number_of_names_still_loads(tmp_path):
    net = made([cl.Affine(3)])
    net.classes = ("a", "b")
    net.save(tmp_path / "net.safetensors")
    assert cl.load(tmp_path / "net.safetensors").classes == ("a", "b")

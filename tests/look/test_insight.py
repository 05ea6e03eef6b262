"""What a net sees and where it errs: against loops and difference quotients; and the net stays as it is."""

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.look import insight


def small_net(dtype="float64"):
    """Convolution, batch norm, dropout, a residual block and a pool, with state that is not at its start."""
    net = cl.Sequential(
        [
            *(cl.Normalize(0.5, 2.0), cl.Conv(4, (3, 2), padding="same"), cl.BatchNorm(), cl.ReLU(), cl.Dropout(0.5)),
            cl.Residual([cl.Conv(4, 3, padding=1), cl.BatchNorm(), cl.Tanh()]),
            *(cl.MaxPool(2), cl.Flatten(), cl.Affine(3)),
        ],
        input_shape=(6, 4, 2),
        rng=0,
        dtype=dtype,
    )
    for _ in range(3):
        net.forward(images(8, seed=5))
    return net


def images(n=3, seed=1):
    return np.random.default_rng(seed).normal(1.0, 2.0, (n, 6, 4, 2))


@pytest.fixture
def net():
    """A net in the middle of a step, and a check that it is the same afterwards and can end its step."""
    net = small_net()
    scores = net.forward(images())
    twin = net.copy()
    before = [array.copy() for array in (net.flat_params, net.flat_grads, net.flat_state)]
    yield net
    for array, old in zip((net.flat_params, net.flat_grads, net.flat_state), before, strict=True):
        np.testing.assert_array_equal(array, old)
    assert net.layers[4].rng.bit_generator.state == twin.layers[4].rng.bit_generator.state
    net.backward(np.ones_like(scores))  # the pending backward is still there


def score(net, x, target):
    return net.predict(x)[np.arange(len(x)), target]


# Where it errs


def test_confusion_counts_each_pair(net):
    x, y = images(50), np.random.default_rng(2).integers(0, 3, 50)
    counts = np.zeros((3, 3), int)
    for image, label in zip(x, y, strict=True):
        counts[label, net.predict(image[None]).argmax()] += 1
    np.testing.assert_array_equal(insight.confusion(net, x, y), counts)
    np.testing.assert_array_equal(insight.confusion(net, None, y, scores=net.predict(x)), counts)
    assert len(np.unique(counts)) > 2
    shares = insight.row_shares(counts)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert shares[1, 2] == counts[1, 2] / np.count_nonzero(y == 1)


def test_a_class_without_samples_has_a_row_of_zeros():
    np.testing.assert_array_equal(insight.row_shares([[0, 0], [1, 3]]), [[0, 0], [0.25, 0.75]])


def test_hardest_by_hand():
    p = np.array([[0.7, 0.3], [0.4, 0.6], [0.1, 0.9], [0.55, 0.45]])
    net = cl.Sequential([cl.Softmax()], input_shape=(2,))
    found = insight.hardest(net, np.log(p), [0, 0, 0, 0], count=3)  # 2 and 1 are wrong; of the others 3 is least sure
    np.testing.assert_array_equal(found.index, [2, 1, 3])
    np.testing.assert_array_equal(found.label, [0, 0, 0])
    np.testing.assert_array_equal(found.predicted, [1, 1, 0])
    np.testing.assert_allclose(found.probability, [0.9, 0.6, 0.55], rtol=1e-6)
    np.testing.assert_allclose(found.true_probability, [0.1, 0.4, 0.55], rtol=1e-6)
    assert found.wrong == 2
    assert len(insight.hardest(net, np.log(p), [0, 0, 0, 0]).index) == 4


def test_probabilities_take_the_softmax_once():
    z = np.array([[0.0, np.log(3.0)]])
    scores = cl.Sequential([cl.Flatten()], input_shape=(2,), dtype="float64")
    ended = cl.Sequential([cl.Softmax()], input_shape=(2,), dtype="float64")
    np.testing.assert_allclose(insight.probabilities(scores, z), [[0.25, 0.75]])
    np.testing.assert_allclose(insight.probabilities(ended, z), [[0.25, 0.75]])


def ending_in(*layers, width=1):
    return cl.Sequential(layers, input_shape=(width,), dtype="float64")


def test_one_sigmoid_decides_between_two_classes():
    net, z, y = ending_in(cl.Sigmoid()), np.log([[4.0], [1 / 3], [1.5], [1 / 9]]), [1, 1, 0, 0]
    np.testing.assert_array_equal(insight.confusion(net, z, y), [[1, 1], [1, 1]])
    np.testing.assert_allclose(insight.probabilities(net, z)[:, 1], [0.8, 0.25, 0.6, 0.1])
    found = insight.hardest(net, z, y, count=2)
    np.testing.assert_array_equal(found.index, [1, 2])
    np.testing.assert_array_equal(found.predicted, [0, 1])
    np.testing.assert_allclose(found.true_probability, [0.25, 0.4])
    by_hand = -np.log([0.8, 0.25, 0.4, 0.9]).mean()
    np.testing.assert_allclose(insight.cross_entropy(net, z, y), by_hand)


@pytest.mark.parametrize("ask", [insight.confusion, insight.hardest, insight.cross_entropy])
def test_one_score_that_is_no_probability_has_no_classes(ask):
    with pytest.raises(ValueError, match=r"gives one score.*end the net in Sigmoid\(\)"):
        ask(ending_in(cl.Tanh()), np.ones((3, 1)), [0, 0, 0])


def test_cross_entropy_by_hand():
    z = np.log([[1.0, 3.0], [4.0, 1.0]])
    by_hand = -np.log([0.75, 0.8]).mean()
    np.testing.assert_allclose(insight.cross_entropy(ending_in(cl.Flatten(), width=2), z, [1, 0]), by_hand)
    np.testing.assert_allclose(insight.cross_entropy(ending_in(cl.Softmax(), width=2), z, [1, 0]), by_hand)
    sigmoids = ending_in(cl.Sigmoid(), width=2)  # p = z / (1 + z): 1/2, 3/4; 4/5, 1/2
    np.testing.assert_allclose(
        insight.cross_entropy(sigmoids, z, [1, 0]), -np.log([0.75 * 0.5, 0.8 * 0.5]).mean(), rtol=1e-12
    )
    sure = ending_in(cl.Softmax(), width=2)
    assert np.isfinite(insight.cross_entropy(sure, [[1000.0, 0.0]], [1]))


# What it looks at


def test_outputs_are_those_of_each_layer_run_alone(net):
    seen = insight.outputs(net, images())
    x = images()
    for i, layer in enumerate(net.layers):
        x = layer.predict(x)
        np.testing.assert_allclose(seen[str(i)], x, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(seen[""], seen["8"])
    assert list(seen) == ["0", "1", "2", "3", "4", "5.body.0", "5.body.1", "5.body.2", "5.body", "5", "6", "7", "8", ""]
    assert seen["2"].min() < 0  # not joined with the ReLU after it


def test_saliency_is_the_difference_quotient(net):
    x, h = images(), 1e-6
    target = net.predict(x).argmax(axis=1)
    slopes = np.zeros_like(x)
    for place in np.ndindex(x.shape[1:]):
        step = np.zeros(x.shape[1:])
        step[place] = h
        slopes[:, *place] = (score(net, x + step, target) - score(net, x - step, target)) / (2 * h)
    np.testing.assert_allclose(insight.saliency(net, x), np.abs(slopes).max(axis=-1), rtol=1e-5, atol=1e-8)
    assert not np.allclose(insight.saliency(net, x, 0), insight.saliency(net, x, 1))
    np.testing.assert_array_equal(insight.saliency(net, x, target), insight.saliency(net, x))


def test_what_speaks_against_a_sigmoid_speaks_for_the_first_class():
    layers = [cl.Conv(2, 3, padding="same"), cl.GlobalAvgPool(), cl.Affine(1), cl.Sigmoid()]
    net, x = cl.Sequential(layers, input_shape=(5, 4, 2), rng=0, dtype="float64"), np.ones((1, 5, 4, 2))
    net.params["2.W"][...] = [[1.0], [0.0]]
    net.params["0.W"][...] = np.abs(net.params["0.W"])  # so the first channel is positive, and raises p
    assert insight.grad_cam(net, x, "0", target=1).min() > 0
    assert insight.grad_cam(net, x, "0", target=0).max() == 0
    np.testing.assert_array_equal(insight.saliency(net, x, 1), insight.saliency(net, x, 0))
    np.testing.assert_array_equal(insight.grad_cam(net, x, "0"), insight.grad_cam(net, x, "0", target=1))  # p > 1/2


def cam_by_loops(a, slopes):
    """ReLU of the sum over channels of (mean slope) times (map), from the maps and the slopes of the score there."""
    n, h, w, channels = a.shape
    cam = np.zeros((n, h, w))
    for i in range(n):
        for k in range(channels):
            alpha = sum(slopes[i, r, c, k] for r in range(h) for c in range(w)) / (h * w)
            cam[i] += alpha * a[i, :, :, k]
    return np.where(cam > 0, cam, 0)


@pytest.mark.parametrize("name", ["5", "3"])
def test_grad_cam_is_its_definition_with_difference_quotients(net, name):
    x, h = images(), 1e-6
    a = insight.outputs(net, x)[name]
    rest = cl.Sequential(
        [layer.copy() for layer in net.layers[int(name) + 1 :]], input_shape=a.shape[1:], dtype="float64"
    )
    target = net.predict(x).argmax(axis=1)
    slopes = np.zeros_like(a)
    for place in np.ndindex(a.shape[1:]):
        step = np.zeros(a.shape[1:])
        step[place] = h
        slopes[:, *place] = (score(rest, a + step, target) - score(rest, a - step, target)) / (2 * h)
    cam = insight.grad_cam(net, x, name)
    np.testing.assert_allclose(cam, cam_by_loops(a, slopes), rtol=1e-4, atol=1e-7)
    assert cam.max() > 0
    np.testing.assert_array_equal(cam, insight.grad_cam(net, x, net.layers[int(name)]))


def test_grad_cam_looks_at_the_last_layer_with_positions_that_is_no_pool(net):
    np.testing.assert_array_equal(insight.grad_cam(net, images()), insight.grad_cam(net, images(), "5"))


def test_grad_cam_of_a_layer_within_a_block(net):
    assert insight.grad_cam(net, images(), "5.body.0", target=[0, 1, 2]).shape == (3, 6, 4)


def test_signals():
    net = cl.Sequential([cl.Conv(5, 3), cl.ReLU(), cl.GlobalAvgPool(), cl.Affine(2)], input_shape=(9, 2), rng=0)
    x = np.random.default_rng(0).normal(size=(4, 9, 2))
    assert insight.saliency(net, x).shape == (4, 9)
    assert insight.grad_cam(net, x).shape == (4, 7)
    assert insight.filters(net)[1].shape == (5, 3, 2)


# What it has learned


def test_filters_of_a_convolution(net):
    name, found = insight.filters(net)
    assert (name, found.shape) == ("1", (4, 3, 2, 2))
    np.testing.assert_array_equal(found[3], net.params["1.W"][..., 3])
    found[...] = 0  # a copy


def test_filters_of_an_affine_are_images():
    net = cl.models.linear(rng=0)
    name, found = insight.filters(net)
    assert (name, found.shape) == ("2", (10, 8, 8, 1))
    x = np.random.default_rng(0).integers(0, 17, (1, 8, 8, 1))
    seen = insight.outputs(net, x)
    np.testing.assert_allclose((found * seen["0"]).sum(axis=(1, 2, 3)) + net.params["2.b"], seen["2"][0], rtol=1e-4)


def test_gradients_are_those_of_a_training_step():
    net, loss = small_net(), cl.SoftmaxLoss()
    y = np.array([0, 2, 1])
    found = insight.gradients(net, images(), y, loss)
    twin = net.copy()
    loss.forward(twin.forward(images()), y)
    twin.backward(loss.backward())
    assert found.keys() == net.params.keys()
    for name, grad in found.items():
        np.testing.assert_array_equal(grad, twin.grads[name])
    assert np.abs(found["1.W"]).max() > 0


def test_gradients_leave_the_net_alone(net):
    insight.gradients(net, images(), np.array([0, 2, 1]), cl.SoftmaxLoss())


# Mistakes

SCORES = cl.models.digits_cnn(rng=0)
X = np.zeros((2, 8, 8, 1))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: insight.outputs(cl.Sequential([cl.Affine(2)]), [[1.0]]), RuntimeError, "not built yet"),
        (lambda: insight.saliency(SCORES.for_inference(), X), RuntimeError, "for_inference"),
        (lambda: insight.saliency(SCORES, X, 10), ValueError, r"saliency: labels must be integers in 0\.\.9; got 10"),
        (lambda: insight.saliency(SCORES, X, 1.0), TypeError, "saliency: labels must be integers"),
        (lambda: insight.saliency(SCORES, X, [1]), ValueError, r"need labels of shape \(2,\)"),
        (lambda: insight.saliency(SCORES, X[:, :4]), ValueError, "was built for"),
        (lambda: insight.saliency(cl.Sequential([cl.Affine(2)], input_shape=(3,)), np.eye(3)), ValueError, "images"),
        (lambda: insight.grad_cam(SCORES, X, "7"), ValueError, r"gives \(H, W, C\).*Affine\(64\) gives \(64,\)"),
        (lambda: insight.grad_cam(SCORES, X, "99"), ValueError, "grad_cam: the net has no layer '99'; it has 0, 1"),
        (lambda: insight.grad_cam(SCORES, X, cl.ReLU()), ValueError, r"ReLU\(\) is not a layer of this net"),
        (lambda: insight.grad_cam(SCORES, X, 3), TypeError, "must be a layer of the net, or its name; got 3"),
        (
            lambda: insight.grad_cam(cl.Sequential([cl.Affine(2)], input_shape=(3,)), [[1.0, 2, 3]]),
            ValueError,
            "more than one position",
        ),
        (
            lambda: insight.confusion(cl.Sequential([cl.ReLU()], input_shape=(8, 8, 1)), X, [0, 1]),
            ValueError,
            r"confusion needs a net that gives scores \(N, C\); this one gives shape \(2, 8, 8, 1\)",
        ),
        (lambda: insight.hardest(SCORES, X, [0, 1], count=0), ValueError, "count must be 1 or more; got 0"),
        (lambda: insight.hardest(SCORES, X, [0]), ValueError, "need labels"),
        (lambda: insight.filters(cl.Sequential([cl.ReLU()], input_shape=(3,))), ValueError, "Sequential has none"),
        (lambda: insight.filters(cl.Sequential([cl.Affine(2)], input_shape=(3,))), ValueError, r"got Affine\(2\)"),
    ],
)  # fmt: skip
def test_errors_say_what_is_wrong(call, error, message):
    with pytest.raises(error, match=message):
        call()

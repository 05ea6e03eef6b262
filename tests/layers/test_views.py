"""Predictions averaged over views: by hand, whatever the batch, and what is refused."""

import numpy as np
import pytest

import cnnlayers as cl

BUILT_IN = [cl.augment.mirror, cl.augment.mirror_and_shift]


def small_net(*ends, dtype="float32"):
    layers = [cl.Conv(4, 3), cl.BatchNorm(), cl.ReLU(), cl.Flatten(), cl.Affine(3), *ends]
    return cl.Sequential(layers, input_shape=(6, 5, 3), rng=0, dtype=dtype)


def images(n=7, dtype=np.float32):
    return np.random.default_rng(1).normal(size=(n, 6, 5, 3)).astype(dtype)


def three(x):
    """Views of unequal weight, one of them in another layout, one in another dtype."""
    yield 0.5, x[:, ::-1]
    yield 0.3, (2 * x).astype(np.float64)
    yield np.float32(0.2), x


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("views", [*BUILT_IN, three])
def test_the_mean_of_the_predictions(views, dtype):
    net, x = small_net(dtype=dtype), images(dtype=dtype)
    expected = sum(float(weight) * net.predict(view).astype(np.float64) for weight, view in views(x))
    y = net.predict(x, views=views)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, expected, rtol=1e-5 if dtype == "float32" else 1e-12, atol=1e-6)
    assert np.abs(y - net.predict(x)).max() > 0.01


def test_by_hand():
    net = cl.Sequential([cl.Flatten(), cl.Affine(1, bias=False)], input_shape=(1, 2, 1), dtype="float64")
    net.params["1.W"][...] = [[1], [10]]
    x = np.array([2.0, 3.0]).reshape(1, 1, 2, 1)
    assert net.predict(x).item() == 32
    assert net.predict(x, views=cl.augment.mirror).item() == (32 + 23) / 2


@pytest.mark.parametrize("views", [*BUILT_IN, three])
def test_probabilities_are_those_of_the_mean_scores(views):
    net, x = small_net(), images()
    scores = net.predict(x, views=views)
    softmax = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(net.predict_proba(x, views=views), softmax, rtol=1e-5)


@pytest.mark.parametrize("last", [cl.Softmax, cl.Sigmoid])
def test_of_a_net_that_gives_probabilities_it_is_their_mean(last):
    net, x = small_net(last()), images()
    p = net.predict_proba(x, views=cl.augment.mirror)
    np.testing.assert_allclose(p, (net.predict_proba(x) + net.predict_proba(x[:, :, ::-1])) / 2, rtol=1e-5)


@pytest.mark.parametrize("views", [*BUILT_IN, three])
def test_batches_and_threads_have_no_influence(views):
    """And the views of one batch are made, and predicted, one after the other."""
    net, x, sizes = small_net(), images(), []

    def watched(batch):
        sizes.append(len(batch))
        return views(batch)

    np.testing.assert_allclose(net.predict(x, 3, watched), net.predict(x, views=views), rtol=1e-5, atol=1e-6)
    assert sizes == [3, 3, 1]
    cl.set_num_threads(1)
    alone = net.predict(x, views=views)
    cl.set_num_threads(3)
    assert net.predict(x, views=views).tobytes() == alone.tobytes()


def test_one_view_is_in_memory_at_a_time():
    order = []

    class Told(cl.ReLU):
        def forward(self, x, train=True):
            order.append("predicted")
            return super().forward(x, train)

    def views(x):
        for _ in range(3):
            order.append("made")
            yield 1 / 3, x

    net = cl.Sequential([Told()], input_shape=(6, 5, 3))
    np.testing.assert_allclose(net.predict(images(), views=views), np.maximum(images(), 0), rtol=1e-6)
    assert order == ["made", "predicted"] * 3


@pytest.mark.parametrize("views", BUILT_IN)
def test_a_net_for_inference(views):
    net, x = small_net(), images()
    made = net.for_inference()
    np.testing.assert_allclose(made.predict(x, views=views), net.predict(x, views=views), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(made.predict_proba(x, views=views), net.predict_proba(x, views=views), rtol=1e-4)


def test_views_get_what_the_net_takes():
    """Of bytes, floats: so a view of them may be brighter than 255. The batch is not to be written to."""
    net, x = small_net(), images().astype(np.uint8)

    def views(batch):
        assert batch.dtype == np.float32
        assert not batch.flags.writeable
        yield 1.0, batch * 2

    np.testing.assert_array_equal(net.predict(x, views=views), net.predict(x.astype(np.float32) * 2))
    floats = images()
    net.predict(floats, views=cl.augment.mirror)
    floats[...] = 0  # one's own still


class File:
    """An array that is not in memory, and remembers how many rows were read at once."""

    def __init__(self, x):
        self.x, self.shape, self.dtype, self.reads = x, x.shape, x.dtype, []

    def __getitem__(self, rows):
        self.reads.append(rows.stop - rows.start)
        return self.x[rows]


def test_what_is_not_in_memory_is_read_batch_by_batch(tmp_path):
    net, file = small_net(), File(images())
    expected = net.predict(images(), 3, views=cl.augment.mirror_and_shift)
    np.testing.assert_array_equal(net.predict(file, 3, views=cl.augment.mirror_and_shift), expected)
    assert file.reads == [3, 3, 1]  # each row once, whatever the number of views
    np.save(tmp_path / "x.npy", images())
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    np.testing.assert_array_equal(net.predict(mapped, 3, views=cl.augment.mirror_and_shift), expected)


@pytest.mark.parametrize("views", [*BUILT_IN, three])
def test_an_empty_batch(views):
    assert small_net().predict(images(0), views=views).shape == (0, 3)
    assert small_net().predict_proba(images(0), views=views).shape == (0, 3)


def test_a_net_that_is_not_built():
    net = cl.Sequential([cl.Flatten(), cl.ReLU()])
    assert net.predict(images(), views=cl.augment.mirror).shape == (7, 90)
    assert not net.built


@pytest.mark.parametrize(
    ("views", "error", "message"),
    [
        ("mirror", TypeError, r"^views must be a function of a batch, as cl\.augment\.mirror; got 'mirror'"),
        (lambda x: None, TypeError, r"^views must give pairs \(weight, images\); it gave NoneType"),
        (lambda x: [x, x], TypeError, r"pairs \(weight, images\), as \(0\.5, x\); number 1 is an array of shape \(7, "),
        (lambda x: [(1.0, x, x)], TypeError, r"^views must give pairs \(weight, images\), as"),
        (lambda x: [(0.5, x), ("half", x)], TypeError, "^views: the weight of number 2 must be a number; got 'half'"),
        (lambda x: [(x, 1.0)], TypeError, "^views: the weight of number 1 must be a number"),
        (lambda x: [(1.5, x), (-0.5, x)], ValueError, "^views: the weights must sum to 1; .* first 1 sum to 1.5"),
        (lambda x: [(0.5, x), (-0.5, x)], ValueError, "^views: the weight of number 2 must be at least 0; got -0.5"),
        (lambda x: [(np.nan, x)], ValueError, "^views: the weight of number 1 must be at least 0; got nan"),
        (lambda x: [(0.5, x), (0.25, x)], ValueError, "the weights must sum to 1; those of the first 2 sum to 0.75"),
        (lambda x: iter(lambda: (0.3, x), 1), ValueError, "those of the first 4 sum to 1.2"),  # without an end
        (lambda x: [], ValueError, "the weights must sum to 1; those of the first 0 sum to 0"),
        (
            lambda x: [(1, x[:, 1:])],
            ValueError,
            r"must have the shape of its batch, \(7, 6, 5, 3\); got \(7, 5, 5, 3\)",
        ),
        (lambda x: [(0.5, x), (0.5, x[:3])], ValueError, r"^views: number 2 must have the shape .* got \(3, 6, 5, 3\)"),
        (lambda x: [(1, x.astype(str))], TypeError, "^views: number 1 needs real numbers"),
    ],
)
def test_what_is_refused(views, error, message):
    for call in (small_net().predict, small_net().predict_proba, small_net().for_inference().predict):
        with pytest.raises(error, match=message):
            call(images(), views=views)


def test_inputs_that_are_no_images():
    net = cl.Sequential([cl.Affine(3)], input_shape=(4,), rng=0)
    with pytest.raises(ValueError, match=r"^mirror needs images \(N, H, W, C\); got shape \(2, 4\)"):
        net.predict(np.ones((2, 4)), views=cl.augment.mirror)
    rows = net.predict(
        np.ones((2, 4)), views=lambda x: [(0.5, x), (0.5, 3 * x)]
    )  # but views of one's own may be of any
    np.testing.assert_allclose(rows, net.predict(2 * np.ones((2, 4))), rtol=1e-6)

import math
import re

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import initializers
from cnnlayers.initializers import get

RANDOM = [
    "he_normal",
    "he_uniform",
    "glorot_normal",
    "glorot_uniform",
    "lecun_normal",
    "standard_normal",
    "torch_default",
]

# name, shape, variance by hand
VARIANCES = [
    ("he_normal", (3, 5, 40, 50), 2 / 600),
    ("he_normal", (200, 100), 2 / 200),
    ("he_uniform", (3, 5, 40, 50), 2 / 600),
    ("glorot_normal", (3, 5, 40, 50), 2 / (600 + 750)),
    ("glorot_normal", (200, 100), 2 / 300),
    ("glorot_uniform", (7, 40, 100), 2 / (280 + 700)),
    ("lecun_normal", (3, 5, 40, 50), 1 / 600),
    ("standard_normal", (3, 5, 40, 50), 1),
    ("torch_default", (3, 5, 40, 50), 1 / 600 / 3),
    ("torch_default", (200, 100), 1 / 200 / 3),
]


@pytest.mark.parametrize(("name", "shape", "variance"), VARIANCES)
def test_mean_and_variance(name, shape, variance):
    w = get(name)(shape, np.random.default_rng(0), np.float64)
    n = math.prod(shape)
    assert w.shape == shape
    assert abs(w.mean()) < 5 * math.sqrt(variance / n)
    assert w.var() == pytest.approx(variance, rel=5 * math.sqrt(2 / n))


def test_normal_is_not_truncated():
    w = get("he_normal")((100, 1000), np.random.default_rng(0), np.float64)
    assert np.abs(w).max() > 3.5 * math.sqrt(2 / 100)


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("he_uniform", math.sqrt(6 / 100)),
        ("glorot_uniform", math.sqrt(6 / 1100)),
        ("torch_default", math.sqrt(1 / 100)),
    ],
)
def test_uniform_fills_its_range(name, bound):
    w = get(name)((100, 1000), np.random.default_rng(0), np.float64)
    assert -bound <= w.min() < -0.99 * bound
    assert 0.99 * bound < w.max() <= bound


@pytest.mark.parametrize("name", initializers.names())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype(name, dtype):
    w = get(name)((4, 5), np.random.default_rng(0), dtype)
    assert w.dtype == dtype
    assert w.flags.c_contiguous
    assert w.flags.writeable


@pytest.mark.parametrize("name", RANDOM)
def test_the_seed_decides(name):
    first, again = (get(name)((4, 5), np.random.default_rng(1), np.float32) for _ in range(2))
    other = get(name)((4, 5), np.random.default_rng(2), np.float32)
    np.testing.assert_array_equal(first, again)
    assert not np.any(first == other)


def test_constants_draw_nothing():
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(get("zeros")((3,), rng, np.float32), [0, 0, 0])
    np.testing.assert_array_equal(get("ones")((3,), rng, np.float32), [1, 1, 1])
    assert rng.random() == np.random.default_rng(0).random()


def test_a_callable_comes_back_as_it_is():
    def init(shape, rng, dtype):
        return np.full(shape, 7, dtype)

    assert get(init) is init


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"init must be one of he_normal, .*ones, or a callable; got 'xavier'"):
        get("xavier")


@pytest.mark.parametrize("init", [None, 0.1, np.zeros(3)])
def test_what_is_neither_is_refused(init):
    with pytest.raises(TypeError, match=r"init must be one of he_normal, .* or a callable \(shape, rng, dtype\)"):
        get(init)


@pytest.mark.parametrize("name", [*RANDOM, "dirac"])
@pytest.mark.parametrize("shape", [(), (5,), (0, 5), (5, 0)])
def test_a_shape_without_inputs_is_refused(name, shape):
    with pytest.raises(ValueError, match=rf"{name} needs a weight of two or more axes, none of size 0; got shape"):
        get(name)(shape, np.random.default_rng(0), np.float32)


@pytest.mark.parametrize(
    ("torch_layer", "shape"),
    [("Conv2d(8, 400, (3, 5), groups=2)", (3, 5, 4, 400)), ("Linear(60, 400)", (60, 400))],
)
def test_torch_default_is_what_pytorch_draws(torch_layer, shape):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs = eval(f"torch.nn.{torch_layer}", {"torch": torch}).weight.detach().numpy().ravel()
    ours = get("torch_default")(shape, np.random.default_rng(0), np.float32).ravel()
    assert ours.size == theirs.size == 60 * 400
    np.testing.assert_allclose(np.quantile(ours, np.linspace(0, 1, 11)), np.linspace(-1, 1, 11) / 60**0.5, atol=3e-3)
    np.testing.assert_allclose(np.quantile(theirs, np.linspace(0, 1, 11)), np.linspace(-1, 1, 11) / 60**0.5, atol=3e-3)


@pytest.mark.parametrize("kernel", [(3, 3), (1, 5), (2, 3), (4, 2)])
def test_dirac_passes_the_channels_on(kernel):
    """Those that have a filter; a kernel of even size reads one pixel earlier than a centred one would."""
    x = np.random.default_rng(0).normal(size=(2, 6, 7, 3))
    for filters in (2, 3, 5):
        padding = [(k // 2, (k - 1) // 2) for k in kernel]
        conv = cl.Conv(filters, kernel, padding=padding, init="dirac")
        conv.build((6, 7, 3), rng=0, dtype=np.float64)
        passed = min(filters, 3)
        np.testing.assert_array_equal(conv.forward(x)[..., :passed], x[..., :passed])


def test_dirac_of_two_and_of_three_axes():
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(get("dirac")((3, 3), rng, np.float32), np.eye(3))
    np.testing.assert_array_equal(get("dirac")((4, 2), rng, np.float32), np.eye(4, 2))
    np.testing.assert_array_equal(get("dirac")((3, 1, 1), rng, np.float32).ravel(), [0, 1, 0])


def test_the_filters_of_dirac_beyond_the_channels_are_those_of_torch_default():
    shape = (3, 3, 4, 10)
    w = get("dirac")(shape, np.random.default_rng(1), np.float32)
    drawn = get("torch_default")(shape, np.random.default_rng(1), np.float32)
    np.testing.assert_array_equal(w[..., 4:], drawn[..., 4:])
    assert (w[..., 4:] != 0).all()
    assert w[..., :4].sum() == 4


def test_dirac_has_the_filters_of_pytorchs_dirac():
    torch = pytest.importorskip("torch")
    for kernel in ((3, 3), (2, 4), (5, 1)):
        theirs = torch.nn.init.dirac_(torch.empty(6, 4, *kernel)).numpy().transpose(2, 3, 1, 0)
        ours = get("dirac")((*kernel, 4, 6), np.random.default_rng(0), np.float32)
        np.testing.assert_array_equal(ours[..., :4], theirs[..., :4])


def photos(n=40, channels=3, seed=0):
    """Smooth random images whose channels go together, as those of photographs do."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 11, 12, channels)).cumsum(axis=1).cumsum(axis=2)
    return 5 + x @ rng.normal(size=(channels, channels))


@pytest.mark.parametrize("kernel", [(2, 2), (3, 2), (1, 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_whitening_gives_is_uncorrelated_and_of_variance_one(kernel, channels):
    x = photos(channels=channels)
    size = math.prod(kernel) * channels
    conv = cl.Conv(2 * size, kernel, init=initializers.whitening(x, eps=1e-12))
    conv.build(x.shape[1:], dtype=np.float64)
    y = conv.forward(x).reshape(-1, 2 * size)
    np.testing.assert_array_equal(y[:, size:], -y[:, :size])
    np.testing.assert_allclose(np.atleast_2d(np.cov(y[:, :size].T, ddof=0)), np.eye(size), atol=1e-6)


def test_whitening_by_hand():
    """Patches of two numbers, (a, b): they vary by 4 along (1, 1) / √2 and by 1 along (1, -1) / √2."""
    x = np.array([[2, 2], [-2, -2], [1, -1], [-1, 1]], float)[..., None]
    bank = initializers.whitening(x, eps=1)((2, 1, 4), None, np.float64).reshape(2, 4)
    first, second = np.array([1, 1]) / 2**0.5 / 5**0.5, np.array([1, -1]) / 2**0.5 / 2**0.5
    np.testing.assert_allclose(np.abs(bank[:, 0]), np.abs(first))  # the largest eigenvalue, 4, comes first
    np.testing.assert_allclose(np.abs(bank[:, 1]), np.abs(second))
    assert bank[0, 0] * bank[1, 0] > 0 > bank[0, 1] * bank[1, 1]
    np.testing.assert_array_equal(bank[:, 2:], -bank[:, :2])


def test_the_eps_of_whitening_bounds_the_filters():
    flat = np.ones((5, 4, 4, 2))
    bank = initializers.whitening(flat, eps=0.25)((2, 2, 2, 16), None, np.float64)
    np.testing.assert_allclose(np.square(bank.reshape(8, 16)).sum(axis=0), 4)  # 1 / 0.25


def test_whitening_takes_images_of_any_dtype_and_the_first_5000():
    x = np.random.default_rng(0).integers(0, 256, (5001, 2, 2, 1), dtype=np.uint8)
    bank = initializers.whitening(x)((2, 2, 1, 8), None, np.float32)
    assert bank.dtype == np.float32
    assert bank.flags.writeable
    np.testing.assert_array_equal(bank, initializers.whitening(x[:5000].astype(float))((2, 2, 1, 8)))
    assert (bank != initializers.whitening(x[1:])((2, 2, 1, 8))).any()
    as_seen = cl.Normalize(128, 64).predict(x)
    np.testing.assert_allclose(initializers.whitening(as_seen)((2, 2, 1, 8)), bank * 64, rtol=2e-3, atol=1e-5)


def test_whitening_of_signals():
    x = np.random.default_rng(0).normal(size=(50, 20, 2)).cumsum(axis=1)
    conv = cl.Conv(12, 3, init=initializers.whitening(x, eps=1e-9))
    conv.build((20, 2), dtype=np.float64)
    np.testing.assert_allclose(np.cov(conv.forward(x).reshape(-1, 12)[:, :6].T, ddof=0), np.eye(6), atol=1e-5)


def test_whitening_gives_the_same_bits_on_any_number_of_threads():
    threads, banks = cl.get_num_threads(), []
    try:
        for n in (1, 2, 7):
            cl.set_num_threads(n)
            banks.append(initializers.whitening(photos(230))((2, 2, 3, 24)))
    finally:
        cl.set_num_threads(threads)
    np.testing.assert_array_equal(banks[0], banks[1])
    np.testing.assert_array_equal(banks[0], banks[2])


def test_images_that_whitening_refuses():
    for images, error, message in (
        (np.zeros((3, 4)), ValueError, "whitening needs images (N, H, W, C) or signals (N, L, C), at least one; got"),
        (np.zeros((0, 4, 4, 3)), ValueError, "at least one; got shape (0, 4, 4, 3)"),
        (np.full((2, 3, 3, 1), np.nan), ValueError, "whitening needs finite images; got NaN or infinity among them"),
        (np.zeros((2, 3, 3, 1), complex), TypeError, "whitening needs real numbers"),
        ("images", TypeError, "whitening needs real numbers"),
        (None, TypeError, "whitening needs real numbers"),
    ):
        with pytest.raises(error, match=re.escape(message)):
            initializers.whitening(images)
    for eps in (0, -1, math.nan):
        with pytest.raises(ValueError, match=r"whitening: eps must be above 0"):
            initializers.whitening(photos(), eps)


def test_layers_that_whitening_does_not_fit():
    init = initializers.whitening(photos())
    with pytest.raises(
        ValueError, match=re.escape("gives 24 filters, two for each of the 2 x 2 x 3 numbers of a patch")
    ):
        cl.Conv(32, 2, init=init).build((11, 12, 3))
    for layer, shape in ((cl.Conv(8, 2, init=init), (11, 12, 1)), (cl.Conv(6, 1, init=init), (12, 3))):
        with pytest.raises(ValueError, match=re.escape("do not fit the images, of shape (40, 11, 12, 3)")):
            layer.build(shape)
    with pytest.raises(ValueError, match=re.escape("filters of shape (13, 1, 3, 78) do not fit the images")):
        cl.Conv(78, (13, 1), init=init).build((20, 20, 3))


def test_a_net_with_whitening_is_copied_saved_and_loaded(tmp_path):
    x = photos()
    net = cl.Sequential([cl.Conv(24, 2, init=initializers.whitening(x)), cl.GELU()], (11, 12, 3), rng=0)
    assert repr(net[0]) == "Conv(24, 2, init=whitening)"
    net.save(tmp_path / "net.safetensors")
    for again in (cl.load(tmp_path / "net.safetensors"), net.copy()):
        np.testing.assert_array_equal(again.predict(x), net.predict(x))

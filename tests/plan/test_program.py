"""Programs: a net for prediction as one call, to the bits of its steps one by one."""

import copy
import pickle
import threading

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.models import basic_block
from cnnlayers.plan import watching
from cnnlayers.plan.program import KEPT
from tests.layers.common import CASES, batch, data
from tests.marks import DTYPES, every_level


@pytest.fixture(autouse=True)
def _same_afterwards():
    before = cl.get_num_threads()
    yield
    cl.set_num_threads(before)
    cl.set_precision("fast")


def made(layers, shape, dtype=np.float32):
    """A net for prediction, with biases and statistics that are not those of the beginning."""
    net = cl.Sequential(layers, input_shape=shape, rng=0, dtype=dtype)
    rng = np.random.default_rng(1)
    for name, values in {**net.params, **net.state}.items():
        if not name.endswith("W"):
            values[...] = rng.uniform(0.5, 2, values.shape)
    return net.for_inference()


def check(net, x, threads=(1, 2, 3)):
    """The program gives the bits of the steps, on any number of threads; and keeps its hands off x."""
    before = x.copy()
    expected = net.plan.chain.predict(x)
    for n in threads:
        cl.set_num_threads(n)
        y = net.predict(x, batch_size=len(x) + 1)
        assert y.dtype == expected.dtype
        assert y.shape == expected.shape
        assert y.tobytes() == expected.tobytes()
    np.testing.assert_array_equal(x, before)
    return expected


def left(net, x):
    """What the net's program leaves to functions."""
    names = {name for name, *_ in net.plan.program(x.shape).rows()}
    return sorted(name for name in names if "(" in name)


def gate(channels):
    layers = [cl.GlobalAvgPool(), cl.Affine(2), cl.ReLU(), cl.Affine(channels), cl.Sigmoid()]
    return [*layers, cl.Reshape((1, 1, channels))]


# Nets of which kernels compute all, and the shape of their input.
NETS = {
    "digits": (
        lambda: [
            *(cl.Conv(6, 5), cl.ReLU(), cl.MaxPool(2), cl.Conv(16, 5), cl.ReLU(), cl.MaxPool(2), cl.Flatten()),
            *(cl.Affine(20), cl.ReLU(), cl.Affine(5)),
        ],
        (20, 20, 1),
    ),
    "residual": (
        lambda: [
            *(cl.Conv(16, 3, padding=1, bias=False), cl.BatchNorm(), cl.ReLU(), basic_block(16), cl.ReLU()),
            *(basic_block(32, stride=2), cl.ReLU(), basic_block(32), cl.GlobalAvgPool(), cl.Affine(5)),
        ],
        (9, 8, 3),
    ),
    "by Winograd": (
        lambda: [
            *(cl.Conv(32, 3, padding=1, algorithm="winograd"), cl.ReLU()),
            *(cl.Residual([cl.Conv(32, 5, padding=2, algorithm="winograd")]), cl.ReLU()),
            *(cl.ConvTranspose(32, 3, padding=1), cl.ReLU(), cl.ConvTranspose(8, 3, bias=False), cl.ReLU()),
        ],
        (9, 8, 32),
    ),
    "by channel": (
        lambda: [
            *(cl.Conv(12, 3, padding=1, groups=12), cl.BatchNorm(), cl.ReLU(), cl.Conv(20, 1), cl.BatchNorm()),
            *(cl.ReLU(), cl.Residual([cl.Conv(20, 3, padding=1, groups=20)]), cl.AvgPool(3, 2), cl.GlobalMaxPool()),
        ],
        (11, 9, 12),
    ),
    "separable": (
        lambda: [
            *(cl.Conv(16, 3, padding=1, groups=16), cl.BatchNorm(), cl.ReLU(), cl.Conv(40, 1), cl.ReLU()),
            *(cl.Conv(40, 5, padding=2, groups=40, bias=False), cl.Conv(36, 1, bias=False)),
            cl.Residual([cl.Conv(36, 3, padding=1, groups=36), cl.ReLU(), cl.Conv(36, 1), cl.BatchNorm()]),
            *(cl.ReLU(), cl.Conv(36, 3, stride=2, groups=36, padding=1), cl.Conv(17, 1), cl.ReLU()),
        ],
        (11, 9, 16),
    ),
    "activations": (
        lambda: [
            *(cl.GELU(), cl.Affine(40), cl.GELU("tanh"), cl.SiLU(), cl.Affine(40), cl.Sigmoid(), cl.Tanh()),
            *(cl.LeakyReLU(0.1), cl.ELU(0.5), cl.ReLU(), cl.Residual([cl.Affine(40), cl.Tanh()]), cl.LayerNorm()),
        ],
        (30,),
    ),
    "norms": (
        lambda: [
            *(cl.BatchNorm(), cl.ReLU(), cl.GroupNorm(2), cl.ReLU(), cl.InstanceNorm(), cl.LayerNorm()),
            cl.Residual([cl.Tanh(), cl.BatchNorm()], shortcut=[cl.LayerNorm(), cl.Dropout(0.5)]),
        ],
        (5, 4, 6),
    ),
    "branches": (
        lambda: [
            cl.Concat([[], cl.Conv(3, 1), [cl.Conv(2, 3, padding=1), cl.BatchNorm(), cl.ReLU()], [cl.Tanh()]]),
            *(cl.Multiply([[], gate(13)]), cl.Multiply([gate(14), cl.Conv(14, 1)])),
            *(cl.Multiply([cl.Conv(8, 1), [cl.Conv(8, 1), cl.Sigmoid()]]), cl.Flatten()),
            cl.Concat([cl.Affine(3), cl.Affine(2)]),
        ],
        (5, 6, 4),
    ),
    "signals": (
        lambda: [
            *(cl.Conv(16, 5, padding=2), cl.ReLU(), cl.MaxPool(2), cl.Conv(24, 3, padding=1), cl.ReLU()),
            *(cl.MaxPool(3, 2, ceil_mode=True), cl.ConvTranspose(4, 3, stride=2), cl.GlobalAvgPool()),
        ],
        (50, 2),
    ),
    "a matrix of many rows": (lambda: [cl.Affine(64), cl.ReLU(), cl.Affine(9)], (8192,)),
}


def test_a_depthwise_and_a_1x1_convolution_are_one_call():
    layers, shape = NETS["separable"]
    names = [name for name, *_ in made(layers(), shape).plan.program((1, *shape)).rows()]
    assert names == ["two convs, separable"] * 4


def test_infinities_pass_a_depthwise_and_a_1x1_convolution_as_they_do_apart():
    layers, shape = NETS["separable"]
    x = batch(2, *shape, dtype=np.float32)
    x[0, 3, 4, 5], x[1, 0, 0, 0], x[1, 9, 2, 3] = np.nan, np.inf, -np.inf
    check(made(layers(), shape), x)


@pytest.mark.parametrize("n", [1, 3, 17])
@pytest.mark.parametrize("name", NETS)
@every_level
def test_the_bits_are_those_of_the_steps(name, n):
    layers, shape = NETS[name]
    for dtype in DTYPES:
        net, x = made(layers(), shape, dtype), batch(n, *shape).astype(dtype)
        assert np.isfinite(check(net, x)).all()
        assert left(net, x) == []


@pytest.mark.parametrize("name", CASES)
def test_every_layer_gives_the_bits_of_its_step(name):
    make, shape = CASES[name]
    for n in (1, 3):
        x = data(name, n, np.float32)
        check(made([cl.LeakyReLU(-0.5), make(), cl.LeakyReLU(-0.5)], shape), x, (2,))


def test_a_batch_of_none():
    for layers, shape in NETS.values():
        net = made(layers(), shape)
        assert net.predict(np.ones((0, *shape))).shape == (0, *net.output_shape(shape))


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("name", NETS)
def test_numbers_that_are_not_finite_stay_where_they_are(name, value):
    """Winograd's kernels would spread them: plain ones compute those passes."""
    layers, shape = NETS[name]
    net, x = made(layers(), shape), batch(3, *shape).astype(np.float32)
    x[1].flat[7] = value
    y = check(net, x)
    assert np.isfinite(y[0]).all()
    assert np.isfinite(y[2]).all()
    assert not np.array_equal(y, check(net, np.nan_to_num(x, posinf=1, neginf=1)))


def test_a_plain_kernel_takes_over_in_the_middle_of_a_sum():
    net = made([cl.Residual([cl.Conv(32, 3, padding=1, algorithm="winograd")]), cl.ReLU(), cl.Conv(3, 1)], (9, 8, 32))
    x = batch(2, 9, 8, 32).astype(np.float32)
    x[0, 4, 4, 5] = np.inf
    y = check(net, x)
    assert np.isfinite(y[0, 0]).all()
    assert not np.isfinite(y[0, 4, 4]).any()


def test_exact_precision():
    layers, shape = NETS["by Winograd"]
    net = made([cl.Conv(32, 3, padding=1), cl.ReLU(), *layers()[2:]], shape)
    x = batch(17, *shape).astype(np.float32)
    fast = check(net, x)
    cl.set_precision("exact")
    assert not np.array_equal(check(net, x), fast)
    cl.set_precision("fast")
    np.testing.assert_array_equal(net.predict(x), fast)


def test_images_of_another_size():
    net = made([cl.Conv(16, 3, padding=1), cl.ReLU(), cl.Conv(8, 3), cl.BatchNorm(), cl.GlobalAvgPool()], (9, 8, 3))
    for shape in ((2, 9, 8, 3), (2, 5, 6, 3), (1, 30, 3, 3), (2, 9, 8, 3)):
        check(net, batch(*shape).astype(np.float32))


def test_results_are_arrays_of_their_own():
    layers, shape = NETS["residual"]
    net, x = made(layers(), shape), batch(3, *shape).astype(np.float32)
    y = net.predict(x)
    kept = y.copy()
    for _ in range(3):
        assert not np.shares_memory(net.predict(-x), y)
    np.testing.assert_array_equal(y, kept)


def test_many_threads_predict_at_once():
    layers, shape = NETS["residual"]
    net = made([*layers()[:-2], Own(), *layers()[-2:]], shape)
    xs = [batch(n, *shape, seed=n).astype(np.float32) for n in (1, 2, 3, 4)]
    expected = [net.plan.chain.predict(x) for x in xs]
    wrong = []

    def work(i):
        for _ in range(30):
            if net.predict(xs[i]).tobytes() != expected[i].tobytes():
                wrong.append(i)

    workers = [threading.Thread(target=work, args=(i % 4,)) for i in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


def test_the_last_programs_are_kept():
    net = made([cl.Affine(2), cl.ReLU()], (3,))
    programs = [net.plan.program((n, 3)) for n in range(1, KEPT + 2)]
    assert net.plan.program((KEPT + 1, 3)) is programs[-1]
    assert net.plan.program((2, 3)) is programs[1]
    assert net.plan.program((1, 3)) is not programs[0]
    assert net.plan.program((2, 3)) is programs[1]


def test_copies():
    layers, shape = NETS["digits"]
    net, x = made(layers(), shape), batch(3, *shape).astype(np.float32)
    y = net.predict(x)
    for twin in (net.copy(), copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        np.testing.assert_array_equal(twin.predict(x), y)
    assert net[7].copy().packed is None  # whose weights may change


# Layers that no kernel computes


class Own(cl.Layer):
    """y = x + 1."""

    resizable = True

    def forward(self, x, train=True):
        return x + 1


class Refuses(cl.Layer):
    def forward(self, x, train=True):
        if not np.isfinite(x).all():
            raise ArithmeticError("not finite")
        return x


def conv(filters=4):
    return cl.Conv(filters, 3, padding=1)


@pytest.mark.parametrize(
    "layers",
    [
        lambda: [Own(), conv(), cl.ReLU(), conv()],
        lambda: [conv(), cl.ReLU(), Own(), conv(), cl.ReLU()],
        lambda: [conv(), cl.ReLU(), Own()],
        lambda: [Own(), Own(), conv(), Own(), Own()],
        lambda: [conv(), cl.Residual([conv(), Own()], shortcut=[Own(), conv()]), cl.ReLU(), conv()],
        lambda: [cl.Residual([Own()]), conv(), cl.Residual([conv()], shortcut=Own()), cl.ReLU()],
        lambda: [cl.Concat([Own(), [conv(), Own()], []]), cl.Multiply([Own(), Own(), conv(12)]), cl.ReLU()],
        lambda: [
            conv(),
            cl.Conv(3, 3, algorithm="im2col"),
            cl.ReLU(),
            cl.Residual([conv(3), cl.MaxPool(16, 1, "same")]),
        ],
        lambda: [conv(), Own(), cl.Flatten(), cl.Affine(3), Own(), cl.Softmax()],
    ],
)
def test_stretches_around_layers_of_a_users_own(layers):
    net = made(layers(), (6, 5, 4))
    for n in (1, 3, 17):
        x = batch(n, 6, 5, 4).astype(np.float32)
        check(net, x)
        assert left(net, x) != []


def test_a_layer_may_keep_what_it_is_given():
    seen = []

    class Keeps(cl.Layer):
        def forward(self, x, train=True):
            seen.append(x)
            return x

    net, x = made([conv(), cl.ReLU(), Keeps(), conv()], (6, 5, 4)), batch(2, 6, 5, 4).astype(np.float32)
    net.predict(x)
    first = seen[-1].copy()
    net.predict(-x)
    np.testing.assert_array_equal(seen[-2], first)
    assert not np.array_equal(seen[-1], first)


def test_an_error_says_where_it_arose():
    for layers in ([conv(), Refuses(), conv()], [conv(), cl.Residual([conv(), Refuses()]), conv()]):
        net, notes = made(layers, (6, 5, 4)), []
        program = net.plan.program((2, 6, 5, 4))
        for predict in (net.plan.chain.predict, program.run):
            with pytest.raises(ArithmeticError, match="not finite") as caught:
                predict(np.full((2, 6, 5, 4), np.nan, np.float32))
            notes.append(caught.value.__notes__)
        assert notes[0] == notes[1] != []
        check(net, batch(2, 6, 5, 4).astype(np.float32))


def test_what_gives_another_shape_than_it_promises_is_left_to_the_steps():
    net = made([conv(), Own(), cl.ReLU(), conv()], (6, 5, 4))
    x = batch(2, 6, 5, 4).astype(np.float32)
    own = net[1]
    for result in (lambda a: a[:1], lambda a: np.asfortranarray(a), lambda a: list(a)):
        own.predict = result
        try:
            expected = net.plan.chain.predict(x)
        except Exception as error:
            with pytest.raises(type(error)):
                net.predict(x)
        else:
            np.testing.assert_array_equal(net.predict(x), expected)


def test_a_layer_that_is_watched_is_seen():
    net, x = made([conv(), cl.ReLU(), conv()], (6, 5, 4)), batch(2, 6, 5, 4).astype(np.float32)
    before, seen = net.predict(x), []
    with watching([net[0]], lambda layer, what, values: seen.append(values.min())):
        np.testing.assert_array_equal(net.predict(x), before)
    assert min(seen) < 0  # its own output, before the ReLU
    np.testing.assert_array_equal(net.predict(x), before)
    assert len(seen) == 1


def test_a_net_of_no_kernels_has_no_program():
    net = made([cl.Flatten(), cl.Softmax()], (2, 3))
    assert net.plan.program((4, 2, 3)) is None
    check(net, batch(4, 2, 3).astype(np.float32))


# Errors are those of any net


def test_inputs_are_checked_as_ever():
    layers, shape = NETS["digits"]
    net = made(layers(), shape)
    x = batch(3, *shape)
    expected = net.predict(x.astype(np.float32))
    for same in (x.tolist(), np.asfortranarray(x), x.astype(">f4").astype(x.dtype), np.repeat(x, 2, 0)[::2]):
        np.testing.assert_array_equal(net.predict(same), expected)
    for wrong, message in ((x[..., 0], "needs|built"), (x[:, 1:], "built for"), (np.array("a"), "real numbers")):
        with pytest.raises((ValueError, TypeError), match=message):
            net.predict(wrong)


def test_memory_is_used_again_after_a_values_last_reader():
    layers = [cl.Conv(8, 1) if i % 2 == 0 else cl.Tanh() for i in range(20)]
    net = made([*layers, cl.GlobalAvgPool()], (16, 16, 8))
    assert net.plan.program((1, 16, 16, 8)).arena == 2 * 16 * 16 * 8 * 4  # what a Conv reads and what it writes

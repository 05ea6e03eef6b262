"""Prediction by parts of the batch: the bits of the steps, whichever way the batch is cut."""

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import kernels
from tests.layers.common import batch
from tests.marks import DTYPES, every_level
from tests.plan.test_program import NETS, Own, check, made


@pytest.fixture(autouse=True)
def _same_afterwards():
    before = cl.get_num_threads()
    yield
    cl.set_num_threads(before)


@pytest.fixture
def cache(monkeypatch):
    """Say how large the cache is."""
    return lambda size: monkeypatch.setattr(kernels, "cache_bytes", lambda: size)


def parts(net, n):
    """The number of parts of a batch of n; 1 if it is computed layer after layer."""
    names = [name for name, *_ in net.plan.program((n, *net.input_shape)).rows()]
    return next((int(name.split()[0]) for name in names if name.endswith("parts of the batch")), 1)


def thin(*tail):
    """A net of few weights and many pixels; 18 KB of an image's values are needed at the same time."""
    return made([cl.Conv(8, 3, padding=1), cl.ReLU(), cl.Conv(8, 3, padding=1), *tail], (16, 18, 8))


@pytest.mark.parametrize("n", [4, 12, 17, 24])
@pytest.mark.parametrize("name", NETS)
@every_level
def test_the_bits_are_those_of_the_steps(name, n, cache, monkeypatch):
    monkeypatch.setattr("cnnlayers.plan.parts.REREAD", float("inf"))
    layers, shape = NETS[name]
    for dtype in DTYPES:
        for bytes_of_cache in (1, 1 << 16):
            cache(bytes_of_cache)
            assert np.isfinite(check(made(layers(), shape, dtype), batch(n, *shape).astype(dtype))).all()


def test_parts_are_of_as_many_samples_as_fit_the_cache(cache):
    cl.set_num_threads(1)
    net = thin()
    one = arena_of_one(net)
    for fit, expected in ((1, 40), (2, 20), (3, 14), (7, 6), (39, 2), (40, 1)):
        cache(fit * one)
        assert parts(net.copy(), 40) == expected


def arena_of_one(net):
    return net.plan.program((1, *net.input_shape)).arena


@pytest.mark.parametrize(
    ("n", "threads", "expected"), [(40, 2, 2), (40, 3, 3), (10, 3, 1), (2, 2, 2), (2, 3, 1), (9, 2, 1)]
)
def test_each_thread_has_a_part_if_hardly_one_waits_for_another(n, threads, expected, cache):
    cl.set_num_threads(threads)
    cache(1 << 30)
    assert parts(thin(), n) == expected


def test_layers_with_a_weight_for_each_pixel_come_after_the_parts(cache):
    cl.set_num_threads(1)
    cache(1)
    net = thin(cl.Flatten(), cl.Affine(10), cl.ReLU(), cl.Affine(3))
    names = [name for name, *_ in net.plan.program((24, 16, 18, 8)).rows()]
    assert names == ["24 parts of the batch", "affine, direct", "affine, direct"]
    check(net, batch(24, 16, 18, 8).astype(np.float32))


def test_many_weights_are_not_read_again_for_each_part(cache):
    cache(1)
    wide = made([cl.Conv(64, 3, padding=1), cl.ReLU(), cl.Conv(64, 3, padding=1)], (4, 4, 64))
    assert parts(wide, 32) == 1
    assert parts(thin(), 32) == 32


@pytest.mark.parametrize(
    "layers",
    [
        lambda: [cl.Conv(8, 3)],
        lambda: [cl.Conv(8, 3), cl.ReLU(), Own(), cl.Conv(8, 3)],
        lambda: [cl.Conv(8, 3), cl.Flatten(), cl.Softmax()],
        lambda: [cl.Flatten(), cl.Affine(3)],
    ],
    ids=["a single call", "a layer of one's own", "a step by NumPy", "no layer before the first Affine"],
)
def test_what_is_computed_layer_after_layer(layers, cache):
    cache(1)
    net = made(layers(), (9, 9, 8))
    assert parts(net, 24) == 1
    check(net, batch(24, 9, 9, 8).astype(np.float32))


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_a_number_that_is_not_finite_stays_in_its_part(value, cache, monkeypatch):
    monkeypatch.setattr("cnnlayers.plan.parts.REREAD", float("inf"))
    cache(1)
    net = made([cl.Conv(32, 3, padding=1, algorithm="winograd"), cl.ReLU(), cl.Conv(3, 1)], (9, 8, 32))
    x = batch(16, 9, 8, 32).astype(np.float32)
    x[5, 4, 4, 5] = value
    assert parts(net, 16) == 16
    y = check(net, x)
    assert np.isfinite(np.delete(y, 5, 0)).all()
    assert np.isfinite(y[5, 0]).all()
    assert not np.isfinite(y[5, 4, 4]).all()


def test_a_large_batch_needs_little_memory(cache):
    cl.set_num_threads(2)
    cache(1 << 16)
    net = thin()
    assert net.plan.program((512, 16, 18, 8)).arena <= 2 * (1 << 16)


def test_the_plan_shows_what_a_part_is(cache, capsys):
    cl.set_num_threads(1)
    cache(1)
    cl.show_plan(thin(cl.Flatten(), cl.Affine(3)), 16)
    shown = [line.split("  ") for line in capsys.readouterr().out.splitlines() if line]
    first = next(i for i, line in enumerate(shown) if line[0] == "16 parts of the batch")
    assert [line[1] for line in shown[first + 1 : first + 3]] == ["conv, direct", "conv, direct"]
    assert shown[first + 3][0] == "affine, direct"

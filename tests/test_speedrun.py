"""The recipe of examples/cifar10_speedrun.py: its bits, whatever the threads and through an interruption."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import cnnlayers as cl

PATH = Path(__file__).parents[1] / "examples" / "cifar10_speedrun.py"
QUIET = {"progress": False}


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("cifar10_speedrun", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def data():
    """Forty images of each kind of two: bright above or bright below, with noise."""
    rng = np.random.default_rng(0)
    y = np.arange(80) % 2
    x = rng.integers(0, 100, (80, 32, 32, 3), np.uint8)
    x[y == 0, :16] += 120
    x[y == 1, 16:] += 120
    return cl.datasets.arrays((x[:64], y[:64]), test=(x[64:], y[64:]), classes=[str(c) for c in range(10)])


def trained(example, data, **options):
    solver = example.make_solver(data, seed=3, epochs=5, batch_size=16, **QUIET | options)
    solver.train()
    return solver


@pytest.fixture(scope="module")
def once(example, data):
    return trained(example, data)


def test_it_learns(once, data):
    assert once.evaluate(*data.test, views=cl.augment.mirror_and_shift)["accuracy"] == 1


def test_the_same_seed_gives_the_same_weights_on_any_number_of_threads(example, data, once):
    before = cl.get_num_threads()
    try:
        for threads in (1, 3):
            cl.set_num_threads(threads)
            again = trained(example, data)
            assert again.model.flat_params.tobytes() == once.model.flat_params.tobytes()
            assert again.model.flat_state.tobytes() == once.model.flat_state.tobytes()
    finally:
        cl.set_num_threads(before)


def test_stopped_and_resumed_it_has_the_same_weights(example, data, once, tmp_path):
    stop = cl.LambdaCallback(on_step=lambda solver: solver.step == 14 and solver.stop("enough"))
    stopped = trained(example, data, checkpoint=tmp_path, callbacks=[stop])
    assert stopped.history.stopped == "enough"
    resumed = cl.Solver.resume(tmp_path, data.train, data.test, callbacks=[cl.LambdaCallback()], **QUIET)
    resumed.train()
    assert resumed.model.flat_params.tobytes() == once.model.flat_params.tobytes()
    assert resumed.history["val_loss"] == once.history["val_loss"]


def test_what_trains(once, example, data):
    fresh = example.make_solver(data, seed=3, epochs=5, batch_size=16, **QUIET)
    changed = {name: not np.array_equal(array, fresh.model.params[name]) for name, array in once.model.params.items()}
    assert changed.pop("1.0.W") is False  # the whitening
    assert all(changed.values())
    norms = {name: np.linalg.norm(w) for name, w in once.model.params.items() if w.ndim == 4 and name != "1.0.W"}
    assert len(norms) == 6
    for name, norm in norms.items():  # sqrt(F) before the last step
        filters = once.model.params[name].shape[-1]
        assert norm == pytest.approx(np.sqrt(filters), rel=0.3)

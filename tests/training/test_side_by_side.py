"""Threads that train and predict side by side: each gets the bits that it would get alone, with the GIL and without."""

import subprocess
import sys
import sysconfig
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import cnnlayers as cl

THREADS = 6


def net(seed):
    layers = [
        cl.Conv(8, 3, padding="same", bias=False),
        cl.BatchNorm(),
        cl.ReLU(),
        cl.Residual([cl.Conv(8, 3, padding="same"), cl.GELU(), cl.Conv(8, (3, 1), padding="same")]),
        cl.MaxPool(2),
        cl.Conv(8, 3, padding="same", groups=8),
        cl.Dropout(0.2),
        cl.GlobalAvgPool(),
        cl.Affine(4),
    ]
    return cl.Sequential(layers, input_shape=(12, 12, 3), rng=seed)


def data(seed):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((40, 12, 12, 3), np.float32), rng.integers(0, 4, 40)


def trained(seed):
    """Weights after three epochs, and the scores that the net then gives."""
    x, labels = data(seed)
    optimizer = cl.Muon(0.02) if seed % 2 else cl.AdamW(0.01)
    augment = cl.augment.Compose([cl.augment.RandomCrop(1), cl.augment.HorizontalFlip()])
    solver = cl.Solver(
        net(seed),
        (x, labels),
        loss=cl.SoftmaxLoss(),
        optimizer=optimizer,
        epochs=3,
        batch_size=16,
        augment=augment,
        rng=seed,
        progress=False,
    )
    solver.train()
    return [w.tobytes() for w in solver.model.params.values()], solver.model.predict(x).tobytes()


@pytest.mark.parametrize("num_threads", [1, 3])
def test_trainings_and_predictions_side_by_side_give_the_bits_of_each_alone(num_threads):
    cl.set_num_threads(num_threads)
    alone = [trained(seed) for seed in range(THREADS)]
    shared, (x, _) = net(99), data(99)
    sizes = (1, 7, 16, 40)
    expected = {n: shared.predict(x[:n]) for n in sizes}
    begin, done = threading.Barrier(THREADS + 2), threading.Event()

    def train(seed):
        begin.wait()
        return trained(seed)

    def predict(first):
        begin.wait()
        i = first
        while not done.is_set():
            n = sizes[i % len(sizes)]
            np.testing.assert_array_equal(shared.predict(x[:n]), expected[n])
            if i % 5 == 0:
                cl.release_memory()
            i += 1
        return i > first

    with ThreadPoolExecutor(THREADS + 2) as pool:
        trainings = [pool.submit(train, seed) for seed in range(THREADS)]
        predictions = [pool.submit(predict, first) for first in range(2)]
        try:
            assert [training.result() for training in trainings] == alone
        finally:
            done.set()
        assert all(prediction.result() for prediction in predictions)


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this Python always has the GIL")
def test_the_package_does_not_bring_the_gil_back():
    script = "import sys, cnnlayers; sys.exit(sys._is_gil_enabled())"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0

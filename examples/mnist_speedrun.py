"""Train on 8,000 handwritten digits to 99% in seconds; 2,000 others test it.

    python examples/mnist_speedrun.py [FOLDER] [--seed=0]

FOLDER (data/mnist) holds MNIST's test part, t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz: all 10,000 digits
come from there. MNIST is fetched if it is not there, 11.6 MB. `--quick` fetches nothing: it enlarges the small digits
in the package.
"""

import sys
import time
from pathlib import Path

import numpy as np

import cnnlayers as cl

QUICK = "--quick" in sys.argv[1:]
FOLDER = Path(next((a for a in sys.argv[1:] if not a.startswith("-")), "data/mnist"))
SEED = int(next((a.removeprefix("--seed=") for a in sys.argv[1:] if a.startswith("--seed=")), 0))


def digits():
    """10,000 digits (N, 28, 28, 1) and their labels; or the small ones."""
    if QUICK:
        x, y = cl.datasets.digits().train
        return np.pad((x * 15).repeat(3, axis=1).repeat(3, axis=2), ((0, 0), (2, 2), (2, 2), (0, 0))), y
    files = [FOLDER / f"t10k-{what}-ubyte.gz" for what in ("images-idx3", "labels-idx1")]
    if not all(file.exists() for file in files):
        cl.datasets.mnist(FOLDER, download=True)
    images, labels = map(cl.datasets.idx, files)
    return images[..., np.newaxis], labels.astype(np.int64)


def main():
    data = cl.datasets.arrays(digits(), val=0.2, rng=0)  # the other 2,000 are only looked at in the end
    net = [cl.Normalize(*cl.datasets.channel_stats(data.train[0]))]
    for filters in (16, 32, 64):
        net += [cl.Conv(filters, 3, padding=1, bias=False), cl.MaxPool(2), cl.BatchNorm(momentum=0.7), cl.ReLU()]
    net = cl.Sequential([*net, cl.Flatten(), cl.Affine(10)], input_shape=(28, 28, 1), rng=SEED)
    rest = cl.SGD(lr=0.1, momentum=0.85, nesterov=True)
    solver = cl.Solver(
        net,
        data.train,
        loss=cl.SoftmaxLoss(label_smoothing=0.1),
        optimizer=cl.Muon(lr=0.1, momentum=0.6, steps=3, rest=rest, groups={"14.W": {"optimizer": "rest"}}),
        schedule=cl.Polynomial(),
        augment=cl.augment.RandomCrop(2),
        epochs=1 if QUICK else 5,
        rng=SEED,
    )
    seconds = -time.perf_counter()
    solver.train()
    seconds += time.perf_counter()
    print(f"test accuracy: {solver.evaluate(*data.val)['accuracy']:.2%} after {seconds:.1f} s of training")


if __name__ == "__main__":
    main()

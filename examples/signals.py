"""Classify signals, (N, L, C), with convolutions along time.

    python examples/signals.py

The signals are made here: waves that are sines, squares or saws, of any frequency and phase, under noise. What tells
them apart is their form from sample to sample, which a filter sees wherever it comes. `--quick` trains for one epoch.
"""

import sys

import numpy as np

import cnnlayers as cl

WAVES = {
    "sine": np.sin,
    "square": lambda t: np.sign(np.sin(t)),
    "saw": lambda t: (t / np.pi) % 2 - 1,
}


def signals(n, rng, length=128):
    """N signals of one channel, and which wave each is."""
    y = rng.integers(0, len(WAVES), n)
    waves = list(WAVES.values())
    t = np.linspace(0, 2 * np.pi, length) * rng.uniform(2, 8, (n, 1)) + rng.uniform(0, 2 * np.pi, (n, 1))
    x = np.stack([waves[label](row) for label, row in zip(y, t, strict=True)])
    return (x + rng.normal(0, 0.4, x.shape))[..., np.newaxis].astype(np.float32), y


def main():
    rng = np.random.default_rng(0)
    train, val, test = signals(2000, rng), signals(300, rng), signals(500, rng)
    net = cl.Sequential(
        [
            *(cl.Conv(16, 9, stride=2, padding="same", bias=False), cl.BatchNorm(), cl.ReLU()),  # (64, 16)
            *(cl.Conv(32, 5, stride=2, padding="same", bias=False), cl.BatchNorm(), cl.ReLU()),  # (32, 32)
            *(cl.Conv(32, 3, dilation=2, padding="same", bias=False), cl.BatchNorm(), cl.ReLU()),
            *(cl.GlobalAvgPool(), cl.Affine(len(WAVES))),
        ],
        input_shape=train[0].shape[1:],
        rng=0,
    )
    print(net.summary(), end="\n\n")
    solver = cl.Solver(
        net, train, val, loss=cl.SoftmaxLoss(), optimizer=cl.AdamW(lr=0.003), schedule=cl.Cosine(), rng=0
    )
    solver.train(epochs=1 if "--quick" in sys.argv[1:] else 10)
    print(f"test accuracy: {solver.evaluate(*test)['accuracy']:.1%}")


if __name__ == "__main__":
    main()

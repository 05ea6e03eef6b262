"""Train a small residual net on the 1,797 handwritten digits in the package: the shortest whole training.

    python examples/digits.py

The net, the Solver and what it gives back, a file, and a prediction. About 5 seconds, 98 to 99.7% right. `--quick`
trains for two epochs.
"""

import sys

import cnnlayers as cl

QUICK = "--quick" in sys.argv[1:]


def main():
    data = cl.datasets.digits()  # .train, .val and .test are pairs (x, y)
    net = cl.Sequential(
        [
            cl.Normalize(*cl.datasets.channel_stats(data.train[0])),
            *(cl.Conv(16, 3, padding="same", bias=False), cl.BatchNorm(), cl.ReLU()),
            *(cl.models.basic_block(16), cl.ReLU()),
            *(cl.models.basic_block(32, stride=2), cl.ReLU()),
            *(cl.GlobalAvgPool(), cl.Affine(10)),
        ],
        input_shape=(8, 8, 1),
        rng=0,
    )
    print(net.summary(), end="\n\n")
    solver = cl.Solver(
        net,
        data.train,
        data.val,
        loss=cl.SoftmaxLoss(label_smoothing=0.1),
        optimizer=cl.SGD(lr=0.1, momentum=0.9, weight_decay=5e-4),
        schedule=cl.Cosine(warmup=1),
        batch_size=64,
        epochs=2 if QUICK else 20,
        rng=0,
    )
    if stopped := solver.train().stopped:  # by Ctrl-C, say
        print(f"stopped: {stopped}")
    net.save("digits.safetensors", classes=data.classes)

    again = cl.load("digits.safetensors")
    x, y = data.test
    p = again.predict_proba(x[:1])[0]
    print(f"\nthe first test image is a {y[0]}; the net says {again.classes[p.argmax()]}, sure to {p.max():.0%}")
    print(f"test accuracy: {solver.evaluate(x, y)['accuracy']:.1%}")


if __name__ == "__main__":
    main()

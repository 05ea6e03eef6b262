"""Train a residual net on CIFAR-10's 50,000 photographs, with augmentation and one cycle of the learning rate.

    python examples/cifar10_resnet.py [FOLDER]

FOLDER (data/cifar10) holds the binary version; it is fetched if it is not there, 170 MB. The run keeps checkpoints in
runs/cifar10: after Ctrl-C, examples/resuming.py or `cnnlayers resume` shows how to go on. `--quick` fetches nothing: it
paints the small digits in the package.
"""

import sys

import cnnlayers as cl

QUICK = "--quick" in sys.argv[1:]


def painted(pair):
    """8x8 digits as 32x32 colour images."""
    x, y = pair
    return (x * 15).repeat(4, axis=1).repeat(4, axis=2).repeat(3, axis=3)[:200], y[:200]


def main():
    if QUICK:
        small = cl.datasets.digits()
        data = cl.datasets.arrays(painted(small.train), painted(small.val), painted(small.test))
    else:
        folder = next((a for a in sys.argv[1:] if not a.startswith("-")), "data/cifar10")
        data = cl.datasets.cifar10(folder, download=True)
    print(data)

    make = cl.models.resnet8 if QUICK else cl.models.resnet20
    scale = cl.Normalize(*cl.datasets.channel_stats(data.train[0]))
    net = cl.Sequential([scale, make(rng=0)], input_shape=(32, 32, 3), rng=0)
    solver = cl.Solver(
        net,
        data.train,
        data.val,
        loss=cl.SoftmaxLoss(),
        optimizer=cl.SGD(lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4),
        schedule=cl.OneCycle(),
        augment=cl.augment.Compose([cl.augment.RandomCrop(4), cl.augment.HorizontalFlip()], dtype="float32"),
        batch_size=128,
        epochs=1 if QUICK else 30,
        checkpoint="runs/cifar10",
        rng=0,
    )
    history = solver.train()
    history.save("runs/cifar10/history.csv")
    if history.interrupted:  # by Ctrl-C: Solver.resume("runs/cifar10", data.train, data.val).train() goes on
        print(f"stopped: {history.stopped}")
    net.save("runs/cifar10/net.safetensors", classes=data.classes)
    print(f"test accuracy: {solver.evaluate(*data.test)['accuracy']:.1%}")


if __name__ == "__main__":
    main()

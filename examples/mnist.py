"""Train LeNet on MNIST's 60,000 handwritten digits.

    python examples/mnist.py [FOLDER]

FOLDER (data/mnist) holds the four files of MNIST, packed or not; what is missing is fetched, 11.6 MB. The same works
for Fashion-MNIST: `cl.datasets.fashion_mnist`. `--quick` fetches nothing: it enlarges the small digits in the package.
"""

import sys

import numpy as np

import cnnlayers as cl

QUICK = "--quick" in sys.argv[1:]


def enlarged(pair):
    """8x8 digits with values up to 16 as MNIST has them: 28x28, up to 255."""
    x, y = pair
    x = (x * (255 / 16)).astype(np.uint8).repeat(3, axis=1).repeat(3, axis=2)
    return np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0))), y


def main():
    if QUICK:
        small = cl.datasets.digits()
        data = cl.datasets.arrays(enlarged(small.train), enlarged(small.val), enlarged(small.test))
    else:
        folder = next((a for a in sys.argv[1:] if not a.startswith("-")), "data/mnist")
        data = cl.datasets.mnist(folder, download=True)
    print(data)

    lenet = cl.models.lenet(input_shape=(28, 28, 1), rng=0)
    scale = cl.Normalize(*cl.datasets.channel_stats(data.train[0]))  # goes into the file with the net
    net = cl.Sequential([scale, lenet], input_shape=(28, 28, 1), rng=0)
    solver = cl.Solver(
        net,
        data.train,
        data.val,
        loss=cl.SoftmaxLoss(),
        optimizer=cl.SGD(lr=0.05, momentum=0.9, weight_decay=5e-4),
        schedule=cl.OneCycle(),
        augment=cl.augment.RandomAffine(degrees=10, shift=0.1),
        batch_size=32 if QUICK else 128,
        epochs=3 if QUICK else 8,
        rng=0,
    )
    if stopped := solver.train().stopped:  # by Ctrl-C, say
        print(f"stopped: {stopped}")
    net.save("mnist.safetensors", classes=data.classes)
    print(f"test accuracy: {solver.evaluate(*data.test)['accuracy']:.2%}")


if __name__ == "__main__":
    main()

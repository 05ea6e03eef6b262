"""Train on CIFAR-10's 50,000 photographs in about a quarter of an hour on two cores.

    python examples/cifar10_speedrun.py [FOLDER] [--download] [--epochs 8] [--seed 0]

FOLDER (data/cifar10) holds the binary version; `--download` fetches it if it is not there, 170 MB. After Ctrl-C the
same command with `--resume` goes on, to the same weights. `--quick` needs no files: it paints the small digits in the
package.

The recipe is that of K. Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024 (arXiv 2404.00498), in the form
of the code that goes with it, which has Muon; docs/speedrun.md tells what each part buys, and what was measured.
"""

import argparse

import cnnlayers as cl

FOLDER = "runs/cifar10_speedrun"
WHITENING = 3  # epochs that the bias of the first convolution trains; its weights do not


def make_solver(data, seed=0, epochs=8, batch_size=500, callbacks=(), **options):
    """Give the Solver of the recipe: for 32 x 32 photographs of ten classes, in uint8."""
    x = data.train[0]
    scale = cl.Normalize(*cl.datasets.channel_stats(x))
    net = cl.Sequential(
        [scale, cl.models.speedrun(images=scale.predict(x[:5000]), rng=seed)], input_shape=x.shape[1:], rng=seed
    )
    decay = 2e-6 * batch_size  # of a step, for sums of losses
    whitening = {"schedule": cl.Polynomial(epochs=WHITENING)}
    head = {"lr_factor": 0.67 / 0.053, "weight_decay": decay / 0.67}
    rest = cl.SGD(
        lr=0.053,
        momentum=0.85,
        nesterov=True,
        weight_decay=decay / 0.053,
        decay_all=True,
        groups={"1.0.b": whitening, "1.24.W": head},
    )
    optimizer = cl.Muon(lr=0.09, momentum=0.8, steps=3, rest=rest, groups={"1.24.W": {"optimizer": "rest"}})
    augment = [cl.augment.RandomCrop(2, fill="reflect"), cl.augment.HorizontalFlip(alternate=True)]
    return cl.Solver(
        net,
        data.train,
        data.test,  # to watch; nothing is chosen by it
        loss=cl.SoftmaxLoss(label_smoothing=0.2, reduction="sum"),
        optimizer=optimizer,
        schedule=cl.Polynomial(),
        augment=cl.augment.Compose(augment, dtype="float32"),
        callbacks=[cl.Freeze("1.0.b", after=WHITENING), *callbacks],
        batch_size=batch_size,
        epochs=epochs,
        keep="last",
        rng=seed,
        **options,
    )


def painted_digits():
    """8x8 digits as 32x32 colour images."""
    small = cl.datasets.digits()
    paint = [
        ((x * 15).repeat(4, axis=1).repeat(4, axis=2).repeat(3, axis=3)[:200], y[:200])
        for x, y in (small.train, small.val, small.test)
    ]
    return cl.datasets.arrays(*paint)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default="data/cifar10", help="where CIFAR-10 is")
    parser.add_argument("--download", action="store_true", help="fetch it, if it is not there")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help=f"go on with the run in {FOLDER}")
    parser.add_argument("--quick", action="store_true", help="one epoch of a few digits")
    options = parser.parse_args()
    data = painted_digits() if options.quick else cl.datasets.cifar10(options.folder, options.download, val=0)
    print(data)
    if options.resume:
        solver = cl.Solver.resume(FOLDER, data.train, data.test)
    else:
        size = {"epochs": 1, "batch_size": 50} if options.quick else {"epochs": options.epochs}
        solver = make_solver(data, options.seed, **size, checkpoint=FOLDER)
    history = solver.train()
    if history.interrupted:
        print(f"stopped: {history.stopped}; --resume goes on")
        return
    accuracy = solver.evaluate(*data.test, views=cl.augment.mirror_and_shift)["accuracy"]
    print(f"{sum(history['seconds']):.0f} s; test accuracy {accuracy:.2%}, as the mean over mirrored and shifted views")


if __name__ == "__main__":
    main()

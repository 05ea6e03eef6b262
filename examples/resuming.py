"""Interrupt a training run and go on with it: the result has the same bits as that of a run never interrupted.

    python examples/resuming.py

Here a callback interrupts it, in the midst of an epoch; Ctrl-C or a power failure does as well. A run that writes
checkpoints (`checkpoint="runs/a"`) has its last state in runs/a/last.safetensors: weights, optimiser, schedule, random
generators, place in the epoch, history. `--quick` trains for fewer epochs.
"""

import sys

import numpy as np

import cnnlayers as cl

EPOCHS = 2 if "--quick" in sys.argv[1:] else 10


def solver_for(data, folder, callbacks=()):
    net = cl.Sequential(
        [
            cl.Normalize(mean=4.9, std=6.0),
            *(cl.Conv(16, 3, padding="same"), cl.BatchNorm(), cl.ReLU(), cl.MaxPool(2)),
            *(cl.Flatten(), cl.Dropout(0.3), cl.Affine(10)),
        ],
        input_shape=(8, 8, 1),
        rng=0,
    )
    parts = {"loss": cl.SoftmaxLoss(), "optimizer": cl.Adam(lr=0.003), "schedule": cl.Cosine(warmup=1)}
    options = {"augment": cl.augment.RandomCrop(1), "batch_size": 64, "epochs": EPOCHS, "rng": 0}
    return cl.Solver(net, data.train, data.val, checkpoint=folder, callbacks=callbacks, **parts, **options)


def interrupt(solver):
    if solver.step == 25:  # of the 17 in an epoch
        raise KeyboardInterrupt


def main():
    data = cl.datasets.digits()
    print("without a break:")
    whole = solver_for(data, "runs/whole")
    whole.train()

    print("\nwith one:")
    cut = solver_for(data, "runs/cut", [cl.LambdaCallback(on_step=interrupt)])
    print("stopped:", cut.train().stopped)
    again = cl.LambdaCallback()  # a file holds no functions, so the callback is given anew, here one that does nothing
    resumed = cl.Solver.resume("runs/cut/last.safetensors", data.train, data.val, callbacks=[again])
    resumed.train()

    same = np.array_equal(whole.model.flat_params, resumed.model.flat_params)
    print("\nthe same bits:", same and whole.history["val_loss"] == resumed.history["val_loss"])


if __name__ == "__main__":
    main()

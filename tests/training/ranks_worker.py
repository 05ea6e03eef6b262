"""A training for test_ranks.py: run by itself, or by `mpiexec -n R python -m mpi4py`; its last line is what it came to.

    ranks_worker.py {"threads": 1, ...}

With "ranks" it takes part in an MPI run. On every rank it is the same, which is checked here.
"""

import hashlib
import json
import os
import signal
import sys
import time

import numpy as np

import cnnlayers as cl

N, PER_BATCH, S = 205, 10, 8  # the last step of an epoch has 5 batches, the last of them 5 samples
SHAPE = (8, 8, 2)


def data(options):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (N, *SHAPE), dtype=np.uint8), rng.integers(0, 4, N)
    train, val = (x, y), (x[:63], y[:63])
    if "weights" in options:
        train = (*train, rng.uniform(0, 1e4, N) * (rng.uniform(size=N) < 0.7))
    if "batches" in options:
        return [tuple(part[i : i + PER_BATCH] for part in train) for i in range(0, N, PER_BATCH)], val
    return train, val


def net():
    layers = [
        *(cl.Conv(8, 3, padding=1, bias=False), cl.BatchNorm(), cl.ReLU(), cl.SpatialDropout(0.1), cl.MaxPool(2)),
        *(cl.Residual([cl.Conv(8, 3, padding=1), cl.BatchNorm()]), cl.ReLU()),
        *(cl.Flatten(), cl.Dropout(0.3), cl.Affine(4)),
    ]
    return cl.Sequential(layers, input_shape=SHAPE, rng=0)


class Counts(cl.Layer):
    """A layer of one's own that changes its state in forward."""

    def allocate(self, input_shape):
        self.add_state("n", (1,))

    def forward(self, x, train=True):
        self.state["n"] += train
        return x.copy()

    def backward(self, dy, input_grad=True):
        return dy.copy()


def misbehave(what, rank):
    """Give a callback that does something on one rank in the second step."""

    def on_step(solver):
        if solver.step != 2 or rank != 1:
            return
        if what == "raise":
            raise RuntimeError("something went wrong here")
        if what == "exit":
            sys.exit("that is all")
        if what == "exit with 0":
            sys.exit(0)
        if what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "slow":
            time.sleep(1)
        if what == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
        if what == "terminate":
            os.kill(os.getpid(), signal.SIGTERM)
        if what == "own interrupt":
            raise KeyboardInterrupt("of one's own")
        if what == "stop":
            solver.stop("rank 1 wants it")

    def on_train_begin(solver):
        if what == "stop at once" and rank == 1:
            solver.stop("rank 1 does not want to begin")

    def on_train_end(solver):
        if what == "interrupt at the end" and rank == 1:
            os.kill(os.getpid(), signal.SIGINT)
        if what == "raise" and rank == 1:
            solver.evaluate(*data({})[1])  # which needs the others

    return cl.LambdaCallback(on_train_begin=on_train_begin, on_step=on_step, on_train_end=on_train_end)


def fails(rank):
    """A metric that fails on one rank."""
    if rank == 1:
        raise RuntimeError("it fails here")
    return 1.0


class Dies(cl.Callback):
    """Kill rank 0, right after it has written a checkpoint; MPI kills the others."""

    order, writes = 2, True

    def __init__(self, step):
        self.step = step

    def on_step(self, solver):
        if solver.step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def main(options):
    cl.set_num_threads(options.get("threads", 1))
    comm = cl.distributed.world() if "ranks" in options else None
    rank = comm.Get_rank() if comm else 0
    what = options.get("what")
    (train, val), model = data(options), net()
    if what == "other data" and rank == 1:
        train[0][-1] += 1
    if what == "other weights" and rank == 1:
        model.params["0.W"][0] += 1
    if what == "nan":
        train = train[0].astype(np.float32), train[1]
        train[0][100:] = np.nan
    if what == "own state":
        model = cl.Sequential([Counts(), cl.Flatten(), cl.Affine(4)], input_shape=SHAPE, rng=0)
    metrics = {"own": lambda scores, target: fails(rank)} if what == "bad metric" else None
    callbacks = [
        misbehave(what, rank),
        cl.Lookahead(4),
        cl.EMA(0.9),
        cl.EarlyStopping(2, min_delta=options.get("min_delta", 0.0)),
    ]
    if "dies" in options:
        callbacks += [cl.Checkpoint(1, unit="steps"), Dies(options["dies"])]
    if "csv" in options:
        callbacks.append(cl.CSVLogger(options["csv"]))
    if "resume" in options:
        solver = cl.Solver.resume(options["resume"], train, val, callbacks=[callbacks[0], Dies(0)], comm=comm)
    else:
        solver = cl.Solver(
            *(model, train, val),
            loss=cl.SoftmaxLoss(label_smoothing=0.1),
            optimizer=cl.AdamW(lr=0.01, weight_decay=0.01),
            schedule=cl.Cosine(warmup=3),
            batch_size=PER_BATCH,
            accumulate=S,
            epochs=3,
            clip_norm=0.5,
            augment=cl.augment.Compose([cl.augment.RandomCrop(1), cl.augment.Mixup(0.4)]),
            metrics=metrics,
            callbacks=callbacks,
            checkpoint=options.get("folder"),
            comm=comm,
        )
    solver.train(stop_on_sigterm=what == "terminate")
    history = {name: values for name, values in solver.history.epochs.items() if name != "seconds"}
    model = solver.model
    state = [model.flat_params, model.flat_state, *solver.optimizer.state.values()]
    came_to = {
        "bits": hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in state)).hexdigest(),
        "history": history,
        "losses": solver.history.steps["loss"],
        "stopped": solver.history.stopped,
        "test": solver.evaluate(*data({})[1]),
        "random": [str(layer.rng.bit_generator.state) for _, layer in model.walk() if layer.random],
    }
    everyone = solver.ranks.gather(came_to)
    assert all(theirs == came_to for theirs in everyone)
    if rank == 0:
        print(json.dumps(came_to))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

"""Small training runs that exercise all that a checkpoint holds, and a digest of all that training changes.

As a program it resumes each checkpoint named in its arguments and prints what it ends with:

    python -m tests.training.runs CASE FILE [CASE FILE ...]
"""

import hashlib
import json
import sys

import numpy as np

import cnnlayers as cl
from cnnlayers.training.callbacks import averaged_weights

OPTIMIZERS = {
    "sgd": lambda: cl.SGD(lr=0.05, weight_decay=1e-3),
    "momentum": lambda: cl.SGD(lr=0.05, momentum=0.9, nesterov=True, groups={"*.gamma": {"lr_factor": 0.5}}),
    "rmsprop": lambda: cl.RMSProp(lr=0.01),
    "adagrad": lambda: cl.Adagrad(lr=0.05),
    "adam": lambda: cl.Adam(lr=0.01),
    "adamw": lambda: cl.AdamW(lr=0.01),
    "muon": lambda: cl.Muon(lr=0.02, rest=cl.AdamW(lr=0.01)),
}
SCHEDULES = {
    "none": lambda: None,
    "constant": lambda: cl.Constant(warmup=1),
    "stepdecay": lambda: cl.StepDecay(every=[1, 2], factor=0.5),
    "exponential": lambda: cl.Exponential(decay=0.5),
    "cosine": lambda: cl.Cosine(warmup=1.5),
    "onecycle": lambda: cl.OneCycle(),
    "polynomial": lambda: cl.Polynomial(power=2),
    "plateau": lambda: cl.ReduceOnPlateau(factor=0.5, patience=0),
}
OTHERS = ("accumulate", "ema", "lookahead", "last", "rows", "iterable", "stopping", "metric", "alternate")
CASES = [  # optimiser, schedule, something else
    *((optimizer, "cosine", "") for optimizer in OPTIMIZERS),
    *(("momentum", schedule, "") for schedule in SCHEDULES if schedule != "cosine"),
    *(("adam", "cosine", other) for other in OTHERS),
]


def noise(x, rng):
    return x + rng.normal(0, 0.1, x.shape)


def spread(scores, target):
    """A metric that is no mean of anything."""
    return float(scores.std() * (1 + np.count_nonzero(target)))


class Flips:
    """An augmentation whose draws belong to each sample."""

    def __call__(self, x, *, seed, epoch, indices):
        flip = [np.random.default_rng([seed, epoch, i]).random() < 0.5 for i in indices]
        return np.where(np.array(flip)[:, None, None, None], x[:, :, ::-1], x)


class Mixes:
    mixes = True

    def __call__(self, x, y, *, seed, epoch, indices):
        share = np.random.default_rng([seed, epoch, *indices]).random()
        return share * x + (1 - share) * x[::-1], share * y + (1 - share) * y[::-1]


def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(22, 4, 4, 1))
    return x, (x.mean(axis=(1, 2, 3)) > 0).astype(int)


def alternating():
    return cl.augment.Compose([cl.augment.RandomCrop(2, fill="reflect"), cl.augment.HorizontalFlip(alternate=True)])


def outside(other):
    """What a file cannot hold."""
    if other == "alternate":  # an augmentation of the package is in the file
        return {}
    own = {"metrics": {"spread": spread}} if other == "metric" else {}
    return own | {"augment": {"rows": Mixes(), "accumulate": Flips()}.get(other, noise)}


def sets(other):
    x, y = data()
    train = x[:14], y[:14]
    if other == "iterable":
        train = [(x[i : i + 4], y[i : i + 4]) for i in range(0, 14, 4)]
    return train, (x[14:], y[14:])


def make(case, **options):
    optimizer, schedule, other = case
    net = cl.Sequential(
        [cl.Conv(3, 3), cl.BatchNorm(), cl.ReLU(), cl.Dropout(0.3), cl.Flatten(), cl.Affine(2)], (4, 4, 1), rng=1
    )
    callbacks = [*options.pop("callbacks", [])]
    averages = {"ema": [cl.EMA(0.9)], "lookahead": [cl.Lookahead(5), cl.EMA(0.9)]}
    callbacks += ({"stopping": [cl.EarlyStopping(patience=2, min_delta=10)]} | averages).get(other, [])
    return cl.Solver(
        net,
        *sets(other),
        loss=cl.SoftmaxLoss(label_smoothing=0.1),
        optimizer=OPTIMIZERS[optimizer](),
        schedule=SCHEDULES[schedule](),
        batch_size=4,
        epochs=3,
        clip_norm=1.0,
        accumulate=3 if other == "accumulate" else 1,
        keep=options.pop("keep", "last" if other == "last" else "best"),
        callbacks=callbacks,
        rng=2,
        progress=False,
        **({"augment": alternating()} | outside(other)),
        **options,
    )


def resume(case, path, **options):
    return cl.Solver.resume(path, *sets(case[2]), **outside(case[2]), progress=False, **options)


def digest(solver):
    """SHA-256 of all that training changes."""
    net, run = solver.model, solver.run
    numbers = {name: list(v) for name, v in solver.history.epochs.items() if name != "seconds"}
    kept = [run.best_weights, averaged_weights(solver.callbacks)]
    arrays = [net.flat_params, net.flat_state, *(a for weights in kept if weights for a in weights)]
    arrays += [v for _, v in sorted(solver.optimizer.state.items()) if isinstance(v, np.ndarray)]
    rest = {
        "counts": [solver.epoch, solver.step, run.best, solver.history.stopped],
        "numbers": [numbers, solver.history.steps["loss"]],
        "optimizer": {k: v for k, v in solver.optimizer.state.items() if not isinstance(v, np.ndarray)},
        "draws": [layer.rng.bit_generator.state for _, layer in net.walk() if layer.random],
        "order": run.rng.bit_generator.state,
        "memory": solver.schedule.state_dict() if hasattr(solver.schedule, "state_dict") else None,
    }
    text = json.dumps(rest, sort_keys=True, default=np.ndarray.tolist).encode()
    return hashlib.sha256(text + b"".join(a.tobytes() for a in arrays)).hexdigest()


def name_of(case):
    return ":".join(case)


if __name__ == "__main__":
    for name, path in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        solver = resume(tuple(name.split(":")), path, callbacks=[])
        solver.train()
        print(digest(solver))

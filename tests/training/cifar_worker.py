"""A training of resnet8 on photographs, for test_ranks.py; what it prints last is the digest of its weights.

cifar_worker.py FOLDER RUN [--ranks] [--kill STEP | --resume]
"""

import argparse
import hashlib
from pathlib import Path

import cnnlayers as cl
from tests.training.ranks_worker import Dies


def main(options):
    comm = cl.distributed.world() if options.ranks else None
    data = cl.datasets.cifar10(options.folder)
    train, val = tuple(part[:700] for part in data.train), tuple(part[:200] for part in data.val)
    callbacks = [cl.Checkpoint(1, keep=1, unit="steps"), Dies(options.kill)]
    if options.resume:
        last = max(Path(options.run).glob("step-*.safetensors"))
        solver = cl.Solver.resume(last, train, val, callbacks=callbacks, comm=comm)
    else:
        solver = cl.Solver(
            *(cl.models.resnet8(rng=0), train, val),
            loss=cl.SoftmaxLoss(),
            optimizer=cl.SGD(lr=0.1, momentum=0.9),
            schedule=cl.Cosine(),
            batch_size=16,
            accumulate=8,
            epochs=3,
            augment=cl.augment.Compose([cl.augment.RandomCrop(4), cl.augment.HorizontalFlip()]),
            keep="last",
            callbacks=callbacks,
            checkpoint=options.run,
            comm=comm,
        )
    solver.train()
    if solver.ranks.is_first:
        print(hashlib.sha256(solver.model.flat_params.tobytes()).hexdigest())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("run")
    parser.add_argument("--ranks", action="store_true")
    parser.add_argument("--kill", type=int, default=0)
    parser.add_argument("--resume", action="store_true")
    main(parser.parse_args())

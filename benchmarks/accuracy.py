"""python -m benchmarks accuracy: whole trainings on real images, beside PyTorch and beside plain kernels alone.

Both sides begin with the same weights and see the same batches, augmented beforehand in the same way; the rate of each
step is the same, and weight decay skips biases and norms on both sides. The clock runs during the steps alone. Seed
after seed the sides take turns. "exact" is cnnlayers after `set_precision("exact")`, which keeps it from Winograd's
method: the mean loss of each epoch shows whether that changes the course of a training.

The data: the environment variable CNNLAYERS_DATA names a folder with `cifar-10-batches-bin` (CIFAR-10's binary version,
or a part of it) and `mnist` (the ten thousand digits of the test part).
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

import cnnlayers as cl

from . import environment, nets
from .sides.torch_conv import load, tensor
from .sides.torch_translation import translate

SEEDS = 5
SIDES = ("cnnlayers", "exact", "PyTorch")


@dataclass(frozen=True)
class Recipe:
    """What is trained, and how."""

    name: str
    net: Callable[..., cl.Sequential]
    data: Callable[[Path], tuple[Any, Any]]  # (x, y) to train on, and to test; uint8 images
    augment: Callable[..., np.ndarray] | None
    schedule: cl.training.schedules.Schedule
    lr: float
    batch: int
    epochs: int
    weight_decay: float = 5e-4
    momentum: float = 0.9


def digits(root: Path) -> tuple[Any, Any]:
    """Ten thousand digits: all but the last two thousand to train on."""
    x = cl.datasets.idx(root / "mnist" / "t10k-images-idx3-ubyte.gz")[..., np.newaxis]
    y = cl.datasets.idx(root / "mnist" / "t10k-labels-idx1-ubyte.gz").astype(np.int64)
    return (x[:-2000], y[:-2000]), (x[-2000:], y[-2000:])


def photographs(root: Path) -> tuple[Any, Any]:
    data = cl.datasets.cifar10(root / "cifar-10-batches-bin", val=0)
    return data.train, data.test


def recipes() -> list[Recipe]:
    # LeNet's kernels are 5 x 5, so it is the same with and without Winograd's method.
    crop_and_flip = cl.augment.standard(nets.CIFAR)
    return [
        Recipe("resnet8-cifar", nets.resnet8, photographs, crop_and_flip, cl.OneCycle(), lr=0.4, batch=128, epochs=12),
        Recipe("resnet8-digits", nets.resnet8, digits, None, cl.OneCycle(), lr=0.2, batch=64, epochs=4),
        Recipe("lenet-digits", nets.lenet, digits, None, cl.Cosine(warmup=1), lr=0.05, batch=64, epochs=8),
    ]


class Own:
    """A step by hand, as users write it."""

    def __init__(self, recipe: Recipe, net: cl.Sequential) -> None:
        self.net = net.copy()
        self.loss = cl.SoftmaxLoss()
        self.optimizer = cl.SGD(recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay)

    def take(self, x: np.ndarray, y: np.ndarray) -> tuple[Any, Any]:
        return x, y

    def step(self, x: Any, y: Any, factor: float) -> Any:
        loss = self.loss.forward(self.net.forward(x), y)
        self.net.backward(self.loss.backward(), input_grad=False)
        self.optimizer.step(self.net, factor)
        return loss

    def scores(self, x: np.ndarray) -> np.ndarray:
        return self.net.predict(x)


class Torch:
    """The same net in PyTorch, channels last, the faster of its layouts for these nets, with the fused optimiser."""

    def __init__(self, recipe: Recipe, net: cl.Sequential) -> None:
        self.torch = torch = load()
        self.lr = recipe.lr
        self.net = translate(net).to(memory_format=torch.channels_last)
        self.loss = torch.nn.functional.cross_entropy
        kinds = [[p for p in self.net.parameters() if (p.ndim > 1) == matrix] for matrix in (True, False)]
        groups = [{"params": kinds[0], "weight_decay": recipe.weight_decay}, {"params": kinds[1]}]
        self.optimizer = torch.optim.SGD(groups, recipe.lr, recipe.momentum, fused=True)

    def take(self, x: np.ndarray, y: np.ndarray) -> tuple[Any, Any]:
        return tensor(x, channels_last=True), self.torch.from_numpy(y)

    def step(self, x: Any, y: Any, factor: float) -> Any:
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * factor
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.net(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def scores(self, x: np.ndarray) -> np.ndarray:
        self.net.eval()
        with self.torch.inference_mode():
            return self.net(tensor(x, channels_last=True)).numpy()


@dataclass(frozen=True)
class Training:
    """What came out of one."""

    accuracy: float  # on the test part
    seconds: float  # of all steps
    losses: list[float]  # the mean of each epoch


def train(side: str, recipe: Recipe, seed: int, train_part: Any, test_part: Any) -> Training:
    """Train one side on one seed."""
    before = cl.get_precision()
    cl.set_precision("exact" if side == "exact" else "fast")
    try:
        return train_here(side, recipe, seed, train_part, test_part)
    finally:
        cl.set_precision(before)


def train_here(side: str, recipe: Recipe, seed: int, train_part: Any, test_part: Any) -> Training:
    (x, y), (x_test, y_test) = train_part, test_part
    scale = scaling(x)
    net = recipe.net(input_shape=x.shape[1:], rng=seed)
    player = (Torch if side == "PyTorch" else Own)(recipe, net)
    steps, seconds = recipe.epochs * -(-len(x) // recipe.batch), 0.0
    recipe.schedule.prepare(steps // recipe.epochs)
    step, curve = 0, []
    for epoch in range(recipe.epochs):
        losses = []
        for batch in [player.take(*b) for b in batches(recipe, x, y, seed, epoch, scale)]:
            factor = recipe.schedule(step, steps)
            start = time.perf_counter()
            losses.append(player.step(*batch, factor))
            seconds += time.perf_counter() - start
            step += 1
        curve.append(mean(map(float, losses)))
    return Training(cl.accuracy(player.scores(scale(x_test)), y_test), seconds, curve)


def scaling(x: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Mean 0 and variance 1 in each channel of the training part."""
    means, stds = (np.asarray(numbers, np.float32) for numbers in cl.datasets.channel_stats(x))
    return lambda images: (images.astype(np.float32) - means) / stds


def batches(
    recipe: Recipe, x: np.ndarray, y: np.ndarray, seed: int, epoch: int, scale: Callable
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Give an epoch, the same for each side."""
    order = np.random.default_rng([seed, epoch]).permutation(len(x))
    for start in range(0, len(x), recipe.batch):
        rows = order[start : start + recipe.batch]
        images = x[rows]
        if recipe.augment:
            images = recipe.augment(images, seed=seed, epoch=epoch, indices=rows)
        yield scale(images), y[rows]


def run(options: argparse.Namespace) -> None:
    """Train, and print a table."""
    root = os.environ.get("CNNLAYERS_DATA")
    if not root:
        raise ValueError("accuracy: set CNNLAYERS_DATA to the folder that holds mnist and cifar-10-batches-bin")
    environment.set_threads(options.threads)
    sides = [side for side in SIDES if side != "PyTorch" or environment.has_torch()]
    seeds = 1 if options.quick else SEEDS
    print(f"accuracy: mean over {seeds} seeds (lowest to highest); seconds: mean of all steps of a training")
    for recipe in recipes():
        if options.cases in f"accuracy/{recipe.name}":
            compare(recipe, sides, seeds, Path(root), options.quick)


def compare(recipe: Recipe, sides: Sequence[str], seeds: int, root: Path, quick: bool) -> None:
    parts = recipe.data(root)
    if quick:
        parts = tuple((x[:300], y[:300]) for x, y in parts)
    runs: dict[str, list[Training]] = {side: [] for side in sides}
    for seed in range(seeds):
        for side in sides:
            runs[side].append(train(side, recipe, seed, *parts))
    own = mean(one.seconds for one in runs[SIDES[0]])
    for side, results in runs.items():
        accuracies, seconds = [one.accuracy for one in results], mean(one.seconds for one in results)
        accuracy = f"{mean(accuracies):6.2%} ({min(accuracies):.2%} to {max(accuracies):.2%})"
        times = f"{seconds:7.1f} s  {seconds / own:5.2f} times cnnlayers' time"
        print(f"{recipe.name:16} {side:12} accuracy {accuracy}  {times}", flush=True)
    for side, results in runs.items():
        curve = [mean(losses) for losses in zip(*(one.losses for one in results), strict=True)]
        print(f"{recipe.name:16} {side:12} loss by epoch {' '.join(f'{loss:.3f}' for loss in curve)}", flush=True)

"""Nets, optimisers, schedules and augmentations, made of what the options of the command say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import models
from ..config import REGISTRY, arguments
from ..data import augment, datasets
from ..layers import Normalize, Sequential
from ..training.optimizer import Optimizer
from ..training.schedules import (
    Constant,
    Cosine,
    Exponential,
    OneCycle,
    Polynomial,
    ReduceOnPlateau,
    Schedule,
    StepDecay,
)

DIGITS = {"resnet": models.digits_resnet, "cnn": models.digits_cnn, "linear": models.linear}
ZOO = ("lenet", "three_layer", "vgg", "resnet8", "resnet20", "resnet32", "mobilenet", "speedrun", "conv1d_classifier")
MODELS: dict[str, Callable[..., Sequential]] = DIGITS | {name: getattr(models, name) for name in ZOO}

OPTIMIZERS = {name.lower(): c for name, c in REGISTRY.items() if issubclass(c, Optimizer) and c is not Optimizer}
# What suits small nets, where an option is not given; otherwise it is the default of the class.
SUITABLE: dict[str, dict[str, float]] = {
    "sgd": {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4},
    "rmsprop": {"lr": 1e-3},
    "adam": {"lr": 3e-3},
    "adamw": {"lr": 3e-3},
}
SCHEDULES = ("constant", "cosine", "onecycle", "step", "exponential", "polynomial", "plateau")
VIEWS = {"mirror": augment.mirror, "mirror_and_shift": augment.mirror_and_shift}
AUGMENTATIONS = ("none", "standard", "affine", "strong")


def model_for(shape: tuple[int, ...]) -> str:
    """Name the net for samples of this shape, where none is asked for."""
    if len(shape) != 3:
        return "conv1d_classifier" if len(shape) == 2 else "linear"
    if min(shape[:2]) < 16:
        return "resnet"
    return "lenet" if shape[2] == 1 else "resnet8"


def make_model(name: str, data: Any, *, digits: bool, rng: int, dtype: str) -> Sequential:
    """Build a net for a data set: its first layer is a Normalize, with mean and deviation of the training part.

    The nets for the 8x8 digits have one of their own, which stays if these are the data.
    """
    x = data.train[0]
    net = MODELS[name](input_shape=x.shape[1:], classes=len(data.classes), rng=rng, dtype=dtype)
    own = isinstance(net[0], Normalize)
    if not (own and digits):
        layers = [layer.copy() for layer in net.layers[1 if own else 0 :]]
        first = Normalize(*datasets.channel_stats(x))
        net = Sequential([first, *layers], input_shape=x.shape[1:], rng=rng, dtype=dtype)
    net.classes = tuple(data.classes)
    return net


def defaults_of(option: str) -> dict[str, float]:
    """Give what an option is if it is not given, by the names of the optimisers that have it."""
    having = {name: arguments(cls)[option].default for name, cls in OPTIMIZERS.items() if option in arguments(cls)}
    return {name: SUITABLE.get(name, {}).get(option, default) for name, default in having.items()}


def make_optimizer(
    name: str, lr: float | None = None, momentum: float | None = None, weight_decay: float | None = None
) -> Optimizer:
    """Make an optimiser; for options that are None it takes values that suit it."""
    options = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
    given: dict[str, Any] = {option: value for option, value in options.items() if value is not None}
    for option in given:
        having = defaults_of(option)
        if name not in having:
            raise ValueError(f"--{option} is for --optimizer {' or '.join(having)}; got --optimizer {name}")
    return OPTIMIZERS[name](**SUITABLE.get(name, {}) | given)


def make_schedule(name: str, epochs: int, warmup: float | None = None) -> Schedule:
    """Make a schedule for this many epochs."""
    if name == "onecycle":
        if warmup is not None:
            raise ValueError("--warmup is not for --schedule onecycle, which has a rise of its own")
        return OneCycle()
    warmup = min(1, epochs / 2) if warmup is None else warmup
    if name == "step":
        return StepDecay(every=max(epochs // 3, 1), warmup=warmup)
    if name == "exponential":
        return Exponential(decay=0.01 ** (1 / epochs), warmup=warmup)  # a hundredth at the end
    if name == "plateau":
        return ReduceOnPlateau(patience=3, warmup=warmup)
    return {"constant": Constant, "cosine": Cosine, "polynomial": Polynomial}[name](warmup=warmup)


def make_augmentation(name: str, shape: tuple[int, ...], mixup: float | None = None) -> Any:
    """Make the augmentation of images of this shape, or None; `mixup` is Mixup's alpha, which comes last."""
    if name == "none" and mixup is None:
        return None
    if len(shape) != 3:
        option = "--mixup" if name == "none" else f"--augment {name}"
        raise ValueError(f"{option} changes images (H, W, C); the data's samples have shape {shape}")
    steps = _steps(name, shape)
    if mixup is not None:
        return augment.Compose([*steps, augment.Mixup(mixup)], dtype="float32")
    return steps[0] if name == "affine" else augment.Compose(steps, dtype="float32")


def _steps(name: str, shape: tuple[int, ...]) -> list[Any]:
    if name == "none":
        return []
    if name == "affine":
        return [augment.RandomAffine(degrees=10, shift=0.1)]
    standard = list(augment.standard(shape).steps)
    if name == "standard":
        return standard
    return [*standard, augment.ColorJitter(), augment.Cutout(max(min(shape[:2]) // 4, 1))]

"""`cnnlayers evaluate`, `predict`, `summary` and `gradcheck`: what is done with a net."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from .. import kernels
from ..data import datasets
from ..data.image_file import need_pillow
from ..data.parts import Dataset
from ..errors import DataError
from ..files import checkpoint
from ..layers import Sequential
from ..look.gradcheck import gradcheck as check_gradients
from ..training.losses import SoftmaxLoss
from ..training.optimizers import SGD
from ..training.solver import Solver
from . import sources
from .factories import MODELS
from .folder import net_file
from .report import report_of
from .stderr import complain
from .train import data_of, run_of


def evaluate(options: argparse.Namespace, train_options: dict[str, argparse.Action]) -> int:
    """Loss and accuracy of a net on a part of a data set."""
    file = net_file(options.file)
    net = checkpoint.load(file)
    source, data = _data_for(net, options, run_of(file, train_options))
    name, part = sources.held_out(data)
    if options.part is not None:
        name, part = options.part, sources.part_of(data, options.part, source)
    shape = part[0].shape[1:]
    if net.input_shape != shape:
        owner = "the digits have" if source == "digits" else f"{source} has"
        raise ValueError(f"{file}: the net takes inputs of shape {net.input_shape}; {owner} {shape}")
    if net.classes is not None and net.classes != tuple(data.classes):
        raise ValueError(f"{file}: the net knows {_listed(net.classes)}; {source} has {_listed(data.classes)}")
    solver = Solver(net, data.train, loss=SoftmaxLoss(), optimizer=SGD(lr=0))
    for metric, value in solver.evaluate(*part).items():
        print(f"{name} {metric}: {value:.1%}" if metric == "accuracy" else f"{name} {metric}: {value:.4f}")
    return 0


def predict(options: argparse.Namespace, train_options: dict[str, argparse.Action]) -> int:
    """The class of each image, and the net's probability of it."""
    file = net_file(options.file)
    net = checkpoint.load(file)
    if options.background is None:  # that of the images that the net has learned from
        run = run_of(file, train_options)
        options.background = 255 if run is None else run.background
    if len(net.input_shape) != 3 or net.input_shape[2] not in (1, 3):
        raise ValueError(f"{file}: the net takes inputs of shape {net.input_shape}, which are no gray or colour images")
    need_pillow("predict")
    code = 0
    for image in options.images:
        try:
            classes = _likeliest(net, image, options)
        except (DataError, OSError) as error:  # the other images may be good
            complain(DataError(sources.as_options(str(error))))
            code = 1
        else:
            print(f"{image}: {classes}", flush=True)
    return code


def _likeliest(net: Any, image: str, options: argparse.Namespace) -> str:
    """The classes that an image most likely shows, as text."""
    height, width, channels = net.input_shape
    given = {"background": options.background, "truncated": options.truncated}
    x = datasets.read_image(image, (height, width), channels, **given)[np.newaxis]
    p = kernels.softmax(net.predict(_values(x, options)))[0]
    best = np.argsort(-p, kind="stable")[: options.top]
    names = net.classes or [str(label) for label in range(len(p))]
    return ", ".join(f"{names[label]} {p[label]:.1%}" for label in best)


def report(options: argparse.Namespace, train_options: dict[str, argparse.Action]) -> int:
    """Write the page about a run."""
    file = net_file(options.run_folder)
    run = run_of(file, train_options)
    data = datasets.digits() if run is None else data_of(run)
    print(f"report: {report_of(options.run_folder, data)}")
    return 0


def summary(options: argparse.Namespace) -> int:
    """The layers of a saved net, or of one of the nets of the package."""
    net = _net(options.file)
    print(net.summary())
    if net.classes:
        print(f"classes: {', '.join(net.classes)}")
    return 0


def gradcheck(options: argparse.Namespace) -> int:
    """Compare a net's gradients with numeric ones: 0 if they agree, 1 if not."""
    net = _net(options.file)
    rng = np.random.default_rng(options.seed)
    x = rng.uniform(0, 1, (options.batch_size, *net.input_shape))
    if type(net[0]).__name__ == "Normalize":  # values of the size that the net is used to
        x = np.asarray(net[0].mean) + np.asarray(net[0].std) * rng.normal(size=x.shape)
    report = check_gradients(net, x, samples=options.samples, rng=options.seed)
    print(report)
    return 0 if report.ok else 1


def _net(name: str) -> Sequential:
    """A net in a file, or a new one of the package."""
    return MODELS[name](rng=0) if name in MODELS else checkpoint.load(net_file(name))


def _data_for(net: Any, options: argparse.Namespace, run: argparse.Namespace | None) -> tuple[str, Dataset]:
    """The data asked for, or else that of the net's run, or else the digits; images in the size that the net takes."""
    if run is not None and (options.data is None or Path(options.data).resolve() == Path(run.data).resolve()):
        return run.data, data_of(run)
    source = options.data or "digits"
    shape = net.input_shape if len(net.input_shape) == 3 else (32, 32, 3)
    # No part is drawn: a test part drawn here could hold what the net has trained on.
    signals = len(net.input_shape) == 2
    background = 255 if run is None else run.background
    return source, sources.open_data(
        source, size=shape[:2], channels=shape[2], background=background, val=0, test=0, signals=signals
    )


def _values(x: np.ndarray, options: argparse.Namespace) -> np.ndarray:
    """Pixels as the net's data had them: dark on light or light on dark, from 0 to 255 or to another number."""
    if options.invert:
        x = 255 - x
    return x if options.white == 255 else x * (options.white / 255)


def _listed(classes: Any) -> str:
    some = ", ".join(map(str, classes[:5]))
    return f"{len(classes)} classes ({some}{', ...' if len(classes) > 5 else ''})"

"""`cnnlayers evaluate`, `predict`, `explain`, `export`, `summary` and `gradcheck`: what is done with a net."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import cure, with_batch
from ..data import datasets
from ..data.image_file import need_pillow
from ..data.parts import Dataset
from ..errors import DataError
from ..files import checkpoint
from ..files.onnx.export import to_onnx
from ..files.onnx.load import from_onnx
from ..layers import Sequential
from ..layers.scores import class_names, class_probabilities, class_scores, probabilities, same_names, what_scores_are
from ..look import explain as explaining
from ..look import insight
from ..look.gradcheck import gradcheck as check_gradients
from ..look.plot.style import matplotlib_for
from ..names import readable
from ..terminal import print_line
from ..training import metrics
from ..writing import check_writable
from . import sources
from .factories import MODELS, VIEWS
from .folder import net_file
from .report import report_of
from .stderr import complain, say
from .train import data_of, run_of


def evaluate(options: argparse.Namespace, train_options: dict[str, argparse.Action]) -> int:
    """Loss and accuracy of a net on a part of a data set."""
    file = net_file(options.file)
    net = _read(file)
    run = run_of(file, train_options)
    source, data = _data_for(net, options, run)
    name, part = sources.held_out(data)
    if options.part is not None:
        name, part = options.part, sources.part_of(data, options.part, source)
    shape = part[0].shape[1:]
    if net.input_shape != shape:
        hint = cure(shape, net.input_shape)
        said = _misfit(file, net, source, shape)
        raise ValueError(f"{said}; {hint}" if hint else said)
    if net.classes is not None and not same_names(net.classes, data.classes):
        raise ValueError(f"{file}: the net knows {_listed(net.classes)}; {source} has {_listed(data.classes)}")
    if options.views is not None and len(net.input_shape) != 3:
        raise ValueError(f"{file}: --views is for nets of images (H, W, C); this one takes shape {net.input_shape}")
    _check_gives_scores(net, file)
    batch_size = train_options["batch_size"].default if run is None else run.batch_size
    scores, y = net.predict(part[0], batch_size, VIEWS.get(options.views)), part[1]
    entropy = insight.cross_entropy(net, None, y, scores=scores)
    print(f"{name} loss: {entropy:.4f}")
    print(f"{name} accuracy: {metrics.accuracy(class_scores(net, scores), y):.1%}")
    return 0


def predict(options: argparse.Namespace, train_options: dict[str, argparse.Action]) -> int:
    """The class of each image, and the net's probability of it."""
    file = net_file(options.file)
    net = _read(file)
    _prepare_for_images(net, file, options, run_of(file, train_options), "predict")
    names = _names(net, _check_gives_scores(net, file), file)
    code = 0
    for image in options.images:
        try:
            classes = _likeliest(net, names, image, options)
        except (DataError, OSError) as error:  # the other images may be good
            complain(DataError(sources.as_options(str(error))))
            code = 1
        else:
            print(f"{readable(image)}: {classes}", flush=True)
    return code


def _prepare_for_images(
    net: Any, file: Path, options: argparse.Namespace, run: argparse.Namespace | None, who: str
) -> None:
    """Refuse a net that takes no images; let the background be that of the images that it has learned from."""
    if options.background is None:
        options.background = 255 if run is None else run.background
    if len(net.input_shape) != 3 or net.input_shape[2] not in (1, 3):
        raise ValueError(f"{file}: the net takes inputs of shape {net.input_shape}, which are no gray or colour images")
    need_pillow(who)


def _image(net: Any, image: str, options: argparse.Namespace) -> np.ndarray:
    """An image of a file as the net takes it."""
    height, width, channels = net.input_shape
    given = {"background": options.background, "truncated": options.truncated}
    return _values(datasets.read_image(image, (height, width), channels, **given), options)


def _misfit(file: Path, net: Any, source: str, shape: tuple[int, ...]) -> str:
    """That the samples of a source, of this shape, are not what a net takes."""
    owner = "the digits have" if source == "digits" else f"{source} has"
    return f"{file}: the net takes inputs of shape {net.input_shape}; {owner} {shape}"


def _check_gives_scores(net: Any, file: Path) -> int:
    """Give how many scores a net gives for a sample; ValueError if they do not stand for classes."""
    shape = net.output_shape(net.input_shape)
    if len(shape) != 1:
        raise ValueError(
            f"{file}: the net gives {with_batch(shape)}, not a row of scores (N, C) for each image: "
            "take net.predict(x) or net.predict_proba(x) in Python"
        )
    try:
        class_scores(net, np.zeros((1, *shape), net.dtype))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    return shape[0]


def _names(net: Any, width: int, file: Path) -> list[str]:
    """The names of the classes; numbers, with a word about it, where the file has another number of names."""
    if width == 1 and len(net.classes or ()) < 2:
        return [] if net.classes is None else list(net.classes)
    count = max(width, 2)
    try:
        return class_names(net.classes, count)
    except ValueError:
        say(f"{file}: the net has {len(net.classes)} names for {count} classes, so numbers are printed")
        return class_names(None, count)


def _likeliest(net: Any, names: list[str], image: str, options: argparse.Namespace) -> str:
    """The classes that an image most likely shows, as text: of a net that ends in Sigmoid, whose may all hold, each.

    One Sigmoid that has not two names is the probability of what it was trained to see.
    """
    scores = net.predict(_image(net, image, options)[np.newaxis], views=VIEWS.get(options.views))
    p = probabilities(net, scores)[0] if len(names) < 2 else class_probabilities(net, scores)[0]
    most = options.top or (1 if what_scores_are(net) != "sigmoid" else len(p))
    best = np.argsort(-p, kind="stable")[:most]
    return ", ".join(f"{names[label]} {p[label]:.1%}" if names else f"{p[label]:.1%}" for label in best)


def report(options: argparse.Namespace, train_options: dict[str, argparse.Action]) -> int:
    """Write the page about a run."""
    file = net_file(options.run_folder)
    matplotlib_for("report.write")
    check_writable(file.parent / "report.html")  # before the data are read
    run = run_of(file, train_options)
    data = datasets.digits() if run is None else data_of(run)
    print_line(f"report: {report_of(options.run_folder, data)}", sys.stdout)
    return 0


def explain(options: argparse.Namespace, train_options: dict[str, argparse.Action]) -> int:
    """Write the page on which every number of a net on one image can be picked; without a net, the tour."""
    if options.file is None:
        print_line(f"explain: {explaining.write_tour(options.out or explaining.NAME)}", sys.stdout)
        return 0
    file = net_file(options.file)
    net = _read(file)
    names = _names(net, _check_gives_scores(net, file), file)
    run = run_of(file, train_options)
    x: Any
    y: Any = None
    if options.image is not None:
        _prepare_for_images(net, file, options, run, "explain")
        x = _image(net, options.image, options)
    else:
        options.data = None
        source, data = _data_for(net, options, run)
        _, part = sources.held_out(data)
        if part[0].shape[1:] != net.input_shape:
            raise ValueError(f"{_misfit(file, net, source, part[0].shape[1:])}: name an IMAGE")
        if options.sample >= len(part[0]):
            raise ValueError(
                f"--sample must be in 0..{len(part[0]) - 1}, of what {source} holds out; got {options.sample}"
            )
        x, y = part[0][options.sample], part[1][options.sample]
    if options.label is not None:
        if options.label not in names:
            raise ValueError(f"--label must be one of {', '.join(names)}; got {options.label!r}")
        y = names.index(options.label)
    path = options.out or file.parent / explaining.NAME
    print_line(f"explain: {explaining.write(path, net, x, y, train=options.train, classes=names)}", sys.stdout)
    return 0


def check_explain(options: argparse.Namespace) -> None:
    """Refuse a name that is not that of a page, which might be the net's own, and options that would have no effect."""
    if options.out is not None and Path(options.out).suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"explain writes a page, --out NAME.html; got {options.out!r}")
    for name in ("sample", "label", "train"):
        if options.file is None and getattr(options, name):
            raise ValueError(f"--{name} needs a RUN: without one the tour is written")
    if options.image is not None and options.sample:
        raise ValueError("--sample is of the run's data; an IMAGE is given")


def check_export(options: argparse.Namespace) -> None:
    """Refuse a name that is not that of an ONNX file: it might be the net's own."""
    if Path(options.onnx_file).suffix != ".onnx":
        raise ValueError(f"export writes a file NAME.onnx; got {options.onnx_file!r}")


def export(options: argparse.Namespace) -> int:
    """Write a net as an ONNX file."""
    to_onnx(_read(net_file(options.file)), options.onnx_file, options.layout, options.opset)
    print(f"export: {options.onnx_file}")
    return 0


def summary(options: argparse.Namespace) -> int:
    """The layers of a saved net, or of one of the nets of the package."""
    net = _net(options.file)
    print(net.summary())
    if net.classes:
        print(readable(f"classes: {', '.join(net.classes)}"))
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
    return MODELS[name](rng=0) if name in MODELS else _read(net_file(name))


def _read(file: Path) -> Any:
    """The net in a file: one that `save` wrote, or an ONNX file of any program."""
    return from_onnx(file) if file.suffix == ".onnx" else checkpoint.load(file)


def _data_for(net: Any, options: argparse.Namespace, run: argparse.Namespace | None) -> tuple[str, Dataset]:
    """The data asked for, or else that of the net's run, or else the digits; images in the size that the net takes."""
    if run is not None and (options.data is None or Path(options.data).resolve() == Path(run.data).resolve()):
        return run.data, data_of(run)
    source = options.data or "digits"
    shape = net.input_shape if len(net.input_shape) == 3 else (32, 32, 3)
    # No part is drawn: a test part drawn here could hold what the net has trained on.
    signals = len(net.input_shape) == 2
    own = {} if run is None else {"background": run.background, "split": run.split}
    return source, sources.open_data(source, size=shape[:2], channels=shape[2], val=0, test=0, signals=signals, **own)


def _values(x: np.ndarray, options: argparse.Namespace) -> np.ndarray:
    """Pixels as the net's data had them: dark on light or light on dark, from 0 to 255 or to another number."""
    if options.invert:
        x = 255 - x
    return x if options.white == 255 else x * (options.white / 255)


def _listed(classes: Any) -> str:
    some = ", ".join(map(str, classes[:5]))
    return f"{len(classes)} classes ({some}{', ...' if len(classes) > 5 else ''})"

"""The command `cnnlayers`: train, evaluate, report, summary, info."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import checkpoint, models, report, threads
from ._version import __version__
from .data import datasets
from .errors import CheckpointError, NonFiniteError
from .info import show_config
from .layers import Sequential
from .losses import SoftmaxLoss
from .optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSProp
from .schedules import Cosine
from .solver import Solver

MODELS: dict[str, Callable[..., Sequential]] = {
    "resnet": models.digits_resnet,
    "cnn": models.digits_cnn,
    "linear": models.linear,
}
OPTIMIZERS: dict[str, Callable[[float | None], Optimizer]] = {
    "sgd": lambda lr: SGD(lr=0.1 if lr is None else lr, momentum=0.9, weight_decay=5e-4),
    "rmsprop": lambda lr: RMSProp(lr=1e-3 if lr is None else lr),
    "adagrad": lambda lr: Adagrad(lr=1e-2 if lr is None else lr),
    "adam": lambda lr: Adam(lr=3e-3 if lr is None else lr),
    "adamw": lambda lr: AdamW(lr=3e-3 if lr is None else lr),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code: 0 done, 1 failed, 2 called wrongly, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        if getattr(options, "threads", None) is not None:
            threads.set_num_threads(options.threads)
        return options.run(options)
    except KeyboardInterrupt:  # where no training could save anything: a second Ctrl-C, or outside train()
        return 130
    except (CheckpointError, ImportError, NonFiniteError, OSError, ValueError) as error:
        print("\n".join([f"cnnlayers: {error}", *getattr(error, "__notes__", [])]), file=sys.stderr)
        return 1


def train(options: argparse.Namespace) -> int:
    """Train on the digits, test, and save the net."""
    data = datasets.digits()
    out = Path(options.out)
    if out.is_dir() or out == out.with_suffix(".csv"):  # known before the training, not after it
        raise ValueError(f"--out needs a file for the net, beside which the history goes as .csv; got {options.out!r}")
    out.parent.mkdir(parents=True, exist_ok=True)
    net = MODELS[options.model](rng=options.seed)
    print(net.summary(), end="\n\n")
    optimizer = OPTIMIZERS[options.optimizer](options.lr)
    print(f"{optimizer!r}, batches of {options.batch_size}, {threads.get_num_threads()} threads", flush=True)
    solver = Solver(
        net,
        data.train,
        data.val,
        loss=SoftmaxLoss(label_smoothing=0.1),  # it evens out how well different seeds end
        optimizer=optimizer,
        schedule=Cosine(warmup=min(1, options.epochs / 2)),
        batch_size=options.batch_size,
        epochs=options.epochs,
        rng=options.seed,
    )
    history = solver.train()
    if history.stopped:
        print(f"stopped: {history.stopped}")
    net.save(out, classes=data.classes)
    history.save(out.with_suffix(".csv"))
    print(f"\nsaved {out} and {out.with_suffix('.csv')}")
    about = {"model": options.model, "data": repr(data), "optimizer": repr(optimizer), "seed": options.seed}
    _leave_report(out.parent, net=net, history=history, data=data, about=about, title="The 8x8 digits")
    print(f"test accuracy: {solver.evaluate(*data.test)['accuracy']:.1%}")
    return 130 if history.stopped else 0


def evaluate(options: argparse.Namespace) -> int:
    """Loss and accuracy of a saved net on a part of the digits."""
    net = checkpoint.load(options.file)
    data = datasets.digits()
    shape = data.test[0].shape[1:]
    if net.input_shape != shape:
        raise ValueError(f"{options.file}: the net takes inputs of shape {net.input_shape}; the digits have {shape}")
    solver = Solver(net, data.train, loss=SoftmaxLoss(), optimizer=SGD(lr=0))
    for name, value in solver.evaluate(*getattr(data, options.part)).items():
        print(f"{options.part} {name}: {_shown(name, value)}")
    return 0


def write_report(options: argparse.Namespace) -> int:
    """The report page of a run."""
    print(f"report: {report.report_run(options.run_folder)}")
    return 0


def _leave_report(folder: Path, **run: Any) -> None:
    """Write the report page behind a training, and say where it is; without matplotlib, how to get one."""
    try:
        print(f"report: {report.write(folder, **run)}")
    except ImportError as error:
        print(f"no report: {error}")


def summary(options: argparse.Namespace) -> int:
    """The layers of a saved net."""
    net = checkpoint.load(options.file)
    print(net.summary())
    if net.classes:
        print(f"classes: {', '.join(net.classes)}")
    return 0


def info(options: argparse.Namespace) -> int:
    """What this installation is made of."""
    show_config()
    return 0


def _shown(name: str, value: float) -> str:
    return f"{value:.1%}" if name == "accuracy" else f"{value:.4f}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cnnlayers",
        description="Train small convolutional networks on the CPU.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"cnnlayers {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text, formatter_class=parser.formatter_class)
        sub.set_defaults(run=run)
        return sub

    sub = command("train", train, "train a net on the 8x8 digits in the package, test it and save it")
    sub.add_argument("--model", choices=MODELS, default="resnet", help="which net")
    sub.add_argument("--epochs", type=_positive, default=20, metavar="N", help="passes over the training part")
    sub.add_argument("--batch-size", type=_positive, default=64, metavar="N", help="samples per step")
    sub.add_argument("--optimizer", choices=OPTIMIZERS, default="sgd", help="how to step")
    sub.add_argument("--lr", type=_rate, metavar="X", help="highest learning rate; None: one that suits the optimizer")
    sub.add_argument("--seed", type=_seed, default=0, metavar="N", help="of initial weights and order")
    sub.add_argument("--threads", type=_positive, metavar="N", help="None: all processors this process may use")
    sub.add_argument("--out", default="runs/digits.safetensors", metavar="FILE", help="where the net is saved")

    sub = command("evaluate", evaluate, "loss and accuracy of a saved net on the digits")
    sub.add_argument("file", metavar="FILE", help="a net that `train` or net.save() wrote")
    sub.add_argument("--part", choices=("train", "val", "test"), default="test", help="which part of the digits")
    sub.add_argument("--threads", type=_positive, metavar="N", help="None: all processors this process may use")

    sub = command("report", write_report, "write report.html: what a run on the digits reached, learned and got wrong")
    sub.add_argument("run_folder", metavar="RUN", help="the folder that `train` wrote to, or a net in it")

    sub = command("summary", summary, "the layers of a saved net")
    sub.add_argument("file", metavar="FILE", help="a net that `train` or net.save() wrote")

    command("info", info, "versions, compiler, OpenMP and threads of this installation")
    return parser


def _positive(text: str) -> int:
    return _whole(text, 1)


def _seed(text: str) -> int:
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    number = int(text) if text.isascii() and text.isdigit() else -1
    if number < least:
        raise argparse.ArgumentTypeError(f"a whole number of at least {least} is needed; got {text!r}")
    return number


def _rate(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"a number of at least 0 is needed; got {text!r}")
    return number

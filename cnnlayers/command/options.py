"""The options of the command, and the types of their values."""

from __future__ import annotations

import argparse

from ..data.emnist import CLASSES as EMNIST_SPLITS
from ..names import path_of_text
from .factories import AUGMENTATIONS, MODELS, OPTIMIZERS, SCHEDULES, VIEWS, defaults_of
from .sources import data_help, downloads


class DefaultsShown(argparse.HelpFormatter):
    """Adds the defaults, where there is one and the help does not say it."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help or ""
        unsaid = action.default not in (None, False, argparse.SUPPRESS) and "(default: " not in text
        return f"{text} (default: %(default)s)" if unsaid else text


def add_train_options(sub: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """Add the options of `train`; give those that a file may hold, by attribute."""
    options: list[argparse.Action] = []

    def group(title: str):
        section = sub.add_argument_group(title)
        return lambda *names, **about: options.append(section.add_argument(*names, **about))

    add = group("data")
    add("data", nargs="?", type=path_of_text, default="digits", metavar="DATA", help=DATA_HELP)
    add(
        "--download",
        action="store_true",
        help=f"fetch what is missing of a data set into DATA, a folder named {downloads()}",
    )
    add("--size", type=size, default=(32, 32), metavar="HxW", help="scale a folder's images to this (default: 32x32)")
    add("--channels", type=int, choices=(3, 1), default=3, help="read a folder's images in colour or gray")
    add("--background", type=ground, default=255, metavar="X", help=BACKGROUND_HELP)
    add("--skip-damaged", action="store_true", help="leave out a folder's images that are damaged, and name them")
    add("--truncated", action="store_true", help=TRUNCATED_HELP)
    add("--cache", type=path_of_text, metavar="FOLDER", help=CACHE_HELP)
    add(
        "--signals",
        action=argparse.BooleanOptionalAction,
        help="take an npz's samples of three axes for signals (N, L, C), or with --no-signals for gray images "
        "(N, H, W) (default: images if they are of uint8 or square)",
    )
    add("--split", choices=tuple(EMNIST_SPLITS), help="which split of EMNIST (default: the one that is there)")
    add("--val", type=part, default=0.1, metavar="N", help="validation part, if the data has none: a number or a share")
    add("--test", type=part, default=0.1, metavar="N", help="test part of a folder of images, likewise")

    add = group("net")
    add("--model", choices=MODELS, help="which net (default: resnet, lenet or resnet8, as suits the samples' size)")
    add("--dtype", choices=("float32", "float64"), default="float32", help="precision")

    add = group("training")
    add("--epochs", type=positive, default=20, metavar="N", help="passes over the training part")
    add("--batch-size", type=positive, default=64, metavar="N", help="samples per batch")
    add("--accumulate", type=positive, default=1, metavar="N", help="batches per step, which ranks of mpiexec share")
    add(
        "--augment",
        choices=AUGMENTATIONS,
        default="none",
        help="standard: crop, and flip what is in colour; strong: more",
    )
    add("--mixup", type=above_zero, metavar="ALPHA", help="then blend pairs of images and their labels; 0.2 is usual")
    add("--optimizer", choices=OPTIMIZERS, default="sgd", help="how to step")
    add("--lr", type=number, metavar="X", help="highest learning rate (default: one that suits the optimizer)")
    momenta = defaults_of("momentum")
    usual = " and ".join(f"{momentum:g}" for momentum in momenta.values())
    add("--momentum", type=number, metavar="X", help=f"of {' and '.join(momenta)} (default: {usual})")
    decays = [f"{decay:g} for {name}" for name, decay in defaults_of("weight_decay").items() if decay]
    add("--weight-decay", type=number, metavar="X", help=f"(default: {', '.join(decays)}, else 0)")
    add("--schedule", choices=SCHEDULES, default="cosine", help="how the learning rate goes")
    add("--warmup", type=number, metavar="EPOCHS", help="(default: 1, or half of the epochs if they are fewer)")
    add("--label-smoothing", type=share, default=0.1, metavar="X", help="share of a label given to all classes")
    add("--clip-norm", type=above_zero, metavar="X", help="scale larger gradients down to this norm")
    add("--ema", type=share, metavar="DECAY", help="evaluate and keep a moving average of the weights")
    add("--keep", choices=("best", "last"), default="best", help="which weights to keep")
    add("--monitor", default="val_loss", metavar="NAME", help="what is best: val_loss, val_accuracy, train_loss, ...")
    add("--early-stopping", type=positive, metavar="N", help="stop after N epochs without a better --monitor")
    add("--seed", type=whole, default=0, metavar="N", help="of initial weights, order, augmentation and drawn parts")
    add("--threads", type=positive, metavar="N", help=THREADS_HELP)

    add = group("output")
    add("--out", metavar="RUN", help=f"{OUT_HELP} (default: runs/ and the data's name, with a number if that is taken)")
    add("--overwrite", action="store_true", help="replace the run that is there, once an epoch of the new one is saved")
    add("--checkpoint-every", type=positive, metavar="N", help="keep a checkpoint of every Nth epoch besides")
    add(
        "--report",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="write RUN/report.html at the end; needs matplotlib",
    )
    sub.add_argument("--config", metavar="FILE", help="TOML file of these options; the command line goes before it")
    return {action.dest: action for action in options}


def add_views_option(sub: argparse.ArgumentParser) -> None:
    """Add the option of the commands that predict."""
    sub.add_argument(
        "--views",
        choices=tuple(VIEWS),
        help="average the scores over views of each image: itself and its mirror image, or these and also both shifted "
        "by a pixel up left and down right (six views, six times the work; default: the image alone)",
    )


def add_image_options(sub: argparse.ArgumentParser) -> None:
    """Add the options of the commands that read an image file."""
    sub.add_argument(
        "--background", type=ground, metavar="X", help=f"{BACKGROUND_HELP} (default: that of the run, or 255)"
    )
    sub.add_argument("--truncated", action="store_true", help=TRUNCATED_HELP)
    sub.add_argument("--invert", action="store_true", help="take black for white: of ink on paper")
    sub.add_argument(
        "--white", type=above_zero, default=255, metavar="X", help="what white is in the net's data: 16 in the digits"
    )


DATA_HELP = data_help()
BACKGROUND_HELP = "what is seen through transparent pixels, 0 to 255, or R,G,B"
TRUNCATED_HELP = "take images that break off for what can be decoded of them"
CACHE_HELP = "keep a folder's decoded images there, and read them from there; they may be larger than memory"
OUT_HELP = "folder for all that the run writes, or a file FILE.safetensors for the net and FILE.csv for the history"
THREADS_HELP = "(default: all processors that this process may use; processes of mpiexec share them)"


def positive(text: str) -> int:
    """A whole number from 1."""
    return _whole(text, 1)


def whole(text: str) -> int:
    """A whole number from 0."""
    return _whole(text, 0)


def number(text: str) -> float:
    """A number from 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"a number of at least 0 is needed; got {text!r}")
    return value


def above_zero(text: str) -> float:
    """A number above 0."""
    if number(text) == 0:
        raise argparse.ArgumentTypeError(f"a number above 0 is needed; got {text!r}")
    return number(text)


def share(text: str) -> float:
    """A number from 0, below 1."""
    if number(text) >= 1:
        raise argparse.ArgumentTypeError(f"a number below 1 is needed; got {text!r}")
    return number(text)


def ground(text: str) -> int | tuple[int, ...]:
    """A number from 0 to 255, or one for each channel: 255 or 255,128,0."""
    values = tuple(map(whole, text.replace("x", ",").split(",")))  # a list in a file comes with x
    if max(values) > 255 or len(values) not in (1, 3):
        raise argparse.ArgumentTypeError(f"0 to 255, or three of them such as 255,128,0, are needed; got {text!r}")
    return values if len(values) == 3 else values[0]


def part(text: str) -> int | float:
    """So many samples, or a share of them: 500 or 0.1."""
    return whole(text) if text.isascii() and text.isdigit() else share(text)


def size(text: str) -> tuple[int, int]:
    """Height and width: 32x48, or 32 for both."""
    sides = text.lower().split("x")
    if len(sides) > 2:
        raise argparse.ArgumentTypeError(f"a size such as 32 or 32x48 (height x width) is needed; got {text!r}")
    return positive(sides[0]), positive(sides[-1])


def _whole(text: str, least: int) -> int:
    value = int(text) if text.isascii() and text.isdigit() else -1
    if value < least:
        raise argparse.ArgumentTypeError(f"a whole number of at least {least} is needed; got {text!r}")
    return value

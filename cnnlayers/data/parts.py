"""What every reader gives: images and labels in three parts, and how a part is split off."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checks import as_integer, as_number
from ..errors import DataError
from ..randomness import random_generator
from ..stored import Rows, Stored, is_stored, release
from .targets import REAL, as_truths

__all__ = ["Dataset", "arrays", "channel_stats"]

Pair = tuple[Any, np.ndarray]  # samples, which may be in a file, and labels

MOST_CLASSES = 1_000_000  # a label above is a mistake, and each class has a name
BLOCK = 1 << 22  # elements that channel_stats turns into float64 at a time
SMALL = 1 << 26  # bytes of a memory map of which parts are copied into memory


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Images and labels in three parts.

    Attributes
    ----------
    train, val, test : tuple of (x, y)
        Images x (N, H, W, C), of uint8 where they come from files; labels y (N,), int64, in 0..len(classes)-1, or rows
        (N, len(classes)) that say of each class whether it holds. A part that the data does not have is None; only
        train is always there. An x that stays in a file is a read-only `np.memmap`, or, if it was drawn from one of
        more than 64 MB, `Rows` of it: it is indexed as an array, and read where it is.
    classes : tuple of str
        The name of each label.
    skipped : tuple of str
        Damaged files that were left out.
    """

    train: Pair
    val: Any
    test: Any
    classes: tuple[str, ...]
    skipped: tuple[str, ...] = ()

    def __repr__(self) -> str:
        parts = [name for name in ("train", "val", "test") if getattr(self, name) is not None]
        sizes = ", ".join(f"{name}={len(getattr(self, name)[1])}" for name in parts)
        shape = self.train[0].shape[1:]
        what = {2: "signals", 3: "images"}.get(len(shape), "samples")
        return f"Dataset({sizes} {what} of {' x '.join(map(str, shape))}, {len(self.classes)} classes)"


def arrays(
    train: Any, val: Any = None, test: Any = None, *, classes: Iterable[str] | None = None, rng: Any = 0
) -> Dataset:
    """Make a data set of arrays that you have.

    Parameters
    ----------
    train, test : (x, y)
        Samples (N, ...), kept as they are, also where they are not in memory (HDF5's, say); and integer labels (N,), or
        rows (N, L) of 0 and 1, of labels of which any number may hold, as `SigmoidLoss` takes them.
    val : (x, y), or int or float
        A number is split off `train`, all of which is read for it, unless it is a memory map of more than 64 MB: an int
        is a number of samples, a float below 1 a share of them.
    classes : sequence of str, optional
        The name of each label; by default "0", "1", ... up to the largest label, which must be below a million, or for
        each column of rows.
    rng : int or numpy.random.Generator
        Draws which samples are split off.

    Raises
    ------
    ValueError, TypeError
        If a part is not a pair that fits together, or labels are out of range.

    Examples
    --------
    >>> arrays((np.zeros((10, 8, 8, 1), np.uint8), np.arange(10) % 3), val=0.2)
    Dataset(train=8, val=2 images of 8 x 8 x 1, 3 classes)
    """
    pairs = {"train": as_pair("train", train)}
    if val is not None and not is_number(val):
        pairs["val"] = as_pair("val", val)
    if test is not None:
        pairs["test"] = as_pair("test", test)
    for name, (x, _) in pairs.items():
        shape, first = (tuple(samples.shape[1:]) for samples in (x, pairs["train"][0]))
        if shape != first:
            raise ValueError(f"arrays: {name} has samples of {shape}, train of {first}")
    if classes is None:
        rows = pairs["train"][1].shape[1:]
        count = rows[0] if rows else 1 + max(int(y.max(initial=-1)) for _, y in pairs.values())
        classes = [str(label) for label in range(count)]
    names = tuple(map(str, classes))
    for name, (_, y) in pairs.items():
        if y.shape[1:] != pairs["train"][1].shape[1:] or y.shape[1:] not in ((), (len(names),)):
            raise ValueError(f"arrays: {name} needs labels (N,) or rows (N, {len(names)}); got shape {y.shape}")
        if y.ndim == 1:
            check_labels(f"arrays: {name}", y, len(names), ValueError)
    if "val" in pairs:
        return Dataset(pairs["train"], pairs["val"], pairs.get("test"), names)
    return split("arrays", pairs["train"], 0 if val is None else val, pairs.get("test"), names, rng)


def channel_stats(x: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, over all samples and pixels.

    The two arguments that `Normalize` takes: `cl.Normalize(*channel_stats(data.train[0]))` as a net's first layer is
    fitted to the training part, saved with the net, and so the same in training and prediction. A channel that never
    varies has the deviation 1. Pixels are summed in float64, a few images at a time; x may be in a file, as HDF5's are.

    Parameters
    ----------
    x : (N, ..., C)

    Raises
    ------
    ValueError, TypeError
        If x has no samples, no channel axis, or is not made of real numbers.

    Examples
    --------
    >>> channel_stats(np.array([[[0, 7], [4, 7]]], np.uint8))
    ((2.0, 7.0), (2.0, 1.0))
    """
    x = Stored(x) if is_stored(x) else np.asanyarray(x)
    if x.dtype.kind not in REAL:
        raise TypeError(f"channel_stats needs real numbers; got dtype {x.dtype}")
    if x.ndim < 2 or x.size == 0:
        raise ValueError(f"channel_stats needs samples with channels, (N, ..., C); got shape {x.shape}")
    count = x.size // x.shape[-1]
    axes = tuple(range(x.ndim - 1))
    mean = sum(block.sum(axis=axes, dtype=np.float64) for block in blocks(x)) / count
    squares = sum(_squares(block, mean).sum(axis=axes) for block in blocks(x))
    std = np.sqrt(squares / count)
    std[std == 0] = 1
    return tuple(mean.tolist()), tuple(std.tolist())


def _squares(block: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """(block - mean)^2, in the memory of the difference."""
    difference = block - mean
    return np.square(difference, out=difference)


def blocks(x: Any, step: int = 0) -> Iterator[np.ndarray]:
    """Yield a few samples at a time, or so many, so that those of a file never are in memory all at once."""
    step = step or max(1, BLOCK // (x.size // len(x)))
    for i in range(0, len(x), step):
        yield x[i : i + step]
        release(x)


def split(who: str, train: Pair, val: Any, test: Any, classes: Sequence[str], rng: Any) -> Dataset:
    """Make the data set, with `val` samples split off `train`: an int is a number, a float below 1 a share of them.

    Which ones is drawn from `rng`; both parts stay in the order in which they came.
    """
    x, y = train
    size = val_size(who, val, len(y))
    if size == 0:
        return Dataset((x, y), None, test, tuple(classes))
    chosen = np.zeros(len(y), bool)
    chosen[random_generator(rng).permutation(len(y))[:size]] = True
    kept, held = ((_drawn(x, part), y[part]) for part in map(np.flatnonzero, (~chosen, chosen)))
    return Dataset(kept, held, test, tuple(classes))


def _drawn(x: Any, rows: np.ndarray) -> Any:
    """Some samples: a copy in memory, or, of a large memory map, what reads them where they are."""
    if isinstance(x, Rows):
        return Rows(x.source, x.rows[rows])
    if isinstance(x, np.memmap) and x.nbytes > SMALL:
        return Rows(x, rows)
    return (Stored(x) if is_stored(x) else x)[rows]


def val_size(who: str, val: Any, n: int) -> int:
    """How many of n samples `val` means; at least one stays."""
    if isinstance(val, float | np.floating):
        size = round(as_number(who, "val", val, low=0, high=1, open_high=True) * n)
    else:
        size = as_integer(who, "val", val, low=0)
    if size >= n and size > 0:
        raise ValueError(f"{who}: val={val} leaves none of {n} samples for training")
    return size


def is_number(value: Any) -> bool:
    """Whether it is a number, not an array."""
    return isinstance(value, int | float | np.number)


def as_pair(name: str, pair: Any) -> Pair:
    """Give samples and labels of the same length, the labels as int64; rows of what holds stay as they are."""
    if not (isinstance(pair, tuple | list) and len(pair) == 2):
        raise TypeError(f"arrays: {name} must be a pair (x, y); got {type(pair).__name__}")
    x = pair[0] if is_stored(pair[0]) else np.asanyarray(pair[0])
    y = Stored(pair[1])[:] if is_stored(pair[1]) else np.asarray(pair[1])
    shape = tuple(x.shape)
    if len(shape) < 2 or y.ndim not in (1, 2) or shape[0] != len(y):
        raise ValueError(f"arrays: {name} needs samples (N, ...) and labels (N,); got shapes {shape} and {y.shape}")
    if len(y) == 0:
        raise ValueError(f"arrays: {name} has no samples")
    if y.ndim == 2:
        return x, as_truths(f"arrays: {name}", y, y.shape)
    if y.dtype.kind not in "iu":
        raise TypeError(f"arrays: {name} needs integer labels; got dtype {y.dtype}")
    if y.max() >= MOST_CLASSES:
        at = int(y.argmax())
        raise ValueError(f"arrays: {name}: labels must be below {MOST_CLASSES:,}; found {y[at]} at position {at}")
    return x, y.astype(np.int64)


def check_labels(who: str, y: np.ndarray, classes: int, error: type[Exception] = DataError) -> None:
    """Raise an error that names the first label outside of 0..classes-1."""
    bad = (y < 0) | (y >= classes)
    if bad.any():
        at = int(bad.argmax())
        raise error(f"{who}: labels must be in 0..{classes - 1}; found {y[at]} at position {at}")

"""Augmentation: small random changes of training images that leave their labels as they are.

An augmentation is a callable

    augment(batch, *, seed, epoch, indices) -> batch

with a batch of images (N, H, W, C) and the index of each of its samples in the data set. What is drawn for a sample
depends on (seed, epoch, index) alone: not on the order of the batches, on threads, or on whether the run was resumed.
`Solver(augment=...)` calls it so. One that mixes samples (`mixes` is True) takes their targets too, and gives both
back: augment(batch, y=rows, seed=, epoch=, indices=) -> (batch, rows); and their weights, if they have any, as a third.

Images of uint8, float32 and float64 keep their dtype; others become float32. Nothing is written into the batch.
`mirror` and `mirror_and_shift` are views of images for predictions, as in `net.predict(x, views=mirror)`: see `views`.

Scaling is not an augmentation but a layer, `cl.Normalize`, which predictions need too: fit it to the training part with
`cl.Normalize(*cl.datasets.channel_stats(x))`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from .. import kernels
from ..checks import as_flag, as_integer, as_number, takes
from .augmentation import Augmentation
from .draws import Draws, child_seed
from .images import as_draws, as_images
from .mixup import Mixup
from .targets import FLOATS
from .views import mirror, mirror_and_shift

__all__ = [
    "Augmentation",
    "ColorJitter",
    "Compose",
    "Cutout",
    "HorizontalFlip",
    "Mixup",
    "RandomAffine",
    "RandomCrop",
    "mirror",
    "mirror_and_shift",
    "standard",
]

REFLECT = "reflect"


class Placement(Augmentation):
    """Base of those that only say where each pixel comes from: neighbours in a `Compose` run as one pass.

    `rank` is their order within a pass. A subclass writes `place`, which fills its columns of the table that
    kernels/c/augment.h reads: down, along, mirrored, and a hole's top, bottom, left, right.
    """

    rank = 0
    fill: float | str

    def apply(self, x: np.ndarray, draws: Draws) -> np.ndarray:
        """Run a pass of this one alone."""
        return one_pass([(self, draws)], x, x.dtype)

    def place(self, places: np.ndarray, draws: Draws, h: int, w: int) -> None:
        """Fill in the columns."""
        raise NotImplementedError(f"{type(self).__name__} has no place()")


class RandomCrop(Placement):
    """Pad by `padding` on every side and cut the original size out of it, at a random place.

    Parameters
    ----------
    padding : int
        How far an image moves at most, in pixels, up or down and left or right.
    fill : float or "reflect"
        The value of the padding. With "reflect" it is the image, mirrored about its edge pixels, which are not repeated
        (NumPy's mode "reflect"): row -k is row k, and row H - 1 + k is row H - 1 - k. No artificial edge comes in then.

    Raises
    ------
    ValueError
        At the call, if with "reflect" an image is not larger than the padding: it has no such reflection.

    Notes
    -----
    Source: K. He et al., "Deep Residual Learning for Image Recognition", 2015, section 4.2.

    Examples
    --------
    >>> x = np.arange(9, dtype=np.uint8).reshape(1, 3, 3, 1)
    >>> RandomCrop(1)(x, seed=0, epoch=0, indices=[0])[0, :, :, 0]
    array([[3, 4, 5],
           [6, 7, 8],
           [0, 0, 0]], dtype=uint8)
    >>> RandomCrop(1, fill="reflect")(x, seed=0, epoch=0, indices=[0])[0, :, :, 0]
    array([[3, 4, 5],
           [6, 7, 8],
           [3, 4, 5]], dtype=uint8)
    """

    rank = 0

    def __init__(self, padding: int, fill: float | str = 0):
        self.padding = as_integer("RandomCrop", "padding", padding, low=0)
        if isinstance(fill, str) and fill != REFLECT:
            raise ValueError(f'RandomCrop: fill must be a number or "{REFLECT}"; got {fill!r}')
        self.fill = fill if isinstance(fill, str) else as_number("RandomCrop", "fill", fill)

    def place(self, places: np.ndarray, draws: Draws, h: int, w: int) -> None:
        """How far down and along."""
        if self.fill == REFLECT and self.padding >= min(h, w):
            raise ValueError(
                f"{self!r}: an image must be larger than the padding that reflects it; got images of {h} x {w}, which "
                f"take a padding of at most {min(h, w) - 1}, or a number for fill"
            )
        for axis in (0, 1):
            places[:, axis] = draws.integers(axis, 2 * self.padding + 1) - self.padding


class HorizontalFlip(Placement):
    """Mirror an image, left to right, with the chance `p`.

    Not for digits, letters, or anything else whose mirror image is another thing.

    Parameters
    ----------
    p : float
        From 0 to 1.
    alternate : bool
        Mirror each image in every other epoch: in those of even number or in those of odd number, which is drawn once
        for each sample, from the seed and its index. So any two epochs that follow each other show an image both ways,
        where independent draws would show it twice alike half of the time. `p` has no part in it.

    Notes
    -----
    Source of `alternate`: K. Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024 (arXiv 2404.00498), the
    section on alternating flip.

    Examples
    --------
    >>> flip = HorizontalFlip(alternate=True)
    >>> for epoch in range(4):
    ...     print(flip(np.uint8([1, 2, 3]).reshape(1, 1, 3, 1), seed=0, epoch=epoch, indices=[0]).ravel())
    [1 2 3]
    [3 2 1]
    [1 2 3]
    [3 2 1]
    >>> HorizontalFlip(p=1)(np.array([1, 2, 3]).reshape(1, 1, 3, 1), seed=0, epoch=0, indices=[0]).ravel()
    array([3., 2., 1.], dtype=float32)
    """

    rank = 1

    def __init__(self, p: float = 0.5, alternate: bool = False):
        self.p = as_number("HorizontalFlip", "p", p, low=0, high=1)
        self.alternate = as_flag("HorizontalFlip", "alternate", alternate)
        if self.alternate and self.p != 0.5:
            raise ValueError(
                f"HorizontalFlip: with alternate=True half of the images are mirrored, so p is 0.5; got {p!r}"
            )

    def place(self, places: np.ndarray, draws: Draws, h: int, w: int) -> None:
        """Whether mirrored; alternating, as in epoch 0 in the even epochs, and the other way in the odd ones."""
        shared = draws.of_epoch(0) if self.alternate else draws
        places[:, 2] = (shared.uniform(0) < self.p) ^ (self.alternate and draws.epoch % 2 == 1)


class Cutout(Placement):
    """Paint over a square of `size` pixels, its centre anywhere in the image: near an edge, part of it falls outside.

    Parameters
    ----------
    size : int
        At least 1.
    fill : float
        What to paint with.

    Notes
    -----
    Source: T. DeVries, G. Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout", 2017.

    Examples
    --------
    >>> x = np.ones((1, 4, 4, 1), np.uint8)
    >>> int(Cutout(2)(x, seed=0, epoch=0, indices=[0]).sum())
    12
    """

    rank = 2

    def __init__(self, size: int, fill: float = 0):
        self.size = as_integer("Cutout", "size", size, low=1)
        self.fill = as_number("Cutout", "fill", fill)

    def place(self, places: np.ndarray, draws: Draws, h: int, w: int) -> None:
        """From where to where."""
        for axis, length in ((0, h), (1, w)):
            start = draws.integers(axis, length) - self.size // 2
            places[:, 3 + 2 * axis] = np.maximum(start, 0)
            places[:, 4 + 2 * axis] = np.minimum(start + self.size, length)


class RandomAffine(Augmentation):
    """Turn and shift an image a little; pixels are interpolated between four neighbours.

    Parameters
    ----------
    degrees : float
        It turns about its centre by an angle from -degrees to degrees.
    shift : float
        It moves by up to this part of its height, up or down, and of its width, left or right.
    fill : float
        What comes in from outside.

    Examples
    --------
    >>> x = np.zeros((2, 8, 8, 1), np.uint8)
    >>> RandomAffine(degrees=10, shift=0.1)(x, seed=0, epoch=0, indices=[3, 4]).shape
    (2, 8, 8, 1)
    """

    def __init__(self, degrees: float = 10, shift: float = 0.1, fill: float = 0):
        self.degrees = as_number("RandomAffine", "degrees", degrees, low=0, high=180)
        self.shift = as_number("RandomAffine", "shift", shift, low=0, high=1)
        self.fill = as_number("RandomAffine", "fill", fill)

    def apply(self, x: np.ndarray, draws: Draws) -> np.ndarray:
        """Where each pixel of the result comes from in x: turn (i, j) - centre - shift back, and add the centre."""
        _, h, w, _ = x.shape
        angle = np.deg2rad(draws.between(0, -self.degrees, self.degrees))
        down, along = (size * draws.between(k, -self.shift, self.shift) for k, size in ((1, h), (2, w)))
        cos, sin, middle, centre = np.cos(angle), np.sin(angle), (h - 1) / 2, (w - 1) / 2
        row = middle - cos * (middle + down) - sin * (centre + along)
        column = centre + sin * (middle + down) - cos * (centre + along)
        maps = np.stack([cos, sin, row, -sin, cos, column], axis=1)
        return kernels.warp_images(x, maps, self.fill)


class ColorJitter(Augmentation):
    """Change brightness and contrast: y = c (b x - m) + m, with m the mean of b x over the image.

    b is drawn from 1 - brightness to 1 + brightness, c likewise. Images of uint8 are rounded and stay in 0..255;
    images of floats are not clipped, since their range is not known.

    Parameters
    ----------
    brightness, contrast : float
        From 0 to 1.

    Examples
    --------
    >>> x = np.full((1, 2, 2, 3), 100, np.uint8)
    >>> y = ColorJitter(brightness=0.5, contrast=0)(x, seed=0, epoch=0, indices=[0])
    >>> 50 <= y[0, 0, 0, 0] <= 150, np.ptp(y)
    (np.True_, np.uint8(0))
    """

    def __init__(self, brightness: float = 0.2, contrast: float = 0.2):
        self.brightness = as_number("ColorJitter", "brightness", brightness, low=0, high=1)
        self.contrast = as_number("ColorJitter", "contrast", contrast, low=0, high=1)

    def apply(self, x: np.ndarray, draws: Draws) -> np.ndarray:
        """Draw the two factors."""
        amounts = enumerate((self.brightness, self.contrast))
        factors = np.stack([draws.between(k, 1 - amount, 1 + amount) for k, amount in amounts], axis=1)
        return kernels.jitter_images(x, factors)


class Compose(Augmentation):
    """Several augmentations, one after the other, each with draws of its own.

    Neighbours among RandomCrop, HorizontalFlip and Cutout, in this order, run as one pass over the images.

    Parameters
    ----------
    steps : sequence of augmentations
        Objects of this module, or callables of your own with the same arguments.
    dtype : {"float32", "float64"}, optional
        What the images are at the end; by default whatever the steps give. Asking for float32 here saves the net a
        pass.

    Examples
    --------
    >>> augment = Compose([RandomCrop(4), HorizontalFlip()], dtype="float32")
    >>> x = np.zeros((2, 32, 32, 3), np.uint8)
    >>> augment(x, seed=0, epoch=0, indices=[10, 11]).dtype
    dtype('float32')
    """

    def __init__(self, steps: Iterable[Callable[..., Any]], dtype: str | None = None):
        self.steps = _as_steps(steps)
        if dtype is not None and dtype not in [d.name for d in FLOATS]:
            raise ValueError(f'Compose: dtype must be None, "float32" or "float64"; got {dtype!r}')
        self.dtype = dtype
        self.mixes = any(getattr(step, "mixes", False) for step in self.steps)

    def __call__(self, batch: Any, *, seed: int, epoch: int, indices: Any, y: Any = None, weights: Any = None) -> Any:
        """Run all steps; one that mixes needs `y`, the target rows, and gives (images, rows), and weights if given."""
        if self.mixes and y is None:
            raise ValueError(f"{self!r} mixes samples: it needs y, their target rows (N, classes)")
        x = as_images(self, batch)
        as_draws(self, len(x), seed, epoch, indices)
        runs = _runs(self.steps)
        for start, run in runs:
            seeds = [child_seed(seed, start + k) for k in range(len(run))]
            if isinstance(run[0], Placement):
                last = self.dtype is not None and start + len(run) == len(self.steps) and x.dtype == np.uint8
                draws = (Draws(s, epoch, np.asarray(indices, np.int64)) for s in seeds)
                x = one_pass(list(zip(run, draws, strict=True)), x, np.dtype(self.dtype) if last else x.dtype)
            elif getattr(run[0], "mixes", False):
                x, y, *w = run[0](x, y=y, seed=seeds[0], epoch=epoch, indices=indices, **_weighted(run[0], weights))
                weights = w[0] if w else None
            else:
                x = run[0](x, seed=seeds[0], epoch=epoch, indices=indices)
        if self.dtype is not None:
            x = x.astype(self.dtype, copy=False)
        if not self.mixes:
            return x
        return (x, y) if weights is None else (x, y, weights)


def standard(input_shape: Sequence[int]) -> Compose:
    """Give the usual augmentation: a crop, padded by an eighth of the size, and a flip of images in colour.

    For 32 x 32 photographs that is RandomCrop(4) and HorizontalFlip(). Gray images, most of them of writing, are not
    mirrored.

    Parameters
    ----------
    input_shape : (H, W, C)

    Raises
    ------
    ValueError
        If `input_shape` is not that of images.

    Examples
    --------
    >>> standard((32, 32, 3))
    Compose(steps=(RandomCrop(padding=4), HorizontalFlip()), dtype='float32')
    >>> standard((28, 28, 1))
    Compose(steps=(RandomCrop(padding=3),), dtype='float32')
    """
    shape = tuple(as_integer("standard", "input_shape", size, low=1) for size in input_shape)
    if len(shape) != 3:
        raise ValueError(f"standard: input_shape must be (H, W, C); got {shape}")
    crop = RandomCrop(min(shape[:2]) // 8)
    return Compose([crop, HorizontalFlip()] if shape[2] == 3 else [crop], dtype="float32")


def one_pass(steps: Sequence[tuple[Placement, Draws]], x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Run placements of rising rank, into images of `dtype`."""
    places = np.zeros((len(x), 7), np.int32)
    fills: dict[int, Any] = {RandomCrop.rank: 0.0, Cutout.rank: 0.0}
    for step, draws in steps:
        step.place(places, draws, *x.shape[1:3])
        fills[step.rank] = getattr(step, "fill", 0.0)
    border, hole = fills[RandomCrop.rank], fills[Cutout.rank]
    reflect = border == REFLECT
    return kernels.place_images(x, places, 0.0 if reflect else border, hole, dtype, reflect)


def _weighted(step: Any, weights: Any) -> dict[str, Any]:
    """The weights as an argument of a step that mixes, if there are any."""
    if weights is not None and not takes(step, "weights"):
        raise TypeError(f"Compose: the samples have weights, which a step that mixes must take; got {step!r}")
    return {} if weights is None else {"weights": weights}


def _as_steps(steps: Any) -> tuple[Callable[..., Any], ...]:
    if not isinstance(steps, Iterable):
        raise TypeError(f"Compose: steps must be a list of augmentations; got {steps!r}")
    steps = tuple(steps)
    for step in steps:
        if isinstance(step, type) or not callable(step):
            raise TypeError(f"Compose: a step must be an augmentation, as RandomCrop(4); got {step!r}")
    return steps


def _runs(steps: Sequence[Any]) -> list[tuple[int, list[Any]]]:
    """Steps that run together, and where each run starts: placements of rising rank; each of the others alone."""
    runs: list[tuple[int, list[Any]]] = []
    for k, step in enumerate(steps):
        before = runs[-1][1][-1] if runs else None
        if isinstance(step, Placement) and isinstance(before, Placement) and before.rank < step.rank:
            runs[-1][1].append(step)
        else:
            runs.append((k, [step]))
    return runs

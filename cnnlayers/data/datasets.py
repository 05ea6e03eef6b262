"""Data sets, each split into training, validation and test part."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["Dataset", "digits"]

Pair = tuple[NDArray[np.uint8], NDArray[np.int64]]


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Images and labels in three parts.

    Attributes
    ----------
    train, val, test : tuple of (x, y)
        Images x (N, H, W, C), uint8; labels y (N,), int64, in 0..len(classes)-1.
    classes : tuple of str
        The name of each label.
    """

    train: Pair
    val: Pair
    test: Pair
    classes: tuple[str, ...]

    def __repr__(self) -> str:
        parts = ", ".join(f"{name}={len(getattr(self, name)[1])}" for name in ("train", "val", "test"))
        height, width, channels = self.train[0].shape[1:]
        return f"Dataset({parts} images of {height} x {width} x {channels}, {len(self.classes)} classes)"


def digits() -> Dataset:
    """Give the 1,797 real handwritten digits that come with the package.

    Each image is 8 x 8 with values 0 to 16: how many pixels of a 4 x 4 block of the 32 x 32 scan have ink.
    The split is fixed, by position in the source's order: image i is test if i % 5 == 0, validation if i % 5 == 1, and
    training otherwise. Every call gives fresh arrays.

    Returns
    -------
    Dataset
        1,077 training, 360 validation and 360 test images, x (N, 8, 8, 1) uint8 and y (N,) int64; classes "0" to "9".

    Notes
    -----
    Source: E. Alpaydin and C. Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository, https://doi.org/10.24432/C50P49, CC BY 4.0. These are the images of its test part, in the order in
    which scikit-learn's ``load_digits`` gives them.

    Examples
    --------
    >>> data = digits()
    >>> data
    Dataset(train=1077, val=360, test=360 images of 8 x 8 x 1, 10 classes)
    >>> x, y = data.train
    >>> x.shape, x.dtype, y.dtype
    ((1077, 8, 8, 1), dtype('uint8'), dtype('int64'))
    """
    with np.load(Path(__file__).with_name("digits.npz"), allow_pickle=False) as file:
        x, y = file["x"], file["y"].astype(np.int64)
    fifth = np.arange(len(y)) % 5
    test, val, train = fifth == 0, fifth == 1, fifth >= 2
    return Dataset(
        train=(x[train], y[train]),
        val=(x[val], y[val]),
        test=(x[test], y[test]),
        classes=tuple("0123456789"),
    )

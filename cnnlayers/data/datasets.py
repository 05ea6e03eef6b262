"""Data sets: readers of the usual files, and the digits that the package carries.

Each gives a `Dataset`: `.train`, `.val` and `.test` are pairs (x, y), `.classes` names the labels. Images stay uint8
in memory; scaling is the net's first layer, `cl.Normalize(*channel_stats(data.train[0]))`. A damaged file, or one
that lies about its sizes, is a `DataError` that names it, before memory is taken for what it claims to hold.
"""

from pathlib import Path

import numpy as np

from .cifar import SOURCES as CIFAR
from .cifar import cifar10, cifar100
from .emnist import SOURCE as EMNIST
from .emnist import emnist
from .folder import SOURCE as IMAGES
from .folder import image_folder
from .idx import idx
from .image_file import read_image
from .mnist import SOURCES as MNIST
from .mnist import fashion_mnist, mnist
from .npz import SOURCE as NPZ
from .npz import npz
from .parts import Dataset, arrays, channel_stats

__all__ = [
    "Dataset",
    "arrays",
    "channel_stats",
    "cifar10",
    "cifar100",
    "digits",
    "emnist",
    "fashion_mnist",
    "idx",
    "image_folder",
    "mnist",
    "npz",
    "read_image",
]

SOURCES = (*MNIST, EMNIST, *CIFAR, NPZ, IMAGES)  # what the command's DATA may be: the first that recognises it reads it


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

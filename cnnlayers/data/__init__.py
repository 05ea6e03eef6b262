"""Data: readers of data sets, the digits that the package carries, and augmentation."""

from . import augment, datasets

__all__ = ["augment", "datasets"]

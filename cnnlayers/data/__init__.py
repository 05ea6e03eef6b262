"""Data: readers of data sets, and the digits that the package carries."""

from . import datasets

__all__ = ["datasets"]

"""What an augmentation is."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..config import Configured
from .draws import Draws
from .images import as_draws, as_images

__all__ = ["Augmentation"]


class Augmentation(Configured):
    """Base class of the augmentations. A subclass writes `apply`."""

    mixes = False

    def __call__(self, batch: Any, *, seed: int, epoch: int, indices: Any) -> np.ndarray:
        """Give the batch, augmented.

        Parameters
        ----------
        batch : (N, H, W, C)
        seed, epoch : int
            At least 0.
        indices : (N,) of int
            Which sample of the data set each image is.

        Raises
        ------
        ValueError, TypeError
            If the batch is not images of real numbers, or `indices` does not fit it.
        """
        x = as_images(self, batch)
        return self.apply(x, as_draws(self, len(x), seed, epoch, indices))

    def apply(self, x: np.ndarray, draws: Draws) -> np.ndarray:
        """Augment checked images."""
        raise NotImplementedError(f"{type(self).__name__} has no apply()")

"""Blends of samples, of images and targets alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import kernels
from ..checks import as_number
from .augmentation import Augmentation
from .draws import Draws
from .images import as_draws, as_images, as_target_rows
from .targets import FLOATS, as_weights

__all__ = ["Mixup"]


class Mixup(Augmentation):
    """Blend each sample with another of its batch: share * sample + (1 - share) * other, images and target rows alike.

    The share is drawn from Beta(alpha, alpha) for each sample. Who is blended with whom depends on the samples that
    share the batch, not on their order in it. The images come back as floats.

    Where samples have weights, each counts in a blend by its share times its weight: the blend's weight is the sum of
    the two, and its row the mean of theirs, weighted so.

    Parameters
    ----------
    alpha : float
        Above 0. Small: mostly one of the two; 1: any share is as likely as any other.

    Notes
    -----
    Sources: H. Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018. The share: with a variable t of
    Student's distribution with 2 alpha degrees of freedom, (1 + t / sqrt(2 alpha + t^2)) / 2 is of Beta(alpha,
    alpha); t is computed from two uniform numbers, R. Bailey, "Polar Generation of Random Variates with the
    t-Distribution", 1994.

    Examples
    --------
    >>> x, rows = np.eye(4, dtype=np.float32).reshape(4, 2, 2, 1), np.eye(4)
    >>> x, rows = Mixup(0.2)(x, y=rows, seed=0, epoch=0, indices=range(4))
    >>> rows.sum(axis=1)
    array([1., 1., 1., 1.])
    """

    mixes = True

    def __init__(self, alpha: float = 0.2):
        self.alpha = as_number("Mixup", "alpha", alpha, low=0, open_low=True)

    def __call__(  # type: ignore[override]
        self, batch: Any, *, y: Any, seed: int, epoch: int, indices: Any, weights: Any = None
    ) -> tuple[np.ndarray, ...]:
        """Give images and target rows (N, classes), both blended, and weights, if given; integers become float64."""
        x = as_images(self, batch)
        rows = as_target_rows(self, y, len(x))
        draws = as_draws(self, len(x), seed, epoch, indices)
        shares = self.shares(draws)
        partners = self.partners(draws)
        mixed = kernels.blend_images(x, partners, shares, x.dtype if x.dtype in FLOATS else FLOATS[0])
        if weights is not None:
            w = as_weights("Mixup", weights, len(x), some=False)
            total = shares * w + (1 - shares) * w[partners]
            shares = np.divide(shares * w, total, out=shares.copy(), where=total > 0)
        share = shares.astype(rows.dtype)[:, np.newaxis]
        blended = share * rows + (1 - share) * rows[partners]
        return (mixed, blended) if weights is None else (mixed, blended, total)

    def shares(self, draws: Draws) -> np.ndarray:
        """Draw one for each sample, with t^2 / 2 alpha = (u^(-1 / alpha) - 1) cos^2(2 pi v) of the Notes."""
        u, angle = 1 - draws.uniform(0), 2 * np.pi * draws.uniform(1)
        with np.errstate(over="ignore", divide="ignore"):  # 1 / 0 and u^-1000 are what they should be: infinite
            square = np.expm1(-np.log(u) / self.alpha) * np.cos(angle) ** 2
            t = np.sqrt(1 / (1 + 1 / square))
        return (1 + np.sign(np.cos(angle)) * t) / 2

    def partners(self, draws: Draws) -> np.ndarray:
        """Sort the samples by a number drawn for each: the next one is the partner, the first that of the last."""
        order = np.argsort(draws.uniform(2), kind="stable")
        partners = np.empty(len(order), np.int64)
        partners[order] = np.roll(order, -1)
        return partners

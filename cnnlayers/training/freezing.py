"""A callback that freezes parameters in the course of a training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..checks import as_integer
from .callback import Callback

__all__ = ["Freeze"]


class Freeze(Callback):
    """Freeze parameters once some epochs are done, as `net.freeze` does: they train no more, and save their work.

    Where all parameters at the beginning of a net are frozen, its backward pass ends after them.

    Source      A. Brock, T. Lim, J. Ritchie, N. Weston, "FreezeOut: Accelerate Training by Progressively Freezing
                Layers", 2017

    Parameters
    ----------
    names : str or sequence of str
        Names in `net.params`.
    after : int
        How many epochs they train, at least 1, of all that the Solver does.

    Examples
    --------
    >>> Freeze("1.b", after=3)
    Freeze(names=('1.b',), after=3)
    """

    def __init__(self, names: str | Iterable[str], after: int) -> None:
        self.names = (names,) if isinstance(names, str) else tuple(names)
        self.after = as_integer("Freeze", "after", after, low=1)

    def on_train_begin(self, solver: Any) -> None:
        """Refuse names that the net does not have."""
        if solver.model.built and (unknown := [name for name in self.names if name not in solver.model.params]):
            raise ValueError(f"Freeze: names must be parameters of the net; got {', '.join(map(repr, unknown))}")

    def on_epoch_end(self, solver: Any) -> None:
        """Freeze them, if it is time."""
        if solver.epoch == self.after:
            solver.model.freeze(*self.names)

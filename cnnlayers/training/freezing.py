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
        Names in `net.params`, at least one.
    after : int
        How many epochs they train, at least 1, of all that the Solver does. If more of them are done when training
        begins, they are frozen then.

    Examples
    --------
    >>> Freeze("1.b", after=3)
    Freeze(names=('1.b',), after=3)
    """

    def __init__(self, names: str | Iterable[str], after: int) -> None:
        self.names = _as_names(names)
        self.after = as_integer("Freeze", "after", after, low=1)

    def on_train_begin(self, solver: Any) -> None:
        """Refuse names that the net does not have; freeze them, if it was time before."""
        if solver.model.built:
            self._check(solver.model)
            if solver.epoch >= self.after:
                solver.model.freeze(*self.names)

    def on_epoch_end(self, solver: Any) -> None:
        """Freeze them, if it is time."""
        self._check(solver.model)  # a net that its first batch built
        if solver.epoch == self.after:
            solver.model.freeze(*self.names)

    def _check(self, net: Any) -> None:
        if unknown := [name for name in self.names if name not in net.params]:
            raise ValueError(f"Freeze: names must be parameters of the net; got {', '.join(map(repr, unknown))}")


def _as_names(names: Any) -> tuple[str, ...]:
    found = (names,) if isinstance(names, str) else tuple(names) if isinstance(names, Iterable) else ()
    if not found or not all(isinstance(name, str) for name in found):
        raise TypeError(f"Freeze: names must be the name of a parameter, or several; got {names!r}")
    return found

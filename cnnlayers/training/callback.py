"""What a callback is: hooks that the Solver calls between steps and epochs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..config import Configured

__all__ = ["Callback"]


class Callback(Configured):
    """Base class of the callbacks; a subclass overrides what it needs, and stores its arguments under their names.

    The hooks are given the Solver: `solver.history`, `solver.epoch` and `solver.step` (how many are done),
    `solver.model`, `solver.stop("why")`. One that has a state gives it to checkpoints by `state_dict` (a dict of
    numbers, text, lists and arrays) and takes it back by `load_state_dict`.

    Examples
    --------
    >>> class Shout(Callback):
    ...     def on_epoch_end(self, solver):
    ...         print("epoch", solver.epoch, "is done!")
    """

    order = 0  # callbacks of a lower number come first
    writes = False  # whether it prints or writes files, and does no more: of several ranks only rank 0 calls it
    counts_steps = False  # whether it must know `solver.run.call.steps`: how many steps the call of `train` takes

    def on_train_begin(self, solver: Any) -> None:
        """Called once as `train` begins, also when it goes on."""

    def on_step(self, solver: Any) -> None:
        """Called after each step; its loss is `solver.history.steps["loss"][-1]`."""

    def on_epoch_end(self, solver: Any) -> None:
        """Called after each epoch and its validation; `solver.history.row()` has its losses and metrics."""

    def on_train_end(self, solver: Any) -> None:
        """Called on every way out of `train`, when the net has the weights that it gives back."""

    def state_dict(self) -> dict[str, Any]:
        """Give what the callback remembers."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""

    def weights(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Give the parameters and the state to evaluate and to keep, if they are not the net's own."""
        return None

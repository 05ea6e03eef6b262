"""What a Solver may be given: each argument checked, and in one form."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..layers.layer import Layer
from .callback import Callback

__all__ = ["as_callbacks", "as_metrics", "check_kinds", "check_monitors"]


def check_kinds(model: Any, loss: Any, optimizer: Any, schedule: Any, keep: Any) -> None:
    """Refuse what is not a net, a loss, an optimiser, ..., and classes of them."""
    if not isinstance(model, Layer):
        raise TypeError(f"Solver: model must be a Layer; got {model!r}")
    if keep not in ("best", "last"):
        raise ValueError(f'Solver: keep must be "best" or "last"; got {keep!r}')
    if isinstance(loss, type) or not (hasattr(loss, "forward") and hasattr(loss, "backward")):
        raise TypeError(f"Solver: loss must have forward(scores, target) and backward(); got {loss!r}")
    if isinstance(optimizer, type) or not (hasattr(optimizer, "step") and hasattr(optimizer, "lr")):
        raise TypeError(f"Solver: optimizer must have step(net, factor) and lr, as SGD(lr=0.1); got {optimizer!r}")
    if schedule is not None and not _takes_factor(optimizer.step):
        raise TypeError(f"Solver: with a schedule, optimizer must have step(net, factor); got {optimizer!r}")
    if schedule is not None and (isinstance(schedule, type) or not callable(schedule)):
        raise TypeError(f"Solver: schedule must be a function (step, total_steps) -> factor; got {schedule!r}")


def _takes_factor(step: Callable[..., Any]) -> bool:
    try:
        inspect.signature(step).bind(None, 1.0)
    except TypeError:
        return False
    except ValueError:  # one in C does not say
        return True
    return True


def as_metrics(metrics: Any) -> dict[str, Callable[[Any, Any], float]]:
    """Give metrics as a dict of functions."""
    named = isinstance(metrics, Mapping) and all(isinstance(n, str) and callable(f) for n, f in metrics.items())
    if not named:
        raise TypeError(f"Solver: metrics must be functions (scores, target) -> float by name; got {metrics!r}")
    return dict(metrics)


def as_callbacks(callbacks: Any) -> list[Callback]:
    """Give callbacks as a list, in the order they are called in."""
    if isinstance(callbacks, Callback) or not isinstance(callbacks, Iterable):
        raise TypeError(f"Solver: callbacks must be a list of Callback objects; got {callbacks!r}")
    given = list(callbacks)
    for callback in given:
        if not isinstance(callback, Callback):
            raise TypeError(f"Solver: callbacks must hold Callback objects; got {callback!r}")
    if sum(type(callback).weights is not Callback.weights for callback in given) > 1:
        raise ValueError("Solver: callbacks must have at most one that averages weights; got two")
    return sorted(given, key=lambda callback: callback.order)


def check_monitors(monitor: str, parts: Iterable[Any], metrics: Sequence[str], has_val: bool) -> None:
    """Refuse names to watch that the history will not have: the Solver's, and those of its schedule and callbacks."""
    watched = [f"{part}_{name}" for part in ("train", "val") for name in ("loss", *metrics)]
    if monitor not in watched:
        raise ValueError(f"Solver: monitor must be one of {', '.join(watched)}; got {monitor!r}")
    there = [name for name in watched if has_val or name.startswith("train_")]
    for part in parts:
        name = getattr(part, "monitor", monitor) or monitor
        if hasattr(part, "monitor") and name not in there:
            who = type(part).__name__
            raise ValueError(f"{who}: monitor must be one of {', '.join(there)} in this run; got {name!r}")

"""Checks of options: each gives the value as a plain Python number, or an error: who, what was needed, what came."""

import math
import operator
from typing import Any

import numpy as np

__all__ = ["as_flag", "as_integer", "as_number"]


def as_number(
    who: str,
    name: str,
    value: Any,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """Give `value` as a float in `low..high`; NumPy's numbers are taken, bools and text are not.

    A Python float, as NumPy's float64 scalars would turn float32 arrays into float64.
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{who}: {name} must be a number; got {value!r}")
    number = float(value)
    above = number > low if open_low else number >= low
    below = number < high if open_high else number <= high
    if not (above and below and math.isfinite(number)):
        raise ValueError(f"{who}: {name} must be {_bounds(low, high, open_low, open_high)}; got {value!r}")
    return number


def as_integer(who: str, name: str, value: Any, *, low: int | None = None) -> int:
    """Give `value` as an int of at least `low`; NumPy's integers are taken, bools and floats are not."""
    if isinstance(value, bool | np.bool_) or not hasattr(value, "__index__"):
        raise TypeError(f"{who}: {name} must be an int; got {value!r}")
    try:
        number = operator.index(value)
    except TypeError:  # an array of several
        raise TypeError(f"{who}: {name} must be an int; got {value!r}") from None
    if low is not None and number < low:
        raise ValueError(f"{who}: {name} must be {low} or more; got {number}")
    return number


def as_flag(who: str, name: str, value: Any) -> bool:
    """Give `value` as a bool; nothing but True and False is taken."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{who}: {name} must be True or False; got {value!r}")
    return bool(value)


def _bounds(low: float, high: float, open_low: bool, open_high: bool) -> str:
    """The range in words."""
    parts = ["finite"]
    if low > -math.inf:
        parts.append(f"{'above' if open_low else 'at least'} {low:g}")
    if high < math.inf:
        parts.append(f"{'below' if open_high else 'at most'} {high:g}")
    return parts[0] if len(parts) == 1 else " and ".join(parts[1:])

"""Checks of arguments: each gives the value in plain Python, or an error: who, what was needed, what came."""

import inspect
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

__all__ = [
    "as_flag",
    "as_integer",
    "as_number",
    "as_padding",
    "as_shape",
    "as_sizes",
    "check_bytes",
    "cure",
    "is_real_number",
    "sizes_and_channels",
    "takes",
    "with_batch",
]

MAX_BYTES = 1 << 47  # the address space of a process: a larger array cannot exist

# What to do about images whose axes are not those of channels last.
CHANNELS_FIRST = "channels come last here, and cl.from_nchw(x) puts them there"
NO_CHANNELS = "gray images need an axis of one channel, x[..., None]"


def is_real_number(value: Any) -> bool:
    """Whether it is one of Python's or NumPy's real numbers; a bool is none."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


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
    if not is_real_number(value):
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


def as_sizes(who: str, name: str, value: Any, *, rank: int | None = None, low: int = 1) -> int | tuple[int, ...]:
    """Give `value`, an int or one int per spatial axis, as an int or a tuple of ints, each at least `low`.

    Without `rank`, the number of spatial axes, one or two are taken: a layer checks its arguments before it knows its
    input.
    """
    if isinstance(value, str) or not _is_several(value):
        return as_integer(who, name, value, low=low)
    sizes = tuple(value)
    if not _fits(sizes, rank):
        needed = "an int, or one int" if rank is None else f"an int or {rank} ints, one"
        raise ValueError(f"{who}: {name} must be {needed} per spatial axis; got {value!r}")
    return tuple(as_integer(who, name, size, low=low) for size in sizes)


def as_padding(who: str, padding: Any, rank: int | None = None) -> Any:
    """Give padding as "valid", "same", an int, or a tuple with an int or a (before, after) pair for each axis."""
    if isinstance(padding, str):
        if padding not in ("valid", "same"):
            raise ValueError(f'{who}: padding must be "valid", "same" or numbers; got {padding!r}')
        return padding
    if not _is_several(padding):
        return as_integer(who, "padding", padding, low=0)
    given = tuple(padding)
    if not _fits(given, rank):
        axes = "each axis" if rank is None else f"each of {rank} axes"
        raise ValueError(f"{who}: padding must be one int or one (before, after) pair for {axes}; got {padding!r}")
    return tuple(_pad_of_one_axis(who, one, padding) for one in given)


def _pad_of_one_axis(who: str, one: Any, padding: Any) -> int | tuple[int, ...]:
    if not _is_several(one):
        return as_integer(who, "padding", one, low=0)
    pair = () if isinstance(one, str) else tuple(one)
    if len(pair) != 2:
        raise ValueError(f"{who}: padding needs a (before, after) pair per axis; got {padding!r}")
    return tuple(as_integer(who, "padding", pad, low=0) for pad in pair)


def _is_several(value: Any) -> bool:
    """Whether it can be iterated over; an array of no axes only looks so."""
    return isinstance(value, Iterable) and getattr(value, "ndim", 1) > 0


def _fits(values: tuple, rank: int | None) -> bool:
    """Whether there is a value for each axis, of signals (one axis) or images (two) if the rank is not known."""
    return len(values) in ((1, 2) if rank is None else (rank,))


def as_shape(who: str, shape: Any) -> tuple[int, ...]:
    """Give a shape as a tuple of ints, none negative."""
    if isinstance(shape, (str, bytes)) or not _is_several(shape):
        raise TypeError(f"{who}: a shape is a tuple of integers, such as (32, 32, 3); got {shape!r}")
    sizes = tuple(as_integer(who, "a size", size, low=0) for size in shape)
    if not sizes:
        raise ValueError(f"{who} needs an input with at least one axis besides the batch; got shape {with_batch(())}")
    return sizes


def sizes_and_channels(who: str, input_shape: Any) -> tuple[list[int], int]:
    """Give the spatial sizes and the channels of images (H, W, C) or signals (L, C): at least one of each."""
    shape = as_shape(who, input_shape)
    if len(shape) not in (2, 3):
        raise ValueError(f"{who} needs images (N, H, W, C) or signals (N, L, C); got shape {with_batch(shape)}")
    if 0 in shape:
        raise ValueError(f"{who} needs at least one pixel and one channel; got shape {with_batch(shape)}")
    return list(shape[:-1]), shape[-1]


def takes(function: Callable[..., Any], *names: str) -> bool:
    """Whether a function has parameters of all these names; one in C may not say, and then it has none.

    >>> takes(lambda x, weights=None: x, "weights"), takes(len, "weights")
    (True, False)
    """
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
    return set(names) <= set(parameters)


def check_bytes(who: str, what: str, shape: Sequence[int], itemsize: int) -> None:
    """Refuse an array that no machine could hold, before anything is allocated."""
    if math.prod(max(s, 1) for s in shape) * itemsize > MAX_BYTES:  # a batch of 0 makes no absurd size possible
        raise ValueError(f"{who}: {what} of shape {tuple(shape)} would need more than 2**47 bytes")


def with_batch(shape: Sequence[int]) -> str:
    """Give a shape as the user passes it: the batch axis first.

    >>> with_batch((32, 32, 3))
    '(N, 32, 32, 3)'
    """
    return f"({', '.join(['N', *map(str, shape)])})" if len(shape) else "(N,)"


def cure(shape: Sequence[int], built: Sequence[int]) -> str:
    """What to do about an input of this shape where `built` is needed, both without the batch axis; "" if unclear.

    >>> cure((3, 32, 32), (32, 32, 3))
    'channels come last here, and cl.from_nchw(x) puts them there'
    >>> cure((28, 28), (28, 28, 1))
    'gray images need an axis of one channel, x[..., None]'
    """
    shape, built = tuple(shape), tuple(built)
    if len(built) < 2 or shape == built:
        return ""
    if shape == (built[-1], *built[:-1]):
        return CHANNELS_FIRST
    if shape == built[1:]:
        return "a single sample needs a batch axis, x[None]"
    if len(built) == 3 and len(shape) == 3 and shape[0] == built[-1] != shape[-1]:  # of another size
        return CHANNELS_FIRST
    if len(shape) == len(built) - 1 and built[-1] == 1:
        return NO_CHANNELS
    if len(shape) == 2 and built[-1] == 3:
        return "gray images need an axis of channels, here three alike: np.repeat(x[..., None], 3, axis=-1)"
    if len(shape) == 1 and shape[0] == math.prod(built):
        return f"x.reshape{(-1, *built)} gives flat rows their axes back"
    return ""


def _bounds(low: float, high: float, open_low: bool, open_high: bool) -> str:
    """The range in words."""
    parts = ["finite"]
    if low > -math.inf:
        parts.append(f"{'above' if open_low else 'at least'} {low:g}")
    if high < math.inf:
        parts.append(f"{'below' if open_high else 'at most'} {high:g}")
    return parts[0] if len(parts) == 1 else " and ".join(parts[1:])

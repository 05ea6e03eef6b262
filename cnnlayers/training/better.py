"""What "better" means for a value that is watched: its name says it."""

import math

__all__ = ["improves"]


def improves(name: str, value: float, best: float | None, by: float = 0.0) -> bool:
    """Whether `value` is better than `best` by more than `by`: losses and errors are when lower, all else when higher.

    NaN never is; any other value is better than None.
    """
    if math.isnan(value):
        return False
    if best is None:
        return True
    return value < best - by if name.endswith(("loss", "error")) else value > best + by

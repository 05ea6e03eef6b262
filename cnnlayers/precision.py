"""Whether the kernels may round differently from the plain sum, to be faster.

Winograd's method computes a convolution with fewer multiplications and rounds differently: with its larger tiles,
float32 results are further from the true sum than those of the plain kernels (docs/winograd.md has the figures). With
"exact", every layer uses the plain ones.
"""

__all__ = ["get_precision", "set_precision"]

PRECISIONS = ("fast", "exact")

_precision = "fast"


def get_precision() -> str:
    """What `set_precision` was given last: "fast" at first.

    Examples
    --------
    >>> get_precision()
    'fast'
    """
    return _precision


def set_precision(precision: str) -> None:
    """Set whether convolutions may use Winograd's method, for the whole process.

    Parameters
    ----------
    precision : {"fast", "exact"}
        "fast": where it is faster, in float32. "exact": nowhere, not even where `algorithm="winograd"` asks for
        it, so every result is a plain sum of products. A checkpoint does not hold this: a run goes on to the same bits
        (`Solver.resume`) under the precision that it began with.

    Raises
    ------
    ValueError
        If it is neither.

    Examples
    --------
    >>> set_precision("exact")
    >>> get_precision()
    'exact'
    >>> set_precision("fast")
    """
    global _precision
    if not isinstance(precision, str) or precision not in PRECISIONS:
        raise ValueError(f"set_precision needs one of {', '.join(map(repr, PRECISIONS))}; got {precision!r}")
    _precision = precision

"""How many threads the kernels use.

The number at import is the first of these that is given: ``CNNLAYERS_NUM_THREADS``, ``OMP_NUM_THREADS``, the number of
CPUs that this process may use (`cpus`: its affinity, and its container's quota). Results do not depend on it, only
their speed does.
"""

import operator
import os
import warnings

from .cpus import usable_cpus

__all__ = ["get_num_threads", "set_num_threads"]

MAX_THREADS = 1024  # more is a mistake: no processor has that many cores


def get_num_threads() -> int:
    """Number of threads that the kernels use.

    Examples
    --------
    >>> before = get_num_threads()
    >>> set_num_threads(1)
    >>> get_num_threads()
    1
    >>> set_num_threads(before)
    """
    return _num_threads


def set_num_threads(n: int) -> None:
    """Set the number of threads that the kernels use, for the whole process.

    Parameters
    ----------
    n : int
        From 1 to 1024.

    Raises
    ------
    TypeError
        If `n` is not an integer.
    ValueError
        If `n` is out of range.
    RuntimeError
        If `n` is more than 1 in a process that was made by ``fork``.
    """
    global _num_threads
    n = _checked(n)
    if _is_forked_child and n > 1:
        raise RuntimeError(
            f"set_num_threads({n}): this process was made by fork and must stay on one thread, because "
            'threads do not survive a fork; start it by "spawn" or "forkserver" to use more'
        )
    _num_threads = n


def _checked(n: int) -> int:
    if isinstance(n, bool):
        raise TypeError(f"set_num_threads needs an int from 1 to {MAX_THREADS}; got {n!r}")
    try:
        count = operator.index(n)
    except TypeError:
        raise TypeError(f"set_num_threads needs an int from 1 to {MAX_THREADS}; got {n!r}") from None
    if not 1 <= count <= MAX_THREADS:
        raise ValueError(f"set_num_threads needs an int from 1 to {MAX_THREADS}; got {count}")
    return count


def _parse(text: str) -> int | None:
    """The number of threads that `text` stands for, or None."""
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        return None
    return int(text) if 1 <= int(text) <= MAX_THREADS else None


def _initial_num_threads() -> int:
    refused = []
    for name in ("CNNLAYERS_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(name, "")
        # OMP_NUM_THREADS may be a list, one number per level of nesting; the first is the outermost.
        n = _parse(text.split(",")[0] if name == "OMP_NUM_THREADS" else text)
        if n is not None:
            break
        if text:
            refused.append(f"{name}={text!r}")
    else:
        n = min(usable_cpus(), MAX_THREADS)
    for setting in refused:
        warnings.warn(
            f"cnnlayers: {setting} is not a number of threads from 1 to {MAX_THREADS}; using {n}",
            RuntimeWarning,
            stacklevel=2,
        )
    return n


def _after_fork_in_child() -> None:
    """Stay on one thread: the workers stayed with the parent."""
    global _num_threads, _is_forked_child
    _num_threads = 1
    _is_forked_child = True


_num_threads = _initial_num_threads()
_is_forked_child = False
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)

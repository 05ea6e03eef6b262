"""Memory that the package keeps for later use."""

from .. import _kernels


def release_memory() -> int:
    """Give the memory that the package keeps for later back to the system; return how many bytes that were.

    Fresh memory costs time, so what arrays and kernels needed is used again. Whatever goes unused for some training
    steps, as after one large batch, goes back by itself, but only while nets go on computing. Call this before the
    process turns to something else. It takes nothing from arrays that anything holds: a layer holds what `forward` kept
    for `backward`, until that has run. Any thread may call it, at any time; what other threads that run nets use as
    scratch memory stays theirs. The next step takes fresh memory, and gives the same bits.

    Examples
    --------
    >>> import numpy as np
    >>> import cnnlayers as cl
    >>> y = cl.GlobalAvgPool().forward(np.ones((100, 64, 64, 3), np.float32))
    >>> cl.release_memory() >= 0
    True
    >>> cl.release_memory()
    0
    """
    return _kernels.release_memory()

"""Arrays as the oracle takes them: in float64, whatever comes in."""

import numpy as np


def float64(*arrays) -> tuple[np.ndarray, ...]:
    """Each of the arrays in float64."""
    return tuple(np.asarray(array, np.float64) for array in arrays)

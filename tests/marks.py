"""Marks that the tests of kernels and of layers share."""

import numpy as np
import pytest

DTYPES = [np.float32, np.float64]

every_level = pytest.mark.usefixtures("level")  # of instruction sets: a fixture of conftest.py
both_dtypes = pytest.mark.parametrize("dtype", DTYPES)


def by_turns(names, cases):
    """Parametrize by these cases and `dtype`, each case in one of the two dtypes, by turns.

    For a grid of geometries: one source makes the kernels of both dtypes, so a geometry need not be asked about twice.
    """
    several = "," in names
    rows = [(*(case if several else [case]), DTYPES[i % 2]) for i, case in enumerate(cases)]
    return pytest.mark.parametrize(f"{names},dtype", rows, ids=lambda value: getattr(value, "__name__", str(value)))

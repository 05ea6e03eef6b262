"""The plan of a net for prediction: for each shape of batch a program, which is one call.

Its steps say themselves how they are computed (`Step.lower`), by the kernels that their `predict` calls, so both give
the same bits. What no kernel computes, such as a layer of a user's own, is called in its turn, between stretches of the
program. A program is made when the first batch of its shape comes, and is for the number of threads, the precision and
the instruction set of that time; the last ones are kept.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import numpy as np

from .. import kernels, precision, threads
from .parts import in_parts, recorded
from .plan import Plan
from .step import Chain, Recording

KEPT = 16  # programs: each has some hundred bytes for each step


class PredictionPlan(Plan):
    """The plan of a net that only predicts and whose weights never change."""

    def __init__(self, net: Any):
        super().__init__(net, trains=False)
        self._programs: OrderedDict[tuple, Recording | None] = OrderedDict()
        self._lock = threading.Lock()

    def predict(self, x: np.ndarray) -> np.ndarray:
        program = self.program(x.shape)
        y = None if program is None else program.run(x)
        return self.chain.predict(x) if y is None else y

    def program(self, shape: tuple[int, ...]) -> Recording | None:
        """What computes batches of this shape; None if there is no kernel in it, or no number."""
        key = shape, threads.get_num_threads(), precision.get_precision(), kernels.level()
        with self._lock:
            if key in self._programs:
                self._programs.move_to_end(key)
                return self._programs[key]
        made = record(self.chain, shape, self.net.dtype)
        with self._lock:
            self._programs[key] = made
            while len(self._programs) > KEPT:
                self._programs.popitem(last=False)
        return made


def record(chain: Chain, shape: tuple[int, ...], dtype: Any) -> Recording | None:
    """The program of these steps for batches of this shape; None if there is no kernel in it, or no number."""
    program = recorded(chain, shape, dtype)
    return program and (in_parts(chain, shape, dtype, program) or program)

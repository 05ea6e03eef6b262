"""Whole training steps with Winograd's method and without it. No other library takes part.

cnnlayers      with it, where it is chosen
exact          under `cnnlayers.set_precision("exact")`: without
"""

from functools import partial

from ..cases import Case
from ..nets import NETS, SIGNALS
from ..sides import own
from .training import problem, tolerance

SIDES = {"cnnlayers": own.Step, "exact": own.ExactStep}


def cases() -> list[Case]:
    """Give every net at two batch sizes."""
    return [
        Case("winograd", f"{name}-{batch}", "step", partial(problem, name, batch), SIDES, tolerance(name), pause=False)
        for name in (*NETS, *SIGNALS)
        for batch in (32, 128)
    ]

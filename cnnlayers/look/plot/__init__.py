"""Pictures of a training run and of what a net has learned, for matplotlib (`pip install "cnnlayers[plot]"`).

Each function takes data and returns a matplotlib Figure: `cl.plot.curves(history).savefig("curves.svg")`; a notebook
shows the Figure by itself. pyplot is not used, and the user's rcParams neither matter nor change. matplotlib is
imported when the first picture is drawn. The values that the pictures show come from `cnnlayers.insight`.
"""

from .images import activations, evidence, filters, grad_cam, mistakes, saliency
from .numbers import confusion, weights
from .training import curves, lr_find

__all__ = [
    "activations",
    "confusion",
    "curves",
    "evidence",
    "filters",
    "grad_cam",
    "lr_find",
    "mistakes",
    "saliency",
    "weights",
]

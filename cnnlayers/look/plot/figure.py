"""A matplotlib Figure that a notebook shows by itself: pyplot, which would see to that, is not used."""

from __future__ import annotations

import io

from matplotlib import figure
from matplotlib.backends.backend_agg import FigureCanvasAgg


class Figure(figure.Figure):
    """What the functions of `cnnlayers.plot` return."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        FigureCanvasAgg(self)

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png", bbox_inches="tight")
        return file.getvalue()

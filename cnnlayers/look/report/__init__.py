"""One HTML page about a training run: what it reached, how it learned, where it errs and what the net has learned.

The page is one file that needs nothing else: pictures are inline SVG, style is inline CSS, there are no scripts and no
links. It follows the reader's choice of a light or a dark screen. Needs matplotlib (`pip install "cnnlayers[plot]"`).
"""

from .run import report_run, write

__all__ = ["report_run", "write"]

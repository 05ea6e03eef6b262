"""A page on which every number of a net on one image can be picked: what it is the sum of, forward and backward.

The page is one HTML file that needs nothing else; its script is in `page/`, small enough to be read. `layers.js` there
computes each layer anew, in plain loops: the readable twin of the net, in the reader's hands.
"""

from .one_net import write
from .tour import NAME, write_tour

__all__ = ["NAME", "write", "write_tour"]

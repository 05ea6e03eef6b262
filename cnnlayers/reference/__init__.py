"""The definitions as loops: slow, obviously right, what every fast path is tested against."""

from .conv import *
from .conv import __all__

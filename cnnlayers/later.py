"""What the package imports when it is first asked for: looking into nets, and files of other libraries.

A third of the time of `import cnnlayers` would be theirs, and few programs need them.
"""

from .files.onnx.export import to_onnx
from .files.onnx.load import from_onnx
from .files.pytorch import from_torch, to_torch
from .look import explain, insight, plot, report
from .look.gradcheck import gradcheck
from .look.info import show_config

__all__ = [
    "explain",
    "from_onnx",
    "from_torch",
    "gradcheck",
    "insight",
    "plot",
    "report",
    "show_config",
    "to_onnx",
    "to_torch",
]

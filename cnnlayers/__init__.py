"""cnnlayers: convolutional networks as layer objects, on the CPU.

    import cnnlayers as cl

    net = cl.Sequential([cl.Conv(16, 3, padding="same"), cl.ReLU(), cl.MaxPool(2), cl.Flatten(), cl.Affine(10)],
                        input_shape=(8, 8, 1), rng=0)

Images are (N, H, W, C), signals (N, L, C). See the README for a first run.
"""

from typing import TYPE_CHECKING, Any

from ._version import __version__

try:
    from . import _kernels  # noqa: F401
    from ._im2col import col2im, im2col
except ImportError as error:
    if error.name != f"{__name__}._im2col" and "name '_kernels'" not in str(error):
        raise
    raise ImportError(
        f"the extension modules of cnnlayers are not built in {__path__[0]}: run from another folder, if it is "
        "installed elsewhere, or in the folder of its setup.py\n    python setup.py build_ext --inplace"
    ) from None

from . import distributed, initializers, layers, models
from .arrays import from_nchw, to_nchw
from .data import augment, datasets
from .errors import CheckpointError, DataError, NonFiniteError
from .files.checkpoint import load
from .kernels.memory import release_memory
from .layers import *
from .plan import show_plan
from .precision import get_precision, set_precision
from .threads import get_num_threads, set_num_threads
from .training import callbacks, losses, metrics, optimizers, schedules
from .training.callbacks import *
from .training.history import History
from .training.losses import *
from .training.metrics import accuracy
from .training.optimizers import *
from .training.schedules import *
from .training.solver import Solver

if TYPE_CHECKING:
    from .later import explain, from_onnx, from_torch, gradcheck, insight, plot, report, show_config, to_onnx, to_torch

__all__ = [
    "CheckpointError",
    "DataError",
    "History",
    "NonFiniteError",
    "Solver",
    "__version__",
    "accuracy",
    "augment",
    "col2im",
    "datasets",
    "distributed",
    "explain",
    "from_nchw",
    "from_onnx",
    "from_torch",
    "get_num_threads",
    "get_precision",
    "gradcheck",
    "im2col",
    "initializers",
    "insight",
    "load",
    "metrics",
    "models",
    "plot",
    "release_memory",
    "report",
    "set_num_threads",
    "set_precision",
    "show_config",
    "show_plan",
    "to_nchw",
    "to_onnx",
    "to_torch",
]
__all__ += layers.__all__  # a new layer, or optimiser, is named in its own room alone
__all__ += callbacks.__all__
__all__ += losses.__all__
__all__ += optimizers.__all__
__all__ += schedules.__all__


def __getattr__(name: str) -> Any:
    """Import what is asked for the first time: see `later`."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import later

    return getattr(later, name)


def __dir__() -> list[str]:
    """Name those too."""
    return sorted({*globals(), *__all__})

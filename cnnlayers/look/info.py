"""What this installation is made of."""

import platform

import numpy as np

from .. import _im2col, _kernels, distributed, threads
from .._version import __version__


def show_config() -> None:
    """Print the versions, the compiler, the number of threads, and which MPI there is."""
    for name, value in configuration().items():
        print(f"{name + ':':<12}{value}")


def configuration() -> dict[str, str]:
    """Give what `show_config` prints."""
    built = _im2col.build_info()
    return {
        "cnnlayers": __version__,
        "build": "bounds-checked" if built["debug"] else "fast",
        "kernels": f"{_kernels.level()} (of {', '.join(_kernels.levels())})",
        "compiler": built["compiler"],
        "OpenMP": "not used",
        "threads": str(threads.get_num_threads()),
        "MPI": distributed.library(),
        "NumPy": np.__version__,
        "Python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }

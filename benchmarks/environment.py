"""Threads, versions and machine: what the figures depend on, stated with them."""

import importlib.util
import os
import platform
import sys
from typing import Any

# The libraries below NumPy and PyTorch read these once, when they are loaded.
THREAD_VARIABLES = (
    "CNNLAYERS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def available_cpus() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def limit_threads(threads: int) -> None:
    """Give every library that is loaded from now on the same number of threads."""
    for name in THREAD_VARIABLES:
        os.environ[name] = str(threads)


def set_threads(threads: int) -> None:
    """Give cnnlayers, and PyTorch where it is loaded, another number of threads."""
    import cnnlayers as cl

    cl.set_num_threads(threads)
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


def describe() -> dict[str, Any]:
    """Give versions, machine and threads."""
    from cnnlayers.look import info

    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        **info.configuration(),
        "BLAS": _blas(),
        "BLAS threads": _blas_threads(),
        "PyTorch": _torch_version(),
        "processor": _processor(),
        "CPUs": available_cpus(),
        "load": None if load is None else round(load, 2),
    }


def _torch_version() -> str | None:
    if not has_torch():
        return None
    import torch

    return torch.__version__


def _blas() -> str:
    import numpy as np

    blas = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    return f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()


def _blas_threads() -> str:
    """How many threads NumPy's matrix product may use: asked of the library where threadpoolctl is installed."""
    if importlib.util.find_spec("threadpoolctl") is not None:
        import threadpoolctl

        counts = {pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"}
        return ", ".join(map(str, sorted(counts))) or "unknown"
    return os.environ.get("OPENBLAS_NUM_THREADS", "unknown")


def _processor() -> str:
    if sys.platform == "linux":
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()

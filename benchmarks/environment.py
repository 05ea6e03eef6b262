"""Threads, versions and machine: what the figures depend on, stated with them."""

import importlib.util
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Library:
    """One that cnnlayers is measured beside: its name in tables, and the packages that its sides import."""

    title: str
    packages: tuple[str, ...]
    install: str


# By what stands before the colon in the name of a side. The bench extra of pyproject.toml has all of them.
LIBRARIES = {
    "torch": Library("PyTorch", ("torch",), '"pip install torch" with the index that pytorch.org names for CPU'),
    "onnxruntime": Library("ONNX Runtime", ("onnxruntime", "onnx"), "pip install onnxruntime onnx"),
    "openvino": Library("OpenVINO", ("openvino", "onnx"), "pip install openvino onnx"),
    "ncnn": Library("ncnn", ("ncnn", "pnnx", "onnx"), "pip install ncnn pnnx onnx"),
}

MPI = Library("MPI", ("mpi4py", "mpiexec"), "pip install mpi4py mpich")  # what the suite ranks needs

# The libraries below NumPy and PyTorch read these once, when they are loaded.
THREAD_VARIABLES = (
    "CNNLAYERS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

ROOT_AND_CROWD = {  # without these Open MPI does nothing for root, or for more ranks than there are processors
    **dict.fromkeys(("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"), "1"),
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
}


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


def missing(library: str) -> list[str]:
    """Give the packages of a library that are not installed; none for sides that need no other library."""
    if library == "mpi":
        there = {"mpi4py": importlib.util.find_spec("mpi4py"), "mpiexec": mpiexec()}
        return [package for package in MPI.packages if there[package] is None]
    if library not in LIBRARIES:
        return []
    return [package for package in LIBRARIES[library].packages if importlib.util.find_spec(package) is None]


def mpiexec() -> Path | None:
    """The program that starts ranks: of the MPI library beside this Python, or the system's."""
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    return Path(found) if found else None


def has_torch() -> bool:
    return not missing("torch")


def describe() -> dict[str, Any]:
    """Give versions, machine and threads."""
    from cnnlayers.look import info

    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        **info.configuration(),
        "BLAS": _blas(),
        "BLAS threads": _blas_threads(),
        **{library.title: _version(name) for name, library in LIBRARIES.items()},
        "MPI": _mpi(),
        "processor": _processor(),
        "CPUs": available_cpus(),
        "load": None if load is None else round(load, 2),
    }


def _version(library: str) -> str | None:
    if missing(library):
        return None
    try:
        return version(LIBRARIES[library].packages[0])
    except PackageNotFoundError:  # installed from a distribution of another name
        return "of unknown version"


def _mpi() -> str | None:
    """The packages of MPI that are installed."""
    if missing("mpi"):
        return None
    found = []
    for package in ("mpi4py", "mpich", "openmpi"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


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

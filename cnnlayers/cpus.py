"""How many CPUs this process may use: those it may run on, and no more than its container's share of their time.

A Mac's processor has cores of two kinds. A slow one would keep the others waiting at the end of each layer, so only
the fast ones count there.

On Linux a control group (cgroup) may bound the time that its processes get, as `docker run --cpus=1` and the limits of
Kubernetes do: `quota` microseconds of all CPUs together in each `period`. More threads than that wait for each other.

Source: Linux kernel documentation, "Control Group v2" (cpu.max) and "CFS Bandwidth Control" (cpu.cfs_quota_us)
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

__all__ = ["usable_cpus"]

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")


def usable_cpus() -> int:
    """Number of CPUs that this process may use, at least 1: those of its affinity, or fewer if its quota is less.

    On a Mac, those of the fast kind.
    """
    if sys.platform == "darwin" and (fast := _fast_cores(ctypes.CDLL(None))):
        return fast
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for group in _groups() if (quota := _quota(group)) is not None]
    return max(1, min([cpus, *quotas]))


def _fast_cores(system: Any) -> int:
    """Cores of the fast kind, 0 if this Mac does not tell kinds apart; `system` is the library with `sysctlbyname`."""
    found = ctypes.c_int32()
    size = ctypes.c_size_t(ctypes.sizeof(found))
    name = b"hw.perflevel0.logicalcpu"
    failed = system.sysctlbyname(name, ctypes.byref(found), ctypes.byref(size), None, ctypes.c_size_t(0))
    return 0 if failed else max(0, found.value)


def _groups() -> Iterator[Path]:
    """The folders of the groups that this process is in, and of all groups above them, whose quotas count too.

    Within a container the path may be the one that the group has outside; then only the last, where groups are mounted,
    is there, and is the container's own.
    """
    lines = ["0::/", "0:cpu,cpuacct:/", *_text(OWN_CGROUPS).splitlines()]
    for _, controllers, path in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        if controllers == "":  # version 2
            mounts = [CGROUPS, CGROUPS / "unified"]
        elif "cpu" in controllers.split(","):
            mounts = [CGROUPS / controllers, CGROUPS / "cpu"]
        else:
            continue
        group = PurePosixPath(path.lstrip("/"))
        for mount in mounts:
            yield from (mount / part for part in (group, *group.parents))


def _quota(group: Path) -> int | None:
    """The quota of one group in CPUs, rounded up; None if there is none."""
    words = _text(group / "cpu.max").split()  # version 2: "QUOTA PERIOD", the quota "max" where there is none
    if not words:
        words = [_text(group / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]  # version 1: -1 for none
    if len(words) != 2 or not all(word.isascii() and word.isdigit() for word in words) or int(words[1]) == 0:
        return None
    quota, period = map(int, words)
    return -(-quota // period)


def _text(file: Path) -> str:
    try:
        return os.fsdecode(file.read_bytes())  # names of groups are names of files, which need not be UTF-8
    except OSError:
        return ""

import ctypes
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from cnnlayers import cpus


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A machine of 8 CPUs whose control groups are files under tmp_path: a function that writes them."""
    monkeypatch.setattr(cpus.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(cpus, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(cpus, "OWN_CGROUPS", tmp_path / "own")

    def write(own=None, **files):
        if own is not None:
            (tmp_path / "own").write_bytes(os.fsencode(own))
        for name, text in files.items():
            file = tmp_path / "cgroup" / name.replace("__", "/").replace("cpu_", "cpu.")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    return write


V1 = "5:memory:/a\n4:cpu,cpuacct:/a/b\n0::/\n"


def of_version_1(folder, quota, period=100000):
    return {f"{folder}cpu_cfs_quota_us": f"{quota}\n", f"{folder}cpu_cfs_period_us": f"{period}\n"}


@pytest.mark.parametrize(
    ("own", "files", "count"),
    [
        (None, {}, 8),  # no control groups: another system, or nothing mounted
        (None, {"cpu_max": "100000 100000\n"}, 1),
        (None, of_version_1("cpu,cpuacct__", 200000), 2),
        (None, of_version_1("cpu__", 200000), 2),
        ("0::/caf\udce9\n", {"caf\udce9__cpu_max": "300000 100000\n"}, 3),
        ("0::/\n", {"cpu_max": "max 100000\n"}, 8),
        ("0::/\n", {"cpu_max": "150000 100000\n"}, 2),  # rounded up: a part of a CPU is worth a thread
        ("0::/\n", {"cpu_max": "20000 100000\n"}, 1),
        ("0::/\n", {"cpu_max": "300000 50000\n"}, 6),
        ("0::/\n", {"cpu_max": "1600000 100000\n"}, 8),  # more than there are
        ("0::/a/b\n", {"a__cpu_max": "200000 100000\n", "a__b__cpu_max": "max 100000\n"}, 2),  # the group above
        ("0::/a/b\n", {"a__cpu_max": "500000 100000\n", "a__b__cpu_max": "300000 100000\n"}, 3),
        ("0::/docker/1234\n", {"cpu_max": "200000 100000\n"}, 2),  # the path outside; within, the root is its own
        ("0::/a/../../c\n", {"cpu_max": "200000 100000\n"}, 2),
        (V1, of_version_1("cpu,cpuacct__a__b__", 250000), 3),
        (V1, of_version_1("cpu,cpuacct__a__", 100000) | of_version_1("cpu,cpuacct__a__b__", -1), 1),
        (V1, of_version_1("cpu__", 400000), 4),  # mounted by the other name, the path that of outside
        (V1, of_version_1("cpu,cpuacct__a__b__", -1), 8),
        ("0::/a\n", {"unified__a__cpu_max": "200000 100000\n"}, 2),  # both versions side by side
        ("5:memory:/a\n", of_version_1("memory__a__", 100000), 8),  # the quota is that of the cpu controller alone
        *(("0::/\n", {"cpu_max": text}, 8) for text in ("", "100000", "x 100000", "100000 0", "-5 100000", "1 2 3")),
        ("none of this\n", {}, 8),
    ],
)
def test_the_quota_of_the_control_group_bounds_the_cpus(system, own, files, count):
    system(own, **files)
    assert cpus.usable_cpus() == count


def test_files_that_cannot_be_read_are_no_quota(system, tmp_path):
    system("0::/\n")
    (tmp_path / "cgroup" / "cpu.max").mkdir(parents=True)
    (tmp_path / "own").write_bytes(b"0::/caf\xe9\n")
    assert cpus.usable_cpus() == 8


def test_this_process_has_no_more_than_its_affinity():
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert 1 <= cpus.usable_cpus() <= allowed


@pytest.mark.parametrize(("known", "count"), [({b"hw.perflevel0.logicalcpu": 6}, 6), ({}, 8)])
def test_a_mac_has_its_fast_cores(monkeypatch, known, count):
    """In place of the system's function there is one of C, which writes where it is told to."""

    @ctypes.CFUNCTYPE(
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.POINTER(ctypes.c_int32),
        ctypes.POINTER(ctypes.c_size_t),
        ctypes.c_void_p,
        ctypes.c_size_t,
    )
    def sysctlbyname(name, value, size, new, new_size):
        assert (size[0], new, new_size) == (4, None, 0)
        if name not in known:
            return -1
        value[0] = known[name]
        return 0

    monkeypatch.setattr(cpus, "sys", SimpleNamespace(platform="darwin"))
    monkeypatch.setattr(cpus.ctypes, "CDLL", lambda name: SimpleNamespace(sysctlbyname=sysctlbyname))
    monkeypatch.setattr(cpus, "CGROUPS", Path("/nowhere"))
    monkeypatch.setattr(cpus, "OWN_CGROUPS", Path("/nowhere"))
    monkeypatch.delattr(cpus.os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(cpus.os, "cpu_count", lambda: 8)
    assert cpus.usable_cpus() == count

"""What Windows does with files, as far as Linux can play it."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from cnnlayers import writing


def files_as_on_windows(monkeypatch):
    """Have nobody replace, rename or remove a file that this process has open or mapped, nor open a folder.

    Names that Windows has no files of are refused, too.
    """
    if not os.path.exists("/proc/self/maps"):
        pytest.skip("this system does not tell which files are open")

    def refused(path):
        return PermissionError(errno.EACCES, "The process cannot access the file", os.fspath(path))

    def sparing(real):
        def act(*paths, **options):
            for path in paths:
                if os.path.realpath(path) in held():
                    raise refused(path)
            return real(*paths, **options)

        return act

    def not_of_folders(real):
        def act(path, *arguments, **options):
            if os.path.isdir(path):
                raise refused(path)
            return real(path, *arguments, **options)

        return act

    monkeypatch.setattr(writing, "WINDOWS", True)
    monkeypatch.setattr(writing, "PATIENCE", 1.0)
    for name in ("replace", "rename", "unlink", "remove"):
        monkeypatch.setattr(os, name, sparing(getattr(os, name)))
    monkeypatch.setattr(os, "open", not_of_folders(os.open))
    monkeypatch.setattr(shutil, "_use_fd_functions", False)  # rmtree would open folders


def held():
    """The files that this process has open or mapped."""
    files = {line.split(maxsplit=5)[-1] for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()}
    for number in os.listdir("/proc/self/fd"):
        try:
            files.add(os.readlink(f"/proc/self/fd/{number}"))
        except FileNotFoundError:  # that of the list itself
            continue
    return files

"""The page about data: what its doctests leave out."""

import importlib.util
import re
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import cnnlayers as cl
from tests.test_stored import Rows

PAGE = (Path(__file__).parents[1] / "docs" / "data.md").read_text(encoding="utf-8")


class File(dict):
    """As much of an h5py.File as the page uses, of arrays that can only be sliced."""

    files: ClassVar[dict] = {}

    def __init__(self, path, mode="r"):
        super().__init__({} if mode == "w" else self.files[path])
        self.files[path] = self

    def __setitem__(self, name, array):
        super().__setitem__(name, Rows(array))

    def create_dataset(self, name, data, chunks):
        assert len(chunks) == data.ndim
        self[name] = data

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


HOW = ["by hand", "h5py"] if importlib.util.find_spec("h5py") else ["by hand"]


@pytest.mark.parametrize("how", HOW)
def test_the_recipe_of_hdf5(tmp_path, monkeypatch, how):
    """With h5py where it is installed, and with what stands for it."""
    monkeypatch.chdir(tmp_path)
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    x = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    names = {"cl": cl, "np": np, "x": x, "y": np.arange(40) % 10}
    if how == "by hand":
        names["h5py"] = type("h5py", (), {"File": File})
        program = program.replace("import h5py\n", "")
    exec(program, names)
    assert names["p"].shape == (40, 10)
    assert set(names["result"]) == {"loss", "accuracy"}
    assert len(names["history"]["val_loss"]) == 1

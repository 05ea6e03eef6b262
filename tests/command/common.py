"""How the tests of the command call it, and the data that they give it."""

import numpy as np
import pytest
from PIL import Image

from cnnlayers.command.main import main


def run(capsys, *arguments):
    """Call the command: exit code, standard output, standard error."""
    capsys.readouterr()
    code = main([str(a) for a in arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def refused(capsys, *arguments):
    """Call the command wrongly: what it says."""
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    printed = capsys.readouterr()
    assert ended.value.code == 2
    assert printed.out == ""
    return printed.err


def failure(capsys, *arguments):
    """Call the command rightly on something bad: its one line of complaint."""
    code, _, said = run(capsys, *arguments)
    assert code == 1
    assert said.startswith("cnnlayers: ")
    assert len(said.splitlines()) == 1
    assert "Traceback" not in said
    return said


def image_folder(root, per_class=12, size=(10, 12)):
    """Two classes of images that a line can tell apart: dark and bright noise."""
    rng = np.random.default_rng(0)
    for name, low in (("bright", 150), ("dark", 0)):
        folder = root / name
        folder.mkdir(parents=True)
        for i in range(per_class):
            Image.fromarray(rng.integers(low, low + 100, (*size, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return root


def npz_file(path, **parts):
    """Gray 8x8 images of three classes, each with one bright row."""
    rng = np.random.default_rng(1)
    arrays = {}
    for name, n in ({"train": 60, "test": 12} | parts).items():
        y = np.arange(n) % 3
        x = rng.integers(0, 60, (n, 8, 8, 1), dtype=np.uint8)
        x[np.arange(n), 2 * y] += 150
        arrays |= {f"x_{name}": x, f"y_{name}": y}
    np.savez(path, **arrays)
    return path

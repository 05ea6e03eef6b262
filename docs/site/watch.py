"""Run an example, and then draw what its last Solver trained: python -m docs.site.watch SCRIPT [OPTIONS].

The pictures go to the folder "pictures", with those that the example drew itself.
"""

from __future__ import annotations

import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

import cnnlayers as cl

SOLVERS: list[tuple[cl.Solver, Any]] = []


class Watched(cl.Solver):
    """A Solver that is remembered, with its validation part."""

    def __init__(self, model, train, val=None, *args, **settings):
        super().__init__(model, train, val, *args, **settings)
        data = val if val is not None else train
        if isinstance(data, tuple):  # not so in a Solver that is resumed
            SOLVERS.append((self, data))


def main() -> None:
    """Run it, and draw."""
    script, *sys.argv[1:] = sys.argv[1:]
    solver, cl.Solver = cl.Solver, Watched
    sys.argv[0] = script
    runpy.run_path(script, run_name="__main__")
    cl.Solver = solver
    pictures = Path("pictures")
    pictures.mkdir(exist_ok=True)
    drawn = list(Path("runs").rglob("*.png")) if Path("runs").exists() else []
    for path in drawn:
        shutil.copy(path, pictures / path.name)
    if SOLVERS and not drawn:
        mpl.rcParams["savefig.dpi"] = 150
        for name, figure in draw(*SOLVERS[-1]):
            figure.savefig(pictures / f"{name}.png")
            plt.close(figure)


def draw(solver: cl.Solver, data: Any):
    """Draw curves, filters and mistakes; for signals, some of them."""
    x, y = (np.asarray(part) for part in data[:2])
    net = solver.model
    if len(solver.history):
        yield "curves", cl.plot.curves(solver.history)
    if x.ndim == 4:
        yield "filters", cl.plot.filters(net)
        yield "mistakes", cl.plot.mistakes(net, x[:500], y[:500])
    else:
        figure, axes = plt.subplots(3, 1, figsize=(6.4, 4.2), sharex=True, layout="constrained")
        for label, axis in enumerate(axes):
            axis.plot(x[y == label][0, :, 0], linewidth=1)
            axis.set_ylabel(f"class {label}")
        yield "samples", figure


if __name__ == "__main__":
    main()

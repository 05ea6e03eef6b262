"""The tour: the course sheet's problems, in order, on nets whose numbers fit the screen.

Source: UC Berkeley CS W182 discussion sheet, Problems 1 to 6.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from ...layers import Affine, Conv, Flatten, MaxPool, ReLU, Residual, Sequential
from ...training.losses import SoftmaxLoss
from ...writing import check_writable, write_atomically
from .graph import graph_of
from .page import FOLDER, Shown, page

NAME = "explain.html"
IMAGE = ["003710", "058930", "012970", "004810", "003962", "174985"]  # a one, in tenths
SIGNAL = [1.0, 2.0, 3.0, 4.0]
WEIGHTS = [0.5, -1.0, 2.0]


def write_tour(path: str | os.PathLike = NAME) -> Path:
    """Write the tour of the course sheet, on three nets whose numbers fit the screen.

    Parameters
    ----------
    path : str or path
        The HTML file, written atomically.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    OSError
        If the page cannot be written there.

    Examples
    --------
    >>> import tempfile
    >>> import cnnlayers as cl
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cl.explain.write_tour(f"{folder}/tour.html").name
    'tour.html'
    """
    path = Path(path)
    check_writable(path)
    stops = json.loads((FOLDER / "tour.json").read_text(encoding="utf-8"))
    write_atomically(path, page("Backpropagation and convolution, number by number", nets(), stops).encode())
    return path


def nets() -> list[Shown]:
    """The nets of the tour: an image's, with a skip connection; a signal's with padding; a signal's without."""
    image = Sequential(
        [
            Conv(2, 3),
            ReLU(),
            MaxPool(2),
            Flatten(),
            Residual([Affine(3, bias=False), ReLU(), Affine(8, bias=False)]),
            Affine(3),
        ],
        input_shape=(6, 6, 1),
        rng=1276,  # more than half of its ReLUs let through, and no maximum is a tie
        dtype="float64",
    )
    image.flat_params[:] = image.flat_params.round(1)
    padded = Sequential([Conv(1, 3, padding=1, bias=False), Flatten()], input_shape=(4, 1), dtype="float64")
    bare = Sequential([Conv(1, 3, bias=False), Flatten()], input_shape=(4, 1), dtype="float64")
    for net in (padded, bare):
        net.flat_params[:] = WEIGHTS
    signal = np.reshape(SIGNAL, (1, 4, 1))
    return [
        _shown(
            image,
            np.reshape([int(pixel) / 10 for row in IMAGE for pixel in row], (1, 6, 6, 1)),
            1,
            "An image of 6 x 6, with a skip connection",
        ),
        _shown(padded, signal, 1, "A signal of 4, with a zero on each side"),
        _shown(bare, signal, 0, "A signal of 4, without padding"),
    ]


def _shown(net: Sequential, x: np.ndarray, label: int, title: str) -> Shown:
    graph = graph_of(net, x, np.array([label]), SoftmaxLoss(), False, "explain.write_tour")
    return Shown(graph, title, [str(c) for c in range(graph.maps[-1].values.shape[-1])])

"""The tour: the course sheet's problems, in order, on nets whose numbers fit the screen.

Source: UC Berkeley CS W182 discussion sheet, Problems 1 to 6.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from ...layers import Affine, Conv, Flatten, MaxPool, ReLU, Residual, Sequential
from ...training.losses import Loss, MSELoss, SoftmaxLoss
from ...writing import check_writable, write_atomically
from .graph import graph_of
from .page import FOLDER, Shown, page

NAME = "explain.html"
IMAGE = ["003710", "058930", "012970", "004810", "003962", "174985"]  # a one, in tenths
SIGNAL, WEIGHTS = [1.0, 3.0, 2.0, 5.0], [0.5, -1.0, 2.0]
DELTAS = {4: [1.0, -2.0, 3.0, 0.5], 2: [1.0, -2.0]}  # of the signal's results, by how many there are


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
    pixels = [int(pixel) / 10 for row in IMAGE for pixel in row]
    titles = "A signal of 4, with a zero on each side", "A signal of 4, without padding"
    return [
        _shown(
            image, np.reshape(pixels, (1, 6, 6, 1)), np.array([1]), SoftmaxLoss(), "An image, with a skip connection"
        ),
        *(_signal(title, padding) for title, padding in zip(titles, (1, 0), strict=True)),
    ]


def _signal(title: str, padding: int) -> Shown:
    """One filter on a signal; the loss is such that δ is short: L = Σ (y - t)² has δ = 2 (y - t)."""
    net = Sequential([Conv(1, 3, padding=padding, bias=False)], input_shape=(4, 1), dtype="float64")
    net.flat_params[:] = WEIGHTS
    x = np.reshape(SIGNAL, (1, 4, 1))
    y = net.predict(x)
    return _shown(net, x, y - np.reshape(DELTAS[y.size], y.shape) / 2, MSELoss(reduction="sum"), title)


def _shown(net: Sequential, x: np.ndarray, target: np.ndarray, loss: Loss, title: str) -> Shown:
    graph = graph_of(net, x, target, loss, False, "explain.write_tour")
    return Shown(graph, title, [str(c) for c in range(graph.maps[-1].values.shape[-1])])

"""Writing the page about a net."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...layers.layer import Layer
from ...names import readable
from ...training.losses import Loss, SoftmaxLoss
from ...writing import check_writable, write_atomically
from .graph import as_batch, check_loss, graph_of
from .page import Shown, page


def write(
    path: str | os.PathLike,
    net: Layer,
    x: Any,
    y: Any = None,
    *,
    loss: Loss | None = None,
    train: bool = False,
    classes: Sequence[str] | None = None,
    title: str = "Every number of a net",
) -> Path:
    """Write a page about one image of a net: every value and every gradient, and the sums that they come from.

    On the page any number of any map can be picked, forward and backward, and any weight; a slider changes one, and
    the page computes the net anew. The numbers are computed in float64 from the net's weights.

    Parameters
    ----------
    path : str or path
        The HTML file, written atomically.
    net : Layer
        Built; it is left as it is. A small one: at most 20 million multiply-adds and 2 million numbers.
    x : array, of the net's input shape, or (N, ...)
        The sample, or a few that go through the net together, as norms over the batch need it.
    y : int, or array (N, ...), optional
        The target of the loss. For SoftmaxLoss the label is by default the class that the net predicts.
    loss : SoftmaxLoss or MSELoss, optional
        SoftmaxLoss by default.
    train : bool
        As in a step of training: BatchNorm over the batch, dropout. By default as the net predicts.
    classes : sequence of str, optional
        The names of the classes; by default those that the net knows, or numbers.
    title : str
        What the page is called.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    ValueError
        If x or y does not fit or is not finite, the net is too large, or the page does not know the loss.
    RuntimeError
        If the net is not built, or is one of `for_inference()`, which has no backward.
    OSError
        If the page cannot be written there, before anything is computed.

    Examples
    --------
    >>> import tempfile
    >>> import cnnlayers as cl
    >>> net = cl.Sequential([cl.Conv(2, 3), cl.ReLU(), cl.Flatten(), cl.Affine(3)], input_shape=(6, 6, 1), rng=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cl.explain.write(f"{folder}/page.html", net, np.ones((6, 6, 1)), 2).name
    'page.html'
    """
    who = "explain.write"
    path = Path(path)
    check_writable(path)
    batch = as_batch(net, x, who)
    loss = SoftmaxLoss() if loss is None else loss
    check_loss(net, loss, who)
    graph = graph_of(net, batch, _target(net, batch, y, loss, who), loss, train, who)
    names = classes if classes is not None else getattr(net, "classes", None)
    width = graph.maps[-1].values.shape[-1]
    names = [readable(str(name)) for name in names] if names is not None and len(names) == width else range(width)
    write_atomically(path, page(title, [Shown(graph, title_of(net), [str(name) for name in names])]).encode())
    return path


def title_of(net: Layer) -> str:
    """A net in a line."""
    shape = " x ".join(map(str, net.input_shape))
    return f"{type(net).__name__} of {len(net.leaves())} layers on {shape}"


def _target(net: Layer, x: np.ndarray, y: Any, loss: Loss, who: str) -> Any:
    if y is None and isinstance(loss, SoftmaxLoss):
        return net.predict(x).argmax(axis=-1)
    if y is None:
        raise ValueError(f"{who} needs y, the target of {loss!r}; got None")
    y = np.asarray(y)
    is_label = isinstance(loss, SoftmaxLoss) and y.dtype.kind in "iu"
    of_one = () if is_label else net.output_shape(net.input_shape)
    return y[np.newaxis] if len(x) == 1 and y.shape == of_one else y

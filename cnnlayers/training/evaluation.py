"""A net measured on a data set: the loss, and the metrics."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..checks import takes
from ..data.feed import build_for
from ..layers.views import Views, mean_over_views
from .agreement import counts, loss_of, sums
from .ranks import Ranks
from .step import weight_in

__all__ = ["measure", "values_of"]


def measure(
    net: Any,
    loss: Any,
    metrics: Mapping[str, Any],
    data: Any,
    rng: Any,
    check: Callable[[Any, Any, int], None] = lambda x, y, number: None,
    ranks: Ranks | None = None,
    views: Views | None = None,
) -> dict[str, float]:
    """Give the loss and the metrics of a net over all batches of `data`; each rank predicts some of them.

    The loss is a mean, also where that of a step is a sum: data sets of any sizes can be compared.

    `rng` builds a net that is not built. `check(x, y, number)` is called for each batch in which anything counts,
    before the net is, and may refuse it. With `views` it is predicted by the mean over them, as by `net.predict`.
    """
    ranks, mine = ranks or Ranks(), []

    def is_mine(number: int) -> bool:
        return number % ranks.size == ranks.rank

    for number, batch in enumerate(data.batches(wanted=lambda number: not net.built or is_mine(number))):
        if not batch or len(batch[0]) == 0:
            continue
        x, y, *weights = batch
        if counts(loss, x, y, *weights):
            check(x, y, number + 1)
        build_for(net, x, rng)
        if not is_mine(number):  # all ranks build the net for the same batch
            continue
        scores = net.predict(x) if views is None else mean_over_views(net.predict, x, views, net.dtype)
        mine.append((number, scores, np.array(y), *weights))  # a copy: the user's object may fill one array
    kept = sorted((batch for theirs in ranks.gather(mine) for batch in theirs), key=lambda batch: batch[0])
    if not kept:
        raise ValueError(f"Solver: there are no batches to evaluate in {data.name}")
    whole = [np.concatenate(parts) for parts in list(zip(*kept, strict=True))[1:]]
    if not counts(loss, *whole):
        why = "each is ignored, or of a class of weight 0, or of a sample of weight 0"
        raise ValueError(f"Solver: no label of {data.name} counts: {why}")
    loss = copy.copy(loss)  # so that a pending loss.backward() stays valid
    value = loss_of(loss, *whole)
    if sums(loss):
        value /= weight_in(loss, *whole)
    return {"loss": float(value)} | values_of(metrics, *whole)


def values_of(
    metrics: Mapping[str, Callable[..., float]], scores: Any, target: Any, weights: Any = None
) -> dict[str, float]:
    """Give the value of each metric; an error in one has its name as a note.

    The weights of the samples, if they have any, go to each metric that has a parameter `weights`.
    """
    values = {}
    for name, metric in metrics.items():
        given = {} if weights is None or not takes(metric, "weights") else {"weights": weights}
        try:
            values[name] = float(metric(scores, target, **given))
        except Exception as error:
            error.add_note(f"in the metric {name!r}, which must give a number")
            raise
    return values

"""Before several ranks train together: whether they are about to do the same."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from .. import kernels, precision
from .._version import __version__
from ..data.fingerprint import fingerprint, size_of
from .resume import named
from .run import plain
from .weights import weights_of

__all__ = ["meet"]

HINTS = {
    "weights": " (build the net with the same rng= on each)",
    "train data": " (each rank is given all of it, and takes its own batches)",
    "rng": " (give each the same rng=)",
}


def meet(solver: Any) -> None:
    """Refuse to begin if a rank is not about to do what rank 0 does.

    Raises
    ------
    ValueError
        On every rank, naming the rank and what differs.
    """
    compare(solver.ranks.gather(facts(solver)))


def compare(everyone: list[dict[str, str]]) -> None:
    """Refuse the facts of a rank that are not those of rank 0."""
    for rank, theirs in enumerate(everyone):
        for name, first in everyone[0].items():
            if theirs[name] != first:
                raise ValueError(
                    f"Solver: all ranks must have the same {name}; rank 0 has {first}, but rank {rank} {theirs[name]}"
                    + HINTS.get(name, "")
                )


def facts(solver: Any) -> dict[str, str]:
    """All that a training depends on, by name; what is long as a digest."""
    run = solver.run
    state = getattr(solver.optimizer, "state", {})
    return {
        "version of cnnlayers": __version__,
        "instruction set (CNNLAYERS_ISA)": kernels.level(),
        "precision": precision.get_precision(),
        "batch_size": str(solver.batch_size),
        "accumulate": str(solver.accumulate),
        "clip_norm": str(solver.clip_norm),
        "keep": solver.keep,
        "monitor": solver.monitor,
        "net": re.sub(r" at 0x[0-9a-fA-F]+", "", repr(solver.model)),  # objects have other addresses on each rank
        **{name: str(named(getattr(solver, name))) for name in ("loss", "optimizer", "schedule", "augment")},
        "callbacks": str([named(callback) for callback in solver.callbacks]),
        "metrics": str(sorted(solver.metrics)),
        "train data": known(solver.train_data),
        "val data": known(solver.val_data),
        "weights": digest(*weights_of(solver.model)) if solver.model.built else "none, since it is not built",
        "state of the optimizer": digest(*(state[name] for name in sorted(state) if hasattr(state[name], "tobytes"))),
        "rng": digest(json.dumps(plain(run.rng.bit_generator.state)).encode()),
        "epoch and step": f"{run.epoch}, {run.step}",
    }


def known(data: Any) -> str:
    """Give the shape of a data set, and a digest of what is looked at of it."""
    seen = None if data is None else fingerprint(data)
    return f"{size_of(data)}" if seen is None else f"{size_of(data)}, digest {digest(json.dumps(seen).encode())}"


def digest(*parts: Any) -> str:
    """The beginning of the SHA-256 of arrays or bytes."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part if isinstance(part, bytes) else part.tobytes())
    return whole.hexdigest()[:16]

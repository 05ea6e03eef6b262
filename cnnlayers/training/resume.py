"""Checkpoints of a training run: all that a Solver is between two steps, and the Solver that goes on from there.

The file is that of a net (`checkpoint`), so `load` reads it too. `last.safetensors` holds the weights being trained,
`best.safetensors` those to keep; each also holds the rest of the run: optimiser, schedule, callbacks, states of all
random generators, the position in the epoch with its sums, the history. What JSON cannot express (a function, an object
of the user's own class) is only named, and has to be passed again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..data.fingerprint import fingerprint, size_of
from ..data.loader import batches_of
from ..errors import CheckpointError
from ..files import checkpoint
from ..writing import check_writable, remove_leftovers
from .ranks import as_communicator
from .run import Run, generator_at, plain
from .weights import Weights, set_weights, weights_in, weights_of

LAST, BEST = "last.safetensors", "best.safetensors"  # the files of a `checkpoint=` folder


def prepare_folder(folder: Path) -> None:
    """Make the folder of a run's checkpoints, remove what a killed process left half-written in it, and try to write.

    Raises
    ------
    OSError
        If the folder cannot be made, or the checkpoints not be written in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in (LAST, BEST):
        remove_leftovers(folder, name)
        check_writable(folder / name)


def check_savable(solver: Any) -> None:
    """Refuse a net or an optimiser that no checkpoint can hold."""
    checkpoint.encode(solver.model)
    _check_optimizer(solver.optimizer)


def _check_optimizer(optimizer: Any) -> None:
    if not hasattr(optimizer, "load_state"):
        raise TypeError(
            f"a checkpoint needs an optimizer with state and load_state(net, state), as Optimizer has; "
            f"got {optimizer!r}"
        )


def save_run(solver: Any, path: str | os.PathLike, best: Weights | None = None) -> None:
    """Write a checkpoint: its net has the weights being trained, or those given as the best."""
    run, net = solver.run, solver.model
    training = run.training_weights(net)
    arrays: dict[str, np.ndarray] = {}
    if best is not None:
        arrays |= _weights("training", training)
    elif run.best_weights is not None:
        arrays |= _weights("best", run.best_weights)
    about = _description(solver, arrays) | {"best_is_the_net": best is not None}
    with weights_in(net, training if best is None else best):
        checkpoint.save(net, path, about, arrays)


def _weights(name: str, weights: Weights) -> dict[str, np.ndarray]:
    return {f"{name}.params": weights[0], f"{name}.state": weights[1]}


def _description(solver: Any, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """All but the weights: what JSON holds is returned, arrays are added to `arrays`."""
    _check_optimizer(solver.optimizer)  # a net is encoded, and so checked, as it is saved
    about = {
        "loss": named(solver.loss),
        "optimizer": named(solver.optimizer),
        "schedule": named(solver.schedule),
        "augment": named(solver.augment),
        "augment_seed": solver.run.augment_seed,
        "callbacks": [named(callback) for callback in solver.callbacks],
        "metrics": None if solver.default_metrics else sorted(solver.metrics),
        "options": {name: getattr(solver, name) for name in _OPTIONS},
        "data": [size_of(solver.train_data), size_of(solver.val_data)],
        "samples": [fingerprint(solver.train_data), fingerprint(solver.val_data)],
        "checkpoint": solver.checkpoint is not None,
        **solver.run.described(arrays),
    }
    states = {"optimizer": solver.optimizer.state, "schedule": _state_of(solver.schedule)}
    states |= {f"callback.{i}": callback.state_dict() for i, callback in enumerate(solver.callbacks)}
    return about | {"states": {name: _split(name, state, arrays) for name, state in states.items()}}


_OPTIONS = ("batch_size", "epochs", "clip_norm", "accumulate", "keep", "monitor")


def named(thing: Any) -> dict[str, Any] | None:
    """Describe it so that it can be made again, or just name it if it is the user's own."""
    if thing is None:
        return None
    try:
        described = checkpoint.encode(thing)
    except TypeError:  # its config holds something that is not a number or text
        described = None
    if isinstance(described, dict) and "class" in described:
        return described
    return {"own": _name(thing)}


def _name(thing: Any) -> str:
    return getattr(thing, "__qualname__", type(thing).__qualname__)


def _state_of(schedule: Any) -> dict[str, Any]:
    return schedule.state_dict() if hasattr(schedule, "state_dict") else {}


def _split(prefix: str, state: Mapping[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Put the arrays of a state into `arrays`; give what is left."""
    left = {}
    for name, value in state.items():
        if isinstance(value, np.ndarray):
            arrays[f"{prefix}.{name}"] = value
        else:
            left[name] = plain(value)
    return left


def _refuse_others(name: str, saved: Any, data: Any) -> None:
    """Compare a data set with what the file knows of it, as far as it knows something."""
    now = fingerprint(data)
    if saved is None or now is None or saved == now:
        return
    parts = [part for part in {**now, **saved} if saved.get(part) != now.get(part)]
    raise ValueError(
        f"Solver.resume: the run had other {name} data of this shape: the {' and '.join(parts)} differ in dtype, "
        "values or order; to train the net on other data, give cl.load(path) to a new Solver"
    )


def resume_run(solver_class: Any, path: str | os.PathLike, train: Any, val: Any, custom: Iterable, **given: Any) -> Any:
    """Make the Solver that a checkpoint holds; `given` are the arguments of `Solver.resume`."""
    if (comm := as_communicator(given["comm"])) is not None:
        comm.allgather(None)  # rank 0 may still be writing the file
    path = _file(path)
    net, about, arrays = checkpoint.load_training(path, custom)
    try:
        parts = _parts(about, given)
        options = {name: about["options"][name] for name in _OPTIONS}
        parts["rng"] = generator_at(about["rng"])
        states = _states(about, arrays)
        samples = dict(zip(("train", "val"), about.get("samples", (None, None)), strict=True))
    except checkpoint.DECODING_ERRORS as error:
        if isinstance(error, MissingError):
            raise ValueError(str(error)) from None
        raise CheckpointError(f"{os.fspath(path)}: {error!s}{checkpoint.if_later(about['version'])}") from error
    feeds: list[Any] = []
    for name, there, data in zip(("train", "val"), about["data"], (train, val), strict=True):
        if (there is None) != (data is None):
            raise ValueError(f"Solver.resume: the run had {'no ' if there is None else ''}{name} data; got {data!r}")
        feeds.append(None if data is None else batches_of(data, options["batch_size"], name))
        if size_of(feeds[-1]) != there:
            raise ValueError(f"Solver.resume: the run had {name} data of shape {there}; got {size_of(feeds[-1])}")
        _refuse_others(name, samples[name], feeds[-1])
    folder = given["checkpoint"]
    if folder is None and about["checkpoint"]:
        folder = Path(path).parent
    parts |= {name: given[name] for name in ("comm", "progress")}
    solver = solver_class(net, *feeds, checkpoint=folder, **options, **parts)
    try:
        _restore(solver, about, arrays)
        _restore_states(solver, about, states, parts)
    except MismatchError as error:
        raise ValueError(str(error)) from error.__cause__
    except checkpoint.DECODING_ERRORS as error:
        raise CheckpointError(f"{os.fspath(path)}: {error!s}{checkpoint.if_later(about['version'])}") from error
    return solver


def _file(path: str | os.PathLike) -> str | os.PathLike:
    """The checkpoint itself; of a run's folder, its last one."""
    if not os.path.isdir(path):
        return path
    last = Path(path) / LAST
    if not last.is_file():
        raise FileNotFoundError(
            f"Solver.resume: the folder {os.fspath(path)} has no {LAST}; name the checkpoint to go on from"
        )
    return last


class MissingError(ValueError):
    """Something the file cannot hold was not passed."""


class MismatchError(ValueError):
    """Something was passed that cannot take over what the file holds of its forerunner."""


def _parts(about: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Loss, optimiser, schedule, ...: those given, or made as the file says."""
    parts = {
        name: given[name] if given[name] is not None else _made(about[name], name)
        for name in ("loss", "optimizer", "schedule", "augment")
    }
    if about["metrics"] is not None and (given["metrics"] is None or sorted(given["metrics"]) != about["metrics"]):
        raise MissingError(f"Solver.resume: the run had the metrics {', '.join(about['metrics'])}; hand them over")
    return parts | {"metrics": given["metrics"], "callbacks": _callbacks(about["callbacks"], given["callbacks"])}


def _made(described: dict[str, Any] | None, name: str) -> Any:
    if described is None:
        return None
    if "own" in described:
        raise MissingError(
            f"Solver.resume: a file cannot hold {described['own']}: hand it over, resume(path, train, {name}=...)"
        )
    return checkpoint.decode(described, {})


def _callbacks(described: list[dict[str, Any]], given: Iterable[Any] | None) -> list[Any]:
    """The run's callbacks in their order, each as given or made from the file; then the others given."""
    left = list(given or ())
    callbacks = []
    for entry in described:
        match = next((callback for callback in left if _is_like(callback, entry)), None)
        if match is None:
            callbacks.append(_made(entry, "callbacks"))
        else:
            left.remove(match)
            callbacks.append(match)
    return [*callbacks, *left]


def _states(about: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """What optimiser, schedule and callbacks remember, each with its arrays."""
    states = {name: dict(state) for name, state in about["states"].items()}
    for key, array in arrays.items():
        for name, state in states.items():
            if key.startswith(f"{name}."):
                state[key.removeprefix(f"{name}.")] = array
    return states


def _restore(solver: Any, about: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Bring a new Solver to where the old one was: its weights and its run."""
    net, best = solver.model, None
    if about["best_is_the_net"]:
        best = weights_of(net) if solver.keep == "best" else None
        set_weights(net, _saved_weights("training", arrays, net))
    elif "best.params" in arrays:
        best = _saved_weights("best", arrays, net)
    solver.run = Run.restored(about, arrays, best)


def _restore_states(solver: Any, about: dict[str, Any], states: dict[str, dict], parts: Mapping[str, Any]) -> None:
    """Let optimiser, schedule and callbacks take over what those of the old Solver remembered."""
    if states["optimizer"]:  # there was a step
        with _blaming(solver.optimizer, about["optimizer"], "optimizer"):
            solver.optimizer.load_state(solver.model, states["optimizer"])
    if hasattr(solver.schedule, "load_state_dict") and _is_like(solver.schedule, about["schedule"]):
        with _blaming(solver.schedule, about["schedule"], "schedule"):
            solver.schedule.load_state_dict(states["schedule"])
    for i, (callback, described) in enumerate(zip(parts["callbacks"], about["callbacks"], strict=False)):
        with _blaming(callback, described, "callbacks"):
            callback.load_state_dict(states[f"callback.{i}"])


@contextlib.contextmanager
def _blaming(part: Any, described: Any, name: str) -> Iterator[None]:
    """Blame a part, not the file, where it is not what the file describes and cannot take over its state."""
    try:
        yield
    except checkpoint.DECODING_ERRORS as error:
        if named(part) == described and "class" in described:
            raise
        raise MismatchError(
            f"Solver.resume: {name}: {part!r} cannot go on from the state of the run's {_class_of(described)} "
            f"({error}); hand over one like it, or begin a new run with its weights, Solver(cl.load(path), ...)"
        ) from error


def _class_of(described: Any) -> str:
    return described.get("own") or described["class"]


def _is_like(part: Any, described: Any) -> bool:
    return described is not None and _name(part) == _class_of(described)


def _saved_weights(name: str, arrays: dict[str, np.ndarray], net: Any) -> Weights:
    weights = arrays[f"{name}.params"], arrays[f"{name}.state"]
    for own, saved in zip((net.flat_params, net.flat_state), weights, strict=True):
        if (saved.shape, saved.dtype) != (own.shape, own.dtype):
            raise CheckpointError(f"the {name} weights must be {own.shape} {own.dtype}; the file has {saved.shape}")
    return weights

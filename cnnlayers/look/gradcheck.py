"""Numeric gradients: whether a backward pass gives the gradient of its forward pass.

For each element v of the input and of the parameters, the slope of f along v is measured by central differences,

    n = (f(v + h) - f(v - h)) / 2h

in float64, and compared with what `backward` gives. f is the loss; without a loss, a fixed random projection of the
outputs, sum of r y. The error of an array is max|a - n| / max(max|a|, max|n|, 1e-3), a analytic and n numeric: relative
to the largest entry, and absolute where the gradient is zero (a bias before BatchNorm).

Where f has a kink (ReLU at 0, a tie in MaxPool) no gradient exists, and any slope between those of the two sides will
do. What tells a kink from a wrong gradient is how the slopes to the right and to the left differ as h shrinks: by h f''
where f is smooth, so 64 times less at h/64; by as much as before at a kink.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import markup
from ..layers.layer import Layer
from ..randomness import random_generator
from ..tables import columns

__all__ = ["Report", "gradcheck"]

FLOOR = 1e-3  # gradients smaller than this are compared absolutely
SHRINK = (8, 64)  # the steps h / 8 and h / 64 tell curvature and kinks from errors


@dataclass(frozen=True, repr=False)
class Report:
    """What `gradcheck` found; prints as a table.

    Attributes
    ----------
    errors : dict of str to float
        Error of each gradient; the input's is "x".
    kinks : dict of str to int
        How many entries of each array lie at a kink; they are left out of the error.
    shapes : dict of str to tuple
    tol : float
        The largest error that passes.
    problems : tuple of str
        What else is wrong with the layer, in words.
    """

    errors: dict[str, float]
    kinks: dict[str, int]
    shapes: dict[str, tuple[int, ...]]
    tol: float
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether all errors are within `tol` and there are no problems."""
        return not self.problems and not self.failed

    @property
    def failed(self) -> list[str]:
        """Names of the arrays whose gradients are wrong (a NaN is)."""
        return [name for name, error in self.errors.items() if not error <= self.tol]

    def _table(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = [("array", "shape", "error", "kinks", "ok")]
        for name, error in self.errors.items():
            right = "NO" if name in self.failed else "yes"
            rows.append((name, str(self.shapes[name]), f"{error:.1e}", str(self.kinks[name]), right))
        return rows

    def __repr__(self) -> str:
        return "\n".join([columns(self._table()), *self.problems, self._verdict()])

    def _repr_html_(self) -> str:
        """What notebooks show."""
        notes = map(markup.note, [*self.problems, self._verdict()])
        return markup.block(markup.table(self._table(), marked={"NO"}), *notes)

    def _verdict(self) -> str:
        kinks = sum(self.kinks.values())
        left_out = f" ({kinks} {'kink' if kinks == 1 else 'kinks'} left out)" if kinks else ""
        if self.ok:
            return f"passed: every error is within {self.tol:g}{left_out}"
        return f"FAILED: {', '.join(self.failed) or 'see above'}{left_out}"


def gradcheck(
    layer: Layer,
    x: Any,
    loss: Any = None,
    target: Any = None,
    *,
    weights: Any = None,
    train: bool = True,
    tol: float = 1e-6,
    step: float = 1e-5,
    samples: int | None = None,
    rng: Any = 0,
) -> Report:
    """Compare the gradients of a layer or a net with numeric ones.

    Works on a float64 copy: the layer, its state and its random draws stay as they are. Random draws (Dropout) are
    replayed and state (running statistics) is restored at each evaluation. Parameters frozen by name have no gradient,
    and are left out.

    Parameters
    ----------
    layer : Layer
        A layer or a net, built or not.
    x : array
        A batch; it is cast to float64. Small ones do: each element costs two forward passes.
    loss : loss, optional
        Check the gradient of `loss.forward(y, target)`; without it, of a random projection of y.
    target : array, optional
        What the loss compares with, of the shape that it needs.
    weights : array (N,), optional
        The weights of the samples, for a loss that takes them.
    train : bool
        The mode of the forward pass.
    tol : float
        The largest error that passes.
    step : float
        h is `step` times the element's size, or `step` where that is less than 1.
    samples : int, optional
        Check only this many entries of each array, drawn at random.
    rng : int or numpy.random.Generator
        For the projection, the samples and, if the layer is not built yet, its first parameters.

    Returns
    -------
    Report
        `report.ok`, `report.errors` by name ("x" is the input), `report.kinks`; it prints as a table.

    Raises
    ------
    TypeError
        If `layer` is not a Layer.
    RuntimeError
        If it was made by `for_inference()`.
    ValueError
        If the outputs are not finite, x does not fit the layer, or a loss comes without a target.

    Examples
    --------
    A layer of your own:

    >>> class Scale(Layer):
    ...     def allocate(self, input_shape):
    ...         self.add_param("s", (1,), "ones")
    ...
    ...     def forward(self, x, train=True):
    ...         self.keep(x)
    ...         return self.params["s"] * x
    ...
    ...     def backward(self, dy, input_grad=True):
    ...         (x,) = self.take()
    ...         self.grads["s"][...] = (dy * x).sum()
    ...         return self.params["s"] * dy
    >>> gradcheck(Scale(), [[1.0, -2.0, 3.0]])
    array  shape   error    kinks  ok
    x      (1, 3)  ...  0      yes
    s      (1,)    ...  0      yes
    passed: every error is within 1e-06
    """
    _check_arguments(layer, loss, target, tol, step, samples)
    if weights is not None and loss is None:
        raise ValueError("gradcheck: weights need a loss")
    generator = random_generator(rng)
    f = _Function(layer, x, loss, target, weights, train, generator)
    analytic = f.gradients()
    problems = f.problems(analytic, tol)
    errors, kinks = {}, {}
    for name, array in f.arrays.items():
        picks = np.arange(array.size)
        if samples is not None and samples < array.size:
            picks = generator.choice(array.size, samples, replace=False)
        errors[name], kinks[name] = _compare(f, array.reshape(-1), analytic[name].reshape(-1), picks, tol, step)
    return Report(errors, kinks, {name: array.shape for name, array in f.arrays.items()}, tol, problems)


class _Function:
    """f of the input and the parameters: the loss, or a random projection of the outputs."""

    def __init__(
        self, layer: Layer, x: Any, loss: Any, target: Any, weights: Any, train: bool, rng: np.random.Generator
    ):
        x = np.asarray(x)
        if x.dtype.kind not in "biuf":
            raise TypeError(f"gradcheck: {layer.who} needs real numbers; got dtype {x.dtype}")
        if x.ndim == 0:
            raise ValueError(f"gradcheck: {layer.who} needs a batch; got a single number")
        self.net = layer.astype(np.float64) if layer.built else layer.copy()
        if not self.net.built:
            self.net.build(x.shape[1:], rng=rng, dtype=np.float64)
        if "x" in self.net.params:
            raise ValueError(f"gradcheck calls the input 'x': name that parameter of {layer.who} otherwise")
        self.x = np.array(x, np.float64, order="C")
        self.loss, self.target, self.train = copy.deepcopy(loss), target, train
        self.weighted = {} if weights is None else {"weights": weights}
        self.state = self.net.flat_state.copy()
        self.generators = [g for _, part in self.net.walk() for g in vars(part).values() if _is_generator(g)]
        self.draws = [g.bit_generator.state for g in self.generators]
        self.r: Any = 1.0  # the projection; a loss is projected already
        self.base = self.values()
        if loss is None:
            self.r = rng.uniform(0.5, 1.5, self.base.shape) * rng.choice([-1.0, 1.0], self.base.shape)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """What f depends on: the input and each parameter that has a gradient, to be written to."""
        frozen = {f"{where}.{name}" if where else name for where, layer in self.net.walk() for name in layer._frozen}
        return {"x": self.x, **{name: array for name, array in self.net.params.items() if name not in frozen}}

    def output(self, x: np.ndarray | None = None) -> np.ndarray:
        """Run forward from the state and the random draws of the start."""
        self.net.flat_state[...] = self.state
        for generator, draws in zip(self.generators, self.draws, strict=True):
            generator.bit_generator.state = draws
        return self.net.forward(self.x.copy() if x is None else x, self.train)

    def values(self) -> np.ndarray:
        """The loss, or the outputs before they are projected: so their differences round less."""
        y = self.output()
        if not np.all(np.isfinite(y)):
            raise ValueError(f"gradcheck: the outputs of {self.net.who} are not finite (NaN or Inf): try another x")
        if self.loss is None:
            return np.array(y)
        value = float(self.loss.forward(y, self.target, **self.weighted))
        if not np.isfinite(value):
            raise ValueError(f"gradcheck: the loss is not finite ({value}): try another x")
        return np.array(value)

    def slopes(self, flat: np.ndarray, i: int, h: float) -> tuple[float, float]:
        """Measure the slopes of f along flat[i], to the right and to the left."""
        value = flat[i]
        flat[i] = value + h
        up, right = self.values(), flat[i] - value
        flat[i] = value - h
        down, left = self.values(), value - flat[i]
        flat[i] = value
        return float(np.sum(self.r * (up - self.base))) / right, float(np.sum(self.r * (self.base - down))) / left

    def delta(self, y: np.ndarray) -> np.ndarray:
        """Give df/dy."""
        if self.loss is None:
            return np.array(self.r)
        self.loss.forward(y, self.target, **self.weighted)
        return self.loss.backward()

    def gradients(self) -> dict[str, np.ndarray]:
        """What backward gives for x and each parameter."""
        dx = self.net.backward(self.delta(self.output()))
        return {"x": np.array(dx), **{name: np.array(grad) for name, grad in self.net.grads.items()}}

    def problems(self, analytic: dict[str, np.ndarray], tol: float) -> tuple[str, ...]:
        """What is wrong besides gradients, as sentences."""
        found = []
        who = self.net.who
        if not np.allclose(self.values(), self.base, rtol=1e-9, atol=1e-12):
            found.append(f"{who}: forward differs from call to call; draw random numbers from a Generator in self.rng")
        x = self.x.copy()
        y = self.output(x)
        if not np.array_equal(self.x, x):
            found.append(f"{who}: forward wrote to its input")
        dy = self.delta(y)
        before = dy.copy()
        self.net.backward(dy, input_grad=False)
        if not np.array_equal(dy, before):
            found.append(f"{who}: backward wrote to dy")
        for name, grad in self.net.grads.items():
            if not np.allclose(grad, analytic[name], rtol=tol, atol=tol * FLOOR, equal_nan=True):
                found.append(f"{who}: a second backward, with input_grad=False, gave another gradient of {name!r}")
        return tuple(found)


def _compare(
    f: _Function, flat: np.ndarray, analytic: np.ndarray, picks: np.ndarray, tol: float, step: float
) -> tuple[float, int]:
    """Error of one array's gradient, and how many of its entries lie at kinks."""
    a = analytic[picks]
    sides = [f.slopes(flat, i, _size(flat[i], step)) for i in picks]
    n = np.array([(right + left) / 2 for right, left in sides])
    finite = np.concatenate([a[np.isfinite(a)], n])
    scale = float(np.max(np.abs(finite), initial=FLOOR))
    smooth = np.ones(len(picks), bool)
    for j in np.flatnonzero(~(np.abs(a - n) <= tol * scale)):
        n[j], smooth[j] = _look_closer(f, flat, picks[j], a[j], sides[j], _size(flat[picks[j]], step), tol * scale)
    return float(np.max(np.abs(a - n)[smooth], initial=0.0)) / scale, int(np.sum(~smooth))


def _size(value: float, step: float) -> float:
    """Give h for this value."""
    return step * max(1.0, abs(value))


def _look_closer(
    f: _Function, flat: np.ndarray, i: int, a: float, sides: tuple[float, float], h: float, limit: float
) -> tuple[float, bool]:
    """The slope from smaller steps where the first is off, and whether f is smooth there."""
    closer = sides
    for divisor in SHRINK:
        closer = f.slopes(flat, i, h / divisor)
        n = sum(closer) / 2
        if abs(a - n) <= limit:
            return n, True
    return sum(sides) / 2, not _is_kink(a, sides, closer, limit)


def _is_kink(a: float, sides: tuple[float, float], closer: tuple[float, float], limit: float) -> bool:
    """Whether the slopes to both sides keep their distance as h shrinks, with `a` between them.

    At a jump the distance grows as h shrinks: that is not a kink.
    """
    distance, distance_closer = abs(sides[0] - sides[1]), abs(closer[0] - closer[1])
    stays = max(limit, distance / 16) < distance_closer < 2 * distance
    curvature = sum(abs(wide - near) for wide, near in zip(sides, closer, strict=True)) / 32
    margin = limit + min(curvature, distance_closer / 4)
    return bool(stays and min(closer) - margin <= a <= max(closer) + margin)


def _is_generator(value: Any) -> bool:
    return isinstance(value, np.random.Generator)


def _check_arguments(layer: Any, loss: Any, target: Any, tol: Any, step: Any, samples: Any) -> None:
    if not isinstance(layer, Layer):
        hint = f": give an instance, {layer.__name__}(...)" if isinstance(layer, type) else ""
        raise TypeError(f"gradcheck needs a Layer; got {layer!r}{hint}")
    if layer.built and not layer.flat_params.flags.writeable:
        raise RuntimeError("gradcheck needs a layer that trains; this net was made by for_inference()")
    if loss is not None and target is None:
        raise ValueError("gradcheck: a loss needs a target")
    if loss is None and target is not None:
        raise ValueError("gradcheck: a target needs a loss")
    for name, value in (("tol", tol), ("step", step)):
        if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value < np.inf:
            raise ValueError(f"gradcheck: {name} must be a number above 0; got {value!r}")
    if samples is not None and (isinstance(samples, bool) or not isinstance(samples, int | np.integer) or samples < 1):
        raise ValueError(f"gradcheck: samples must be an int of at least 1; got {samples!r}")

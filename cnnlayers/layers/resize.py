"""Images of another size: pixels dropped or repeated, or values in between."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ..checks import as_flag, as_number, as_sizes, check_bytes, sizes_and_channels, with_batch
from ..geometry import per_axis
from .layer import Layer
from .resample import COORDINATES, ROUNDINGS, Axis, Matrix, Rule, resampling

MODES = ("nearest", "bilinear", "bicubic")


class Resize(Layer):
    """y = x with its spatial axes resampled to another size, larger or smaller.

    Forward     Y = R_h X R_wᵀ for each channel, R_h and R_w the matrices that resample rows and columns
    Backward    dL/dX = R_hᵀ δ R_w       (δ = dL/dY)

    A row of R has a 1 at the pixel that is nearest, or the weights of those around: 2 along each axis (bilinear) or 4
    (bicubic). Where they lie is said by `coordinates`. By default bilinear and bicubic take a pixel for a small square,
    whose middle is half a pixel from its start, and nearest takes the pixel in which the square of y starts: PyTorch's
    `interpolate` with align_corners=False. Beyond the ends the outermost pixels go on.

    For whole factors `Upsample` does the same, more quickly.

    Shapes      x (N, H, W, C);  y (N, *size, C);  signals (N, L, C) likewise
    Errors      ValueError if x is neither images nor signals, or nothing would be left of it
    Source      R. Keys, "Cubic Convolution Interpolation for Digital Image Processing", 1981; the options are those of
                the operator Resize of ONNX
    Twin        reference.resize.resize_backward

    Parameters
    ----------
    size : int or one int per spatial axis, optional
    mode : {"nearest", "bilinear", "bicubic"}
        For signals "bilinear" is linear, "bicubic" cubic.
    scale : float or one float per spatial axis, optional
        In place of a size: n pixels become floor(scale n). With both, the size holds, and places follow the scale.
        Without it the scale is what the sizes give, m / n.
    coordinates : str, optional
        Where among the pixels of x, of which pixel j is at j, output i is, for a scale s and n pixels that become m:

        - "half_pixel": at (i + 1/2) / s - 1/2; "pytorch_half_pixel": the same, but at 0 if m is 1;
          "half_pixel_symmetric": at (n - 1)/2 + (i - (m - 1)/2) / s, so that the middles meet, also if m is not s n
        - "asymmetric": at i / s
        - "align_corners": at i (n - 1) / (s n - 1): the outermost pixels are at the same places
        - "tf_crop_and_resize": as this, for the part of x that `roi` says

        By default "asymmetric" for nearest, else "half_pixel".
    rounding : {"floor", "ceil", "round_prefer_floor", "round_prefer_ceil"}
        How nearest makes a whole number of a place: the last two differ in halves. PyTorch's "nearest-exact" is
        coordinates="half_pixel" and rounding="round_prefer_ceil".
    cubic_coeff : float
        Of the cubic. Pillow, and PyTorch with antialias, have -0.5.
    exclude_outside : bool
        Pixels beyond the ends have no weight, and the others have more. What reads none within is 0.
    antialias : bool
        Where x is made smaller, average over all its pixels, by a kernel that is as much wider. PyTorch's and Pillow's
        is with exclude_outside=True.
    roi : one (start, end) pair per spatial axis, optional
        For "tf_crop_and_resize": 0 is the first pixel, 1 the last.
    value : float
        What y is where "tf_crop_and_resize" leaves x.

    Examples
    --------
    >>> Resize(4).forward([[[1.0], [5.0]]])[0, :, 0]
    array([1., 2., 4., 5.], dtype=float32)
    >>> Resize(scale=1.5, mode="nearest").forward([[[1.0], [5.0]]])[0, :, 0]
    array([1., 1., 5.], dtype=float32)
    """

    resizable = True

    def __init__(
        self,
        size=None,
        mode="bilinear",
        *,
        scale=None,
        coordinates=None,
        rounding="floor",
        cubic_coeff=-0.75,
        exclude_outside=False,
        antialias=False,
        roi=None,
        value=0.0,
    ):
        if size is None and scale is None:
            raise ValueError("Resize needs a size, a scale or both; got neither")
        self.size = None if size is None else as_sizes("Resize", "size", size)
        self.scale = None if scale is None else _as_scale(scale)
        self.mode = _one_of("mode", mode, MODES)
        self.coordinates = None if coordinates is None else _one_of("coordinates", coordinates, COORDINATES)
        self.rounding = _one_of("rounding", rounding, ROUNDINGS)
        self.cubic_coeff = as_number("Resize", "cubic_coeff", cubic_coeff)
        self.exclude_outside = as_flag("Resize", "exclude_outside", exclude_outside)
        self.antialias = as_flag("Resize", "antialias", antialias)
        self.roi = None if roi is None else _as_roi(roi)
        self.value = as_number("Resize", "value", value)
        if self.antialias and mode == "nearest":
            raise ValueError("Resize: antialias=True needs mode 'bilinear' or 'bicubic'; got mode='nearest'")
        if (self.roi is None) == (coordinates == "tf_crop_and_resize"):
            raise ValueError(
                f"Resize: roi goes with coordinates='tf_crop_and_resize'; got roi={roi!r} and {coordinates=}"
            )

    def forward(self, x, train=True):
        matrices = self._matrices(x.shape[1:])
        self.keep(matrices)
        y = x
        for axis, R in enumerate(matrices, start=1):
            y = R.times(y, axis)  # R_h X, then R_h X R_wᵀ
        for axis, R in enumerate(matrices, start=1):
            y[(slice(None),) * axis + (R.outside,)] = self.value
        return y

    def backward(self, dy, input_grad=True):
        (matrices,) = self.take()
        for axis, R in enumerate(matrices, start=1):
            dy = R.T.times(dy, axis)  # R_hᵀ δ, then R_hᵀ δ R_w
        return dy

    @property
    def rule(self) -> Rule:
        """How each axis is resampled."""
        coordinates = self.coordinates or ("asymmetric" if self.mode == "nearest" else "half_pixel")
        return Rule(self.mode, coordinates, self.rounding, self.cubic_coeff, self.exclude_outside, self.antialias)

    @property
    def averages(self) -> bool:
        """Whether each number of y is a mean of numbers of x: no weight is negative, and all read something."""
        may_read_nothing = self.exclude_outside and (self.mode == "nearest" or None not in (self.size, self.scale))
        return self.mode != "bicubic" and self.roi is None and not may_read_nothing

    def axes(self, input_shape) -> list[Axis]:
        """Give what each spatial axis of such a sample becomes."""
        sizes, _ = sizes_and_channels("Resize", input_shape)
        rank = len(sizes)
        scales = _per_axis("scale", self.scale, rank)
        for n, scale in zip(sizes, scales, strict=True):
            if scale is not None and not 0.5 <= scale * n < math.inf:
                raise ValueError(f"{self!r} makes {scale * n:.3g} pixels of {n}; got shape {with_batch(input_shape)}")
        if self.size is None:
            made = tuple(math.floor(scale * n) for scale, n in zip(scales, sizes, strict=True))
        else:
            made = per_axis("Resize", "size", self.size, rank)
        if 0 in made:
            raise ValueError(f"{self!r} would leave no pixel; got shape {with_batch(input_shape)}")
        rois = [None] * rank if self.roi is None else _per_axis("roi", self.roi, rank)
        return [Axis(*each) for each in zip(sizes, made, scales, rois, strict=True)]

    def output_shape(self, input_shape):
        shape = (*(axis.m for axis in self.axes(input_shape)), input_shape[-1])
        check_bytes("Resize", "an output", shape, 4)
        return shape

    def _matrices(self, input_shape) -> list[Matrix]:
        return [resampling(axis, self.rule) for axis in self.axes(input_shape)]


def _one_of(name: str, value: Any, known: Iterable[str]) -> str:
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"Resize: {name} must be one of {', '.join(map(repr, known))}; got {value!r}")
    return value


def _as_scale(scale: Any) -> float | tuple[float, ...]:
    if not isinstance(scale, Iterable) or isinstance(scale, str):
        return as_number("Resize", "scale", scale, low=0, open_low=True)
    scales = tuple(as_number("Resize", "scale", each, low=0, open_low=True) for each in scale)
    if len(scales) not in (1, 2):
        raise ValueError(f"Resize: scale must be a number, or one number per spatial axis; got {scale!r}")
    return scales


def _as_roi(roi: Any) -> tuple[tuple[float, ...], ...]:
    pairs = [] if isinstance(roi, str) or not isinstance(roi, Iterable) else list(roi)
    if len(pairs) not in (1, 2) or any(isinstance(p, str) or not isinstance(p, Iterable) for p in pairs):
        raise ValueError(f"Resize: roi must be a (start, end) pair per spatial axis; got {roi!r}")
    made = tuple(tuple(as_number("Resize", "roi", each) for each in pair) for pair in pairs)
    if any(len(pair) != 2 for pair in made):
        raise ValueError(f"Resize: roi must be a (start, end) pair per spatial axis; got {roi!r}")
    return made


def _per_axis(name: str, values: Any, rank: int) -> tuple:
    """One for each axis, checked."""
    if not isinstance(values, tuple):
        return (values,) * rank
    if len(values) != rank:
        raise ValueError(f"Resize: {name} needs one entry for each of {rank} spatial axes; got {values!r}")
    return values

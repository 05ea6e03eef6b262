"""Pictures of pictures: filters, activations, mistakes, and where a net looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...layers.layer import Layer
from ...layers.scores import class_scores
from .. import insight
from .numbers import names_of
from .style import BLUE, BODY, LINE, MUTED, ORANGE, SMALL, drawn, heading, picture, sheet

MOST = 64  # pictures in one figure
GAP = 0.07  # inches
HEAD = 0.6
HEAT = (1.0, 0.55, 0.1, 0.85)  # RGBA of what speaks for a class most
WIDTH = 10.2
SMALLER = 0.56  # side of a filter or map: sixteen fill a row


@drawn
def filters(net: Layer, most: int = MOST) -> Any:
    """Draw the filters of the first layer with weights: in colour where it sees RGB, else in grey.

    Mid-grey is 0; all filters share one scale. With other than 1 or 3 channels, each channel of a filter is a picture.

    Parameters
    ----------
    net : Layer
        It begins with Conv, or with Affine on an image's pixels.
    most : int
        How many pictures to show, at most.

    Returns
    -------
    matplotlib.figure.Figure
    """
    name, w = insight.filters(net)
    if w.ndim == 3:  # signals: time goes right, channels go down
        w = np.swapaxes(w, 1, 2)[..., None]
    scale = float(np.abs(w).max()) or 1.0
    planes = w if w.shape[-1] in (1, 3) else np.moveaxis(w, -1, 1).reshape(-1, *w.shape[1:3], 1)
    size = " x ".join(map(str, w.shape[1:]))
    said = f"{len(w)} filters of {size}; {_shown(planes, most)}mid-grey is 0, black {-scale:.2g}, white {scale:.2g}"
    return _contact_sheet([_grey_or_colour(p) for p in 0.5 + planes[:most] / (2 * scale)], _title(net, name), said)


@drawn
def activations(net: Layer, x: Any, layer: Layer | str | None = None, most: int = MOST) -> Any:
    """Draw what one layer makes of one image: a picture per channel, or a bar per unit.

    Parameters
    ----------
    net : Layer
        It is left as it is.
    x : array (H, W, C) or (1, H, W, C)
    layer : str or Layer, optional
        The layer, or its dotted name; by default the last one that gives images.
    most : int
        How many channels to show, at most.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the net has no such layer, the layer has no output of its own, or x is not one image.
    """
    seen = insight.outputs(net, one(net, x))
    if layer is None:
        spatial = [name for name, y in seen.items() if y.ndim == 4 and y.shape[1] * y.shape[2] > 1]
        name = spatial[-1] if spatial else list(seen)[-1]
    else:
        name = insight.name_of(net, layer, "plot.activations")
    if name not in seen:
        raise ValueError(f"plot.activations: layer {name!r} gave no output of its own")
    y = seen[name][0]
    if y.ndim == 1:
        return _units(y, _title(net, name))
    if y.ndim == 2:  # signals: time goes right, channels go down
        y = y.T[..., None]
    low, high = float(y.min()), float(y.max())
    maps = np.moveaxis(y, -1, 0)
    size = " x ".join(map(str, y.shape[:2]))
    said = f"{len(maps)} maps of {size}; {_shown(maps, most)}dark is {low:.2g}, bright {high:.2g}"
    return _contact_sheet(list(maps[:most]), _title(net, name), said, cmap="cividis", vmin=low, vmax=high)


@drawn
def mistakes(
    net: Layer,
    x: Any,
    y: Any,
    classes: Sequence[str] | None = None,
    count: int = 16,
    *,
    scores: Any = None,
    titled: bool = True,
) -> Any:
    """Draw the images that the net gets most wrong; where few are wrong, those that it is least sure of follow.

    Parameters
    ----------
    net : Layer
        It gives scores (N, C).
    x : array (N, H, W, C)
    y : array (N,) of int
    classes : sequence of str, optional
        Names; by default those that the net was saved with, or numbers.
    count : int
        How many images to show, at most.
    scores : array (N, C), optional
        What `net.predict(x)` gave, where it is known.
    titled : bool
        Whether to write a title above.

    Returns
    -------
    matplotlib.figure.Figure
    """
    x = np.asarray(x)
    scores = np.asarray(net.predict(x) if scores is None else scores)
    found = insight.hardest(net, x, y, count, scores=scores)
    names = names_of(net, classes, class_scores(net, scores).shape[1])
    pictures = as_pictures(x, found.index)
    columns, step = min(len(pictures), 8), WIDTH / 8
    width, high = _tile(pictures, step - 0.15)
    row = high + 2 * LINE + 0.2
    head = HEAD if titled else 0.1
    fig, ax = sheet(max(columns * step, 4.2), head + -(-len(pictures) // columns) * row)
    if titled:
        sure = "" if found.wrong >= len(pictures) else "; then, in blue, those that are right but least sure"
        heading(ax, "mistakes", f"{found.wrong} of {len(x)} wrong, the worst first, each with the net's answer{sure}")
    for k, image in enumerate(pictures):
        left, top = 0.1 + k % columns * step, head + k // columns * row
        picture(ax, image, left, top, width, high, **_scale(image))
        answer, true = names[found.predicted[k]], names[found.label[k]]
        wrong = found.label[k] != found.predicted[k]
        lines = [f"{_short(answer)}, {found.probability[k]:.0%}"]
        lines += [f"true: {_short(true)}, {found.true_probability[k]:.0%}" if wrong else "right"]
        for i, (text, colour) in enumerate(zip(lines, (ORANGE if wrong else BLUE, MUTED), strict=True)):
            weight = "normal" if i else "bold"
            ax.text(left, top + high + LINE * (i + 0.75), text, size=SMALL, color=colour, weight=weight, va="center")
    return fig


@drawn
def saliency(
    net: Layer, x: Any, target: Any = None, classes: Sequence[str] | None = None, *, titled: bool = True
) -> Any:
    """Draw images, and below them how much each pixel matters for the class: max over channels of |dscore/dx|.

    Parameters
    ----------
    net : Layer
        It gives scores (N, C); it is left as it is.
    x : array (N, H, W, C) or (H, W, C)
        A few images.
    target : int or array (N,) of int, optional
        The class; by default the one that the net predicts.
    classes : sequence of str, optional
        Names; by default those that the net was saved with, or numbers.
    titled : bool
        Whether to write a title above.

    Returns
    -------
    matplotlib.figure.Figure
    """
    x = several(net, x)
    maps = insight.saliency(net, x, target)
    return _rows(net, x, target, classes, "saliency" if titled else "", [("pixels", _saliency_pictures(maps))])


@drawn
def grad_cam(
    net: Layer,
    x: Any,
    layer: Layer | str | None = None,
    target: Any = None,
    classes: Sequence[str] | None = None,
    *,
    titled: bool = True,
) -> Any:
    """Draw images, and below them which regions speak for the class, by Grad-CAM.

    Parameters
    ----------
    net : Layer
        It gives scores (N, C); it is left as it is.
    x : array (N, H, W, C) or (H, W, C)
        A few images.
    layer : str or Layer, optional
        Whose output to look at; by default the last one that gives images and is not a pool.
    target, classes, titled
        As for `saliency`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    x = several(net, x)
    maps = insight.grad_cam(net, x, layer, target)
    return _rows(net, x, target, classes, "Grad-CAM" if titled else "", [("regions", _overlays(x, maps))])


@drawn
def evidence(
    net: Layer, x: Any, target: Any = None, classes: Sequence[str] | None = None, *, titled: bool = True
) -> Any:
    """Draw images, and below them both `saliency` and `grad_cam`.

    Parameters
    ----------
    net, x, target, classes, titled
        As for `saliency`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    x = several(net, x)
    rows: list[tuple[str, list]] = [
        ("pixels", _saliency_pictures(insight.saliency(net, x, target))),
        ("regions", _overlays(x, insight.grad_cam(net, x, None, target))),
    ]
    return _rows(net, x, target, classes, "what speaks for the class" if titled else "", rows)


# Batches and pictures


def several(net: Layer, x: Any) -> np.ndarray:
    """A batch of images, of which one may have come without the batch axis."""
    x = np.asarray(x)
    x = x[None] if net.input_shape is not None and x.ndim == len(net.input_shape) else x
    if x.ndim != 4 or len(x) == 0:
        raise ValueError(f"images (N, H, W, C) are needed, at least one; got shape {x.shape}")
    return x


def one(net: Layer, x: Any) -> np.ndarray:
    """A batch of one."""
    x = np.asarray(x)
    x = x[None] if net.input_shape is not None and x.ndim == len(net.input_shape) else x
    if len(x) != 1:
        raise ValueError(f"one image is needed, (H, W, C) or (1, H, W, C); got shape {x.shape}")
    return x


def as_pictures(x: Any, index: Any = slice(None)) -> list[np.ndarray]:
    """Images as matplotlib shows them: (H, W) or (H, W, 3), 0 to 1, scaled by the extremes of all of x.

    uint8 photographs keep their own scale; with other than 1 or 3 channels, it is the mean over them.
    """
    x = np.asarray(x)
    if x.ndim != 4:
        raise ValueError(f"images (N, H, W, C) are needed; got shape {x.shape}")
    chosen = x[index].astype(float)
    own = x.dtype == np.uint8 and x.max() > 127
    low, high = (0.0, 255.0) if own else (float(x.min()), float(x.max()))
    chosen = (chosen - low) / ((high - low) or 1.0)
    return [_grey_or_colour(image if image.shape[-1] in (1, 3) else image.mean(axis=-1)) for image in chosen]


def _grey_or_colour(image: np.ndarray) -> np.ndarray:
    return image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image


def _scale(image: np.ndarray) -> dict[str, Any]:
    return {"cmap": "gray", "vmin": 0, "vmax": 1} if image.ndim == 2 else {}


def _tile(pictures: Sequence[np.ndarray], width: float) -> tuple[float, float]:
    """Width and height of each picture in inches, at most `width` wide and high."""
    h, w = pictures[0].shape[:2]
    scale = width / max(h, w)
    return w * scale, h * scale


def _title(net: Layer, name: str) -> str:
    layer = dict(net.walk())[name]
    text = f"layer {name}: {layer.who}" if name else layer.who
    return text if len(text) < 80 else f"{text[:78]}…"


def _shown(pictures: Any, most: int) -> str:
    return f"the first {most} of {len(pictures)} pictures; " if len(pictures) > most else ""


# Sheets


def _contact_sheet(pictures: list[np.ndarray], title: str, said: str, **options: Any) -> Any:
    """Equal pictures side by side."""
    h, w = pictures[0].shape[:2]
    wide = w > 4 * h  # signals
    width, high = (3.4, max(0.12, 3.4 * h / w)) if wide else _tile(pictures, SMALLER)
    columns = _columns(len(pictures), max(1, int((WIDTH - 0.1) / (width + GAP))))
    rows = -(-len(pictures) // columns)
    fig, ax = sheet(max(0.2 + columns * (width + GAP), 5.6), HEAD + rows * (high + GAP) + 0.05)
    heading(ax, title, said)
    for k, image in enumerate(pictures):
        left, top = 0.1 + k % columns * (width + GAP), HEAD + k // columns * (high + GAP)
        shown = image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
        picture(ax, shown, left, top, width, high, **(options or _scale(shown)))
    return fig


def _columns(count: int, most: int) -> int:
    """How many pictures go side by side: rows of equal length, if they need not be short for it."""
    if count <= most:
        return count
    even = [columns for columns in range(most, most // 2, -1) if count % columns == 0]
    return even[0] if even else most


def _units(y: np.ndarray, title: str) -> Any:
    """A bar for each unit, above or below 0."""
    from matplotlib.patches import Rectangle

    fig, ax = sheet(WIDTH, 2.2)
    low, high = min(float(y.min()), 0.0), max(float(y.max()), 0.0)
    heading(ax, title, f"{len(y)} units, from {float(y.min()):.2g} to {float(y.max()):.2g}")
    unit = 1.3 / ((high - low) or 1.0)
    zero, step = HEAD + 0.05 + high * unit, (WIDTH - 0.2) / len(y)
    for k, value in enumerate(y):
        colour = BLUE if value >= 0 else ORANGE
        ax.add_patch(Rectangle((0.1 + k * step, zero), step * 0.8, -value * unit, facecolor=colour, linewidth=0))
        if len(y) <= 40:
            ax.text(0.1 + (k + 0.4) * step, HEAD + 1.5, str(k), ha="center", va="center", color=MUTED, size=SMALL)
    return fig


def _saliency_pictures(maps: np.ndarray) -> list[tuple[np.ndarray, dict[str, Any]]]:
    """Each map by its own largest value."""
    return [(m / (m.max() or 1.0), {"cmap": "magma", "vmin": 0, "vmax": 1}) for m in maps]


def _overlays(x: np.ndarray, maps: np.ndarray) -> list[list[tuple[np.ndarray, dict[str, Any]]]]:
    """Each image in grey, and over it the map in orange: the denser, the more the region speaks for the class."""
    layers = []
    for image, heat in zip(as_pictures(x), maps, strict=True):
        grey = image if image.ndim == 2 else image.mean(axis=-1)
        veil = np.empty((*heat.shape, 4))
        veil[...] = HEAT
        veil[..., 3] *= heat / (heat.max() or 1.0)
        layers.append([(grey, _scale(grey)), (veil, {"interpolation": "bilinear"})])
    return layers


def _rows(net: Layer, x: np.ndarray, target: Any, classes: Any, title: str, rows: list[tuple[str, list]]) -> Any:
    """Images in a row, above each what the net makes of it, under each the maps that belong to it."""
    p = insight.probabilities(net, x)
    chosen = p.argmax(axis=1) if target is None else np.broadcast_to(np.asarray(target), len(x))
    names = names_of(net, classes, p.shape[1])
    pictures = as_pictures(x)
    label = 0.75
    size = min(1.2, max(0.7, (WIDTH - label) / len(x) - GAP))
    width, high = _tile(pictures, size)
    head = (HEAD if title else 0.1) + LINE * 2
    fig, ax = sheet(max(label + len(x) * (width + GAP) + 0.1, 5.6), head + (len(rows) + 1) * (high + GAP))
    if title:
        heading(ax, title, _LEGENDS[title])
    for k, image in enumerate(pictures):
        left, top = label + k * (width + GAP), head
        ax.text(left, top - LINE * 1.45, _short(names[chosen[k]]), size=BODY, weight="bold", va="center")
        ax.text(left, top - LINE * 0.5, f"{p[k, chosen[k]]:.0%}", size=SMALL, color=MUTED, va="center")
        picture(ax, image, left, top, width, high, **_scale(image))
        for row, (_, maps) in enumerate(rows, start=1):
            for layer, options in maps[k] if isinstance(maps[k], list) else [maps[k]]:
                picture(ax, layer, left, top + row * (high + GAP), width, high, **options)
    for row, name in enumerate(["image", *(name for name, _ in rows)]):
        middle = head + row * (high + GAP) + high / 2
        ax.text(0.1, middle, name, size=SMALL, color=MUTED, va="center")
    return fig


def _short(name: str) -> str:
    return name if len(name) <= 12 else f"{name[:11]}…"


_LEGENDS = {
    "saliency": "bright pixels: a small change there moves the score of the class most",
    "Grad-CAM": "orange regions: what is there raises the score of the class",
    "what speaks for the class": "pixels: saliency, bright where a small change moves the score most;  "
    "regions: Grad-CAM, orange where the score gains",
}

"""Tables and small curves as HTML, for notebooks, which ask an object for it by `_repr_html_`.

What comes out is well-formed, stands by itself and takes the notebook's colours and type, light or dark. It holds no
script. All texts are escaped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping, Sequence
from html import escape

from .names import readable

__all__ = ["block", "chart", "note", "side_by_side", "table"]

COLOURS = ("#0072b2", "#d55e00")  # both stand out on white and on black
WIDTH, HEIGHT, LEFT, EDGE = 270, 96, 56, 5  # of a chart; the room for its numbers, and around the lines
MOST_POINTS = 300  # of a line: more are not seen
MARGIN, INDENT = 6, 9  # pixels before a cell's text, as in STYLE, and for each space that the text begins with

STYLE = """
.cnnlayers { font-size: 13px; line-height: 1.4; }
.cnnlayers .scroll { max-width: 100%; max-height: 60em; overflow: auto; }
.cnnlayers table { margin: 0; border: 0; border-collapse: collapse; font-size: inherit; color: inherit;
  font-variant-numeric: tabular-nums; }
.cnnlayers table th, .cnnlayers table td { padding: 2px 14px 2px 6px; border: 0; text-align: right; white-space: pre;
  max-width: none; }
.cnnlayers table th { font-weight: 600; }
.cnnlayers table .left { text-align: left; }
.cnnlayers table thead th { border-bottom: 1px solid #8888; }
.cnnlayers table tfoot td { border-top: 1px solid #8888; font-weight: 600; }
.cnnlayers table .marked { color: #d55e00; font-weight: 700; }
.cnnlayers p { margin: 4px 6px; white-space: pre-wrap; }
.cnnlayers .beside { display: flex; flex-wrap: wrap; gap: 8px 28px; margin-bottom: 8px; }
.cnnlayers figure { margin: 0; padding: 0; }
.cnnlayers figcaption { display: flex; gap: 12px; font-variant-numeric: tabular-nums; }
.cnnlayers svg { display: block; max-width: 100%; }
"""


def block(*parts: str) -> str:
    """Put parts that are HTML already under each other, as what one cell shows."""
    return "\n".join(['<div class="cnnlayers">', f"<style>{STYLE}</style>", *filter(None, parts), "</div>"])


def table(rows: Sequence[Sequence[str]], left: int | None = None, marked: Container[str] = ()) -> str:
    """Give the table that `tables.columns(rows, left)` sets as text: the same rows, of which the first is the head.

    What follows a RULE further down is the foot. Spaces before a cell's text indent it. Cells whose text is among
    `marked` stand out.
    """
    head, *rest = rows
    to_the_left = len(head) if left is None else left
    parts: list[list[Sequence[str]]] = [[]]  # what stands between the rules
    for row in rest:
        if row:
            parts[-1].append(row)
        elif parts[-1]:
            parts.append([])
    body, foot = parts[0], [row for part in parts[1:] for row in part]

    def line(row: Sequence[str], tag: str) -> str:
        return f"<tr>{''.join(_cell(cell, tag, i < to_the_left, cell in marked) for i, cell in enumerate(row))}</tr>"

    lines = ['<div class="scroll"><table>', "<thead>", line(head, "th"), "</thead>"]
    for section, part in (("tbody", body), ("tfoot", foot)):
        if part:
            lines += [f"<{section}>", *(line(row, "td") for row in part), f"</{section}>"]
    return "\n".join([*lines, "</table></div>"])


def note(text: str) -> str:
    """Give a line of text, to stand under a table."""
    return f"<p>{_escaped(text)}</p>"


def side_by_side(*parts: str) -> str:
    """Put charts beside each other, as far as there is room."""
    return "\n".join(['<div class="beside">', *parts, "</div>"]) if parts else ""


def chart(title: str, lines: Mapping[str, Sequence[float]], show: Callable[[float], str]) -> str:
    """Draw values by epoch, a line for each of one or two names, on one scale, whose ends are written beside it.

    Above the lines stand the title and the last value of each; `show` says how values are written. A value that is not
    finite is left out, and its line broken.
    """
    finite = [value for values in lines.values() for value in values if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    longest = max(map(len, lines.values()))

    def place(i: int, value: float) -> str:
        x = LEFT + EDGE + (WIDTH - LEFT - 2 * EDGE) * (i / (longest - 1) if longest > 1 else 0.5)
        y = HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * ((value - low) / (high - low) if high > low else 0.5)
        return f"{x:.1f},{y:.1f}"

    drawn, legend = [], [f"<b>{_escaped(title)}</b>"]
    for colour, (name, values) in zip(COLOURS[: len(lines)], lines.items(), strict=True):
        dot = f'<span style="color: {colour}">●</span>'
        legend.append(f"<span>{dot} {_escaped(name)} {_escaped(show(values[-1]))}</span>")
        for run in _runs(values):
            points = " ".join(place(i, values[i]) for i in run)
            width = 1.8 if len(set(run)) > 1 else 5  # a single value is a dot
            drawn.append(f'<polyline points="{points}" stroke="{colour}" stroke-width="{width}"/>')
    scale = [f'<text x="{LEFT - 4}" y="{EDGE + 6}">{_escaped(show(high))}</text>'] if finite else []
    scale += [f'<text x="{LEFT - 4}" y="{HEIGHT - EDGE}">{_escaped(show(low))}</text>'] if high > low else []
    ends = (f"{name} from {show(values[0])} to {show(values[-1])}" for name, values in lines.items())
    said = _escaped(f"{title} by epoch: {', '.join(ends)}")
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    axes = f"M{LEFT},0V{HEIGHT - 0.5}H{WIDTH}"
    return "\n".join(
        [
            f'<figure><figcaption style="padding-left: {LEFT}px">{"".join(legend)}</figcaption>',
            f'<svg {box} role="img" aria-label="{said}">',
            f'<path d="{axes}" fill="none" stroke="currentColor" stroke-opacity="0.35"/>',
            f'<g fill="currentColor" fill-opacity="0.75" font-size="10" text-anchor="end">{"".join(scale)}</g>',
            '<g fill="none" stroke-linecap="round" stroke-linejoin="round">',
            *drawn,
            "</g></svg></figure>",
        ]
    )


def _runs(values: Sequence[float]) -> list[list[int]]:
    """Places of finite values, in runs without a gap; a long line is thinned out, and keeps its last value."""
    every = -(-len(values) // MOST_POINTS)
    runs: list[list[int]] = [[]]
    for i in range((len(values) - 1) % every, len(values), every):
        if math.isfinite(values[i]):
            runs[-1].append(i)
        elif runs[-1]:
            runs.append([])
    return [run if len(run) > 1 else run * 2 for run in runs if run]  # a point is a line that ends where it began


def _cell(text: str, tag: str, to_the_left: bool, marked: bool) -> str:
    shown = text.lstrip(" ")
    indent = len(text) - len(shown)
    kinds = " ".join(["left"] * to_the_left + ["marked"] * marked)
    attributes = ' scope="col"' if tag == "th" else ""
    attributes += f' class="{kinds}"' if kinds else ""
    attributes += f' style="padding-left: {MARGIN + INDENT * indent}px"' if indent else ""
    return f"<{tag}{attributes}>{_escaped(shown)}</{tag}>"


def _escaped(text: str) -> str:
    return escape(readable(text))

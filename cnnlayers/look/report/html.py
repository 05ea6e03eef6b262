"""The HTML of the page: its frame and style, a section, and a picture as inline SVG."""

from __future__ import annotations

import io
import re
import warnings
from html import escape
from typing import Any

from ..plot.style import (
    BLUE,
    FAINT,
    FAMILY,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    PAPER,
    PURPLE,
    RULE,
    drawn_part,
    matplotlib_for,
)


def section(title: str, body: str, said: str) -> str:
    """A section: its title, what is said of it, and its body, which is HTML already."""
    return f"<section>\n<h2>{escape(title)}</h2>\n<p>{escape(said)}</p>\n{body}\n</section>"


def svg(fig: Any, key: str, label: str) -> str:
    """A figure as an <svg> element whose colours are the page's and whose ids are its own."""
    matplotlib = matplotlib_for("report.write")
    file = io.StringIO()
    settings = {"svg.fonttype": "none", "svg.hashsalt": "cnnlayers", "svg.image_inline": True}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # the browser's fonts have it
        box = drawn_part(fig)
        fig.savefig(file, format="svg", transparent=True, dpi=192, bbox_inches=box, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<style .*?</style>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"\bid=\"", f'id="{escape(key)}-', text)
    text = re.sub(r"url\(#", f"url(#{escape(key)}-", text)
    text = re.sub(r"xlink:href=\"#", f'href="#{escape(key)}-', text).replace("xlink:href=", "href=")
    text = text.replace(f"font-family: '{FAMILY}'", "font-family: var(--sans)")
    for colour, name in COLOURS.items():
        text = text.replace(colour, f"var(--{name})")
    width, height = (float(points) for points in re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text)[0])
    opening = (
        f'<svg viewBox="0 0 {width:g} {height:g}" style="max-width: {width * 96 / 72:.0f}px" role="img" '
        f'aria-label="{escape(label)}">'
    )
    return opening + text[text.index(">") + 1 :].strip()


COLOURS = {
    INK: "ink",
    MUTED: "muted",
    FAINT: "faint",
    RULE: "rule",
    PAPER: "paper",
    BLUE: "blue",
    ORANGE: "orange",
    GREEN: "green",
    PURPLE: "purple",
}

CSS = """
* { box-sizing: border-box; }
body { margin: 0; background: var(--desk); color: var(--ink); font: 16px/1.5 var(--sans); }
main, header, footer { max-width: 1080px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 40px; padding-bottom: 8px; }
h1 { margin: 0; font-size: 40px; line-height: 1.15; letter-spacing: -0.02em; }
h2 { margin: 0 0 4px; font-size: 21px; letter-spacing: -0.01em; }
.kicker { margin: 0 0 6px; color: var(--blue); font-weight: 600; }
.lead { margin: 8px 0 0; color: var(--muted); font-size: 18px; }
section, .facts {
  margin: 20px 0; padding: 24px 28px; background: var(--paper); border: 1px solid var(--rule); border-radius: 10px;
}
section > p { margin: 0 0 20px; max-width: 72ch; color: var(--muted); }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(220px, 1fr)); gap: 16px 28px; }
.facts div { min-width: 0; }
dt { color: var(--muted); font-size: 13px; }
dd { margin: 0; font-weight: 600; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.beside { display: grid; grid-template-columns: minmax(0, 580px) minmax(0, 1fr); gap: 32px; align-items: start; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th { color: var(--muted); font-weight: 400; font-size: 13px; text-align: left; }
th, td { padding: 5px 16px 5px 0; border-bottom: 1px solid var(--rule); }
th:nth-child(n + 3), td:nth-child(n + 3) { text-align: right; }
svg { display: block; width: 100%; height: auto; }
svg + svg { margin-top: 28px; }
svg * { stroke-linejoin: round; stroke-linecap: butt; }
pre { margin: 0; overflow-x: auto; font: 12.5px/1.5 var(--mono); }
footer { padding-top: 4px; padding-bottom: 40px; color: var(--muted); font-size: 13px; }
@media (max-width: 800px) { .beside { grid-template-columns: 1fr; } }
@media (max-width: 600px) { h1 { font-size: 30px; } section, .facts { padding: 18px 16px; } }
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{css}</style>
</head>
<body>
<header>
{head}
</header>
<main>
{facts}
{sections}
</main>
<footer>{foot}</footer>
</body>
</html>
"""

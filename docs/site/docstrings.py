"""Docstrings as the package writes them, to reStructuredText for Sphinx.

Before the numpydoc sections a docstring has, besides prose,

    Forward     y = x W + b                          equations, typeset
    Backward    dL/dx = δ Wᵀ
    Shapes      x (N, D);  y (N, M)                  fields: Shapes, Errors, Source, Twin
    d = g + weight_decay * w                         equations without a name, in a paragraph of their own

and names between single backticks, which become links where they are public.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from html import escape

from . import equations

EQUATIONS = ("Forward", "Backward")
FIELDS = ("Shapes", "Errors", "Source", "Twin")
BLOCK = re.compile(rf"^({'|'.join((*EQUATIONS, *FIELDS))}) {{2,}}(\S.*)$")
INDENT = 12  # of what follows the word
LINE_OF_EQUATION = re.compile(r"^(?:[a-zA-Z_]\w*'?\s+= \S|dL/d\w+ = )")
HEADER = re.compile(r"^-{3,}$")


def sections(text: str) -> dict[str, str]:
    """Cut a docstring into its parts: "" (what comes first), the blocks above, and numpydoc sections by name."""
    found: dict[str, list[str]] = {"": []}
    lines = inspect.cleandoc(text).splitlines()
    current = ""
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if HEADER.match(following) and line and not line.startswith(" "):
            current = line
            found[current] = []
        elif HEADER.match(line):
            continue
        elif current in ("", *EQUATIONS, *FIELDS) and (match := BLOCK.match(line)):
            current = match[1]
            found.setdefault(current, []).append(match[2])
        elif current in (*EQUATIONS, *FIELDS) and not line.startswith(" " * INDENT):
            current = ""
            found[current].append(line)
        else:
            found[current].append(line)
    return {name: "\n".join(lines).strip("\n") for name, lines in found.items()}


def to_rst(lines: list[str], link: Callable[[str], str | None]) -> list[str]:
    """Turn the lines of a docstring into reStructuredText; `link` gives the target of a name, if it has one."""
    out: list[str] = []
    section = ""
    chunks = _chunks(lines)
    for chunk in chunks:
        first = chunk[0]
        if len(chunk) > 1 and HEADER.match(chunk[1]):
            section = first
        if first.startswith(">>>") and section not in ("", "Examples"):
            section = "Examples"  # a doctest after the last section
            out += ["Examples", "--------"]
        if first.lstrip().startswith(">>>"):
            out += chunk
        elif not section and BLOCK.match(first):
            out += _blocks(chunk, link)
        elif not section and _is_equations(chunk):
            out += ["", *_typeset([("", line.strip()) for line in chunk]), ""]
        elif not section and first.startswith("    "):
            out += ["::", "", *chunk]
        else:
            out += _prose(chunk, link)
        out.append("")
    return out


def _chunks(lines: list[str]) -> list[list[str]]:
    """Paragraphs; a doctest is one of its own."""
    chunks: list[list[str]] = [[]]
    for line in lines:
        if not line.strip():
            chunks.append([])
        elif line.lstrip().startswith(">>>") and chunks[-1] and not chunks[-1][0].lstrip().startswith(">>>"):
            if HEADER.match(chunks[-1][-1]):  # the header of "Examples" is no paragraph with what comes after it
                chunks.append([line])
            else:
                chunks[-1].append(line)
        else:
            chunks[-1].append(line)
    return [chunk for chunk in chunks if chunk]


def _is_equations(chunk: list[str]) -> bool:
    return all(LINE_OF_EQUATION.match(line.strip()) and not line.rstrip().endswith((".", ":")) for line in chunk)


def _blocks(chunk: list[str], link: Callable[[str], str | None]) -> list[str]:
    """Equations and fields, in their order."""
    out: list[str] = []
    typeset: list[tuple[str, str]] = []
    fields: list[tuple[str, list[str]]] = []
    for line in chunk:
        match = BLOCK.match(line)
        if match and match[1] in EQUATIONS:
            typeset.append((match[1], match[2]))
        elif match:
            fields.append((match[1], [match[2]]))
        elif fields:
            fields[-1][1].append(line.strip())
        else:
            typeset.append(("", line[INDENT:]))
    if typeset:
        out += [*_typeset(typeset), ""]
    for name, lines in fields:
        if name == "Shapes":
            body = ["| " + _inline(line, link) for line in lines]
        elif name == "Twin":
            body = _inline(re.sub(r"reference\.\w+\.\w+", r"`\g<0>`", " ".join(lines)), link).splitlines()
        else:
            body = _inline("\n".join(lines), link).splitlines()
        out += [f":{name}:", *("    " + line for line in body)]
    return ["", *out, ""]


def _typeset(lines: list[tuple[str, str]]) -> list[str]:
    """A table of equations, as MathML."""
    rows = []
    for name, line in lines:
        head = f'<span class="equation-name">{name}</span>'
        rows.append(f'<div class="equation">{head}<span class="equation-line">{mathml(line)}</span></div>')
    return [".. raw:: html", "", *(f"    {row}" for row in ['<div class="equations">', *rows, "</div>"])]


def mathml(line: str) -> str:
    """Typeset one line: MathML, and words between."""
    from latex2mathml.converter import convert

    out = []
    for kind, part in equations.parts(line):
        if kind == "math":
            block = convert(part, display="block")  # sums have their limits below
            out.append(block.replace('display="block"', 'display="inline" displaystyle="true"', 1))
        elif kind == "words":
            out.append(f"<span>{escape(part)}</span>")
        else:
            out.append('<span class="equation-gap"></span>')
    return " ".join(out).replace("(</span> ", "(</span>").replace(" <span>)", "<span>)")


def _prose(chunk: list[str], link: Callable[[str], str | None]) -> list[str]:
    return _inline("\n".join(chunk), link).splitlines()


def _inline(text: str, link: Callable[[str], str | None]) -> str:
    """Escape what reStructuredText would read as markup, and make code and links of names between backticks."""
    pieces = re.split(r"(``[^`]+``|`[^`]+`)", text)
    for i, piece in enumerate(pieces):
        if piece.startswith("``"):
            continue
        if i % 2:
            name = piece.strip("`")
            target = link(name)
            pieces[i] = f":py:obj:`{name} <{target}>`" if target else f"``{name}``"
            if i + 1 < len(pieces) and re.match(r"\w", pieces[i + 1]):
                pieces[i] += "\\ "
        else:
            piece = re.sub(r"([*|\\])", r"\\\1", piece)
            pieces[i] = re.sub(r"(?<=\w)_(?=\W|$)", r"\\_", piece)
    return "".join(pieces)

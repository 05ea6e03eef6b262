"""What Sphinx is told; `python -m docs.site` calls it on the pages that `stage` gathers."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert

sys.path.insert(0, str(Path(__file__).parents[2]))

import cnnlayers as cl
from docs.site import docstrings, names

project = "cnnlayers"
author = copyright = "The cnnlayers authors"
version = release = cl.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
nitpicky = True
nitpick_ignore_regex = [("py:class", ".*")]  # the words of types: "array (N, C)"
exclude_patterns = ["_*"]
suppress_warnings = ["myst.header"]  # a page of messages has headings of one level under others

myst_heading_anchors = 4
myst_enable_extensions = ["attrs_block", "attrs_inline", "dollarmath"]
html_math_renderer = "mathml"

autodoc_typehints = "none"
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
add_module_names = False
toc_object_entries = False
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"cnnlayers {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = ["site.js", "../../versions.js"]
html_copy_source = False
html_domain_indices = False  # an index of modules
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}
pygments_style = "xcode"
pygments_dark_style = "monokai"
templates_path = ["templates"]

PUBLIC = {name.full: name.page for name in names.public()}
TWINS = {f"cnnlayers.reference.{module}" for module in names.modules_of_twins()}


def target_of(name: str, inside: str) -> str | None:
    """Give the full name of what a docstring of `inside` calls `name`, if it has a page."""
    name = name.removesuffix("()").removeprefix("cl.").removeprefix("cnnlayers.")
    if name.startswith("reference.") and f"cnnlayers.{name.rpartition('.')[0]}" in TWINS:
        return f"cnnlayers.{name}"
    rooms = [inside.rpartition(".")[0], "cnnlayers", *(f"cnnlayers.{group}" for group in names.MEANT)]
    return next((full for room in rooms if (full := f"{room}.{name}") in PUBLIC and full != inside), None)


def rewrite(app, what, name, obj, options, lines):
    """Give Sphinx a docstring in its language; sections of numpydoc are read after this."""
    lines[:] = docstrings.to_rst(list(lines), lambda other: target_of(other, name))


def signature(app, what, name, obj, options, arguments, returns):
    """Give the arguments of __init__ for classes whose __new__ takes any."""
    if what == "class" and "*args, **kwargs" in (arguments or ""):
        return re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", str(inspect.signature(obj))), returns
    return None


def link_names(app, doctree, docname):
    """Make links of public names that stand as code in pages: `cl.plot.curves`, or `Conv` and `Conv(16, 3)`."""
    for literal in list(doctree.findall(nodes.literal)):
        match = re.fullmatch(r"(cl\.)?([\w.]+)(?:\(.*\))?", literal.astext())
        if match is None or not (match[1] or match[2][0].isupper()) or f"cnnlayers.{match[2]}" not in PUBLIC:
            continue
        page = f"api/{PUBLIC[f'cnnlayers.{match[2]}']}"
        if docname == page or isinstance(literal.parent, nodes.reference):
            continue
        address = app.builder.get_relative_uri(docname, page)
        literal.replace_self(nodes.reference("", "", literal.deepcopy(), refuri=address, internal=True))


def trim(app, doctree):
    """Leave out the empty line that ends the doctests of pages."""
    for block in doctree.findall(nodes.literal_block):
        block.rawsource = block.astext().rstrip()  # where the two differ, Sphinx takes it for markup, without colours
        block[:] = [nodes.Text(block.rawsource)]


def inline_math(translator, node):
    """Write a formula between dollar signs, of the notebook, as MathML."""
    translator.body.append(convert(node.astext(), display="inline"))
    raise nodes.SkipNode


def display_math(translator, node):
    """Write one that has lines of its own."""
    translator.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def setup(app):
    """Hook in: docstrings before napoleon reads their sections."""
    app.connect("autodoc-process-docstring", rewrite, priority=400)
    app.connect("autodoc-process-signature", signature)
    app.add_html_math_renderer("mathml", (inline_math, None), (display_math, None))
    app.connect("doctree-read", trim)
    app.connect("doctree-resolved", link_names)

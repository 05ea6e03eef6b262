"""The pages that Sphinx reads: those of the repository, where they lie, and those that are made here."""

from __future__ import annotations

import inspect
import re
import shutil
from pathlib import Path
from typing import Any

import cnnlayers as cl

from . import gallery, names, notebook

ROOT = Path(__file__).parents[2]
README = "README.md"
TOUR = cl.explain.NAME

# The sidebar: a title, and the pages under it.
PARTS = {
    "Begin": [
        "README",
        "docs/tour",
        "docs/course",
        "examples/tour",
        "examples/index",
        "docs/which-layer",
        "docs/coming-from",
    ],
    "Use": ["docs/data", "docs/recipes", "docs/exchange", "docs/onnx", "docs/sklearn", "docs/scaling", "docs/errors"],
    "Every name": [],  # the groups of names.GROUPS
    "How it works": ["docs/architecture", "docs/winograd", "docs/performance", "docs/speedrun"],
    "The project": ["docs/platforms", "CHANGELOG", "CONTRIBUTING", "cnnlayers/data/README"],
}
TITLES = {
    "README": "Overview",
    "examples/tour": "A notebook",
    "docs/coming-from": "Coming from PyTorch or Keras",
    "docs/errors": "When something goes wrong",
    "CHANGELOG": "Changelog",
    "genindex": "Index",
    "cnnlayers/data/README": "The digits",
}


def gather(target: Path, ran: list[gallery.Ran], cells: list[dict[str, Any]]) -> None:
    """Write all pages into a folder that is made anew."""
    shutil.rmtree(target, ignore_errors=True)
    for page in pages():
        place = target / page
        place.parent.mkdir(parents=True, exist_ok=True)
        text = to_tour(page, to_examples((ROOT / page).read_text(encoding="utf-8")))
        place.write_text(text, encoding="utf-8")
    for picture in (ROOT / "docs").glob("*.svg"):
        shutil.copy(picture, target / "docs")
    shutil.copy(ROOT / "LICENSE", target)
    examples = target / "examples"
    examples.mkdir()
    for one in ran:
        shutil.copy(ROOT / "examples" / f"{one.name}.py", examples)
        pictures = examples / "pictures" / one.name
        pictures.mkdir(parents=True)
        for picture in one.pictures:
            shutil.copy(picture, pictures)
        (examples / f"{one.name}.md").write_text(gallery.page(one), encoding="utf-8")
    shutil.copy(notebook.PATH, examples)
    tour = notebook.page(cells, examples / "pictures" / notebook.NAME, f"pictures/{notebook.NAME}", to_examples)
    (examples / f"{notebook.NAME}.md").write_text(tour, encoding="utf-8")
    (examples / "index.md").write_text(gallery.index(ran), encoding="utf-8")
    api(target / "api")
    (target / "index.md").write_text(front(), encoding="utf-8")


def pages() -> list[str]:
    """Give the Markdown files of the repository that are pages."""
    found = [README, "CHANGELOG.md", "CONTRIBUTING.md", "cnnlayers/data/README.md"]
    return [*found, *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]


def to_tour(page: str, text: str) -> str:
    """Let the command that writes the tour of the course sheet lead to it: the site has it beside its front page."""
    return text.replace("`make explain`", f'<a href="{"../" * page.count("/")}{TOUR}">`make explain`</a>')


def to_examples(text: str) -> str:
    """Let links to an example's file lead to its page."""
    known = "|".join([*gallery.EXAMPLES, notebook.NAME])
    return re.sub(rf"(\]\((?:[\w./]*/)?(?:{known}))\.(?:py|ipynb)\)", r"\1.md)", text)


def front() -> str:
    """Write the front page: the README's first words and net, and ways on."""
    readme = (ROOT / README).read_text(encoding="utf-8")
    _, what, rest = re.split(r"^# .*\n|^## .*\n", readme, maxsplit=2, flags=re.MULTILINE)
    net = re.search(r"^## A net in fifteen lines\n(.*?)^With `rng`", rest, flags=re.MULTILINE | re.DOTALL)
    assert net is not None
    text = [f"# cnnlayers {cl.__version__}", "", what.strip(), "", CARDS, "", "## A net in fifteen lines", net[1]]
    for title, listed in PARTS.items():
        entries = listed or [f"api/{group}" for group in names.GROUPS] + ["api/reference", "genindex"]
        lines = [f"{TITLES[entry]} <{entry}>" if entry in TITLES else entry for entry in entries]
        text += ["```{toctree}", ":hidden:", f":caption: {title}", "", *lines, "```", ""]
    return "\n".join(text)


CARDS = f"""<div class="cards">
<a class="card" href="README.html"><b>First run</b><span>From a clone to a trained net with one command.</span></a>
<a class="card" href="{TOUR}"><b>Every number of a net</b><span>The course sheet to click through.</span></a>
<a class="card" href="docs/course.html"><b>The course sheet</b><span>Problem by problem, in code.</span></a>
<a class="card" href="docs/which-layer.html"><b>Which layer for what</b>
<span>Find the layer, then its equation.</span></a>
<a class="card" href="examples/index.html"><b>Examples</b><span>Ten scripts, and what they print and draw.</span></a>
<a class="card" href="docs/coming-from.html"><b>Coming from PyTorch or Keras</b>
<span>How each thing is spelled here.</span></a>
<a class="card" href="api/layers.html"><b>Every layer</b><span>Its equation, shapes and errors.</span></a>
<a class="card" href="docs/errors.html"><b>When something goes wrong</b><span>Messages, causes and cures.</span></a>
</div>
"""


def api(folder: Path) -> None:
    """Write a page for each public name, and one for each group."""
    folder.mkdir()
    public = names.public()
    for name in public:
        (folder / f"{name.page}.rst").write_text(page_of(name), encoding="utf-8")
    for group, title in names.GROUPS.items():
        members = [name for name in public if name.group == group]
        (folder / f"{group}.rst").write_text(group_page(group, title, members), encoding="utf-8")
    modules = names.modules_of_twins()
    for module in modules:
        text = [underlined(f"reference.{module}"), f".. automodule:: cnnlayers.reference.{module}", "   :members:", ""]
        (folder / f"reference.{module}.rst").write_text("\n".join(text), encoding="utf-8")
    listed = [f"   reference.{module}" for module in modules]
    text = [underlined("Twins: every equation in plain NumPy"), TWINS, "", ".. toctree::", "", *listed, ""]
    (folder / "reference.rst").write_text("\n".join(text), encoding="utf-8")


TWINS = """Slow, short, and meant to be read: ``cnnlayers.reference`` has each equation in NumPy. The tests compare the
kernels with it."""


def underlined(title: str) -> str:
    """Give a heading of reStructuredText."""
    return f"{title}\n{'=' * len(title)}\n"


def page_of(name: names.Name) -> str:
    """Write the page of one name."""
    lines = [underlined(name.path), ""]
    if isinstance(name.value, type):
        lines += [f".. autoclass:: {name.full}", "   :members:"]
        base, members = inherited(name.value)
        lines[-1] += f" {', '.join(members)}" if members else ""
        if not members:
            lines.pop()
        if base:
            lines += ["", f"What every one has: :py:obj:`{base.path} <{base.full}>`."]
    else:
        lines += [f".. autofunction:: {name.full}"]
    return "\n".join([*lines, ""])


def inherited(value: type) -> tuple[names.Name | None, list[str]]:
    """Give the base that has a page, and what a class has besides: documented members, also those of other bases."""
    shown = {other.value: other for other in names.public() if isinstance(other.value, type)}
    members: dict[str, None] = {}
    for kind in value.__mro__:
        if kind is not value and kind in shown:
            return shown[kind], list(members)
        if kind.__module__.startswith("cnnlayers"):
            said = {key: inspect.getdoc(member) for key, member in vars(kind).items() if key[0] != "_"}
            own = {key for key, member in vars(kind).items() if callable(member) or hasattr(member, "__get__")}
            members |= dict.fromkeys(key for key, doc in said.items() if doc and key in own)
    return None, list(members)


def group_page(group: str, title: str, members: list[names.Name]) -> str:
    """Write the page of a group: a line for each of its names."""
    lines = [underlined(title), ".. list-table::", "   :class: names", ""]
    for name in members:
        says = re.sub(r"([*|\\`_])", r"\\\1", name.says)
        lines += [f"   * - :py:obj:`{name.path} <{name.full}>`", f"     - {says}"]
    lines += ["", ".. toctree::", "   :hidden:", "", *(f"   {name.page}" for name in members), ""]
    return "\n".join(lines)

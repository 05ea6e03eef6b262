"""Whether a built site holds together: links lead somewhere, nothing is loaded from outside, every page is reached."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

LEADS = [("a", "href"), ("area", "href"), ("form", "action")]
LOADED = {"script": "src", "img": "src", "source": "src", "iframe": "src", "video": "src", "audio": "src"}
LOADING = {"stylesheet", "icon", "preload", "prefetch", "modulepreload", "preconnect", "manifest"}


class Page(HTMLParser):
    """The ids of a page, where its links lead, and what it loads."""

    def __init__(self, text: str):
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Note what an element says."""
        found = dict(attrs)
        self.ids.update(value for key in ("id", "name") if (value := found.get(key)))
        for key in (key for name, key in LEADS if name == tag and found.get(key)):
            self.links.append(found[key])
        if tag == "link" and LOADING & set((found.get("rel") or "").split()):
            self.loads.append(found["href"])
        if found.get(LOADED.get(tag, "")):
            self.loads.append(found[LOADED[tag]])


def problems(root: Path, index: str = "index.html") -> list[str]:
    """Give what is wrong with the site in a folder, a line each.

    The pages of sources, in _modules, are only led to: what leads back from them is Sphinx's guess.
    """
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(root.rglob("*.html"))}
    found = []
    leads: dict[Path, set[Path]] = {}
    for path, page in pages.items():
        where = path.relative_to(root)
        leads[path] = set()
        if where.parts[0] == "_modules":
            page.links.clear()
        for link in [*page.links, *page.loads]:
            address, fragment = urldefrag(link)
            if urlsplit(address).scheme or address.startswith("//"):
                if link in page.loads and not address.startswith("data:"):
                    found.append(f"{where} loads {link} from outside")
                continue
            target = (path.parent / unquote(urlsplit(address).path)).resolve() if address else path
            if not target.is_file():
                found.append(f"{where} links to {link}, which is not there")
            elif target in pages:
                leads[path].add(target)
                if fragment and unquote(fragment) not in pages[target].ids:
                    found.append(f"{where} links to {link}: that page has no {fragment!r}")
    for path in sorted(root.rglob("*.css")):
        for address in re.findall(r"""(?:url\(|@import\s)\s*["']?(?:https?:)?(//[^"')]+)""", path.read_text()):
            found.append(f"{path.relative_to(root)} loads {address} from outside")
    reached = {root.resolve() / index}
    while more := {there for path in reached for there in leads.get(path, ())} - reached:
        reached |= more
    lost = [path.relative_to(root) for path in pages if path not in reached]
    return found + [f"no link leads to {path}" for path in lost if path.parts[0] != "_modules"]

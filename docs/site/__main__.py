"""Build the site: python -m docs.site [--keep-examples]. See `main`."""

from __future__ import annotations

import argparse
import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import cnnlayers as cl

from . import check, gallery, links, names, notebook, stage

ROOT = Path(__file__).parents[2]
WORK = ROOT / "build" / "docs"
SITE = ROOT / "build" / "site"

FRONT = """<!DOCTYPE html>
<meta charset="utf-8"><title>cnnlayers</title>
<meta http-equiv="refresh" content="0; url=VERSION/index.html">
<a href="VERSION/index.html">cnnlayers VERSION</a>
"""


def main() -> int:
    """Run the examples, gather the pages, let Sphinx make the site, and check it."""
    parser = argparse.ArgumentParser(prog="python -m docs.site", description="Build the site in build/site.")
    parser.add_argument("--keep-examples", action="store_true", help="show the examples as they ran the last time")
    options = parser.parse_args()
    lacking = [line for name in names.public() for line in check.problems(name)]
    if lacking:
        print(*lacking, sep="\n", file=sys.stderr)
        return 1
    kept = WORK / "examples.pickle"
    if options.keep_examples and kept.exists():
        ran, cells = pickle.loads(kept.read_bytes())
    else:
        shutil.rmtree(WORK, ignore_errors=True)
        ran = []
        for name in gallery.EXAMPLES:
            print(f"== running examples/{name}.py", flush=True)
            ran.append(gallery.run(name, WORK / "examples" / name))
        print(f"== running examples/{notebook.PATH.name}", flush=True)
        cells = notebook.run(WORK / "examples" / notebook.NAME)
        kept.write_bytes(pickle.dumps((ran, cells)))
    print("== making the pages", flush=True)
    source, site = WORK / "source", SITE / cl.__version__
    stage.gather(source, ran, cells)
    shutil.rmtree(site, ignore_errors=True)
    SITE.mkdir(parents=True, exist_ok=True)
    versions(cl.__version__)
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-j", "auto", "-E"]
    command += ["-c", str(ROOT / "docs" / "site"), "-d", str(WORK / "doctrees"), str(source), str(site)]
    if subprocess.run(command, check=False, cwd=ROOT).returncode:
        return 1
    gallery.cards(ran, site / "_images")
    cl.explain.write_tour(site / stage.TOUR)
    (site / "_modules" / "index.html").unlink()  # it lists Cython's modules, of which there are no pages
    wrong = links.problems(site)
    print(*wrong, sep="\n", end="\n" if wrong else "", file=sys.stderr)
    pages = len(list(site.rglob("*.html")))
    print(f"{pages} pages: {(site / 'index.html').relative_to(ROOT)}")
    return 1 if wrong else 0


def versions(current: str) -> None:
    """List the versions that lie side by side, for their switch, and let the folder's front lead to the newest."""
    found = sorted({current, *(path.parent.name for path in SITE.glob("*/index.html"))})
    (SITE / "versions.js").write_text(f"const VERSIONS = {json.dumps(found)};\n", encoding="utf-8")
    (SITE / "index.html").write_text(FRONT.replace("VERSION", current), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

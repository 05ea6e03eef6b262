"""The notebook: run, and made a page of its cells and what they show."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
NAME = "tour"
PATH = ROOT / "examples" / f"{NAME}.ipynb"


def run(folder: Path) -> list[dict[str, Any]]:
    """Run the notebook in a folder, and give its cells with what they show."""
    import nbclient
    import nbformat

    folder.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(folder / "profile")}
    environment.pop("MPLBACKEND", None)  # Jupyter's own is the one that shows pictures
    cells = nbformat.read(PATH, as_version=4)
    quiet = ["--log-level=ERROR"]  # without it the kernel warns at each start that it is spoken to over TCP
    place = {"metadata": {"path": str(folder)}}
    client = nbclient.NotebookClient(cells, timeout=300, resources=place, extra_arguments=quiet)
    client.execute(env=environment)
    return list(cells.cells)


def page(cells: list[dict[str, Any]], pictures: Path, where: str, to_pages: Callable[[str], str]) -> str:
    """Write the page, in Markdown, and its pictures into a folder that it calls `where`; `to_pages` mends its links."""
    pictures.mkdir(parents=True, exist_ok=True)
    first = cells[0]["source"].partition("\n")  # the heading; what the page is comes after it
    said = f"This page is a notebook, [{NAME}.ipynb]({NAME}.ipynb), run when the site was made."
    text = [first[0], "", said, to_pages(first[2]), ""]
    for number, cell in enumerate(cells[1:]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            text += [to_pages(source), ""]
            continue
        text += ["```python", source, "```", ""]
        for k, output in enumerate(cell["outputs"]):
            text += [*_shown(output, pictures, f"{number}-{k}.png", where), ""]
    return "\n".join(text)


def _shown(output: dict[str, Any], pictures: Path, name: str, where: str) -> list[str]:
    """What a cell printed, or the richest form of what it gave."""
    if output["output_type"] == "stream":
        return ["```text", output["text"].rstrip(), "```"]
    data = output["data"]
    if "image/png" in data:
        (pictures / name).write_bytes(base64.b64decode(data["image/png"]))
        return [f"![What the cell above draws]({where}/{name})"]
    if "text/html" in data:
        return ["```{raw} html", '<div class="notebook-output">', data["text/html"], "</div>", "```"]
    return ["```text", data["text/plain"].rstrip(), "```"]

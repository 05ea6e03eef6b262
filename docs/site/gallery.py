"""The examples: each is run, and its page shows its code, what it printed, and pictures of what it trained."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

TITLES = {
    "digits": "Digits",
    "looking_inside": "Looking inside",
    "own_layer": "A layer of your own",
    "own_folder": "A folder of your own images",
    "signals": "Signals",
    "resuming": "Resuming",
    "mnist": "MNIST",
    "mnist_speedrun": "99% of digits in seconds",
    "cifar10_resnet": "CIFAR-10 with a residual net",
    "cifar10_speedrun": "CIFAR-10, fast",
}

# How each runs for its page, in the order of the gallery. Those that would fetch files, or take minutes, run in the
# form that their tests run.
EXAMPLES = {
    "digits": [],
    "looking_inside": [],
    "own_layer": [],
    "own_folder": [],
    "signals": [],
    "resuming": ["--quick"],
    "mnist": ["--quick"],
    "mnist_speedrun": ["--quick"],
    "cifar10_resnet": ["--quick"],
    "cifar10_speedrun": ["--quick"],
}
CAPTIONS = {
    "curves": "Loss and metrics by epoch, and the learning rate",
    "filters": "The filters of the first layer",
    "activations": "What a layer makes of an image",
    "confusion": "What is taken for what",
    "mistakes": "The most wrong images",
    "rates": "The sweep of learning rates",
    "saliency": "Which pixels matter",
    "grad_cam": "Which regions speak for the class",
    "weights": "Weights and gradients by layer",
    "samples": "Some of the samples",
}


FACES = ("grad_cam", "mistakes", "samples", "curves")  # the first of these is on an example's card


@dataclass
class Ran:
    """What a run left: what it printed, how long it took, its pictures by name."""

    name: str
    options: list[str]
    printed: str
    seconds: float
    pictures: list[Path]


def run(name: str, folder: Path) -> Ran:
    """Run an example in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    options = EXAMPLES[name]
    command = [sys.executable, "-W", "error", "-m", "docs.site.watch", str(ROOT / "examples" / f"{name}.py"), *options]
    begin = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or done.stderr:
        raise RuntimeError(f"examples/{name}.py failed:\n{done.stderr}")
    order = list(CAPTIONS)
    pictures = sorted(folder.glob("pictures/*.png"), key=lambda path: order.index(path.stem))
    return Ran(name, options, done.stdout, time.perf_counter() - begin, pictures)


def page(ran: Ran) -> str:
    """Write the page of an example, in Markdown."""
    source = (ROOT / "examples" / f"{ran.name}.py").read_text(encoding="utf-8")
    said = ast.get_docstring(ast.parse(source)) or ""
    title, _, rest = said.partition("\n\n")
    code = source.partition('"""\n\n')[2]
    command = " ".join(["python", f"examples/{ran.name}.py", *ran.options])
    lines = [f"# {TITLES[ran.name]}", "", title, "", fenced(rest), ""]
    lines += ["## What it learns", ""] if ran.pictures else []
    for picture in ran.pictures:
        lines += [f"![{CAPTIONS[picture.stem]}](pictures/{ran.name}/{picture.name})", ""]
        lines += ["{.caption}", CAPTIONS[picture.stem] + ".", ""]
    lines += ["## The program", "", f"The file is [examples/{ran.name}.py]({ran.name}.py).", ""]
    lines += ["```python", code.rstrip(), "```", "", "## What it prints", ""]
    lines += [f"`{command}`, run when this page was made; it took {ran.seconds:.0f} seconds.", ""]
    return "\n".join([*lines, "```text", ran.printed.rstrip(), "```", ""])


def fenced(text: str) -> str:
    """Indented commands of a docstring are Markdown already; names of files in its prose become code."""
    files = re.compile(r"(?<![\w/`])((?:runs|data|docs|examples)/[\w./]*\w)(?!`)")
    return "\n".join(line if line.startswith("    ") else files.sub(r"`\1`", line) for line in text.splitlines())


def cards(rans: list[Ran], folder: Path) -> None:
    """Copy the picture of each card of the gallery into a folder."""
    for ran in rans:
        names = [path.stem for path in ran.pictures]
        chosen = next(name for name in FACES if name in names)
        shutil.copy(ran.pictures[names.index(chosen)], folder / f"{ran.name}-card.png")


def index(rans: list[Ran]) -> str:
    """Write the page that shows them all."""
    lines = ["# Examples", "", "Each script does one task. They were run when this site was built.", ""]
    lines += ['<div class="cards">']  # without empty lines, at which Markdown would begin paragraphs
    for ran in rans:
        said = ast.get_docstring(ast.parse((ROOT / "examples" / f"{ran.name}.py").read_text(encoding="utf-8"))) or ""
        picture = f'<img src="../_images/{ran.name}-card.png" alt="">'
        text = said.partition("\n\n")[0]
        lines += [f'<a class="card" href="{ran.name}.html">{picture}<b>{TITLES[ran.name]}</b><span>{text}</span></a>']
    lines += ["</div>", "", "```{toctree}", ":hidden:", ""]
    return "\n".join([*lines, *(ran.name for ran in rans), "```", ""])

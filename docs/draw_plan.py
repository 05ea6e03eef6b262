"""Draw the pictures of architecture.md from the plan of a real net: python docs/draw_plan.py

One picture follows x forward, the other dy back. Boxes are steps: a step is one pass over memory.
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

import cnnlayers as cl

WIDTH, HEIGHT, GAP, PAD = 365, 44, 34, 18  # of a box; between boxes; around the boxes of a Residual


def example() -> cl.Sequential:
    """The net that is drawn."""
    return cl.Sequential(
        [
            *(cl.Conv(16, 3, padding=1, bias=False), cl.BatchNorm(), cl.ReLU()),
            cl.Residual(
                [
                    *(cl.Conv(32, 3, stride=2, padding=1, bias=False), cl.BatchNorm(), cl.ReLU()),
                    *(cl.Conv(32, 3, padding=1), cl.ReLU(), cl.Conv(32, 3, padding=1)),
                ],
                shortcut=[cl.Conv(32, 1, stride=2, bias=False), cl.BatchNorm()],
            ),
            *(cl.ReLU(), cl.Conv(64, 3), cl.ReLU(), cl.MaxPool(2), cl.Flatten(), cl.Affine(10)),
        ],
        input_shape=(32, 32, 3),
        rng=0,
    )


class Picture:
    """An SVG that grows as things are drawn on it."""

    def __init__(self, forward: bool):
        self.forward = forward
        self.parts: list[str] = []

    def box(self, x: float, y: float, first: str, second: str) -> None:
        """A step: its layer, and what it does besides."""
        self.parts.append(f'<rect class="step" x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="5"/>')
        self.text(x + WIDTH / 2, y + (18 if second else 27), first)
        if second:
            self.text(x + WIDTH / 2, y + 35, second, "joined")

    def text(self, x: float, y: float, words: str, kind: str = "name", anchor: str = "middle") -> None:
        self.parts.append(f'<text class="{kind}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(words)}</text>')

    def arrow(self, x: float, top: float, bottom: float, words: str) -> None:
        """What goes from one step to the next: down in a forward pass, up in a backward pass."""
        start, end = (top, bottom) if self.forward else (bottom, top)
        self.parts.append(f'<path class="way" marker-end="url(#tip)" d="M{x},{start} L{x},{end}"/>')
        self.text(x + 8, (top + bottom) / 2 + 4, words, "shape", "start")

    def svg(self, width: float, height: float) -> str:
        style = (
            "text{font-family:sans-serif;font-size:13px;fill:#222} .joined,.shape{font-size:11px;fill:#555}"
            " .step{fill:#eef3fb;stroke:#4a6fa5} .part{fill:none;stroke:#999;stroke-dasharray:5 4}"
            " .way{stroke:#222;stroke-width:1.3;fill:none} .paper{fill:#fff}"
        )
        tip = '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}">'
        return "\n".join(
            [
                f"{head}<style>{style}</style>",
                f'<defs>{tip}<path d="M0,0 L8,4 L0,8 z"/></marker></defs>',
                f'<rect class="paper" width="{width}" height="{height}"/>',
                *self.parts,
                "</svg>\n",
            ]
        )


def size(steps) -> tuple[float, float]:
    """Width and height of a column of steps."""
    sizes = [_step_size(step) for step in steps]
    return max((w for w, _ in sizes), default=WIDTH), sum(h for _, h in sizes) + GAP * (len(sizes) + 1)


def _step_size(step) -> tuple[float, float]:
    if not step.within():
        return WIDTH, HEIGHT
    sizes = [size(chain.steps) for chain in step.within()]
    if len(sizes) == 1:
        sizes.append((WIDTH / 2, 0))  # an identity
    return sum(w for w, _ in sizes) + PAD * (len(sizes) + 1), max(h for _, h in sizes) + 2 * PAD + 14


def column(picture: Picture, steps, x: float, y: float, names: dict, shape, height: float, body=False) -> None:
    """Draw steps one under the other between two arrows, the last of which reaches down to `height`."""
    width, _ = size(steps)
    middle, bottom = x + width / 2, y + height
    for before, step in zip([None, *steps], steps, strict=False):
        picture.arrow(middle, y, y + GAP, _label(picture, shape))
        y += GAP
        w, h = _step_size(step)
        shape = step.layer.output_shape(step.layer.input_shape)
        if step.within():
            _branches(picture, step, middle - w / 2, y, names, h)
        else:
            name = "the sum" if type(step).__name__ == "SumStep" else step.layer.who
            besides = _besides(picture, before, step, names, body and before is None)
            picture.box(middle - WIDTH / 2, y, f"{names[id(step.layer)]}: {name}", besides)
        y += h
    picture.arrow(middle, y, bottom, _label(picture, shape))


def _branches(picture: Picture, step, x: float, y: float, names: dict, height: float) -> None:
    """Draw a Residual: its body and its shortcut beside each other."""
    w, _ = _step_size(step)
    picture.parts.append(f'<rect class="part" x="{x}" y="{y}" width="{w}" height="{height}" rx="8"/>')
    how = f"{names[id(step.layer)]}: {type(step.layer).__name__}" + (" + ReLU" if step.relu else "")
    picture.text(x + 10, y + 16, how, "joined", "start")
    for i, chain in enumerate(step.within()):
        inner, _ = size(chain.steps)
        top, room = y + PAD + 14, height - 2 * PAD - 14
        column(picture, chain.steps, x + PAD, top, names, step.layer.input_shape, room, body=i == 0)
        x += inner + PAD


def _besides(picture: Picture, before, step, names: dict, first_of_body: bool) -> str:
    """What a step does in its pass besides its layer's equation."""
    if picture.forward:
        said = ["+ s(x)" if step.sums else "", "ReLU" if step.relu else ""]
    else:
        own = {"BatchNormStep": "its ReLU's mask, from x", "MaxPoolStep": "its ReLU: no winner where y is 0"}
        said = [
            own.get(type(step).__name__, "") if step.relu and not step.sums else "",
            "+ the shortcut's gradient" if first_of_body else "",
            f"the mask of {names[id(before.layer)]}'s ReLU" if before and before.mask is not None else "",
        ]
    return ", ".join(filter(None, said))


def _label(picture: Picture, shape) -> str:
    return f"{'x' if picture.forward else 'δ'} {(('N', *shape))}".replace("'", "")


def draw(forward: bool) -> str:
    """Draw one picture."""
    net = example()
    net.forward(np.zeros((1, *net.input_shape)))  # so that each step has its mask, if it leaves one to the next step
    names = {id(layer): name for name, layer in net.walk()}
    picture = Picture(forward)
    steps = net.plan.chain.steps
    width, height = size(steps)
    column(picture, steps, PAD, PAD, names, net.input_shape, height)
    return picture.svg(width + 2 * PAD, height + 2 * PAD)


def main() -> None:
    """Write both pictures beside this file."""
    for name, forward in (("plan-forward", True), ("plan-backward", False)):
        Path(__file__).with_name(f"{name}.svg").write_text(draw(forward))


if __name__ == "__main__":
    main()

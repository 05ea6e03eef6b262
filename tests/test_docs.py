"""The pages that say where things are say it truly."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ["docs/architecture.md", "CONTRIBUTING.md"]


@pytest.mark.parametrize("page", PAGES)
def test_each_file_that_a_page_names_exists(page):
    named = set(re.findall(r"`([\w./-]+/[\w./-]*|\w+\.(?:py|pyx|pxi|h|c|md))`", (ROOT / page).read_text()))
    named = {name for name in named if Path(name).stem != "x"}  # the file that is to be added
    named.discard("build/")  # which a build makes
    assert named
    for name in named:
        places = [ROOT, ROOT / "docs" / "site", ROOT / "cnnlayers", *(ROOT / "cnnlayers").rglob("*/")]
        assert any((place / name).exists() for place in places), f"{page} names {name}"


@pytest.mark.parametrize(("picture", "forward"), [("plan-forward", True), ("plan-backward", False)])
def test_the_pictures_are_those_of_the_plan(picture, forward):
    spec = importlib.util.spec_from_file_location("draw_plan", ROOT / "docs" / "draw_plan.py")
    draw_plan = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(draw_plan)
    assert (ROOT / "docs" / f"{picture}.svg").read_text() == draw_plan.draw(forward)


def test_the_page_counts_layers_and_steps_of_its_net():
    text = (ROOT / "docs" / "architecture.md").read_text()
    program = re.search(r"```python\n(import cnnlayers.*?)```", text, re.DOTALL)[1]
    names = {}
    exec(program, names)
    net = names["net"]
    steps = sum(1 for step in net.plan.walk() if not step.within())
    assert f"It has {len(net.leaves())} layers that compute something" in text
    assert f"shows the {steps} steps that run them" in text

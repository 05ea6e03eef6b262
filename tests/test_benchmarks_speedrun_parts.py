"""The suite speedrun-parts: what each change of the recipe does to its Solver, and the record and table of the runs."""

import json

import numpy as np
import pytest

import cnnlayers as cl
from benchmarks import speedrun, speedrun_parts
from benchmarks.__main__ import main
from benchmarks.speedrun_parts import PARTS, VIEWS, WHOLE


@pytest.fixture(scope="module")
def maker():
    return speedrun.Maker(speedrun.example().make_solver, speedrun.painted_digits(), 1, **speedrun.QUICK)


@pytest.fixture
def quickly(monkeypatch):
    """Run the suite with made-up accuracies; give what was trained, as [(label smoothing, seed)], and what runs it."""
    trained = []

    def train(maker, seed):
        trained.append((maker.solver(seed).loss.label_smoothing, seed))
        return run("", seed, 0.9 + trained[-1][0] / 10)

    monkeypatch.setattr(speedrun, "train", train)
    threads = str(cl.get_num_threads())
    return trained, lambda *arguments: main(["speedrun-parts", "--quick", "--threads", threads, *arguments])


def run(part, seed, accuracy):
    made = {"side": "cnnlayers", "seed": seed, "accuracy": [accuracy - 0.01], "accuracy_of_views": accuracy}
    named = {"part": part} if part else {}
    return named | made | {"total": 2.0, "reached": {}, "sha256": "0" * 64}


def made(maker, name):
    """A Solver without the part of this name."""
    (part,) = [part for part in PARTS if part.name == name]
    return speedrun_parts.without(part, maker).solver(0)


def looks(solver):
    """All that a part may change."""
    parts = [repr(getattr(solver, name)) for name in ("loss", "optimizer", "schedule", "augment")]
    return [*parts, solver.model.frozen, solver.model.flat_params.tobytes(), solver.run.augment_seed]


def different(first, second):
    """Names of the parameters that differ."""
    return [name for name, w in first.model.params.items() if not np.array_equal(w, second.model.params[name])]


# The parts


@pytest.mark.parametrize("name", [part.name for part in PARTS])
def test_a_part_changes_one_thing(maker, name):
    whole, other = looks(maker.solver(0)), looks(made(maker, name))
    changed = [k for k, (a, b) in enumerate(zip(whole, other, strict=True)) if a != b]
    assert changed == ([4, 5] if name == "whitening" else changed[:1])  # drawn weights train, too
    assert changed
    assert looks(maker.solver(0)) == whole  # the recipe's own are as before
    assert looks(made(maker, name)) == other  # the same seed draws the same


def test_the_net_without_a_part(maker):
    whole = maker.solver(0)
    first, *others = [f"{name}.W" for name, _ in speedrun_parts.layers(whole, cl.Conv)]
    (head,) = [f"{name}.W" for name, _ in speedrun_parts.layers(whole, cl.Affine)]
    drawn = made(maker, "whitening")
    assert different(whole, drawn) == [first]
    assert whole.model.frozen - drawn.model.frozen == {first}
    assert different(whole, made(maker, "dirac")) == others
    still = made(maker, "bias of the whitening")
    assert still.model.frozen - whole.model.frozen == {first.replace("W", "b")}
    large = made(maker, "small first scores")
    assert different(whole, large) == [head]
    x = maker.test[0][:8].astype(np.float32)
    ratio = np.std(large.model.predict(x)) / np.std(whole.model.predict(x))
    assert ratio == pytest.approx(16, rel=0.3)  # 256 features: 256 / sqrt(256)


def test_the_rates_without_muon_and_without_that_of_the_head(maker):
    whole, plain, slow = (
        solver.optimizer for solver in (maker.solver(0), made(maker, "Muon"), made(maker, "rate of the head"))
    )
    assert (plain.momentum, plain.nesterov, plain.lr) == (0.85, True, whole.rest.lr)
    net = maker.solver(0).model
    rates = {name: plain.stretch(name, slice(0), True, 1.0, lambda schedule: 1.0) for name in net.params}
    assert rates["1.2.W"].lr == pytest.approx(11.5 / 7850.67, rel=1e-5)
    assert {rates[name].lr for name in rates if name.endswith(("beta", "b"))} == {whole.rest.lr}
    head = next(name for name in rates if rates[name].lr > whole.rest.lr)
    decays = [rates[name].lr * rates[name].decay for name in ("1.2.W", head, "1.0.b")]
    assert decays == pytest.approx([2e-6 * maker.batch] * 3)
    assert slow.rest.stretch(head, slice(0), True, 1.0, None)[1:] == (whole.rest.lr, whole.rest.weight_decay)
    assert slow.rule(head) == whole.rule(head)  # it is not Muon's
    assert not made(maker, "filters of one norm").optimizer.normalize


def test_the_images_without_a_part(maker):
    steps = {name: made(maker, name).augment.steps for name in ("alternating flip", "flip", "crop", "reflected border")}
    assert [repr(step) for step in steps["alternating flip"]] == [
        "RandomCrop(padding=2, fill='reflect')",
        "HorizontalFlip()",
    ]
    assert [repr(step) for step in steps["flip"]] == ["RandomCrop(padding=2, fill='reflect')"]
    assert [repr(step) for step in steps["crop"]] == ["HorizontalFlip(alternate=True)"]
    assert [repr(step) for step in steps["reflected border"]] == [
        "RandomCrop(padding=2)",
        "HorizontalFlip(alternate=True)",
    ]
    assert made(maker, "crop").augment.dtype == "float32"


@pytest.mark.parametrize("name", ["whitening", "Muon"])
def test_it_trains_without(maker, name):
    solver = made(maker, name)
    before = {name: w.copy() for name, w in solver.model.params.items()}
    losses = solver.train().steps["loss"]
    assert np.isfinite(losses).all()
    moved = {name for name, w in solver.model.params.items() if not np.array_equal(w, before[name])}
    assert moved == before.keys() - solver.model.frozen


# The record and the table


def test_a_record_goes_on_and_is_that_of_the_suite_speedrun(quickly, tmp_path, capsys):
    trained, go = quickly
    file = tmp_path / "record.json"
    assert go("--cases", "smoothing", "--json", str(file)) == 0
    assert trained == [(0.2, 0), (0.0, 0)]
    record = json.loads(file.read_text())
    record |= {"runs": ["kept"], "time": "kept"}
    record["settings"]["epochs"] = 8  # of the trainings in "runs"
    file.write_text(json.dumps(record))
    assert go("--cases", "smoothing", "--seeds", "2", "--json", str(file)) == 0
    assert trained[2:] == [(0.2, 1), (0.0, 1)]
    record = json.loads(file.read_text())
    assert (record["runs"], record["time"]) == (["kept"], "kept")
    assert [(one["part"], one["seed"]) for one in record["parts"]] == [
        (name, seed) for seed in (0, 1) for name in (WHOLE, "label smoothing")
    ]
    assert (
        "label smoothing                90.00%      -2.00   90.00% to 90.00%; instead: none" in capsys.readouterr().out
    )
    assert go("--epochs", "3", "--json", str(file)) == 1
    assert "had other epochs of parts" in capsys.readouterr().err


def test_names_of_parts(capsys):
    assert main(["speedrun-parts", "--cases", "flip", "--list"]) == 0
    assert capsys.readouterr().out == "speedrun-parts/alternating flip\nspeedrun-parts/flip\n"
    assert main(["speedrun-parts", "--cases", "nothing"]) == 1
    assert "no part matches 'nothing'" in capsys.readouterr().err


def test_a_difference_is_over_the_seeds_that_both_have():
    runs = [
        run(WHOLE, 0, 0.90),
        run(WHOLE, 1, 0.92),
        run("crop", 0, 0.88),
        run("dirac", 0, 0.85),
        run("dirac", 1, 0.86),
    ]
    found = speedrun_parts.rows(runs)
    assert [row.name for row in found] == [WHOLE, "dirac", "crop", VIEWS]
    assert [row.difference for row in found] == pytest.approx([0, -0.055, -0.02, -0.01])
    assert found[-1].accuracies == pytest.approx([0.89, 0.91])
    squares = [0.01**2 * 2, 0.005**2 * 2, 0.01**2 * 2]  # the whole, dirac, views
    assert speedrun_parts.uncertainty(found) == pytest.approx(np.sqrt(np.mean(squares)))
    assert speedrun_parts.uncertainty(found[2:3]) is None
    assert speedrun_parts.lines(runs)[-1] == "standard error of a difference: 1.22 points"

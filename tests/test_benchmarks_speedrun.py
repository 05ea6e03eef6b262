"""The suite speedrun, on a few painted digits: its record, and that both sides are the same training."""

import functools
import json
import math

import numpy as np
import pytest

import cnnlayers as cl
from benchmarks import environment, runner, speedrun
from benchmarks.__main__ import main, parse
from benchmarks.cases import OURS
from benchmarks.speedrun import TORCH

HAS_TORCH = environment.has_torch()
EPOCHS = 2


@pytest.fixture(scope="module")
def maker():
    return speedrun.Maker(speedrun.example().make_solver, speedrun.painted_digits(), EPOCHS, **speedrun.QUICK)


@pytest.fixture(scope="module")
def ours(maker):
    """A training of seed 0."""
    return speedrun.train(maker, 0)


@pytest.fixture
def quickly(monkeypatch, ours):
    """Run the suite with results that are known already; give the seeds that were trained, and a function that runs."""
    trained = []

    def train(side, maker, seed):
        trained.append((side, seed))
        return ours | {"side": side, "seed": seed}

    monkeypatch.setattr(speedrun, "train", functools.partial(train, OURS))
    monkeypatch.setattr(speedrun, "train_torch", functools.partial(train, TORCH))
    monkeypatch.setattr(speedrun, "times", lambda *arguments: {OURS: [1.0, 1.2, 1.1], TORCH: [2.5, 2.4, 2.75]})
    threads = str(cl.get_num_threads())
    return trained, lambda *arguments: main(["speedrun", "--quick", "--threads", threads, *arguments])


# The record


def test_what_it_measures(tmp_path, capsys):
    file = tmp_path / "record.json"
    threads = str(cl.get_num_threads())
    assert main(["speedrun", "--quick", "--threads", threads, "--epochs", "1", "--json", str(file)]) == 0
    record = json.loads(file.read_text())
    sides = [OURS, TORCH] if HAS_TORCH else [OURS]
    assert list(record["time"]) == sides
    assert all(seconds > 0 for side in sides for seconds in record["time"][side])
    assert [(run["side"], run["seed"]) for run in record["runs"]] == [(side, 0) for side in sides]
    for run in record["runs"]:
        assert len(run["accuracy"]) == len(run["seconds"]) == 1
        assert run["total"] == pytest.approx(run["setup"] + sum(run["seconds"]))
        assert set(run["reached"]) == {"80%", "85%", "90%"}
        assert len(run["sha256"]) == 64
    out = capsys.readouterr().out
    assert "a step with 32 images, without making them: minimum, median" in out
    assert f"{OURS:12} seed 0: {record['runs'][0]['accuracy'][0]:.2%}; of views" in out


def test_a_record_goes_on(quickly, tmp_path, capsys):
    trained, run = quickly
    file = tmp_path / "record.json"
    assert run("--seeds", "1", "--torch-seeds", "0", "--json", str(file)) == 0
    first = json.loads(file.read_text())
    assert run("--seeds", "3", "--torch-seeds", "0", "--json", str(file)) == 0
    assert trained == [(OURS, 0), (OURS, 1), (OURS, 2)]
    record = json.loads(file.read_text())
    assert record["runs"][:1] == first["runs"]
    assert record["time"] == first["time"]
    out = capsys.readouterr().out
    assert "2.40, 2.27 times" in out
    assert f"{OURS:12} 3 seeds: " in out


def test_what_was_done_before_an_interruption_is_kept(quickly, tmp_path, monkeypatch):
    trained, run = quickly
    known = speedrun.train

    def interrupted(maker, seed):
        if seed == 1:
            raise KeyboardInterrupt
        return known(maker, seed)

    monkeypatch.setattr(speedrun, "train", interrupted)
    arguments = ("--seeds", "2", "--torch-seeds", "0", "--json", str(tmp_path / "record.json"))
    with pytest.raises(KeyboardInterrupt):
        run(*arguments)
    monkeypatch.setattr(speedrun, "train", known)
    assert run(*arguments) == 0
    assert trained == [(OURS, 0), (OURS, 1)]


def test_an_interrupted_training_is_no_result(maker, monkeypatch):
    def train(solver):
        solver.history.stopped = "interrupted in epoch 1, after step 1"
        return solver.history

    monkeypatch.setattr(cl.Solver, "train", train)
    with pytest.raises(KeyboardInterrupt):
        speedrun.train(maker, 0)


def test_another_recipe_does_not_go_on_with_a_record(quickly, tmp_path, capsys):
    _, run = quickly
    file = tmp_path / "record.json"
    assert run("--seeds", "1", "--torch-seeds", "0", "--json", str(file)) == 0
    assert run("--seeds", "1", "--torch-seeds", "0", "--json", str(file), "--epochs", "3") == 1
    assert f"speedrun: the record in {file} had other epochs; name another file" in capsys.readouterr().err
    file.write_text('{"results": []}')
    assert run("--json", str(file)) == 1
    assert "is no record of this suite" in capsys.readouterr().err


def test_the_sides_take_turns():
    assert list(speedrun.turns(3, 1)) == [(OURS, 0), (TORCH, 0), (OURS, 1), (OURS, 2)]
    assert list(speedrun.turns(0, 1)) == [(TORCH, 0)]


def test_when_an_accuracy_is_reached():
    curve, ends = [0.7, 0.86, 0.84, 0.9], [10.0, 20.0, 30.0, 30.0]
    assert [speedrun.reached(goal, curve, ends) for goal in (0.8, 0.9, 0.91)] == [20.0, 30.0, None]


def test_options():
    options = parse(["speedrun", "--data", "x", "--epochs", "3", "--seeds", "0", "--torch-seeds", "4"])
    assert (options.data, options.epochs, options.seeds, options.torch_seeds) == ("x", 3, 0, 4)
    for wrong in (["--seeds", "-1"], ["--epochs", "0"]):
        with pytest.raises(SystemExit):
            parse(["speedrun", *wrong])


def test_it_needs_the_images(monkeypatch, capsys, tmp_path):
    monkeypatch.delenv("CNNLAYERS_DATA", raising=False)
    assert main(["speedrun"]) == 1
    assert "--data must name the folder of CIFAR-10" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="data_batch_1"):
        speedrun.photographs(str(tmp_path))


# The sides


def test_the_same_seed_ends_with_the_same_bits(maker, ours):
    again = speedrun.train(maker, 0)
    assert again["sha256"] == ours["sha256"]
    assert again["accuracy"] == ours["accuracy"]
    assert len(again["accuracy"]) == len(again["seconds"]) == EPOCHS


def test_the_timed_steps_are_those_of_the_solver(maker):
    """By hand, on the batches that are fed: the bits that the Solver ends with."""
    trained, by_hand = maker.solver(0), maker.solver(0)
    trained.train()
    side, total, step = speedrun.Own(by_hand), speedrun.prepare(by_hand, EPOCHS), 0
    losses = []
    for epoch in range(EPOCHS):
        for batch in speedrun.fed(by_hand, epoch):
            losses.append(side.step(*batch, *speedrun.factors(by_hand.schedule, step, total)))
            step += 1
    assert losses == trained.history.steps["loss"]
    np.testing.assert_array_equal(by_hand.model.flat_params, trained.model.flat_params)


def needs_torch():
    if not HAS_TORCH:
        pytest.skip(f"needs PyTorch: {environment.LIBRARIES['torch'].install}")


def test_pytorch_takes_the_same_steps(maker):
    """Each parameter moves as far, the same way: a second step, on other images, tells the momentum and the decay."""
    needs_torch()
    solvers = [maker.solver(0), maker.solver(0)]
    for solver in solvers:
        solver.optimizer.rest.weight_decay = 0.5  # for it to count after one step, when biases are small
    ours, theirs = speedrun.Own(solvers[0]), speedrun.torch_speedrun.Training(solvers[1])
    before = solvers[0].model.flat_params.copy()
    total, _ = (speedrun.prepare(solver, EPOCHS) for solver in solvers)
    for step, batch in enumerate(speedrun.fed(maker.solver(0), 0)):
        old = [{name: array.copy() for name, array in solver.model.params.items()} for solver in solvers]
        factors = speedrun.factors(solvers[0].schedule, step, total)
        losses = ours.step(*batch, *factors), theirs.step(*theirs.take(*batch), *factors)
        assert losses[0] == pytest.approx(losses[1], rel=1e-3)
        theirs.give_back()
        for name in old[0]:
            one, other = (solver.model.params[name] - was[name] for solver, was in zip(solvers, old, strict=True))
            assert np.linalg.norm(one - other) <= 5e-3 * np.linalg.norm(one), (step, name)
        for name, array in solvers[0].model.state.items():
            np.testing.assert_allclose(solvers[1].model.state[name], array, rtol=1e-2, atol=1e-3, err_msg=name)
    assert step == 1
    moved = np.abs(solvers[0].model.flat_params - before)
    assert 0 < np.count_nonzero(moved) < moved.size  # all but the frozen weights
    frozen = solvers[0].model.params["1.0.W"]
    np.testing.assert_array_equal(frozen, solvers[1].model.params["1.0.W"])


def test_pytorch_freezes_what_the_solver_freezes(maker, monkeypatch):
    needs_torch()
    frozen = []
    monkeypatch.setattr(
        speedrun.torch_speedrun.Training, "freeze", lambda self, names: frozen.append((self.solver.model, names))
    )
    monkeypatch.setattr(speedrun.torch_speedrun.Training, "step", lambda *args: None)
    longer = speedrun.Maker(maker.make_solver, speedrun.painted_digits(), 4, **speedrun.QUICK)
    speedrun.train_torch(longer, 0)
    assert [names for _, names in frozen] == [("1.0.b",)]
    monkeypatch.undo()
    solver = maker.solver(0)
    side = speedrun.torch_speedrun.Training(solver)
    total = speedrun.prepare(solver, EPOCHS)
    side.freeze(["1.0.b"])
    before = {name: array.copy() for name, array in solver.model.params.items()}
    for batch in speedrun.fed(maker.solver(0), 0):
        side.step(*side.take(*batch), *speedrun.factors(solver.schedule, 0, total))
    side.give_back()
    same = {name for name, array in solver.model.params.items() if np.array_equal(array, before[name])}
    assert same == {"1.0.W", "1.0.b"}


def test_pytorch_trains_on_the_same_batches(maker):
    needs_torch()
    run = speedrun.train_torch(maker, 0)
    assert (run["side"], len(run["accuracy"]), len(run["seconds"])) == (TORCH, EPOCHS, EPOCHS)
    assert all(math.isfinite(number) for number in run["accuracy"])


def test_sides_that_do_not_compute_the_same_are_not_timed():
    speedrun.compare_losses({OURS: [10.0, 5.0], TORCH: [10.001, 5.0001]})
    with pytest.raises(runner.Disagreement, match="the first losses of PyTorch"):
        speedrun.compare_losses({OURS: [10.0, 5.0], TORCH: [10.0, 5.1]})

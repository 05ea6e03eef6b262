"""The suite ranks: its processes, on tiny problems, and its model, on figures that are made up."""

import sys
from functools import partial

import pytest

from benchmarks import command, environment, markdown, nets, report, runner, scaling, suites
from benchmarks.__main__ import parse
from benchmarks.cases import OURS, Case, Prepared, Unavailable
from benchmarks.runner import Result
from benchmarks.sides import group
from benchmarks.suites.ranks import SIDES, Problem

CASES = suites.ranks.cases()
ALONE = {OURS: group.Ranks}
MPI = {OURS: group.Ranks, "one process": group.OneProcess}
MILLIONS = {"course-0.1M": 0.1, "course-1M": 1.0, "course-10M": 10.0}


def tiny(operation, sides, ranks=2, net="course-0.1M"):
    return Case("ranks", "tiny", operation, lambda quick: Problem(net, ranks, 2), sides, 1e-3, processes=ranks)


def needs_mpi():
    if absent := environment.missing("mpi"):
        pytest.skip(f"needs {' and '.join(absent)}: {environment.MPI.install}")


# The cases


def test_every_size_on_one_two_and_four_ranks_and_the_targets_on_two():
    names = {case.name for case in CASES}
    assert {f"step/course-{size}M-r{ranks}" for size in ("0.1", "1", "10") for ranks in (1, 2, 4)} < names
    assert {f"exchange/course-{size}M-r{ranks}" for size in ("0.1", "1", "10") for ranks in (2, 4)} < names
    for case in CASES:
        if case.name.startswith("target/"):
            assert case.problem(False)[1:] == (2, 32, 4)
            assert list(case.sides) == [OURS, "one process", "torch:nchw", "torch:channels_last"]
        assert case.problem(True).batch == 2


@pytest.mark.parametrize(("name", "millions"), MILLIONS.items())
def test_nets_have_about_as_many_parameters_as_their_names_say(name, millions):
    build, shape = nets.SIZES[name]
    assert build(input_shape=shape, rng=0).flat_params.size == pytest.approx(1e6 * millions, rel=0.05)


def test_the_traffic_is_the_gradient():
    build, shape = nets.SIZES["course-0.1M"]
    assert Problem("course-0.1M", 2).traffic("step") == 4 * build(input_shape=shape, rng=0).flat_params.size


# The processes


def test_one_process_takes_the_time_of_its_own_calls():
    side = group.OneProcess(Problem("course-0.1M", 2, 2))
    seconds = side.step()
    assert len(seconds) == runner.CALLS
    assert all(0 < one < 60 for one in seconds)
    side.calls = 5
    assert len(side.step()) == 5
    first = side.arrays("step", seconds)
    assert [a.shape for a in first] == [a.shape for a in side.problem.made().net.params.values()]


def test_short_calls_are_repeated_for_a_while():
    side = group.OneProcess(Problem("course-0.1M", 1, 2))
    side.ask = lambda text: [[0.0625, 2**-9], [0.001, 2**-9]]
    assert side.turn("step") == [0.0625, 2**-9]  # of each call that of the slowest
    assert side.calls == 11  # 11 / 512 s is the first above 0.02 s


@pytest.mark.parametrize("operation", ["step", "exchange", "gather", "message"])
def test_ranks_do_what_one_process_or_numpy_does(operation):
    needs_mpi()
    result = runner.run_case(tiny(operation, MPI if operation in ("step", "exchange") else ALONE), 1, True)
    assert OURS in result.samples
    assert result.traffic
    assert all(len(seconds) >= runner.CALLS for seconds in result.samples.values())


def test_ranks_end_with_the_bits_of_one_process():
    needs_mpi()
    exact = [side.arrays(side.run()) for side in tiny("step", MPI, 3).prepare(Problem("course-0.1M", 3, 2)).values()]
    for a, b in zip(*exact, strict=True):
        assert a.tobytes() == b.tobytes()


def test_processes_of_torch_compute_the_same():
    pytest.importorskip("torch", reason='needs PyTorch: pip install "torch"')
    one, torch = (make(Problem("course-0.1M", 2, 2)) for make in (group.OneProcess, SIDES["torch:channels_last"]))
    for operation in ("step", "exchange"):
        sides = {
            name: Prepared(partial(side.turn, operation), partial(side.arrays, operation))
            for name, side in (("one process", one), ("torch", torch))
        }
        runner.verify(tiny(operation, {}), sides)
    assert torch.gather()
    assert torch.message()


def test_processes_end_with_their_side():
    side = group.OneProcess(Problem("course-0.1M", 1, 2))
    (process,) = side.processes
    folder = side.folder.name
    assert process.poll() is None
    del side
    assert process.returncode == 0
    assert not group.Path(folder).exists()


def test_processes_that_fail_show_their_error():
    with pytest.raises(
        RuntimeError, match=r"(?s)side 'one process' ended, or did not answer:.*KeyError: 'no such net'"
    ):
        group.OneProcess(Problem("no such net", 1, 2))
    side = group.OneProcess(Problem("course-0.1M", 1, 2))
    with pytest.raises(RuntimeError, match=r"(?s)did not answer:.*has no attribute 'fly'"):
        side.turn("fly")


# What is not there


def test_without_mpi_the_ranks_take_no_part_and_a_line_says_so(monkeypatch):
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: None if name == "mpi4py" else name)
    monkeypatch.setattr(environment, "mpiexec", lambda: None)
    assert environment.missing("mpi") == ["mpi4py", "mpiexec"]
    with pytest.raises(Unavailable, match="not installed: mpi4py, mpiexec"):
        group.Ranks(Problem("course-0.1M", 2))
    assert command.left_out(CASES[:1]) == [
        "MPI was not found and no ranks take part: no mpi4py and no mpiexec; to measure them: pip install mpi4py mpich"
    ]
    assert command.left_out(suites.cases(["step"])[:1]) == []
    assert environment.describe()["MPI"] is None


def test_mpiexec_is_that_beside_this_python_or_the_systems(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(environment.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert environment.mpiexec() == group.Path("/usr/bin/mpiexec")
    (tmp_path / "mpiexec").touch()
    assert environment.mpiexec() == tmp_path / "mpiexec"


def test_cases_with_more_ranks_than_processors_are_noted():
    assert command.crowded(CASES, 4) == []
    assert [line[:22] for line in command.crowded(CASES, 1)] == ["note: 2 ranks on 1 CPU", "note: 4 ranks on 1 CPU"]


# A run


def test_a_quick_run_is_compared_with_itself(tmp_path, capsys, monkeypatch):
    needs_mpi()
    path = tmp_path / "run.json"
    monkeypatch.setattr(command.suites, "cases", lambda names: [tiny("gather", ALONE)])
    options = parse(["ranks", "--quick", "--json", str(path)])
    command.run(options)
    options.json, options.compare = None, str(path)
    command.run(options)
    out = capsys.readouterr().out
    assert "mpi4py " in out
    assert "ranks/tiny  cnnlayers " in out


# The model


def result(name, seconds, size=0.0, side=OURS):
    return Result("ranks", name, {side: [seconds, 2 * seconds]}, traffic=size)


def run(**settings):
    """Of messages of 1 ms, gatherings of 4 ms, batches of 0.5 ms, and 1 kB/s."""
    results = [
        result("message/course-0.1M-r2", 2e-3),
        result("gather/course-0.1M-r2", 4e-3),
        *(result(f"exchange/{net}-r2", 2e-3 + 4e-3 + 2e-3 + size, 1e3 * size) for net, size in MILLIONS.items()),
        result("exchange/course-0.1M-s64-r2", 2e-3 + 4e-3 + 32e-3 + 0.1, 1e2),
        *(result(f"step/{net}-r1", 1.0, 1e3 * size) for net, size in MILLIONS.items()),
        result("step/resnet20-r1", 3.0, 500.0),
    ]
    return report.Report({"limits": None}, {"quick": False, "threads": 1, **settings}, results)


def test_the_parameters_are_those_that_were_measured():
    model = scaling.Model.of(run().results)
    assert (model.message, model.gather, model.batch, model.bandwidth) == pytest.approx((1e-3, 4e-3, 5e-4, 1e3))
    assert model.exchange(2, 4, 1e4) == pytest.approx(2e-3 + 4e-3 + 2e-3 + 10)
    assert model.exchange(8, 16, 1e3) == pytest.approx(14e-3 + 12e-3 + 8e-3 + 1.75)
    slower = model.over(1.0, 1e3)
    assert (slower.message, slower.gather, slower.batch, slower.bandwidth) == pytest.approx((1.001, 2.004, 5e-4, 500))


def test_a_page_gets_what_was_measured_and_what_is_computed_apart():
    page = "<!-- benchmark: ranks, model -->\n<!-- end -->\n"
    filled = markdown.fill(page, run())
    measured, here, elsewhere = filled.split("Computed, ")
    assert "| a, a message | 1000 µs |" in measured
    assert "| h, a batch | 500 µs |" in measured
    assert "| t, resnet20 | 3000 ms |" in measured
    assert "- exchange/course-1M-r2: computed 1008 ms, measured 1008 ms" in measured
    # 14 messages, 3 rounds, 8 or 32 batches and 1.75 times 500 bytes; a quarter of the step, and all of it
    assert here.split("\n| 8 | ")[1].split("\n")[0].endswith("| 905 (45%) | 917 (77%) |")
    assert [line.split(" | ")[0] for line in here.splitlines() if line[:3].strip("| ").isdigit()] == [
        f"| {ranks}" for ranks in (8, 16, 32, 64, 128, 256)
    ]
    assert "assume, and did not measure, 20 µs a message and 1.25 GB/s" in elsewhere
    assert markdown.fill(filled, run()) == filled


@pytest.mark.parametrize("side", ["torch:nchw", None])
def test_a_page_stays_as_it_is_if_ranks_took_no_part(side):
    page = "<!-- benchmark: ranks, model -->\nold\n<!-- end -->\n"
    results = [] if side is None else [result(one.name, 1.0, 1.0, side) for one in run().results]
    assert markdown.fill(page, report.Report({}, run().settings, results)) == page

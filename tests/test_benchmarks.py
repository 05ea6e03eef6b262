"""The benchmark runner, on sides and a clock that are made up; no test here depends on how fast anything is."""

import dataclasses
import importlib.util
import itertools
import json

import numpy as np
import pytest

import cnnlayers as cl
from benchmarks import __main__ as main_module
from benchmarks import accuracy, cases, environment, nets, report, runner, suites, table
from benchmarks.cases import Case, Unavailable
from benchmarks.runner import Result
from benchmarks.sides import process
from benchmarks.suites import convolution

ALL_CASES = [case.without("torch:compile") for case in suites.cases()]  # it takes half a minute to compile one
HAS_TORCH = importlib.util.find_spec("torch") is not None


def tiny(case):
    """What is left of the sizes of a case when it is made tiny."""
    what, *batch = case.problem.args
    return what.tiny() if isinstance(what, convolution.Row) else (what, *(min(n, 3) for n in batch))


# Of the timed cases that are the same when they are tiny, the last.
TIMED = {
    (case.suite, case.operation, *case.sides, tiny(case)): case
    for case in ALL_CASES
    if case.timed and not case.processes
}.values()


class Clock:
    """Time passes only when a side is run."""

    def __init__(self):
        self.now = 0.0
        self.calls = []

    def __call__(self):
        return self.now

    def side(self, name, durations):
        """Give a side that takes each of these times in turn."""
        durations = itertools.cycle(durations)

        def run():
            self.calls.append(name)
            self.now += next(durations)

        return run


class FakeSide:
    """Computes a constant."""

    value = 1.0

    def __init__(self, problem):
        self.problem = problem

    def work(self):
        return self.problem * self.value

    def arrays(self, operation, result):
        return [np.asarray(result)]


class Twice(FakeSide):
    value = 2.0


class Missing(FakeSide):
    def __init__(self, problem):
        raise Unavailable("not installed")


def fake_case(**sides):
    return Case("fake", "one", "work", lambda quick: np.ones(3 if quick else 30), sides)


def result(name="a", **seconds):
    seconds = {side.replace("_", ":", 1): times for side, times in seconds.items()}
    return Result("fake", name, seconds, work=3e9)


def fake_report(*results, quick=False, **where):
    return report.Report({"NumPy": "2.4", **where}, {"quick": quick}, list(results))


# Measuring


def test_sides_take_turns_that_begin_with_untimed_calls():
    clock = Clock()
    runs = {name: clock.side(name, [1.0]) for name in "abc"}
    runner.measure(runs, 2, pause=0, clock=clock)
    assert "".join(clock.calls) == 2 * ("aaaaa" + "bbbbb" + "ccccc")


def test_only_the_calls_after_the_warm_ups_are_timed():
    clock = Clock()
    runs = {"a": clock.side("a", [100, 100, 1, 2, 4]), "b": clock.side("b", [50, 50, 8, 8, 8])}
    samples = runner.measure(runs, 2, pause=0, clock=clock)
    assert samples == {"a": [1, 2, 4, 1, 2, 4], "b": [8] * 6}


def test_a_turn_has_two_untimed_calls():
    clock = Clock()
    samples = runner.measure({"a": clock.side("a", [1.0])}, 1, pause=0, clock=clock)
    assert len(clock.calls) - len(samples["a"]) == runner.WARM_UPS == 2


def test_short_calls_are_repeated_for_a_while():
    clock = Clock()
    samples = runner.measure({"a": clock.side("a", [2**-9]), "b": clock.side("b", [2**-30])}, 1, pause=0, clock=clock)
    assert [len(samples[side]) for side in "ab"] == [11, runner.MOST]  # 11 / 512 s is the first above 0.02 s
    assert clock.calls.count("a") == 22


@pytest.mark.parametrize(("budget", "turns"), [(0.0, 3), (40.0, 5), (1000.0, 8)])
def test_no_turn_begins_when_the_budget_is_spent_but_the_first_three(budget, turns):
    clock = Clock()
    samples = runner.measure({"a": clock.side("a", [2.0])}, 8, budget=budget, pause=0, clock=clock)  # 10 s a turn
    assert len(samples["a"]) == turns * runner.CALLS


def test_minimum_and_median():
    one = result(a=[5.0, 1.0, 3.0, 100.0])
    assert one.minimum("a") == 1.0
    assert one.median("a") == 4.0


def test_the_garbage_collector_is_back_after_an_error():
    def fail():
        raise RuntimeError("broken side")

    with pytest.raises(RuntimeError, match="broken side"):
        runner.measure({"a": fail}, 1)
    assert runner.gc.isenabled()


def test_a_side_that_is_not_there_is_left_out():
    outcome = runner.run_case(fake_case(a=FakeSide, b=Missing, cnnlayers=FakeSide), turns=1)
    assert list(outcome.samples) == ["a", "cnnlayers"]
    assert all(runner.CALLS <= len(times) <= runner.MOST for times in outcome.samples.values())


def test_a_figure_from_a_process_of_its_own_is_taken_as_it_is():
    case = Case("fake", "one", "work", lambda quick: 3.0, {"a": FakeSide, "b": Twice}, timed=False, unit="MB")
    outcome = runner.run_case(case, 10)
    assert outcome.samples == {"a": [3.0] * 3, "b": [6.0] * 3}
    assert outcome.unit == "MB"


def test_a_side_without_the_operation_is_left_out():
    case = Case("fake", "one", "other", lambda quick: 1, {"a": FakeSide})
    assert case.prepare(1) == {}
    with pytest.raises(NotImplementedError, match=r"FakeSide has no other\(\)"):
        cases.method(FakeSide(1), "other")


# Agreement


def test_sides_that_disagree_are_not_timed():
    with pytest.raises(runner.Disagreement, match=r"fake/one: b differs from a by 1\.0e\+00 of the largest element"):
        runner.run_case(fake_case(a=FakeSide, b=Twice), turns=1)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.full(3, np.nan), "b differs from a by nan"),
        (np.ones((3, 1)), r"array 0 of a has shape \(3,\), of b \(3, 1\)"),
    ],
)
def test_nan_and_other_shapes_are_disagreement(value, message):
    class Other(FakeSide):
        def work(self):
            return value

    case = fake_case(a=FakeSide, b=Other)
    with pytest.raises(runner.Disagreement, match=message):
        runner.verify(case, case.prepare(case.problem(True)))


def test_another_number_of_arrays_is_disagreement():
    class Pair(FakeSide):
        def arrays(self, operation, result):
            return [result, result]

    case = fake_case(a=FakeSide, b=Pair)
    with pytest.raises(runner.Disagreement, match="a gives 1 arrays, b 2"):
        runner.verify(case, case.prepare(case.problem(True)))


# The table


def test_variants_of_one_library_share_a_column_and_the_fastest_counts():
    one = result(cnnlayers=[1.0, 2.0], torch_nchw=[3.0, 3.0], torch_channels_last=[2.0, 9.0])
    assert table.fastest(one) == {"cnnlayers": "cnnlayers", "torch": "torch:channels_last"}
    assert table.ratio(one, "torch") == 2.0  # 2 / 1
    assert table.ratio(one, "torch", np.median) == 2.0  # 3 / 1.5
    assert table.ratio(one, "numpy") is None


def test_a_line_of_the_table():
    printed = table.Table("fake", ["forward/a"], ["loops", "numpy", "cnnlayers", "torch:nchw"])
    one = result("forward/a", numpy=[0.004, 0.005], cnnlayers=[0.002, 0.003], torch_nchw=[0.001, 0.001])
    assert " ".join(printed.header().split()) == ("fake loops NumPy cnnlayers PyTorch vs loops vs NumPy vs PyTorch")
    assert " ".join(printed.line(one).split()) == "forward/a - 4.00 (4.50) 2.00 (2.50) cf 1.00 (1.00) - 2.00 0.50"
    assert len(printed.header()) == len(printed.line(one))


@pytest.mark.parametrize(("peak", "part"), [({"float32": 3000.0, "float64": 9.0}, "50%"), (None, "-")])
def test_the_suite_conv_shows_effective_and_real_gflops_and_the_part_of_the_peak(peak, part):
    printed = table.Table("conv", ["a"], ["cnnlayers"], peak=peak)
    assert printed.header().split()[-4:] == ["algorithm", "effective", "real", "peak"]
    one = dataclasses.replace(result(cnnlayers=[0.001]), real_work=1.5e9, algorithm="F(2)")
    assert printed.line(one).split()[-4:] == ["F(2)", "3000", "1500", part]
    assert printed.line(result(torch=[0.001])).split()[-4:] == ["-"] * 4


def test_sides_stand_in_the_order_of_the_row_that_has_most():
    assert table.in_order([["a", "c"], ["a", "b", "c"], ["d"]]) == ["a", "b", "c", "d"]


def test_figures_that_are_the_same_each_time_stand_once():
    one = Result("rounding", "forward rms/16", {"direct": [1.5] * 3, "F(2)": [3.0] * 3}, unit="eps", reference="direct")
    printed = table.Table("rounding", ["a"], one.samples, "direct")
    assert printed.cells(one) == ["forward rms/16, eps", "1.50", "3.00", "2.00"]
    assert printed.footer([one, one]) == []


def test_the_suite_choice_shows_what_was_chosen_and_what_it_loses():
    printed = table.make("choice", ["a"], ["direct", "F(2)"], "direct")
    names = ("dW/a", "dW/b", "dx/a")
    results = [
        Result("choice", name, {"direct": [first], "F(2)": [0.002]}, reference="direct", algorithm="direct")
        for name, first in zip(names, (0.001, 0.004, 0.0021), strict=True)
    ]
    assert printed.titles[-3:] == ["chosen", "best", "chosen/best"]
    assert printed.cells(results[1])[-3:] == ["direct", "F(2)", "2.00"]
    assert printed.footer(results) == [
        "dW: the best chosen in 1 of 2 cases, within 5% of it in 1; "
        "chosen/best: geometric mean 1.414, worst 2.00 (dW/b)",
        "dx: the best chosen in 0 of 1 cases, within 5% of it in 1; "
        "chosen/best: geometric mean 1.050, worst 1.05 (dx/a)",
        "all: the best chosen in 1 of 3 cases, within 5% of it in 2; "
        "chosen/best: geometric mean 1.281, worst 2.00 (dW/b)",
    ]
    other = dataclasses.replace(results[0], algorithm="im2col")
    assert printed.cells(other)[-3:] == ["im2col", "direct", "-"]
    assert printed.footer([other]) == ["dW: nothing chosen", "all: nothing chosen"]


def test_figures_that_are_no_times_name_their_unit():
    one = dataclasses.replace(result(cnnlayers=[50.0], torch_nchw=[100.0]), unit="MB")
    line = table.Table("memory", ["a"], one.samples).line(one)
    assert " ".join(line.split()) == "a, MB 50.0 (50.0) cf 100 (100) 2.00"


def test_a_suite_may_divide_by_another_side_than_ours():
    samples = {"1 thread": [3.0], "2 threads:nchw": [2.0], "2 threads:x": [1.5]}
    one = Result("threads", "a", samples, reference="2 threads")
    assert table.ratio(one, "1 thread") == 2.0
    assert table.Table("threads", ["a"], one.samples, "2 threads").titles[-1] == "vs 1 thread"


def test_the_footer_gives_geometric_mean_and_worst_of_each_operation():
    printed = table.Table("fake", [], ["numpy", "cnnlayers"])
    results = [
        result("forward/a", numpy=[8.0], cnnlayers=[1.0]),
        result("forward/b", numpy=[0.5], cnnlayers=[1.0]),
        result("dW/a", numpy=[3.0], cnnlayers=[1.0]),
        result("dW/alone", cnnlayers=[1.0]),
    ]
    assert printed.footer(results) == [
        "forward vs NumPy: geometric mean 2.00 (by medians 2.00) over 2 cases, 1 of them at least 1; "
        "worst 0.50 (forward/b)",
        "dW vs NumPy: geometric mean 3.00 (by medians 3.00) over 1 cases, 1 of them at least 1; worst 3.00 (dW/a)",
        "all vs NumPy: geometric mean 2.29 (by medians 2.29) over 3 cases, 2 of them at least 1; "
        "worst 0.50 (forward/b)",
    ]


def test_one_line_alone_and_figures_of_two_kinds_are_not_summed_up():
    printed = table.Table("fake", [], ["numpy", "cnnlayers"])
    seconds = result("time/a", numpy=[2.0], cnnlayers=[1.0])
    assert printed.footer([seconds]) == []
    assert printed.footer([seconds, dataclasses.replace(seconds, name="size/a", unit="MB")]) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.5, "1234"), (99.96, "100"), (12.34, "12.3"), (1.0, "1.00"), (0.5, "0.500"), (0.01234, "0.0123")],
)
def test_three_digits(value, text):
    assert table.three_digits(value) == text


# JSON


def test_json_round_trip(tmp_path):
    before = fake_report(result("a", cnnlayers=[0.25, 1e-7]), result("b", torch_nchw=[3.0]), PyTorch=None)
    report.save(before, tmp_path / "run.json")
    assert report.load(tmp_path / "run.json") == before


def test_json_has_minimum_and_median(tmp_path):
    report.save(fake_report(result(cnnlayers=[1.0, 2.0, 6.0])), tmp_path / "run.json")
    (one,) = json.loads((tmp_path / "run.json").read_text())["results"]
    assert (one["suite"], one["name"], one["unit"]) == ("fake", "a", "s")
    assert one["sides"]["cnnlayers"] == {"minimum": 1.0, "median": 2.0, "all": [1.0, 2.0, 6.0]}


def test_a_file_from_before_winograd_is_read(tmp_path):
    report.save(fake_report(result(cnnlayers=[1.0])), tmp_path / "run.json")
    data = json.loads((tmp_path / "run.json").read_text())
    for name in ("real_work", "algorithm"):
        del data["results"][0][name]
    (tmp_path / "run.json").write_text(json.dumps(data))
    assert report.load(tmp_path / "run.json").results[0].algorithm is None


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 99}', "\0"])
def test_other_files_are_refused(tmp_path, text):
    (tmp_path / "old.json").write_text(text)
    with pytest.raises(ValueError, match=r"old\.json is not a benchmark report of format 2: make it with --json"):
        report.load(tmp_path / "old.json")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"cannot read .*old\.json: No such file"):
        report.load(tmp_path / "old.json")


# The cases


def test_names_are_unique_and_every_suite_has_cases():
    names = [case.full_name for case in ALL_CASES]
    assert len(set(names)) == len(names)
    assert {case.suite for case in ALL_CASES} == set(suites.SUITES)


@pytest.mark.parametrize("case", TIMED, ids=[case.full_name for case in TIMED])
def test_every_case_runs_tiny_and_its_sides_agree(case):
    environment.set_threads(2)
    sides = case.prepare(case.problem(True))
    assert case.reference in {table.family(name) for name in sides}
    assert sides.keys() == {name for name in case.sides if not environment.missing(table.family(name))}
    runner.verify(case, sides)
    for side in sides.values():
        side.run()  # a second call is what the clock sees


@pytest.mark.parametrize("name", ["memory/resnet8-128", "import/time/import", "import/size/installed"])
def test_figures_come_from_processes(name):
    (case,) = cases.select(ALL_CASES, name)
    ours = case.prepare(case.problem(True))["cnnlayers"].run()
    assert {"s": 0.001, "MB": 0.5}[case.unit] < ours < {"s": 60, "MB": 2000}[case.unit]


def test_a_process_that_fails_shows_its_error():
    with pytest.raises(RuntimeError, match=r"(?s)-c raise SystemExit.*failed:.*no luck"):
        process.output(["-c", "raise SystemExit('no luck')"])


@pytest.mark.parametrize(("name", "parameters"), [("resnet20", 272_474), ("course", 825_046)])
def test_nets_have_the_size_that_others_give_for_them(name, parameters):
    build, shape = nets.NETS[name]
    assert build(input_shape=shape, rng=0).flat_params.size == parameters


def test_torch_compile_takes_part_only_if_asked_for():
    assert {case.suite for case in suites.cases() if "torch:compile" in case.sides} == {"step", "infer"}
    assert not any("torch:compile" in case.sides for case in ALL_CASES)


def test_the_step_is_compared_by_loss_and_every_parameter():
    (case, *_) = cases.select(ALL_CASES, "step/")
    problem = case.problem(True)
    loss, *parameters = case.prepare(problem)["cnnlayers"].arrays(1.5)
    assert loss == 1.5
    assert [p.shape for p in parameters] == [p.shape for p in problem.net.params.values()]


def test_a_step_changes_neither_the_problem_nor_another_side():
    (case, *_) = cases.select(ALL_CASES, "step/")
    problem = case.problem(True)
    before = problem.net.flat_params.copy()
    for side in case.prepare(problem).values():
        side.run()
    np.testing.assert_array_equal(problem.net.flat_params, before)


def test_loops_take_part_in_small_cases_only():
    with_loops = [case for case in ALL_CASES if "loops" in case.sides]
    assert {case.suite for case in with_loops} == {"columns"}
    assert {case.operation for case in with_loops} == {"im2col", "col2im", "forward", "backward"}
    for case in with_loops:
        assert case.problem(False).x.size < 1000


def test_work_counts_multiplications_and_additions():
    case = next(case for case in ALL_CASES if case.name == "dx/1x32x32x32-f32-k3-s1-p1")
    assert case.problem(False).work("dx") == 2 * 32 * 32 * (9 * 32) * 32
    assert case.problem(False).work("im2col") is None
    depthwise = convolution.Problem(convolution.Row(2, 8, 6, 6, 3, padding=1, groups=6))
    assert depthwise.work("forward") == 2 * 2 * 8 * 8 * 9 * 6


def test_real_work_of_the_plain_kernel_leaves_padding_out():
    one = convolution.Problem(convolution.Row(2, 4, 3, 5, 3, padding=1))
    assert one.algorithm("forward") == "direct"
    assert one.real_work("forward") == 2 * 2 * (2 + 3 + 3 + 2) ** 2 * 3 * 5  # taps inside, along each axis
    assert one.real_work("layer") == 3 * one.real_work("dx")
    assert (one.algorithm("im2col"), one.real_work("im2col")) == (None, None)
    strided = convolution.Problem(convolution.Row(1, 5, 1, 1, 3, stride=2, padding=1))
    assert strided.real_work("dW") == 2 * (2 + 3 + 2) ** 2


def test_real_work_of_winograd_is_that_of_whole_tiles(monkeypatch):
    monkeypatch.setattr(convolution.kernels, "choose", lambda *_: cl.kernels.Choice("F(4x4, 3x3)", "", 4))
    row = convolution.Row(64, 10, 64, 32, 3, padding=1)  # 3 x 3 tiles of 4 x 4
    one = convolution.Problem(row)
    assert one.algorithm("forward") == "F(4)"
    assert one.real_work("forward") == 2 * 64 * 9 * 36 * 64 * 32
    unpadded = convolution.Problem(dataclasses.replace(row, padding=0))  # y is 8 x 8, dx is 10 x 10
    assert unpadded.algorithm("layer") == "F(4)"
    assert unpadded.real_work("forward") == 2 * 64 * 4 * 36 * 64 * 32
    assert unpadded.real_work("dx") == 2 * 64 * 9 * 36 * 64 * 32


def test_real_work_of_winograd_knows_5x5_kernels(monkeypatch):
    monkeypatch.setattr(convolution.kernels, "choose", lambda *_: cl.kernels.Choice("F(2x2, 5x5)", "", 2))
    one = convolution.Problem(convolution.Row(64, 11, 64, 32, 5, padding=1))  # y is 9 x 9: 5 x 5 tiles; dx: 6 x 6
    assert one.algorithm("forward") == "F(2)"
    assert one.real_work("forward") == one.real_work("dW") == 2 * 64 * 25 * 36 * 64 * 32
    assert one.real_work("dx") == 2 * 64 * 36 * 36 * 64 * 32


def test_the_suite_choice_times_every_algorithm_that_takes_the_kernel():
    for case in (case for case in ALL_CASES if case.suite == "choice"):
        row = case.problem.args[0]
        tiles = {(2, 3): ["F(2)", "F(4)"], (2, 5): ["F(2)"], (1, 3): ["F(4)"], (1, 5): ["F(2)"]}
        assert list(case.sides) == ["direct", *tiles[row.rank, row.kernel]]
        assert row.algorithm(case.operation) in case.sides


def test_algorithms_of_a_layer_are_all_named_where_they_differ(monkeypatch):
    choices = {"forward": ("F(4x4, 3x3)", "", 4), "input_grad": ("F(4x4, 3x3)", "", 4), "weight_grad": ("direct", "")}
    monkeypatch.setattr(convolution.kernels, "choose", lambda which, *_: cl.kernels.Choice(*choices[which]))
    row = convolution.Row(1, 8, 8, 8, 3)
    assert row.algorithm("layer") == "F(4), F(4), direct"
    assert row.algorithm("backward") == "F(4), direct"
    assert row.algorithm("dx") == "F(4)"


def test_the_plain_kernel_takes_part_where_winograd_is_chosen():
    for case in (case for case in ALL_CASES if case.suite in ("conv", "layer")):
        row = case.problem.args[0]
        assert ("direct" in case.sides) is (row.algorithm(case.operation) != "direct")
    assert any("direct" in case.sides for case in ALL_CASES if case.suite == "conv")


@pytest.mark.parametrize("kernel", ["3x3", "5x5"])
def test_rounding_errors_are_measured_in_units_of_the_true_result(kernel):
    case = next(case for case in ALL_CASES if case.name == f"dx {kernel} rms/16")
    problem = case.problem(False)
    truth = suites.rounding.true_result(problem, "dx")

    class Off:
        def dx(self):
            return truth + 3 * np.sqrt(np.mean(truth**2)) * 2.0**-23

    errors = suites.rounding.Errors(problem, lambda problem: Off())
    assert errors.dx_rms() == pytest.approx(3)
    assert errors.dx_max() == pytest.approx(3)
    for side in case.prepare(problem).values():
        assert 0.1 < side.run() < 20
    other = [case.problem(True).row for case in ALL_CASES if case.suite == "rounding"]
    assert max(row.channels for row in other) == 16


def test_traffic_counts_every_array_once():
    one = convolution.Problem(convolution.Row(2, 5, 3, 4, 3, dtype="float64"))
    assert one.traffic("forward") == 8 * (2 * 5 * 5 * 3 + 3 * 3 * 3 * 4 + 2 * 3 * 3 * 4)
    assert one.traffic("layer") is None


def test_select_by_pattern():
    assert [c.name for c in cases.select(ALL_CASES, "step/lenet")] == ["lenet-1", "lenet-32", "lenet-128"]
    assert [c.name for c in cases.select(ALL_CASES, "step/v*-3?")] == ["vgg-32"]
    assert {c.operation for c in cases.select(ALL_CASES, "conv/dW/*k3")} == {"dW"}
    assert cases.select(ALL_CASES, "") == ALL_CASES
    with pytest.raises(ValueError, match="no suite 'cnov'; there are conv, step, infer"):
        suites.cases(["conv", "cnov"])


# The command


def test_a_quick_run_from_the_command_line(tmp_path, capsys):
    path = tmp_path / "run.json"
    arguments = ["--quick", "--cases", "step/lenet", "--threads", "1", "--json", str(path)]
    assert main_module.main(arguments) == 0
    out = capsys.readouterr().out
    assert "threads: 1 on every side" in out
    assert "--quick runs tiny problems" in out
    assert ("PyTorch was not found" in out) is not HAS_TORCH
    assert "lenet-32 " in out
    assert "step vs NumPy: geometric mean" in out
    saved = report.load(path)
    assert [one.full_name for one in saved.results] == ["step/lenet-1", "step/lenet-32", "step/lenet-128"]
    assert saved.settings["threads"] == 1
    assert saved.environment["threads"] == "1"
    assert all(runner.CALLS <= len(times) <= runner.MOST for times in saved.results[0].samples.values())

    assert main_module.main(["step", "--quick", "--cases", "lenet-32", "--repeats", "1", "--compare", str(path)]) == 0
    assert "step/lenet-32  cnnlayers" in capsys.readouterr().out


def test_list_prints_names_and_runs_nothing(capsys):
    assert main_module.main(["step", "--cases", "vgg", "--list"]) == 0
    assert capsys.readouterr().out.split() == ["step/vgg-1", "step/vgg-32", "step/vgg-128"]


def test_the_help_names_the_suites():
    assert tuple(suites.SUITES) == main_module.SUITES


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "no suite 'nothing'; there are conv, step, infer"),
        (["--cases", "nothing"], "no case matches 'nothing'; --list prints their names"),
        (["--json", "/no/such/folder/run.json"], "no folder /no/such/folder to write"),
        (["--compare", "/no/such/run.json"], "cannot read /no/such/run.json"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_runs(capsys, arguments, message):
    assert main_module.main(arguments) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
@pytest.mark.parametrize("option", ["--threads", "--repeats", "--seconds"])
def test_numbers_are_checked(capsys, option, text):
    with pytest.raises(SystemExit):
        main_module.main([f"{option}={text}"])
    assert f"argument {option}: must be an int of at least 1; got '{text}'" in capsys.readouterr().err


def test_every_library_gets_the_same_number_of_threads(monkeypatch):
    monkeypatch.setattr(environment.os, "environ", {"OMP_NUM_THREADS": "7"})
    environment.limit_threads(2)
    assert environment.os.environ == dict.fromkeys(environment.THREAD_VARIABLES, "2")


def test_the_environment_is_stated():
    where = environment.describe()
    assert where["threads"] == str(cl.get_num_threads())
    assert where["NumPy"] == np.__version__
    assert (where["PyTorch"] is not None) is HAS_TORCH
    assert where["processor"]
    json.dumps(where)


# Whole trainings


def test_accuracy_trains_each_side_on_the_same_batches(monkeypatch, capsys):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 100, (60, 28, 28, 1), np.uint8), rng.integers(2, size=60)
    x[y == 1, 8:20, 8:20] += 150
    recipe = accuracy.Recipe(
        "lenet-squares", nets.lenet, lambda root: ((x, y), (x, y)), None, cl.Constant(), lr=0.05, batch=10, epochs=4
    )
    done = accuracy.train("cnnlayers", recipe, 0, (x, y), (x, y))
    assert done.accuracy == 1.0
    assert done.seconds > 0
    assert len(done.losses) == 4
    assert done.losses[-1] < 0.5 * done.losses[0]
    epochs = [list(accuracy.batches(recipe, x, y, 0, epoch, accuracy.scaling(x))) for epoch in (1, 1, 2)]
    for (a, _), (b, _) in zip(epochs[0], epochs[1], strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(epochs[0][0][0], epochs[2][0][0])
    monkeypatch.setattr(accuracy, "recipes", lambda: [recipe])
    monkeypatch.setenv("CNNLAYERS_DATA", ".")
    assert main_module.main(["accuracy", "--quick"]) == 0
    out = capsys.readouterr().out
    assert "lenet-squares    cnnlayers    accuracy" in out
    lines = [line for line in out.splitlines() if "loss by epoch" in line]
    curves = {line.split()[1]: [float(number) for number in line.split()[5:]] for line in lines}
    assert len(curves["exact"]) == 4
    np.testing.assert_allclose(curves["cnnlayers"], curves["exact"], rtol=0.01, atol=0.005)  # but for rounding


@pytest.mark.parametrize(("side", "precision"), [("cnnlayers", "fast"), ("exact", "exact")])
def test_accuracy_sets_the_precision_for_one_training(monkeypatch, side, precision):
    def fail(*arguments):
        raise RuntimeError(cl.get_precision())

    monkeypatch.setattr(accuracy, "train_here", fail)
    with pytest.raises(RuntimeError, match=f"^{precision}$"):
        accuracy.train(side, None, 0, None, None)
    assert cl.get_precision() == "fast"


def test_accuracy_needs_the_images(monkeypatch, capsys):
    monkeypatch.delenv("CNNLAYERS_DATA", raising=False)
    assert main_module.main(["accuracy"]) == 1
    assert "set CNNLAYERS_DATA" in capsys.readouterr().err

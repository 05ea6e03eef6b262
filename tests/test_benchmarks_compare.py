"""Runs against older runs, on figures that are made up: what counts as slower, and what the commands answer."""

import dataclasses

import pytest

from benchmarks import __main__ as main_module
from benchmarks import compare, report
from benchmarks.runner import Result

STEADY = [1.0, 1.01, 1.02, 1.01, 1.5]  # the lower quartile is 1.01
JUMPY = [1.0, 1.3, 1.4, 1.3, 2.0]  # 1.3


def times(samples, factor):
    return [factor * sample for sample in samples]


def result(name="a", unit="s", reference="cnnlayers", algorithm=None, **samples):
    samples = {side.replace("_", ":", 1): figures for side, figures in samples.items()}
    return Result("fake", name, samples, unit=unit, reference=reference, algorithm=algorithm)


def run(*results, quick=False, **where):
    return report.Report({"NumPy": "2.4", **where}, {"quick": quick}, list(results))


def is_slower(new, old, threshold=1.05):
    return compare.is_slower(result(cnnlayers=new), result(cnnlayers=old), threshold)


# What is slower


def test_the_noise_of_a_run_is_how_far_its_fastest_quarter_spreads():
    assert compare.spread(STEADY) == pytest.approx(1.01)
    assert compare.spread(JUMPY) == pytest.approx(1.3)
    assert compare.spread([2.0]) == compare.spread([2.0, 2.0, 2.0]) == 1.0


@pytest.mark.parametrize(
    ("new", "old", "factor", "expected"),
    [
        (STEADY, STEADY, 1.1, True),
        (STEADY, STEADY, 1.04, False),  # above the noise, not above the threshold
        (STEADY, STEADY, 0.5, False),
        (STEADY, JUMPY, 1.25, False),  # the noise of either run is enough
        (JUMPY, STEADY, 1.25, False),
        (JUMPY, STEADY, 1.4, True),
        (JUMPY, JUMPY, 1.6, False),  # 1.3 * 1.3
        (JUMPY, JUMPY, 1.8, True),
    ],
)
def test_a_case_is_slower_if_its_minimum_grows_by_more_than_the_noise_of_both_runs(new, old, factor, expected):
    assert is_slower(times(new, factor), old) is expected


def test_calls_that_something_else_disturbed_do_not_hide_a_slowdown():
    assert is_slower([1.2, 1.2, 1.2, 9.0, 50.0], [1.0, 1.0, 1.0, 7.0, 30.0])


def test_no_slowdown_below_the_threshold_counts():
    assert is_slower([1.3], [1.0])
    assert not is_slower([1.3], [1.0], threshold=1.5)


def test_the_best_side_of_ours_counts():
    old = result(cnnlayers=[3.0], cnnlayers_for_inference=[1.0])
    assert compare.is_slower(result(cnnlayers=[2.0]), old, 1.05)
    assert not compare.is_slower(result(cnnlayers=[1.0]), old, 1.05)


def test_of_algorithms_the_chosen_one_is_ours_and_of_threads_the_reference():
    old = result(direct=[1.0], F4=[2.0], reference="direct", algorithm="direct")
    new = result(direct=[1.0], F4=[2.0], reference="direct", algorithm="F4")
    assert compare.slowdown(new, old) == (2.0, 1.0)
    sides = {"1 thread": [4.0], "2 threads": [2.0]}
    threads = Result("threads", "cnnlayers/vgg", sides, reference="2 threads")
    assert compare.ours(threads) == "2 threads"
    assert compare.ours(dataclasses.replace(threads, name="PyTorch/vgg")) is None


def test_only_times_are_guarded():
    assert compare.slowdown(result(cnnlayers=[9.0], unit="MB"), result(cnnlayers=[1.0], unit="MB")) is None
    assert compare.slowdown(result(torch_nchw=[9.0]), result(torch_nchw=[1.0])) is None


# What is printed


def test_new_over_old_of_each_library_and_a_mark_at_slowdowns():
    old = run(*(result(name, cnnlayers=[1.0, 1.0], torch_nchw=[2.0], torch_channels_last=[3.0]) for name in "abc"))
    new = run(
        result("a", cnnlayers=[1.2, 9.0], torch_nchw=[9.0], torch_channels_last=[4.0]),
        result("b", cnnlayers=[1.2, 1.2], torch_nchw=[1.0], torch_channels_last=[9.0]),
        result("d", cnnlayers=[9.0]),
    )
    assert compare.compare(new, old, threshold=1.1) == [
        "new / old, by the minima of each library:",
        "fake/a  cnnlayers 1.20  torch 2.00  (noise 2.62)",
        "fake/b  cnnlayers 1.20  torch 0.50  (noise 1.00)   <-- SLOWER",
        "the others: geometric mean 1.00",
        "1 of 2 cases are slower: cnnlayers above 1.1 and above noise",
    ]


def test_what_else_has_changed():
    old, new = (run(result(cnnlayers=[1.0]), NumPy=version, load=load) for version, load in [("1", 0), ("2", 9)])
    assert compare.compare(new, old, 1.1)[0] == "note: NumPy was 1, is 2"


# What the commands answer


def files(folder, new, old):
    report.save(new, folder / "new.json")
    report.save(old, folder / "old.json")
    return [str(folder / "new.json"), str(folder / "old.json")]


def test_slower_cases_are_named_and_the_exit_code_is_1(tmp_path, capsys):
    old = run(*(result(name, cnnlayers=STEADY) for name in "abc"))
    slow = run(
        *(result(name, cnnlayers=times(STEADY, factor)) for name, factor in zip("abc", (1.0, 1.2, 2), strict=True))
    )
    assert compare.main(files(tmp_path, slow, old)) == 1
    captured = capsys.readouterr()
    assert captured.err == "benchmarks.compare: slower than before by more than noise: fake/b, fake/c\n"
    assert captured.out.count("<-- SLOWER") == 2
    assert compare.main([*files(tmp_path, slow, old), "--threshold", "3"]) == 0
    assert compare.main(files(tmp_path, old, slow)) == 0
    assert compare.main(files(tmp_path, old, old)) == 0


def test_runs_that_say_nothing_about_each_other_are_refused(tmp_path, capsys):
    one = run(result("a", cnnlayers=[1.0]))
    assert compare.main(files(tmp_path, one, run(result("b", cnnlayers=[1.0])))) == 1
    assert "no case is in both runs" in capsys.readouterr().err
    assert compare.main(files(tmp_path, one, run(result("a", cnnlayers=[1.0]), quick=True))) == 1
    assert "cannot compare a --quick run with a full one" in capsys.readouterr().err
    assert compare.main([str(tmp_path / "none.json"), str(tmp_path / "old.json")]) == 1
    assert "cannot read" in capsys.readouterr().err


def test_a_quick_run_is_never_called_slower():
    old, new = (run(result(cnnlayers=[seconds]), quick=True) for seconds in (1.0, 9.0))
    compare.check(new, old, 1.05)


def test_a_run_compares_itself_and_fails_if_it_is_slower(tmp_path, capsys, monkeypatch):
    settings = {"quick": False}
    for name, seconds in (("fast", 1.0), ("slow", 1e-12)):
        one = Result("step", "lenet-1", {"cnnlayers": [seconds] * 3})
        report.save(report.Report({}, settings, [one]), tmp_path / f"{name}.json")

    def runs(*_):
        return [Result("step", "lenet-1", {"cnnlayers": [0.5] * 3})]

    monkeypatch.setattr("benchmarks.command.run_tables", runs)
    arguments = ["step", "--cases", "lenet-1", "--compare"]
    assert main_module.main([*arguments, str(tmp_path / "fast.json")]) == 0
    capsys.readouterr()
    assert main_module.main([*arguments, str(tmp_path / "slow.json")]) == 1
    assert "benchmarks: slower than before by more than noise: step/lenet-1" in capsys.readouterr().err
    assert main_module.main(["step", "--cases", "vgg", "--compare", str(tmp_path / "fast.json")]) == 1
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "benchmarks: cannot compare: no case is in both runs\n")


def test_both_commands_have_the_same_threshold():
    assert main_module.parse([]).threshold == compare.THRESHOLD

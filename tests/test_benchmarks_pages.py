"""What a run leaves in pages and pictures, and the limits of the machine that it measures."""

import ctypes
from pathlib import Path

import pytest

from benchmarks import command, markdown, peak, pictures, report, suites
from benchmarks.runner import Result

LIMITS = {"float32": 400.0, "float64": 200.0, "memory": 40.0}
SETTINGS = {"quick": False, "threads": 2, "repeats": 10, "seconds": 3}
PAGE = """\
# Speed
<!-- benchmark: step -->
old
<!-- end -->
between
<!-- benchmark: conv, summary -->
<!-- end -->
<!-- benchmark: memory -->
stays
<!-- end -->
"""


def run(**settings):
    results = [
        Result("step", "lenet-1", {"cnnlayers": [0.001], "torch:nchw": [0.004]}),
        Result("step", "lenet-32", {"cnnlayers": [0.002], "torch:nchw": [0.002]}),
        *(
            Result("conv", f"{operation}/a", {"cnnlayers": [0.01], "torch:nchw": [0.02]}, 2e9, 1e8)
            for operation in ("forward", "dW", "dx")
        ),
        Result("conv", "forward/b", {"cnnlayers": [0.01], "torch:nchw": [0.02]}, 1e9, 1e8, "float64"),
    ]
    return report.Report({"limits": LIMITS, "processor": "P"}, {**SETTINGS, **settings}, results)


# Pages


def test_tables_go_between_the_marks_and_the_rest_stays():
    page = markdown.fill(PAGE, run())
    assert page.startswith(
        "# Speed\n<!-- benchmark: step -->\n\n| step | cnnlayers | PyTorch | vs PyTorch |\n| :-- | --: | --: | --: |\n"
        "| lenet-1 | 1.00 (1.00) | cf 4.00 (4.00) | 4.00 |\n"
    )
    assert "- step vs PyTorch: geometric mean 2.00 (by medians 2.00) over 2 cases" in page
    assert "old" not in page
    assert "<!-- end -->\nbetween\n<!-- benchmark: conv, summary -->\n\n- forward vs PyTorch: geometric" in page
    assert page.endswith("<!-- benchmark: memory -->\nstays\n<!-- end -->\n")


def test_a_page_is_filled_again_and_stays_the_same():
    page = markdown.fill(PAGE, run())
    assert markdown.fill(page, run()) == page


def test_the_pages_have_a_place_for_every_suite():
    docs = Path(markdown.__file__).parents[1] / "docs"
    text = "".join(
        (docs / name).read_text(encoding="utf-8") for name in ("performance.md", "scaling.md", "winograd.md")
    )
    places = {found[2] for found in markdown.BLOCK.finditer(text)}
    assert places == {"machine", *suites.SUITES} - {"columns"}


def test_a_page_gets_the_table_of_choices_and_of_errors():
    samples = {"direct": [0.004], "F(4)": [0.001]}
    results = [
        Result("choice", "forward/a", samples, reference="direct", algorithm="F(4)"),
        Result("rounding", "dx rms/16", {"direct": [2.0], "F(4)": [5.0]}, unit="eps", reference="direct"),
    ]
    page = "<!-- benchmark: choice, summary -->\n<!-- end -->\n<!-- benchmark: rounding -->\n<!-- end -->\n"
    filled = markdown.fill(page, report.Report({"limits": LIMITS}, SETTINGS, results))
    assert "- forward: the best chosen in 1 of 1 cases" in filled
    assert "| dx rms/16, eps | 2.00 | 5.00 | 2.50 |" in filled


def test_figures_that_mean_nothing_get_into_no_page():
    with pytest.raises(ValueError, match="--quick run's figures mean nothing"):
        markdown.fill(PAGE, run(quick=True))
    with pytest.raises(ValueError, match=r"a\.md has no place for a table: <!-- benchmark: step -->"):
        markdown.fill("text", run(), "a.md")


def test_the_command_writes_pages(tmp_path, capsys):
    page, saved = tmp_path / "page.md", tmp_path / "run.json"
    page.write_text(PAGE)
    report.save(run(), saved)
    assert markdown.main([str(saved), str(page)]) == 0
    assert page.read_text() == markdown.fill(PAGE, run())
    assert markdown.main([str(saved), str(tmp_path / "none.md")]) == 1
    assert "No such file" in capsys.readouterr().err


# Pictures


def test_a_point_is_operations_per_byte_and_speed():
    found = pictures.points(run())
    assert [(one.name, one.effective, one.real, one.winograd) for one in found] == [
        (operation, (20.0, 200.0), (20.0, 200.0), False) for operation in ("forward", "dW", "dx")
    ]


def test_a_point_of_winograd_has_fewer_operations_in_the_same_time():
    one = Result("conv", "dx/a", {"cnnlayers": [0.01]}, 2e9, 1e8, real_work=5e8, algorithm="F(4)")
    assert pictures.as_point(one) == pictures.Point("dx", (20.0, 200.0), (5.0, 50.0), True)


def test_the_roofline_marks_what_is_above_it():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("svg")
    from matplotlib import pyplot

    found = pictures.points(run())
    found.append(pictures.Point("dx", (20.0, 800.0), (5.0, 200.0), True))
    figure = pictures.roofline(pyplot, found, run())
    (axes,) = figure.axes
    open_marks = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert [line.get_xydata().tolist() for line in open_marks] == [[[20.0, 800.0]]]
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend[:3] == ["forward", "dW", "dx"]
    assert "Winograd, counted as the plain kernel" in legend
    pyplot.close(figure)


def test_a_run_without_limits_has_no_roofline():
    with pytest.raises(ValueError, match="the run knows no limits of its machine"):
        pictures.points(report.Report({"limits": None}, SETTINGS, []))
    with pytest.raises(ValueError, match="not for a picture"):
        pictures.points(run(quick=True))


# The machine's limits


def test_the_limits_are_measured():
    machine = peak.Machine(2, quick=True)
    before = dict(machine.limits)
    machine.measure()
    assert before.keys() == LIMITS.keys()
    assert all(0 < before[name] <= machine.limits[name] for name in LIMITS)
    assert command.limit_lines(machine.limits, 2)[0].startswith("this machine at most, 2 threads: ")


def test_without_a_compiler_there_are_no_limits(monkeypatch):
    monkeypatch.setattr(peak.shutil, "which", lambda name: None)
    machine = peak.Machine(1, quick=True)
    machine.measure()
    assert machine.limits is None
    assert command.limit_lines(machine.limits, 1) == []


def test_the_loop_counts_its_operations(tmp_path):
    library = peak.build(tmp_path / "peak.so")
    library.fma_double.restype = ctypes.c_double
    operands = (ctypes.c_double * 3)(0.5, 1.0, 0.0)
    once, thrice = (library.fma_double(ctypes.c_long(turns), operands) for turns in (1, 3))
    assert thrice == 3 * once
    assert once / 2 >= 10 * 2  # ten multiply-adds of at least two numbers

"""The table of docs/platforms.md, as the checks of platforms write it."""

import pytest

from tests.platforms.__main__ import fill
from tests.platforms.row import Row

PAGE = "before\n\n<!-- platforms -->\n<!-- end -->\n\nafter\n"


def table(text):
    return [line for line in text.splitlines() if line.startswith("| ")][1:]


def test_rows_of_a_platform_replace_its_old_rows_and_no_others():
    page = fill(PAGE, [Row("Windows", "threads", "run under Wine"), Row("Windows", "pools", "run under Wine")], "day 1")
    page = fill(page, [Row("Linux", "the suite", "run")], "day 2")
    assert table(page) == [
        "| Linux | the suite | run | day 2 |",
        "| Windows | threads | run under Wine | day 1 |",
        "| Windows | pools | run under Wine | day 1 |",
    ]
    page = fill(page, [Row("Windows", "all", "run")], "day 3")
    assert table(page) == ["| Linux | the suite | run | day 2 |", "| Windows | all | run | day 3 |"]


def test_what_stands_around_the_table_stays():
    page = fill(PAGE, [Row("Linux", "the suite", "run")], "day 1")
    assert page.startswith("before\n\n<!-- platforms -->\n\n| platform |")
    assert page.endswith("|\n\n<!-- end -->\n\nafter\n")


def test_a_page_without_a_place_for_the_table_is_an_error():
    with pytest.raises(ValueError, match="no place for the table"):
        fill("no table here", [])

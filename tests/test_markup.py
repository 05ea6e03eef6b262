"""Tables and small curves for notebooks: well-formed, escaped, with the numbers of the text."""

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import markup
from cnnlayers.tables import RULE
from tests.html import parsed, tables_of

FRUIT = [("fruit", "pieces"), RULE, ("apple", "12"), ("  pear", "3"), RULE, ("total", "15")]
NASTY = "<script>alert(1)</script> & \"quotes\" 'too'"


def points(html):
    """The points of each line of a chart."""
    lines = [line.get("points").split() for line in parsed(html).iter("polyline")]
    return [[tuple(map(float, point.split(","))) for point in line] for line in lines]


def test_a_table_has_head_body_and_foot():
    html = markup.table(FRUIT, left=1)
    assert tables_of(html) == [[["fruit", "pieces"], ["apple", "12"], ["pear", "3"], ["total", "15"]]]
    (table,) = parsed(html).iter("table")
    assert [(part.tag, len(part)) for part in table] == [("thead", 1), ("tbody", 2), ("tfoot", 1)]
    assert {cell.tag for cell in table[0][0]} == {"th"}
    assert [[cell.get("class") for cell in row] for row in table.iter("tr")] == [["left", None]] * 4
    assert [row[0].get("style") for row in table.iter("tr")] == [None, None, "padding-left: 24px", None]


def test_a_table_without_rules_or_rows():
    (table,) = parsed(markup.table([("epoch", "loss"), ("1", "0.5")])).iter("table")
    assert [part.tag for part in table] == ["thead", "tbody"]
    (table,) = parsed(markup.table([("epoch",)])).iter("table")
    assert [part.tag for part in table] == ["thead"]


def test_cells_stand_out():
    (table,) = parsed(markup.table([("ok",), ("yes",), ("NO",)], marked={"NO"})).iter("table")
    assert [cell.get("class") for cell in table.iter("td")] == ["left", "left marked"]


def test_texts_are_escaped():
    html = markup.block(
        markup.table([(NASTY,), (NASTY,)], marked={"NO"}),
        markup.chart(NASTY, {NASTY: [1.0]}, lambda value: NASTY),
        markup.note(NASTY),
    )
    assert tables_of(html) == [[[NASTY], [NASTY]]]
    tree = parsed(html)
    assert "".join(tree.find("p").itertext()) == NASTY
    assert "".join(next(tree.iter("b")).itertext()) == NASTY
    assert next(tree.iter("svg")).get("aria-label").startswith(NASTY)


def test_bytes_that_are_no_text_become_escapes():
    assert tables_of(markup.table([("caf\udce9",)])) == [[["caf\\xe9"]]]
    markup.note("caf\udce9").encode()


def test_what_is_empty_leaves_no_trace():
    assert markup.block(markup.note("a"), markup.side_by_side(), "") == markup.block(markup.note("a"))


def test_a_chart_goes_from_its_lowest_to_its_highest_value():
    html = markup.chart("loss", {"train": [4.0, 2.0, 1.0], "val": [3.0, 3.0, 2.5]}, "{:.1f}".format)
    train, val = points(html)
    assert [x for x, _ in train] == [x for x, _ in val]
    assert np.ptp(np.diff([x for x, _ in train])) < 0.11  # even steps to the right
    top, bottom = train[0][1], train[-1][1]  # down the page is up in y
    assert top < bottom
    assert [y for _, y in train] == pytest.approx([bottom + (top - bottom) * (v - 1) / 3 for v in (4, 2, 1)], abs=0.06)
    assert [y for _, y in val] == pytest.approx([bottom + (top - bottom) * (v - 1) / 3 for v in (3, 3, 2.5)], abs=0.06)
    tree = parsed(html)
    assert [text.text for text in tree.iter("text")] == ["4.0", "1.0"]
    assert "".join(tree.find("figcaption").itertext()) == "loss● train 1.0● val 2.5"
    assert len({line.get("stroke") for line in tree.iter("polyline")}) == 2


@pytest.mark.parametrize(("values", "runs"), [([1, np.nan, 3, 2], [2, 2]), ([np.inf, 1, 2], [2]), ([np.nan], [])])
def test_a_value_that_is_not_finite_breaks_the_line(values, runs):
    drawn = points(markup.chart("loss", {"train": values}, str))
    assert [len(run) for run in drawn] == runs


def test_one_value_and_equal_values_are_drawn():
    ((first, last),) = points(markup.chart("loss", {"train": [2.0]}, str))
    assert first == last
    assert float(next(parsed(markup.chart("loss", {"train": [2.0]}, str)).iter("polyline")).get("stroke-width")) > 3
    assert [text.text for text in parsed(markup.chart("loss", {"train": [2.0, 2.0]}, str)).iter("text")] == ["2.0"]


@pytest.mark.parametrize("count", [299, 300, 301, 1000, 12345])
def test_a_long_line_is_thinned_out_and_ends_where_it_ends(count):
    (line,) = points(markup.chart("loss", {"train": np.linspace(1, 0, count).tolist()}, str))
    assert 150 <= len(line) <= 300
    ((_, end),) = {line[-1]}
    assert end == max(y for _, y in line)


def test_a_notebook_shows_them():
    formatter = pytest.importorskip("IPython.core.formatters", reason="IPython is not installed").DisplayFormatter()
    net = cl.Sequential([cl.Affine(2)], input_shape=(3,), rng=0)
    history = cl.History()
    history.append(train_loss=1.0)
    for shown in (net, net[0], net.plan, net.for_inference().plan, history, cl.gradcheck(net, np.ones((2, 3)))):
        forms, _ = formatter.format(shown)
        assert forms["text/html"] == shown._repr_html_()
        assert forms["text/plain"]
    forms, _ = formatter.format(cl.Affine(2))
    assert "text/html" not in forms

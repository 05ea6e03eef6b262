"""python -m benchmarks.markdown run.json PAGE...: write the tables of a run into Markdown pages.

A page says where: what stands between `<!-- benchmark: step -->` and `<!-- end -->` becomes the table of that suite,
`machine` is the machine and the versions, `step, summary` the last lines alone, `ranks, model` what
`scaling` makes of it. What did not run stays as it is. A record of the suite speedrun has tables of its own, as
`speedrun, time`: see `speedrun_page`.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from . import command, report, scaling, speedrun_page, table
from .runner import Result
from .speedrun_page import Trainings

BLOCK = re.compile(r"(<!-- benchmark: (\w+)(?:, (\w+))? -->\n).*?(<!-- end -->)", re.DOTALL)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.markdown", description="Write tables into pages.")
    parser.add_argument("run", help="what `python -m benchmarks --json` wrote")
    parser.add_argument("pages", nargs="+", metavar="page", help="Markdown files to change")
    options = parser.parse_args(arguments)
    try:
        run = speedrun_page.find(options.run) or report.load(options.run)
        for page in map(Path, options.pages):
            page.write_text(fill(page.read_text(encoding="utf-8"), run, str(page)), encoding="utf-8")
    except (ValueError, OSError) as error:
        print(f"benchmarks.markdown: {error}", file=sys.stderr)
        return 1
    return 0


def fill(text: str, run: report.Report | Trainings, page: str = "the page") -> str:
    """Give the text with its blocks made anew."""
    if run.settings["quick"]:
        raise ValueError("a --quick run's figures mean nothing: they are not for a page")
    if not BLOCK.search(text):
        raise ValueError(f"{page} has no place for a table: <!-- benchmark: step --> and <!-- end -->")

    def replace(found: re.Match) -> str:
        begin, suite, part, end = found.groups()
        lines = lines_of(run, suite, part or "")
        return found[0] if lines is None else "\n".join([begin, *lines, "", end])

    return BLOCK.sub(replace, text)


def lines_of(run: report.Report | Trainings, suite: str, part: str) -> list[str] | None:
    """Give what stands in a place, or None if the run has nothing for it."""
    if isinstance(run, Trainings):
        return run.lines(part) if suite == "speedrun" else None
    if suite == "machine":
        return machine(run)
    return scaling.lines(run) if part == "model" else of_suite(run, suite, part == "summary")


def machine(run: report.Report) -> list[str]:
    return ["```text", *command.preamble(run.environment, run.settings), "```"]


def of_suite(run: report.Report, suite: str, summary: bool) -> list[str] | None:
    """Give the table and the last lines of a suite, or None if it did not run."""
    results = [result for result in run.results if result.suite == suite]
    if not results:
        return None
    printed = as_table(suite, results, run.environment)
    last = [f"- {line}" for line in printed.footer(results)]
    return last if summary else [*rows(printed, results), *(["", *last] if last else [])]


def as_table(suite: str, results: list[Result], environment: dict) -> table.Table:
    sides = table.in_order(result.samples for result in results)
    return table.make(suite, [], sides, results[0].reference, environment.get("limits"))


def rows(printed: table.Table, results: list[Result]) -> list[str]:
    rule = [":--", *("--:" for _ in printed.titles[1:])]
    return [f"| {' | '.join(cells)} |" for cells in (printed.titles, rule, *map(printed.cells, results))]


if __name__ == "__main__":
    sys.exit(main())

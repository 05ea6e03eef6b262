"""python -m tests.platforms [NAME...]: build and test for other Pythons, systems and processors than this one's.

Each name is a module here whose `run` checks a platform, and yields a `Row` for all that passed; without names it is
each of them. The rows go into the table of docs/platforms.md, in place of those that the platform had. What is built
and fetched lies in build/platforms, and is used again.
"""

import argparse
import datetime
import importlib
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from .row import Row

PAGE = Path(__file__).parents[2] / "docs" / "platforms.md"
NAMES = ("wheels", "aarch64", "windows", "macos")
TABLE = re.compile(r"(<!-- platforms -->\n).*?(<!-- end -->)", re.DOTALL)
TITLES = "| platform | what was checked | how | when |\n|---|---|---|---|\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.platforms", description="Check other platforms.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(NAMES)}; without a name all of them")
    names = parser.parse_args().names or NAMES
    if unknown := [name for name in names if name not in NAMES]:
        parser.error(f"there is no platform {unknown[0]!r}; there are {', '.join(NAMES)}")
    for name in names:
        rows = []
        try:
            for row in importlib.import_module(f"tests.platforms.{name}").run():
                print(f"== {row.platform}: {row.what}: {row.how}", flush=True)
                rows.append(row)
        finally:  # what passed before a failure has passed
            PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), rows), encoding="utf-8")


def fill(text: str, rows: Iterable[Row], day: str | None = None) -> str:
    """Give the page's text with these rows in its table, in place of those of the same platforms."""
    found = TABLE.search(text)
    if not found:
        raise ValueError(f"{PAGE} has no place for the table: <!-- platforms --> and <!-- end -->")
    day = day or datetime.date.today().isoformat()
    lines = [f"| {row.platform} | {row.what} | {row.how} | {day} |" for row in rows]
    new = {_platform(line) for line in lines}
    old = [line for line in found[0].splitlines() if line.startswith("| ")][1:]
    lines += [line for line in old if _platform(line) not in new]
    body = "\n".join(sorted(lines, key=_platform))
    return TABLE.sub(lambda found: f"{found[1]}\n{TITLES}{body}\n\n{found[2]}", text)


def _platform(line: str) -> str:
    return line.split("|")[1].strip()


if __name__ == "__main__":
    sys.exit(main())

"""Tables as text: rows of cells, set in columns."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["RULE", "columns"]

RULE: tuple[str, ...] = ()  # a row without cells: a line of dashes


def columns(rows: Sequence[Sequence[str]], left: int | None = None) -> str:
    """Set the cells of each row under each other, two spaces apart.

    The first `left` columns (all, by default) are aligned to the left, the others to the right. All rows but a RULE
    need as many cells as the first.

    >>> print(columns([("fruit", "pieces"), RULE, ("apple", "12"), ("fig", "3")], left=1))
    fruit  pieces
    -------------
    apple      12
    fig         3
    """
    widths = [max(map(len, cells)) for cells in zip(*filter(None, rows), strict=True)]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    to_the_left = len(widths) if left is None else left

    def line(row: Sequence[str]) -> str:
        pairs = enumerate(zip(row, widths, strict=True))
        return "  ".join(cell.ljust(w) if i < to_the_left else cell.rjust(w) for i, (cell, w) in pairs).rstrip()

    return "\n".join(line(row) if row else rule for row in rows)

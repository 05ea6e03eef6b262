"""Where several ways meet: sums and concatenations, grouped so that what their inputs share comes in one branch.

The branches of a container all begin at the same point. So of

    a(x) + b(x) + c(b(x))      b would have to be in two branches: a(x) + y,  y = z + c(z),  z = b(x)
    [x, f(x), g([x, f(x)])]    f likewise:                         [y, g(y)], y = [x, f(x)]

Both are the same sum, and the same numbers side by side.
"""

from __future__ import annotations

from collections.abc import Sequence

from ....layers import Concat, Layer, Residual
from .errors import Refused
from .flow import Point, meeting

__all__ = ["added", "side_by_side"]

MOST = 64  # inputs of a sum or a concatenation that are grouped
Latest = dict[Point, tuple[tuple[Point, ...], Point]]  # by its first input, the last concatenation: its inputs, itself


def added(first: Point, second: Point, node: str, depth: int = 0) -> Point:
    """The sum of what two points give; `depth` tells how many groups it is within."""
    if depth > MOST:
        raise Refused(f"the ways that it adds are nested more than {MOST} deep")
    terms = _terms(first, second)
    groups = _groups(terms, together=False)
    if len(groups) == len(terms):
        return Point(_residual, (first, second), first.shape, node)
    total, *others = (_folded(group, node, depth + 1) for group in groups)
    for other in others:
        total = Point(_residual, (total, other), first.shape, node)
    return total


def _folded(points: Sequence[Point], node: str, depth: int) -> Point:
    """The sum of a group, one after the other."""
    total, *others = points
    for other in others:
        total = added(total, other, node, depth)
    return total


def _terms(*points: Point) -> list[Point]:
    """What a sum of these adds: for a sum among them, that begins where they part, its terms."""
    start = meeting(points)
    terms, left = [], list(points[::-1])
    while left:
        point = left.pop()
        if point.made is _residual and point.way is start:
            left += point.inputs[::-1]
        else:
            terms.append(point)
        if len(terms) + len(left) > MOST:
            return list(points)
    return terms


def _residual(branches: list[list[Layer]]) -> Layer:
    body, shortcut = branches if branches[0] else branches[::-1]
    return Residual(body, shortcut or None)


def side_by_side(points: Sequence[Point], node: str, latest: Latest) -> Point:
    """What several points give, side by side along the last axis."""
    before, known = latest.get(points[0], ((), points[0]))
    same = 1 < len(before) < len(points) and before == tuple(points[: len(before)])
    made = _beside([known, *points[len(before) :]] if same else points, node)
    latest[points[0]] = (tuple(points), made)
    return made


def _beside(points: Sequence[Point], node: str) -> Point:
    parts = [group[0] if len(group) == 1 else _beside(group, node) for group in _groups(points, together=True)]
    return Point(Concat, parts, (*parts[0].shape[:-1], sum(part.shape[-1] for part in parts)), node)


def _groups(points: Sequence[Point], together: bool) -> list[list[Point]]:
    """The points by the first one behind where they all part; those that lie `together` alone, if it says so."""
    if not 2 < len(points) <= MOST:
        return [[point] for point in points]
    start = meeting(points)
    groups: list[tuple[Point, list[Point]]] = []
    for point in points:
        first = point.at(start.depth + 1)
        near = groups[-1:] if together else groups
        own = next((group for key, group in near if key is first and first is not start), None)
        if own is None:
            groups.append((first, [point]))
        else:
            own.append(point)
    return [group for _, group in groups]

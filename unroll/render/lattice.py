"""Where circles stand when something recurs along two axes: a grid, steps of one to the right, of the other upwards.

At each point of the grid the variables that run along both axes stand behind one another, each a little higher and to
the side of the one that it reads, so that lines of the recurrence, which run along rows and columns, pass no other one.
What runs along one of the axes stands along that side of the grid: before it what it reads, behind it what reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..ir.axes import Axis
from . import style
from .arrows import Arrow
from .columns import Line
from .scene import Point, Steps

ASIDE, BEHIND = 46.0, 68.0
"""From one variable of a point to the next, to the side and upwards."""
APART = 90.0
"""The same upwards where cotangents are summed along lines between them."""


@dataclass(frozen=True, slots=True)
class Stack:
    """What is drawn in a grid.

    names      with the axes they run along
    instances  what there is of each
    level      the row of each in an ordinary picture: a name stands above what it reads
    root       the name at the root of a cotangent, of any other name itself
    """

    names: Mapping[str, tuple[Axis, ...]]
    instances: Callable[[str], Iterable[Steps]]
    level: Mapping[str, int]
    root: Callable[[str], str]
    arrows: Sequence[Arrow]


class Lattice:
    """The places of one grid.

    right, up  its two axes
    wide, high what the largest node takes in either direction, what stands beside lines included
    """

    def __init__(
        self, right: Axis, up: Axis, lines: Mapping[Axis, Line], there: Stack, wide: float, high: float
    ) -> None:
        names, level, root, arrows = there.names, there.level, there.root, there.arrows
        self.right, self.up = right, up
        self._names = names
        behind = sorted(names, key=lambda n: (root(n) != n, level.get(n, 0) if root(n) == n else -level.get(n, 0)))
        inside = [n for n in behind if len(names[n]) > 1]
        self._place = {n: number for number, n in enumerate(inside)}
        # A line from a point to the one above it on the right needs that way free: then variables lean to the left.
        both = any(len(back) > 1 and len({n > 0 for n in back.values()}) == 1 for back in (a.delays() for a in arrows))
        self._aside = max(ASIDE, wide - style.DIAMETER + 4) * (-1 if both else 1)
        self._behind = max(BEHIND if all(root(n) == n for n in names) else APART, high + 26)
        self._gap = wide + 62, high + 52
        self._last = self._aside * (len(inside) - 1), self._behind * (len(inside) - 1)
        found = [(self._place[n], dict(zip(names[n], s, strict=True))) for n in inside for s in there.instances(n)]
        self._column = _placed(lines[right], [(at[right], self._aside * k) for k, at in found], self._gap[0])
        self._row = _placed(lines[up], [(at[up], self._behind * k) for k, at in found], self._gap[1])
        self._first = self._column.get(1, 0.0), self._row.get(1, 0.0)
        fed = {root(n) for n in _feeding(arrows, inside)}
        outside = [n for n in behind if len(names[n]) < 2]
        self._before = [n for n in reversed(outside) if root(n) in fed]
        self._after = [n for n in outside if root(n) not in fed]

    def spot(self, name: str, steps: Steps) -> Point:
        """The place of an instance of what runs along one of the axes, or both."""
        axes = self._names[name]
        at = dict(zip(axes, steps, strict=True))
        x = self._column[at[self.right]] if self.right in at else 0.0
        y = self._row[at[self.up]] if self.up in at else 0.0
        if len(axes) > 1:
            number = self._place[name]
            return x + self._aside * number, y + self._behind * number
        away = 1 + self._among(name, axes)
        if self.right in at:
            return (x, self.heights[name]) if name in self._before else (x + self._last[0], self.heights[name])
        if name in self._before:
            return min(self._column.values(), default=0.0) + min(0.0, self._last[0]) - self._gap[0] * away, y
        return max(self._column.values(), default=0.0) + max(0.0, self._last[0]) + self._gap[0] * away, y + self._last[
            1
        ]

    def _among(self, name: str, axes: tuple[Axis, ...]) -> int:
        """How many stand between a name and the grid."""
        side = self._before if name in self._before else self._after
        return [n for n in side if self._names[n] == axes].index(name)

    @property
    def heights(self) -> dict[str, float]:
        """The height of each name, of what runs upwards that of its first step."""
        low = min(self._row.values(), default=0.0)
        top = max(self._row.values(), default=0.0) + self._last[1]
        found = {n: self._first[1] + self._behind * number for n, number in self._place.items()}
        for side, sign, start in ((self._before, -1, low), (self._after, 1, top)):
            along = [n for n in side if self._names[n] != (self.up,)]
            along.sort(key=lambda n: not self._names[n])  # what has no steps stands farthest out
            found |= {n: start + sign * self._gap[1] * (1 + number) for number, n in enumerate(along)}
            found |= dict.fromkeys((n for n in side if self._names[n] == (self.up,)), self._first[1])
        return found


def _placed(line: Line, found: Iterable[tuple[int | None, float]], gap: float) -> dict[int | None, float]:
    """The place of each step of a line: as far from the one before as what stands at the two needs.

    found  each step with how far from its place something stands there
    """
    ends: dict[int | None, tuple[float, float]] = {}
    for step, off in found:
        low, high = ends.get(step, (off, off))
        ends[step] = min(low, off), max(high, off)
    places: dict[int | None, float] = {}
    at, before = 0.0, None
    for step in line.columns:
        low, high = ends.get(step, (0.0, 0.0))
        at += max(gap, gap + before - low) if before is not None else 0.0
        places[step], before = at, high
    return places


def _feeding(arrows: Iterable[Arrow], targets: Iterable[str]) -> set[str]:
    """The names from which some of the targets are computed."""
    above: dict[str, list[str]] = {}
    for arrow in arrows:
        above.setdefault(arrow.target, []).append(arrow.source)
    found: set[str] = set()
    pending = list(targets)
    while pending:
        for name in above.get(pending.pop(), ()):
            if name not in found:
                found.add(name)
                pending.append(name)
    return found

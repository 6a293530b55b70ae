"""Loop bodies: whether equations may share one loop at one offset, neither depending on the other within a step.

The graph of each body is kept as its equations are put together, so that one group never stands in another's way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..dependence.analysis import analysis
from ..ir.system import System
from .lower import LoopPosition, places_of

Unit = int | tuple[int, ...]
"""An equation by its number, or a loop by the numbers of the loops around it and its own."""


class Bodies:
    """The bodies of the plan of a system.

    Why the plan still holds with equations put together: all of a group stand in one body at one offset, so every
    dependence keeps its distance in time, and within a step the graph of the body stays free of cycles, because no
    path leads from one member of a group to another.
    """

    def __init__(self, system: System) -> None:
        known = analysis(system)
        self.position: dict[int, LoopPosition] = places_of(known.order)
        self.after: dict[Unit, set[Unit]] = {}
        self.known: dict[Unit, Unit] = {}
        for edge in known.edges:
            a, b = self.position[edge.producer], self.position[edge.consumer]
            depth = 0
            while depth < min(len(a), len(b)) and a[depth][0] == b[depth][0]:
                (_, axis, early), (_, _, late) = a[depth], b[depth]
                if edge.distance[axis] + early - late:
                    break  # that loop carries it from step to step
                depth += 1
            else:
                one, other = self._unit(edge.producer, a, depth), self._unit(edge.consumer, b, depth)
                self.after.setdefault(one, set()).add(other)
        self.rank = self._ranks()

    def _unit(self, n: int, position: LoopPosition, depth: int) -> Unit:
        """Equation `n` as it stands in the body at that depth of the loops around it."""
        return tuple(number for number, _, _ in position[: depth + 1]) if len(position) > depth else n

    def _ranks(self) -> dict[Unit, int]:
        """For every unit the length of the longest path that leads to it."""
        waiting: dict[Unit, int] = {}
        for others in self.after.values():
            for other in others:
                waiting[other] = waiting.get(other, 0) + 1
        ready = [unit for unit in self.after if unit not in waiting]
        rank: dict[Unit, int] = dict.fromkeys(ready, 0)
        while ready:
            unit = ready.pop()
            for other in self.after.get(unit, ()):
                rank[other] = max(rank.get(other, 0), rank[unit] + 1)
                waiting[other] -= 1
                if not waiting[other]:
                    ready.append(other)
        return rank

    def root(self, unit: Unit) -> Unit:
        """The group that a unit belongs to."""
        while (above := self.known.get(unit, unit)) != unit:
            self.known[unit] = self.known.get(above, above)
            unit = above
        return unit

    def together(self, numbers: Sequence[int]) -> bool:
        """True if these equations have one position, and none of them needs another within a step."""
        if len({self.position[n] for n in numbers}) > 1:
            return False
        members = {self.root(n) for n in numbers}
        if len(members) < len(numbers):
            return False
        top = max(self.rank.get(m, 0) for m in members)
        pending = [self.root(u) for m in members for u in self.after.get(m, ())]
        seen = set(pending)
        while pending:
            unit = pending.pop()
            if unit in members:
                return False
            if self.rank[unit] >= top:
                continue
            for other in map(self.root, self.after.get(unit, ())):
                if other not in seen:
                    seen.add(other)
                    pending.append(other)
        return True

    def join(self, numbers: Iterable[int]) -> None:
        """Put equations together that `together` allows."""
        first, *rest = (self.root(n) for n in numbers)
        self.known.update(dict.fromkeys(rest, first))
        after = {self.root(u) for unit in (first, *rest) for u in self.after.pop(unit, ())}
        self.after[first] = after - {first}
        self.rank[first] = max(self.rank.get(u, 0) for u in (first, *rest))
        pending = [first]
        while pending:
            unit = pending.pop()
            for other in map(self.root, self.after.get(unit, ())):
                if self.rank[other] <= self.rank[unit]:
                    self.rank[other] = self.rank[unit] + 1
                    pending.append(other)

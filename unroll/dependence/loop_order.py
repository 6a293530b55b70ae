"""Loop order: which loops there are, and what runs first (Karp, Miller and Winograd 1967; Allen and Kennedy 1987).

Flows that do not depend on themselves run once over all their steps, outside every loop: that is loop distribution and
loop-invariant code motion in one. A strongly connected component runs in a loop
along an axis on which every cycle has a delay of one sign, forward for delays, reverse for advances; what its loop
leaves unordered within one step is ordered by the same rule on the remaining axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field

from ..ir.axes import Axis
from ..records import record
from .flows import Dependence
from .scc import components, cycle


@record
class Once:
    """A flow that runs at once over every axis not looped around it."""

    flow: int


@record
class Loop:
    """`body` runs once per step of `axis`, upwards (direction 1) or downwards (-1).

    shifts   flow -> s: at the loop's step i the flow computes its own step ``i - direction * s``; 0 but where delays
             and advances are mixed
    through  the dependences that cross steps: why this is a loop
    """

    axis: Axis
    direction: int
    shifts: Mapping[int, int]
    body: tuple[Once | Loop, ...]
    through: tuple[Dependence, ...] = field(default=(), compare=False)


Plan = tuple[Once | Loop, ...]


class NoOrder(Exception):
    """No order exists: the flows and dependences of one offending component, and whether a cycle has no delay."""

    def __init__(self, edges: Sequence[Dependence], cycle: Sequence[Dependence], instant: bool) -> None:
        super().__init__("no order of steps can compute these equations")
        self.edges, self.cycle, self.instant = tuple(edges), tuple(cycle), instant


def plan(edges: Sequence[Dependence], groups: Sequence[list[int]], axes: Sequence[Axis]) -> Plan:
    """The order in which to run flows with these dependences and strongly connected components. Raises NoOrder."""
    try:
        return _plan(edges, groups, tuple(axes))
    except _Stuck as error:
        raise _no_order(error.inner, tuple(axes)) from None


class _Stuck(Exception):
    """The edges inside a component that no axis orders."""

    def __init__(self, inner: list[Dependence]) -> None:
        super().__init__("no axis orders these edges")
        self.inner = inner


def _plan(edges: Sequence[Dependence], groups: Sequence[list[int]], axes: tuple[Axis, ...]) -> Plan:
    steps: list[Once | Loop] = []
    group = {m: number for number, members in enumerate(groups) for m in members}
    inside: dict[int, list[Dependence]] = {}
    for e in edges:
        if group[e.producer] == group[e.consumer]:
            inside.setdefault(group[e.producer], []).append(e)
    for number, members in enumerate(groups):
        inner = inside.get(number)
        if not inner:
            steps.extend(Once(m) for m in members)
            continue
        steps.append(_loop(members, inner, axes))
    return tuple(steps)


def _loop(members: list[int], inner: list[Dependence], axes: tuple[Axis, ...]) -> Loop:
    for axis in axes:
        if any(axis not in e.distance for e in inner):
            continue
        for direction in (1, -1):
            weights = [direction * e.distance[axis] for e in inner]
            shifts = potentials(members, [(e.producer, e.consumer, w) for e, w in zip(inner, weights, strict=True)])
            if shifts is None:
                continue
            left = [w + shifts[e.consumer] - shifts[e.producer] for e, w in zip(inner, weights, strict=True)]
            if not any(left):
                continue
            within = [e for e, w in zip(inner, left, strict=True) if w == 0]
            across = tuple(e for e, w in zip(inner, left, strict=True) if w > 0)
            rest = tuple(a for a in axes if a != axis)
            groups = components(members, [(e.producer, e.consumer) for e in within])
            return Loop(axis, direction, shifts, _plan(within, groups, rest), across)
    raise _Stuck(inner)


def potentials(nodes: Sequence[int], edges: Sequence[tuple[int, int, int]]) -> dict[int, int] | None:
    """Integers s with ``weight + s[head] - s[tail] >= 0`` on every edge (tail, head, weight), the least from 0 up.

    None where a cycle of negative weight forbids it (Bellman 1958).
    """
    shift = dict.fromkeys(nodes, 0)
    for _ in range(len(nodes) + 1):
        changed = False
        for tail, head, weight in edges:
            if shift[tail] - weight > shift[head]:
                shift[head] = shift[tail] - weight
                changed = True
        if not changed:
            return shift
    return None


def _no_order(inner: list[Dependence], axes: tuple[Axis, ...]) -> NoOrder:
    instant = [e for e in inner if not any(e.distance.values())]
    path = cycle((e.producer, e.consumer) for e in instant)
    if path:
        return NoOrder(inner, _along(path, instant), True)
    cancelling = _zero_cycle(inner, axes)
    if cancelling:
        return NoOrder(inner, cancelling, True)
    return NoOrder(inner, _along(cycle((e.producer, e.consumer) for e in inner), inner), False)


def _along(path: list[int], edges: Sequence[Dependence]) -> list[Dependence]:
    return [
        next(e for e in edges if e.producer == a and e.consumer == b)
        for a, b in zip(path, [*path[1:], path[0]], strict=True)
    ]


def _zero_cycle(inner: list[Dependence], axes: tuple[Axis, ...]) -> list[Dependence]:
    """A cycle along which the delays of every axis add up to 0, where one axis alone finds it by retiming."""
    for axis in axes:
        if any(axis not in e.distance for e in inner):
            continue
        nodes = sorted({e.producer for e in inner})
        for direction in (1, -1):
            weights = [(e.producer, e.consumer, direction * e.distance[axis]) for e in inner]
            shifts = potentials(nodes, weights)
            if shifts is not None:
                flat = [e for e, (u, v, w) in zip(inner, weights, strict=True) if w + shifts[v] - shifts[u] == 0]
                path = cycle((e.producer, e.consumer) for e in flat)
                found = _along(path, flat) if path else []
                if found and not any(sum(e.distance.get(a, 0) for e in found) for a in axes):
                    return found
    return []

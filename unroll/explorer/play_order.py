"""The order in which a page lights the circles of an unfolded picture: each after all that it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heappush

from ..ir.system import System
from ..render.scene import Circle, Picture

SQUARES = ("delay", "advance")
GIVEN = ("input", "boundary")


def reads(picture: Picture) -> dict[str, list[tuple[str, tuple[str, ...]]]]:
    """What each circle reads, with the edges on the way; squares that several links share are passed through."""
    elements = picture.elements()
    into: dict[str, list[tuple[str, str]]] = {key: [] for key in picture.circles}
    for link, element in elements.items():
        if link.kind != "severed":
            into[link.target].append((link.source, element))
    result: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    for key in picture.circles:
        found: list[tuple[str, tuple[str, ...]]] = []
        pending: list[tuple[str, tuple[str, ...]]] = [(source, (element,)) for source, element in into[key]]
        while pending:
            source, way = pending.pop(0)
            if picture.circles[source].kind in SQUARES:
                pending += [(before, (element, *way)) for before, element in into[source] if element not in way]
            else:
                found.append((source, way))
        result[key] = found
    return result


def order(system: System, circles: Sequence[Circle], needs: Mapping[str, Sequence[str]]) -> list[str]:
    """Every circle after all that it reads: step by step in time, and cotangents back through it.

    needs  the circles that each circle reads
    """
    rank = {circle.id: (*_place(system, circle), number) for number, circle in enumerate(circles)}
    waiting = {c.id: {n for n in needs[c.id] if n != c.id} for c in circles}
    readers: dict[str, list[str]] = {c.id: [] for c in circles}
    for key, sources in waiting.items():
        for source in sources:
            readers[source].append(key)
    ready = [(rank[key], key) for key, sources in waiting.items() if not sources]
    heapify(ready)
    result = []
    while ready:
        _, key = heappop(ready)
        result.append(key)
        for reader in readers[key]:
            waiting[reader].discard(key)
            if not waiting[reader]:
                heappush(ready, (rank[reader], reader))
    return result


def _place(system: System, circle: Circle) -> tuple[int, tuple[float, ...]]:
    """Forward values by their step, cotangents by their step backwards; what has no step comes last."""
    back = circle.name in system.decls and system.decls[circle.name].kind == "cotangent"
    steps = tuple(float("inf") if k is None else -k if back else k for k in circle.point or ())
    return int(back), steps or (float("inf"),)

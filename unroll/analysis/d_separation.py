"""D-separation on a directed acyclic graph some of whose nodes are functions of their parents.

Geiger, Verma and Pearl 1990 (*Identifying independence in Bayesian networks*, Networks 20): a path is active given a
set of nodes if each of its colliders is in the set or an ancestor of it, and none of its other nodes is determined by
the set. This is ordinary d-separation given all that the set determines.

networkx answers d-separation too, by yes or no; here nodes may be functions of others, and a no comes with its path.

A graph is a mapping from each node to its parents, in which parents come before their children.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import TypeVar

N = TypeVar("N", bound=Hashable)


def children_of(parents: Mapping[N, Iterable[N]]) -> dict[N, list[N]]:
    """The graph read downwards."""
    children: dict[N, list[N]] = {node: [] for node in parents}
    for node, above in parents.items():
        for parent in above:
            children[parent].append(node)
    return children


def determined(parents: Mapping[N, Iterable[N]], free: Collection[N], given: Iterable[N]) -> set[N]:
    """The given nodes and all that are functions of them; a node in `free` is a function of nothing."""
    known = set(given)
    for node, above in parents.items():
        if node not in free and all(parent in known for parent in above):
            known.add(node)
    return known


def ancestors(parents: Mapping[N, Iterable[N]], nodes: Iterable[N]) -> set[N]:
    """The nodes and all from which they can be reached."""
    found = set(nodes)
    pending = list(found)
    while pending:
        for parent in parents[pending.pop()]:
            if parent not in found:
                found.add(parent)
                pending.append(parent)
    return found


def active_path(
    parents: Mapping[N, Iterable[N]],
    children: Mapping[N, Iterable[N]],
    starts: Iterable[N],
    ends: Collection[N],
    known: Collection[N],
) -> list[N]:
    """A shortest path from one of `starts` to one of `ends` that is active given `known`; empty if there is none.

    A search over pairs of a node and whether it was entered from a parent. A shortest walk visits no node twice, since
    what it does between two visits could be left out.
    """
    above = ancestors(parents, known)
    entered: dict[tuple[N, bool], tuple[N, bool] | None] = {}
    pending = deque((start, False) for start in starts if start not in known)
    entered.update(dict.fromkeys(pending))
    while pending:
        here = node, downwards = pending.popleft()
        if node in ends and node not in known:
            return _walk(entered, here)
        steps: list[tuple[N, bool]] = []
        if (node in above) if downwards else (node not in known):
            steps.extend((parent, False) for parent in parents[node])
        if node not in known:
            steps.extend((child, True) for child in children[node])
        for step in steps:
            if step not in entered:
                entered[step] = here
                pending.append(step)
    return []


def _walk(entered: Mapping[tuple[N, bool], tuple[N, bool] | None], last: tuple[N, bool]) -> list[N]:
    path = []
    at: tuple[N, bool] | None = last
    while at is not None:
        path.append(at[0])
        at = entered[at]
    return path[::-1]


def without(parents: Mapping[N, Iterable[N]], removed: Collection[N], random: Collection[N]) -> dict[N, list[N]]:
    """The graph over the nodes that are left when others are marginalised.

    The children of a function read its parents instead. Those of a random node depend on each other besides, each on
    those before it and on their parents (Shachter 1988, arc reversal and removal).
    """
    position = {node: k for k, node in enumerate(parents)}
    left = {node: set(above) for node, above in parents.items()}
    below = {node: set(after) for node, after in children_of(parents).items()}
    for node in reversed(list(parents)):
        if node not in removed:
            continue
        inherited = left.pop(node)
        for child in sorted(below.pop(node), key=position.__getitem__):
            left[child] |= inherited
            left[child].discard(node)
            for parent in inherited:
                below[parent].add(child)
            if node in random:
                inherited |= left[child] | {child}
        for parent in parents[node]:
            below[parent].discard(node)
    return {node: sorted(left[node], key=position.__getitem__) for node in parents if node in left}

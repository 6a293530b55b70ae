"""Strongly connected components, cycles, and graphs as networkx has them: the one importer of networkx.

Components are found here: every compilation needs them, and importing networkx takes longer than a compilation.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from heapq import heapify, heappop, heappush
from typing import Any


def components(nodes: Iterable[int], edges: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Strongly connected components in an order of computation; ties and members in order of number."""
    after: dict[int, list[int]] = {n: [] for n in nodes}
    links = list(edges)
    for a, b in links:
        after[a].append(b)
    found = _strong(after)
    number = {n: k for k, members in enumerate(found) for n in members}
    later: list[list[int]] = [[] for _ in found]
    waiting = [0] * len(found)
    for a, b in {(number[a], number[b]) for a, b in links if number[a] != number[b]}:
        later[a].append(b)
        waiting[b] += 1
    ready = [(members[0], k) for k, members in enumerate(found) if not waiting[k]]
    heapify(ready)
    order = []
    while ready:
        _, k = heappop(ready)
        order.append(found[k])
        for other in later[k]:
            waiting[other] -= 1
            if not waiting[other]:
                heappush(ready, (found[other][0], other))
    return order


def _strong(after: dict[int, list[int]]) -> list[list[int]]:
    """Strongly connected components, each sorted (Tarjan 1972, without recursion)."""
    seen: dict[int, int] = {}
    low: dict[int, int] = {}
    open_nodes: list[int] = []
    closed: set[int] = set()
    found = []
    for root in after:
        if root in seen:
            continue
        seen[root] = low[root] = len(seen)
        open_nodes.append(root)
        path = [(root, iter(after[root]))]
        while path:
            node, rest = path[-1]
            for other in rest:
                if other not in seen:
                    seen[other] = low[other] = len(seen)
                    open_nodes.append(other)
                    path.append((other, iter(after[other])))
                    break
                if other not in closed:
                    low[node] = min(low[node], seen[other])
            else:
                path.pop()
                if path:
                    above = path[-1][0]
                    low[above] = min(low[above], low[node])
                if low[node] == seen[node]:
                    members = [open_nodes.pop()]
                    while members[-1] != node:
                        members.append(open_nodes.pop())
                    closed.update(members)
                    found.append(sorted(members))
    return found


def cycle(edges: Iterable[tuple[int, int]]) -> list[int]:
    """A shortest cycle, as the nodes along it; empty where there is none."""
    import networkx as nx

    graph: nx.DiGraph[int] = nx.DiGraph(list(edges))
    best: list[int] = []
    for node in sorted(graph):
        if graph.has_edge(node, node):
            return [node]
        paths = nx.single_source_shortest_path(graph, node)
        for last in sorted(graph.predecessors(node)):
            if last in paths and (not best or len(paths[last]) < len(best)):
                best = paths[last]
    return best


def to_networkx(nodes: Iterable[Hashable], edges: Iterable[tuple[Hashable, Hashable]], name: str) -> Any:
    """A directed graph of the given nodes and edges."""
    import networkx as nx

    graph: nx.DiGraph[Hashable] = nx.DiGraph()
    graph.graph["name"] = name
    graph.add_nodes_from(nodes)
    graph.add_edges_from(edges)
    return graph

"""The one importer of networkx: components, cycles, and graphs handed to the user."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import networkx as nx


def components(nodes: Iterable[int], edges: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Strongly connected components in an order of computation; ties and members in order of number."""
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(nodes)
    graph.add_edges_from(edges)
    condensed = nx.condensation(graph)
    members = {c: sorted(condensed.nodes[c]["members"]) for c in condensed}
    order = nx.lexicographical_topological_sort(condensed, key=lambda c: members[c][0])
    return [members[c] for c in order]


def cycle(edges: Iterable[tuple[int, int]]) -> list[int]:
    """A shortest cycle, as the nodes along it; empty where there is none."""
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
    graph: nx.DiGraph[Hashable] = nx.DiGraph()
    graph.graph["name"] = name
    graph.add_nodes_from(nodes)
    graph.add_edges_from(edges)
    return graph

"""Components against networkx, on random graphs."""

from __future__ import annotations

import networkx as nx
from hypothesis import given
from hypothesis import strategies as st

from unroll.dependence.scc import components

numbers = st.integers(0, 12)


@given(st.lists(st.tuples(numbers, numbers), max_size=40))
def test_components_are_those_of_networkx_in_its_order(edges: list[tuple[int, int]]) -> None:
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(13))
    graph.add_edges_from(edges)
    condensed = nx.condensation(graph)
    members = {c: sorted(condensed.nodes[c]["members"]) for c in condensed}
    order = nx.lexicographical_topological_sort(condensed, key=lambda c: members[c][0])
    assert components(range(13), edges) == [members[c] for c in order]


def test_a_long_chain_and_a_long_ring() -> None:
    chain = [(n, n + 1) for n in range(20_000)]
    assert components(range(20_001), chain) == [[n] for n in range(20_001)]
    assert components(range(20_001), [*chain, (20_000, 0)]) == [list(range(20_001))]

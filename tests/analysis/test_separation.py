"""D-separation on random graphs: against networkx, against the definition, and against tables of probabilities."""

from __future__ import annotations

from itertools import combinations, pairwise

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unroll.analysis.d_separation import active_path, ancestors, children_of, determined, without

from .models import dependence

SIZE = 7


@st.composite
def graphs(draw):
    """Parents of each node, the nodes that are random, and a set that is given."""
    parents = {n: [p for p in range(n) if draw(st.integers(0, 9)) < 4] for n in range(SIZE)}
    random = {n for n in range(SIZE) if not parents[n] or draw(st.booleans())}
    return parents, random, set(draw(st.lists(st.integers(0, SIZE - 1), max_size=3)))


def path(parents, start, end, known):
    return active_path(parents, children_of(parents), [start], {end}, known)


def blocked_at(parents, a, b, c, known):
    """The definition, of one node of a path between two neighbours."""
    if a in parents[b] and c in parents[b]:
        return b not in ancestors(parents, known)
    return b in known


@given(graphs())
def test_an_active_path_exists_just_where_networkx_finds_no_separation(drawn):
    parents, _, known = drawn
    digraph = nx.DiGraph([(p, n) for n in parents for p in parents[n]])
    digraph.add_nodes_from(parents)
    for a, b in combinations(sorted(set(parents) - known), 2):
        assert (not path(parents, a, b, known)) == nx.is_d_separator(digraph, {a}, {b}, known)


@given(graphs())
def test_the_path_shown_is_active_by_the_definition(drawn):
    parents, random, known = drawn
    known = determined(parents, random, known)
    for a, b in combinations(sorted(set(parents) - known), 2):
        found = path(parents, a, b, known)
        if found:
            assert (found[0], found[-1]) == (a, b)
            assert len(set(found)) == len(found)
            assert all(p in parents[q] or q in parents[p] for p, q in pairwise(found))
            assert not any(
                blocked_at(parents, *three, known) for three in zip(found, found[1:], found[2:], strict=False)
            )


@given(graphs())
def test_colliders_are_judged_alike_by_what_is_given_and_by_all_it_determines(drawn):
    parents, random, known = drawn  # the definition of Geiger, Verma and Pearl asks for the former
    settled = determined(parents, random, known)
    for a, b in combinations(sorted(set(parents) - settled), 2):
        found = path(parents, a, b, settled)
        for before, node, after in zip(found, found[1:], found[2:], strict=False):
            if before in parents[node] and after in parents[node]:
                assert node in ancestors(parents, known)


# -- against probabilities --------------------------------------------------------------------------------------------


def table(parents, random, rng):
    """A random joint distribution, an axis a node: random tables for random nodes, random functions for the others.

    A function has fewer values than its parents together, so that it does not give them away.
    """
    sizes = {}
    for n, above in parents.items():
        several = int(np.prod([sizes[p] for p in above]))
        sizes[n] = int(rng.integers(5, 7)) if n in random else max(2, min(4, several // 2))
    joint = np.ones(tuple(sizes.values()))
    for n, above in parents.items():
        lead = tuple(sizes[p] for p in above)
        if n in random:
            local = rng.dirichlet(np.full(sizes[n], 0.7), size=lead)
        else:
            local = np.eye(sizes[n])[rng.permutation(np.arange(int(np.prod(lead))) % sizes[n]).reshape(lead)]
        place = [1] * len(sizes)
        for node in (*above, n):
            place[node] = sizes[node]
        joint = joint * local.reshape(place)
    return joint


CASES = {
    "chain": ({0: [], 1: [0], 2: [1], 3: [2]}, {0, 2, 3}),
    "function-between": ({0: [], 1: [0], 2: [1], 3: [1]}, {0, 2, 3}),
    "known-state": ({0: [], 1: [0], 2: [1], 3: [1, 2], 4: [3]}, {0, 2, 4}),
    "collider": ({0: [], 1: [], 2: [0, 1], 3: [2]}, {0, 1, 3}),
    "function-of-two": ({0: [], 1: [], 2: [0, 1], 3: [2], 4: [0]}, {0, 1, 3, 4}),
    "common-cause": ({0: [], 1: [0], 2: [0], 3: [1, 2]}, {0, 1, 2, 3}),
    "two-functions": ({0: [], 1: [0], 2: [0], 3: [1], 4: [2]}, {0, 3, 4}),
}


@pytest.mark.parametrize("case", CASES)
def test_independence_is_that_of_random_tables(case, rng):
    parents, random = CASES[case]
    joints = [table(parents, random, rng) for _ in range(8)]
    for count in range(len(parents) - 1):
        for known in combinations(parents, count):
            settled = determined(parents, random, known)
            for a, b in combinations(sorted(set(parents) - set(known)), 2):
                apart = max(dependence(joint, a, b, known) for joint in joints)
                if a in settled or b in settled or not path(parents, a, b, settled):
                    assert apart < 1e-12, (a, b, known)
                else:
                    assert apart > 1e-6, (a, b, known)


def test_what_is_separated_is_independent_in_random_tables(rng):
    separated = 0
    for _ in range(25):
        parents = {n: [p for p in range(n) if rng.random() < 0.5] for n in range(5)}
        random = {n for n in parents if not parents[n] or rng.random() < 0.5}
        joint = table(parents, random, rng)
        for known in (set(c) for size in range(4) for c in combinations(parents, size)):
            settled = determined(parents, random, known)
            for a, b in combinations(sorted(set(parents) - known), 2):
                if a in settled or b in settled or not path(parents, a, b, settled):
                    separated += 1
                    assert dependence(joint, a, b, known) < 1e-12
    assert separated > 200


# -- marginal graphs --------------------------------------------------------------------------------------------------


@given(graphs(), st.sets(st.integers(0, SIZE - 1)))
def test_a_marginal_graph_claims_no_independence_that_the_graph_does_not(drawn, removed):
    parents, random, known = drawn
    known -= removed
    left = without(parents, removed, random)
    assert list(left) == [n for n in parents if n not in removed]
    assert nx.is_directed_acyclic_graph(nx.DiGraph([(p, n) for n in left for p in left[n]]))
    assert all(p < n for n in left for p in left[n])
    settled = determined(parents, random, known)
    for a, b in combinations(sorted(set(left) - settled), 2):
        if not path(left, a, b, known):
            assert not path(parents, a, b, settled), (a, b)


def test_marginal_graphs_of_a_fork():
    fork = {0: [], 1: [0], 2: [1], 3: [1], 4: [1]}
    assert without(fork, {1}, {0, 2, 3, 4}) == {0: [], 2: [0], 3: [0], 4: [0]}  # 1 is a function of 0
    assert without(fork, {1}, {0, 1, 2, 3, 4}) == {0: [], 2: [0], 3: [0, 2], 4: [0, 2, 3]}
    assert without(fork, {0, 1}, {0, 1, 2, 3, 4}) == {2: [], 3: [2], 4: [2, 3]}


def test_no_recursion_over_a_long_chain():
    chain = {n: [n - 1] if n else [] for n in range(20_000)}
    assert path(chain, 0, 19_999, set()) == list(range(20_000))
    assert not path(chain, 0, 19_999, {10_000})
    assert without(chain, set(range(1, 19_999)), set()) == {0: [], 19_999: [0]}
    assert len(determined(chain, {0}, {10_000})) == 10_000

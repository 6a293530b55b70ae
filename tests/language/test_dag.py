"""The unfolded graph as an object: enumeration, neighbours, order, addressing, at any length."""

from __future__ import annotations

import tracemalloc
from itertools import islice

import networkx as nx
import pytest
from helpers.zoo import ZOO, lengths_for

from unroll import T, Template, axis, ops, t
from unroll.errors import LengthError, UnrollError

s, S = axis("s")
SMALL = [0, 1, 3]


def chain(delay=1):
    g = Template("chain")
    x, a, h = g.input("x"), g.param("a"), g.variable("h", ())
    for k in range(delay):
        h[-k] = 0
    h[t] = a * h[t - delay] + x[t]
    g.loss = ops.sum(h[t], over=t) + h[T] ** 2
    return g


def unfolded(name, steps, detail="variables"):
    """A zoo template at a small length, or a skip where that length is too short for it."""
    g = ZOO[name]()
    try:
        return g.unfold(detail=detail, **lengths_for(g, steps))
    except LengthError as error:
        pytest.skip(str(error).splitlines()[0])


each = pytest.mark.parametrize(("name", "steps"), [(n, k) for n in ZOO for k in SMALL])


@each
@pytest.mark.parametrize("detail", ["variables", "ops"])
def test_nodes_are_listed_once_counted_and_addressed(name, steps, detail):
    dag = unfolded(name, steps, detail)
    nodes = list(dag.nodes())
    assert len(set(nodes)) == len(nodes) == len(dag)
    for node in nodes:
        assert node in dag
        assert dag[(node.name, *node.steps)] == node
    assert nodes == list(dag.nodes())


@each
@pytest.mark.parametrize("detail", ["variables", "ops"])
def test_predecessors_and_successors_are_each_others_inverse(name, steps, detail):
    dag = unfolded(name, steps, detail)
    nodes = set(dag.nodes())
    into = {(p, n) for n in nodes for p in dag.predecessors(n)}
    out = {(n, q) for n in nodes for q in dag.successors(n)}
    assert into == out
    assert {n for edge in into for n in edge} <= nodes
    for node in nodes:
        assert len(set(dag.predecessors(node))) == len(dag.predecessors(node))
        assert len(set(dag.successors(node))) == len(dag.successors(node))


@each
@pytest.mark.parametrize("detail", ["variables", "ops"])
def test_order_and_networkx(name, steps, detail):
    dag = unfolded(name, steps, detail)
    place = {node: k for k, node in enumerate(dag.topological())}
    assert sorted(place) == sorted(dag.nodes())
    graph = dag.to_networkx()
    assert list(graph) == list(dag.nodes())
    assert nx.is_directed_acyclic_graph(graph)
    assert all(place[a] < place[b] for a, b in graph.edges)
    for node in graph:
        assert set(graph.predecessors(node)) == set(dag.predecessors(node))


def test_the_neighbours_of_a_chain():
    dag = chain().unfold(3)
    assert [str(n) for n in dag.nodes()] == ["x[1]", "x[2]", "x[3]", "a", "h[0]", "h[1]", "h[2]", "h[3]", "loss"]
    assert [str(n) for n in dag.predecessors(("h", 2))] == ["a", "h[1]", "x[2]"]
    assert [str(n) for n in dag.successors(("h", 2))] == ["h[3]", "loss"]
    assert [str(n) for n in dag.successors(("h", 3))] == ["loss"]
    assert [str(n) for n in dag.successors("a")] == ["h[1]", "h[2]", "h[3]"]
    assert dag.predecessors("x[1]" if "x[1]" in dag else ("x", 1)) == []
    assert [str(n) for n in dag.predecessors("loss")] == ["h[1]", "h[2]", "h[3]"]
    assert dag.equations(("h", 2)) == ["h[2] = a * h[1] + x[2]"]


def test_no_steps():
    dag = chain().unfold(0)
    assert [str(n) for n in dag.nodes()] == ["a", "h[0]", "loss"]
    assert [str(n) for n in dag.predecessors("loss")] == ["h[0]"]  # h[T]
    assert [str(n) for n in dag.topological()] == ["a", "h[0]", "loss"]


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5])
def test_shorter_than_the_delay(steps):
    dag = chain(3).unfold(steps)
    assert len(dag) == steps + 1 + 3 + steps + 1
    assert all(str(dag.predecessors(("h", k))[1]) == f"h[{k - 3}]" for k in range(1, steps + 1))


def test_membership():
    dag = chain().unfold(3)
    inside = [("h", 0), ("h", 3), "a", ("a",), "loss", dag["h", 2], ("x", 1)]
    outside = [("h", 4), ("h", -1), ("x", 0), ("q", 1), "h", ("a", 1), ("h", 1, 1), 3, None, ("h", "1"), ("h", 1.5), ()]
    assert [k for k in inside if k not in dag] == []
    assert [k for k in outside if k in dag] == []


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (("h", 9), ["h[9]", "T = 3", "h[0]", "h[3]"]),
        (("h", -1), ["h[-1]", "T = 3"]),
        (("q", 1), ["q", "x, a, h, loss"]),
        ("h", ["h", "h[0]"]),
        (("a", 1), ["a[1]", "T = 3"]),
        (3, ["3"]),
        (("h", 1.0), ["h[1.0]"]),
        (("h", T), ["h[T]", "number"]),
        (("h", slice(1, 3)), ["h[1:3]", "number"]),
    ],
    ids=repr,
)
@pytest.mark.parametrize("ask", ["__getitem__", "predecessors", "successors", "equations"])
def test_a_node_that_is_not_there(ask, key, words):
    with pytest.raises(LookupError) as caught:
        getattr(chain().unfold(3), ask)(key)
    text = caught.value.args[0]
    assert [w for w in words if w not in text] == []
    assert isinstance(caught.value, UnrollError)


@pytest.mark.parametrize(
    ("lengths", "word"),
    [
        ({}, "T is missing"),
        ({"T": -1}, "T = -1"),
        ({"T": 2.0}, "T = 2.0"),
        ({"T": "3"}, "T = '3'"),
        ({"T": True}, "T = True"),
        ({"T": 3, "S": 2}, "no axis that ends in S"),
    ],
    ids=str,
)
def test_lengths_that_are_refused(lengths, word):
    with pytest.raises(ValueError, match=word) as caught:
        chain().unfold(**lengths)
    assert isinstance(caught.value, UnrollError)
    assert "test_dag.py:" in str(caught.value)


def test_an_unknown_detail():
    with pytest.raises(ValueError, match=r"'all'.*variables.*ops"):
        chain().unfold(3, detail="all")


def test_a_length_given_twice():
    with pytest.raises((LengthError, TypeError), match="T"):
        chain().unfold(3, T=4)


def test_a_million_steps_cost_nothing_until_they_are_walked():
    g = chain()
    assert g.system
    tracemalloc.start()
    try:
        dag = g.unfold(1_000_000)
        assert len(dag) == 2_000_003
        assert [str(n) for n in dag.predecessors(dag["h", 999_999])] == ["a", "h[999998]", "x[999999]"]
        assert [str(n) for n in dag.successors(("h", 1_000_000))] == ["loss"]
        assert [str(n) for n in islice(dag.nodes(), 2)] == ["x[1]", "x[2]"]
        assert ("h", 1_000_001) not in dag
        assert len(str(dag)) < 10_000
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_the_order_of_a_long_chain_recurses_nowhere():
    import sys

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(200)
    try:
        assert sum(1 for _ in chain().unfold(5_000).topological()) == 10_003
    finally:
        sys.setrecursionlimit(limit)


def test_two_axes():
    g = Template("grid")
    u, q = g.input("u", over=(t, s)), g.variable("q", ())
    q[0, s] = q[t, 0] = 0
    q[t, s] = q[t - 1, s] + q[t, s - 1] + u[t, s]
    g.output("end", q[T, S])
    dag = g.unfold(T=2, S=3)
    assert len(dag) == 6 + 6 + 3 + 2 + 1
    assert [str(n) for n in dag.predecessors(("q", 1, 2))] == ["q[0, 2]", "q[1, 1]", "u[1, 2]"]
    assert [str(n) for n in dag.predecessors("end")] == ["q[2, 3]"]
    assert ("q", 0, 0) not in dag


@pytest.mark.parametrize("steps", SMALL)
def test_the_adjoint_unfolds_too(steps):
    dag = chain().adjoint().unfold(steps)
    assert nx.is_directed_acyclic_graph(dag.to_networkx())
    if steps > 1:
        assert "h~[2]" in [str(n) for n in dag.predecessors(("h~", 1))]
        assert "h~[1]" not in [str(n) for n in dag.predecessors(("h~", 2))]

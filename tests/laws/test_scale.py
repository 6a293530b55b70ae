"""Nothing recurses over a graph: long sequences, long expressions and many variables under a low recursion limit."""

from __future__ import annotations

import cProfile
import pstats
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from unroll import T, Template, ops, t
from unroll.errors import CausalityError
from unroll.transform import verify

ROOM = 200
"""Frames left to the code under test: far fewer than there are steps, terms or variables."""


@contextmanager
def shallow(room: int = ROOM) -> Iterator[None]:
    """A recursion limit so many frames above the caller's own depth."""
    depth, frame = 0, sys._getframe()
    while frame is not None:
        depth, frame = depth + 1, frame.f_back
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(depth + room)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


@pytest.fixture(scope="module", autouse=True)
def everything_imported() -> None:
    """What is imported at first use is imported here, for importing recurses."""
    g = first_order()
    g.compile("numpy").value_and_grad({"a": np.float32(0.5), "x0": np.float32(1)}, T=2)
    g.unfold(2).to_networkx()
    str(g.adjoint())


def first_order() -> Template:
    """``x[t] = a * x[t-1]``."""
    g = Template("first_order")
    a, x0, x = g.param("a"), g.param("x0"), g.variable("x", ())
    x[0] = x0
    x[t] = a * x[t - 1]
    g.loss = x[T] + ops.mean(x[t], over=t)
    return g


def test_recursion_limit_is_felt() -> None:
    def deep(n: int) -> int:
        return 0 if n == 0 else 1 + deep(n - 1)

    with shallow():
        assert deep(ROOM // 2) == ROOM // 2
        with pytest.raises(RecursionError):
            deep(2 * ROOM)


def test_long_sequence() -> None:
    steps, a = 100_000, 1 - 1e-5
    g = first_order()
    params = {"a": np.float64(a), "x0": np.float64(2)}
    with shallow():
        dag = g.unfold(steps)
        assert len(dag) == 3 + (steps + 1)
        assert [str(n) for n in dag.predecessors(dag["x", steps])] == ["a", f"x[{steps - 1}]"]
        assert str(dag).count("\n") < 100
        net = g.compile("numpy", dtype="float64")
        x = net.run(params, "x", T=steps)
        value, gradient = net.value_and_grad(params, T=steps)
    powers = np.arange(1, steps + 1)
    np.testing.assert_allclose(x, 2 * a**powers, rtol=1e-9)
    np.testing.assert_allclose(value, x[-1] + x.mean(), rtol=1e-12)
    want = 2 * (steps * a ** (steps - 1) + np.mean(powers * a ** (powers - 1)))
    np.testing.assert_allclose(gradient["a"], want, rtol=1e-9)
    np.testing.assert_allclose(gradient["x0"], value / 2, rtol=1e-9)


def test_topological_order_of_a_deep_graph() -> None:
    steps = 3_000
    with shallow():
        order = [n for n in first_order().unfold(steps).topological() if n.name == "x"]
        graph = first_order().unfold(steps).to_networkx()
    assert [n.steps[0] for n in order] == list(range(steps + 1))
    assert graph.number_of_nodes() == steps + 4


def test_reference_walks_a_deep_graph() -> None:
    params = {"a": np.float64(0.999), "x0": np.float64(2)}
    with shallow():
        value, gradient = first_order().compile("reference", dtype="float64").value_and_grad(params, T=1_000)
    want, want_gradient = first_order().compile("numpy", dtype="float64").value_and_grad(params, T=1_000)
    np.testing.assert_allclose(value, want, rtol=1e-12)
    np.testing.assert_allclose(gradient["a"], want_gradient["a"], rtol=1e-12)


def chain(count: int) -> Template:
    """Recurrences one after the other."""
    g = Template("chain")
    x, a = g.input("x"), g.param("a")
    h = [g.variable(f"h{i}", ()) for i in range(count)]
    for i, v in enumerate(h):
        v[0] = 0.1
        v[t] = ops.sin(a * v[t - 1] + (h[i - 1][t] if i else x[t]))
    g.loss = ops.sum(h[-1][t], over=t)
    return g


def ring(count: int) -> Template:
    """Recurrences that are one loop."""
    g = Template("ring")
    x, a = g.input("x"), g.param("a")
    h = [g.variable(f"h{i}", ()) for i in range(count)]
    for i, v in enumerate(h):
        v[0] = 0.1
        v[t] = ops.sin(a * v[t - 1] + (h[i - 1][t] if i else h[-1][t - 1] + x[t]))
    g.loss = ops.sum(h[-1][t], over=t)
    return g


def long_sum(count: int) -> Template:
    """One equation of many terms."""
    g = Template("long_sum")
    x, w, h = g.input("x"), g.param("w"), g.variable("h", ())
    h[0] = 0
    total = 0.5 * h[t - 1]
    for k in range(count):
        total = total + (x[t] if k % 2 else w)
    h[t] = total
    g.loss = ops.sum(h[t], over=t)
    return g


def test_long_expression() -> None:
    terms = 3_000
    with shallow():
        g = long_sum(terms)
        assert str(g).startswith("template long_sum")
        assert "w~" in str(g.adjoint())
        net = g.compile("numpy", dtype="float64")
        value, gradient = net.value_and_grad({"w": np.float64(0.1)}, x=np.full(2, 0.01))
        assert "for t = 1, ..., T" in str(net.program(grad=True))
        for detail in ("variables", "ops"):
            dag = g.unfold(2, detail=detail)
            assert sum(1 for _ in dag.topological()) == len(dag)
        assert g.unfold(2, detail="ops").to_networkx().number_of_nodes() == len(g.unfold(2, detail="ops"))
    step = terms / 2 * (0.1 + 0.01)
    np.testing.assert_allclose(value, step + 1.5 * step, rtol=1e-9)
    np.testing.assert_allclose(gradient["w"], terms / 2 * 2.5, rtol=1e-9)


@pytest.mark.parametrize("make", [ring, chain])
def test_many_variables(make: Any) -> None:
    count = 300
    with shallow():
        g = make(count)
        assert str(g).count("\n") >= 2 * count
        assert str(g.adjoint()).count("\n") >= 3 * count
        net = g.compile("numpy", dtype="float64")
        params, inputs = {"a": np.float64(0.4)}, {"x": np.linspace(-1, 1, 3)}
        value, gradient = net.value_and_grad(params, **inputs)
        exact = g.compile("reference", dtype="complex128")
        moved = exact.loss({"a": np.complex128(0.4 + 1e-20j)}, **inputs)
        assert g.unfold(3).to_networkx().number_of_nodes() == len(g.unfold(3))
    np.testing.assert_allclose(value, moved.real, rtol=1e-12)
    np.testing.assert_allclose(gradient["a"], moved.imag / 1e-20, rtol=1e-9, atol=1e-12)


def test_long_cycle_is_reported() -> None:
    count = 300
    g = Template("ring")
    h = [g.variable(f"h{i}", ()) for i in range(count)]
    for i, v in enumerate(h):
        v[t] = 0.5 * h[i - 1][t]
    with shallow(), pytest.raises(CausalityError, match="depends on itself within one step"):
        _ = g.system


@pytest.mark.parametrize("make", [chain, ring, long_sum])
def test_compiling_twice_as_much_takes_twice_the_work(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in calls of Python functions: nothing is looked for in all equations once for each of them."""
    monkeypatch.setattr(verify, "enabled", False)
    counts = [calls(lambda n=count: make(n).compile("numpy").program(grad=True)) for count in (10, 80, 160)]
    assert counts[2] < 2.2 * counts[1]


def test_twice_as_many_boundaries_take_twice_the_work() -> None:
    def checked(delay: int) -> None:
        g = Template("delayed")
        h = g.variable("h", ())
        h[t] = 0.5 * h[t - delay]
        for k in range(delay):
            h[-k] = 0
        assert len(g.system.equations) > delay

    counts = [calls(lambda n=delay: checked(n)) for delay in (10, 500, 1000)]
    assert counts[2] < 2.2 * counts[1]


def calls(work: Callable[[], object]) -> int:
    """How many functions a piece of work calls: a measure of time that no other program disturbs."""
    profile = cProfile.Profile()
    profile.enable()
    work()
    profile.disable()
    return pstats.Stats(profile).total_calls  # type: ignore[attr-defined, no-any-return]

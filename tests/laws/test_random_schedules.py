"""Random systems of linear recurrences against one dense solve: loops with guards, retimed offsets, either direction.

Each variable is a sum of others at any offset from -3 to 3 and of an input at an offset. All steps at once are a system
of linear equations, ``A z = r``, whose transpose gives the gradients. Neither knows of an order of steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import event, given, note
from hypothesis import strategies as st

from laws.agreement import DERIVED, close, compiled, executables
from unroll import T, Template, ops, t
from unroll.errors import CausalityError

Array = Any
REACH = 3


@dataclass(frozen=True)
class Recurrences:
    """``v[t] = sum of c * u[t+k] + x_v[t+j]`` for each variable.

    reads   per variable, (u, k, c)
    inputs  per variable, j
    """

    reads: tuple[tuple[tuple[int, int, float], ...], ...]
    inputs: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many variables there are."""
        return len(self.reads)

    def template(self) -> Template:
        """The same as a template; boundaries are params, ``v1@-2`` under the name ``b1_2``."""
        g = Template("linear")
        x = [g.input(f"x{v}") for v in range(self.count)]
        h = [g.variable(f"v{v}", ()) for v in range(self.count)]
        for v, (reads, j) in enumerate(zip(self.reads, self.inputs, strict=True)):
            total: Any = x[v][t + j]
            for u, k, c in reads:
                total = total + c * h[u][t + k]
            h[v][t] = total
        for v in range(self.count):
            for k in range(REACH):
                for handle, name in ((h[v], "v"), (x[v], "x")):
                    handle[-k] = g.param(f"before_{name}{v}_{k}")
                    handle[T + 1 + k] = g.param(f"after_{name}{v}_{k}")
        g.loss = ops.sum(sum(((v + 1) * h[v][t] for v in range(self.count)), start=0 * h[0][t]), over=t)
        return g


@st.composite
def any_recurrences(draw: Any) -> Recurrences:
    """Systems at whatever offsets; for many of them there is no order."""
    count = draw(st.integers(1, 4))
    read = st.tuples(st.integers(0, count - 1), st.integers(-REACH, REACH), st.sampled_from((0.5, -0.4)))
    reads = tuple(tuple(draw(st.lists(read, max_size=2))) for _ in range(count))
    return Recurrences(reads, (0,) * count)


def has_an_order(it: Recurrences) -> bool:
    """By every simple cycle: those that share a variable, however far around, all cross steps in one direction."""
    graph = nx.DiGraph([(u, v) for v, reads in enumerate(it.reads) for u, _, _ in reads])
    for members in nx.strongly_connected_components(graph):
        totals = set()
        for cycle in nx.simple_cycles(graph.subgraph(members)):
            links = zip(cycle, [*cycle[1:], cycle[0]], strict=True)
            offsets = [[k for w, k, _ in it.reads[v] if w == u] for u, v in links]
            totals |= {sum(choice) for choice in product(*offsets)}
        if totals and not (min(totals) > 0 or max(totals) < 0):
            return False
    return True


@st.composite
def recurrences(draw: Any) -> Recurrences:
    """Systems in which an order exists: step i of variable v comes at the time ``direction * i + phase[v]``."""
    count = draw(st.integers(1, 4))
    direction = draw(st.sampled_from((1, -1)))
    phase = [draw(st.integers(0, 3)) for _ in range(count)]
    reads = []
    for v in range(count):
        found = []
        for _ in range(draw(st.integers(0, 3))):
            u = draw(st.integers(0, count - 1))
            room = phase[v] - phase[u] - (u >= v)  # direction * offset at most
            allowed = [k for k in range(-REACH, REACH + 1) if direction * k <= room]
            if allowed:
                found.append((u, draw(st.sampled_from(allowed)), draw(st.sampled_from((0.5, -0.4, 0.3)))))
        reads.append(tuple(found))
    inputs = tuple(draw(st.integers(-REACH, REACH)) for _ in range(count))
    return Recurrences(tuple(reads), inputs)


class Dense:
    """The same recurrences as one system of linear equations."""

    def __init__(self, it: Recurrences, steps: int, params: dict[str, Array], inputs: dict[str, Array]) -> None:
        self.it, self.steps = it, steps
        self.width = steps + 2 * REACH
        size = it.count * self.width
        self.matrix, self.right = np.eye(size), np.zeros(size)
        self.weights = np.zeros(size)
        for v in range(it.count):
            for step in range(1 - REACH, steps + REACH + 1):
                row = self.at(v, step)
                if not 1 <= step <= steps:
                    self.right[row] = params[self.boundary("v", v, step)]
                    continue
                self.weights[row] = v + 1
                self.right[row] = self.given(v, step + it.inputs[v], params, inputs)
                for u, k, c in it.reads[v]:
                    self.matrix[row, self.at(u, step + k)] -= c
        self.values = np.linalg.solve(self.matrix, self.right)
        self.adjoint = np.linalg.solve(self.matrix.T, self.weights)

    def at(self, v: int, step: int) -> int:
        """Where an instance stands among the unknowns."""
        return v * self.width + step + REACH - 1

    def boundary(self, kind: str, v: int, step: int) -> str:
        """The name of the param that is a boundary."""
        return f"before_{kind}{v}_{-step}" if step < 1 else f"after_{kind}{v}_{step - self.steps - 1}"

    def given(self, v: int, step: int, params: dict[str, Array], inputs: dict[str, Array]) -> float:
        """An input at a step, a boundary included."""
        inside = 1 <= step <= self.steps
        return float(inputs[f"x{v}"][step - 1] if inside else params[self.boundary("x", v, step)])

    def variable(self, v: int) -> Array:
        """Its steps 1..T."""
        return self.values[[self.at(v, step) for step in range(1, self.steps + 1)]]

    def gradient(self) -> dict[str, Array]:
        """Of the loss, by the params and inputs that occur."""
        found: dict[str, Array] = {f"x{v}": np.zeros(self.steps) for v in range(self.it.count)}
        for v in range(self.it.count):
            for step in [*range(1 - REACH, 1), *range(self.steps + 1, self.steps + REACH + 1)]:
                found[self.boundary("v", v, step)] = self.adjoint[self.at(v, step)]
                found.setdefault(self.boundary("x", v, step), 0.0)
            for step in range(1, self.steps + 1):
                source, share = step + self.it.inputs[v], self.adjoint[self.at(v, step)]
                if 1 <= source <= self.steps:
                    found[f"x{v}"][source - 1] += share
                else:
                    found[self.boundary("x", v, source)] += share
        return found


@given(recurrences(), st.lists(st.integers(0, 6), min_size=2, max_size=2), st.integers(0, 2**16))
def test_linear_recurrences(it: Recurrences, lengths: list[int], seed: int) -> None:
    g = it.template()
    note(str(g))
    net = compiled(g, "numpy")
    rng = np.random.default_rng(seed)
    names = [n for n, d in g.system.decls.items() if d.kind == "param"]
    params = {n: np.asarray(rng.normal()) for n in names}
    for steps in lengths:
        inputs = {f"x{v}": rng.normal(size=steps) for v in range(it.count)}
        dense = Dense(it, steps, params, inputs)
        found = net.run(params, [f"v{v}" for v in range(it.count)], **inputs)
        for v in range(it.count):
            close(found[f"v{v}"], dense.variable(v), DERIVED, f"v{v} at T = {steps}")
        value, gradient = net.value_and_grad(params, [*names, *inputs], **inputs)
        close(value, dense.weights @ dense.values, DERIVED, f"loss at T = {steps}")
        want = dense.gradient()
        for name in gradient:
            close(gradient[name], want[name], DERIVED, f"gradient by {name} at T = {steps}")
    lines = [line.lstrip() for executable in executables(net) for line in executable.source.splitlines()]
    event("loops with guards" if any(line.startswith("if ") for line in lines) else "no guards")


@given(any_recurrences())
def test_what_has_an_order_passes_the_checks_and_nothing_else(it: Recurrences) -> None:
    g = it.template()
    note(str(g))
    if has_an_order(it):
        _ = g.system
    else:
        with pytest.raises(CausalityError):
            _ = g.system


def test_delays_that_cancel_are_called_a_loop() -> None:
    reads = (((1, 2, 0.5),), ((2, -1, 0.5), (0, -3, 0.5)), ((0, -1, 0.5), (2, -1, 0.5)))
    with pytest.raises(CausalityError, match=r"depends on itself: the delays along .* add up to 0"):
        _ = Recurrences(reads, (0, 0, 0)).template().system

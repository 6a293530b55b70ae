"""The law of the adjoint: unfold(adjoint(g)) == reverse_mode(unfold(g)), cotangent by cotangent.

Reverse mode is written here a second time, over the nodes of the unfolded graph and for one example at a time. With the
adjoint it shares the rules of the operations and nothing else: no axis, no domain, no offset, no batch.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from helpers.eager import Eager, cotangents
from helpers.zoo import ZOO, arrays_for, lengths_for, params_for

from laws.agreement import EXACT, close
from unroll import Template
from unroll.backends.base import Options
from unroll.backends.reference import ReferenceExecutable
from unroll.ir.axes import Axis, fixed
from unroll.ir.system import Const, Equation, Extent, Operand, Ref, System
from unroll.ops.core import OPS
from unroll.transform.adjoint import adjoint
from unroll.transform.simplify import simplify
from unroll.unfold.dag import Dag, Node
from unroll.unfold.lengths import unfold

BATCH = 3
Array = Any


@dataclass
class Term:
    """One operation that was evaluated for a node: operands (a node where it was read from one), and the result."""

    equation: Equation
    sources: tuple[Node | None, ...]
    result: Eager


class ReverseMode:
    """The cotangent of every node of an unfolded graph, for one example."""

    def __init__(self, system: System, lengths: Mapping[str, int], given: Mapping[str, Array]) -> None:
        self.system, self.lengths, self.given = system, lengths, given
        self.dag: Dag = unfold(system, lengths, "ops")
        self.order = list(self.dag.topological())
        self.values: dict[Node, Eager] = {}
        self.terms: dict[Node, list[Term]] = {}
        for node in self.order:
            self._forward(node)
        self.found: dict[Node, Array] = {Node("loss", ()): np.ones(())}
        for node in reversed(self.order):
            self._backward(node)

    def _forward(self, node: Node) -> None:
        decl = self.system.decls[node.name]
        writers = list(self.dag.writers(node))
        if not writers:
            array = decl.array if decl.kind == "constant" else self.given[node.name]
            self.values[node] = Eager(np.asarray(array)[tuple(k - 1 for k in node.steps)])
            return
        self.terms[node] = [
            self._term(flow.equation, at) for flow, steps in writers for at in self._points(flow.equation, steps)
        ]
        results = [np.broadcast_to(term.result.value, decl.shape) for term in self.terms[node]]
        if writers[0][0].equation.combine == "max":
            value = np.max(results, axis=0) if results else np.full(decl.shape, -np.inf)
        else:
            value = sum(results[1:], results[0]) if results else np.zeros(decl.shape)
        self.values[node] = Eager(np.array(value, copy=True))

    def _points(self, equation: Equation, steps: Mapping[Axis, int]) -> Iterator[dict[Axis, int]]:
        """The running steps at which an equation adds to one node."""
        summed = [r for r in equation.domain if r.axis not in steps]
        for running in product(*(r.steps(self.lengths) for r in summed)):
            yield {**steps, **dict(zip((r.axis for r in summed), running, strict=True))}

    def _term(self, equation: Equation, at: Mapping[Axis, int]) -> Term:
        sources = tuple(self._node(a, at) for a in equation.args)
        args = [self._operand(a, n) for a, n in zip(equation.args, sources, strict=True)]
        if not any(isinstance(a, Eager) for a in args):  # an operation on numbers alone
            args[0] = Eager(np.asarray(args[0]))
        return Term(equation, sources, OPS[equation.op](*args, **dict(equation.attrs)))

    def _node(self, operand: Operand, at: Mapping[Axis, int]) -> Node | None:
        if not isinstance(operand, Ref):
            return None
        return Node(operand.name, tuple(i.at(at, self.lengths) for i in operand.index))

    def _operand(self, operand: Operand, node: Node | None) -> Any:
        if isinstance(operand, Const):
            return operand.value
        if isinstance(operand, Extent):
            return float(self.lengths[operand.axis.end])
        assert node is not None
        return self.values[node]

    def _backward(self, node: Node) -> None:
        g = self.found.get(node)
        if g is None or self.values[node].dtype != "float":
            return
        terms = self.terms.get(node, [])
        value = self.values[node].value
        largest = [np.broadcast_to(term.result.value, value.shape) == value for term in terms]
        for term, chosen in zip(terms, largest, strict=True):
            if term.result.dtype != "float":
                continue
            part = g
            if term.equation.combine == "max":  # those that reach the maximum share it
                part = np.where(chosen, g / np.sum(largest, axis=0), 0)
            for source, cotangent in zip(term.sources, cotangents(term.result, fitted(part, term.result)), strict=True):
                if source is not None and cotangent is not None:
                    self.found[source] = self.found.get(source, 0) + cotangent.value


def fitted(g: Array, result: Eager) -> Eager:
    """A cotangent summed down to the shape of what was broadcast into the node."""
    g = np.asarray(g, float)
    g = g.sum(axis=tuple(range(g.ndim - result.ndim)))
    kept = tuple(i for i, (n, m) in enumerate(zip(g.shape, result.shape, strict=True)) if m == 1 and n != 1)
    return Eager(g.sum(axis=kept, keepdims=True))


def reverse_mode(
    system: System, lengths: Mapping[str, int], params: Mapping[str, Array], inputs: Mapping[str, Array]
) -> dict[Node, Array]:
    """The cotangent of every node for a batch: one value for each example, or the sum where the examples share it."""
    batched = {n for n, d in system.decls.items() if d.batched}
    count = BATCH if "loss" in batched else 1
    parts = []
    for b in range(count):
        own = {n: np.take(x, b, axis=len(system.decls[n].axes)) for n, x in inputs.items()}
        parts.append(ReverseMode(system, lengths, {**params, **own}).found)
    result = {}
    for node in dict.fromkeys(n for part in parts for n in part):
        shape = system.decls[node.name].shape
        each = [np.broadcast_to(part.get(node, 0.0), shape) for part in parts]
        result[node] = np.stack(each) if node.name in batched else np.sum(each, axis=0)
    return result


def by_the_adjoint(
    system: System, lengths: Mapping[str, int], given: Mapping[str, Array], nodes: list[Node]
) -> dict[Node, Array]:
    """The cotangents of the same nodes as the instances ``h~[3]`` of the adjoint, from the reference backend."""
    wanted = {str(n): Ref(f"{n.name}~", tuple(map(fixed, n.steps))) for n in nodes}
    executable = ReferenceExecutable(replace(system, outputs=wanted), Options("float64"))
    found = executable(given, lengths, BATCH)
    return {n: found[str(n)] for n in nodes}


def floats(g: Template) -> list[str]:
    """All that there is to differentiate by."""
    return [n for n, d in g.system.decls.items() if d.kind in ("param", "input") and d.dtype == "float"]


def check_law(
    plain: System, derived: System, lengths: dict[str, int], params: Any, inputs: Any, trimmed: bool = False
) -> set[str]:
    """Compare every cotangent that both have; returns the names that only reverse mode has one for.

    trimmed  True where the adjoint may leave out the steps outside 1..T that nobody reads, such as ``h~[0]``
    """
    want = reverse_mode(plain, lengths, params, inputs)
    nodes = [n for n in unfold(plain, lengths, "ops").nodes() if f"{n.name}~" in derived.decls]
    if trimmed:
        dag, ends = unfold(derived, lengths, "ops"), {n: d.axes for n, d in plain.decls.items()}
        nodes = [n for n in nodes if (f"{n.name}~", *n.steps) in dag or inside(n, ends[n.name], lengths)]
    got = by_the_adjoint(derived, lengths, {**params, **inputs}, nodes)
    for node in nodes:
        decl = plain.decls[node.name]
        zero = np.zeros(((BATCH,) if decl.batched else ()) + decl.shape)
        close(got[node], want.get(node, zero), EXACT, f"cotangent of {node} at {lengths}")
    return {n.name for n in want if depends(plain, n.name)} - {n.name for n in nodes}


def inside(node: Node, axes: tuple[Axis, ...], lengths: Mapping[str, int]) -> bool:
    """True if a node stands at a step of 1..T along each of its axes."""
    return all(1 <= k <= lengths[a.end] for k, a in zip(node.steps, axes, strict=True))


def depends(system: System, name: str) -> bool:
    """True if a name is a param or an input, or is computed from one through operations that have a derivative."""
    seen, pending = {name}, [name]
    writers = system.writers
    while pending:
        at = pending.pop()
        if system.decls[at].kind in ("param", "input"):
            return True
        for e in writers[at]:
            for position, arg in enumerate(e.args):
                if not isinstance(arg, Ref) or arg.name in seen or e.operation.rule(position) is None:
                    continue
                seen.add(arg.name)
                pending.append(arg.name)
    return False


def material(name: str, g: Template, steps: int) -> tuple[dict[str, int], Any, Any]:
    """Lengths, params and inputs of one recurrence."""
    rng = np.random.default_rng(zlib.crc32(f"{name} {steps}".encode()))
    lengths = lengths_for(g, steps)
    arrays = arrays_for(g, lengths, BATCH, rng)
    return lengths, params_for(g, rng), {n: v for n, v in arrays.items() if n not in lengths}


@pytest.mark.parametrize("steps", [0, 1, 2, 4])
@pytest.mark.parametrize("name", ZOO)
def test_adjoint_of_the_system_as_written(name: str, steps: int) -> None:
    g = ZOO[name]()
    lengths, params, inputs = material(name, g, steps)
    assert not check_law(g.system, adjoint(g.system, floats(g)), lengths, params, inputs)


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("name", ZOO)
def test_adjoint_of_the_simplified_system(name: str, steps: int) -> None:
    g = ZOO[name]()
    lengths, params, inputs = material(name, g, steps)
    plain = simplify(g.system)
    assert not check_law(plain, adjoint(plain, floats(g)), lengths, params, inputs)


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("name", ZOO)
def test_simplified_adjoint(name: str, steps: int) -> None:
    g = ZOO[name]()
    lengths, params, inputs = material(name, g, steps)
    left_out = check_law(simplify(g.system), g.adjoint(floats(g)).system, lengths, params, inputs, trimmed=True)
    assert not left_out & set(floats(g))

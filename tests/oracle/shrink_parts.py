"""Ways to make a failing case smaller by leaving out or replacing what it is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from . import trees
from .data import Case, alone
from .probes import Probe
from .trees import RUN, Decl, Node, Statement, Step, System, const, pruned, read


def valid(case: Case, change: Callable[[], System | None]) -> Case | None:
    """The case with a changed system, whose arrays are those that it declares; None where it can't be."""
    try:
        system = change()
    except (ValueError, KeyError, IndexError, AssertionError):
        return None
    if system is None or (not system.outputs and system.loss is None):
        return None
    system = pruned(system)
    return replace(
        case,
        batch=case.batch if system.of("input") or case.lengths else None,
        system=system,
        sizes={a: case.sizes[a] for a in system.axes},
        lengths={a: n for a, n in case.lengths.items() if a in system.axes} or None if case.lengths else None,
        params={d.name: case.params[d.name] for d in system.of("param")},
        inputs={d.name: case.inputs[d.name] for d in system.of("input")},
    )


def fresh(system: System, stem: str) -> str:
    """A name that is free."""
    k = 0
    while f"{stem}{k}" in system.decls:
        k += 1
    return f"{stem}{k}"


def with_input(case: Case, node: Node, order: tuple[str, ...]) -> tuple[Case, Node]:
    """The case with another input, whose values are those of a node, or at random; and a read of it."""
    low, high = (node.low, node.high) if np.isfinite(node.low) and np.isfinite(node.high) else (-1.0, 1.0)
    low, high = (max(low, -3.0), min(high, 3.0)) if max(low, -3.0) <= min(high, 3.0) else (low, high)
    name = fresh(case.system, "q")
    decl = Decl(name, "input", node.kind, node.shape, order, low=low, high=high)
    shape = (*(case.sizes[a] for a in order), *(() if case.batch is None else (case.batch,)), *node.shape)
    rng = np.random.default_rng(len(case.system.decls))
    if node.kind == "float":
        array = np.asarray(np.round(rng.uniform(low, high, shape), 2).astype(np.float32).astype(float))
    else:
        array = rng.integers(0, int(high) + 1, shape) if node.kind == "int" else rng.random(shape) < 0.5
    system = replace(case.system, decls={**case.system.decls, name: decl})
    leaf = read(decl, *(Step(RUN, axis, 0) for axis in order))
    return replace(case, system=system, inputs={**case.inputs, name: np.asarray(array)}), leaf


# ---- passes ---------------------------------------------------------------------------------------------------------


Way = Iterator[tuple[Case, Probe]]


def drop_results(case: Case, probe: Probe) -> Way:
    """Fewer outputs, and no loss."""
    system = case.system
    count = len(system.outputs)
    choices: list[tuple[tuple[tuple[str, Node], ...], Node | None]] = []
    if count + (system.loss is not None) > 1:
        choices += [((output,), None) for output in system.outputs] if system.loss is not None or count > 1 else []
        choices += [((), system.loss)] if system.loss is not None and count else []
        choices += [((output,), system.loss) for output in system.outputs] if count > 1 else []
        choices += [(system.outputs[:k] + system.outputs[k + 1 :], system.loss) for k in range(count)]
        choices += [(system.outputs, None)] if system.loss is not None else []
    if count > 1 or system.loss is not None or system.statements:
        parts = [s.expr for s in system.statements if s.expr.symbolic]
        parts += [arg for _, e in system.outputs for arg in e.args if arg.symbolic and len(arg.axes) < 3]
        choices += [((("y0", part),), None) for part in parts]
    for outputs, loss in choices:
        small = valid(case, lambda o=outputs, x=loss: replace(system, outputs=o, loss=x))
        if small and weight(small.system) < weight(system):
            yield small, probe


def weight(system: System) -> int:
    """How large a system is."""
    return sum(1 for root in system.roots for _ in root.walk()) + len(system.statements) + len(system.outputs)


def fewer_examples(case: Case, probe: Probe) -> Way:
    """One example without a batch, or a smaller batch; no lengths of their own."""
    if case.batch is None:
        return
    for b in range(case.batch):
        yield alone(case, b), probe
    if case.lengths is not None:
        yield replace(case, lengths=None), probe
        for axis in case.lengths:
            rest = {a: n for a, n in case.lengths.items() if a != axis}
            if rest:
                yield replace(case, lengths=rest), probe
    for b in range(case.batch):
        keep = [k for k in range(case.batch) if k != b]
        if keep:
            arrays = {d.name: np.take(case.inputs[d.name], keep, axis=len(d.axes)) for d in case.system.of("input")}
            lengths = {a: tuple(n[k] for k in keep) for a, n in case.lengths.items()} if case.lengths else None
            yield replace(case, batch=len(keep), inputs=arrays, lengths=lengths), probe


def shorter(case: Case, probe: Probe) -> Way:
    """Fewer steps along an axis."""
    for axis, size in case.sizes.items():
        for n in sorted({0, 1, 2, 3, size // 2, size - 1}):
            if not 0 <= n < size:
                continue
            arrays = {}
            for decl in case.system.of("input"):
                key = tuple(slice(0, n) if a == axis else slice(None) for a in decl.axes)
                arrays[decl.name] = case.inputs[decl.name][key]
            lengths = {
                a: tuple(min(k, n) if a == axis else k for k in given) for a, given in (case.lengths or {}).items()
            }
            yield replace(case, sizes={**case.sizes, axis: n}, inputs=arrays, lengths=lengths or None), probe


def simpler_probe(case: Case, probe: Probe) -> Way:
    """The plainest call that fails."""
    if probe.layout != "plain":
        yield case, replace(probe, layout="plain")
    if probe.batch_first:
        yield case, replace(probe, batch_first=False)
    if probe.dtype != "float64":
        yield case, replace(probe, dtype="float64")
    for k in range(len(probe.without)):
        yield case, replace(probe, without=probe.without[:k] + probe.without[k + 1 :])
    if probe.check in ("vjp", "jvp", "hessian", "grad", "loss", "single") or probe.check.startswith("law"):
        for check in ("run", "loss", "grad"):
            if check != probe.check and not (check == "grad" and probe.check in ("loss", "single")):
                yield case, replace(probe, check=check)
    if probe.backend == "native":
        yield case, replace(probe, backend="numpy")


def variables_to_inputs(case: Case, probe: Probe) -> Way:
    """A variable is given instead of computed."""
    for decl in case.system.of("variable"):
        with torch.no_grad():
            try:
                array = case.run().value(decl.name)
            except Exception:  # noqa: BLE001 - a value that can't be had is no candidate
                continue
        array = array.astype(np.float32).astype(float) if decl.kind == "float" else array
        own = (decl.name, tuple(Step(RUN, axis, 0) for axis in decl.axes))

        def change(decl: Decl = decl, own: Any = own) -> System:
            decls = {**case.system.decls, decl.name: replace(decl, role="input", shaped=True)}
            statements = []
            for s in case.system.statements:
                targets = tuple(t for t in s.targets if t != own)
                if targets:
                    statements.append(replace(s, targets=targets))
            return replace(case.system, decls=decls, statements=tuple(statements))

        moved = replace(case, inputs={**case.inputs, decl.name: array})
        small = valid(moved, change)
        if small:
            yield small, probe


def simpler_nodes(case: Case, probe: Probe) -> Way:
    """An operation becomes one of its operands, a new input or a number; larger ones first."""
    nodes: dict[int, Node] = {}
    heavy: dict[int, int] = {}
    for root in case.system.roots:
        for node in root.walk():
            nodes[id(node)] = node
            heavy[id(node)] = 1 + sum(heavy[id(arg)] for arg in node.args)
    ranked = sorted((n for n in nodes.values() if n.args), key=lambda n: -heavy[id(n)])
    for node in ranked:
        for arg in node.args:
            if arg.shape == node.shape and arg.kind == node.kind and arg.axes <= node.axes and arg.symbolic:
                yield from replaced(case, probe, node, arg)
        if heavy[id(node)] > 1 and not (node.op in ("neg", "abs") and node.args[0].op == "read"):
            larger, leaf = with_input(case, node, tuple(sorted(node.axes)))
            yield from replaced(larger, probe, node, leaf)
    for node in nodes.values():
        if node.op == "read":
            plain = tuple(s if s.anchor != RUN or not s.shift else replace(s, shift=0) for s in node.attrs["steps"])
            if plain != node.attrs["steps"] and case.system.decls[node.attrs["name"]].role == "input":
                yield from replaced(case, probe, node, read(case.system.decls[node.attrs["name"]], *plain))
        if node.op == "const" and node.attrs["value"] not in (0, 1) and node.kind == "float":
            yield from replaced(case, probe, node, const(1.0))


def replaced(case: Case, probe: Probe, old: Node, new: Node) -> Way:
    """The case with one node in place of another."""

    def change(node: Node) -> Node:
        return node

    def apply() -> System:
        memo = {id(old): new}
        system = case.system

        def turn(root: Node) -> Node:
            return trees.rewrite(root, change, memo)

        statements = tuple(replace(s, expr=turn(s.expr)) for s in system.statements)
        outputs = tuple((name, turn(e)) for name, e in system.outputs)
        loss = None if system.loss is None else turn(system.loss)
        if loss is not None and (loss.shape or loss.axes):
            raise ValueError("a loss that runs")
        return replace(system, statements=statements, outputs=outputs, loss=loss)

    small = valid(case, apply)
    if small:
        yield small, probe


def simpler_statements(case: Case, probe: Probe) -> Way:
    """Boundaries become 0; statements of several targets become several; shapes are declared."""
    system = case.system
    for k, s in enumerate(system.statements):
        boundary = any(step.anchor != RUN for _, steps in s.targets for step in steps)
        zero = const({"float": 0.0, "int": 0, "bool": False}[system.decls[s.targets[0][0]].kind])
        if boundary and not (s.expr.op == "const" and not s.expr.shape):
            small = valid(case, lambda k=k, s=s, z=zero: replace(system, statements=put(system, k, replace(s, expr=z))))
            if small:
                yield small, probe
        if len(s.targets) > 1:
            apart = [Statement((target,), s.expr) for target in s.targets]
            small = valid(case, lambda k=k, a=apart: replace(system, statements=put(system, k, *a)))
            if small:
                yield small, probe
    if any(not d.shaped for d in system.decls.values()):
        decls = {n: replace(d, shaped=True) for n, d in system.decls.items()}
        small = valid(case, lambda: replace(system, decls=decls))
        if small:
            yield small, probe


def put(system: System, k: int, *instead: Statement) -> tuple[Statement, ...]:
    """The statements with others in the k-th place."""
    return system.statements[:k] + instead + system.statements[k + 1 :]

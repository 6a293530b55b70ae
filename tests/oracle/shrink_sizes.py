"""Ways to make a failing case smaller in its sizes, names, numbers and axes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from . import trees
from .data import Case
from .probes import Probe
from .shrink_parts import Way, valid
from .trees import Decl, Node, System, const, make, read


def smaller_shapes(case: Case, probe: Probe) -> Way:
    """One size, wherever it stands, becomes smaller."""
    sizes = sorted({n for root in case.system.roots for node in root.walk() for n in node.shape if n > 1}, reverse=True)
    for size in sizes:
        for n in sorted({1, 2, 3, size // 2, size - 1}):
            if 0 < n < size:
                small = resized(case, size, n)
                if small:
                    yield small, probe


def resized(case: Case, size: int, n: int) -> Case | None:
    """Every axis of one size gets another."""

    def turn(shape: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(n if m == size else m for m in shape)

    def change(node: Node) -> Node:
        attrs = dict(node.attrs)
        if node.op == "read":
            return read(decls[attrs["name"]], *attrs["steps"])
        if node.op == "const" and node.shape:
            value = np.asarray(attrs["value"])[tuple(slice(0, m) for m in turn(node.shape))]
            return const(value.tolist())
        if node.op in ("broadcast_to", "reshape"):
            return make(node.op, *node.args, shape=turn(attrs["shape"]))
        if node.op == "one_hot" and attrs["size"] == size:
            return make(node.op, *node.args, size=n)
        return node

    system = case.system
    decls = {name: replace(d, shape=turn(d.shape)) for name, d in system.decls.items()}

    def apply() -> System:
        changed = trees.rewrite_system(replace(system, decls=decls), change)
        for s in changed.statements:
            for name, _ in s.targets:
                if np.broadcast_shapes(s.expr.shape, decls[name].shape) != decls[name].shape:
                    raise ValueError("another shape")
        return changed

    def cut(d: Decl, array: Any, steps: int) -> Any:
        return array[(slice(None),) * steps + tuple(slice(0, m) for m in turn(d.shape))]

    extra = 0 if case.batch is None else 1
    arrays = {d.name: cut(d, case.inputs[d.name], len(d.axes) + extra) for d in system.of("input")}
    params = {d.name: cut(d, case.params[d.name], 0) for d in system.of("param")}
    return valid(replace(case, params=params, inputs=arrays), apply)


def plain_names(case: Case, probe: Probe) -> Way:
    """Names that say nothing."""
    system = case.system
    names: dict[str, str] = {}
    for role, stem in (("input", "x"), ("param", "w"), ("variable", "h")):
        names |= {d.name: f"{stem}{k}" for k, d in enumerate(system.of(role))}
    names |= {name: f"y{k}" for k, (name, _) in enumerate(system.outputs)}
    if all(old == new for old, new in names.items()) and system.label == "net":
        return
    for turn in (names, *({old: new} for old, new in names.items() if old != new)):
        if len(set(turn.values()) | (set(system.decls) - set(turn))) < len(system.decls) + (
            len(system.outputs) if turn is names else 0
        ):
            continue
        moved = replace(trees.renamed(system, turn), label="net")
        params = {turn.get(n, n): a for n, a in case.params.items()}
        yield (
            replace(case, system=moved, params=params, inputs={turn.get(n, n): a for n, a in case.inputs.items()}),
            probe,
        )


def rounder(case: Case, probe: Probe) -> Way:
    """Numbers of one digit."""
    for digits in (0, 1):
        params = {n: np.round(a, digits) if a.dtype.kind == "f" else a for n, a in case.params.items()}
        inputs = {n: np.round(a, digits) if a.dtype.kind == "f" else a for n, a in case.inputs.items()}
        for p, x in ((params, inputs), (params, case.inputs), (case.params, inputs)):
            if any(np.any(p[n] != case.params[n]) for n in p) or any(
                not np.array_equal(x[n], case.inputs[n], equal_nan=x[n].dtype.kind == "f") for n in x
            ):
                yield replace(case, params=p, inputs=x), probe
    inputs = {
        n: np.nan_to_num(a, nan=0.0, posinf=0.0, neginf=0.0) if a.dtype.kind == "f" else a
        for n, a in case.inputs.items()
    }
    if any(a.dtype.kind == "f" and not np.isfinite(a).all() for a in case.inputs.values()):
        yield replace(case, inputs=inputs), probe


def fewer_axes(case: Case, probe: Probe) -> Way:
    """An input runs along fewer axes."""
    for decl in case.system.of("input"):
        for place in range(len(decl.axes)):
            if case.sizes[decl.axes[place]] == 0:
                continue
            axes = decl.axes[:place] + decl.axes[place + 1 :]
            less = replace(decl, axes=axes)

            def change(node: Node, decl: Decl = decl, place: int = place, less: Decl = less) -> Node:
                if node.op == "read" and node.attrs["name"] == decl.name:
                    steps = node.attrs["steps"]
                    return read(less, *steps[:place], *steps[place + 1 :])
                return node

            def apply(decl: Decl = decl, less: Decl = less, change: Any = change) -> System:
                if any(decl.name in {n for n, _ in s.targets} for s in case.system.statements):
                    raise ValueError("it has boundaries")
                system = replace(case.system, decls={**case.system.decls, decl.name: less})
                changed = trees.rewrite_system(system, change)
                if changed.loss is not None and changed.loss.axes:
                    raise ValueError("a loss that runs")
                return changed

            array = np.take(case.inputs[decl.name], 0, axis=place)
            small = valid(replace(case, inputs={**case.inputs, decl.name: array}), apply)
            if small:
                yield small, probe

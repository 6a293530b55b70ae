"""Names mean nothing: a template whose variables, arrays and axes are called otherwise gives the same, to the bit."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle
from typing import Any

import numpy as np
import pytest
from helpers.zoo import ZOO

from laws.agreement import Specimen, everything
from laws.test_zoo import specimen
from unroll import Template, axis, backends, ops, t
from unroll.ir.axes import Axis, Index, Range
from unroll.ir.names import substitute_names
from unroll.ir.system import Decl, Equation, Extent, Label, Ref, System

AXES = ("b", "batch", "i", "j", "k", "gates", "m0", "range", "max", "examples", "row", "np", "ws", "given", "m1", "a")
NAMES = (
    "max", "min", "range", "batch size", "examples", "B", "tangent", "np", "run", "given", "add", "multiply", "v_h",
    "ws", "empty", "scan", "at", "rows", "check", "lambda", "None", "float", "double", "part", "point", "seed_", "i",
    " pack 0", " s2", "h[0]", "h[3]", "h^1", "o_fed", "do(h[2])", "first h[0]", "loss_", "T'", "λ", "零", "🙂", "a b",
    "'", '"', "\\", "{x}", "%s", "class", "__class__", "__builtins__", "x" * 300, "0", "_", "-", "(", "h in pieces 3",
)  # fmt: skip
BACKENDS = ["reference", "numpy", *(["native"] if not backends.missing("native") else [])]


def renamed(system: System, names: dict[str, str], axes: dict[Axis, Axis]) -> System:
    """The system with other names and axes."""

    def index(i: Index) -> Index:
        if i.axis is None:
            return i
        new = axes[i.axis]
        return Index(new, new.name if i.runs else new.end, i.shift)

    def ref(r: Ref) -> Ref:
        return Ref(r.name, tuple(map(index, r.index)))

    def operand(a: Any) -> Any:
        return ref(a) if isinstance(a, Ref) else Extent(axes[a.axis]) if isinstance(a, Extent) else a

    def label(found: Label | None) -> Label | None:
        return found and Label(
            found.name, tuple(map(operand, found.args)), tuple((k, operand(v)) for k, v in found.attrs)
        )

    def equation(e: Equation) -> Equation:
        domain = tuple(Range(axes[r.axis], index(r.lo), index(r.hi)) for r in e.domain)
        return replace(e, out=ref(e.out), args=tuple(map(operand, e.args)), domain=domain, label=label(e.label))

    def decl(d: Decl) -> Decl:
        return replace(d, axes=tuple(axes[a] for a in d.axes))

    system = replace(
        system,
        axes=tuple(axes[a] for a in system.axes),
        decls={n: decl(d) for n, d in system.decls.items()},
        equations=tuple(map(equation, system.equations)),
        outputs={n: ref(r) for n, r in system.outputs.items()},
    )
    hidden = {
        n: f"{names[n.partition('.')[0]]}.{n.partition('.')[2]}" for n in system.decls if "." in n and n[0] != "."
    }
    changed = substitute_names(system, {**names, **hidden})
    decls = {
        n: replace(d, of=None if d.kind in ("input", "param", "variable") else d.of) for n, d in changed.decls.items()
    }
    return replace(changed, decls=decls, outputs={names.get(n, n): r for n, r in changed.outputs.items()})


def other(it: Specimen, start: int) -> tuple[Specimen, dict[str, str]]:
    """The specimen under other names, and what each is called there."""
    system = it.template.system
    declared = [
        n for n, d in system.decls.items() if d.kind in ("input", "param", "variable") and n not in ("loss", "stop")
    ]
    pool, axes = (
        cycle([*NAMES[start:], *NAMES[:start]]),
        cycle([*AXES[start % len(AXES) :], *AXES[: start % len(AXES)]]),
    )
    names: dict[str, str] = {}
    for name in declared:
        wish = next(pool)
        names[name] = wish if wish not in names.values() else f"{wish}{len(names)}"
    turned = {}
    for a in system.axes:
        _, end = axis(next(axes))
        assert end.axis is not None
        turned[a] = end.axis
    ends = {a.end: new.end for a, new in turned.items()}
    same_end = set(ends.values()) & set(names.values())
    names = {n: f"{new}'" if new in same_end else new for n, new in names.items()}
    g = Template.of(renamed(system, {**names, **{n: n for n in ("loss", "stop") if n in system.decls}}, turned))
    arrays = {ends.get(n) or names[n]: v for n, v in it.arrays.items()}
    return Specimen(g, {names[n]: v for n, v in it.params.items()}, arrays), names


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ZOO)
def test_other_names_change_no_bit(name: str, backend: str) -> None:
    it = specimen(name, 3)
    want = everything(it.net(backend), it)
    start = list(ZOO).index(name) * 7 % len(NAMES)
    twin, _ = other(it, start)
    got = everything(twin.net(backend), twin)
    assert len(got) == len(want)
    for (a, x), (b, y) in zip(got.items(), want.items(), strict=True):
        np.testing.assert_array_equal(x, y, err_msg=f"{a!r}, which is {b!r} under its own name")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", AXES)
def test_an_axis_of_every_name(name: str, backend: str) -> None:
    n, N = axis(name)
    g = Template()
    x, h, W = g.input("x", (2, 3), over=n), g.variable("h", (2, 3)), g.param("W", (2, 2))
    h[0] = 0
    h[n] = ops.tanh(W @ h[n - 1] + x[n])
    g.loss = ops.sum(ops.sum(h[n]) + ops.sum(ops.softmax(x[n], over=n)), over=n) + ops.sum(h[N])
    rng = np.random.default_rng(0)
    arrays, params = {"x": rng.normal(size=(40, 4, 2, 3))}, {"W": 0.3 * rng.normal(size=(2, 2))}
    loss, grads = g.compile(backend, dtype="float64").value_and_grad(params, ["W", "x"], **arrays)
    twin = Template()
    x, h, W = twin.input("x", (2, 3)), twin.variable("h", (2, 3)), twin.param("W", (2, 2))
    h[0] = 0
    h[t] = ops.tanh(W @ h[t - 1] + x[t])
    twin.loss = ops.sum(ops.sum(h[t]) + ops.sum(ops.softmax(x[t], over=t)), over=t) + ops.sum(h[axis("t")[1]])
    value, wanted = twin.compile(backend, dtype="float64").value_and_grad(params, ["W", "x"], **arrays)
    assert loss == value
    for key in wanted:
        np.testing.assert_array_equal(grads[key], wanted[key])

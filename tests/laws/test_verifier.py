"""The verifier: faults planted into systems between passes are found, and named by the pass that made them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from helpers.zoo import ZOO

from unroll.compiler import pipeline
from unroll.ir.system import Const, Equation, Ref, System
from unroll.transform import simplify, verify
from unroll.transform.verify import VerificationError, check_pass, structure, undefined

Fault = Callable[[System], System]


def first(system: System, wanted: Callable[[Equation], bool]) -> int:
    """The number of the first equation of a kind; -1 where there is none."""
    return next((n for n, e in enumerate(system.equations) if wanted(e)), -1)


def changed(
    system: System, wanted: Callable[[Equation], bool], change: Callable[[Equation], Equation | None]
) -> System:
    """The system with its first equation of a kind changed, or left out."""
    n = first(system, wanted)
    if n < 0:
        return system
    new = change(system.equations[n])
    kept = (*system.equations[:n], *([new] if new else []), *system.equations[n + 1 :])
    return replace(system, equations=kept)


def running_reads(e: Equation) -> bool:
    return any(r.running for r in e.refs)


def later(e: Equation) -> Equation:
    """An equation that reads everything a step later."""
    moved = (replace(r, index=tuple(i + 1 if i.runs else i for i in r.index)) for r in e.refs)
    found = iter(moved)
    return replace(e, args=tuple(next(found) if isinstance(a, Ref) else a for a in e.args))


def left_out(system: System) -> System:
    read = {r.name for e in system.equations for r in e.refs if system.decls[r.name].kind != "cotangent"}
    return changed(system, lambda e: e.out.name in read, lambda e: None)


def read_later(system: System) -> System:
    """Inputs or params' copies read a step later, beyond their last."""
    given = {n for n, d in system.decls.items() if d.kind in ("input", "variable")}
    return changed(system, lambda e: running_reads(e) and {r.name for r in e.refs if r.running} <= given, later)


def read_at_once(system: System) -> System:
    """A recurrence that reads its own step: no order is left."""

    def loops(e: Equation) -> bool:
        return any(r.name == e.out.name and system.decls[r.name].kind == "variable" for r in e.refs) or (
            e.op == "matmul" and any(i.shift == -1 for r in e.refs for i in r.index)
        )

    return changed(system, loops, later)


def twice(system: System) -> System:
    """The first equation of a name that is not added up stands there twice."""
    n = first(system, lambda e: system.decls[e.out.name].kind != "cotangent")
    return replace(system, equations=(*system.equations, system.equations[n]))


def wider(system: System) -> System:
    """A temporary declared with one element more."""
    name = next((n for n, d in system.decls.items() if d.kind == "temporary" and d.shape), None)
    if name is None:
        return system
    decl = system.decls[name]
    return replace(system, decls={**system.decls, name: replace(decl, shape=(decl.shape[0] + 1, *decl.shape[1:]))})


def other_kind(system: System) -> System:
    """A temporary declared as integers."""
    name = next((n for n, d in system.decls.items() if d.kind == "temporary" and d.dtype == "float"), None)
    return (
        system
        if name is None
        else replace(system, decls={**system.decls, name: replace(system.decls[name], dtype="int")})
    )


def alone(system: System) -> System:
    """An equation about examples that runs for none."""
    return changed(system, lambda e: e.batched and bool(e.refs), lambda e: replace(e, batched=False))


def without_axis(system: System) -> System:
    """An equation that has lost its domain."""
    return changed(system, lambda e: bool(e.out.running), lambda e: replace(e, domain=()))


def starts_late(system: System) -> System:
    """A recurrence that leaves out its first step."""
    read = {r.name for e in system.equations for r in e.refs if r.running}
    return changed(
        system,
        lambda e: (
            e.out.name in read and bool(e.domain) and system.decls[e.out.name].kind != "cotangent" and not e.summed
        ),
        lambda e: replace(e, domain=(replace(e.domain[0], lo=e.domain[0].lo + 1), *e.domain[1:])),
    )


def gone(system: System) -> System:
    """A name that is read and no more declared."""
    name = next((r.name for e in system.equations for r in e.refs), None)
    return system if name is None else replace(system, decls={n: d for n, d in system.decls.items() if n != name})


def renamed_output(system: System) -> System:
    """An output of a name that nothing defines."""
    decl = replace(next(iter(system.decls.values())), name="nobody", kind="variable", axes=())
    return replace(system, decls={**system.decls, "nobody": decl}, outputs={**system.outputs, "y": Ref("nobody")})


def number_for_vector(system: System) -> System:
    """A number in place of a vector that a product reads."""
    return changed(system, lambda e: e.op == "matmul", lambda e: replace(e, args=(e.args[0], Const(1.0))))


FAULTS: dict[str, Fault] = {
    f.__name__: f
    for f in (
        left_out, read_later, read_at_once, twice, wider, other_kind, alone, without_axis, starts_late, gone,
        renamed_output, number_for_vector,
    )
}  # fmt: skip
RECURRENCES = ("elman", "bidirectional", "attention", "grid", "three_delays_coupled")
SYSTEM_PASSES = [name for name, _ in pipeline.PASSES[: [name for name, _ in pipeline.PASSES].index("lower")]]


@pytest.mark.parametrize("after", SYSTEM_PASSES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_pass_is_found_and_the_pass_named(fault: str, after: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted into the result of each pass, on several recurrences; where a system has no place for it, nothing is."""
    planted = 0
    for name in RECURRENCES:
        touched: list[System] = []

        def plant(system: System, run: Callable[[System], System], touched: list[System] = touched) -> System:
            made = run(system)
            bad = FAULTS[fault](made)
            if bad != made:
                touched.append(bad)
            return bad

        passes = tuple(
            (n, (lambda system, run=run: plant(system, run)) if n == after else run) for n, run in pipeline.PASSES
        )
        monkeypatch.setattr(pipeline, "PASSES", passes)
        net = ZOO[name]().compile("numpy")
        if FAULTS[fault](net._programs.simple) == net._programs.simple:
            continue
        with pytest.raises(VerificationError, match=f"the pass {after!r} left"):
            net.program(grad=True)
        planted += bool(touched)
        monkeypatch.undo()
    assert planted, "the fault was planted nowhere"


@pytest.mark.parametrize("rewrite", ["_fold_numbers", "_into_copies", "_promote", "_through_copies", "_merge_equal"])
@pytest.mark.parametrize("fault", ["left_out", "read_later", "wider", "other_kind", "starts_late"])
def test_a_fault_of_a_rewrite_is_found_and_the_rewrite_named(
    fault: str, rewrite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, touched = getattr(simplify, rewrite), []

    def plant(system: System, roots: set[str]) -> System:
        made = original(system, roots)
        bad = FAULTS[fault](made) if not touched else made
        if bad != made:
            touched.append(bad)
        return bad

    plant.__name__ = rewrite
    monkeypatch.setattr(simplify, rewrite, plant)
    with pytest.raises(VerificationError, match=rf"the pass '{rewrite}' left"):
        ZOO["three_delays_coupled"]().adjoint()
    assert touched


@pytest.mark.parametrize("name", ZOO)
def test_the_zoo_is_sound(name: str) -> None:
    system = ZOO[name]().system
    assert structure(system) == []
    assert undefined(system, {a.end: 6 for a in system.axes}) == []


def test_nothing_is_verified_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    system = ZOO["elman"]().system
    bad = wider(read_later(system))
    with pytest.raises(VerificationError, match="elman"):
        check_pass("planted", system, bad)
    monkeypatch.setattr(verify, "enabled", False)
    check_pass("planted", system, bad)

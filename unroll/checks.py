"""The rules a template must satisfy: each names the equation, its place, what is wrong and the fix."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import product

from .errors import (
    AxisError,
    BoundaryError,
    CausalityError,
    DoubleDefinitionError,
    UndefinedError,
    code,
    message,
)
from .flow import Dependence, Flow, Read, collapsed
from .ir import Decl, Ref, System
from .schedule.order import NoOrder, plan
from .text import Writer
from .timeindex import Index


def check(system: System) -> System:
    """The system itself, if every rule holds. Raises a TemplateError."""
    flows = collapsed(system)
    for rule in (defined, on_their_axes, once, covered, causal):
        rule(system, flows)
    return system


def _row(system: System, flow: Flow) -> tuple[str, object]:
    return _rows(system, [flow])[0]


def _rows(system: System, flows: Iterable[Flow]) -> list[tuple[str, object]]:
    writer = Writer(system)
    return [(writer.equation(f.equation), f.equation.source) for f in flows]


def defined(system: System, flows: list[Flow]) -> None:
    """Every variable that is read is defined."""
    written = {f.out.name for f in flows}
    for flow in flows:
        for read in flow.reads:
            decl = system.decls[read.ref.name]
            if decl.kind == "variable" and decl.name not in written:
                step = ", ".join(a.name for a in decl.axes) or "t"
                raise UndefinedError(
                    message(
                        f"{decl.name} is read, and no equation defines it",
                        _row(system, flow),  # type: ignore[arg-type]
                        (f"variable {decl.name}", decl.source),
                        fix=f"Add {decl.name}[{step}] = ...",
                    )
                )
    for ref in system.outputs.values():
        decl = system.decls[ref.name]
        if decl.kind == "variable" and decl.name not in written:
            raise UndefinedError(
                message(
                    f"{decl.name} is an output, and no equation defines it",
                    (f"variable {decl.name}", decl.source),
                    fix=f"Add {ref} = ...",
                )
            )


def on_their_axes(system: System, flows: list[Flow]) -> None:
    """Every bracket holds a step of its own axis."""
    for flow in flows:
        for ref in (flow.out, *(r.ref for r in flow.reads)):
            decl = system.decls[ref.name]
            if len(ref.index) != len(decl.axes):
                raise AxisError(
                    message(
                        f"{ref} has {len(ref.index)} steps, {decl.name} runs along {len(decl.axes)} axes",
                        _row(system, flow),  # type: ignore[arg-type]
                    )
                )
            for index, axis in zip(ref.index, decl.axes, strict=True):
                if index.axis is not None and index.axis.end != axis.end:
                    raise AxisError(
                        message(
                            f"{ref}: {decl.name} runs along {axis.name}, and {index} is a step of {index.axis.name}",
                            _row(system, flow),  # type: ignore[arg-type]
                            fix=f"Use {axis.name} and {axis.end} there.",
                        )
                    )


def once(system: System, flows: list[Flow]) -> None:
    """No step of a variable is defined twice."""
    by_name: dict[str, list[Flow]] = {}
    for flow in flows:
        if system.decls[flow.out.name].kind != "cotangent":
            by_name.setdefault(flow.out.name, []).append(flow)
    for same in by_name.values():
        for i, a in enumerate(same):
            for b in same[i + 1 :]:
                if not _apart(a, b):
                    raise DoubleDefinitionError(
                        message(
                            f"{a.out} and {b.out} define one step twice",
                            _row(system, a),  # type: ignore[arg-type]
                            _row(system, b),  # type: ignore[arg-type]
                        )
                    )


def _apart(a: Flow, b: Flow) -> bool:
    for position in range(len(a.out.index)):
        (alo, ahi), (blo, bhi) = a.written(position), b.written(position)
        if (ahi + 1).never_after(blo) or (bhi + 1).never_after(alo):
            return True
    return False


def covered(system: System, flows: list[Flow]) -> None:
    """Every step that is read is defined, whatever the length: what lies before 1 or after T needs a boundary."""
    written: dict[str, list[Flow]] = {}
    for flow in flows:
        written.setdefault(flow.out.name, []).append(flow)
    missing: dict[str, list[tuple[Flow, Read, tuple[Place, ...]]]] = {}
    for flow in flows:
        for read in flow.reads:
            decl = system.decls[read.ref.name]
            if decl.kind == "cotangent":
                continue  # a cotangent nobody writes is zero
            spans = [_classes(lo, hi) for lo, hi in flow.read_steps(read)]
            for place in product(*spans):
                if not _has(decl, written.get(decl.name, []), place):
                    missing.setdefault(decl.name, []).append((flow, read, place))
    for name, holes in missing.items():
        raise _boundary(system, system.decls[name], holes)


Place = Index | None
"""A step outside 1..T, or None for those inside."""


def _classes(lo: Index, hi: Index) -> list[Place]:
    """The steps lo..hi, those inside 1..T taken as one."""
    before: list[Place] = [Index(None, "", k) for k in range(lo.shift, min(hi.shift, 0) + 1 if not hi.anchor else 1)]
    before = before if not lo.anchor else []
    first = max(lo.shift, 1) if lo.anchor else 1
    after: list[Place] = [Index(hi.axis, hi.anchor, k) for k in range(first, hi.shift + 1)] if hi.anchor else []
    inside = (lo.shift <= 0 if lo.anchor else True) and (bool(hi.anchor) or hi.shift >= 1)
    return before + ([None] if inside else []) + after


def _has(decl: Decl, writers: list[Flow], place: tuple[Place, ...]) -> bool:
    if decl.given and all(p is None for p in place):
        return True
    return any(all(p in _classes(*flow.written(position)) for position, p in enumerate(place)) for flow in writers)


def _boundary(system: System, decl: Decl, holes: list[tuple[Flow, Read, tuple[Place, ...]]]) -> BoundaryError:
    """All steps of one variable that are read and that nothing defines."""

    def at(place: tuple[Place, ...]) -> Ref:
        return Ref(decl.name, tuple(p or Index(a, a.name) for p, a in zip(place, decl.axes, strict=True)))

    inside = [hole for hole in holes if all(p is None for p in hole[2])]
    shown = inside or holes
    refs = list(dict.fromkeys(str(at(place)) for _, _, place in shown))
    reads = list(dict.fromkeys(_plain(read.ref) for _, read, _ in shown))
    rows = _rows(system, {id(flow): flow for flow, _, _ in shown}.values())[:SHOWN]
    if inside:
        what = f"{reads[0]} is read, and only boundaries of {decl.name} are defined"
        fix = f"Add {refs[0]} = ..."
    else:
        are, them, ending = ("is", "it", "y") if len(refs) == 1 else ("are", "them", "ies")
        what = f"{', '.join(refs)} {are} read (as {', '.join(reads)}), and nothing defines {them}"
        fix = f"Add the boundar{ending} {'; '.join(f'{r} = 0' for r in refs)}, "
        fix += "or a param or input in place of 0."
    return BoundaryError(message(what, *rows, fix=fix))  # type: ignore[arg-type]


SHOWN = 4
"""Equations of one kind that a message shows."""


def _plain(ref: Ref) -> str:
    """The ref as the user wrote it: an axis renamed on the way through a sum has its own name again."""
    index = (i if i.axis is None else replace(i, anchor=i.anchor.rstrip("'")) for i in ref.index)
    return str(Ref(ref.name, tuple(index)))


def causal(system: System, flows: list[Flow]) -> None:
    """Some order of steps computes everything: no cycle without delay, no component pulled both ways."""
    try:
        plan(flows, system.axes)
    except NoOrder as error:
        raise _causality(system, flows, error) from None


def _causality(system: System, flows: list[Flow], error: NoOrder) -> CausalityError:
    path = list(error.cycle)
    names = [str(flows[e.producer].out) for e in path]
    rows = list(dict.fromkeys(e.consumer for e in path))
    evidence = _rows(system, (flows[n] for n in rows))
    walk = " -> ".join([*names, names[0]])
    whole = [e for e in path if e.read.over or not all(i.runs for i in e.read.ref.index)]
    if error.instant and whole:
        return _needs_all(flows, whole[0], evidence)
    if error.instant:
        what = f"{flows[path[0].producer].out.name} depends on itself within one step: {walk}"
        if any(any(e.distance.values()) for e in path):
            what = f"{flows[path[0].producer].out.name} depends on itself: the delays along {walk} add up to 0"
        last = path[-1]
        delayed = _delayed(last)
        fix = f"A cycle must cross a delay. Did you mean {delayed} in {flows[last.consumer].out.name}?"
        if "+=" in code(flows[last.consumer].equation.source):
            fix += " += reads what it defines: write the whole right side once."
        return CausalityError(message(what, *evidence, fix=fix))  # type: ignore[arg-type]
    reads = []
    for e in error.edges:
        shown = f"{flows[e.consumer].out} reads {_plain(e.read.ref)}"
        if shown not in reads:
            reads.append(shown)
    what = (
        f"{', '.join(dict.fromkeys(flows[e.producer].out.name for e in error.edges))}: no order of steps exists: "
        + ("; ".join(reads))
    )
    evidence = _rows(system, (flows[n] for n in dict.fromkeys(e.consumer for e in error.edges)))
    fix = (
        "Around one group of equations all delays must point the same way along some axis, and a sum or a fixed step "
        "cannot read what depends on it. Split the two directions into variables of their own."
    )
    return CausalityError(message(what, *evidence, fix=fix))  # type: ignore[arg-type]


def _needs_all(flows: list[Flow], edge: Dependence, evidence: list[tuple[str, object]]) -> CausalityError:
    """A sum over an axis, or a step counted from its end, that depends on itself."""
    out, read = flows[edge.consumer].out, _plain(edge.read.ref)
    over = ", ".join(r.axis.name.rstrip("'") for r in edge.read.over)
    how = f"the sum over {over} of {read}" if over else read
    what = f"{edge.read.ref.name} depends on itself: {out} reads {how}, which needs every step before it"
    fix = "Read an earlier step, as in h[t-1], or split off a variable that what it reads does not depend on."
    return CausalityError(message(what, *evidence, fix=fix))  # type: ignore[arg-type]


def _delayed(edge: Dependence) -> str:
    index = edge.read.ref.index
    moved = tuple(i - 1 if i.runs and position == 0 else i for position, i in enumerate(index))
    return str(Ref(edge.read.ref.name, moved))
